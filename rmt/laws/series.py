"""Power series at zero: what moments and the S-transform need (Lagrange inversion)."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def log(a: Array) -> Array:
    """Return the series log a, for a[0] > 0."""
    b = np.zeros_like(a)
    b[0] = np.log(a[0])
    for n in range(1, a.size):
        b[n] = (a[n] - np.arange(1, n) * b[1:n] @ a[n - 1 : 0 : -1] / n) / a[0]
    return b


def exp(a: Array) -> Array:
    """Return the series exp a."""
    b = np.zeros_like(a)
    b[0] = np.exp(a[0])
    for n in range(1, a.size):
        b[n] = np.arange(1, n + 1) * a[1 : n + 1] @ b[n - 1 :: -1] / n
    return b


def log_inverse_s(moments: Array) -> Array:
    """Return log(1/S(w)), coefficients 0..n-1, of the law with moments 1..n.

    1/S = w / ((1+w) chi(w)), chi the inverse series of psi = sum m_k z^k; Lagrange's formula gives
    [w^k] log(chi(w)/w) = [z^k] (z/psi(z))^k / k.
    """
    n = moments.size
    log_psi = log(moments)
    k = np.arange(1, n)
    log_chi = np.array([-log_psi[0], *(exp(-j * log_psi)[j] / j for j in k)])
    log_one_plus_w = np.array([0.0, *((-1.0) ** (k - 1) / k)])
    return -log_one_plus_w - log_chi


def r_diagonal_cumulants(log_inverse_s: Array) -> Array:
    """Return the coefficients of r(t) = w/t, t = w (1 + w) S(w), of an R-diagonal A from the series of A^T A.

    They are the even free cumulants of the symmetrised law of |A|.
    """
    j = np.arange(1, log_inverse_s.size)
    log_t = np.r_[0.0, (-1.0) ** (j - 1) / j] - log_inverse_s  # of t/w
    return np.array([exp(-k * log_t[:k])[k - 1] / k for k in range(1, log_inverse_s.size)])


def moment_over_scale(log_inverse_s: Array, k: int) -> float:
    """Return m_k / m_1^k = [w^(k-1)] ((1+w)/S)^k / (k m_1^k) (Lagrange), from log(1/S) to order k - 1."""
    j = np.arange(1, k)
    total = np.array([0.0, *((-1.0) ** (j - 1) / j)]) + log_inverse_s[:k]
    total[0] = 0.0
    with np.errstate(over="ignore", invalid="ignore"):
        moment = float(exp(k * total)[k - 1] / k)
    if not math.isfinite(moment):
        raise OverflowError(f"moment {k} is outside the range of a float")
    return moment


def moments_of_cumulants(cumulants: Array) -> Array:
    """Return the moments 1..n of the law with free cumulants 1..n.

    G is the inverse of K(g) = (1 + C(g))/g, C = sum of k_n g^n, so m_k = [g^k] (1 + C)^(k+1) / (k + 1) (Lagrange).
    """
    log_gk = log(np.r_[1.0, cumulants])
    return np.array([exp((k + 1) * log_gk[: k + 1])[k] / (k + 1) for k in range(1, cumulants.size + 1)])


def cumulants_of_moments(moments: Array) -> Array:
    """Return the free cumulants 1..n of the law with moments 1..n: k_n = -[u^n] M(u)^(1-n) / (n - 1), n >= 2."""
    log_m = log(np.r_[1.0, moments])
    later = [-exp((1 - n) * log_m[: n + 1])[n] / (n - 1) for n in range(2, moments.size + 1)]
    return np.array([*moments[:1], *later])
