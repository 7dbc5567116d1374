"""The CIFAR ResNet by what He et al. say of it, and the labelled images it is trained on."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch import nn

from empirical.cifar10 import cifar10
from empirical.labelled import digit_images, images
from empirical.resnet import Block, cifar_resnet
from empirical.training import drawn


@pytest.fixture(autouse=True)
def seeded():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


def kinds(module, kind):
    return [part for part in module.modules() if isinstance(part, kind)]


@pytest.mark.parametrize(("depth", "count"), [(20, 269_722), (110, 1_727_962)])
def test_it_has_as_many_parameters_as_theirs(depth, count):
    """Convolutions without biases, two a normalized channel, the linear layer; 0.27 M and 1.7 M in their table 6."""
    assert sum(value.numel() for value in cifar_resnet(depth).parameters()) == count


@pytest.mark.parametrize("depth", [8, 14, 26])
def test_it_has_6n_and_1_convolutions_in_the_order_in_which_they_run(depth):
    module, run = drawn(depth, "every", 0), []
    for part in module.convolutions:
        part.register_forward_hook(lambda part, given, out: run.append((part, tuple(out.shape[1:]))))
    assert module(torch.randn(2, 3, 32, 32)).shape == (2, 10)
    blocks = (depth - 2) // 6
    assert len(run) == len(module.convolutions) == 6 * blocks + 1
    assert all(part is other for (part, _), other in zip(run, module.convolutions, strict=True))
    shapes = [(16, 32, 32)] * (2 * blocks + 1) + [(32, 16, 16)] * 2 * blocks + [(64, 8, 8)] * 2 * blocks
    assert [shape for _, shape in run] == shapes
    assert {part.kernel_size for part in module.convolutions} == {(3, 3)}


@pytest.mark.parametrize("norm", ["every", "last", "none"])
def test_kernels_are_xavier_normal_and_biases_zero(norm):
    """Mean square over 2 / (fan_in + fan_out), every kernel and all of them, within 5 standard errors; no mean."""
    module, scores = drawn(20, norm, 1), []
    for part in module.convolutions:
        z = part.weight.detach().numpy().ravel() / np.sqrt(2 / (9 * (part.in_channels + part.out_channels)))
        assert abs(np.mean(z**2) - 1) < 5 * np.sqrt(2 / z.size)
        assert (part.bias is None) == (norm == "every")
        assert part.bias is None or not part.bias.any()
        scores.append(z)
    z = np.concatenate(scores)
    assert abs(np.mean(z**2) - 1) < 5 * np.sqrt(2 / z.size)
    assert abs(z.mean()) < 5 / np.sqrt(z.size)
    assert np.mean(z**4) == pytest.approx(3, abs=5 * np.sqrt(96 / z.size))  # normal, not uniform (1.8)


@pytest.mark.parametrize(("norm", "of_images", "of_logits"), [("every", 7, 0), ("last", 0, 1), ("none", 0, 0)])
def test_normalization_is_behind_every_convolution_or_behind_the_linear_layer_or_nowhere(norm, of_images, of_logits):
    module = drawn(8, norm, 0)
    assert (len(kinds(module, nn.BatchNorm2d)), len(kinds(module, nn.BatchNorm1d))) == (of_images, of_logits)
    order = []
    for part in kinds(module, nn.Conv2d | nn.BatchNorm2d | nn.Linear | nn.BatchNorm1d):
        part.register_forward_hook(lambda part, given, out: order.append(type(part).__name__))
    logits = module(torch.randn(16, 3, 8, 8)).detach().numpy()
    one = ["Conv2d", "BatchNorm2d"] if norm == "every" else ["Conv2d"]
    assert order == one * 7 + ["Linear"] + ["BatchNorm1d"] * of_logits
    centred = np.allclose(logits.mean(0), 0, atol=1e-5) and np.allclose(logits.std(0), 1, atol=1e-2)
    assert centred == (norm == "last")


@pytest.mark.parametrize("normalized", [True, False])
@pytest.mark.parametrize(("inputs", "channels", "stride"), [(16, 16, 1), (16, 32, 2), (32, 64, 2)])
def test_a_block_whose_second_kernel_is_zero_is_the_rectified_shortcut(inputs, channels, stride, normalized):
    """Option A: every other pixel, and half of the added channels, of zeros, on each side."""
    block, x = Block(inputs, channels, stride, normalized), torch.randn(3, inputs, 6, 8)
    nn.init.zeros_(block.conv2.weight)
    if not normalized:
        nn.init.zeros_(block.conv2.bias)
    expected, side = torch.zeros(3, channels, 6 // stride, 8 // stride), (channels - inputs) // 2
    for channel in range(inputs):
        expected[:, side + channel] = x[:, channel, ::stride, ::stride].clamp(min=0)
    assert torch.equal(block(x), expected)


def test_a_block_is_rectified_after_the_sum():
    block, x = Block(4, 4, 1, False).double(), torch.randn(2, 4, 5, 5, dtype=torch.float64)
    inner = F.conv2d(x, block.conv1.weight, block.conv1.bias, padding=1).clamp(min=0)
    expected = (F.conv2d(inner, block.conv2.weight, block.conv2.bias, padding=1) + x).clamp(min=0)
    torch.testing.assert_close(block(x), expected)


@pytest.mark.parametrize(("arguments", "error", "says"), [
    ((10,), ValueError, r"depth .*8, 14, 20.*got 10"), ((2,), ValueError, "depth .*got 2"),
    ((8.0,), TypeError, r"depth .*got 8\.0"), ((8, "evry"), ValueError, "norm 'evry'; did you mean 'every'"),
    ((8, "none", 0), ValueError, "classes .*got 0"),
])
def test_what_no_such_network_has_is_refused_with_its_value(arguments, error, says):
    with pytest.raises(error, match=says):
        cifar_resnet(*arguments)


# ---- images ----------------------------------------------------------------------------------------------------------


def rows_of(x):
    """Which of scikit-learn's digits each image is, by brute force: the same up to an affine map of its pixels."""
    def unit(pixels):
        centred = pixels - pixels.mean(1, keepdims=True)
        return centred / np.linalg.norm(centred, axis=1, keepdims=True)

    cosines = unit(x) @ unit(load_digits().data).T
    assert cosines.max(1) == pytest.approx(1, abs=1e-12)
    return cosines.argmax(1)


def test_training_and_test_digits_are_disjoint_and_all_together_and_labels_fit():
    split = images(size=8)
    found = [rows_of(part.take(slice(None))[:, 0].reshape(-1, 64)) for part in (split.training, split.test)]
    assert [len(rows) for rows in found] == [split.training.count, split.test.count] == [1437, 360]
    assert sorted(np.concatenate(found)) == list(range(1797))
    for rows, part in zip(found, (split.training, split.test), strict=True):
        np.testing.assert_array_equal(part.labels, load_digits().target[rows])
    assert np.bincount(split.test.labels).min() > 20  # every class is tested
    assert not split.augmented


@pytest.mark.parametrize("size", [8, 24])
def test_a_digit_has_three_equal_colours_and_each_pixel_repeated(size):
    x, small = digit_images(size, "test").take(slice(7)), digit_images(8, "test").take(slice(7))
    assert x.shape == (7, 3, size, size)
    for row in range(size):
        for column in range(size):
            expected = small[:, 0, row * 8 // size, column * 8 // size]
            assert all(np.array_equal(x[:, colour, row, column], expected) for colour in range(3))
    np.testing.assert_allclose(np.mean(x**2, axis=(1, 2, 3)), 1, rtol=1e-12)


@pytest.mark.parametrize(("arguments", "error", "says"), [
    ((12,), ValueError, "size .*got 12"), ((0,), ValueError, "size .*got 0"), ((8.0,), TypeError, r"size .*got 8\.0"),
    ((8, "testing"), ValueError, "part 'testing'; did you mean 'test'"),
])
def test_digits_of_another_size_or_part_are_refused(arguments, error, says):
    with pytest.raises(error, match=says):
        digit_images(*arguments)


def test_a_batch_is_the_seeds_and_begins_as_a_smaller_one():
    split = images(size=8)
    x, y = split.batch(12, 3, dtype=torch.float64)
    assert (x.shape, y.shape, x.dtype, y.dtype) == ((12, 3, 8, 8), (12,), torch.float64, torch.int64)
    for count in (12, 5):
        again, classes = split.batch(count, 3, dtype=torch.float64)
        assert torch.equal(again, x[:count])
        assert torch.equal(classes, y[:count])
    assert not torch.equal(split.batch(12, 4, dtype=torch.float64)[0], x)
    rows = rows_of(x[:, 0].reshape(12, 64).numpy())
    assert len(set(rows)) == 12
    np.testing.assert_array_equal(y, load_digits().target[rows])
    assert split.batch(10**6, 3)[0].shape == (1437, 3, 8, 8)


def test_the_name_of_images_says_all_of_them(cifar_folder):
    """For what is kept is found by it."""
    names = {repr(images(size=8)), repr(images(size=16)), repr(digit_images(8)), repr(digit_images(8, "test")),
             repr(images(cifar_folder))}
    assert len(names) == 5
    assert str(cifar_folder) not in repr(images(cifar_folder))


def test_cifar_10_of_a_folder_is_trained_and_tested_on_its_own_parts(cifar_folder):
    found = images(cifar_folder)
    assert found.augmented
    assert (found.training.count, found.test.count) == (20, 3)
    for part, test in ((found.training, False), (found.test, True)):
        source = cifar10(cifar_folder, test)
        np.testing.assert_array_equal(part.take(slice(None)), source.take(slice(None)))
        np.testing.assert_array_equal(part.labels, source.labels)
    raw = np.fromfile(cifar_folder / "cifar-10-batches-bin" / "test_batch.bin", np.uint8).reshape(3, -1)
    np.testing.assert_array_equal(found.test.labels, raw[:, 0])
    x, y = found.batch(7, 0)
    assert (x.shape, x.dtype, y.dtype) == ((7, 3, 32, 32), torch.float32, torch.int64)
    rows = [int(np.abs(found.training.take(slice(None)) - one.numpy()).sum((1, 2, 3)).argmin()) for one in x]
    assert len(set(rows)) == 7
    np.testing.assert_array_equal(y, found.training.labels[rows])
