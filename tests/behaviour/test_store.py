"""The store: nothing is measured twice, a damaged file never counts, and an interrupted write leaves no half file."""

import io
import os
import pickle
import subprocess
import sys

import numpy as np
import pytest
import torch

from empirical import IncompleteError, measure
from empirical.task import Task
from rmt import mlp

NET = mlp([5] * 3)


def values(store, draws=2, net=NET, **options):
    return measure(net, draws=draws, store=store, progress=False, **options).log_singular_values


@pytest.fixture
def kept(tmp_path):
    """A folder that has two networks, and their values."""
    return tmp_path, values(tmp_path)


@pytest.fixture
def forbidden(monkeypatch):
    def refuse(self):
        raise AssertionError(f"measured {self.index} again")

    monkeypatch.setattr(Task, "run", refuse)


def test_a_second_run_measures_nothing(kept, forbidden):
    folder, first = kept
    np.testing.assert_array_equal(values(folder), first)
    np.testing.assert_array_equal(values(folder, draws=1), first[:1])
    with pytest.raises(IncompleteError, match=r"2 of 3 .*measured 2 again"):  # only what is missing
        values(folder, draws=3)


@pytest.mark.parametrize("options", [
    {"seed": 1}, {"inputs_per_network": 2}, {"dtype": "float32"}, {"net": mlp([5] * 3, "linear")}])
def test_another_question_has_another_file(kept, forbidden, options):
    with pytest.raises(AssertionError, match="measured 0 again"):
        values(kept[0], **options)


def test_a_label_does_not_hide_that_networks_differ(tmp_path):
    first = values(tmp_path, label="mine")
    try:
        second = values(tmp_path, net=mlp([5] * 3, "linear"), label="mine")
    except ValueError:
        return  # refusing is fine
    assert not np.array_equal(first, second)


def test_a_torch_dtype_is_refused_at_the_door_or_stored(tmp_path):
    try:
        first = values(tmp_path, dtype=torch.float64)
    except ValueError:
        return
    np.testing.assert_array_equal(values(tmp_path), first)


def truncated(content):
    return content[: len(content) // 2]


def empty(content):
    return b""


def text(content):
    return b"not a result"


def pickled(content):
    return pickle.dumps([1, 2])


def object_array(content):
    buffer = io.BytesIO()
    np.savez(buffer, log_singular_values=np.array([{}], dtype=object), resolution=np.array([{}], dtype=object),
             about=np.array("{}"))
    return buffer.getvalue()


def flipped_data(content):
    place = content.index(b"\x93NUMPY") + 140  # inside the numbers
    return content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :]


@pytest.mark.parametrize("damage", [truncated, empty, text, pickled, object_array, flipped_data])
def test_a_damaged_file_is_set_aside_and_measured_again(kept, damage):
    folder, first = kept
    victim = sorted(folder.glob("*.npz"))[0]
    broken = damage(victim.read_bytes())
    victim.write_bytes(broken)
    with pytest.warns(UserWarning, match=f"{victim.name}.*damaged"):
        np.testing.assert_array_equal(values(folder), first)
    asides = [path for path in folder.iterdir() if "damaged" in path.name]
    assert [path.read_bytes() for path in asides] == [broken]
    np.testing.assert_array_equal(values(folder), first)


@pytest.mark.filterwarnings("ignore:.*damaged")
def test_no_flipped_bit_changes_a_result(kept):
    """Of every fifth byte, and of zip's own directory at the end, another bit: found, or without effect."""
    folder, first = kept
    first = first[:1]
    victim = next(path for path in folder.glob("*.npz") if np.array_equal(np.load(path)["log_singular_values"], first))
    content = victim.read_bytes()
    places = [*range(0, len(content), 5), *range(content.index(b"PK\1\2"), len(content))]
    for place in places:
        bit = 1 << place % 8
        victim.write_bytes(content[:place] + bytes([content[place] ^ bit]) + content[place + 1 :])
        np.testing.assert_array_equal(values(folder, draws=1), first, err_msg=f"byte {place}, bit {bit}")


@pytest.mark.parametrize("place", ["file", "file/below", "/proc/none", "\0"])
def test_a_folder_that_cannot_be_written_is_an_error_before_measuring(tmp_path, forbidden, place):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises((OSError, ValueError), match=r"store|null") as error:
        values(tmp_path / place if place != "\0" else place)
    assert "\n" not in str(error.value)


@pytest.mark.skipif(os.geteuid() == 0, reason="root writes everywhere")
def test_a_read_only_folder_is_an_error_before_measuring(tmp_path, forbidden):
    tmp_path.chmod(0o500)
    with pytest.raises(OSError, match="writable"):
        values(tmp_path)


CRASH = """
import os, sys
from empirical import measure
from rmt import mlp
real, seen = os.replace, []
def crash(source, target):
    if seen:
        os._exit(9)  # as kill -9 after writing, before renaming
    seen.append(target)
    real(source, target)
os.replace = crash
measure(mlp([5] * 3), draws=2, store=sys.argv[1], progress=False)
"""


def test_a_killed_write_leaves_a_temporary_file_that_the_next_run_ignores_and_removes(tmp_path, monkeypatch):
    done = subprocess.run([sys.executable, "-c", CRASH, tmp_path], capture_output=True, text=True)
    assert done.returncode == 9, done.stderr
    assert len(list(tmp_path.glob("*.npz"))) == 1
    left = [path for path in tmp_path.iterdir() if path.suffix != ".npz"]
    assert len(left) == 1
    assert left[0].name.endswith(".tmp")
    fresh = values(None)
    run, measured = Task.run, []
    monkeypatch.setattr(Task, "run", lambda task: (measured.append(task.index), run(task))[1])
    np.testing.assert_array_equal(values(tmp_path), fresh)
    assert measured == [1]
    assert not left[0].exists()  # its writer is gone


def test_an_interrupted_write_raises_and_leaves_nothing_behind(tmp_path, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", interrupted)
        with pytest.raises(KeyboardInterrupt):
            values(tmp_path)
    assert list(tmp_path.iterdir()) == []
    assert len(values(tmp_path)) == 2
