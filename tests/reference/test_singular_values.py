"""Singular values of real networks, against arithmetic of many digits, exact constructions and torch's own autograd."""

import math

import mpmath
import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from torch import nn

from empirical import build, jacobian, log_singular_values, measure
from empirical.inputs import array
from empirical.qr_chain import chain_log_singular_values, full_rank
from empirical.singular_values import measured
from rmt import mlp


class Wrapped(nn.Module):
    """The same function, but not an nn.Sequential."""

    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, x):
        return self.inner(x)


class Residual(nn.Sequential):
    """An nn.Sequential that is no chain: what counts is its forward."""

    def forward(self, x):
        return x + super().forward(x)


class Branching(Wrapped):
    """The same function again, by a way that no trace shows."""

    def forward(self, x):
        return self.inner(x) if x.sum() > -1e9 else x


def inputs(*shape, seed=0):
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def gaussian_chain(*widths, seed=0):
    return build(mlp(widths, "linear", "gaussian"), seed)


def truth(module, x, digits=160):
    """Return ln s of a chain of Linear, ReLU, LeakyReLU and Tanh at one input, by multiplying it out."""
    with mpmath.workdps(digits):
        product, signal = mpmath.eye(x.numel()), x
        for stage in module:
            if isinstance(stage, nn.Linear):
                product = mpmath.matrix(stage.weight.tolist()) * product
            elif not isinstance(stage, nn.Identity):
                low = {nn.ReLU: 0, nn.LeakyReLU: getattr(stage, "negative_slope", 0)}.get(type(stage))
                slopes = [1 / mpmath.cosh(h) ** 2 if low is None else 1 if h > 0 else low for h in signal.tolist()]
                product = mpmath.diag(slopes) * product
            signal = stage(signal)
        wide = product if product.rows >= product.cols else product.T
        found = mpmath.svd_r(wide, compute_uv=False)
        return np.array(sorted((float(mpmath.log(s)) if s else -math.inf for s in found), reverse=True))


@pytest.mark.parametrize("seed", [0, 1])
def test_sixty_gaussian_layers_against_160_digits(seed):
    module, x = gaussian_chain(*[16] * 61, seed=seed), inputs(1, 16)
    exact = truth(module, x[0])
    assert np.ptp(exact) > 40 * math.log(10)  # where a float64 SVD of the product sees noise
    with torch.no_grad():
        plain = np.log(np.linalg.svd(jacobian(module, x)[0].numpy(), compute_uv=False))
    assert np.max(np.abs(plain - exact)) > 10
    assert_allclose(log_singular_values(module, x)[0], exact, rtol=0, atol=1e-9)


CHAINS = [[16] * 9, [8, 20, 5, 12, 9], [5, 20, 6], [20, 5, 20], [1, 7, 1], [7, 1, 7], [1, 1, 1]]


@pytest.mark.parametrize("widths", CHAINS, ids=str)
def test_chains_of_any_widths_padded_with_exact_zeros(widths):
    module, x = gaussian_chain(*widths), inputs(1, widths[0])
    rank, got = min(widths), log_singular_values(module, x)[0]
    assert_allclose(got[:rank], truth(module, x[0])[:rank], rtol=0, atol=1e-12)
    assert np.all(got[rank:] == -math.inf)


@pytest.mark.parametrize(("activation", "seed"), [("relu", 0), ("relu", 1), ("leaky_relu(0.1)", 0)])
def test_zeros_of_relu_are_counted_exactly_and_the_rest_is_right(activation, seed):
    """The rank is the smallest number of active units of a layer (Gaussian matrices are in general position)."""
    module, x, active = build(mlp([16] * 13, activation), seed), inputs(1, 16), []
    signal = x
    with torch.no_grad():
        for stage in module:
            signal = stage(signal)
            if isinstance(stage, nn.ReLU):
                active.append(int((signal > 0).sum()))
    rank = min([16, *active])
    assert ("leaky" in activation) == (rank == 16)
    got = log_singular_values(module, x)[0]
    assert np.sum(got > -math.inf) == rank
    assert_allclose(got[:rank], truth(module, x[0])[:rank], rtol=0, atol=1e-9)


def test_saturated_tanh_against_400_digits():
    """Slopes are sech^2: autograd's 1 - tanh^2 cancels, 5e-9 relative at |h| = 9.5."""
    module, x = nn.Sequential(), inputs(1, 8)
    for layer in gaussian_chain(*[8] * 9):
        if isinstance(layer, nn.Linear):
            layer.weight.data *= 3
            module.extend([layer, nn.Tanh()])
    assert_allclose(log_singular_values(module, x)[0], truth(module, x[0], 400), rtol=0, atol=1e-9)


@pytest.mark.parametrize("places", [3, 12])
def test_values_over_more_than_300_decades(places):
    """U D^6 V with random orthogonal U and V: the values are those of D^6, known to the last digit."""
    width, times = 24, 6
    powers = np.linspace(-60, 60, places).repeat(width // places)
    u, v = (build(mlp([width] * 2, "linear", "orthogonal"), seed)[0] for seed in (0, 1))
    middle = nn.Linear(width, width, bias=False, dtype=torch.float64)
    middle.weight.data = torch.diag(torch.as_tensor(10.0**powers))
    got = log_singular_values(nn.Sequential(v, *[middle] * times, u), torch.zeros(1, width, dtype=torch.float64))[0]
    assert_allclose(got, times * np.sort(np.log(10.0**powers))[::-1], rtol=0, atol=1e-9)


def test_five_hundred_and_twenty_layers_against_1500_digits():
    """Over 300 decades: the values of A^T A from repeated Cholesky steps L L^T -> L^T L (LR iteration)."""
    module, x = gaussian_chain(*[8] * 521), inputs(1, 8)
    with mpmath.workdps(1500):
        product = mpmath.eye(8)
        for stage in module:
            if isinstance(stage, nn.Linear):
                product = mpmath.matrix(stage.weight.tolist()) * product
        gram = product.T * product
        for _ in range(8):
            root = mpmath.cholesky(gram)
            gram = root.T * root
        exact = np.array([float(mpmath.log(gram[i, i]) / 2) for i in range(8)])
    assert np.ptp(exact) > 300 * math.log(10)
    assert_allclose(log_singular_values(module, x)[0], np.sort(exact)[::-1], rtol=0, atol=1e-9)


@pytest.mark.parametrize("widths", [[30] * 2, [30] * 101, [10, 30, 30], [1, 1]], ids=str)
def test_orthogonal_linear_networks_have_all_values_one(widths):
    got = log_singular_values(build(mlp(widths, "linear", "orthogonal"), 3), inputs(2, widths[0]))
    assert_allclose(got, 0, rtol=0, atol=1e-14 * len(widths))


@pytest.mark.parametrize(("make", "shape", "rank"), [
    (lambda: nn.Sequential(nn.Conv2d(3, 16, 1), nn.AvgPool2d(2)), (3, 8, 8), 48),
    (lambda: nn.Sequential(nn.Conv1d(1, 4, 1), nn.AvgPool1d(3)), (1, 6), 2),
    (lambda: nn.Sequential(nn.Conv1d(1, 4, 1), nn.Conv1d(4, 3, 1, stride=2)), (1, 6), 3),
    (lambda: nn.Sequential(nn.Linear(4, 4), nn.Unflatten(1, (1, 4)), nn.Upsample(scale_factor=3), nn.Flatten(),
                           nn.Linear(12, 9), nn.Linear(9, 9)), (4,), 4),
])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_zeros_of_what_repeats_and_is_averaged_are_exact(make, shape, rank, dtype):
    """Every stage has full rank, the product has not."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        module = make().to(dtype)
    x = inputs(2, *shape).to(dtype)
    got = log_singular_values(module, x)
    assert np.all(np.isfinite(got).sum(1) == rank)
    exact = np.linalg.svd(jacobian(module.double(), x.double()).numpy(), compute_uv=False)[:, :rank]
    assert_allclose(np.exp(got[:, :rank]), exact, rtol=1e-12 if dtype == torch.float64 else 1e-5)


class OverPlaces(nn.Module):
    def forward(self, x):
        return x.mean(tuple(range(2, x.ndim)))


class Beside(nn.Module):
    """The mean of a signal over its places, and one of them."""

    def forward(self, x):
        return torch.stack([x.mean(2), x[:, :, 0]], 2)


@pytest.mark.parametrize(("make", "shape", "rank"), [
    (lambda: nn.Sequential(nn.Conv2d(3, 8, 1), nn.InstanceNorm2d(8), nn.Tanh(), nn.Conv2d(8, 4, 1)), (3, 6, 6), 105),
    (lambda: nn.Sequential(nn.Conv2d(3, 8, 1), nn.GroupNorm(8, 8), nn.Tanh(), nn.Conv2d(8, 4, 1)), (3, 6, 6), 105),
    (lambda: nn.Sequential(nn.Conv2d(3, 8, 1), nn.GroupNorm(1, 8), nn.Tanh(), nn.Conv2d(8, 4, 1)), (3, 6, 6), 108),
    (lambda: nn.Sequential(nn.Conv1d(3, 8, 1), nn.InstanceNorm1d(8), nn.GELU(), nn.Conv1d(8, 8, 1),
                           nn.InstanceNorm1d(8)), (3, 12), 33),
    (lambda: nn.Sequential(nn.Conv2d(3, 8, 1), nn.InstanceNorm2d(8), OverPlaces()), (3, 6, 6), 0),
    (lambda: nn.Sequential(nn.InstanceNorm2d(3), nn.AvgPool2d(6), nn.Flatten(), nn.Linear(3, 4)), (3, 6, 6), 0),
    (lambda: nn.Sequential(nn.InstanceNorm1d(4), Beside(), nn.Flatten(), nn.Linear(8, 8)), (4, 9), 4),
])
@pytest.mark.parametrize("seed", range(5))
def test_zeros_that_arise_between_a_normalization_and_its_neighbours_are_exact(make, shape, rank, seed):
    """They came out as 3e-18 to 1e-16; where all are zero an SVD of what rounding left had nothing to compare with."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        module, x = make().double(), torch.randn(1, *shape, dtype=torch.float64)
    got = log_singular_values(module, x)[0]
    assert np.isfinite(got).sum() == rank
    exact = np.linalg.svd(jacobian(module, x)[0].numpy(), compute_uv=False)[:rank]
    assert_allclose(np.exp(got[:rank]), exact, rtol=1e-7)


def normalized(x, eps):
    """A layer normalization without weights, and its Jacobian."""
    n = len(x)
    centre = mpmath.eye(n) - mpmath.ones(n) / n
    off = centre * x
    scale = 1 / mpmath.sqrt(mpmath.norm(off) ** 2 / n + eps)
    return scale * off, scale * centre - scale**3 / n * off * off.T


def test_small_values_between_normalizations_that_are_no_rounding_are_kept():
    """Of 5e-19 of the largest: each stage has it, far over its own error."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        layers = nn.Linear(6, 6), nn.LayerNorm(6, eps=1e-7), nn.Linear(6, 6), nn.LayerNorm(6, eps=1e-7)
    module, x = nn.Sequential(*layers).double(), inputs(1, 6)
    module[2].weight.data = torch.diag(10.0 ** -torch.arange(0, 12, 2, dtype=torch.float64))
    with mpmath.workdps(60):
        signal, jacobian_so_far = mpmath.matrix(x[0].tolist()), mpmath.eye(6)
        for linear in module[::2]:
            weight = mpmath.matrix(linear.weight.tolist())
            signal, of_norm = normalized(weight * signal + mpmath.matrix(linear.bias.tolist()), mpmath.mpf(1e-7))
            jacobian_so_far = of_norm * weight * jacobian_so_far
        exact = [float(mpmath.log(value)) for value in mpmath.svd_r(jacobian_so_far, compute_uv=False)]
    got = log_singular_values(module, x)[0]
    assert got[4] < got[0] - 40
    assert_allclose(got[:5], exact[:5], rtol=0, atol=1e-7)
    assert np.isneginf(got[5])


def test_a_row_is_known_by_the_columns_that_meet_something():
    """Weights of 1e-20 behind living units, of 1 behind dead ones: all values were zero."""
    module, x = nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 8)).double(), inputs(1, 8)
    module[0].bias.data = torch.where(torch.arange(8) < 4, 9.0, -9.0).double()
    exact = np.linalg.svd(jacobian(module, x)[0].numpy(), compute_uv=False)[:4]
    module[2].weight.data[:, :4] *= 1e-20
    got = log_singular_values(module, x)[0]
    assert_allclose(got[:4], np.log(exact) - 20 * math.log(10), atol=1e-9)
    assert np.isneginf(got[4:]).all()
    down = nn.Sequential(nn.Linear(2, 2, bias=False), nn.Linear(2, 2, bias=False)).double()
    down[0].weight.data = torch.tensor([[0.0, 0.0], [1.0, 1.0]], dtype=torch.float64)
    down[1].weight.data = torch.tensor([[1.0, 1e-20], [2.0, 1e-20]], dtype=torch.float64)
    assert_allclose(log_singular_values(down, torch.ones(1, 2).double())[0], [math.log(2e-20), -math.inf], atol=1e-12)


@pytest.mark.parametrize("eps", [1e-5, 1e-8, 1e-12])
@pytest.mark.parametrize("depth", [2, 4])
def test_what_every_normalization_leaves_of_a_direction_is_multiplied(eps, depth):
    """Of 1e-32 and less: each stage knows its own small direction, and one zero is theirs in common."""
    module, x = nn.Sequential(*[nn.LayerNorm(8, eps=eps) for _ in range(depth)]).double(), inputs(1, 8)
    signal, product = mpmath.matrix(x[0].tolist()), mpmath.eye(8)
    with mpmath.workdps(120):
        for _ in range(depth):
            signal, of_norm = normalized(signal, mpmath.mpf(eps))
            product = of_norm * product
        exact = [float(mpmath.log(value)) for value in mpmath.svd_r(product, compute_uv=False)]
    got = log_singular_values(module, x)[0]
    assert_allclose(got[:7], exact[:7], atol=1e-14 / eps * depth + 1e-9)
    assert np.isneginf(got[7])


def test_slopes_of_saturated_units_behind_a_normalization_are_no_rounding():
    """The error of a row is that of the normalization times its slope."""
    module, x = nn.Sequential(nn.LayerNorm(6), nn.Tanh(), nn.Linear(6, 6, bias=False)).double(), inputs(1, 6)
    module[0].bias.data = torch.tensor([0.0, 0.0, 0.0, 20.0, 40.0, 60.0], dtype=torch.float64)
    module[2].weight.data = torch.eye(6, dtype=torch.float64)
    of_norm = jacobian(module[:1], x)[0].numpy()
    slopes = 1 / np.cosh(module[0](x)[0].detach().numpy()) ** 2
    got = log_singular_values(module, x)[0]
    assert np.isneginf(got[5])
    assert np.all(np.isfinite(got[:5]))
    for count in (3, 4):  # before a gap: the volume of the rows of the largest slopes
        gram = of_norm[:count] * slopes[:count, None]
        assert got[:count].sum() == pytest.approx(np.linalg.slogdet(gram @ gram.T)[1] / 2, abs=1e-6)
    assert got[4] < -80


class Detail(nn.Module):
    """A signal less its means over squares of four: nothing, of one that was repeated four times."""

    def forward(self, x):
        return x - nn.functional.interpolate(nn.functional.avg_pool2d(x, 2), scale_factor=2)


def test_a_linear_module_whose_terms_cancel_is_zero():
    """What rounding leaves is the same beside any input: it is told by another direction of the same line."""
    module = nn.Sequential(nn.Conv2d(1, 2, 1), nn.Upsample(scale_factor=2), Detail(), nn.Conv2d(2, 2, 1)).double()
    values = measured(module, inputs(2, 1, 4, 4))
    assert np.all(np.isneginf(values.logs) | values.unresolved)


def some(*shape):
    return np.random.default_rng(len(shape)).standard_normal(shape)


FACTORS = {
    "zero in the middle": ([some(4, 5), np.zeros((4, 4)), some(3, 4)], 0),
    "zero first": ([np.zeros((4, 5)), some(4, 4)], 0), "no rows": ([some(4, 5), np.empty((0, 4))], 0),
    "through nothing": ([np.empty((0, 5)), np.empty((3, 0)), some(2, 3)], 0),
    "no columns": ([np.empty((3, 0)), some(2, 3)], 0), "a dead diagonal": ([some(4, 5), np.zeros(4), some(4, 4)], 0),
    "rank one": ([np.outer(some(4), some(5)), some(3, 4)], 1), "one row": ([some(1, 5), some(3, 1)], 1),
    "one number": ([some(1, 1)], 1), "one entry alive": ([some(4, 5), np.eye(4)[0], some(4, 4)], 1),
}


@pytest.mark.parametrize("name", FACTORS)
def test_factors_of_any_rank_and_of_no_size_go_without_a_word_of_lapack(name, capfd):
    chain, rank = FACTORS[name]
    logs = chain_log_singular_values(chain, chain[0].shape[-1])
    assert (len(logs), int(np.isfinite(logs).sum())) == (chain[0].shape[-1], rank)
    if rank:
        product = np.eye(len(logs))
        for factor in chain:
            product = factor @ product if factor.ndim == 2 else factor[:, None] * product
        assert logs[0] == pytest.approx(np.log(np.linalg.norm(product)), abs=1e-12)
    broken = [factor.copy() for factor in chain]
    if broken[-1].size:
        broken[-1].flat[0] = np.nan
        with pytest.raises(ValueError, match="NaN or inf"):
            chain_log_singular_values(broken, len(logs))
        with pytest.raises(ValueError, match="NaN or inf"):
            full_rank(np.atleast_2d(broken[-1]), 1e-16)
    assert capfd.readouterr() == ("", "")


def test_an_all_dead_network_has_rank_zero():
    module = gaussian_chain(4, 4, 4)
    module[0].weight.data.zero_()
    assert np.all(log_singular_values(module, inputs(2, 4)) == -math.inf)


def test_a_module_that_cannot_be_split_is_measured_to_its_resolution_with_a_warning():
    chain, x = gaussian_chain(*[16] * 61), inputs(2, 16)
    exact = log_singular_values(chain, x)
    with pytest.warns(UserWarning, match="resolution"):
        got = log_singular_values(Branching(chain), x)
    again, resolution, whole, _ = measured(Branching(chain), x)
    drawn = measure(lambda: Branching(chain), draws=2, inputs=array(x.numpy()), progress=False)
    assert "if x.sum() > -1e9" in whole
    np.testing.assert_array_equal(got, again)
    seen = exact > resolution[:, None] + math.log(100)
    assert 0 < seen.sum() < seen.size
    assert_allclose(got[seen], exact[seen], atol=0.05)
    assert np.all(got >= resolution[:, None])
    assert np.all(got[exact < resolution[:, None] - 5] < resolution.max() + 1)
    assert np.all(drawn.resolution > -math.inf)
    assert np.all(measured(chain, x).resolution == -math.inf)
    flat = gaussian_chain(5, 9)  # well conditioned: no warning (an error here)
    assert_allclose(log_singular_values(Branching(flat), inputs(2, 5)), log_singular_values(flat, inputs(2, 5)))


def trained(module, n_inputs):
    """Return the module in evaluation mode, its statistics those of a batch."""
    module(torch.randn(20, n_inputs))
    return module.eval()


MODULES = {
    "rectangular": (lambda: nn.Sequential(nn.Linear(5, 9), nn.Tanh(), nn.Linear(9, 3)), (5,)),
    "nested": (lambda: nn.Sequential(nn.Sequential(nn.Linear(5, 6), nn.Sequential(nn.GELU())), nn.Linear(6, 7)), (5,)),
    "flatten": (lambda: nn.Sequential(nn.Flatten(), nn.Linear(6, 4), nn.Sigmoid()), (2, 3)),
    "layer norm": (lambda: nn.Sequential(nn.Linear(5, 6), nn.LayerNorm(6), nn.Linear(6, 4)), (5,)),
    "convolution": (lambda: nn.Sequential(nn.Conv2d(2, 3, 3), nn.SiLU(), nn.Flatten(), nn.Linear(12, 6)), (2, 4, 4)),
    "batch norm": (lambda: trained(nn.Sequential(nn.Linear(5, 6), nn.BatchNorm1d(6), nn.ELU()), 5), (5,)),
    "not a chain": (lambda: Wrapped(nn.Linear(4, 6)), (4,)),
    "in place": (lambda: nn.Sequential(nn.Linear(5, 5), nn.ReLU(inplace=True), nn.Linear(5, 4)), (5,)),
    "overridden forward": (lambda: nn.Sequential(Residual(nn.Linear(4, 4)), nn.Linear(4, 4)), (4,)),
    "overridden forward outside": (lambda: Residual(nn.Linear(4, 4), nn.Tanh()), (4,)),
}


@pytest.mark.parametrize("name", MODULES)
def test_jacobian_and_its_values_equal_autograd(name):
    make, shape = MODULES[name]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        module = make().double()
    x = inputs(3, *shape)
    j = jacobian(module, x)
    exact = torch.stack([torch.autograd.functional.jacobian(lambda z: module(z[None])[0].flatten(), row) for row in x])
    exact = exact.flatten(2)
    assert (j.shape, j.requires_grad) == (exact.shape, False)
    assert_allclose(j.numpy(), exact.detach().numpy(), rtol=0, atol=1e-13)
    s = np.linalg.svd(exact.detach().numpy(), compute_uv=False)
    got = np.exp(log_singular_values(module, x))
    assert_allclose(got[:, : s.shape[1]], s, rtol=1e-10, atol=1e-14)
    assert np.all(got[:, s.shape[1] :] == 0)
