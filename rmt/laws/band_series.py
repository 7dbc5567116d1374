"""Quantiles of one band of a law that is dear to evaluate: from Chebyshev series of its tails, checked between nodes.

In the smooth coordinate of `bands` both tails are analytic, at square-root edges too: a hundred points give all digits.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.polynomial.chebyshev import chebder, chebval
from numpy.typing import NDArray

Array = NDArray[np.float64]

_SIZES = (128, 256, 512)
_CHECKS = 13
_RIGHT = 2e-11  # of a tail, and of ln of the lower one at a hard edge: the error allowed between nodes
_STEPS = 40


@dataclass(frozen=True)
class TailSeries:
    """Both tails of a band, as series in the smooth coordinate on [0, end].

    Attributes
    ----------
    end : float
        The last place.
    upper, lower : array
        Chebyshev coefficients: of P(T > t), and of P(T <= t) or, at a hard edge, of its logarithm.
    log_lower : bool
        Which of the two.
    """

    end: float
    upper: Array
    lower: Array
    log_lower: bool

    def tails(self, smooth: Array) -> tuple[Array, Array]:
        """Return P(T <= t) and P(T > t); zero for the lower one where the series does not reach."""
        x = np.minimum(2 * smooth / self.end - 1, 1)
        lower = np.exp(chebval(x, self.lower)) if self.log_lower else chebval(x, self.lower)
        return np.where(smooth > self.end, 0.0, lower), np.asarray(chebval(x, self.upper), dtype=float)

    def quantile(self, q: Array) -> Array:
        """Return the smooth coordinate where P(T <= t) = q; NaN where the series does not reach."""
        out = np.full(q.size, np.nan)
        low = q < 0.5
        out[~low] = _root(self.upper, 1 - q[~low], self.end, cubed=True)
        goal = np.log(q[low]) if self.log_lower else q[low]
        out[low] = _root(self.lower, goal, self.end, cubed=not self.log_lower)
        return out


def tail_series(tails: Callable[[Array], tuple[Array, Array]], end: float, *, hard: bool) -> TailSeries | None:
    """Return the series of tails(smooth) = (lower, upper), None where it does not settle."""
    from scipy.fft import dct  # slow to import

    def values(smooth: Array) -> tuple[Array, Array]:
        lower, upper = tails(smooth)
        return (np.log(np.maximum(lower, 1e-300)) if hard else lower), upper

    between = end * (np.arange(_CHECKS) + 0.37) / _CHECKS
    true = values(between)
    for n in _SIZES:
        nodes = np.cos(np.pi * (np.arange(n) + 0.5) / n)
        lower, upper = (dct(value, type=2) / n for value in values(end * (1 + nodes) / 2))
        lower[0], upper[0] = lower[0] / 2, upper[0] / 2
        x = 2 * between / end - 1
        off = max(np.max(np.abs(chebval(x, upper) - true[1])),
                  np.max(np.abs(chebval(x, lower) - true[0]) / np.maximum(1, np.abs(true[0]))))
        if off < _RIGHT:
            return TailSeries(end, upper, lower, hard)
    return None


def _root(coefficients: Array, goal: Array, end: float, *, cubed: bool) -> Array:
    """Return where the series takes the value, by Newton in its cube root where it is like a cube at its zero."""
    def change(value: Any) -> Array:
        return np.asarray(np.cbrt(value) if cubed else value)

    goal = change(goal)
    grid = np.linspace(-1, 1, 16 * coefficients.size)
    value = change(chebval(grid, coefficients))
    rises = value[-1] > value[0]
    ordered = np.maximum.accumulate(value if rises else value[::-1])
    x = np.interp(goal, ordered, grid if rises else grid[::-1], left=np.nan, right=np.nan)
    slope = chebder(coefficients)
    for _ in range(_STEPS):
        f = chebval(x, coefficients)
        with np.errstate(divide="ignore", invalid="ignore"):
            rate = chebval(x, slope) / (3 * np.cbrt(f) ** 2 if cubed else 1)
            step = (goal - change(f)) / rate
        step = np.where(np.isfinite(step), np.clip(step, -0.1, 0.1), 0.0)
        x = np.where(np.isnan(x), x, np.clip(x + step, -1, 1))
        if np.all(np.abs(step) < 1e-14):
            break
    return end * (1 + x) / 2
