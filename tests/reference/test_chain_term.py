"""The 1/N term of chains of Gaussian layers, against closed forms and simulation.

The statistics are averages of cos(j pi F(x)), zeros at F = 0, j = 1, 2, 3: smooth, so that what comes after 1/N is
small. A right term fails by chance once in 1e6 a statistic (5 standard errors, plus 4/N for the next order); the bare
law, the twin, is at least 6 standard errors off in one of the three.
"""

import math
from fractions import Fraction

import numpy as np
import pytest
from measured import jacobians
from numpy.testing import assert_allclose

from rmt import FussCatalan, MarchenkoPastur, PointMass, SquaredSlope, activations, mlp, predict, schemes
from rmt.finite import ChainTerm, Space, corrected


def square(depth):
    return ChainTerm(FussCatalan(depth).curve, (Space(Fraction(1)),) * (depth + 1))


@pytest.mark.parametrize("depth", [1, 2, 5, 50])
def test_square_layers_have_the_closed_form(depth):
    law = FussCatalan(depth)
    x = law.ppf(np.linspace(0.02, 0.98, 25))
    w = x * np.conj(law.stieltjes(x + 0j)) - 1  # in the upper half plane
    shift = (np.angle(1 - depth * w) + depth * np.angle(1 + w)) / (2 * math.pi)
    assert_allclose(-square(depth).count_above(np.log(x)), shift, atol=1e-12)
    assert_allclose(corrected(law, 1).cdf(x) - law.cdf(x), shift, atol=1e-12)


def test_slopes_that_are_all_the_same_change_nothing():
    quarter = 0.25 * MarchenkoPastur(1)
    same = ChainTerm(quarter.curve, (Space(Fraction(1)), Space(Fraction(1), PointMass(0.25).curve)))
    x = quarter.ppf(np.linspace(0.05, 0.95, 9))
    assert_allclose(same.count_above(np.log(x)), square(1).count_above(np.log(4 * x)), atol=1e-13)


def simulated(widths, slope, draws, seed):
    """Eigenvalues of J^T J, by the networks themselves: (draws, n_0)."""
    rng, found = np.random.default_rng(seed), []
    for _ in range(draws // 500):
        found.append(np.linalg.svd(jacobians(rng, widths, 500, slope=slope), compute_uv=False) ** 2)
    values = np.concatenate(found)
    return np.pad(values, ((0, 0), (0, widths[0] - values.shape[1])))


@pytest.mark.parametrize(("widths", "activation"), [
    ((40, 40, 40), "linear"), ((20, 40, 30), "linear"), ((40, 40, 40), "relu"), ((30, 60, 80), "relu"),
    ((50, 30, 40), "relu"), ((40, 40, 40), "leaky_relu(0.3)"), ((30, 60, 20), "leaky_relu(0.5)"), ((60, 60), "relu"),
])
def test_smooth_statistics_meet_simulation(widths, activation):
    found = predict(mlp(widths, activation, schemes.gaussian(1)))
    law, n = found.spectrum.squared, widths[0]
    values = simulated(widths, float(activations.activation(activation).slope), 4000, 5)
    zero = law.atoms.get(0.0, 0.0)
    level = np.where(values > 1e-12, (law.cdf(values) - zero) / (1 - zero), 0.0)
    terms, bare = found.null.mean_sums(found.spectrum, np.array([1, 2, 3])), []
    for j, term in zip((1, 2, 3), terms, strict=True):
        sums = np.cos(j * math.pi * level).sum(axis=1)
        error = sums.std(ddof=1) / math.sqrt(len(sums))
        assert abs(sums.mean() - n * zero - term) < 5 * error + 4 * j / n
        bare.append(abs(sums.mean() - n * zero) / error)
    assert max(bare) > 6


@pytest.mark.parametrize("network", [
    mlp([5, 6, 7], "relu", "orthogonal"), mlp([5, 6, 7], "relu", "kaiming_normal", bias_std=0.1),
], ids=str)
def test_other_networks_have_no_term(network):
    assert predict(network).null is None


def test_slopes_are_the_squared_ones():
    null = predict(mlp([4, 6, 8], "relu", "kaiming_normal", activate_last=False)).null
    assert null.spaces == (Space(Fraction(1)), Space(Fraction(6, 4), SquaredSlope("relu").curve), Space(Fraction(2)))
