"""The rank of a finite network, and which theory it obeys."""

import itertools
import math

import numpy as np
import pytest
from numpy.testing import assert_allclose

import empirical
import rmt
from rmt import Activation, Conv2d, Dense, Network, Residual, Scale, mlp, predict, schemes
from rmt.finite.rank import RankDistribution
from rmt.finite.regime import regime

SMALL = [  # n_inputs, (units, chance that one is active) of each layer
    (3, ()), (1, ((1, 0.5),)), (3, ((3, 0.5),)), (4, ((3, 0.5), (4, 0.5))), (2, ((5, 0.25), (3, 0.75))),
    (5, ((2, 1.0), (4, 0.5))), (3, ((4, 1.0), (6, 0.3), (2, 1.0))), (6, ((6, 0.5), (6, 1.0), (4, 0.5))),
]


def enumerated(n_inputs, active):
    """Every pattern of active units, one by one."""
    pmf = np.zeros(n_inputs + 1)
    patterns = [list(itertools.product((0, 1), repeat=n)) for n, _ in active]
    for layers in itertools.product(*patterns):
        chance = math.prod(p if unit else 1 - p for (_, p), layer in zip(active, layers, strict=True) for unit in layer)
        pmf[min([n_inputs, *map(sum, layers)])] += chance
    return pmf


@pytest.mark.parametrize(("n_inputs", "active"), SMALL)
def test_the_rank_is_the_least_number_of_active_units(n_inputs, active):
    rank, pmf = RankDistribution(n_inputs, active), enumerated(n_inputs, active)
    assert_allclose(rank.pmf, pmf, rtol=0, atol=1e-14)
    assert rank.mass_at_zero == pytest.approx(1 - pmf @ np.arange(n_inputs + 1) / n_inputs, abs=1e-14)
    sums = np.ones(1)
    for _ in range(3):
        sums = np.convolve(sums, pmf)
    low, high = rank.mass_range(3, 0.9)
    zeros = 1 - np.arange(sums.size) / (sums.size - 1)
    assert sums[(zeros >= low - 1e-12) & (zeros <= high + 1e-12)].sum() >= 0.9
    assert sums[zeros > high + 1e-12].sum() <= 0.05 + 1e-12
    assert sums[zeros < low - 1e-12].sum() <= 0.05 + 1e-12


@pytest.mark.parametrize(("width", "depth", "mass"), [
    (200, 3, 0.530), (200, 10, 0.554), (200, 30, 0.572), (500, 3, 0.519), (500, 10, 0.534),
])
def test_simulated_mass_at_zero_of_relu_networks(width, depth, mass):
    """THEORY 4, simulated, three digits."""
    prediction = predict(mlp([width] * (depth + 1)))
    assert prediction.finite_width.rank.mass_at_zero == pytest.approx(mass, abs=6e-4)
    assert prediction.spectrum.atoms == {0.0: 0.5}
    assert prediction.finite_width.rank.shift == pytest.approx(2 * mass - 1, abs=2e-3)


def test_a_mass_range_holds_its_share_of_simulated_averages():
    """2000 averages over 5 networks: at most .1 + 4 sqrt(.09/2000) = .127 outside 90 % (false alarm 3e-5); a range
    of whole zeros covers more than it must, but not so much that under .05 are left."""
    rank, rng = predict(mlp([40, 40, 30, 50])).finite_width.rank, np.random.default_rng(3)
    ranks = np.min([rng.binomial(n, p, (2000, 5)) for n, p in ((40, 0.5), (30, 0.5), (50, 0.5))], axis=0)
    zeros, (low, high) = 1 - ranks.mean(axis=1) / 40, rank.mass_range(5, 0.9)
    assert 0.05 < np.mean((zeros < low - 1e-12) | (zeros > high + 1e-12)) < 0.127


@pytest.mark.parametrize("networks", [1, 10, 1000])
def test_a_network_that_cannot_lose_rank_has_one_mass(networks):
    for widths, mass in (([8, 8], 0), ([8, 2, 5], 0.75), ([8, 20], 0)):
        rank = predict(mlp(widths, "linear")).finite_width.rank
        assert rank.mass_range(networks) == pytest.approx((mass, mass), abs=1e-12)
        assert rank.shift == 0


HAAR = Dense(6, "orthogonal")
TURNED = {  # layers on six inputs, or (4, 2, 2): probability of each number of zeros
    "1 + Q": ([Residual([HAAR])], {0: 1 / 2, 1: 1 / 2}),
    "1 - Q": ([Residual([HAAR], scale=-1)], {0: 1 / 2, 1: 1 / 2}),
    "1 + Q P": ([Residual([HAAR, HAAR])], {0: 1 / 2, 1: 1 / 2}),
    "three blocks, whose zeros do not add up": ([Residual([HAAR])] * 3, {0: 1 / 8, 1: 7 / 8}),
    "gains that make up for each other": (
        [Residual([Dense(6, schemes.orthogonal(2**0.5))], scale=2**-0.5)], {0: 1 / 2, 1: 1 / 2}),
    "another gain": ([Residual([HAAR], scale=0.9)], {0: 1}),
    "a shortcut of 2": ([Residual([HAAR], scale=2, shortcut=[Scale(-2)])], {0: 1 / 2, 1: 1 / 2}),
    "through more dimensions": ([Residual([Dense(12, "orthogonal"), HAAR])], {0: 1}),
    "Gaussian": ([Residual([Dense(6, "gaussian")])], {0: 1}),
    "slopes that may all be 1": ([Residual([HAAR, Activation("relu")])], {0: 1 - 2**-7, 1: 2**-7}),
    "behind fewer units": ([Residual([HAAR]), Dense(5, "gaussian")], {1: 1}),
    "at every position": ([Residual([Conv2d(4, 1, init="orthogonal")])] * 2, {0: 1 / 4, 4: 3 / 4}),
    "two groups": ([Residual([Conv2d(4, 1, groups=2, init="delta_orthogonal")])], {0: 1 / 4, 4: 1 / 2, 8: 1 / 4}),
}


@pytest.mark.parametrize("name", TURNED)
def test_residual_blocks_that_turn_as_much_as_they_keep_have_zeros(name):
    """100 networks: the number of each count within five standard errors (false alarm 1e-5 in all)."""
    layers, zeros = TURNED[name]
    network = Network((4, 2, 2) if isinstance(layers[0].layers[0], Conv2d) else 6, layers)
    found = predict(network).finite_width.rank.pmf[::-1]
    expected = np.zeros(found.size)
    expected[[*zeros]] = [*zeros.values()]
    assert_allclose(found, expected, rtol=0, atol=1e-12)
    logs = empirical.measure(network, draws=100, seed=1, progress=False).log_singular_values
    counts = np.bincount((logs < -30).sum(axis=(1, 2)), minlength=found.size)
    assert np.all(np.abs(counts - 100 * expected) <= 5 * np.sqrt(100 * expected * (1 - expected)))
    exact = np.bincount((logs == -np.inf).sum(axis=(1, 2)), minlength=found.size)
    assert np.abs(exact - counts).max() <= 2  # a row of uneven size hides one of a hundred


BETAS = [  # log-norm variance of one square layer times its width (Hanin and Nica 2019, THEORY 4)
    ("linear", "gaussian", 2), ("relu", "kaiming_normal", 5), ("linear", "orthogonal", 0), ("relu", "orthogonal", 3),
]


@pytest.mark.parametrize(("activation", "init", "beta"), BETAS)
def test_the_spread_of_the_log_norm_adds_over_layers(activation, init, beta):
    spread = predict(mlp([50, 50, 200, 100], activation, init)).finite_width.regime.beta
    if init == "orthogonal":  # only the contracting layer has a spread of its own
        assert spread == pytest.approx(beta * (1 / 50 + 1 / 200 + 1 / 100) + 2 * (1 / 100 - 1 / 200), rel=1e-12)
    else:
        assert spread == pytest.approx(beta * (1 / 50 + 1 / 200 + 1 / 100), rel=1e-12)


REGIMES = [
    ([200] * 4, "linear", "gaussian", "free law"),  # 9 / 200 = .045
    ([200] * 5, "linear", "gaussian", "fluctuating"),  # 16 / 200
    ([20] * 6, "linear", "gaussian", "fluctuating"),
    ([20] * 41, "linear", "gaussian", "Lyapunov"),  # L/N = 2
    ([20] * 40, "linear", "gaussian", "fluctuating"),
    ([20] * 41, "linear", "orthogonal", "free law"),
    ([500, 500], "relu", "kaiming_normal", "free law"),
    ([200] * 4, "relu", "kaiming_normal", "fluctuating"),  # the true distance is .03
    ([30000] * 4, "relu", "kaiming_normal", "free law"),
]


@pytest.mark.parametrize(("widths", "activation", "init", "name"), REGIMES)
def test_the_regime_is_known_before_anything_is_measured(widths, activation, init, name):
    found = predict(mlp(widths, activation, init)).finite_width.regime
    assert found.name == name
    assert found.depth_over_width == pytest.approx((len(widths) - 1) / widths[0], rel=1e-12)
    assert str(found).startswith(name)


@pytest.mark.parametrize(("beta", "shift", "name"), [
    (0.0499, 0, "free law"), (0.05, 0, "fluctuating"), (0.01, 0.0199, "free law"), (0.01, 0.02, "fluctuating"),
    (3.99, 0, "fluctuating"), (4, 0, "Lyapunov"), (4, 1, "Lyapunov"), (0, 0, "free law"),
])
def test_thresholds_of_the_regime(beta, shift, name):
    assert regime(2, 100, beta, shift).name == name


@pytest.mark.parametrize("kwargs", [
    {"depth": -1}, {"depth": 1.5}, {"width": 0}, {"width": math.nan}, {"beta": -1}, {"beta": math.inf},
    {"rank_shift": 1.5},
])
def test_the_regime_refuses_what_is_no_network(kwargs):
    with pytest.raises((TypeError, ValueError), match=next(iter(kwargs))):
        regime(**{"depth": 1, "width": 10, "beta": 0.1} | kwargs)


@pytest.mark.parametrize("network", [
    mlp([1] * 4), mlp([1, 5, 1]), mlp([5, 1, 5]), mlp([3, 4], activate_last=False), Network(1, []),
    Network(6, [rmt.Activation("relu")]), mlp([2] * 200),
], ids=str)
def test_tiny_networks_have_a_defined_answer(network):
    prediction = predict(network)
    rank = prediction.finite_width.rank
    assert rank.pmf.sum() == pytest.approx(1, abs=1e-12)
    assert 0 <= rank.mass_at_zero <= 1
    assert 0 <= rank.shift <= 1
    assert rank.mass_at_zero >= prediction.spectrum.atoms.get(0.0, 0.0) - 1e-12
    low, high = rank.mass_range(4)
    assert 0 <= low <= high <= 1
    text = prediction.table() + str(prediction.finite_width.regime)
    assert "nan" not in text
    assert "inf" not in text
