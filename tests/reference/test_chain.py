"""Chains at their own width, against closed forms, enumeration and simulation.

The statistics are a network's means of cos(j pi F(s)) over its values s > 0, j = 1..6, what the p-value rests on. A
right mean fails by chance once in 1e6 a statistic (5 standard errors, plus 4/n^2 for the next order); the bare law,
the twin, is at least 6 standard errors off in one of the six.
"""

import math
from fractions import Fraction

import numpy as np
import pytest
from measured import jacobians
from numpy.testing import assert_allclose
from scipy.stats import binom

from rmt import (
    Activation,
    Dense,
    Discrete,
    FussCatalan,
    MarchenkoPastur,
    Network,
    PointMass,
    SquaredSlope,
    activations,
    mlp,
    predict,
)
from rmt.finite import Chain, ChainLayer, corrected
from rmt.laws.convolution import ChainLaw
from rmt.laws.master_curve import MasterCurve
from rmt.smooth_statistics import cosines

ONE = PointMass(1)
FREQUENCIES = np.arange(1.0, 7)


def gaussian(rows, n_inputs, variance, slopes=ONE):
    weights = MasterCurve(Fraction(variance) * rows, ((Fraction(rows, n_inputs), Fraction(1)),))
    return ChainLayer(rows, weights, slopes=slopes)


def square(depth):
    return Chain(1, (gaussian(1, 1, 1),) * depth)


@pytest.mark.parametrize("depth", [1, 2, 5, 50])
def test_square_layers_have_the_closed_form(depth):
    law = FussCatalan(depth)
    x = law.ppf(np.linspace(0.02, 0.98, 25))
    w = x * np.conj(law.stieltjes(x + 0j)) - 1  # in the upper half plane
    shift = (np.angle(1 - depth * w) + depth * np.angle(1 + w)) / (2 * math.pi)
    above, term = square(depth).expected_counts(np.log(x))
    assert_allclose(above, law.sf(x), atol=1e-12)
    assert_allclose(-term, shift, atol=1e-12)
    assert_allclose(corrected(law, 1).cdf(x) - law.cdf(x), shift, atol=1e-12)


def test_slopes_that_are_all_the_same_change_nothing():
    same = Chain(1, (gaussian(1, 1, 1, PointMass(0.25)),))
    log_x = np.log((0.25 * MarchenkoPastur(1)).ppf(np.linspace(0.05, 0.95, 9)))
    assert_allclose(same.expected_counts(log_x), square(1).expected_counts(log_x + math.log(4)), atol=1e-13)
    chain = predict(mlp([5, 6, 7], "linear", "gaussian"))
    silent = Chain(5, tuple(gaussian(n, 5, Fraction(4, m), PointMass(0.25)) for n, m in ((6, 5), (7, 6))))
    assert_allclose(silent.mean_cosines(chain.spectrum, FREQUENCIES),
                    chain.null.mean_cosines(chain.spectrum, FREQUENCIES), atol=2e-3)


def test_a_values_law_is_symmetric_in_the_widths_of_the_spaces():
    """What is above zero does not know the order of the layers (Ipsen and Kieburg 2014)."""
    law = predict(mlp([6, 8, 7], "linear", "gaussian")).spectrum
    x = np.linspace(-2, 0.5, 7)
    there = Chain(6, (gaussian(8, 6, 1), gaussian(7, 6, 1)))
    back = Chain(7, (gaussian(8, 7, 1), gaussian(6, 7, 1)))
    assert_allclose(there.expected_counts(x), back.expected_counts(x), atol=1e-12)
    assert_allclose(there.mean_cosines(law, FREQUENCIES), back.mean_cosines(law, FREQUENCIES), atol=1e-9)


@pytest.mark.parametrize("low", [0.0, 0.09])
def test_drawn_slopes_average_as_their_enumeration_does(low):
    """One layer of twelve: every number of active units with its probability, its counts integrated level by level."""
    slopes = Discrete((low, 1.0), (0.5, 0.5))
    chain = Chain(10, (gaussian(12, 10, Fraction(1, 10), slopes),))
    law = ChainLaw(chain.curve).spectrum
    u = (np.arange(1000) + 0.5) / 1000
    log_x, total = 2 * law.log.ppf(u), np.zeros(6)
    waves = np.pi * FREQUENCIES[:, None] * np.sin(np.pi * np.outer(FREQUENCIES, u)) / 1000
    for k in range(13):
        kept = Discrete(*zip(*[(x, Fraction(n, 12)) for x, n in ((low, 12 - k), (1.0, k)) if n], strict=True))
        if rank := min(10, 12 if low else k):
            counts = Chain(10, (gaussian(12, 10, Fraction(1, 10), kept),)).expected_counts(log_x)
            total += binom.pmf(k, 12, 0.5) * (1 - waves @ sum(counts) / rank)
    assert_allclose(chain.mean_cosines(law, FREQUENCIES), total, atol=0.01)


def test_a_drawn_layer_has_as_many_slopes_as_rows():
    layer = gaussian(9, 9, 1, Discrete((0, 1, 4), (0.25, 0.25, 0.5)))
    levels = np.array([(u, v) for u in np.linspace(0.005, 0.995, 100) for v in np.linspace(0.05, 0.95, 10)])
    counts = np.zeros(3)
    for found in layer.drawn(levels):
        drawn = {x: round(9 * m) for x, m in found.slopes.atoms.items()}
        assert sum(drawn.values()) == 9
        counts += [drawn.get(x, 0) / 1000 for x in (0.0, 1.0, 4.0)]
    assert_allclose(counts, [2.25, 2.25, 4.5], atol=0.1)
    relu = gaussian(9, 9, 1, SquaredSlope("relu"))
    active = [found.slopes.atoms.get(1.0, 0) * 9 for found in relu.drawn(np.array([[1e-9], [0.5], [1 - 1e-9]]))]
    assert active == [9, 5, 0]


CHAINS = [
    ((40, 40, 40), "linear", "gaussian", 0.0), ((20, 40, 30), "linear", "gaussian", 0.3),
    ((24,) * 9, "linear", "gaussian", 0.0), ((40, 40, 40), "relu", "gaussian", 0.0),
    ((30, 60, 80), "relu", "gaussian", 0.5), ((50, 30, 40), "relu", "gaussian", 0.0),
    ((24,) * 9, "relu", "gaussian", 0.0), ((60, 60), "relu", "gaussian", 0.0),
    ((40, 40, 40), "leaky_relu(0.3)", "gaussian", 0.0), ((30, 60, 20), "leaky_relu(0.5)", "gaussian", 0.7),
    ((30,) * 6, "leaky_relu(0.05)", "gaussian", 0.0), ((60, 40, 50, 30), "linear", "orthogonal", 0.0),
    ((40, 40, 40), "relu", "orthogonal", 0.0), ((30, 60, 40), "relu", "orthogonal", 0.5),
    ((24,) * 9, "relu", "orthogonal", 0.0), ((40, 40, 40), "leaky_relu(0.2)", "orthogonal", 0.0),
    ((30, 20, 30), "linear", "orthogonal", 0.0), ((40, 30, 40), "relu", "orthogonal", 0.0),
]


@pytest.mark.parametrize(("widths", "activation", "init", "bias_std"), CHAINS)
def test_the_means_meet_simulation(widths, activation, init, bias_std):
    found, rng = predict(mlp(widths, activation, init, bias_std)), np.random.default_rng(5)
    slope = float(activations.activation(activation).a)
    values = np.concatenate([
        np.linalg.svd(jacobians(rng, widths, 500, 1.0, slope, bias_std, init == "orthogonal"), compute_uv=False)
        for _ in range(8)])
    alive = values > 1e-13 * values.max(axis=1, keepdims=True)
    logs = np.where(alive, np.log(np.where(alive, values, 1.0)), -np.inf)
    means = cosines(found.spectrum.log, logs, 1e-8)
    expected, bare = found.null.mean_cosines(found.spectrum, FREQUENCIES[: means.shape[1]]), []
    for mean, theory in zip(means.T, expected, strict=True):
        error = mean.std(ddof=1) / math.sqrt(len(values))
        assert abs(mean.mean() - theory) < 5 * error + 4 / min(widths) ** 2
        bare.append(abs(mean.mean()) / error)
    assert max(bare, default=7) > 6
    assert bare or (widths, activation) == ((30, 20, 30), "linear")  # values 0 and 1 alone


@pytest.mark.parametrize(("widths", "activation"), [
    ((40, 40, 40), "linear"), ((40, 50, 40), "relu"), ((24,) * 9, "relu"),
])
def test_the_pooled_cdf_meets_simulation(widths, activation):
    """At nine levels, each within 5 standard errors over 4000 networks and 1/n^1.5; the law itself is over 6 off."""
    found, rng = predict(mlp(widths, activation, "gaussian")), np.random.default_rng(9)
    slope = float(activations.activation(activation).a)
    found_jacobians = np.concatenate([jacobians(rng, widths, 500, 1.0, slope) for _ in range(8)])
    values = np.linalg.svd(found_jacobians, compute_uv=False)
    alive = values > 1e-13 * values.max(axis=1, keepdims=True)
    logs = np.log(np.where(alive, values, np.inf))
    at, shift = found.null.cdf_shift(found.spectrum)
    places = np.linspace(found.spectrum.log.ppf(0.1), found.spectrum.log.ppf(0.95), 9)
    below = np.array([(logs <= place).sum(axis=1) for place in places])
    pooled = below.sum(axis=1) / alive.sum()
    number = alive.sum(axis=1)
    error = (below - pooled[:, None] * number).std(axis=1) / number.mean() / math.sqrt(len(values))
    law = found.spectrum.log.cdf(places)
    assert np.all(np.abs(pooled - law - np.interp(places, at, shift)) < 5 * error + min(widths) ** -1.5)
    assert np.max(np.abs(pooled - law) / error) > 6


def test_other_networks_have_no_null():
    assert predict(Network(4, [Activation("relu"), Dense(4)])).null is None
    assert predict(Network(4, [])).null is None


def test_a_prediction_hands_over_its_layers():
    null = predict(mlp([4, 6, 8], "relu", "kaiming_normal", activate_last=False)).null
    assert null == Chain(4, (gaussian(6, 4, Fraction(1, 2), SquaredSlope("relu")), gaussian(8, 4, Fraction(1, 3))))
    assert null.least_width == 4
    assert [layer.turned for layer in predict(mlp([4, 6, 5], "relu", "orthogonal")).null.layers] == [6, 6]
