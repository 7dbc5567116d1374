"""Singular values of graded matrices, against arithmetic of many digits."""

import mpmath
import numpy as np
import pytest
import torch
from scipy.stats import ortho_group

from empirical import inputs, log_singular_values
from empirical.graded import log_singular_values_of_graded
from empirical.task import Task
from rmt import mlp
from rmt.networks import schemes


def truth(scales, rows):
    with mpmath.workdps(900):
        matrix = mpmath.diag([mpmath.exp(mpmath.mpf(float(s))) for s in scales]) * mpmath.matrix(rows.tolist())
        return np.array(sorted((float(mpmath.log(s)) for s in mpmath.svd_r(matrix.T, compute_uv=False)), reverse=True))


def spread(rng, k):
    return rng.uniform(-250, 0, k)


def close(rng, k):
    return rng.uniform(-25, 0, k)


def steps(rng, k):
    return np.round(rng.uniform(-250, 0, k) / 50) * 50


def beyond_a_float(rng, k):
    return rng.uniform(-800, 800, k)


def equal(rng, k):
    return np.zeros(k)


def normal(rng, k, n):
    return rng.standard_normal((k, n))


def triangular(rng, k, n):
    return np.triu(rng.standard_normal((k, n)))


def nearly_dependent(rng, k, n):
    return rng.standard_normal((k, 2)) @ rng.standard_normal((2, n)) + 0.01 * rng.standard_normal((k, n))


def kahan(rng, k, n):
    """Whose diagonal says little of its smallest value."""
    return np.triu(-0.9 * np.ones((k, n)), 1) + np.eye(k, n)


def haar(rng, k, n):
    return ortho_group.rvs(n, random_state=rng)[:k]


@pytest.mark.parametrize("scales", [spread, close, steps, beyond_a_float, equal])
@pytest.mark.parametrize("rows", [normal, triangular, nearly_dependent, kahan, haar])
def test_every_value_has_its_digits(scales, rows):
    rng = np.random.default_rng(3)
    for k, n in ((1, 1), (2, 5), (14, 14)):
        s, r = scales(rng, k), rows(rng, k, max(n, 2))
        r /= np.linalg.norm(r, axis=1, keepdims=True)
        np.testing.assert_allclose(log_singular_values_of_graded(s, r), truth(s, r), rtol=0, atol=2e-10)


def test_dependent_rows_are_an_error_not_a_number():
    with pytest.raises(ArithmeticError, match="independent"):
        log_singular_values_of_graded(np.zeros(2), np.array([[1.0, 0.0], [1.0, 0.0]]))


def test_a_block_cut_between_two_nearly_equal_rows_is_no_false_alarm():
    """Thirty nearly linear layers, which raised; ln s then add up to ln |det| of weights and slopes."""
    network = mlp([200] * 31, "tanh", schemes.gaussian(1.0090850402772342), 0.001)
    module, x, _ = Task(network, "", inputs.gaussian(0.00925038892281164), 1, 0, 2, "cpu", "float64").drawn()
    found, total = x, 0.0
    with torch.no_grad():
        for part in module:
            found = part(found)
            total += float(torch.linalg.slogdet(part.weight)[1] if isinstance(part, torch.nn.Linear)
                           else torch.log1p(-found**2).sum())
    assert float(log_singular_values(module, x).sum()) == pytest.approx(total, abs=1e-8)
