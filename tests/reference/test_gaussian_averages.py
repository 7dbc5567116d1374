"""Averages of every activation over Gaussian variables against mpmath, at kinks and at variances from 1e-8 to 1e4."""

import math

import mpmath
import numpy as np
import pytest
import torch

from empirical.modules import function_of
from rmt import activations

NAMES = ("linear", "relu", "leaky_relu(0.2)", "elu", "selu", "gelu", "silu", "tanh", "erf", "hardtanh", "sigmoid",
         "softplus")
LAMBDA, ALPHA = mpmath.mpf("1.0507009873554804934193349852946"), mpmath.mpf("1.6732632423543772848170429916717")


def logistic(u):
    return 1 / (1 + mpmath.exp(-u))


EXACT = {
    "linear": (lambda u: u, lambda u: 1), "relu": (lambda u: max(u, 0), lambda u: u > 0),
    "leaky_relu(0.2)": (lambda u: u if u > 0 else u * mpmath.mpf("0.2"), lambda u: 1 if u > 0 else mpmath.mpf("0.2")),
    "elu": (lambda u: u if u > 0 else mpmath.expm1(u), lambda u: 1 if u > 0 else mpmath.exp(u)),
    "selu": (lambda u: LAMBDA * (u if u > 0 else ALPHA * mpmath.expm1(u)),
             lambda u: LAMBDA * (1 if u > 0 else ALPHA * mpmath.exp(u))),
    "gelu": (lambda u: u * mpmath.ncdf(u), lambda u: mpmath.ncdf(u) + u * mpmath.npdf(u)),
    "silu": (lambda u: u * logistic(u), lambda u: logistic(u) * (1 + u * logistic(-u))),
    "tanh": (mpmath.tanh, lambda u: mpmath.sech(u) ** 2),
    "erf": (mpmath.erf, lambda u: 2 / mpmath.sqrt(mpmath.pi) * mpmath.exp(-(u**2))),
    "hardtanh": (lambda u: max(-1, min(1, u)), lambda u: -1 < u < 1),
    "sigmoid": (logistic, lambda u: logistic(u) * logistic(-u)),
    "softplus": (lambda u: mpmath.log1p(mpmath.exp(u)), logistic),
}


def mean(f, q):
    """E f(sqrt(q) z), cut at +-1, 0 and where u is a power of two."""
    scale = mpmath.sqrt(q)
    cuts = [s * 2**k / scale for k in range(-2, 11) for s in (-1, 1)] + [0]
    cuts = sorted({mpmath.mpf(c) for c in cuts if abs(c) < 12} | {-12, 12} | set(range(-11, 12)))
    return mpmath.quad(lambda z: f(scale * z) * mpmath.npdf(z), cuts, maxdegree=5)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("q", [1e-8, 0.04, 1.7, 1e4])
def test_one_variable(name, q):
    q = 30.0 if q > 30 and name in ("erf", "softplus") else q  # mpmath takes a minute
    phi, (value, slope) = activations.activation(name), EXACT[name]
    with mpmath.workdps(20):
        square, derivative, first = (float(mean(f, mpmath.mpf(q))) for f in (
            lambda u: value(u) ** 2, lambda u: slope(u) ** 2, value))
    assert phi.cross(q, 1.0) == pytest.approx(square, rel=1e-11)
    assert phi.slope_cross(q, 1.0) == pytest.approx(derivative, rel=1e-11)
    assert phi.squared_slope(q).mean() == pytest.approx(derivative, rel=1e-9)
    assert phi.mean(q) == pytest.approx(first, rel=1e-11, abs=1e-15 * math.sqrt(square))


@pytest.mark.parametrize("name", NAMES)
def test_two_variables_by_the_hermite_series(name):
    """E f(u1) f(u2) = sum a_k^2 rho^k with Hermite coefficients by a fine sum: another route, at rho away from 1."""
    phi, q = activations.activation(name), 0.64  # hardtanh bends on the grid
    fine = np.linspace(-12, 12, 240001)
    z = (fine[:-1] + fine[1:]) / 2
    weight = np.exp(-(z**2) / 2) / math.sqrt(2 * math.pi) * (fine[1] - fine[0])
    for f, cross in ((phi.value, phi.cross), (phi.slope, phi.slope_cross)):
        part = f(math.sqrt(q) * z) * weight
        last, h, squares = np.zeros_like(z), np.ones_like(z), []
        for k in range(60):
            squares.append(float(h @ part) ** 2)
            last, h = h, (z * h - math.sqrt(k) * last) / math.sqrt(k + 1)
        rho = np.array([-0.6, -0.1, 0.0, 0.3, 0.7])
        series = np.polynomial.polynomial.polyval(rho, squares)
        np.testing.assert_allclose(cross(np.full(5, q), rho), series, rtol=3e-8, atol=3e-9)
    if not phi.by_sign:
        assert phi.cross(q, 0.9999) == pytest.approx(phi.cross(q, 1.0) - q * 1e-4 * phi.slope_cross(q, 1.0), rel=2e-6)
    product = phi.value(math.sqrt(q) * z) * phi.value(-math.sqrt(q) * z)
    assert phi.cross(q, -1.0) == pytest.approx(float(product @ weight), rel=1e-7, abs=1e-9)


@pytest.mark.parametrize("name", NAMES)
def test_the_torch_module_is_the_same_function(name):
    phi = activations.activation(name)
    u = torch.tensor([-30, -3.2, -1.5, -0.4, -1e-3, 1e-3, 0.3, 0.99, 1.01, 2.5, 18], dtype=torch.float64)
    u.requires_grad_(True)
    value = function_of(phi)(u * 1)
    (slope,) = torch.autograd.grad(value.sum(), u)
    points = u.detach().numpy()
    np.testing.assert_allclose(value.detach().numpy(), phi.value(points), rtol=1e-12, atol=1e-16)
    np.testing.assert_allclose(slope.numpy(), np.real(phi.slope(points)), rtol=1e-12, atol=1e-16)
    step = 1e-5
    around = np.real(phi.slope(points + step * 1j)) if not phi.kinks else np.real(phi.slope(points))
    np.testing.assert_allclose(around, np.real(phi.slope(points)), rtol=1e-4, atol=1e-9)  # it takes complex arrays
