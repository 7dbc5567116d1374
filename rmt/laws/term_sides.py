"""A law as a term of a free sum: its gaps, cut where G vanishes, and the point of each at a value of F = 1/G."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.polynomial.polynomial import polyval
from numpy.typing import NDArray
from scipy.special import expit

from rmt.laws import side_coordinate
from rmt.laws.finite_law import FiniteLaw

if TYPE_CHECKING:
    from rmt.laws.law import Law

Array = NDArray[np.float64]
IntArray = NDArray[np.intp]
BoolArray = NDArray[np.bool_]

FARTHEST = 1e5  # |F| in units of the standard deviation of the sum: beyond, all is as it is there
_NODES = np.arange(-34.0, 34.1, 0.25)  # the coordinate of a side
_CLOSE = 1e-14  # nearer to an end, relative to its place, the distance has no digits
_REAL = 1e-7  # |Im G / G| of a point that is outside
_TERMS = 10  # of the series at G = 0
_COARSE = _NODES[::2]
_ROUNDS, _SECTIONS = 60, 14
_SMALL = 1e-9  # no residual of rounding is larger


@dataclass(frozen=True)
class Side:
    """The part of a gap of a law on which F has one sign; |F| falls toward its first end.

    Attributes
    ----------
    low, high : float
        Its ends.
    sign : int
        Of F, which rises from low to high.
    above : float
        The mass above it.
    atom : float
        Where |F| is the least, if an atom is there; else NaN.
    pole : float
        Where |F| is infinite, if it is; else NaN.
    """

    low: float
    high: float
    sign: int
    above: float
    atom: float
    pole: float


class Table(NamedTuple):
    """Nodes of a side, in increasing ln |F|: the coordinate, the branch parameter, the logit of c = 1 - 1/F'.

    And the least c.
    """

    u: Array
    at: NDArray[Any]
    log_f: Array
    logit: Array
    least: float


class Point(NamedTuple):
    """Omega, h = F - omega, 1/F' and c = 1 - 1/F', each with its own digits, at points of sides."""

    omega: Array
    h: Array
    rise: Array
    short: Array


class View(NamedTuple):
    """Omega, G, 1/F', h = F - omega, d ln F / d(parameter) at points, and whether they are outside the support."""

    omega: Array
    g: Array
    rise: Array
    h: Array
    rate: Array
    outside: BoolArray


class Term:
    """A law, taken n times, in a sum with standard deviation `unit`."""

    def __init__(self, law: Law, n: float, unit: float) -> None:
        self.law, self.n, self.unit, self.mean = law, n, unit, law.mean()

    @cached_property
    def sides(self) -> list[Side]:
        """Every gap, cut where G vanishes."""
        atoms = self.law.atoms
        pieces = sorted([*self.law.support, *((x, x) for x in atoms)])
        above = np.cumsum(self.law._pieces[1][::-1])[::-1].tolist()
        gaps = [(a, b, mass) for (_, a), (b, _), mass in zip(pieces, pieces[1:], above[1:], strict=False)
                if b - a > _CLOSE * max(abs(a), abs(b))]
        parts = [(-math.inf, pieces[0][0], -1, 1.0, -math.inf), (pieces[-1][1], math.inf, 1, 0.0, math.inf)]
        for (a, b, mass), (sign, zero) in zip(gaps, self._signs(gaps), strict=True):
            if sign:
                parts.append((a, b, sign, mass, math.nan))
            else:
                parts += [(a, zero, 1, mass, zero), (zero, b, -1, mass, zero)]
        firsts = [low if sign > 0 else high for low, high, sign, *_ in parts]
        return [Side(low, high, sign, mass, first if first in atoms else math.nan, pole)
                for (low, high, sign, mass, pole), first in zip(parts, firsts, strict=True)]

    def _signs(self, gaps: Sequence[tuple[float, float, float]]) -> list[tuple[int, float]]:
        """Return the sign of G in gaps, where it falls, or 0 and where it vanishes."""
        if not gaps:
            return []
        left, right = (np.array(ends) for ends in list(zip(*gaps, strict=True))[:2])
        omega = side_coordinate.place(_COARSE, left[:, None], right[:, None], self.unit)
        view = self._look(self._parameter(omega.ravel()))
        clear = np.all([np.abs(omega - end[:, None]) > _CLOSE * np.abs(end[:, None]) for end in (left, right)], axis=0)
        above, below = ((view.outside & side).reshape(omega.shape) & clear for side in (view.g > 0, view.g <= 0))
        each, last = np.arange(left.size), _COARSE.size - 1
        low = np.where(above.any(axis=1), omega[each, last - above[:, ::-1].argmax(axis=1)], left)
        high = np.where(below.any(axis=1), omega[each, below.argmax(axis=1)], right)
        signs = np.where(above.any(axis=1) & below.any(axis=1), 0, np.where(above.any(axis=1), 1, -1))
        for _ in range(_SECTIONS):
            x = low[:, None] + (high - low)[:, None] * np.linspace(0, 1, 18)[1:-1]
            count = np.sum(self._look(self._parameter(x.ravel())).g.reshape(x.shape) > 0, axis=1)
            x = np.c_[low, x, high]
            low, high = x[each, count], x[each, count + 1]
        return list(zip(signs.tolist(), high.tolist(), strict=True))

    def _parameter(self, omega: Array) -> NDArray[Any]:
        """Return the law's branch parameter at real omega; of a finite law a real one, too."""
        return omega if isinstance(self.law, FiniteLaw) else self.law._branch_from(omega.astype(complex))

    def _look(self, at: NDArray[Any]) -> View:
        """Return what the law is at branch parameters of real points."""
        with np.errstate(all="ignore"):
            omega, d_omega, g, dg, h = self.law._branch(at)
            rise = (-(g**2) * d_omega / dg).real
            outside = (np.abs(g.imag) <= _REAL * np.abs(g)) & (rise > 0) & (rise < 1 + _REAL)
            return View(omega.real, g.real, rise, h.real, -(dg / g).real, outside)

    @cached_property
    def tables(self) -> list[Table]:
        """The nodes of every side."""
        low, high = (ends[:, None] for ends in np.array([(side.low, side.high) for side in self.sides]).T)
        omega = side_coordinate.place(_NODES, low, high, self.unit)
        at = self._parameter(omega.ravel())
        view = self._look(at)
        g, rise = view.g.reshape(omega.shape), view.rise.reshape(omega.shape)
        sign = np.array([side.sign for side in self.sides])[:, None]
        with np.errstate(all="ignore"):
            log_f, logit = -np.log(np.abs(g)), np.log(self._short(g, rise)) - np.log(rise)
            known = view.outside.reshape(omega.shape) & (np.sign(g) == sign)
            known &= log_f < math.log(2 * FARTHEST * self.unit)
            for end in (low, high):
                known &= np.isinf(end) | (np.abs(omega - end) > _CLOSE * np.abs(end))
        rows = [np.broadcast_to(_NODES, omega.shape), at.reshape(omega.shape), log_f, logit]
        return [_table(*(row[i][keep][:: side.sign] for row in rows))
                for i, (side, keep) in enumerate(zip(self.sides, known, strict=True))]

    def nearly(self, k: int, log_f: Array) -> tuple[Array, Array]:
        """Return 1/F' and c on a side, about."""
        logit = np.interp(log_f, self.tables[k].log_f, self.tables[k].logit)
        return np.asarray(expit(-logit)), np.asarray(expit(logit))

    @cached_property
    def _series(self) -> tuple[float, int, float, Array]:
        """The law's reach, the first order of its free cumulants without digits, and c = G^2 R'(G) without those.

        As a series in G times a unit, which comes before it.
        """
        ends, order = np.array(self.law._ends), np.arange(1, _TERMS + 1)
        unit = float(np.abs(ends).max())
        cumulants = (self.law * (1 / unit))._cumulants(_TERMS)
        lost = (order > 2) & (cumulants != 0) & (np.abs(cumulants) < 1e-12)
        first = int(order[lost][0]) if lost.any() else _TERMS + 1
        known = np.where(order < first, (order - 1) * cumulants, 0)
        return float(np.abs(ends - self.mean).max()), first, unit, np.r_[0.0, 0.0, known[1:]]

    def _short(self, g: Array, rise: Array) -> Array:
        """Return c; next to infinity, where 1/F' says less of it, from the series."""
        reach, first, unit, coefficients = self._series
        with np.errstate(all="ignore"):
            series = np.abs(polyval(unit * g, coefficients))
            better = (4 * reach * np.abs(g)) ** (first - 2) * series < 4e-16
        return np.where(better & (rise > 0.5), series, np.maximum(1 - rise, 1e-17))

    def at(self, sides: IntArray, log_f: Array) -> Point:
        """Return the points of sides at ln |F|, by Newton between the nodes.

        In the branch parameter where that is a logarithm itself, and in the coordinate of a side elsewhere: where
        omega passes zero, too, next to which the logarithm has no bound.
        """
        low, high, sign = np.array([(side.low, side.high, side.sign) for side in self.sides])[sides].T
        p, left, right, turn, u = np.empty((5, sides.size))
        own = np.full(sides.size, math.isfinite(self.law._branch_strip))
        for k in np.unique(sides):
            here, table = sides == k, self.tables[k]
            i = np.clip(np.searchsorted(table.log_f, log_f[here]), 1, table.u.size - 1)
            own[here] &= table.at.imag[i] == table.at.imag[i - 1]
            turn[here], u[here] = table.at.imag[i], np.interp(log_f[here], table.log_f, table.u)
            p[here] = np.where(own[here], np.interp(log_f[here], table.log_f, table.at.real), u[here])
            left[here], right[here] = (np.where(own[here], table.at.real[j], table.u[j]) for j in (i - 1, i))
        omega, h, g, rise, miss = np.empty((5, sides.size))
        todo, last = np.arange(sides.size), np.full(sides.size, np.inf)
        for _ in range(_ROUNDS):
            now, by_own = p[todo], own[todo]
            at = now + 1j * turn[todo] if by_own.any() else now
            if not by_own.all():
                u_now, a, b = (part[~by_own] for part in (now, low[todo], high[todo]))
                others = self._parameter(side_coordinate.place(u_now, a, b, self.unit))
                at = np.where(by_own, at, 0).astype(others.dtype if not by_own.any() else complex)
                at[~by_own] = others
            view = self._look(at)
            omega[todo], g[todo], rise[todo], h[todo] = view.omega, view.g, view.rise, view.h
            with np.errstate(all="ignore"):
                along = side_coordinate.rate(now, low[todo], high[todo], self.unit)
                rate = np.where(by_own, view.rate, view.g / view.rise * along)
                miss[todo] = log_f[todo] + np.log(np.abs(view.g))
                new = now + miss[todo] / rate
            left[todo] = np.where(miss[todo] > 0, now, left[todo])  # there ln |F| is less
            right[todo] = np.where(miss[todo] < 0, now, right[todo])
            inside = (new - left[todo]) * (right[todo] - new) >= 0
            new = np.where(inside, new, (left[todo] + right[todo]) / 2)
            size = np.abs(miss[todo])
            stalled = (size < _SMALL) & (size > last[todo] / 2)  # down to what the law rounds
            last[todo] = size
            more = (np.abs(new - now) > 1e-14 * (1 + np.abs(new))) & (size > 1e-15) & ~stalled
            more &= by_own | (np.abs(new - now) * along > 2e-16 * np.abs(view.omega))
            todo = todo[more]
            if not todo.size:
                break
            p[todo] = new[more]
        off, short = np.expm1(miss) / g, self._short(g, rise)  # of F, which is given: omega is rounded
        pole = (u * sign > 0) & np.isfinite(low) & np.isfinite(high)
        return Point(omega + off * rise, h + off * short, np.where(pole, rise * np.exp(-2 * miss), rise), short)


def _table(u: Array, at: NDArray[Any], log_f: Array, logit: Array) -> Table:
    """Return the nodes at which ln |F| rises."""
    rises = side_coordinate.rising(log_f)
    least = float(expit(logit[rises].min(initial=np.inf)))
    return Table(u[rises], at[rises], log_f[rises], logit[rises], least)
