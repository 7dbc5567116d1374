"""The gaps of a free product, all of them: where w = psi(1/x) is real.

With lambda(w) = ln |(1 + w) / w|, and for each law omega = 1/zeta where psi = w/m, the master curve is

    ln x = lambda + sum over powers k ln |1 + w/m| + drift w + sum over laws k (ln |omega| - lambda(w/m)) + a constant.

In a gap every omega is real: on the negative axis, or in a gap of its law. There d ln x / dw < 0; and where that is
so, at real omega and arg x = 0, x + i0 moves w into the lower half plane and every omega up by no less in
argument than x, which the subordination functions alone do (Belinschi and Bercovici 2007). For what enters beside a
positive omega only takes from d ln x / d lambda, so that d ln omega / d ln x >= 1 by itself; a negative omega falls in
argument. So the gaps are the runs of w along which

    d ln x / d lambda = 1 - sum over powers k (1 - m)w / (m + w) - w sum over powers k - drift w (1 + w)
                          - sum over laws k (1 - rho e),    rho = c (1 + w) / (c + w),    c = m mass,

has the sign of w (1 + w), over all ways to take one side of every law (`psi_sides`, where e is); a law brings a power
-k of its own 1 + w/m. The mass above such a gap is a sum of k m where 1 + w/m < 0 and of the laws' own masses.
"""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from rmt.laws import gap_runs
from rmt.laws.errors import ConvergenceError
from rmt.laws.gap_runs import BEYOND, NEARLY, Combination, Gap, Run, in_order, joined, open_runs
from rmt.laws.psi_sides import DEEPEST, Factor

if TYPE_CHECKING:
    from rmt.laws.master_curve import MasterCurve

Array = NDArray[np.float64]
IntArray = NDArray[np.intp]
BoolArray = NDArray[np.bool_]

_NODES = np.arange(-60.0, 60.1, 0.25)  # of a parameter, without factors
_WHOLE = 1e-9  # of arguments over pi, and of masses
_VANISHED = 1e-12  # of all that a margin is the difference of, at a cut of w: it has no sign of its own


@dataclass(frozen=True)
class Range:
    """The w > 0 (`positive`), or a range low < -w < high, by a parameter along which |w| rises."""

    positive: bool
    low: float
    high: float

    def size(self, at: Array) -> Array:
        """Return |w|."""
        if self.positive:
            return np.exp(at)
        return self.low + (np.exp(at) if math.isinf(self.high) else (self.high - self.low) * expit(at))

    def rise(self, at: Array) -> Array:
        """Return d|w| / d(parameter)."""
        if self.positive or math.isinf(self.high):
            return np.exp(at)
        return (self.high - self.low) * expit(at) * expit(-at)

    def holds(self, c: float) -> bool:
        """Return whether w + c has not the sign of w: -c lies beyond."""
        return not self.positive and c >= self.high

    def distance(self, at: Array, c: float) -> Array:
        """Return |w + c|, c outside the range, with its own digits."""
        if self.positive:
            return c + np.exp(at)
        if c >= self.high:
            return c - self.high + (self.high - self.low) * expit(-at)
        return self.low - c + (np.exp(at) if math.isinf(self.high) else (self.high - self.low) * expit(at))

    def odds(self, at: Array, c: float) -> Array:
        """Return ln |w / (w + c)|."""
        if self.positive:
            return -np.log1p(c * np.exp(-at))
        distance = self.distance(at, c)
        return np.log(self.size(at)) - np.log(distance) if self.holds(c) else np.log1p(c / distance)

    def at(self, odds: Array, c: float) -> Array:
        """Return the parameter where ln |w / (w + c)| is this, infinite beyond the ends."""
        with np.errstate(all="ignore"):
            if self.positive:
                return np.log(c) - np.log(np.expm1(-odds))
            if self.holds(c):
                up, down = c * expit(odds) - self.low, self.high - c + c * expit(-odds)
            else:
                up = c - self.low + c / np.expm1(odds)
                down = self.high - c - c / np.expm1(odds)
            return np.log(np.maximum(up, 0)) - (0 if math.isinf(self.high) else np.log(np.maximum(down, 0)))


class Place(NamedTuple):
    """What does not depend on the sides: w, 1 + w; of the factors odds, rho, 1 - rho; the other terms of the slope."""

    w: Array
    beyond: Array
    odds: Array
    rho: Array
    off: Array
    rest: Array


class Real(NamedTuple):
    """What a law is at real points outside: ln x, w, 1 + w, and x dw/dx."""

    log_x: Array
    w: Array
    beyond: Array
    rate: Array


@dataclass(frozen=True, eq=False)
class Outside:
    """All of x > 0 that is outside the support of a product: its gaps (in ln x), increasing, and what there is on them.

    The last is unbounded, and so is the first without a hard edge.
    """

    gaps: tuple[Gap, ...]
    runs: tuple[Run, ...]
    product: Product

    @cached_property
    def _nodes(self) -> tuple[Real, IntArray, IntArray, Array]:
        """Points on the runs, in increasing ln x; of each the run, the gap and the parameter."""
        at, run, gap = gap_runs.nodes(self.runs, self.gaps)
        points = self.product.real(at, self._sides[run])
        order = np.lexsort((points.log_x, gap))
        return Real(*(part[order] for part in points)), run[order], gap[order], at[order]

    @cached_property
    def _climb(self) -> Array:
        """D ln x / d(parameter) at the nodes."""
        nodes, run, _, at = self._nodes
        with np.errstate(all="ignore"):
            return np.nan_to_num(self.product.rise(at, self._sides[run]) / nodes.rate, posinf=0.0, neginf=0.0)

    @cached_property
    def _sides(self) -> IntArray:
        """The sides of every run."""
        return np.array([one.sides for one in self.runs])

    def holds(self, log_x: Array) -> BoolArray:
        """Return where points lie between two nodes of one gap."""
        nodes, _, gap, _ = self._nodes
        return gap_runs.held(nodes.log_x, gap, log_x)

    def beside(self, log_x: Array) -> BoolArray:
        """Return where points lie in a gap but beyond its last node, within rounding of an end."""
        inside = np.any([(log_x >= gap.left) & (log_x <= gap.right) for gap in self.gaps], axis=0)
        return inside & ~self.holds(log_x)

    def at(self, log_x: Array) -> Real:
        """Return what there is at points that it holds."""
        nodes, run, _, at = self._nodes
        i = gap_runs.after(nodes.log_x, log_x)
        share = (log_x - nodes.log_x[i - 1]) / (nodes.log_x[i] - nodes.log_x[i - 1])
        w, beyond, rate = (part[i - 1] + share * (part[i] - part[i - 1]) for part in nodes[1:])
        one = np.flatnonzero(run[i] == run[i - 1])  # or a cut of w lies between two very near nodes
        goal, before, after = log_x[one], i[one] - 1, i[one]

        def see(p: Array, some: IntArray) -> tuple[Array, Array]:
            here, sides = one[some], self._sides[run[after[some]]]
            real = self.product.real(p, sides)
            w[here], beyond[here], rate[here] = real[1:]
            with np.errstate(all="ignore"):
                return real.log_x - goal[some], self.product.rise(p, sides) / real.rate

        gap_runs.meet(see, np.array([at[before], at[after]]), nodes.log_x[np.array([before, after])] - goal,
                      self._climb[np.array([before, after])], 1 + np.abs(goal))
        return Real(log_x, w, beyond, rate)


def outside(curve: MasterCurve) -> Outside:
    """Return what is outside the support of a free product of laws on x > 0 whose psi are explicit.

    Raises `ConvergenceError` where the gaps do not account for the mass.
    """
    product = Product(curve)
    runs = open_runs(product.combinations(), product)
    found = joined((run.gap for run in runs), product.total)
    # that of a sum may lie above zero by less than it has digits
    hard = curve.order > 1 or any(law.log_range[0] == -math.inf for law, m, _ in curve.explicit
                                  if m * law.mass == curve.mass)
    if (not found or found[-1].right < math.inf or (found[0].left > -math.inf and not hard)
            or not in_order(found, 1.0) or (len(found) == 1 and not hard)):
        raise ConvergenceError(f"free product: its gaps {found} do not account for its mass")
    return Outside(tuple(found), tuple(runs), product)


class Product:
    """The margin of a free product at parameters on combinations (points, 1 + factors) of a range and sides."""

    def __init__(self, curve: MasterCurve) -> None:
        self.curve, self.drift, self.total = curve, float(curve.drift), float(curve.mass)
        self.factors = sorted((Factor(law, m, float(k)) for law, m, k in curve.explicit),
                              key=lambda factor: len(factor.sides))
        powers = defaultdict[Fraction, Fraction](Fraction, curve.powers)
        for _, m, k in curve.explicit:
            powers[m] -= k
        self.powers = [(float(m), float(k)) for m, k in powers.items() if k]
        self.kappa = float(sum((k for _, k in curve.powers), Fraction(0)))
        self.noise = max((factor.k * factor.law.axis_noise for factor in self.factors), default=0.0)
        self.k = np.array([factor.k for factor in self.factors])[:, None]

    @cached_property
    def ranges(self) -> list[Range]:
        """All w, cut where 1 + w/m vanishes and where a psi is 0 or -mass."""
        cuts = sorted({0.0, 1.0, *(m for m, _ in self.powers), *(factor.reach for factor in self.factors)})
        return [Range(True, 0.0, math.inf), *(Range(False, a, b) for a, b in zip(cuts, [*cuts[1:], math.inf],
                                                                                strict=True))]

    # ---- ways to take a side of every factor ---------------------------------------------------------------------

    def combinations(self) -> list[Combination]:
        """Return the combinations on which there may be gaps."""
        out: list[Combination] = []
        for r, within in enumerate(self.ranges):
            turn = float(within.holds(1.0)) - sum(k for m, k in self.powers if self._passed(within, m))
            turn -= sum(factor.k for factor in self.factors if not within.positive)
            above = sum(k * m for m, k in [(1.0, 1.0), *self.powers] if self._passed(within, m))
            at = np.empty(0) if self.factors else _NODES
            margin = self._relative(self._place(r, at), *np.empty((2, 0, at.size)))[0] if at.size else at
            found = [(Combination((r,), 1 if not within.positive else -1, above, at, margin), turn)]
            for i, factor in enumerate(self.factors):
                kind = -1 if within.positive else 0 if within.holds(factor.reach) else 1
                short = sum(later.k for later in self.factors[i + 1 :]) + _WHOLE  # the others turn by that at the most
                sides = [(j, 0.0 if side.positive else factor.k, self._least(within, i, j))
                         for j, side in enumerate(factor.sides) if side.kind == kind]
                found = [(both, arg + turns) for one, arg in found for j, turns, least in sides
                         if -short < arg + turns < _WHOLE and one.least + least < BEYOND
                         and (both := self._both(one, i, j, one.least + least)) is not None]
            out += [one for one, arg in found if abs(arg) < _WHOLE and -_WHOLE < one.above / self.total < 1 + _WHOLE]
        return out

    @staticmethod
    def _passed(within: Range, c: float) -> bool:
        return not within.positive and not within.holds(c)

    def _both(self, one: Combination, i: int, j: int, least: float) -> Combination | None:
        """Return a combination with side j of factor i; None where the margin stays clear of zero."""
        factor, within, sides = self.factors[i], self.ranges[one.sides[0]], (*one.sides, j)
        odds = factor.tables[j].odds
        if odds.size < 2:
            return None
        at = within.at(odds, factor.reach)
        at = np.unique(np.clip(at, -DEEPEST, DEEPEST))
        if i:
            low, high = max(one.log_f[0], at[0]), min(one.log_f[-1], at[-1])
            at = np.unique(np.r_[low, one.log_f, at, high])
            at = at[(at >= low) & (at <= high)]
            if not at.size:
                return None
        place = self._place(one.sides[0], at)
        left = self.factors[i + 1 :]  # of which s is not between 0 and 1 margins are the largest if e = 1
        rise, short = np.array([*(f.nearly(k, odds) for f, k, odds in zip(
            self.factors, sides[1:], place.odds, strict=False)), *([np.ones(at.size), np.zeros(at.size)] for _ in left)
            ]).transpose(1, 0, 2)
        margin, size = self._relative(place, rise, short)
        if not any(within.holds(later.reach) for later in left) and np.max(margin) < -NEARLY:
            return None
        if not left and not (known := size > max(1e3 * self.noise, _VANISHED)).all():
            at, margin = at[known], margin[known]
            if not at.size:
                return None
        above = one.above + factor.k * factor.m * factor.sides[j].above
        return Combination(sides, one.sign, above, at, margin, least)

    def _least(self, within: Range, i: int, j: int) -> float:
        """Return the least k (1 - rho e) of a side along a range; 0 where other terms may outweigh it."""
        factor, table = self.factors[i], self.factors[i].tables[j]
        if not self._alike or within.holds(1.0) or not table.u.size:
            return 0.0
        at = np.clip(within.at(table.odds, factor.reach), -DEEPEST, DEEPEST)
        plus = within.distance(at, factor.reach)  # all of one sign
        off = (1 - factor.reach) * within.size(at)
        own = (off + factor.reach * within.distance(at, 1.0) * np.exp(table.short)) / plus
        return factor.k * float(own.min())

    @cached_property
    def _alike(self) -> bool:
        """Whether the margin is 1 - sum k (1 - rho e): nothing else takes part."""
        return not self.drift and not self.curve.powers and all(factor.m == 1 for factor in self.factors)

    # ---- the margin ----------------------------------------------------------------------------------------------

    def _place(self, r: int, at: Array) -> Place:
        within, size = self.ranges[r], self.ranges[r].size(at)
        w = size if within.positive else -size
        beyond = within.distance(at, 1.0) * (1.0 if within.positive or within.holds(1.0) else -1.0)
        rest = -self.kappa * w - self.drift * w * beyond
        for m, k in self.powers:
            rest -= k * w * (1 - m) / self._plus(within, at, m)
        reach = [factor.reach for factor in self.factors]
        plus = [self._plus(within, at, c) for c in reach]
        odds, rho, off = (np.array(rows).reshape(-1, at.size) for rows in (
            [within.odds(at, c) for c in reach], [c * beyond / there for c, there in zip(reach, plus, strict=True)],
            [(1 - c) * w / there for c, there in zip(reach, plus, strict=True)]))
        return Place(w, beyond, odds, rho, off, rest)

    @staticmethod
    def _plus(within: Range, at: Array, c: float) -> Array:
        """Return w + c."""
        return within.distance(at, c) * (1.0 if within.positive or within.holds(c) else -1.0)

    def _relative(self, place: Place, rise: Array, short: Array) -> tuple[Array, Array]:
        """Return d ln x / d lambda over what it is the difference of, negative inside, and that.

        The greatest 1 - e, where it may be near one, is taken from one first.
        """
        k, rho = self.k, place.rho
        with np.errstate(all="ignore"):
            own = k * np.where(np.abs(short) > 0.5, 1 - rho * rise, place.off + rho * short)
        most = own.argmax(axis=0) if len(k) else 0
        greatest = (np.arange(len(k))[:, None] == most) & (np.abs(short) > 0.5)
        first = np.where(greatest.any(axis=0), np.where(greatest, 1 - k, 0).sum(axis=0), 1.0)
        terms = [first, np.where(greatest, k * rho * rise, 0).sum(axis=0), place.rest, *np.where(greatest, 0.0, -own)]
        total = np.sum(terms, axis=0) * np.where(place.w * place.beyond > 0, 1.0, -1.0)
        size = np.sum(np.abs(terms), axis=0)
        return np.asarray(total / size), np.asarray(size)

    def __call__(self, log_f: Array, sides: IntArray) -> Array:
        """Return the margin."""
        return self._both_at(log_f, sides)[1]

    def place(self, log_f: Array, sides: IntArray) -> Array:
        """Return ln x."""
        return self._both_at(log_f, sides)[0].log_x

    def real(self, log_f: Array, sides: IntArray) -> Real:
        """Return what there is at points outside."""
        return self._both_at(log_f, sides)[0]

    def rise(self, log_f: Array, sides: IntArray) -> Array:
        """Return dw / d(parameter)."""
        out = np.empty(log_f.size)
        for r in np.unique(sides[:, 0]):
            here, within = sides[:, 0] == r, self.ranges[r]
            out[here] = within.rise(log_f[here]) * (1 if within.positive else -1)
        return out

    def _both_at(self, log_f: Array, sides: IntArray) -> tuple[Real, Array]:
        """Return what there is at points outside, and the margin."""
        found, margin = Real(*np.empty((4, log_f.size))), np.empty(log_f.size)
        for r in np.unique(sides[:, 0]):
            here = sides[:, 0] == r
            within, at = self.ranges[r], log_f[here]
            place = self._place(int(r), at)
            points = [factor.at(sides[here, i + 1], odds)
                      for i, (factor, odds) in enumerate(zip(self.factors, place.odds, strict=True))]
            rise, short = (np.array(rows).reshape(-1, at.size)
                           for rows in ([p.rise for p in points], [p.short for p in points]))
            margin[here], size = self._relative(place, rise, short)
            log_x = self.curve.log_scale - within.odds(at, 1.0) + self.drift * place.w
            if self.kappa:
                log_x += self.kappa * np.log(within.size(at))
            for m, k in self.powers:
                log_x -= k * (within.odds(at, m) + math.log(m))
            for factor, point in zip(self.factors, points, strict=True):
                log_x -= factor.k * (point.b + math.log(factor.m))
            with np.errstate(all="ignore"):
                rate = -np.abs(place.w * place.beyond) / (margin[here] * size)
            for row, part in zip(found, (log_x, place.w, place.beyond, rate), strict=True):
                row[here] = part
        return found, margin

    def atom(self, sides: IntArray) -> Array:
        """Return ln x where |w| begins, if it is infinite; else NaN."""
        out = np.full(len(sides), np.nan)
        for one in np.unique(sides, axis=0):
            within, chosen = self.ranges[one[0]], [factor.sides[k] for factor, k in
                                                   zip(self.factors, one[1:], strict=True)]
            if within.positive and all(side.low == -math.inf for side in chosen):
                out[np.all(sides == one, axis=1)] = math.inf
            elif within.low == self.total and all(side.high == math.inf for side in chosen):
                out[np.all(sides == one, axis=1)] = -math.inf
        return out

    def pole(self, sides: IntArray) -> Array:
        """Return ln x where |w| ends."""
        return np.full(len(sides), np.nan)
