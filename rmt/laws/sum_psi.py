"""The moment transform psi of a free sum of laws on x >= 0 and a shift, as a factor of a master curve.

For X = a + sum of n_i free copies of X_i every X_i is seen from a point omega_i where its Cauchy transform is that of
X, g (subordination). With omega_i = x_i(w_i) on the curve of X_i,

    (1 + w_i) / x_i(w_i) = g,     psi = sum n_i w_i + a g,     1/zeta = (1 + psi) / g:

no root but the curve's own. With w_i = -c_i sigmoid(v_i) the rows are y, and for every X_i v_i and those of its curve.
zeta is read off psi, which is given, and g: no digits are lost where it is small or large. All omega lie in the upper
half plane, where the solution is unique (Belinschi and Bercovici 2007).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property

import numpy as np

from rmt.laws.errors import ConvergenceError
from rmt.laws.law_psi import LawPsi
from rmt.laws.logistic import log_near_one, logistic, sigmoids
from rmt.laws.master_curve import MasterCurve
from rmt.laws.psi import Array, BoolArray, ComplexArray, ExplicitPsi, Psi
from rmt.laws.residual_psi import inside, on_sheet, seen
from rmt.laws.side_coordinate import rising

_ROUNDS = 80
_BOUNDED = 1e-6  # of ln |g|: a table that ends so flat goes no further
_STEP = 2.0  # of Newton on the negative axis, at most
_BOTTOM = 30.0  # of the logit of -psi, where 1 + psi has no digits of its own: beyond, the rows are straight lines
_ROUNDED = 1e-14  # over what v moves psi by
_ROUNDING = 1e-9  # no residual of rounding is larger
_OWN = 4.0  # roundings of y, over the slope of the logit
_CLEAR = 0.5  # of psi: below, ln(1 + psi) is known by it


@dataclass(frozen=True)
class SumPsi(Psi):
    """psi of a + sum of n_i free copies of X_i >= 0, a >= 0.

    Attributes
    ----------
    at : LawPsi
        The same as a function of y, by which its gaps are known.
    terms : tuple of (MasterCurve, number)
        The curves of the X_i, and the n_i.
    shift : number
        a.
    """

    at: LawPsi
    terms: tuple[tuple[MasterCurve, Fraction], ...]
    shift: Fraction

    @property
    def explicit(self) -> ExplicitPsi:
        """The same as a function of y."""
        return self.at

    @property
    def algebraic(self) -> bool:
        """Whether it is psi of a finite law, or of a law that may be algebraic itself."""
        return self.at.algebraic

    @property
    def mass(self) -> Fraction:
        """The probability of a non-zero value."""
        return self.at.mass

    @property
    def point_masses(self) -> tuple[tuple[Fraction, Fraction], ...]:
        """The atoms (x, mass) away from zero."""
        return self.at.point_masses

    @property
    def order(self) -> int:
        """The order of the zero of 1/S at w = -mass."""
        return self.at.order

    @property
    def deepest(self) -> float:
        """The logit of -psi / mass up to which it has digits: 1 + psi has none of its own where no X_i reaches zero."""
        clear = all(curve.mass == 1 and curve.order == 1 for curve, _ in self.terms)
        return _BOTTOM if self.shift or (clear and self._overlap) else math.inf

    @property
    def noise(self) -> float:
        """Relative error of psi beyond rounding."""
        return max((law.noise for curve, _ in self.terms for law, *_ in curve.slopes), default=0.0)

    def moments(self, n: int) -> Array:
        """Return the moments 1..n."""
        return self.at.moments(n)

    # ---- rows -----------------------------------------------------------------------------------------------

    @cached_property
    def rows(self) -> int:
        """Y, and of every X_i v_i and the rows of its curve."""
        return 1 + sum(self._sizes)

    @cached_property
    def _sizes(self) -> tuple[int, ...]:
        return tuple(1 + sum(law.rows for law, *_ in curve.slopes) for curve, _ in self.terms)

    def _each(self, inner: list[ComplexArray]) -> Iterator[tuple[MasterCurve, float, float, ComplexArray,
                                                                 list[ComplexArray]]]:
        """Yield every curve, n_i, c_i, v_i and the rows of the curve."""
        start = 0
        for (curve, n), size in zip(self.terms, self._sizes, strict=True):
            v, *rows = inner[start : start + size]
            yield curve, float(n), float(curve.mass), v, rows
            start += size

    @cached_property
    def _overlap(self) -> float:
        """By how much the X_i have more mass above zero than their sum."""
        return float(sum((n * curve.mass for curve, n in self.terms), -self.mass))

    def correction(self, rows: list[ComplexArray], goal: ComplexArray,
                   goal_slope: ComplexArray) -> tuple[list[ComplexArray], list[ComplexArray], ComplexArray]:
        """Return Newton's steps in the rows toward psi's goal, their slopes, and the slope of the logit in y."""
        y, *inner = rows
        mass, shift = float(self.mass), float(self.shift)
        at = logistic(goal)
        log_k = at.log_complement(mass)[0]  # of 1 + psi
        u = y + log_k  # ln -g
        pull = shift * np.exp(u) if shift else np.zeros_like(u)  # -a g
        lack, whole = pull - mass * at.s, -pull
        left = np.ones_like(u)  # of 1 + psi less its slope in u: far up these two are nearly one
        near = np.zeros(y.shape, dtype=bool)
        if not shift:  # 1 + psi, less the mass at zero, has the digits there
            near = np.abs(at.rest) < np.abs(at.s)
            lack = np.where(near, mass * at.rest + self._overlap, lack)
            left = np.where(near, 1 - mass - self._overlap, left)
        found, unmet, rounds = [], np.zeros_like(y), np.zeros(y.shape)
        for curve, n, c, v, others in self._each(inner):
            _, _, log_u, d_log_u, log_x, d_log_x, *moves = seen(curve, v, others)
            s, rest = sigmoids(v)
            miss, rate = log_u - log_x + 1j * math.pi - u, d_log_u - d_log_x
            rate = np.where(rate == 0, rest, rate)  # a bounded g: it goes with 1 + w, below rounding
            lack = lack + n * c * np.where(near, -rest, s)
            change = -n * c * s * rest / rate
            left = left + n * c * np.where(near, rest + s * rest / rate, s * (rest / rate - 1))
            whole, unmet = whole + change, unmet + change * miss
            rounds += np.abs(change) * (np.abs(log_u) + np.abs(log_x))
            found.append((miss, rate, moves))
        step, gain = (lack + unmet) / whole, -mass * at.s * at.rest * goal_slope / whole
        # psi is that of the goal, but for the rounding of v, which next to an atom is all that the rows lack of it
        left = left + np.where(np.abs(lack) > _ROUNDED * (1 + np.abs(at.s * at.rest)), lack, 0)
        first = gain * left * np.exp(-log_k)
        steps, gains = [step], [first]
        for miss, rate, moves in found:
            step_v, gain_v = (step - miss) / rate, gain / rate
            steps += [step_v, *(move + g * step_v for move, g in zip(moves[::2], moves[1::2], strict=True))]
            gains += [gain_v, *(g * gain_v for g in moves[1::2])]
        with np.errstate(divide="ignore", invalid="ignore"):  # where y has stopped to move
            slope = goal_slope / first  # less by what the logarithms round, next to an atom more than y itself
            return steps, gains, slope / (1 + np.abs(slope / whole) * rounds / _OWN)

    @np.errstate(all="ignore")
    def valid(self, inner: list[ComplexArray]) -> BoolArray | bool:
        """Return where every omega is in the upper half plane, on the sheet of its curve."""
        found = np.ones(inner[0].shape, dtype=bool)
        for curve, _, _, v, others in self._each(inner):
            found &= on_sheet(curve, v, others, seen(curve, v, others)[4])
        return found

    def real_rows(self, log_odds: Array, tolerance: float) -> list[Array]:
        """Return the rows on the negative axis, by Newton from the tables of the X_i."""
        known = np.minimum(log_odds, self.deepest)
        rows, goal = [row.astype(complex) for row in self._nearly(known)], known.astype(complex)
        last = math.inf
        for _ in range(_ROUNDS):
            steps, gains, _ = self.correction(rows, goal, np.ones_like(goal))
            size = float(np.max([np.abs(step) / (1 + np.abs(row)) for step, row in zip(steps, rows, strict=True)]))
            slower = np.minimum(1.0, _STEP / np.maximum(np.max(np.abs(steps), axis=0), 1e-300))
            rows = [(row + slower * step).real.astype(complex) for row, step in zip(rows, steps, strict=True)]
            if size <= tolerance or last / 2 < size < _ROUNDING:
                return [row.real + gain.real * (log_odds - known) for row, gain in zip(rows, gains, strict=True)]
            last = size
        raise ConvergenceError(f"psi of {self.at.law}: no real root")

    def _nearly(self, log_odds: Array) -> list[Array]:
        """Return the rows on the negative axis, between nodes of ln |g|."""
        tables = []
        for curve, _ in self.terms:
            v, log_x, rows = curve.axis_table
            tables.append((logistic(v.astype(complex)).log_complement(float(curve.mass))[0].real - log_x, [v, *rows]))
        u = np.unique(np.concatenate([at for at, _ in tables]))
        inner = [_straight(u, at, row) for at, rows in tables for row in rows]
        inner_rows = [row.astype(complex) for row in inner]
        s = -self._psi(inner_rows, u.astype(complex)).real / float(self.mass)
        rest = 1 - s
        if not self.shift:  # where s is nearly one that has digits of its own
            below = np.sum([n * c * sigmoids(v)[1].real for _, n, c, v, _ in self._each(inner_rows)], axis=0)
            rest = np.where(s > 0.5, (below - self._overlap) / float(self.mass), rest)
        known = (s > 0) & (rest > 0)
        odds = np.log(s[known]) - np.log(rest[known])
        rises = rising(odds)
        at_u = np.interp(log_odds, odds[rises], u[known][rises]) + np.minimum(log_odds - odds[0], 0)
        inner = [np.interp(at_u, u, row) + np.minimum(at_u - u[0], 0) for row in inner]
        log_k = logistic(log_odds.astype(complex)).log_complement(float(self.mass))[0].real
        return [at_u - log_k, *inner]

    def _psi(self, inner: list[ComplexArray], u: ComplexArray) -> ComplexArray:
        """Return psi at ln -g."""
        total = np.zeros_like(u)
        if self.shift:
            with np.errstate(over="ignore", invalid="ignore"):
                total -= float(self.shift) * np.exp(u)
        for _, n, c, v, _ in self._each(inner):
            total -= n * c * sigmoids(v)[0]
        return total

    def mean_log(self, rows: list[ComplexArray]) -> ComplexArray:
        """Return E log(1 - zeta X): the log-potential of a free sum."""
        y, *inner = rows
        curve, _, _, v, others = next(self._each(inner))
        _, _, log_u, _, log_x, *_ = seen(curve, v, others)
        u = log_u - log_x + 1j * math.pi  # ln -g, by any of the X_i
        total = sum((n * inside(curve, v, others, 1) for curve, n, _, v, others in self._each(inner)), np.zeros_like(y))
        psi = self._psi(inner, u)
        with np.errstate(all="ignore"):
            return total - np.where(np.abs(psi) < _CLEAR, log_near_one(psi), u - y)

    def angles(self, rows: list[ComplexArray]) -> tuple[Array, Array]:
        """Return E arg(1 - zeta X) and the rest of Im y."""
        first = np.abs(self.mean_log(rows).imag)
        return first, float(self.mass) * rows[0].imag - first


def _straight(x: Array, at: Array, row: Array) -> Array:
    """Return a row of a table at x, on straight lines between nodes and beyond the last, of slope one before the first.

    Where a term's table ends that of another, of a higher order at zero, goes on; a bounded g has reached its bound.
    """
    rise = at[-1] - at[-2]
    slope = (row[-1] - row[-2]) / rise if rise > _BOUNDED else 0.0
    return np.asarray(np.interp(x, at, row) + np.minimum(x - at[0], 0) + slope * np.maximum(x - at[-1], 0))
