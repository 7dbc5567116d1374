"""The largest singular value, the mean of ln s, the condition number and the distance of one network, at any depth.

Simulated fresh, at L/N = .1, .3, 1, 3. The median must halve 1600 networks and the 90 % band hold its share: each
within 4.5 binomial standard errors (false alarm 7e-6) and the error that the interpolation is said to have, .1 standard
deviations (.04 in probability). Tracy and Widom alone, or values one standard deviation off, are outside.
"""

import itertools
import math

import numpy as np
import pytest
from measured import haar, jacobians
from numpy.testing import assert_allclose
from scipy import stats

from empirical.singular_values import chain_log_singular_values
from rmt import Bernoulli, FussCatalan, MarchenkoPastur, PointMass, Semicircle, TracyWidom, mlp, predict
from rmt.finite import Chain, chain_log_condition_number, log_condition_number, log_largest, mean_log, tracy_widom_edge
from rmt.smooth_statistics import cosines

N, DRAWS = 30, 1600


def of_one_network(depth, slope, draws=DRAWS, seed=0):
    """ln s_max, and the mean of ln s by determinants (linear), of products kept near one."""
    rng = np.random.default_rng([seed, depth])
    jacobian, scale, volume = np.broadcast_to(np.eye(N), (draws, N, N)), np.zeros(draws), np.zeros(draws)
    for _ in range(depth):
        w = rng.normal(size=(draws, N, N)) / math.sqrt(N)
        d = np.where(rng.random((draws, N, 1)) < 0.5, 1.0, slope) if slope != 1 else 1.0
        jacobian, volume = d * (w @ jacobian), volume + np.linalg.slogdet(w)[1] / N
        size = np.sqrt((jacobian**2).sum((1, 2)))
        jacobian, scale = jacobian / size[:, None, None], scale + np.log(size)
    return scale + np.log(np.linalg.svd(jacobian, compute_uv=False)[:, 0]), volume


def off(values, found):
    """By how much the share under the median and that inside the 90 % band are wrong, in allowances."""
    low, high = found.band()
    wrong = []
    for share, right in ((np.mean(values < found.median), 0.5), (np.mean((values > low) & (values < high)), 0.9)):
        wrong.append(abs(share - right) / (4.5 * math.sqrt(right * (1 - right) / values.size) + 0.04))
    return max(wrong)


@pytest.mark.parametrize("depth", [3, 9, 30, 90])
def test_linear_networks_between_the_regimes(depth):
    chain = Chain.gaussian([N] * (depth + 1))
    largest, volume = of_one_network(depth, 1.0)
    assert off(largest, log_largest(chain)) < 1
    assert off(volume, mean_log(chain)) < 1
    assert off(largest + log_largest(chain).std, log_largest(chain)) > 1
    edge = tracy_widom_edge(FussCatalan(depth), N)
    assert off(largest, edge) > 1
    assert off(volume + mean_log(chain).std, mean_log(chain)) > 1


@pytest.mark.parametrize("depth", [3, 9, 30, 90])
def test_relu_networks_between_the_regimes(depth):
    found = predict(mlp([N] * (depth + 1), "relu", "gaussian")).finite_width
    largest, _ = of_one_network(depth, 0.0)
    largest = largest[np.isfinite(largest)]
    assert off(largest, found.log_largest) < 1
    assert off(largest + found.log_largest.std, found.log_largest) > 1


@pytest.mark.parametrize("widths", [(20,) * 7, (12, 30, 20), (30, 20, 10, 25), (16,) * 49])
def test_the_mean_logarithm_of_relu_and_rectangular_networks(widths):
    rng, values = np.random.default_rng(3), []
    for _ in range(800):
        layers = [(rng.random(m) < 0.5)[:, None] * rng.normal(size=(m, n)) / math.sqrt(n)
                  for n, m in itertools.pairwise(widths)]
        logs = chain_log_singular_values(layers, widths[0])
        if np.isfinite(logs).any():
            values.append(logs[logs > -np.inf].mean())
    found = predict(mlp(widths, "relu", "gaussian")).finite_width.mean_log
    assert off(np.array(values), found) < 1
    assert off(np.array(values) + found.std, found) > 1


def test_the_mean_logarithm_is_the_determinant():
    """Of one N x N matrix: half the mean of ln chi-squared of 1..N degrees, exactly (Goodman 1963)."""
    found = mean_log(Chain.gaussian([7, 7]))
    exact = [stats.chi2(k).expect(lambda x: np.log(x), epsabs=1e-12) for k in range(1, 8)]
    assert found.mean == pytest.approx((np.mean(exact) - math.log(7)) / 2, rel=1e-7)
    assert mean_log(Chain.gaussian([3, 9, 4])).mean == pytest.approx(
        mean_log(Chain.gaussian([3, 4, 9])).mean + math.log(4 / 9) / 2, abs=1e-12)  # the spaces' order is of no matter


def test_one_value_is_the_largest_and_the_mean():
    for widths in ([1, 1, 1], [4, 1, 6]):
        chain = Chain.gaussian(widths)
        assert log_largest(chain).mean == mean_log(chain).mean
        assert chain_log_condition_number(chain) == 0


def test_other_chains_have_no_band():
    for network in (mlp([9, 9], "relu", "orthogonal"), mlp([9, 9], "leaky_relu(0.1)")):
        assert predict(network).finite_width.log_largest is None
        assert predict(network).finite_width.mean_log is None
    assert predict(mlp([2] * 400)).finite_width.log_largest is None  # all zero but once in 1e50
    for q in (0, 1, [0.5, math.nan]):
        with pytest.raises(ValueError, match="q must be"):
            log_largest(Chain.gaussian([5, 5])).ppf(q)
    for widths in ([5], [5, 0], []):
        with pytest.raises(ValueError, match="widths"):
            Chain.gaussian(widths)


# ---- the soft edge ----------------------------------------------------------------------------------------

@pytest.mark.parametrize(("rows", "columns"), [(200, 200), (300, 120), (50, 400)])
def test_one_layer_has_johnstones_centre_and_scale(rows, columns):
    """X of rows x columns unit entries: (sqrt r + sqrt c)^2 and (sqrt r + sqrt c)(1/sqrt r + 1/sqrt c)^(1/3)."""
    found = tracy_widom_edge(MarchenkoPastur(columns / rows), columns)
    r, c, law = math.sqrt(rows), math.sqrt(columns), TracyWidom(1)
    relative = (1 / r + 1 / c) ** (1 / 3) / (r + c)
    assert found.mean == pytest.approx(math.log((r + c) / r) + relative * law.mean() / 2, rel=1e-9)
    assert found.std == pytest.approx(relative * law.std() / 2, rel=1e-6)
    assert found.ppf(0.95) == pytest.approx(math.log((r + c) / r) + relative * law.ppf(0.95) / 2, rel=1e-8)


def test_the_soft_edge_meets_simulation():
    rng = np.random.default_rng(8)
    top = np.log(np.linalg.norm(jacobians(rng, [150] * 2, 800), 2, axis=(1, 2)))
    found = tracy_widom_edge(FussCatalan(1), 150)
    error = found.std / math.sqrt(800)
    assert abs(top.mean() - found.mean) < 4.5 * error + 1 / (4 * 150)  # the next order moves x by 1/(2 N) of itself
    assert abs(top.std() / found.std - 1) < 4.5 / math.sqrt(2 * 800) + 0.03
    assert abs(top.mean() - 1.03 * math.log(2)) > 4.5 * error + 1 / 600


@pytest.mark.parametrize("law", [PointMass(2), PointMass(0), Bernoulli(0.5) ** 2])
def test_a_law_without_a_soft_edge_has_no_such_position(law):
    with pytest.raises(ValueError, match="square root"):
        tracy_widom_edge(law, 50)
    with pytest.raises(ValueError, match="n must be"):
        tracy_widom_edge(FussCatalan(1), 1)
    assert tracy_widom_edge(Semicircle(0.1) + 2.0, 50).std > 0


# ---- condition numbers and distances ----------------------------------------------------------------------

@pytest.mark.parametrize(("n", "depth", "slack"), [(60, 1, 0.1), (60, 2, 0.2), (60, 5, 0.2), (40, 20, 1.0)])
def test_the_condition_number_of_relu_networks(n, depth, slack):
    rng, found = np.random.default_rng(n * depth), []
    for _ in range(150):
        layers = [(rng.random(n) < 0.5)[:, None] * rng.normal(size=(n, n)) / math.sqrt(n) for _ in range(depth)]
        values = chain_log_singular_values(layers, n)
        found.append(np.ptp(values[values > -np.inf]))
    prediction = predict(mlp([n] * (depth + 1)))
    error = np.std(found) / math.sqrt(150)
    assert abs(np.mean(found) - prediction.finite_width.log_condition_number) < 4.5 * error + slack
    if depth > 1:
        assert abs(np.mean(found) - prediction.spectrum.log_condition_number_at(n // 2)) > 4.5 * error + slack


def test_square_products_have_theirs():
    for depth, width in ((1, 50), (4, 200), (12, 30)):
        prediction = predict(mlp([width] * (depth + 1), "linear", "xavier_normal"))
        assert prediction.finite_width.log_condition_number == log_condition_number(depth, width).mean


def test_orthogonal_layers_have_condition_number_one():
    found = predict(mlp([9, 9, 9], "linear", "orthogonal")).finite_width
    assert found.log_condition_number == pytest.approx(0, abs=1e-9)


def test_a_law_of_atoms_alone_is_as_far_as_their_masses_move():
    """One orthogonal leaky layer of 60: E |k/60 - 1/2|, k Binomial(60, 1/2)."""
    k = np.arange(61)
    exact = stats.binom.pmf(k, 60, 0.5) @ np.abs(k / 60 - 0.5)
    found = predict(mlp([60, 60], "leaky_relu(0.2)", "orthogonal")).finite_width.distance
    assert found == pytest.approx(exact, rel=0.01)
    for widths in ([50] * 3, [30, 20, 30]):
        assert predict(mlp(widths, "linear", "orthogonal")).finite_width.distance == 0


def test_many_layers_of_two_slopes_are_grouped_and_meet_simulation():
    """Twenty layers of 40: the means of cos(j pi F) over 400 networks, within 4.5 standard errors and 4/n^2."""
    rng, depth, n = np.random.default_rng(6), 20, 40
    prediction, values = predict(mlp([n] * (depth + 1), "leaky_relu(0.05)", "gaussian")), []
    for _ in range(400):
        layers = [np.where(rng.random(n) < 0.5, 1.0, 0.05)[:, None] * rng.normal(size=(n, n)) / math.sqrt(n)
                  for _ in range(depth)]
        values.append(chain_log_singular_values(layers, n))
    found = cosines(prediction.spectrum.log, np.array(values), 1e-8)
    expected = prediction.null.mean_cosines(prediction.spectrum, np.arange(1.0, 7))
    error = found.std(axis=0) / 20
    assert np.all(np.abs(found.mean(axis=0) - expected) < 4.5 * error + 4 / n**2)
    assert np.max(np.abs(found.mean(axis=0)) / error) > 6
    assert max(len(set(network.layers)) for network in prediction.null.networks) <= 8


@pytest.mark.parametrize(("n", "depth", "slope", "orthogonal"), [
    (50, 1, 1.0, False), (50, 40, 1.0, False), (150, 2, 1.0, False), (50, 5, 0.0, False), (150, 2, 0.0, False),
    (50, 2, 0.1, False), (60, 3, 0.0, True),
])
def test_how_far_one_network_is_from_the_law(n, depth, slope, orthogonal):
    """The mean over networks of the sup distance, within a fifth."""
    rng = np.random.default_rng(n + depth)
    name = {1.0: "linear", 0.0: "relu"}.get(slope, f"leaky_relu({slope})")
    prediction, found = predict(mlp([n] * (depth + 1), name, "orthogonal" if orthogonal else "gaussian")), []
    for _ in range(120):
        layers = [np.where(rng.random(n) < 0.5, 1.0, slope)[:, None] * (
            haar(rng, 1, n, n)[0] if orthogonal else rng.normal(size=(n, n)) / math.sqrt(n)) for _ in range(depth)]
        values = np.sort(chain_log_singular_values(layers, n))
        level = prediction.spectrum.log.cdf(values[values > -np.inf])
        steps = np.arange(level.size + 1) / level.size
        found.append(max(np.abs(level - steps[1:]).max(), np.abs(level - steps[:-1]).max()))
    assert prediction.finite_width.distance == pytest.approx(np.mean(found), rel=0.2)
    assert_allclose(prediction.finite_width.regime.spread, math.sqrt(prediction.finite_width.regime.beta) / 2)
