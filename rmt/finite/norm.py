"""The norm of one vector through a random network: ln |J u|^2 for a fixed unit u."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import digamma, polygamma

from rmt.checks import Number, integer, number, positive


@dataclass(frozen=True)
class LogNorm:
    """Mean and variance over networks of ln |J u|^2; its law is close to normal.

    `exact` says that they hold at any width, not to first order in 1/width.
    """

    mean: float
    variance: float
    exact: bool


def log_norm(widths: Sequence[int], second: Number = 1, fourth: Number = 1) -> LogNorm:
    """Return the mean and variance of ln |J u|^2 through a chain of Gaussian layers.

    Entries have variance 1/(second * fan_in), so that E |J u|^2 = n_L/n_0. Exact for linear layers: of each,
    |W v|^2 is |v|^2/fan_in times a chi-squared variable of its rows. With slopes d it is normal to first order,
    variance beta = sum over layers of (3 E d^4 / (E d^2)^2 - 1)/n_l and mean ln(n_L/n_0) - beta/2 (Hanin and Nica
    2019): 5/n a ReLU layer.

    Parameters
    ----------
    widths : sequence of int
        n_0, n_1, ..., n_L, the input's first.
    second, fourth : float
        E d^2 and E d^4 of the activation's slope d, fourth >= second^2: 1 and 1 for linear layers, 1/2 and 1/2 for
        ReLU.
    """
    n = [integer("widths", width) for width in widths]
    if len(n) < 2:
        raise ValueError(f"widths must have the input's width and that of one layer or more, got {widths!r}")
    second = float(positive("second", second))
    fourth = float(number("fourth", fourth, second**2 * (1 - 1e-12)))
    rows = np.array(n[1:], dtype=float)
    scale = math.log(n[-1] / n[0])
    if fourth <= second**2 * (1 + 1e-12):
        mean, variance = chi_squared(rows)
        return LogNorm(scale + float(mean.sum()), float(variance.sum()), True)
    beta = float(((3 * fourth / second**2 - 1) / rows).sum())
    return LogNorm(scale - beta / 2, beta, False)


def chi_squared(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the mean and variance of ln(chi^2_n / n) for every number of rows n."""
    half = rows / 2
    return digamma(half) - np.log(half), polygamma(1, half)
