"""Predicted laws against networks simulated here with numpy alone, Jacobian by matrix products.

Four statistics a network: the mean square of its singular values, whose mean is exact at any width, and the mean of
cos(j pi G(s)), j = 1, 2, 3, over the values off zero and off atoms, G their predicted cdf: 0 for the law. Student's t
across networks, each two-sided at 1e-5: a right law fails one of the 4 x 11 tests with probability under 5e-4. The
finite width moves the cosines by under 1/n for the spectrum itself (THEORY 4: .2 to .7 over n), and by 1.5 times the
share of the non-zero values that a ReLU chain's least layer lacks (at most pi/2 of what moves): only what is beyond
counts. sigma_w 3 % off must fail.
"""

import itertools
import math

import numpy as np
import pytest
from scipy import stats

from rmt import mlp, predict

SLOPES = {"linear": 1.0, "relu": 0.0, "leaky_relu(0.2)": 0.2}
LEVEL = 1e-5
CHAINS = [
    ((150, 150, 150), "linear", "gaussian", 16),
    ((200, 120), "linear", "gaussian", 16),
    ((200, 120, 160), "linear", "xavier_normal", 16),
    ((120, 180, 100, 150), "linear", "kaiming_normal", 16),
    ((120, 200, 150), "linear", "orthogonal", 16),  # an atom of mass 7/12
    ((160, 160, 160), "relu", "kaiming_normal", 80),
    ((120, 200, 160, 140), "relu", "kaiming_normal", 80),
    ((180, 150), "relu", "xavier_normal", 60),
    ((150, 150, 150, 150), "relu", "orthogonal", 80),
    ((140, 180, 120), "leaky_relu(0.2)", "orthogonal", 60),
    ((120, 160, 200), "leaky_relu(0.2)", "xavier_normal", 80),
]


def weights(rng, rows, columns, init):
    if init == "orthogonal":
        q, r = np.linalg.qr(rng.standard_normal((max(rows, columns), min(rows, columns))))
        q = q * np.sign(np.diag(r))
        return q if rows >= columns else q.T
    variance = {"gaussian": 1 / columns, "xavier_normal": 2 / (rows + columns), "kaiming_normal": 2 / columns}[init]
    return math.sqrt(variance) * rng.standard_normal((rows, columns))


def singular_values(rng, widths, slope, init, sigma):
    x, jacobian = rng.standard_normal(widths[0]), np.eye(widths[0])
    for columns, rows in itertools.pairwise(widths):
        w = sigma * weights(rng, rows, columns, init)
        u = w @ x
        d = np.where(u > 0, 1.0, slope)
        x, jacobian = d * u, d[:, None] * (w @ jacobian)
    return np.linalg.svd(jacobian, compute_uv=False)


def excesses(prediction, draws):
    """Per statistic: Student's t of what is beyond the allowance for the finite width."""
    law, exact = prediction.spectrum.log, prediction.spectrum.moment(2) * prediction.network.n_inputs
    square = np.array([s @ s for s in draws]) / exact - 1
    t = np.log(np.concatenate([s[s > 1e-10 * s.max()] for s in draws]))
    owner = np.repeat(np.arange(len(draws)), [np.sum(s > 1e-10 * s.max()) for s in draws])
    off = np.all([np.abs(t - place) > 1e-8 for place in law.atoms] or [np.ones(t.size, bool)], axis=0)
    t, owner = t[off], owner[off]
    below = sum((mass * (t > place) for place, mass in law.atoms.items()), np.zeros(t.size))
    g = (law.cdf(t) - below) / (1 - sum(law.atoms.values()))
    n = np.bincount(owner, minlength=len(draws))
    cosines = [np.bincount(owner, np.cos(j * np.pi * g), len(draws)) / n for j in (1, 2, 3)]
    allowance = 1 / n.mean() + 1.5 * prediction.finite_width.rank.shift
    return [max(0.0, abs(values.mean()) - room) / (values.std(ddof=1) / math.sqrt(len(draws)) + 1e-12)
            for values, room in zip((square, *cosines), (0, *[allowance] * 3), strict=True)]


@pytest.mark.parametrize("sigma", [1.0, 1.03])
@pytest.mark.parametrize(("widths", "activation", "init", "networks"), CHAINS)
def test_simulated_networks_follow_the_law_and_no_other(widths, activation, init, networks, sigma):
    rng = np.random.default_rng([7, *widths])
    draws = [singular_values(rng, widths, SLOPES[activation], init, sigma) for _ in range(networks)]
    found = max(excesses(predict(mlp(widths, activation, init)), draws))
    critical = stats.t.isf(LEVEL / 2, networks - 1)
    assert found < critical if sigma == 1 else found > critical
