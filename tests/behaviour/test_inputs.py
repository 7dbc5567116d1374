"""Data sets as inputs: CIFAR-10's published binary format from a folder, arrays, and what is refused."""

import numpy as np
import pytest

from empirical import measure
from empirical.inputs import array, cifar10, digits
from empirical.workers import workers
from rmt import Dense, Flatten, Network


@pytest.fixture
def folder(cifar_folder):
    return cifar_folder


def test_images_and_labels_are_those_of_the_files(folder):
    source = cifar10(folder)
    files = [folder / "cifar-10-batches-bin" / f"data_batch_{i}.bin" for i in range(1, 6)]
    raw = np.concatenate([np.fromfile(file, np.uint8).reshape(-1, 3073) for file in files])
    np.testing.assert_array_equal(source.labels, raw[:, 0])
    pixels = raw[:, 1:].astype(float) - raw[:, 1:].mean()
    taken = source.take(slice(None))
    assert taken.shape == (20, 3, 32, 32)
    np.testing.assert_allclose(np.mean(taken**2, axis=(1, 2, 3)), 1, rtol=1e-12)
    ratio = taken.reshape(20, -1) / pixels
    np.testing.assert_allclose(ratio, ratio[:, :1] * np.ones(3072), rtol=1e-9)
    green = raw[7, 1 + 1024 + 5 * 32 + 3] - raw[:, 1:].mean()  # red, green, blue; row by row
    assert taken[7, 1, 5, 3] == pytest.approx(green * ratio[7, 0], rel=1e-12)
    assert (source.shape, source.count, cifar10(folder, test=True).count) == ((3, 32, 32), 20, 3)
    assert source.mean_square == pytest.approx(1, rel=1e-12)
    unit = taken.reshape(20, -1) / np.sqrt(3072)
    assert source.correlation == pytest.approx((unit @ unit.T)[~np.eye(20, dtype=bool)].mean(), abs=1e-12)


def test_the_content_not_the_folder_names_the_data(folder, tmp_path_factory):
    other = tmp_path_factory.mktemp("moved")
    (folder / "cifar-10-batches-bin").rename(other / "here")
    moved = cifar10(other / "here")
    before = repr(moved)
    assert "training" in before
    file = other / "here" / "data_batch_3.bin"
    content = bytearray(file.read_bytes())
    content[100] ^= 1
    changed = other / "changed"
    changed.mkdir()
    for path in (other / "here").iterdir():
        (changed / path.name).write_bytes(bytes(content) if path.name == file.name else path.read_bytes())
    assert repr(cifar10(changed)) != before
    assert repr(cifar10(other / "here", test=True)) != before


def test_it_is_measured_here_and_in_other_processes(folder, tmp_path):
    network = Network((3, 32, 32), [Flatten(), Dense(4)])
    options = {"draws": 2, "inputs": cifar10(folder), "progress": False}
    alone = measure(network, **options).log_singular_values
    with workers(1) as pool:
        again = measure(network, executor=pool, store=tmp_path / "store", **options).log_singular_values
    np.testing.assert_array_equal(alone, again)


@pytest.mark.parametrize(("damage", "error", "says"), [
    (lambda f: (f / "data_batch_2.bin").unlink(), FileNotFoundError, "data_batch_2.bin is missing"),
    (lambda f: [(f / "data_batch_1.bin").unlink(), (f / "batches.meta").touch()], FileNotFoundError, "pickled"),
    (lambda f: (f / "data_batch_4.bin").write_bytes(b""), ValueError, "data_batch_4.bin has 0 bytes"),
    (lambda f: (f / "data_batch_4.bin").write_bytes(bytes(3074)), ValueError, "3074 bytes, no multiple of 3073"),
    (lambda f: (f / "data_batch_5.bin").write_bytes(b"\x0a" * 3073), ValueError, "label 10"),
])
def test_a_folder_of_another_format_is_refused_by_file(folder, damage, error, says):
    damage(folder / "cifar-10-batches-bin")
    with pytest.raises(error, match=says):
        cifar10(folder)


def test_an_array_is_named_by_its_values_too():
    x = np.arange(1.0, 13).reshape(3, 4)
    assert repr(array(x, "mine")) != repr(array(x + 1, "mine"))
    assert repr(array(x, "mine")).startswith("mine (3, 4)")
    assert repr(array(x)) == repr(array(x.copy()))
    assert digits().shape == (64,)
