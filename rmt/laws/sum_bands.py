"""The bands of a free sum from its gaps: exact where an atom or an edge at a known place is."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from rmt.laws.atoms import at_place
from rmt.laws.errors import ConvergenceError
from rmt.laws.finite_law import FiniteLaw
from rmt.laws.gap_runs import SAME, Gap

if TYPE_CHECKING:
    from rmt.laws.law import Law

Array = NDArray[np.float64]
Band = tuple[float, float]
Terms = Sequence[tuple["Law", Any]]

_ROUNDING = 1e-13  # of a place: nearer to each other they are the same


def between(terms: Terms, gaps: Sequence[Gap], known: Array, unit: float) -> tuple[tuple[Band, float], ...]:
    """Return the intervals between gaps and their masses; an end is at a known place, or at a bound, next to it."""
    low, high = (sum(float(n) * law._ends[side] for law, n in terms) for side in (0, 1))

    def exact(x: float, level: float, side: int) -> float:
        if x < low < _ROUNDING * unit:  # above zero by less than there are digits
            return min(low, 0.0)
        x = min(max(x, low), high)
        room = _ROUNDING * (unit + abs(x))
        bounds = [*_bounds(terms, level, side)] if np.all(np.abs(known - x) > room) else []
        return at_place(x, np.array(bounds) if bounds else known, room)

    return tuple(((exact(a.right, 1 - a.above, 0), exact(b.left, 1 - b.above, 1)), a.above - b.above)
                 for a, b in itertools.pairwise(gaps))


def _bounds(terms: Terms, level: float, side: int) -> Iterator[float]:
    """Yield how far a quantile of the sum can go: to that of one term and the ends of all others (Weyl 1912)."""
    for i, (law, _) in enumerate(terms):
        if isinstance(law, FiniteLaw):
            others = math.fsum((float(n) - (i == j)) * other._ends[side] for j, (other, n) in enumerate(terms))
            masses = np.cumsum([float(mass) for _, mass in law._point_masses])
            passed = int(np.searchsorted(masses, level + (-SAME if side else SAME), "right"))
            yield float(law._point_masses[min(passed, masses.size - 1)][0]) + others


def pieces(low: float, high: float, mass: float, atoms: dict[float, float], unit: float) -> list[Band]:
    """Return the bands in an interval of a mass, cut at its atoms; what is within rounding of these holds nothing.

    Raises `ConvergenceError` where a band is narrower than the rounding of its place.
    """
    inside = {x: share for x, share in atoms.items() if low <= x <= high}
    found = list(itertools.pairwise([low, *(x for x in inside if low < x < high), high]))
    wide = [(left, right) for left, right in found if right - left > _ROUNDING * (unit + abs(left))]
    if wide or (lacks := mass - sum(inside.values())) <= SAME:
        return wide
    if high - low <= _ROUNDING * abs(low):
        raise ConvergenceError(f"free sum: floats do not tell apart the places of a band, {low!r} to {high!r}, "
                               f"that has a mass of {lacks:.6g}")
    return [(left, right) for left, right in found if left < right]
