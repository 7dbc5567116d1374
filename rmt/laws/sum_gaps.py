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
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from rmt.laws.errors import ConvergenceError
from rmt.laws.gap_runs import NEARLY, SAME, Combination, Gap, Run, in_order, joined, open_runs
from rmt.laws.term_sides import Term

if TYPE_CHECKING:
    from rmt.laws.law import Law

Array = NDArray[np.float64]
ComplexArray = NDArray[np.complex128]
IntArray = NDArray[np.intp]
BoolArray = NDArray[np.bool_]

_BEYOND = 1.25  # a sum n c which no interpolated margin takes for open


@dataclass(frozen=True, eq=False)
class Outside:
    """All that is outside the support of a sum: its gaps, increasing, the first and last of them unbounded."""

    gaps: tuple[Gap, ...]
    runs: tuple[Run, ...]
    margin: _Margin

    @cached_property
    def _nodes(self) -> tuple[Array, Array, ComplexArray, IntArray]:
        """Real z, G there, the branch parameter of every law, and the run of each node, in increasing z."""
        log_f, whose = (np.concatenate(parts) for parts in zip(
            *((run.log_f, np.full(run.log_f.size, i)) for i, run in enumerate(self.runs)), strict=True))
        sides = np.array([run.sides for run in self.runs])[whose]
        z, order = (places := self.margin.place(log_f, sides)), np.argsort(places)
        at = [term.law._branch_from(term.at(sides[:, i], log_f).omega.astype(complex))
              for i, term in enumerate(self.margin.terms)]
        g = np.exp(-log_f) * np.array([run.sign for run in self.runs])[whose]
        return z[order], g[order], np.array(at)[:, order], whose[order]

    def nearly(self, z: Array) -> tuple[ComplexArray, ComplexArray, BoolArray]:
        """Return G and the branch parameters at real z, between nodes, and where z lies between two of one run."""
        places, g, at, whose = self._nodes
        i = np.clip(np.searchsorted(places, z), 1, places.size - 1)
        known = (whose[i] == whose[i - 1]) & (z >= places[i - 1]) & (z <= places[i])
        share = np.where(known, (z - places[i - 1]) / np.maximum(places[i] - places[i - 1], 1e-300), 0.0)
        between = g[i - 1] + share * (g[i] - g[i - 1])
        return between.astype(complex), at[:, i - 1] + share * (at[:, i] - at[:, i - 1]), known


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
                        same & (one.least + least < _BEYOND) & (one.above + above <= 1 + SAME)
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
        points = [term.at(sides[:, i], log_f) for i, term in enumerate(self.terms)]
        rise, short = (np.array(rows) for rows in zip(*((point.rise, point.short) for point in points), strict=True))
        return _relative(self.terms, rise, short)

    def place(self, log_f: Array, sides: IntArray) -> Array:
        """Return z; where F is large, from the omega that is the smallest."""
        points = [term.at(sides[:, i], log_f) for i, term in enumerate(self.terms)]
        omega, h = (np.array(rows) for rows in zip(*((point.omega, point.h) for point in points), strict=True))
        n, means = (np.array([getattr(term, name) for term in self.terms]) for name in ("n", "mean"))
        f, each = np.exp(log_f) * [self.terms[0].sides[k].sign for k in sides[:, 0]], np.arange(log_f.size)
        least = np.abs(omega - means[:, None]).argmin(axis=0)
        near = n @ omega - (n.sum() - 1) * f
        return np.where(np.abs(f) < self.unit, near, omega[least, each] + h[least, each] - n @ h)

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
