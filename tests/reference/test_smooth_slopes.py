"""Laws of squared slopes of smooth activations: against exact densities, mpmath, and quadrature off the axis."""

import math
import pickle

import mpmath
import numpy as np
import pytest

from rmt import ConvergenceError, Dense, MarchenkoPastur, Network, SquaredSlope, activations, mlp, predict, schemes
from rmt.laws.contour import contour
from rmt.laws.smooth_psi import SmoothPsi
from rmt.networks.gaussian_average import average

SMOOTH = ("tanh", "erf", "gelu", "silu", "elu", "selu", "sigmoid", "softplus")
rng = np.random.default_rng


def normal(z):
    return np.exp(-(z**2) / 2) / math.sqrt(2 * math.pi)


def one_layer(name, variance=0.570048, gain=1.0):
    return predict(Network(7, [Dense(7, schemes.orthogonal(gain)), *mlp([7, 7], name).layers[1:]]),
                   input_variance=variance).spectrum.squared


def test_one_orthogonal_tanh_layer_has_its_exact_law_over_six_decades():
    """X = sigma^2 sech^4(u), u = sqrt(q) h: the density in closed form, next to the edge too."""
    q, gain = 0.570048 * 1.21, 1.1
    law = one_layer("tanh", 0.570048, gain)
    x = gain**2 * np.r_[np.geomspace(1e-6, 0.5, 400), 1 - np.geomspace(0.5, 1e-6, 200)]
    u = np.arccosh((x / gain**2) ** -0.25)
    exact = 2 * normal(u / math.sqrt(q)) / math.sqrt(q) / (4 * np.tanh(u) * x)
    assert np.max(np.abs(law.pdf(x) / exact - 1)) < 1e-8
    below = [float(mpmath.erfc(a / mpmath.sqrt(2 * q))) for a in u]
    np.testing.assert_allclose(law.cdf(x), below, rtol=1e-10, atol=1e-14)
    np.testing.assert_allclose(law.ppf(below), x, rtol=1e-9)


@pytest.mark.parametrize(("name", "inverse", "slope"), [
    ("erf", lambda x: np.sqrt(np.log(4 / math.pi / x) / 2), lambda u: -4 * u),
    ("sigmoid", lambda x: 2 * np.arccosh(0.5 * x**-0.25), lambda u: -2 * np.tanh(u / 2)),
])
def test_other_even_slopes_alone(name, inverse, slope):
    """Two branches of u, the same density."""
    q, law = 0.3, one_layer(name, 0.3)
    top = law.support[0][1]
    x = top * np.r_[np.geomspace(0.1, 0.5, 50), 0.9, 0.999]
    u = inverse(x)
    exact = 2 * normal(u / math.sqrt(q)) / math.sqrt(q) / np.abs(slope(u)) / x
    np.testing.assert_allclose(law.pdf(x), exact, rtol=1e-8, atol=2e-11)


def test_an_elu_layer_has_half_its_mass_on_one():
    q, law = 1.7, one_layer("elu", 1.7)
    assert law.atoms == {1.0: 0.5}
    x = np.geomspace(1e-5, 0.999, 60)
    u = np.log(x) / 2
    np.testing.assert_allclose(law.pdf(x), normal(u / math.sqrt(q)) / math.sqrt(q) / (2 * x), rtol=1e-9)


@pytest.mark.parametrize("name", SMOOTH)
@pytest.mark.parametrize("q", [1e-8, 1e-3, 0.05, 0.6, 3.0, 40.0])
def test_psi_off_the_axis_against_quadrature(name, q):
    """Panels of Gauss and Legendre between the kinks, at zeta = -e^y half a unit off the poles and at real y."""
    phi = activations.activation(name)
    law = SmoothPsi(phi, q)
    y = np.array([-8, -2, 0, 1.5, 4]) + np.array([[0.0], [1.0], [2.4]]) * 1j
    found, slope = law.logit(y.ravel())

    def psi(u):
        return 1 / (1 + np.exp(-y.ravel()[:, None]) / phi.slope(u) ** 2)

    with np.errstate(all="ignore"):
        fine = np.sort(np.r_[np.linspace(-9.5, 9.5, 400) * math.sqrt(q), 0.0])
        node, weight = np.polynomial.legendre.leggauss(20)
        u = (fine[:-1, None] + np.diff(fine)[:, None] * (1 + node) / 2).ravel()
        p = normal(u / math.sqrt(q)) / math.sqrt(q) * (np.diff(fine)[:, None] * weight / 2).ravel()
        s = np.nan_to_num(psi(u)) @ p
    np.testing.assert_allclose(1 / (1 + np.exp(-found)) * float(law.mass), s, rtol=2e-9, atol=2e-10)
    h = 1e-5
    np.testing.assert_allclose(slope, (law.logit(y.ravel() + h)[0] - law.logit(y.ravel() - h)[0]) / (2 * h), rtol=1e-7)


@pytest.mark.parametrize("name", SMOOTH)
@pytest.mark.parametrize("q", [1e-8, 1e-4, 0.02, 0.5, 2.0, 10.0])
def test_moments_of_the_law_are_averages_of_the_slope(name, q):
    law, phi = SquaredSlope(name, q), activations.activation(name)
    for k in (1, 2, 3):
        exact = float(average(lambda u, k=k: phi.slope(u) ** (2 * k), 0.0, math.sqrt(q), phi.kinks))
        assert law.moment(k) == pytest.approx(exact, rel=1e-9)
    assert law.mean() == pytest.approx(float(phi.slope_cross(q, 1.0)), rel=1e-10)


def test_tails_agree_with_the_density():
    """Where F is a difference of two tails it has to be the integral of the density, hard edge and thin edge alike."""
    for law in (SquaredSlope("sigmoid", 0.7) * MarchenkoPastur(0.5), SquaredSlope("softplus", 0.3) * MarchenkoPastur(1),
                SquaredSlope("elu", 0.4) * MarchenkoPastur(2)):
        x = law.ppf(law.atoms.get(0.0, 0.0) + (1 - law.atoms.get(0.0, 0.0)) * np.linspace(0.02, 0.98, 9))
        h = 1e-4 * x
        slope = (law.cdf(x + h) - law.cdf(x - h)) / (2 * h)
        np.testing.assert_allclose(slope, law.pdf(x), rtol=1e-6)
        assert law.expect(np.ones_like) == pytest.approx(1, abs=1e-9)
        assert law.expect(lambda x: x) == pytest.approx(law.mean(), rel=1e-9)


@pytest.mark.parametrize("network", [
    mlp([50] * 6, "tanh", schemes.gaussian(1.3), bias_std=0.2), mlp([50] * 6, "tanh", schemes.orthogonal(1.1)),
    mlp([50] * 4, "tanh", schemes.gaussian(3.0)), mlp([60, 90, 60], "tanh", schemes.orthogonal()),
], ids=str)
def test_no_speckle_to_the_bottom(network):
    """2000 points of ln x: log density beside the line through its neighbours, no jump in it."""
    law = predict(network).spectrum.squared
    lo, hi = np.log(law.ppf([1e-14, 1 - 1e-9]))
    t = np.linspace(lo, hi, 2000)
    log_density = law.logpdf(np.exp(t)) + t
    assert np.all(np.isfinite(log_density))
    bend = np.abs(np.diff(log_density, 2))
    smooth = np.maximum.reduce([np.roll(bend, k) for k in (-3, -2, 2, 3)])  # what the neighbours bend
    inner = slice(5, -25)  # at the top the density falls like a root
    assert np.max(bend[inner] - 2 * smooth[inner]) < 1e-7


def test_quantiles_by_series_are_those_of_the_cdf():
    law = predict(mlp([100] * 6, "tanh", schemes.gaussian(1.4), bias_std=0.1)).spectrum
    q = np.r_[1e-30, 1e-12, np.linspace(1e-4, 1 - 1e-4, 999)]
    x = law.ppf(q)
    assert np.all(np.diff(x) > 0)
    at = law.squared
    local = at._local(2 * np.log(x))  # the tails themselves, no series
    np.testing.assert_allclose(local.lower, q, rtol=1e-9)
    np.testing.assert_allclose(law.cdf(x), q, rtol=1e-9)


def test_settled_layers_are_one_factor():
    """After sixty layers of tanh the variance is fixed to 13 digits: the curve has a factor a different layer."""
    law = predict(mlp([100] * 201, "tanh", schemes.gaussian(1.5), bias_std=0.3)).spectrum.squared
    assert len(law.curve.slopes) < 80
    assert sum(float(k) for *_, k in law.curve.slopes) == 200


def test_the_law_of_a_slope_is_immutable_and_itself():
    law = SquaredSlope("tanh", 0.5)
    assert repr(law) == "SquaredSlope(activations.tanh, 0.5)"
    assert law == SquaredSlope(activations.tanh, 0.5)
    assert hash(law) == hash(SquaredSlope("tanh", 0.5))
    assert law != SquaredSlope("tanh", 0.6)
    assert pickle.loads(pickle.dumps(law)) == law
    assert law.support == ((pytest.approx(float(np.cosh(9 * math.sqrt(0.5)) ** -4), rel=1e-6), pytest.approx(1)),)
    assert SquaredSlope("gelu", 0.5).support[0][0] == 0  # its slope has a zero


@pytest.mark.parametrize("name", SMOOTH)
def test_a_constant_slope_is_a_point(name):
    """Where u hardly moves the law is a point mass, at a kink two."""
    law = SquaredSlope(name, 1e-40)
    assert sum(law.atoms.values()) == 1
    slope = activations.activation(name).slope
    ends = {float(slope(np.array([side]))[0]) ** 2 for side in (-1e-20, 1e-20)}
    np.testing.assert_allclose(sorted(law.atoms), sorted(ends), rtol=1e-12)


def test_a_slope_that_is_no_function_of_complex_numbers_is_refused():
    with pytest.raises(ConvergenceError, match="kinks="):
        contour(lambda u: 1 / (1 + np.abs(u)), (), 1.0)


@pytest.mark.parametrize(("name", "q", "ratio"), [
    ("tanh", 1e-3, 0.9), ("tanh", 1e-6, 1.13), ("tanh", 0.488, 1.118), ("silu", 0.00201, 1.472),
    ("sigmoid", 0.0237, 0.849)])
def test_a_narrow_turn_is_an_edge(name, q, ratio):
    """Nearly constant slopes: Marchenko-Pastur's edges, moved to first order by the mean and spread of the slopes."""
    law, slopes = SquaredSlope(name, q) * MarchenkoPastur(ratio), SquaredSlope(name, q)
    (low, high), = law.support
    assert 0 < low < high
    root = math.sqrt(ratio)
    spread = 3 * math.sqrt(slopes.var()) / slopes.mean() + 1e-9
    assert high == pytest.approx(slopes.mean() * (1 + root) ** 2, rel=4 * spread)
    assert low == pytest.approx(slopes.mean() * (1 - root) ** 2, rel=40 * spread)
    assert law.pdf(low * (1 + 1e-6)) > 0
    median = law.ppf((1 + law.atoms.get(0.0, 0.0)) / 2)
    assert law.cdf(median) == pytest.approx((1 + law.atoms.get(0.0, 0.0)) / 2, abs=1e-10)


def test_an_atom_inside_a_band_cuts_it():
    """SELU: half the slopes are lambda, the others lambda alpha e^u on both sides of it."""
    law, q = SquaredSlope("selu", 1.0), np.array([0.1, 0.3, 0.4, 0.45, 0.5, 0.7, 0.9, 0.999])
    place = activations.SELU_SCALE**2
    assert law.support[0][1] == law.support[1][0] == pytest.approx(place)
    u = np.linspace(-9, 0, 400001)
    x = np.r_[(activations.SELU_SCALE * activations.SELU_ALPHA * np.exp(u)) ** 2, place]
    mass = np.r_[normal(u) * (u[1] - u[0]), 0.5]
    order = np.argsort(x)
    exact = x[order][np.searchsorted(np.cumsum(mass[order]), q)]
    np.testing.assert_allclose(law.ppf(q), exact, rtol=1e-4)
    off = np.abs(law.ppf(q) - place) > 1e-9
    np.testing.assert_allclose(law.cdf(law.ppf(q[off])), q[off], rtol=1e-9)


def test_a_few_dead_units_leave_an_edge():
    """Hard-tanh at variance .0282: 2.6e-9 of the units are dead, the bottom edge is far down."""
    (low, high), = (SquaredSlope("hardtanh", 0.0282) * MarchenkoPastur(1)).support
    assert high == pytest.approx(4, rel=1e-6)
    assert math.log(low) == pytest.approx(2 * math.log(math.erfc(1 / math.sqrt(2 * 0.0282)) / 2), rel=1e-6)
