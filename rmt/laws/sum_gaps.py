"""The gaps of a free sum, all of them: where its Cauchy transform is real.

In a gap of X = sum of n_i free copies of X_i every omega_i lies in a gap of X_i, and with F = 1/G, F_i(omega_i) = F,

    z = sum n_i omega_i - (sum n_i - 1) F,      dz/dF = 1 - sum n_i c_i,      c_i = 1 - 1/F_i'(omega_i) in [0, 1).

Such a point is outside the support just where dz/dF > 0: then z + i0 moves every omega_i up by no less than z, which
the subordination functions alone do (Belinschi and Bercovici 2007). So the gaps are the runs of F along which the
margin 1 - sum n_i c_i is positive, over all ways to take one gap of every X_i, and the mass above such a gap is
sum n_i P(X_i > omega_i), less sum n_i - 1 where F < 0. No band is looked for: the bands are what is left.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import elementwise

from rmt.laws.errors import ConvergenceError
from rmt.laws.term_sides import Term

if TYPE_CHECKING:
    from rmt.laws.law import Law

Array = NDArray[np.float64]
ComplexArray = NDArray[np.complex128]
IntArray = NDArray[np.intp]
BoolArray = NDArray[np.bool_]

_NEARLY = 0.1  # size of a margin between nodes that may have the other sign there
_OPEN = 1e-9  # margin over which a gap is open: narrower ones count as touching bands
_SAME = 1e-9  # of masses that are equal, and of places, in standard deviations
_ZOOMS = 14
_BEYOND = 1.25  # a sum n c which no interpolated margin takes for open


@dataclass(frozen=True)
class Gap:
    """An interval outside the support, and the mass above it."""

    left: float
    right: float
    above: float


@dataclass(frozen=True, eq=False)
class Combination:
    """One side of every law (their numbers), the mass above, the least sum n c, and margins at nodes of ln |F|."""

    sides: tuple[int, ...]
    sign: int
    above: float
    least: float
    log_f: Array
    margin: Array


@dataclass(frozen=True, eq=False)
class Run:
    """A gap, or a part of one, along one combination of sides, and the nodes of ln |F| in it."""

    gap: Gap
    sides: tuple[int, ...]
    sign: int
    log_f: Array


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
    runs = sorted(_open(_combined(each), margin := _Margin(each, unit)), key=lambda run: (run.gap.left, run.gap.right))
    joined: list[Gap] = []
    for gap in (run.gap for run in runs):
        if joined and abs(joined[-1].above - gap.above) < _SAME:  # one gap, on both sides of G = 0
            joined[-1] = Gap(joined[-1].left, max(joined[-1].right, gap.right), gap.above)
        else:
            joined.append(gap)
    if (not joined or joined[0].left > -math.inf or joined[-1].right < math.inf or any(
            b.above > a.above or b.left < a.right - _SAME * unit for a, b in itertools.pairwise(joined))):
        raise ConvergenceError(f"free sum: its gaps {joined} do not account for its mass")
    return Outside(tuple(joined), tuple(runs), margin)


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
        found, rest = [Combination((), sign, -excess, 0.0, np.empty(0), np.empty(0))], sum(term.n for term in terms)
        for term in terms:
            rest -= term.n
            above, least = np.array([(term.n * side.above, term.n * table.least)
                                     for side, table in zip(term.sides, term.tables, strict=True)]).T
            same = np.array([side.sign == sign for side in term.sides])
            found = [both for one in found for k in np.flatnonzero(
                        same & (one.least + least < _BEYOND) & (one.above + above <= 1 + _SAME)
                        & (one.above + above + rest >= -_SAME)) if (both := _both(one, int(k), terms)) is not None]
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
    if np.max(margin) < -_NEARLY:
        return None
    return Combination(sides, one.sign, one.above + term.n * term.sides[k].above,
                       one.least + term.n * term.tables[k].least, log_f, margin)


def _open(combinations: list[Combination], exact: _Margin) -> list[Run]:
    """Return the runs of every combination with a positive margin."""
    sides = np.array([one.sides for one in combinations], dtype=np.intp)
    whose = np.repeat(np.arange(len(combinations)), [one.log_f.size for one in combinations])
    log_f, margin = (np.concatenate(parts) for parts in zip(*((c.log_f, c.margin) for c in combinations), strict=True))
    near = np.abs(margin) < _NEARLY
    margin[near] = exact(log_f[near], sides[whose[near]])
    log_f, whose, is_open = _turned(log_f, whose, margin, sides, exact)
    begins = np.r_[True, np.diff(whose) > 0]
    ends = np.r_[begins[1:], True]
    change = np.flatnonzero((is_open[1:] != is_open[:-1]) & ~begins[1:])
    edge = np.full(log_f.size, np.nan)  # between a node and the next
    if change.size:
        edge[change] = exact.root(log_f[change], log_f[change + 1], sides[whose[change]])
    first = np.flatnonzero(is_open & (begins | ~np.r_[False, is_open[:-1]]))
    last = np.flatnonzero(is_open & (ends | ~np.r_[is_open[1:], False]))
    mine = sides[whose[first]]
    nearest = exact.place(np.where(begins[first], log_f[first], edge[first - 1]), mine)
    farthest = exact.place(np.where(ends[last], log_f[last], edge[last]), mine)
    nearest = np.where(begins[first] & ~np.isnan(atom := exact.atom(mine)), atom, nearest)
    farthest = np.where(ends[last] & ~np.isnan(pole := exact.pole(mine)), pole, farthest)
    found = zip(whose[first], nearest.tolist(), farthest.tolist(), first, last, strict=True)
    return [Run(Gap(*((a, b) if one.sign > 0 else (b, a)), one.above), one.sides, one.sign, log_f[i : j + 1])
            for one, a, b, i, j in ((combinations[k], *rest) for k, *rest in found)]


def _turned(log_f: Array, whose: IntArray, margin: Array, sides: IntArray,
            exact: _Margin) -> tuple[Array, IntArray, BoolArray]:
    """Return the nodes and where they are open, with one more wherever the margin has the other sign between two."""
    is_open = margin > _OPEN
    size, starts = np.where(is_open, margin, -margin), np.r_[True, np.diff(whose) > 0]
    before, after = np.r_[np.inf, size[:-1]], np.r_[size[1:], np.inf]
    before[starts], after[np.r_[starts[1:], True]] = np.inf, np.inf
    with np.errstate(invalid="ignore"):  # between nodes a smooth margin goes no further than it bends
        bend = np.where(np.isinf(before), 2 * (after - size), np.where(np.isinf(after), 2 * (before - size),
                                                                       before - 2 * size + after))
    least = np.flatnonzero((size < _NEARLY) & (size <= before) & (size <= after) & ~(size > bend))
    if not least.size:
        return log_f, whose, is_open
    beside = [np.clip(least + step, 0, log_f.size - 1) for step in (-1, 1)]
    left, right = (log_f[np.where(whose[i] == whose[least], i, least)] for i in beside)
    sign, each = np.where(is_open[least], -1.0, 1.0), np.arange(least.size)
    for _ in range(_ZOOMS):
        grid = left + (right - left) * np.linspace(0, 1, 9)[:, None]
        value = sign * exact(grid.ravel(), np.tile(sides[whose[least]], (9, 1))).reshape(grid.shape)
        best = value.argmax(axis=0)
        at, most = grid[best, each], value[best, each]
        if np.all(most > _OPEN):
            break
        left, right = grid[np.maximum(best - 1, 0), each], grid[np.minimum(best + 1, 8), each]
    more = most > _OPEN
    log_f, whose = np.r_[log_f, at[more]], np.r_[whose, whose[least][more]]
    is_open, order = np.r_[is_open, sign[more] > 0], np.lexsort((log_f, whose))
    return log_f[order], whose[order], is_open[order]


@dataclass(frozen=True, eq=False)
class _Margin:
    """The margin at ln |F| on combinations of sides (points, terms), and the z that go with it."""

    terms: list[Term]
    unit: float

    def __call__(self, log_f: Array, sides: IntArray) -> Array:
        points = [term.at(sides[:, i], log_f) for i, term in enumerate(self.terms)]
        rise, short = (np.array(rows) for rows in zip(*((point.rise, point.short) for point in points), strict=True))
        return _relative(self.terms, rise, short)

    def root(self, left: Array, right: Array, sides: IntArray) -> Array:
        """Return where the margin vanishes; z is stationary there, so its error is the square."""
        found = elementwise.find_root(lambda x, i: self(x, sides[i]) - _OPEN, (left, right),
                                      args=(np.arange(left.size),), tolerances={"xatol": 1e-10})
        return np.asarray(found.x)

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
