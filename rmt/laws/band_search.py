"""The bands of a law between two ends: a grid, refined wherever what should be a gap hides mass.

`look` says at points x how far from real the law's transform is there (0 in a gap) and how much continuous mass lies
above them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from rmt.laws.errors import ConvergenceError

Array = NDArray[np.float64]
Look = Callable[[Array], tuple[Array, Array]]

REAL = 1e-5  # phase under which a number counts as real: at an edge it grows as the root of the distance
_SCAN = 400
_HIDDEN = 1e-9  # mass between two points outside that makes the search go on


def find_bands(look: Look, polish: Callable[[float, float], float], low: float, top: float, near: Sequence[float],
               known: Sequence[float], unit: float, whole: float, *,
               starts_inside: bool = False, ends_inside: bool = False) -> tuple[tuple[float, float], ...]:
    """Return the bands between low and top; nothing lies outside but what starts inside at low or ends inside at top.

    There the law may be too thin to be seen.

    `near` are further points to look at, `known` exact places where an edge may be, `unit` the scale of x, `whole`
    the continuous mass; `polish` returns the edge between a point outside and one inside.
    """
    x = np.unique([*np.linspace(low, top, _SCAN + 2)[1:-1], *near])
    phase, tail = look(x)
    low_points = [i for i in range(1, x.size - 1) if REAL < phase[i] <= min(phase[i - 1], phase[i + 1])
                  and phase[i] < max(phase[i - 1], phase[i + 1])]
    dips = [_dip(look, x[i - 1], x[i + 1], unit) for i in low_points]
    gaps = np.array([dip for dip in dips if dip is not None])
    if gaps.size:
        x, phase, tail = (np.r_[a, b] for a, b in zip((x, phase, tail), (gaps, *look(gaps)), strict=True))
        x, order = np.unique(x, return_index=True)
        phase, tail = phase[order], tail[order]
    inside = phase > REAL
    if inside.any():
        first, last = np.flatnonzero(inside)[[0, -1]]
        inside[:first] |= starts_inside
        inside[last:] |= ends_inside
    x, inside, tail = np.r_[low, x, top], np.r_[starts_inside, inside, ends_inside], np.r_[whole, tail, 0.0]
    while True:
        hidden = np.flatnonzero(~inside[:-1] & ~inside[1:] & (np.abs(np.diff(tail)) > _HIDDEN))
        if hidden.size == 0:
            break
        if np.any(np.diff(x)[hidden] < 1e-13 * (unit + np.abs(x[hidden]))):
            raise ConvergenceError(f"a band near {x[hidden[0]]:.6g} is too narrow for a float")
        middle = (x[hidden] + x[hidden + 1]) / 2
        phase, mass = look(middle)
        x, inside, tail = (np.insert(a, hidden + 1, b) for a, b in ((x, middle), (inside, phase > REAL), (tail, mass)))
    edges = [low] if inside[0] else []
    for i in np.flatnonzero(inside[1:] != inside[:-1]):
        outside, within = (x[i], x[i + 1]) if inside[i + 1] else (x[i + 1], x[i])
        at = [end for end in known if min(outside, within) <= end <= max(outside, within)]
        edge = at[0] if at else polish(outside, within)
        if len(edges) % 2 == 0 and edges and edge - edges[-1] < 1e-13 * (unit + abs(edge)):
            edges.pop()  # two bands touch
        else:
            edges.append(edge)
    if inside[-1]:
        edges.append(top)
    return tuple(zip(edges[::2], edges[1::2], strict=True))


def _dip(look: Look, left: float, right: float, unit: float) -> float | None:
    """Return a point of a gap between two points around a least phase, None where there is none."""
    while right - left > 1e-9 * (unit + abs(left)):
        x = np.linspace(left, right, 17)
        phase = look(x)[0]
        least = int(np.argmin(phase[1:-1])) + 1
        if phase[least] <= REAL:
            return float(x[least])
        if phase[least] > 0.9 * min(phase[0], phase[-1]):  # flat: a smooth minimum
            return None
        left, right = x[least - 1], x[least + 1]
    return None


def polished(look: Look, turn_near: Callable[[float], float], outside: float, inside: float, unit: float) -> float:
    """Return the edge between a point outside and one inside.

    `turn_near` returns the turn of x on the real axis next to a point outside, which is the edge if it lies between
    them; the sections alone are good to the square of `REAL`.
    """
    for width in (math.inf, 1e-3, 1e-10):
        outside, inside = _bracket(look, outside, inside, unit, width)
        try:
            edge = turn_near(outside)
        except ConvergenceError:
            continue
        room = 1e-8 * (unit + abs(outside))
        if not min(outside, inside) - room <= edge <= max(outside, inside) + room:
            continue
        scale = math.copysign(unit + abs(edge), inside - outside)
        at_once = abs(edge - outside) < abs(1e-7 * scale)  # two bands may touch there, or leave a narrow gap
        try:
            phase, _ = look(np.array([outside if at_once else edge - 1e-7 * scale,
                                      edge + (1e-11 if at_once else 1e-7) * scale]))
        except ConvergenceError:  # so near nothing can be seen: between two points that were, the turn is the edge
            if width < math.inf:
                return edge
            continue
        if width < 1e-8 or phase[0] <= REAL < phase[1]:
            return edge
    return outside


def _bracket(look: Look, outside: float, inside: float, unit: float, width: float) -> tuple[float, float]:
    """Return (outside, inside) closer around the edge, by sixteenfold sections."""
    while abs(inside - outside) > width * (unit + abs(inside)):
        x = np.linspace(outside, inside, 17)
        still = np.r_[True, look(x[1:-1])[0] <= REAL]  # the first may be an atom, where there is nothing to see
        last = int(np.flatnonzero(still)[-1])
        outside, inside = float(x[last]), float(x[last + 1])
    return outside, inside


def turning_point(turn: Callable[[float], tuple[float, float]], a: float, b: float, least: float) -> float:
    """Return x where dx/dp = 0, by secants in p from a and b; `turn` returns x and dx/dp, `least` is the scale of p."""
    with np.errstate(all="ignore"):
        slope_a = turn(a)[1]
        for _ in range(30):
            edge, slope_b = turn(b)
            if slope_b == slope_a or abs(b - a) <= 1e-9 * (least + abs(b)):  # x is stationary: its error is the square
                return edge
            a, b, slope_a = b, b - slope_b * (b - a) / (slope_b - slope_a), slope_b
    raise ConvergenceError(f"no turn near {edge:.6g}")
