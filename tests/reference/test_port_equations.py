"""Convolutional and batch-normalized chains against plain port equations, iterated: another solver, another quadrature.

Between two weights a unit with slope d sees the self-energies a (from the input's side) and b (from the output's):
g_out = E d^2 a / (1 - a b d^2), g_in = E d^2 b / (1 - a b d^2), a = sigma^2 g_out of the layer before, b = sigma^2 g_in
of the one behind (the Dyson equation of a linearised product; THEORY_BEYOND 0 with scalar ports).
"""

import numpy as np
import pytest

from rmt import Activation, BatchNorm, Conv2d, Dense, Network, Residual, predict

X, WEIGHT = np.polynomial.hermite_e.hermegauss(300)
WEIGHT = WEIGHT / WEIGHT.sum()


def slopes(phi_slope, sigma2, q, layers, normalized, phi):
    """Return d^2 times the scale of a normalization, on the nodes, layer by layer, variances by plain quadrature."""
    found, rho = [], 0.0
    for _ in range(layers):
        q = sigma2 * q
        scale = 1.0
        if normalized:
            scale, q = 1 / (q * (1 - rho) + 1e-5), 1.0 - 1e-5 / (q * (1 - rho) + 1e-5)
        u = np.sqrt(q) * X
        found.append(scale * phi_slope(u) ** 2)
        q, mean = WEIGHT @ phi(u) ** 2, WEIGHT @ phi(u)
        rho = mean**2 / q  # of two inputs that shared nothing before
    return found


def psi(zeta, sigma2, squares):
    """Return psi of J^T J by a thousand rounds of the equations, damped."""
    n = len(squares)
    a, b = np.full(n + 1, 1.0 + 0j), np.full(n + 1, zeta)
    a[0] = 1.0
    for _ in range(1500):
        a_new, b_new = a.copy(), b.copy()
        for i, d in enumerate(squares):  # a[i]: before the weights of layer i, b[i + 1]: behind its slopes
            a_new[i + 1] = WEIGHT @ (d * sigma2 * a[i] / (1 - sigma2 * a[i] * b[i + 1] * d))
        for i in reversed(range(n)):
            b_new[i] = sigma2 * (WEIGHT @ (squares[i] * b[i + 1] / (1 - sigma2 * a[i] * b[i + 1] * squares[i])))
        b_new[n] = zeta
        # the input's own entries: 1 / (1 - b) of them before the first weights
        a_new[0] = 1 / (1 - b_new[0])
        a, b = 0.5 * (a + a_new), 0.5 * (b + b_new)
    return b[0] / (1 - b[0])


@pytest.mark.parametrize("name", ["convolution", "batch norm"])
def test_psi_off_the_axis(name):
    if name == "convolution":
        layers, sigma2 = [Conv2d(48, 3, padding_mode="circular", init="gaussian(1.2)"), Activation("tanh")] * 4, 1.44
        law = predict(Network((48, 6, 6), layers)).spectrum.squared
        squares = slopes(lambda u: np.cosh(u) ** -2.0, sigma2, 1.0, 4, False, np.tanh)
    else:
        layers, sigma2 = [Dense(300), BatchNorm(), Activation("tanh")] * 6, 2.0
        law = predict(Network(300, layers)).spectrum.squared
        squares = slopes(lambda u: np.cosh(u) ** -2.0, sigma2, 1.0, 6, True, np.tanh)
    for x in (0.05, 0.5, 2.0, 6.0):
        zeta = 1 / (x * np.exp(0.4j))
        assert psi(zeta, sigma2, squares) == pytest.approx(law.psi(zeta), rel=5e-6, abs=1e-7)
        assert psi(zeta, 1.03**2 * sigma2, squares) != pytest.approx(law.psi(zeta), rel=1e-3)


@pytest.mark.parametrize("outputs", [4, 10, 30])
def test_few_outputs_behind_residual_blocks_have_a_band_of_their_own(outputs):
    """The support is that of x > 0, far above the mean of all; against four networks of 400 (edges within N^(-2/3))."""
    rng, n = np.random.default_rng(outputs), 400
    law = predict(Network(n, [Residual([Activation("relu"), Dense(n, "gaussian")])] * 2
                          + [Dense(outputs, "gaussian")])).spectrum
    found = []
    for _ in range(4):
        x, j = rng.standard_normal(n), np.eye(n)
        for _ in range(2):
            w = rng.standard_normal((n, n)) / np.sqrt(n)
            j, x = j + w @ ((x > 0)[:, None] * j), x + w @ np.maximum(x, 0)
        found.append(np.linalg.svd(rng.standard_normal((outputs, n)) / np.sqrt(n) @ j, compute_uv=False))
    low, high = np.exp(law.log_edges)
    assert low == pytest.approx(np.min(found), rel=0.1)
    assert high == pytest.approx(np.max(found), rel=0.1)
    assert low**2 < law.squared.mean() * n / outputs < high**2
    assert law.ppf(1 - outputs / n / 2) == pytest.approx(np.median(found), rel=0.04)
