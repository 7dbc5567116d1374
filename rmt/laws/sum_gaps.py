"""The gaps of a free sum, all of them: where its Cauchy transform is real.

In a gap of X = sum of n_i free copies of X_i every omega_i lies in a gap of X_i, and with F = 1/G, F_i(omega_i) = F,

    z = sum n_i omega_i - (sum n_i - 1) F,      dz/dF = 1 - sum n_i c_i,      c_i = 1 - 1/F_i'(omega_i) in [0, 1).

Such a point is outside the support just where dz/dF > 0: then z + i0 moves every omega_i up by no less than z, which
the subordination functions alone do (Belinschi and Bercovici 2007). So the gaps are the runs of F along which the
margin 1 - sum n_i c_i is positive, over all ways to take one gap of every X_i, and the mass above such a gap is
sum n_i P(X_i > omega_i), less sum n_i - 1 where F < 0. No band is looked for: the bands are what is left.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rmt.laws import gap_runs
from rmt.laws.errors import ConvergenceError
from rmt.laws.gap_runs import BEYOND, NEARLY, SAME, Combination, Gap, Run, in_order, joined, open_runs
from rmt.laws.term_sides import Term

if TYPE_CHECKING:
    from rmt.laws.law import Law

Array = NDArray[np.float64]
ComplexArray = NDArray[np.complex128]
IntArray = NDArray[np.intp]
BoolArray = NDArray[np.bool_]


class Nodes(NamedTuple):
    """Points outside, increasing: z, F there, omega and h = F - omega of every law, the run, or -1 at an atom, the gap.

    And ln |F|.
    """

    z: Array
    f: Array
    omega: Array
    h: Array
    run: IntArray
    gap: IntArray
    log_f: Array


@dataclass(frozen=True, eq=False)
class Outside:
    """All that is outside the support of a sum: its gaps, increasing, the first and last of them unbounded."""

    gaps: tuple[Gap, ...]
    runs: tuple[Run, ...]
    margin: _Margin

    @cached_property
    def _sides(self) -> IntArray:
        """The sides of every run."""
        return np.array([run.sides for run in self.runs])

    @cached_property
    def _nodes(self) -> Nodes:
        log_f, run, gap = gap_runs.nodes(self.runs, self.gaps)
        sides = self._sides[run]
        omega, h = self.margin.points(log_f, sides)
        z, f = self.margin.z(log_f, sides, omega, h), np.exp(log_f) * np.array([one.sign for one in self.runs])[run]
        atom = self.margin.atom(self._sides)
        begins = np.flatnonzero([place in (one.gap.left, one.gap.right)
                                 for place, one in zip(atom, self.runs, strict=True)])
        places = np.array([[term.sides[k].atom for k in self._sides[begins, i]]
                           for i, term in enumerate(self.margin.terms)]).reshape(len(self.margin.terms), -1)
        of_run = gap[np.searchsorted(run, begins)]
        nodes = Nodes(np.r_[z, atom[begins]], np.r_[f, 0 * begins], np.c_[omega, places], np.c_[h, -places],
                      np.r_[run, begins * 0 - 1], np.r_[gap, of_run], np.r_[log_f, begins * 0 - np.inf])
        order = np.lexsort((nodes.z, nodes.gap))
        return Nodes(*(np.asarray(part)[..., order] for part in nodes))  # type: ignore[arg-type]

    def band(self, z: Array) -> tuple[Array, Array, Array, Array, BoolArray]:
        """Return the ends of the band around real z, G and every omega at the nearer, and where there is a band."""
        i, nodes = self._after(z), self._nodes
        low, high = nodes.z[i - 1], nodes.z[i]
        nearer = np.where(z > (low + high) / 2, i, i - 1)
        with np.errstate(divide="ignore"):
            return low, high, 1 / nodes.f[nearer], nodes.omega[:, nearer], nodes.gap[i] > nodes.gap[i - 1]

    def arcs(self, z: Array) -> tuple[ComplexArray, ComplexArray, BoolArray]:
        """Return G and every omega inside bands, about: on arcs between what they are at both ends; and where that is.

        For a semicircle that is exact. G, or F where it is small at both ends.
        """
        i, nodes = self._after(z), self._nodes
        share = (z - nodes.z[i - 1]) / np.maximum(nodes.z[i] - nodes.z[i - 1], 1e-300)
        inside = (nodes.gap[i] > nodes.gap[i - 1]) & (share > 0) & (share < 1)
        share = np.where(inside, share, 0.5)

        def arc(left: Array, right: Array) -> ComplexArray:
            bow = np.maximum(np.sqrt(share * (1 - share)), 1e-9) * np.abs(right - left)
            return np.asarray(left + share * (right - left) + 1j * bow)

        left, right = (np.where(nodes.f[k] == 0, least * self.margin.unit, nodes.f[k])
                       for k, least in ((i - 1, 1e-9), (i, -1e-9)))
        small = np.maximum(np.abs(left), np.abs(right)) < self.margin.unit
        g = np.where(small, 1 / arc(left, right), np.conj(arc(1 / left, 1 / right)))
        moves, h_moves = (np.abs(part[:, i] - part[:, i - 1]) for part in (nodes.omega, nodes.h))
        omega, h = arc(nodes.omega[:, i - 1], nodes.omega[:, i]), arc(nodes.h[:, i - 1], nodes.h[:, i]).real
        return g, np.where(moves < h_moves, omega, 1 / g - h), inside

    def nearly(self, z: Array) -> tuple[Array, Array]:
        """Return G and every omega at real z that it holds, between nodes."""
        i, nodes = self._after(z), self._nodes
        share = (z - nodes.z[i - 1]) / np.maximum(nodes.z[i] - nodes.z[i - 1], 1e-300)
        f, omega, h = (part[..., i - 1] * (1 - share) + part[..., i] * share for part in (
            nodes.f, nodes.omega, nodes.h))
        with np.errstate(all="ignore"):
            g = (1 - share) / nodes.f[i - 1] + share / nodes.f[i]  # where F is large that is nearly straight
            f = np.where(np.minimum(np.abs(nodes.f[i - 1]), np.abs(nodes.f[i])) > self.margin.unit, 1 / g, f)
            size, h_size = (np.abs(part[:, i - 1]) + np.abs(part[:, i]) for part in (nodes.omega, nodes.h))
            return 1 / f, np.where(size < h_size, omega, f - h)  # past a zero of G the greater changes its sign

    def holds(self, z: Array) -> BoolArray:
        """Return where points lie between two nodes of one gap."""
        return gap_runs.held(self._nodes.z, self._nodes.gap, z)

    def brackets(self, z: Array, g: Array) -> BoolArray:
        """Return where G, which falls along a gap, lies between those at the nodes beside z."""
        i, nodes = self._after(z), self._nodes
        with np.errstate(divide="ignore"):
            left, right = 1 / nodes.f[i - 1], 1 / nodes.f[i]
        left, right = np.where(nodes.run[i - 1] < 0, np.inf, left), np.where(nodes.run[i] < 0, -np.inf, right)
        return (g <= left) & (g >= right)

    def _after(self, z: Array) -> IntArray:
        return gap_runs.after(self._nodes.z, z)

    def at(self, z: Array) -> tuple[Array, Array]:
        """Return G and every omega at real z, each between two nodes of one gap: exactly where they are of one run."""
        i, nodes = self._after(z), self._nodes
        g, omega = self.nearly(z)
        one = np.flatnonzero((nodes.run[i] == nodes.run[i - 1]) & (nodes.run[i] >= 0))
        if not one.size:
            return g, omega
        goal, before, after = z[one], i[one] - 1, i[one]
        sign = np.sign(nodes.f[after])

        def see(log_f: Array, some: IntArray) -> tuple[Array, Array]:
            here, sides = one[some], self._sides[nodes.run[after[some]]]
            place, omega[:, here], climb = self.margin.seen(log_f, sides)
            g[here] = np.exp(-log_f) * sign[some]
            return place - goal[some], climb

        ends = np.array([before, after])
        rates = self.margin.seen(nodes.log_f[ends].ravel(), self._sides[nodes.run[ends].ravel()])[2].reshape(2, -1)
        gap_runs.meet(see, nodes.log_f[ends], nodes.z[ends] - goal, rates, self.margin.unit + np.abs(goal))
        return g, omega


def outside(terms: Sequence[tuple[Law, float]]) -> Outside:
    """Return what is outside the support of the sum of free copies, (law, how many) each.

    Raises `ConvergenceError` where the gaps do not account for the mass.
    """
    unit = math.sqrt(sum(n * law.var() for law, n in terms))
    each = [Term(law, n, unit) for law, n in terms]
    margin = _Margin(each, unit)
    runs = open_runs(_combined(each), margin)
    found = joined(run.gap for run in runs)
    if not found or found[0].left > -math.inf or found[-1].right < math.inf or not in_order(found, unit):
        raise ConvergenceError(f"free sum: its gaps {found} do not account for its mass")
    return Outside(tuple(found), tuple(runs), margin)


def _relative(terms: Sequence[Term], rise: Array, short: Array) -> Array:
    """Return 1 - sum n c over what it is the difference of, from 1/F' = 1 - c and c (terms, points).

    At most one c can be near one, and that is taken from one first.
    """
    n = np.array([term.n for term in terms])[:, None]
    greatest = np.arange(len(terms))[:, None] == short.argmax(axis=0)
    up = np.where(greatest, n * rise + np.maximum(1 - n, 0), 0).sum(axis=0)
    down = np.where(greatest, np.maximum(n - 1, 0), n * short).sum(axis=0)
    return np.asarray((up - down) / (up + down))


def _combined(terms: list[Term]) -> list[Combination]:
    """Return the combinations of sides on which the sum may have gaps."""
    out: list[Combination] = []
    for sign in (1, -1):
        excess = sum(term.n for term in terms) - 1 if sign < 0 else 0.0
        found, rest = [Combination((), sign, -excess, np.empty(0), np.empty(0))], sum(term.n for term in terms)
        for term in terms:
            rest -= term.n
            above, least = np.array([(term.n * side.above, term.n * table.least)
                                     for side, table in zip(term.sides, term.tables, strict=True)]).T
            same = np.array([side.sign == sign for side in term.sides])
            found = [both for one in found for k in np.flatnonzero(
                        same & (one.least + least < BEYOND) & (one.above + above <= 1 + SAME)
                        & (one.above + above + rest >= -SAME)) if (both := _both(one, int(k), terms)) is not None]
        out += found
    return out


def _both(one: Combination, k: int, terms: list[Term]) -> Combination | None:
    """Return a combination with a side of the next term; None where the margin stays clear of zero."""
    sides, term = (*one.sides, k), terms[len(one.sides)]
    log_f = term.tables[k].log_f
    if one.sides and log_f.size:
        low, high = max(one.log_f[0], log_f[0]), min(one.log_f[-1], log_f[-1])
        log_f = np.unique(np.r_[low, one.log_f, log_f, high])
        log_f = log_f[(log_f >= low) & (log_f <= high)]
    if not log_f.size:
        return None
    rise, short = np.array([part.nearly(i, log_f) for part, i in zip(terms, sides, strict=False)]).transpose(1, 0, 2)
    margin = _relative(terms[: len(sides)], rise, short)
    if np.max(margin) < -NEARLY:
        return None
    return Combination(sides, one.sign, one.above + term.n * term.sides[k].above, log_f, margin,
                       one.least + term.n * term.tables[k].least)


@dataclass(frozen=True, eq=False)
class _Margin:
    """The margin at ln |F| on combinations of sides (points, terms), and the z that go with it."""

    terms: list[Term]
    unit: float

    def __call__(self, log_f: Array, sides: IntArray) -> Array:
        _, _, rise, short = self._each(log_f, sides)
        return _relative(self.terms, rise, short)

    def place(self, log_f: Array, sides: IntArray) -> Array:
        """Return z."""
        return self.z(log_f, sides, *self.points(log_f, sides))

    def seen(self, log_f: Array, sides: IntArray) -> tuple[Array, Array, Array]:
        """Return z, omega of every law, and dz / d ln |F|."""
        omega, h, _, short = self._each(log_f, sides)
        off = sum(term.n * row for term, row in zip(self.terms, short, strict=True))
        return self.z(log_f, sides, omega, h), omega, self._f(log_f, sides) * (1 - off)

    def points(self, log_f: Array, sides: IntArray) -> Array:
        """Return omega and h of every law."""
        return self._each(log_f, sides)[:2]

    def _each(self, log_f: Array, sides: IntArray) -> Array:
        """Return omega, h, 1/F' and c of every law, as a `Point` has them: (4, laws, points)."""
        return np.array([term.at(sides[:, i], log_f) for i, term in enumerate(self.terms)]).transpose(1, 0, 2)

    def _f(self, log_f: Array, sides: IntArray) -> Array:
        """Return F with its sign."""
        return np.exp(log_f) * np.array([self.terms[0].sides[k].sign for k in sides[:, 0]])

    def z(self, log_f: Array, sides: IntArray, omega: Array, h: Array) -> Array:
        """Return z from omega and h; where F is large, from the omega that is the smallest."""
        n, means = (np.array([getattr(term, name) for term in self.terms]) for name in ("n", "mean"))
        f = self._f(log_f, sides)
        least = np.arange(n.size)[:, None] == np.abs(omega - means[:, None]).argmin(axis=0)
        far = np.where(least, omega, 0).sum(axis=0) + ((least - n[:, None]) * h).sum(axis=0)
        return np.where(np.abs(f) < self.unit, n @ omega - (n.sum() - 1) * f, far)

    def atom(self, sides: IntArray) -> Array:
        """Return where F vanishes on sides that begin at atoms; NaN on others."""
        return np.sum([term.n * np.array([side.atom for side in term.sides])[sides[:, i]]
                       for i, term in enumerate(self.terms)], axis=0)

    def pole(self, sides: IntArray) -> Array:
        """Return where G vanishes on sides that all go there, infinite on the outermost; NaN on others."""
        poles = np.array([np.array([side.pole for side in term.sides])[sides[:, i]]
                          for i, term in enumerate(self.terms)])
        means = np.array([term.n * term.mean for term in self.terms])[:, None]
        inner = np.where(np.isinf(poles), means, poles).sum(axis=0)
        return np.where(np.isinf(poles).all(axis=0), poles[0], inner)
