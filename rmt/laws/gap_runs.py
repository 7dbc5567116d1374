"""The gaps of a free convolution, as runs of a margin along combinations of the gaps of its laws.

Sums (`sum_gaps`) and products (`product_gaps`) say what the sides of a law are, the margin, and the place that goes
with a parameter; here the margin is searched for its runs, however narrow, and these are joined.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import elementwise

from rmt.laws.errors import ConvergenceError

Array = NDArray[np.float64]
IntArray = NDArray[np.intp]
BoolArray = NDArray[np.bool_]

NEARLY = 0.1  # size of a margin between nodes that may have the other sign there
SAME = 1e-9  # of masses that are equal, and of places, in units
BEYOND = 1.25  # what a margin takes from one, which no interpolated margin takes for open
_OPEN = 1e-9  # margin over which a gap is open: narrower ones count as touching bands
_ZOOMS, _CORRECTIONS, _HALVINGS, _ROUNDS = 14, 30, 30, 60
_LEAST = 4e-16  # a step, or a miss over its scale, that is none
_SMALL = 1e-12  # no error of a place by rounding is larger, over its scale


@dataclass(frozen=True)
class Gap:
    """An interval outside the support, and the mass above it."""

    left: float
    right: float
    above: float


@dataclass(frozen=True, eq=False)
class Combination:
    """One side of every law (their numbers), the mass above, margins at nodes of the parameter, the least sum n c."""

    sides: tuple[int, ...]
    sign: int
    above: float
    log_f: Array
    margin: Array
    least: float = 0.0


@dataclass(frozen=True, eq=False)
class Run:
    """A gap, or a part of one, along one combination of sides, and the nodes of ln |F| in it, edges among them."""

    gap: Gap
    sides: tuple[int, ...]
    sign: int
    log_f: Array


class Margin(Protocol):
    """What is positive outside the support, as a function of a parameter on combinations of sides (points, laws)."""

    def __call__(self, log_f: Array, sides: IntArray) -> Array:
        """Return it, over what it is the difference of."""

    def place(self, log_f: Array, sides: IntArray) -> Array:
        """Return z."""

    def atom(self, sides: IntArray) -> Array:
        """Return z where the parameter begins, if that is known exactly; else NaN."""

    def pole(self, sides: IntArray) -> Array:
        """Return z where the parameter ends, if that is known exactly; else NaN."""


def joined(found: Iterable[Gap], whole: float = 1.0) -> list[Gap]:
    """Return gaps in order, those as one that have the same of the whole mass above: they meet at a cut."""
    out: list[Gap] = []
    for gap in sorted(found, key=lambda gap: (gap.left, gap.right)):
        if out and abs(out[-1].above - gap.above) < SAME * whole:
            out[-1] = Gap(out[-1].left, max(out[-1].right, gap.right), gap.above)
        else:
            out.append(gap)
    return out


def nodes(runs: Sequence[Run], gaps: Sequence[Gap]) -> tuple[Array, IntArray, IntArray]:
    """Return the nodes of all runs, and of each the number of its run and of the gap that this is a part of."""
    whose = np.repeat(np.arange(len(runs)), [run.log_f.size for run in runs])
    gap = np.searchsorted([gap.left for gap in gaps], [run.gap.left for run in runs], "right") - 1
    return np.concatenate([run.log_f for run in runs]), whose, gap[whose]


def after(places: Array, x: Array) -> IntArray:
    """Return which of increasing places comes after x, or the last; one is before it."""
    return np.clip(np.searchsorted(places, x), 1, places.size - 1)


def crossing(ends: Array, rates: Array) -> Array:
    """Return where cubics on [0, 1], given by their values, below and above zero, and slopes at both ends, vanish."""
    low, high = np.zeros(ends.shape[1]), np.ones(ends.shape[1])
    bend = ends[1] - ends[0]
    for _ in range(_HALVINGS):
        s = (low + high) / 2
        value = ends[0] + s**2 * (3 - 2 * s) * bend + s * (1 - s) * ((1 - s) * rates[0] - s * rates[1])
        low, high = np.where(value < 0, s, low), np.where(value < 0, high, s)
    return (low + high) / 2


def meet(see: Callable[[Array, IntArray], tuple[Array, Array]], ends: Array, misses: Array, rates: Array,
         scale: Array) -> None:
    """Look (`see`) at parameters nearer and nearer to where places meet their goals, by Newton between two nodes.

    At some of the points `see` returns place less goal, and its rate along the parameter; `ends`, `misses` and `rates`
    are those of the nodes, of which the first is below the goal. It starts from the cubic through them: next to an edge
    a place is a square. It ends at rounding, of the scale.
    """
    left, right = ends.copy()
    p = left + crossing(misses, rates * (right - left)) * (right - left)
    todo, last = np.arange(p.size), np.full(p.size, np.inf)
    for _ in range(_ROUNDS):
        if not todo.size:
            return
        at = p[todo]
        miss, rate = see(at, todo)
        left[todo], right[todo] = np.where(miss < 0, at, left[todo]), np.where(miss < 0, right[todo], at)
        with np.errstate(all="ignore"):
            new = at - miss / rate
        low, high = np.minimum(left[todo], right[todo]), np.maximum(left[todo], right[todo])
        p[todo] = np.where((new > low) & (new < high), new, (low + high) / 2)
        size = np.abs(miss) / scale[todo]
        still = (np.abs(p[todo] - at) > _LEAST * (1 + np.abs(at))) & (size > _LEAST)
        still &= (size > _SMALL) | (size < last[todo] / 2)  # or it is down to rounding
        last[todo] = size
        todo = todo[still]


def held(places: Array, gap: IntArray, x: Array) -> BoolArray:
    """Return where x lies between two nodes, at increasing places, of one gap, or at one that is between two."""
    i = after(places, x)
    inner = gap[i] == gap[np.minimum(i + 1, places.size - 1)]
    return (gap[i] == gap[i - 1]) & (x > places[i - 1]) & ((x < places[i]) | ((x == places[i]) & inner))


def in_order(found: Sequence[Gap], unit: float) -> bool:
    """Return whether the gaps do not overlap and have ever less mass above."""
    return not any(b.above > a.above or b.left < a.right - SAME * unit for a, b in itertools.pairwise(found))


def open_runs(combinations: list[Combination], exact: Margin) -> list[Run]:
    """Return the runs of every combination with a positive margin."""
    sides = np.array([one.sides for one in combinations], dtype=np.intp)
    whose = np.repeat(np.arange(len(combinations)), [one.log_f.size for one in combinations])
    log_f, margin = (np.concatenate(parts) for parts in zip(*((c.log_f, c.margin) for c in combinations), strict=True))
    near = np.abs(margin) < NEARLY
    margin[near] = exact(log_f[near], sides[whose[near]])
    log_f, whose, is_open = _turned(log_f, whose, margin, sides, exact)
    begins = np.r_[True, np.diff(whose) > 0]
    ends = np.r_[begins[1:], True]
    change = _changes(log_f, whose, is_open, sides, exact)
    edge = np.full(log_f.size, np.nan)  # between a node and the next
    if change.size:
        edge[change] = _root(exact, log_f[change], log_f[change + 1], sides[whose[change]])
    first = np.flatnonzero(is_open & (begins | ~np.r_[False, is_open[:-1]]))
    last = np.flatnonzero(is_open & (ends | ~np.r_[is_open[1:], False]))
    mine = sides[whose[first]]
    nearest = exact.place(np.where(begins[first], log_f[first], edge[first - 1]), mine)
    farthest = exact.place(np.where(ends[last], log_f[last], edge[last]), mine)
    nearest = np.where(begins[first] & ~np.isnan(atom := exact.atom(mine)), atom, nearest)
    farthest = np.where(ends[last] & ~np.isnan(pole := exact.pole(mine)), pole, farthest)
    found = zip(whose[first], nearest.tolist(), farthest.tolist(), first, last, strict=True)
    return [Run(Gap(*((a, b) if one.sign > 0 else (b, a)), one.above), one.sides, one.sign,
                np.r_[[] if begins[i] else edge[i - 1], log_f[i : j + 1], [] if ends[j] else edge[j]])
            for one, a, b, i, j in ((combinations[k], *rest) for k, *rest in found)
            if (b - a) * one.sign > 0]  # or it is open by rounding alone


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
    least = np.flatnonzero((size < NEARLY) & (size <= before) & (size <= after) & ~(size > bend))
    if not least.size:
        return log_f, whose, is_open
    beside = [np.clip(least + step, 0, log_f.size - 1) for step in (-1, 1)]
    left, right = (log_f[np.where(whose[i] == whose[least], i, least)] for i in beside)
    sign, at, most = np.where(is_open[least], -1.0, 1.0), np.empty(least.size), np.empty(least.size)
    todo = np.arange(least.size)
    for _ in range(_ZOOMS):
        grid = left[todo] + (right - left)[todo] * np.linspace(0, 1, 9)[:, None]
        value = sign[todo] * exact(grid.ravel(), np.tile(sides[whose[least[todo]]], (9, 1))).reshape(grid.shape)
        each, first = np.arange(todo.size), value.argmax(axis=0)
        at[todo], most[todo], best = grid[first, each], value[first, each], np.clip(first, 1, 7)
        left[todo], right[todo] = grid[best - 1, each], grid[best + 1, each]
        bend = 2 * value[best, each] - value[best - 1, each] - value[best + 1, each]
        todo = todo[(most[todo] <= _OPEN) & ~(-most[todo] > np.abs(bend))]
        if not todo.size:
            break
    more = most > _OPEN
    log_f, whose = np.r_[log_f, at[more]], np.r_[whose, whose[least][more]]
    is_open, order = np.r_[is_open, sign[more] > 0], np.lexsort((log_f, whose))
    return log_f[order], whose[order], is_open[order]


def _changes(log_f: Array, whose: IntArray, is_open: BoolArray, sides: IntArray, exact: Margin) -> IntArray:
    """Return the nodes behind which the margin changes its sign; where it is open is corrected in place."""
    for _ in range(_CORRECTIONS):
        change = np.flatnonzero((is_open[1:] != is_open[:-1]) & (whose[1:] == whose[:-1]))
        if not change.size:
            return change
        left, right = (exact(log_f[at], sides[whose[change]]) > _OPEN for at in (change, change + 1))
        if np.array_equal(left, is_open[change]) and np.array_equal(right, is_open[change + 1]):
            return change
        is_open[change], is_open[change + 1] = left, right
    raise ConvergenceError("free convolution: a gap opens and closes within rounding")


def _root(margin: Margin, left: Array, right: Array, sides: IntArray) -> Array:
    """Return where a margin vanishes; z is stationary there, so its error is the square."""
    found = elementwise.find_root(lambda x, i: margin(x, sides[i]) - _OPEN, (left, right),
                                  args=(np.arange(left.size),), tolerances={"xatol": 1e-8})
    if not np.all(found.success):
        raise ConvergenceError(f"free convolution: the end of a gap near {left[~found.success][0]:.6g} is not found")
    return np.asarray(found.x)
