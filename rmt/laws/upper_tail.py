"""Quantiles near the top end, where 1 - q has no more digits."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

if TYPE_CHECKING:
    Distribution: TypeAlias = Any  # which stands above, and calls this

Array = NDArray[np.float64]

_SMALL = 1e-3  # from here on 1 - q loses digits that count
_ROUNDS = 40


def isf(law: Distribution, q: ArrayLike) -> Any:
    """Return the inverse of `sf`; see `Distribution.isf`."""
    level = np.asarray(q, dtype=float)
    if np.any((level < 0) | (level > 1)):
        raise ValueError(f"q must be in [0, 1], got {float(level[(level < 0) | (level > 1)].flat[0])!r}")
    out = np.array(law.ppf(1 - level))
    top = max(law._bands, default=None)
    small = (level > 0) & (level < _SMALL)
    if small.any() and top is not None and top[1] >= max((t for t, _ in law._points), default=-math.inf):
        start = float(law._t(np.array([float(law.ppf(1 - _SMALL))]))[0])
        if start > top[0]:  # that much of the mass is in the highest band
            out[small] = law._x(_solved(law, level[small], top[1] - start, top[1]))
    return out[()]


@np.errstate(all="ignore")
def _solved(law: Distribution, q: Array, room: float, end: float) -> Array:
    """Return t with P(T > t) = q, by Newton in the logarithms of q and of the distance to the end."""
    goal = np.log(q)
    step = np.log(room) + (goal - math.log(_SMALL)) / 1.5  # of a square-root edge
    best, least = step, np.full(q.size, np.inf)
    for _ in range(_ROUNDS):
        found = law._local(end - np.exp(step))
        miss = np.log(found.upper) - goal
        slope = np.exp(found.log_density + step) / found.upper
        best, least = np.where(np.abs(miss) < least, step, best), np.fmin(np.abs(miss), least)
        change = np.where(np.isfinite(miss) & (slope > 0), -miss / slope, 0.0)
        if np.all((np.abs(miss) <= 1e-13) | (change == 0)):
            break
        step = step + np.clip(change, -1.0, 1.0)
    return end - np.exp(best)
