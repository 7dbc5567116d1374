"""The moment transform psi of a residual block, X = |1 + A|^2 with A R-diagonal (Gaussian or Haar on either side).

The symmetrised law of |1 + A| is the free sum of those of 1 and of |A| (Haagerup and Larsen 2000). Each of the two is
seen from a point omega where its Cauchy transform is the sum's, g. In terms of the squares omega_1^2 = (1 + p)/p and
omega_A^2 = x_A(w), the master curve of the branch,

    g^2 = p (1 + p) = (1 + w)^2 / x_A(w),     psi = p + w,     1/zeta = (1 + psi)^2 / g^2:

no root but the curve's own. With p = -sigmoid(v_1) and w = -c sigmoid(v_A) the rows are y, v_1, v_A and those of the
branch. The omega lie in the upper half plane, where the solution is unique (subordination); their squares may pass the
negative axis, so all rows but y lie on the strip -pi <= Im <= pi.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property

import numpy as np

from rmt.laws import series
from rmt.laws.logistic import Logistic, log_lower, logistic, sigmoids
from rmt.laws.master_curve import MasterCurve
from rmt.laws.psi import Array, BoolArray, ComplexArray, Psi

_BISECTIONS = 62
_FARTHEST = 300.0
_EQUAL = 1e-12
_CLEAR = 1e-2  # of 1 + psi: below, it is better known by 1/zeta
_SHEET = 1e-6  # how far rounding may carry an angle; another sheet is far away


def residual_block(branch: MasterCurve) -> MasterCurve:
    """Return the curve of |1 + A|^2 from that of A^T A."""
    if branch == MasterCurve():  # of 1 and a Haar matrix neither is the greater: twice the cosine of half its angle
        return MasterCurve(Fraction(2), ((Fraction(1), Fraction(1)), (Fraction(2), Fraction(-1))))
    return MasterCurve(slopes=((ResidualPsi(branch), Fraction(1), Fraction(1)),))


def seen(branch: MasterCurve, v: ComplexArray, inner: list[ComplexArray]) -> tuple[ComplexArray, ...]:
    """Return ln(-w), ln(1 + w) and ln x(w) of a branch with their derivatives, and its rows' steps and gains in turn.

    Below the real axis it is its mirror image. ln x is that at the rows to which the steps lead.
    """
    (below, a, rows), mass = _mirrored(v, inner), float(branch.mass)
    at = logistic(a)
    log_x, d_log_x, parts = branch.system(at, rows)
    log_x = sum((-part.k * part.shift[0] for part in parts), log_x)
    moves = [move for part in parts for pair in zip(part.shift, part.gain, strict=True) for move in pair]
    found = (math.log(mass) + at.log_s, at.rest, *at.log_complement(mass), log_x, d_log_x, *moves)
    turned = [np.where(below, part.conj(), part) for part in found]
    turned[4] = turned[4] + 2j * math.pi * below
    return tuple(turned)


def _mirrored(v: ComplexArray, inner: list[ComplexArray]) -> tuple[BoolArray, ComplexArray, list[ComplexArray]]:
    """Return where v lies below the real axis, and v and the rows there turned above it."""
    below = v.imag < 0
    a, *rows = (np.where(below, row.conj(), row) for row in (v, *inner))
    return below, a, rows


def inside(branch: MasterCurve, v: ComplexArray, inner: list[ComplexArray], times: int) -> ComplexArray:
    """Return E log(1 - X/x(w)) + times ln(1 + w): what a law adds to the log-potential of a sum, in squares twice."""
    below, a, rows = _mirrored(v, inner)
    at = logistic(a)
    found = branch.potential(branch.system(at, rows)[0], a, rows) + times * at.log_complement(float(branch.mass))[0]
    return np.where(below, found.conj(), found)


def on_sheet(branch: MasterCurve, v: ComplexArray, inner: list[ComplexArray], log_x: ComplexArray) -> BoolArray:
    """Return where a branch's rows are inside their strips, on one side of the axis, and its curve is the law's."""
    below, a, rows = _mirrored(v, inner)
    turn = np.where(below, 2 * math.pi - log_x.imag, log_x.imag)
    found: BoolArray = (a.imag < math.pi) & (turn > -_SHEET) & (turn < math.pi + _SHEET)
    for (y, *others), (law, *_) in zip(branch.rows(rows), branch.slopes, strict=True):
        found &= (y.imag >= -_SHEET) & (y.imag + turn <= math.pi + _SHEET) & law.valid(others)
    return found


@dataclass(frozen=True)
class ResidualPsi(Psi):
    """psi of |1 + A|^2.

    Attributes
    ----------
    branch : MasterCurve
        Of A^T A, A square.
    """

    branch: MasterCurve

    @property
    def mass(self) -> Fraction:
        """The probability of a non-zero value."""
        return Fraction(1)

    @cached_property
    def radii(self) -> tuple[float, float]:
        """Ln of the squared radii of the ring of A's eigenvalues: 1/E(1/X_A) and E X_A (Haagerup and Larsen 2000)."""
        curve = self.branch
        inner = curve.log_at_bottom if curve.mass == 1 and curve.order == 1 else -math.inf
        return inner, float(curve.log_inverse_s(0)[0])

    @property
    def order(self) -> Fraction:
        """The order of the zero of 1/S at w = -1: 1 with -1 inside the ring of eigenvalues, a half on its rim."""
        inner, outer = self.radii
        rims = (abs(inner) < _EQUAL) + (abs(outer) < _EQUAL)
        return Fraction(rims, 2) if rims else Fraction(int(inner < 0 < outer))

    @cached_property
    def point_masses(self) -> tuple[tuple[Fraction, Fraction], ...]:
        """The atoms (x, mass) away from zero, of mass zero too: edges where the density may diverge."""
        if (kept := self.branch.mass) <= Fraction(1, 2):
            return ((Fraction(1), 1 - 2 * kept),)
        if self.branch.powers or self.branch.slopes or self.branch.drift or self.branch.scale == 1:
            return ()
        a = Fraction(math.sqrt(self.branch.scale))  # a Haar matrix
        return ((1 - a) ** 2, Fraction(0)), ((1 + a) ** 2, Fraction(0))

    @property
    def noise(self) -> float:
        """Relative error of psi beyond rounding."""
        return max((law.noise for law, *_ in self.branch.slopes), default=0.0)

    def moments(self, n: int) -> Array:
        """Return the moments 1..n, by the free cumulants of the symmetrised laws, which are even and add."""
        of_one = np.array([(-1.0) ** (k - 1) * math.comb(2 * k - 2, k - 1) / k for k in range(1, n + 1)])
        cumulants = np.zeros(2 * n)
        cumulants[1::2] = series.r_diagonal_cumulants(self.branch.log_inverse_s(n)) + of_one
        return series.moments_of_cumulants(cumulants)[1::2]

    # ---- rows -----------------------------------------------------------------------------------------------

    @property
    def rows(self) -> int:
        """Y, v_1, v_A, and those of the branch."""
        return 3 + sum(law.rows for law, *_ in self.branch.slopes)

    def correction(self, rows: list[ComplexArray], goal: ComplexArray,
                   goal_slope: ComplexArray) -> tuple[list[ComplexArray], list[ComplexArray], ComplexArray]:
        """Return Newton's steps in the rows toward psi's goal, their slopes, and the slope of the logit in y."""
        y, v_1, v_a, *inner = rows
        c = float(self.branch.mass)
        one, a = logistic(v_1), logistic(v_a)
        s, rest = sigmoids(goal)
        _, _, log_u, d_log_u, log_x, d_log_x, *moves = seen(self.branch, v_a, inner)
        log_g2, d_log_g2 = 2 * one.log_rest + v_1 - 1j * math.pi, one.rest - one.s
        unequal, d_unequal = 2 * log_u - log_x - log_g2, 2 * d_log_u - d_log_x
        missing = np.where(np.abs(s) < np.abs(rest), s - one.s - c * a.s, self._one_plus_psi(one, a) - rest)
        d_1, d_a = one.s * one.rest, c * a.s * a.rest
        whole = d_log_g2 * d_a + d_unequal * d_1
        step_1, step_a = (d_a * unequal + d_unequal * missing) / whole, (d_log_g2 * missing - d_1 * unequal) / whole
        rate = s * rest * goal_slope / whole
        gain_1, gain_a = d_unequal * rate, d_log_g2 * rate
        shift = 2 * one.log_rest + v_1 - 2 * logistic(goal).log_rest + d_log_g2 * step_1 - y
        gain = d_log_g2 * gain_1 + 2 * s * goal_slope
        steps = [move + g * step_a for move, g in zip(moves[::2], moves[1::2], strict=True)]
        gains = [g * gain_a for g in moves[1::2]]
        lost = (np.abs(d_log_g2 * d_a) + np.abs(d_unequal * d_1)) / np.abs(whole)  # digits, where 1 + p and w cancel
        return [shift, step_1, step_a, *steps], [gain, gain_1, gain_a, *gains], goal_slope / (gain + goal_slope) / lost

    @np.errstate(all="ignore")
    def valid(self, inner: list[ComplexArray]) -> BoolArray | bool:
        """Return where the rows behind y are inside their strips, and the branch where its curve is the law's."""
        v_1, v_a, *rows = inner
        log_u = seen(self.branch, v_a, rows)[2]
        log_x = 2 * log_u - 2 * logistic(v_1).log_rest - v_1 + 1j * math.pi
        return (np.abs(v_1.imag) < math.pi) & on_sheet(self.branch, v_a, rows, log_x)

    def real_rows(self, log_odds: Array, tolerance: float) -> list[Array]:
        """Return the rows on the negative axis, by bisection: there are the two ends of p, and one root between."""
        c, (s, rest) = float(self.branch.mass), (part.real for part in sigmoids(log_odds.astype(complex)))
        share, spare = np.minimum(s, c), np.maximum(c - 1 + rest, 0.0)  # of w, and what c has beyond
        low, high = np.full(s.size, -_FARTHEST), np.full(s.size, _FARTHEST)
        for _ in range(_BISECTIONS):
            t = (low + high) / 2
            left, right = (part.real for part in sigmoids(t.astype(complex)))
            v_1 = np.log(s - share + share * left) - np.log(rest + share * right)
            v_a = np.log(share * right) - np.log(spare + share * left)
            one, a = logistic(v_1.astype(complex)), logistic(v_a.astype(complex))
            log_x, inner = self.branch.on_negative_axis(a, tolerance)
            above = 2 * a.log_complement(c)[0].real - log_x > 2 * one.log_rest.real + v_1  # g^2 of the branch
            low, high = np.where(above, t, low), np.where(above, high, t)
        return [2 * one.log_rest.real + v_1 - 2 * np.log(rest), v_1, v_a, *inner]

    @np.errstate(divide="ignore", invalid="ignore")
    def mean_log(self, rows: list[ComplexArray]) -> ComplexArray:
        """Return E log(1 - zeta X): the log-potential of a free sum, in squares."""
        y, v_1, v_a, *inner = rows
        one, weight = logistic(v_1), inside(self.branch, v_a, inner, 2)
        z_g = self._one_plus_psi(one, logistic(v_a))
        log_z_g = np.where(np.abs(z_g) > _CLEAR, log_lower(z_g), one.log_rest + (v_1 - y) / 2)
        return weight - 2 * log_z_g + one.log_rest

    def _one_plus_psi(self, one: Logistic, a: Logistic) -> ComplexArray:
        """Return 1 + p + w, by what is small."""
        c = float(self.branch.mass)
        found = one.rest - c * a.s
        return np.where(np.abs(one.s) < np.abs(a.s), a.rest - one.s, found) if c == 1 else found

    def angles(self, rows: list[ComplexArray]) -> tuple[Array, Array]:
        """Return E arg(1 - zeta X) and the rest of Im y."""
        first = np.abs(self.mean_log(rows).imag)
        return first, rows[0].imag - first
