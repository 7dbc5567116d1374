"""Smooth statistics of a network's singular values, and their test across networks.

Of one network: the mean over its values of cos(j pi u), j = 1, 2, ..., u the level of a value in the continuous part of
the law. Eigenvalues repel, so these fluctuate by 1/n and are nearly normal whatever the law (Lytova and Pastur 2009).
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy import special

from rmt.laws.views import LogView

Array = NDArray[np.float64]

_MOST, _LEAST_NETWORKS = 6, 4
_SINGULAR, _ROUNDING = 1e-10, 1e-13  # a share of the largest variance; a standard error of cosines


def frequencies(networks: int) -> Array:
    """Return j = 1, 2, ..., (networks - 1)//2, at most six, and none below four networks."""
    return np.arange(1.0, 1 + min(_MOST, (networks - 1) // 2 if networks >= _LEAST_NETWORKS else 0))


def cosines(law: LogView, log_values: Array, snap: float) -> Array:
    """Return the statistics (networks, frequencies) of ln s (networks, values), -inf for zeros.

    Values within `snap` of an atom of the law are on it, and left out.
    """
    j, masses = frequencies(len(log_values)), list(law.atoms.items())
    if not law.support or not j.size:
        return np.empty((len(log_values), 0))
    counts = (log_values > -np.inf) & ~np.any([np.abs(log_values - place) <= snap for place, _ in masses], axis=0)
    values, network = log_values[counts], np.nonzero(counts)[0]
    level = law.cdf(values) - sum((mass * (values > place) for place, mass in masses), np.zeros(values.size))
    level /= 1 - sum(mass for _, mass in masses)
    sums = [np.bincount(network, np.cos(math.pi * k * level), len(log_values)) for k in j]
    return np.array(sums).T / np.maximum(counts.sum(axis=1), 1)[:, None]


def scores(statistics: Array, expected: Array) -> Array:
    """Return how far each mean over networks is from what is expected, in standard errors."""
    if not statistics.shape[1]:
        return np.empty(0)
    error = np.std(statistics, axis=0, ddof=1) / math.sqrt(len(statistics))
    error[error < _ROUNDING] = 0
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.nan_to_num((statistics.mean(axis=0) - expected) / error, posinf=np.inf, neginf=-np.inf)


def hotelling(statistics: Array, expected: Array) -> float | None:
    """Return the p-value of all means together (Hotelling 1931); None where there are none, or no spread.

    Combinations without spread are left out: where values pair, s s' a constant, odd frequencies say the same thing.
    """
    networks, n = statistics.shape
    if not n:
        return None
    variances, directions = np.linalg.eigh(np.atleast_2d(np.cov(statistics.T)))
    kept = variances > max(_SINGULAR * variances[-1], _ROUNDING**2)
    n = int(kept.sum())
    if not n:
        return None
    off = (statistics.mean(axis=0) - expected) @ directions[:, kept]
    ratio = networks * float(off**2 @ (1 / variances[kept])) * (networks - n) / (n * (networks - 1))
    return float(special.fdtrc(n, networks - n, ratio))
