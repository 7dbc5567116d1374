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
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import elementwise

from rmt.laws.errors import ConvergenceError
from rmt.laws.term_sides import Term

if TYPE_CHECKING:
    from rmt.laws.law import Law

Array = NDArray[np.float64]
IntArray = NDArray[np.intp]
BoolArray = NDArray[np.bool_]

_NEARLY = 0.1  # size of a margin between nodes that may have the other sign there
_OPEN = 1e-9  # margin over which a gap is open: narrower ones count as touching bands
_SAME = 1e-9  # of masses that are equal, and of places, in standard deviations
_ZOOMS = 14


@dataclass(frozen=True)
class Gap:
    """An interval outside the support, and the mass above it."""

    left: float
    right: float
    above: float


@dataclass(frozen=True, eq=False)
class Combination:
    """One side of every law (their numbers), the mass above, and nodes of ln |F| with about the margin there."""

    sides: tuple[int, ...]
    sign: int
    above: float
    log_f: Array
    margin: Array


class Margin(Protocol):
    """What is positive outside the support, as a function of a parameter on combinations of sides (points, laws)."""

    def __call__(self, log_f: Array, sides: IntArray) -> Array:
        """Return it, over what it is the difference of."""

    def root(self, left: Array, right: Array, sides: IntArray) -> Array:
        """Return where it vanishes between two parameters."""

    def place(self, log_f: Array, sides: IntArray) -> Array:
        """Return z."""

    def atom(self, sides: IntArray) -> Array:
        """Return z where the parameter begins, if that is known exactly; else NaN."""

    def pole(self, sides: IntArray) -> Array:
        """Return z where the parameter ends, if that is known exactly; else NaN."""


def gaps(terms: Sequence[tuple[Law, float]]) -> tuple[Gap, ...]:
    """Return the gaps of the sum of free copies, (law, how many) each, increasing; the first and last are unbounded.

    Raises `ConvergenceError` where they do not account for the mass.
    """
    unit = math.sqrt(sum(n * law.var() for law, n in terms))
    each = [Term(law, n, unit) for law, n in terms]
    found = joined(open_gaps(_combined(each), _Margin(each, unit)))
    if not found or found[0].left > -math.inf or found[-1].right < math.inf or not in_order(found, unit):
        raise ConvergenceError(f"free sum: its gaps {found} do not account for its mass")
    return tuple(found)


def joined(found: Iterable[Gap]) -> list[Gap]:
    """Return gaps in order, those as one that have the same mass above: they meet at a cut."""
    out: list[Gap] = []
    for gap in sorted(found, key=lambda gap: (gap.left, gap.right)):
        if out and abs(out[-1].above - gap.above) < _SAME:
            out[-1] = Gap(out[-1].left, max(out[-1].right, gap.right), gap.above)
        else:
            out.append(gap)
    return out


def in_order(found: Sequence[Gap], unit: float) -> bool:
    """Return whether the gaps do not overlap and have ever less mass above."""
    return not any(b.above > a.above or b.left < a.right - _SAME * unit for a, b in itertools.pairwise(found))


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
        found = [Combination((), sign, -excess, np.empty(0), np.empty(0))]
        for term in terms:
            found = [both for one in found for k in range(len(term.sides)) if term.sides[k].sign == sign
                     and (both := _both(one, k, terms)) is not None]
        out += [one for one in found if -_SAME <= one.above <= 1 + _SAME]
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
    return Combination(sides, one.sign, one.above + term.n * term.sides[k].above, log_f, margin)


def open_gaps(combinations: list[Combination], exact: Margin) -> list[Gap]:
    """Return the runs of every combination with a positive margin, as intervals of z."""
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
    found = zip((combinations[j] for j in whose[first]), nearest.tolist(), farthest.tolist(), strict=True)
    return [Gap(a, b, one.above) if one.sign > 0 else Gap(b, a, one.above) for one, a, b in found]


def _turned(log_f: Array, whose: IntArray, margin: Array, sides: IntArray,
            exact: Margin) -> tuple[Array, IntArray, BoolArray]:
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


def root(margin: Margin, left: Array, right: Array, sides: IntArray) -> Array:
    """Return where a margin vanishes; z is stationary there, so its error is the square."""
    found = elementwise.find_root(lambda x, i: margin(x, sides[i]) - _OPEN, (left, right),
                                  args=(np.arange(left.size),), tolerances={"xatol": 1e-10})
    return np.asarray(found.x)


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
        """Return where the margin vanishes."""
        return root(self, left, right, sides)

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
