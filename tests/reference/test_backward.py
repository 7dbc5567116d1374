"""Passes at initialization by brute force: activations, gradients, large steps, the noise of SGD, growth through BN."""

import math
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from empirical import backward
from empirical.backward import Backward
from empirical.batch_growth import BatchGrowth
from empirical.gradient_step import DIVERGED, MomentsAlongStep, RelativeLoss
from empirical.labelled import Images, images
from empirical.sgd_noise import GradientNoise
from empirical.training import drawn
from rmt import BatchNorm, mlp
from rmt.networks.batchnorm import gradient_growth
from rmt.networks.layers import Activation, Dense
from rmt.networks.network import Network
from rmt.networks.schemes import gaussian

SPLIT = images(size=8)
SAMPLED = (1, 2, 4, 7)  # the stem, inside a block, a stride, the last
NORMS = ("every", "last", "none")


def of(norm, seed=0):
    return Backward(8, norm, seed, 6, SPLIT, SAMPLED, dtype="float64")


def rebuilt(job):
    """The network of a job and its minibatch."""
    return drawn(8, job.norm, job.seed, dtype="float64"), *SPLIT.batch(job.batch, job.seed, dtype=torch.float64)


def activations(module, x):
    """What convolutions are given, from the second on, and what comes out of the last block: part by part."""
    found = [torch.relu(module.features[1](module.features[0](x)))]
    for block in list(module.features)[3:]:
        inner = torch.relu(block.norm1(block.conv1(found[-1])))
        found += [inner, block(found[-1])]
    return found


def gradients(module, x, y):
    return torch.autograd.grad(F.cross_entropy(module(x), y), [*module.parameters()])


# ---- one pass --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dead", [False, True])
@pytest.mark.parametrize("norm", NORMS)
def test_activations_have_the_moments_of_numpy(monkeypatch, norm, dead):
    """Over images and pixels, then over channels; a channel that is 0 everywhere is left out."""
    def network(*arguments, **options):
        module = drawn(*arguments, **options)
        if dead:
            torch.nn.init.zeros_(module.features[0].weight[5])
        return module

    monkeypatch.setattr(backward, "drawn", network)
    found, module, (x, _) = of(norm).run(None), network(8, norm, 0, dtype="float64"), rebuilt(of(norm))[1:]
    signals = activations(module, x)
    assert len(signals) == len(found["log_std"]) == len(found["log_abs_mean"]) == 7
    for layer, signal in enumerate(signals):
        flat = signal.detach().numpy().transpose(1, 0, 2, 3).reshape(signal.shape[1], -1)
        flat = flat[np.any(flat != 0, axis=1)]
        assert layer or len(flat) == 16 - dead
        for name, of_channels in (("log_abs_mean", np.abs(flat.mean(1))), ("log_std", flat.std(1, ddof=1))):
            logs = np.log10(of_channels)
            np.testing.assert_allclose(found[name][layer], [logs.mean(), logs.std(ddof=1)], rtol=1e-9, err_msg=name)
    np.testing.assert_allclose(found["features"], signals[-1].detach().mean((2, 3)), rtol=1e-12)


@pytest.mark.parametrize("norm", NORMS)
def test_the_output_gradient_is_softmax_less_the_label_over_the_batch(norm):
    found, (module, x, y) = of(norm).run(None), rebuilt(of(norm))
    logits = module(x).detach().numpy()
    p = np.exp(logits - logits.max(1, keepdims=True))
    expected = (p / p.sum(1, keepdims=True) - np.eye(10)[y]) / 6
    np.testing.assert_allclose(found["output_gradient"], expected, rtol=1e-9, atol=1e-15)


@pytest.mark.parametrize("norm", NORMS)
def test_the_gradient_is_that_of_the_middle_convolution(norm):
    """Layer 4 of 7: autograd's, and a finite difference along it."""
    found, (module, x, y) = of(norm).run(None)["gradient"], rebuilt(of(norm))
    weight, h = module.convolutions[3].weight, 1e-6
    np.testing.assert_allclose(found, torch.autograd.grad(F.cross_entropy(module(x), y), weight)[0].ravel(),
                               rtol=1e-9, atol=1e-15)
    begin, direction = weight.detach().clone(), torch.as_tensor(found / np.linalg.norm(found)).reshape(weight.shape)
    with torch.no_grad():
        weight.copy_(begin + h * direction)
        up = F.cross_entropy(module(x), y).item()
        weight.copy_(begin - h * direction)
        down = F.cross_entropy(module(x), y).item()
    assert (up - down) / (2 * h) == pytest.approx(np.linalg.norm(found), rel=1e-5)


@pytest.mark.parametrize("norm", NORMS)
def test_sums_over_images_and_pixels_are_those_of_a_loop(norm):
    """A kernel's entry is its own at every image and pixel: the summands are the gradients of those copies."""
    found, (module, x, y) = of(norm).run(None), rebuilt(of(norm))
    for i, layer in enumerate(SAMPLED):
        part, seen = module.convolutions[layer - 1], []

        def added(_, given, out, seen=seen):
            seen.append((given[0].detach(), torch.zeros_like(out).requires_grad_()))
            return out + seen[0][1]

        hook = part.register_forward_hook(added)
        loss = F.cross_entropy(module(x), y)
        hook.remove()
        (given, moved), = seen
        gradient = torch.autograd.grad(loss, moved)[0].numpy()
        padded, stride = np.pad(given.numpy(), ((0, 0), (0, 0), (1, 1), (1, 1))), part.stride[0]
        absolute, total = np.zeros(part.weight.shape), np.zeros(part.weight.shape)
        for image in range(6):
            for row in range(gradient.shape[2]):
                for column in range(gradient.shape[3]):
                    patch = padded[image, :, stride * row : stride * row + 3, stride * column : stride * column + 3]
                    summand = gradient[image, :, row, column][:, None, None, None] * patch
                    absolute, total = absolute + np.abs(summand), total + summand
        assert found["sum_of_abs"][i] == pytest.approx(absolute.mean(), rel=1e-9)
        assert found["abs_of_sum"][i] == pytest.approx(np.abs(total).mean(), rel=1e-9)
        assert found["abs_of_sum"][i] < found["sum_of_abs"][i]


def test_single_precision_differs_in_rounding_alone():
    single, double = replace(of("every"), dtype="float32").run(None), of("every").run(None)
    assert set(single) == set(double)
    for name, values in double.items():
        np.testing.assert_allclose(single[name], values, rtol=1e-2, atol=1e-4 * np.abs(values).max(), err_msg=name)


# ---- large steps -----------------------------------------------------------------------------------------------------


def relative(norm="none", minibatch=0, steps=(1e-3,), **options):
    return RelativeLoss(8, norm, 0, minibatch, 6, SPLIT, steps, **{"dtype": "float64", **options})


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("minibatch", [0, 2])
def test_a_small_step_lowers_the_loss_by_the_squared_gradient(norm, minibatch):
    """1 - step |g|^2 / loss, and what is left falls as the square of the step."""
    steps = (1e-5, 1e-6)
    found = relative(norm, minibatch, steps).run(None)["relative_loss"]
    x, y = SPLIT.batch(6 * (minibatch + 1), 0, dtype=torch.float64)
    module, x, y = drawn(8, norm, 0, dtype="float64"), x[-6:], y[-6:]
    loss = F.cross_entropy(module(x), y).item()
    slope = sum(float(g.square().sum()) for g in gradients(module, x, y)) / loss
    left = np.abs(found - 1 + slope * np.array(steps))
    assert left[1] < 1e-2 * slope * steps[1]
    assert left[1] < 0.02 * left[0]


def test_a_step_out_of_the_range_of_a_float_is_infinite():
    steps = (0.0, 1e-3, 1e10, 1e20, 1e30, 1e38)
    for norm in NORMS:
        found = relative(norm, steps=steps, dtype="float32").run(None)["relative_loss"]
        assert found[0] == 1
        assert np.isfinite(found[1])
        assert found[-1] == math.inf
        assert not np.isnan(found).any()


def test_every_step_begins_at_the_same_weights():
    steps = (1e-3, 1e4, 0.0, 1e-2)
    found = relative("every", steps=steps).run(None)["relative_loss"]
    alone = [relative("every", steps=(step,)).run(None)["relative_loss"][0] for step in steps]
    np.testing.assert_array_equal(found, alone)
    module, loss = relative().start()
    loss(1.0)
    loss(0.0)
    assert all(torch.equal(*pair) for pair in zip(module.parameters(), rebuilt(of("none"))[0].parameters(),
                                                  strict=True))


def given(job):
    """The minibatch of a job."""
    seen, (module, loss) = [], job.start()
    module.register_forward_pre_hook(lambda _, given: seen.append(given[0].clone()))
    loss(0.0)
    return seen[0]


def test_minibatches_are_disjoint():
    together = torch.cat([given(relative(minibatch=i)) for i in range(3)])
    assert torch.equal(together, SPLIT.batch(18, 0, dtype=torch.float64)[0])
    assert len(torch.unique(together, dim=0)) == 18


def test_minibatches_are_disjoint_or_refused_where_images_run_out(cifar_folder):
    """Twenty images are no two minibatches of twelve."""
    few = images(cifar_folder)
    try:
        first, second = (given(replace(relative(minibatch=i), images=few, batch=12)) for i in range(2))
    except ValueError:
        return
    different = len({one.numpy().tobytes() for one in torch.cat([first, second])})
    assert different == 24


LAYERS, STEPS = (1, 4, 7), (1e5, 1e-3, 1e3, 1e4)


@pytest.mark.parametrize("norm", ["none", "every"])
def test_moments_along_a_step_are_those_of_the_network_moved_so_far(norm):
    job = MomentsAlongStep(relative(norm, steps=(*STEPS, 1e7)), LAYERS, (0.0, 0.25, 1.0))
    found = job.run(None)
    after = {step: relative(norm, steps=(step,)).run(None)["relative_loss"][0] for step in job.start.steps}
    assert found["step"] == min(step for step, loss in after.items() if loss >= DIVERGED)
    for i, fraction in enumerate(job.fractions):
        module, x, y = rebuilt(of(norm))
        slopes = gradients(module, x, y)
        with torch.no_grad():
            for value, g in zip(module.parameters(), slopes, strict=True):
                value -= fraction * float(found["step"]) * g
        signals = activations(module, x)
        for j, layer in enumerate(LAYERS):
            flat = signals[layer - 1].detach().numpy().transpose(1, 0, 2, 3).reshape(signals[layer - 1].shape[1], -1)
            expected = np.stack([flat.mean(1), flat.var(1, ddof=1)], 1)
            np.testing.assert_allclose(found["moments"][i, j, : len(flat)], expected, rtol=1e-6,
                                       atol=1e-9 * np.abs(expected).max())
            assert np.isnan(found["moments"][i, j, len(flat) :]).all()
    assert found["moments"].shape == (3, 3, 64, 2)


def test_a_step_must_diverge():
    with pytest.raises(ValueError, match=r"steps must diverge.*1000.*got 0\.001 at most"):
        MomentsAlongStep(relative(steps=(1e-4, 1e-3)), LAYERS, (0.0,)).run(None)


# ---- the noise of SGD ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Reordered(Images):
    """The same images in another order."""

    order: tuple[int, ...] = ()

    def batch(self, count, seed, device="cpu", dtype=torch.float32):
        x, y = super().batch(count, seed, device, dtype)
        return x[list(self.order)], y[list(self.order)]


def noise(count, sizes, split=SPLIT, seed=0):
    return GradientNoise(8, seed, count, sizes, split, dtype="float64").run(None)["noise"]


def of_images(count):
    """The gradient of each image alone."""
    module, (x, y) = drawn(8, "none", 0, dtype="float64"), SPLIT.batch(count, 0, dtype=torch.float64)
    return np.array([torch.cat([g.flatten() for g in gradients(module, x[i : i + 1], y[i : i + 1])]).numpy()
                     for i in range(count)])


def test_noise_is_the_distance_of_a_minibatchs_gradient_from_that_of_all():
    """Of the gradients of images alone; a last smaller minibatch is left out; none if all images are in it."""
    each = of_images(7)
    whole = each.mean(0)
    expected = [np.mean([np.sum((each[i : i + size].mean(0) - whole) ** 2) for i in range(0, 8 - size, size)])
                for size in (1, 2, 3, 5)]
    found = noise(7, (1, 2, 3, 5, 7))
    np.testing.assert_allclose(found[:-1], expected, rtol=1e-9)
    assert found[-1] < 1e-20 * found[0]


@pytest.mark.parametrize(("count", "size"), [(4, 2), (6, 3)])
def test_without_replacement_the_mean_over_all_splits_is_exact(count, size):
    """(C / B) (count - B) / (count - 1): every way to take half of the images, the other half behind it."""
    c, found = noise(count, (1,))[0], []
    for half in combinations(range(count), size):
        if half[0] == 0:
            order = (*half, *(i for i in range(count) if i not in half))
            found.append(noise(count, (size,), Reordered(SPLIT.training, SPLIT.test, False, order))[0])
    assert np.std(found) > 0
    assert np.mean(found) == pytest.approx(c / size * (count - size) / (count - 1), rel=1e-9)
    assert np.mean(found) < c / size


@pytest.mark.filterwarnings("ignore:Mean of empty slice", "ignore:invalid value")
def test_a_batch_size_above_the_count_is_refused():
    with pytest.raises(ValueError, match="5"):
        noise(4, (1, 5))


# ---- growth through layers -------------------------------------------------------------------------------------------

WIDTH, DEPTH, BATCH = 250, 12, 16


def growth(network, seeds):
    return np.array([BatchGrowth(network, BATCH, seed).run(None)["log_growth"] for seed in range(seeds)])


def test_orthogonal_linear_layers_keep_a_gradients_norm():
    found = growth(mlp([40] * 9, "linear", "orthogonal"), 2)
    assert found.shape == (2, 8)
    assert np.abs(found).max() < 1e-12
    wider = growth(mlp([40] * 4, "linear", "orthogonal(gain=2)"), 1)[0]
    np.testing.assert_allclose(wider, np.log(4) * np.arange(1, 4), rtol=1e-12)


def test_layers_are_counted_back_from_the_output():
    """Of two networks of the same weights, the deeper one's own first layer is the last to be gone through."""
    gains = (1, 3, 5)
    layers = [part for gain in gains for part in (Dense(20, f"orthogonal(gain={gain})"), Activation("linear"))]
    found = BatchGrowth(Network(20, layers), 4, 0).run(None)["log_growth"]
    np.testing.assert_allclose(found, 2 * np.log([5, 15, 15]), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(("sigma_w", "critical"), [(math.sqrt(2), True), (1.03 * math.sqrt(2), False)])
def test_he_keeps_the_norm_through_relu_and_three_percent_more_do_not(sigma_w, critical):
    """Within 5 standard errors and .1 (half the variance of a logarithm); 3 % are 24 ln 1.03 = .71 at that depth."""
    last = growth(mlp([WIDTH] * (DEPTH + 1), "relu", gaussian(sigma_w)), 16)[:, -1]
    tolerance = 5 * last.std(ddof=1) / 4 + 0.1  # standard error .05
    assert tolerance < 0.8 * 2 * DEPTH * math.log(1.03)
    assert (abs(last.mean()) < tolerance) == critical


def test_through_normalizations_of_a_batch_it_grows_at_the_published_rate():
    """1.59 a layer for the squared norm, in the half of the layers where the input is forgotten.

    Five standard errors and 2 % for the finite width; half or twice the batch has a rate outside.
    """
    found = growth(Network(WIDTH, [Dense(WIDTH, gaussian(1.3)), BatchNorm(), Activation("relu")] * DEPTH), 8)
    rates = (found[:, DEPTH // 2 - 1] - found[:, 0]) / (DEPTH // 2 - 1)
    tolerance = 5 * rates.std(ddof=1) / math.sqrt(8) + 0.02  # standard error .004
    for batch in (BATCH // 2, BATCH, 2 * BATCH):
        near = abs(rates.mean() - math.log(gradient_growth("relu", batch))) < tolerance
        assert near == (batch == BATCH)
