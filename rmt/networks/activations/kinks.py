"""Where a slope jumps or bends, found from its values: what a second difference leaves as its steps shrink."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

_REACH, _STEP, _OFFSET = 30.0, 0.01, 0.00371  # the grid: its points are no round numbers
_PARTS, _ROUNDS = 8, 5  # of a step, again and again: 3e-7 at the end
_SMALL = 1e-9  # of the largest slope: a second difference below is smooth, or rounding
_BESIDE = 1e-4  # where lines are laid through a slope, to meet at its bend
_ROUND = 1e-6  # how near to a number of few digits a kink is that number
_MANY = 64


def kinks_of(slope: Callable[[Array], Array], blurred: float = _ROUND) -> tuple[float, ...]:
    """Return the places, up to |u| = 30, where a slope jumps, or bends by more than .003 of its largest size.

    `blurred`: by how much a place may be off, so that a number of few digits which is as near is taken for it.
    """
    with np.errstate(all="ignore"):
        u = np.arange(-_REACH, _REACH, _STEP) + _OFFSET
        values = slope(u)
        size = float(np.max(np.abs(values[np.abs(u) < 10])))
        left, step = u[:-2], _STEP
        left = left[np.abs(np.diff(values, 2)) > _SMALL * np.maximum(size, np.abs(values[1:-1]))]
        for _ in range(_ROUNDS):
            step /= _PARTS
            if not left.size:
                break
            points = left[:, None] + step * np.arange(2 * _PARTS + 1)
            values = slope(points)
            bends = np.abs(np.diff(values, 2, axis=1)) / np.maximum(size, np.abs(values[:, 1:-1]))
            best = bends.argmax(axis=1)
            kept = bends.max(axis=1) > _SMALL
            left = points[np.arange(left.size), best][kept]
        places = np.unique([_placed(slope, x, x + 2 * step, size, blurred) for x in left.tolist()])
    apart = places[np.r_[True, np.diff(places) > 10 * blurred]] if places.size else places
    if apart.size > _MANY:
        raise ValueError(f"the slope jumps or bends at more than {_MANY} places: name them in kinks=")
    return tuple(apart.tolist())


def _placed(slope: Callable[[Array], Array], low: float, high: float, size: float, blurred: float) -> float:
    """Return a kink inside an interval: a jump by bisection, a bend where the lines on its sides meet."""
    ends = slope(np.array([low, high]))
    if abs(ends[1] - ends[0]) > 1e-3 * size:
        while low < (middle := (low + high) / 2) < high and high - low > 1e-13:
            value = slope(np.array([middle]))[0]
            low, high = (middle, high) if abs(value - ends[0]) < abs(value - ends[1]) else (low, middle)
        place = (low + high) / 2
    else:
        a, b, c, d = slope(np.array([low - 2 * _BESIDE, low - _BESIDE, high + _BESIDE, high + 2 * _BESIDE]))
        before, after = (b - a) / _BESIDE, (d - c) / _BESIDE
        place = (c - b + before * (low - _BESIDE) - after * (high + _BESIDE)) / (before - after)
        place = place if low - _BESIDE < place < high + _BESIDE else (low + high) / 2
    rounded = float(f"{place:.4g}") if abs(place) > blurred else 0.0
    return rounded if abs(rounded - place) < blurred else float(place)
