"""A psi law as a factor of a free product: its gaps and the negative axis, cut where psi is 0 or -mass.

On each such side s = -psi / mass is real and keeps to one of s < 0, 0 < s < 1, s > 1, and the odds ln |s / (1 - s)| are
monotone in b, omega = 1/zeta = +-e^-b. Of the law given a value that is not zero,

    e = d ln |omega| / d ln |(1 - s) / s| = s (1 - s) / s'(b),      1 - e = (s' - s (1 - s)) / s'.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import elementwise

from rmt.laws.psi import Array, ExplicitPsi
from rmt.laws.side_coordinate import distinct, place, rate, rising

IntArray = NDArray[np.intp]

DEEPEST = 300.0  # odds, as far as sides are looked at
_NODES = np.arange(-34.0, 34.1, 0.5)  # the coordinate of a side
_CLOSE = 1e-14  # in b, relatively: nearer to an end, the distance has no digits
_CUT = 25.0  # the coordinate of a side up to which s is looked at for where it is 0 or 1
_ROUNDS = 60
_INFINITE = 1e300
_SMALL = 1e-9  # no residual of rounding is larger


def _room(end: Array) -> Array:
    """Return how near to an end of a side a place has no digits of its distance."""
    return np.asarray(_CLOSE * np.maximum(1.0, np.abs(end)))


@dataclass(frozen=True)
class Side:
    """A range (low, high) of b on which omega has one sign and s keeps to one range.

    Attributes
    ----------
    low, high : float
        Its ends.
    positive : bool
        Whether omega is.
    kind : int
        -1 where s < 0, 0 where 0 < s < 1, 1 where s > 1.
    above : float
        The mass above omega, if omega > 0; else zero.
    """

    low: float
    high: float
    positive: bool
    kind: int
    above: float


class Table(NamedTuple):
    """Nodes of a side, in increasing odds: the coordinate, and ln |e| and ln |1 - e|."""

    u: Array
    odds: Array
    rise: Array
    short: Array


class Point(NamedTuple):
    """B, e and 1 - e, each with its own digits, at points of sides."""

    b: Array
    rise: Array
    short: Array


class Factor:
    """A psi law, taken k times at w/m, where `reach` = m mass: s = -w / reach."""

    def __init__(self, law: ExplicitPsi, m: Fraction, k: float) -> None:
        self.law, self.m, self.k, self.reach = law, float(m), k, float(m * law.mass)

    @cached_property
    def sides(self) -> list[Side]:
        """The negative axis, what lies above and below the law, and every gap, cut at s = 0 and s = 1."""
        intervals = self.law.log_intervals
        bottom, top = intervals[0][0], intervals[-1][1]
        out = [Side(-math.inf, math.inf, False, 0, 0.0), Side(-math.inf, -top, True, -1, 0.0)]
        if bottom > -math.inf:
            out.append(Side(-bottom, math.inf, True, 1, float(self.law.mass)))
        gaps = [(-b, -a) for (_, a), (b, _) in itertools.pairwise(intervals)
                if b - a > 10 * _CLOSE * max(1.0, abs(a), abs(b))]
        return out + self._cut(*np.array(gaps).T) if gaps else out

    def _cut(self, low: Array, high: Array) -> list[Side]:
        """Return the sides of gaps, on which s falls with b."""
        above = self.law.above((low + high) / 2)
        cuts = zip(low, self._passes(1.0, low, high), self._passes(0.0, low, high), high, above, strict=True)
        return [Side(float(a), float(b), True, kind, float(mass)) for *ends, mass in cuts
                for (a, b), kind in zip(itertools.pairwise(ends), (1, 0, -1), strict=True) if b > a]

    def _passes(self, level: float, low: Array, high: Array) -> Array:
        """Return where s falls through 0 or 1 in gaps: at an end, where it is beyond on all of one."""
        def value(u: Array, a: Array, b: Array) -> Array:
            s, rest, _, _ = self.law.on_axis(place(u, a, b), True)
            found = np.clip(-rest if level else s, -_INFINITE, _INFINITE)
            return np.asarray(found / (1 + np.abs(found)))

        reach = [np.minimum(_CUT, np.log((high - low) / (2 * _room(end)))) for end in (low, high)]
        first, last = value(-reach[0], low, high), value(reach[1], low, high)
        out = np.where(first <= 0, low, high)
        if (crossed := (first > 0) & (last < 0)).any():
            ends = low[crossed], high[crossed]
            found = elementwise.find_root(value, (-reach[0][crossed], reach[1][crossed]), args=ends, tolerances={
                "xatol": 1e-15, "xrtol": 1e-15})
            out[crossed] = place(np.asarray(found.x), *ends)
        return out

    def _look(self, b: Array, positive: bool) -> tuple[Array, Array, Array, Array, NDArray[np.int8]]:
        """Return the odds, their slope in b, e, 1 - e, and the range of s."""
        with np.errstate(all="ignore"):
            s, rest, slope, excess = self.law.on_axis(b, positive)
            odds = np.where(np.abs(s) > 2, -np.log1p(-1 / s), np.log(np.abs(s)) - np.log(np.abs(rest)))
            kind = np.where(s < 0, -1, np.where(rest < 0, 1, 0)).astype(np.int8)
            return odds, slope / (s * rest), s * rest / slope, excess / slope, kind

    @cached_property
    def tables(self) -> list[Table]:
        """The nodes of every side."""
        negative = self.law.real_root(_NODES)
        odds, _, rise, short, _ = self._look(negative, False)
        out = [self._table(negative, odds, rise, short, (rise > 0) & (short < 0))]
        if len(self.sides) == 1:
            return out
        low, high, kinds = np.array([(side.low, side.high, side.kind) for side in self.sides[1:]]).T[:, :, None]
        b = place(_NODES, low, high)
        with np.errstate(invalid="ignore"):
            kept = np.all([np.isinf(end) | (np.abs(b - end) > _room(end)) for end in (low, high)], axis=0)
        found = np.full((5, *b.shape), np.nan)
        found[:, kept] = self._look(b[kept], True)  # nearer to an end there may be no root
        with np.errstate(invalid="ignore"):
            kept &= (found[4] == kinds) & (np.abs(found[0]) < DEEPEST)
            kept &= (found[3] > 0) & ((found[2] > 0) == (kinds != 0))
        for side, *rows in zip(self.sides[1:], found[0], found[2], found[3], kept, strict=True):
            u, odds, rise, short, known = (row[:: 1 if side.kind else -1] for row in (_NODES, *rows))
            out.append(self._table(u, odds, rise, short, known))
        return out

    @staticmethod
    def _table(u: Array, odds: Array, rise: Array, short: Array, kept: NDArray[Any]) -> Table:
        """Return the nodes that are kept, at which the odds rise."""
        u, odds, rise, short = (row[kept] for row in (u, odds, rise, short))
        rises = rising(odds)
        return Table(u[rises], odds[rises], np.log(np.abs(rise[rises])), np.log(np.abs(short[rises])))

    def nearly(self, k: int, odds: Array) -> tuple[Array, Array]:
        """Return e and 1 - e on a side, about."""
        side, table = self.sides[k], self.tables[k]
        rise, short = (np.exp(np.interp(odds, table.odds, row)) for row in (table.rise, table.short))
        return (rise if side.kind or not side.positive else -rise), (short if side.positive else -short)

    def at(self, sides: IntArray, odds: Array) -> Point:
        """Return the points of sides at odds, by Newton between the nodes."""
        sides, odds, whose = distinct(sides, odds)
        b, rise, short = np.empty((3, sides.size))
        positive = np.array([side.positive for side in self.sides])[sides]
        for sign in (False, True):
            if (here := positive == sign).any():
                b[here], rise[here], short[here] = self._at(sides[here], odds[here], sign)
        return Point(b[whose], rise[whose], short[whose])

    def _at(self, sides: IntArray, odds: Array, positive: bool) -> Point:
        low, high = np.array([(side.low, side.high) for side in self.sides])[sides].T
        turn = np.array([1.0 if side.kind or not side.positive else -1.0 for side in self.sides])[sides]
        u, left, right = np.empty((3, sides.size))
        for k in np.unique(sides):
            here, table = sides == k, self.tables[k]
            i = np.clip(np.searchsorted(table.odds, odds[here]), 1, table.u.size - 1)
            u[here] = np.interp(odds[here], table.odds, table.u)
            left[here], right[here] = np.sort([table.u[i - 1], table.u[i]], axis=0)
        b, slope, rise, short, miss = np.empty((5, sides.size))
        todo, last = np.arange(sides.size), np.full(sides.size, np.inf)
        for _ in range(_ROUNDS):
            at_u = u[todo], low[todo], high[todo]
            b[todo] = place(*at_u)
            found, slope[todo], rise[todo], short[todo], _ = self._look(b[todo], positive)
            by_u = rate(*at_u)
            with np.errstate(all="ignore"):
                miss[todo] = odds[todo] - found
                new = at_u[0] + miss[todo] / (slope[todo] * by_u)
            more = miss[todo] * turn[todo]
            left[todo] = np.where(more > 0, at_u[0], left[todo])
            right[todo] = np.where(more < 0, at_u[0], right[todo])
            new = np.where((new >= left[todo]) & (new <= right[todo]), new, (left[todo] + right[todo]) / 2)
            size = np.abs(miss[todo])
            stalled = (size < _SMALL) & (size > last[todo] / 2)  # down to rounding
            last[todo] = size
            moves = np.abs(new - at_u[0])
            open_ = (moves > 1e-14 * (1 + np.abs(new))) & (moves * by_u > 1e-16 * np.abs(b[todo])) & (size > 1e-16)
            open_ &= ~stalled
            todo = todo[open_]
            if not todo.size:
                break
            u[todo] = new[open_]
        with np.errstate(all="ignore"):
            step = np.where(np.abs(miss) < 1e-6, miss / slope, 0.0)  # b is rounded in its coordinate
        return Point(b + step, rise, short)
