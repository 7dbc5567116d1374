"""Gaussian averages of activations against 30 digits, and their laws against simulated networks."""

import math

import mpmath
import numpy as np
import pytest

import empirical
from rmt import Bernoulli, SquaredSlope, activations, compare, mlp, predict, schemes

hardtanh = activations.hardtanh


def clip(u):
    return max(mpmath.mpf(-1), min(mpmath.mpf(1), u))


@pytest.mark.parametrize("q", [1e-8, 1e-3, 0.3, 1, 7, 1e4])
@pytest.mark.parametrize("rho", [1, 0.999999, 0.9, 0.2, 1e-6, -0.5, -1, 0])
def test_the_averages_of_hardtanh(q, rho):
    """One integral over u1, the inner one in closed form, cut where either bends."""
    with mpmath.workdps(30):
        scale, r = mpmath.sqrt(q), mpmath.mpf(rho)
        spread = scale * mpmath.sqrt(1 - r**2)

        def given(mean):
            if not spread:
                return clip(mean)
            low, high = (-1 - mean) / spread, (1 - mean) / spread
            return (mpmath.ncdf(-high) - mpmath.ncdf(low) + mean * (mpmath.ncdf(high) - mpmath.ncdf(low))
                    + spread * (mpmath.npdf(low) - mpmath.npdf(high)))

        bends = [1 / scale, *((1 / scale + k * spread / scale) / abs(r) for k in (-6, 0, 6))] if r else [1 / scale]
        cuts = [0, *sorted(float(b) for b in bends if 1e-9 < b < 11.9), 12]
        exact = 2 * mpmath.quad(lambda z: clip(scale * z) * given(r * scale * z) * mpmath.npdf(z), cuts, maxdegree=9)
    assert hardtanh.cross(q, rho) == pytest.approx(float(exact), rel=1e-10, abs=1e-15 * min(q, 1))
    assert abs(hardtanh.mean(q)) < 1e-15 * min(math.sqrt(q), 1)


def test_the_slopes_of_hardtanh():
    for q in (0.01, 0.5, 2, 1e4):
        assert SquaredSlope("hardtanh", q) == Bernoulli(math.erf(1 / math.sqrt(2 * q)))
    assert SquaredSlope("hardtanh", 1e-8).atoms == {1.0: 1.0}
    assert str(hardtanh) == "hardtanh"
    assert activations.activation("hardtanh") is hardtanh


@pytest.mark.parametrize(("depth", "init", "sup"), [
    (2, schemes.gaussian(1.2), 0.02), (5, schemes.gaussian(1.2), 0.03), (3, schemes.orthogonal(1.1), 0.03),
])
def test_networks_of_hardtanh_follow_their_law(depth, init, sup):
    """Sixteen networks of 200; what the finite rank leaves is under .03. Weights a tenth larger are twice as far."""
    network = mlp([200] * (depth + 1), "hardtanh", init, bias_std=0.1)
    prediction = predict(network)
    measured = empirical.measure(network, draws=16, seed=4, progress=False)
    found = compare(prediction, measured)
    assert found.discrepancy < sup
    assert found.null is None
    assert found.rank is None  # units are not active independently: all depend on one norm
    assert found.verdict != "differs"
    assert "law at infinite width" in found.table()
    assert compare(prediction.spectrum, measured.log_singular_values + depth * math.log(1.1)).discrepancy > 2 * sup


def test_the_signal_meets_simulation():
    """The mean square of 400000 outputs of each layer: 5 standard errors and 1/n for the finite width."""
    network = mlp([400] * 4, "hardtanh", schemes.gaussian(1.5), bias_std=0.3)
    rows, rng = predict(network, input_variance=2.0).layers, np.random.default_rng(1)
    squares = np.zeros((6, 100))
    for i in range(100):
        h = rng.normal(0, math.sqrt(2), (400, 10))
        for layer in range(3):
            u = rng.normal(0, 1.5 / 20, (400, 400)) @ h + rng.normal(0, 0.3, (400, 1))
            h = np.clip(u, -1, 1)
            squares[2 * layer : 2 * layer + 2, i] = np.mean(u**2), np.mean(h**2)
    for row, found in zip(rows, squares, strict=True):
        assert abs(found.mean() / row.variance - 1) < 5 * found.std() / 10 / row.variance + 1 / 400
