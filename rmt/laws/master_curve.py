"""The master curve x(w), on which every free product of positive laws lives, in logs.

With w = psi(1/x), psi(z) = E xz/(1 - xz) and S the S-transform (Voiculescu 1987),

    x(w) = (1 + w) / (w S(w)),      density of ln x = |Im w| / pi,      mass at zero = 1 - c, c = -psi(-inf).

S multiplies under the free product, so a law is a short list of factors of 1/S: a scale, powers of
(1 + w/m) (Gaussian and orthogonal matrices, projections: THEORY 2) and discrete laws of squared slopes.
Two changes of variable keep every digit at any depth, and at atoms:

    w = -c sigmoid(v),            1 + w/c = sigmoid(-v),       0 <= Im v <= pi  (w in the lower half plane)
    zeta = chi_D(w) = -exp(y),    psi_D(zeta) = -E sigmoid(y + ln d),

so the negative axis x < 0 is the real line of v, where the root is unique. From there x = |x| e^{i alpha} is
turned from alpha = pi to alpha = 0 with Newton steps in v: the root at a real x, with no imaginary offset.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from rmt.laws import series
from rmt.laws.errors import ConvergenceError
from rmt.laws.logistic import Logistic, angle, in_strip, logistic, sigmoids
from rmt.laws.one_factor import gaussian_root, slope_root
from rmt.laws.psi import Psi
from rmt.laws.rational import log_of

Array = NDArray[np.float64]
ComplexArray = NDArray[np.complex128]
BoolArray = NDArray[np.bool_]


# Angles of x: steps of at most .4 while the root moves, then down to the axis, where an edge may be near.
_ANGLES = (*np.linspace(math.pi, 0.4, 8)[1:], *(0.4 / 4.0 ** np.arange(1, 17)), 0.0)
_AXIS = np.linspace(-45.0, 45.0, 61)
_AXIS_LOGISTIC = logistic(_AXIS.astype(complex))
_BOTTOM = 45.0
_SMALL = 1e-6  # no residual of rounding is larger
_REAL = 1e-7  # Im v of a root inside a band, at least: nearer to an edge it is not told from a real one
_SMALL_STEPS = (*np.linspace(math.pi, 0.1, 41)[1:], *(0.1 / 1.5 ** np.arange(1, 52)), 0.0)


class Correction(NamedTuple):
    """Newton's step in the y of a slope law of power k at fixed v, dy/dv, and the slope of its logit."""

    k: float
    shift: ComplexArray
    gain: ComplexArray
    slope: ComplexArray


@dataclass(frozen=True)
class MasterCurve:
    """1/S(w) = scale prod (1 + w/m)^k prod S_D(w/m)^-k, exact in its numbers; see the module's docstring.

    Attributes
    ----------
    scale : Fraction
        Positive factor of x.
    powers : tuple of (m, k)
        Factors (1 + w/m)^k, in increasing m > 0; k is any real (negative for projections).
    slopes : tuple of (psi, m, k)
        Factors S_D(w/m)^-k of laws D without a closed form: with two or more non-zero values, or a sum.
    """

    scale: Fraction = Fraction(1)
    powers: tuple[tuple[Fraction, Fraction], ...] = ()
    slopes: tuple[tuple[Psi, Fraction, Fraction], ...] = ()

    def __mul__(self, other: MasterCurve) -> MasterCurve:
        return MasterCurve.product((self, other))

    @staticmethod
    def product(curves: Iterable[MasterCurve]) -> MasterCurve:
        """Return the curve of the free product of all."""
        scale, powers = Fraction(1), defaultdict[Fraction, Fraction](Fraction)
        slopes = defaultdict[tuple[Psi, Fraction], Fraction](Fraction)
        for curve in curves:
            scale *= curve.scale
            for m, k in curve.powers:
                powers[m] += k
            for law, m, k in curve.slopes:
                slopes[law, m] += k
        return MasterCurve(scale, tuple(sorted((m, k) for m, k in powers.items() if k)),
                           tuple(sorted(((*key, k) for key, k in slopes.items()), key=repr)))

    def __pow__(self, exponent: Fraction) -> MasterCurve:
        return MasterCurve(self.scale ** (exponent // 1) * Fraction(self.scale ** (exponent % 1)),
                           tuple((m, k * exponent) for m, k in self.powers),
                           tuple((d, m, k * exponent) for d, m, k in self.slopes))

    def at(self, m: Fraction) -> MasterCurve:
        """Return the curve of w/m: a factor that acts on a space with m times the input's dimensions."""
        return MasterCurve(self.scale, tuple((m * root, k) for root, k in self.powers),
                           tuple((d, m * root, k) for d, root, k in self.slopes))

    # ---- numbers derived once -------------------------------------------------------------------------

    @cached_property
    def zeros(self) -> tuple[tuple[Fraction, Fraction], ...]:
        """The powers (1 + w/m)^k of x(w) itself: those of 1/S and the leading 1 + w."""
        exponents = defaultdict(Fraction, self.powers)
        exponents[Fraction(1)] += 1
        return tuple(sorted((m, k) for m, k in exponents.items() if k))

    @cached_property
    def mass(self) -> Fraction:
        """The mass c of x > 0: the first zero -c of x(w) below w = 0."""
        return min([m for m, k in self.zeros if k > 0] + [m * d.mass for d, m, _ in self.slopes])

    @cached_property
    def order(self) -> Fraction:
        """The order K of that zero; K > 1 makes x = 0 a hard edge with F(x) - F(0) ~ x^(1/K)."""
        at_slopes = sum((k * d.order for d, m, k in self.slopes if m * d.mass == self.mass), Fraction(0))
        return sum((k for m, k in self.zeros if m == self.mass), at_slopes)

    @property
    def one_gaussian(self) -> bool:
        """Whether 1/S = scale (1 + w/m): one Gaussian matrix, the Marchenko-Pastur law."""
        return not self.slopes and [k for _, k in self.powers] == [1]

    @cached_property
    def log_scale(self) -> float:
        """Logarithm of the scale, which may be outside the range of a float."""
        return log_of(self.scale)

    @property
    def log_at_bottom(self) -> float:
        """Ln A of x = -A (1 + w/c)^order at w = -c."""
        return self.log_x_at_bottom + float(self.order) * _BOTTOM

    @cached_property
    def log_x_at_bottom(self) -> float:
        """Ln |x| where 1 + w/c = e^-45 on the negative axis; so is about the law up to there."""
        return float(self._on_negative_axis(logistic(np.array([_BOTTOM + 0j])), 1e-13)[0][0])

    @cached_property
    def _exponents(self) -> tuple[Array, Array, Array]:
        """c/m, m and exponent of every 1 + w/m in x(w), those of the slope laws' S among them: (factors, 1) each."""
        exponents = defaultdict(Fraction, self.zeros)
        for _, m, k in self.slopes:
            exponents[m] -= k
        found = [(float(self.mass / m), float(m), float(k)) for m, k in exponents.items() if k]
        columns = np.array(found).reshape(-1, 3, 1)
        return columns[:, 0], columns[:, 1], columns[:, 2]

    @cached_property
    def _factors(self) -> tuple[tuple[Psi, float, float, float], ...]:
        """(psi, c/(m mass of psi), m, k) of every slope law."""
        return tuple((law, float(self.mass / (m * law.mass)), float(m), float(k)) for law, m, k in self.slopes)

    @cached_property
    def _coefficients(self) -> tuple[complex, float, float]:
        """What ln x has beside the logarithms of w + m and y, how often it has ln w, and the order of its zeros."""
        slopes = [(math.log(self.mass / m), float(k)) for _, m, k in self.slopes]
        return (self.log_scale - math.log(self.mass) + 1j * math.pi + sum(k * log for log, k in slopes),
                sum(k for _, k in slopes) - 1, sum(float(k) for _, k in self.zeros))

    @cached_property
    def _noises(self) -> tuple[float, ...]:
        return tuple(law.noise / 1e-15 for law, *_ in self.slopes)

    @cached_property
    def _rounding(self) -> float:
        return 8 + sum(abs(float(k)) for _, k in self.zeros) + sum(float(k) for *_, k in self.slopes)

    def log_inverse_s(self, n: int) -> Array:
        """Return the series of log(1/S(w)) at w = 0, coefficients 0..n."""
        total = np.zeros(n + 1)
        total[0] = self.log_scale
        j = np.arange(1, n + 1)
        for m, k in self.powers:
            total[1:] += float(k) * (-1.0) ** (j - 1) / (j * float(m) ** j)
        for law, m, k in self.slopes:
            total += float(k) * series.log_inverse_s(law.moments(n + 1)) * float(m) ** -np.arange(n + 1.0)
        return total

    # ---- the curve at v -------------------------------------------------------------------------------

    def log_im_w(self, v: ComplexArray) -> Array:
        """Return ln |Im w|, without cancellation however small."""
        a, b = np.abs(v.real), v.imag
        with np.errstate(divide="ignore"):
            return (math.log(self.mass) + np.log(np.abs(np.sin(b))) - a
                    - np.log1p(np.exp(-a) * (2 * np.cos(b) + np.exp(-a))))

    def log_x(self, v: ComplexArray, y: list[ComplexArray]) -> tuple[ComplexArray, ComplexArray]:
        """Return ln x and d ln x / dv (along the y that follow v)."""
        return self._system(logistic(v), y)[:2]

    def _system(self, at: Logistic, y: list[ComplexArray]) -> tuple[ComplexArray, ComplexArray, list[Correction]]:
        """Return ln x, its derivative along the y that follow v, and how far each y is from doing so."""
        constant, order, _ = self._coefficients
        value, derivative = constant + order * at.log_s, order * at.rest
        ratios, _, powers = self._exponents
        log_u, slope_u = at.log_complements(ratios)
        value, derivative = value + (powers * log_u).sum(axis=0), derivative + (powers * slope_u).sum(axis=0)
        corrections = []
        for (law, ratio, _, k), y_l in zip(self._factors, y, strict=True):
            goal, goal_slope = at.odds(ratio)
            logit, slope = law.logit(y_l)
            corrections.append(Correction(k, (goal - logit) / slope, goal_slope / slope, slope))
            value -= k * y_l
            derivative -= k * corrections[-1].gain
        return value, derivative, corrections

    def target(self, law: Psi, m: Fraction, v: ComplexArray) -> ComplexArray:
        """Return what logit(-psi_D / mass) must be at v."""
        return logistic(v).odds(float(self.mass / (m * law.mass)))[0]

    def potential(self, log_x: ComplexArray, v: ComplexArray, y: list[ComplexArray]) -> ComplexArray:
        """Return E log(1 - X/x) = w ln x - Phi(w), Phi(w) the integral of ln x(w) from 0 (THEORY 1)."""
        at, mass = logistic(v), float(self.mass)
        constant, order, n = self._coefficients
        w = -mass * at.s
        phi = w * (constant + order * at.log_s + 1 - n)
        ratios, roots, powers = self._exponents
        log_u = at.log_complements(ratios)[0]
        phi += (powers * (w + roots) * log_u).sum(axis=0)
        for (law, _, m, k), y_l in zip(self._factors, y, strict=True):
            phi -= k * (w * y_l + m * law.mean_softplus(y_l))
        return w * log_x - phi

    def tails(self, v: ComplexArray, y: list[ComplexArray]) -> tuple[Array, Array]:
        """Return P(0 < X <= x) and P(X > x) at the root of a real x, each with its own digits.

        There Im ln x = 0. That times c or 0 taken from Im U leaves Im w and angles, which vanish at w = -c or at 0.
        """
        (s, rest), mass, (_, order, n) = sigmoids(v), float(self.mass), self._coefficients
        upper = mass * (1 - n) * s.imag
        lower = -mass * order * angle(s) - upper
        ratios, roots, powers = self._exponents
        turn = angle((1 - ratios) + ratios * rest)
        upper += (powers * roots * turn).sum(axis=0)
        lower -= (powers * (roots - mass) * turn).sum(axis=0)
        for (law, _, m, k), y_l in zip(self._factors, y, strict=True):
            up, down = law.angles(y_l)
            upper += k * m * up
            lower += k * ((mass - m * float(law.mass)) * y_l.imag + m * down)
        return lower / math.pi, upper / math.pi

    # ---- the root at x --------------------------------------------------------------------------------

    def solve(self, log_x: ComplexArray) -> tuple[ComplexArray, list[ComplexArray]]:
        """Return v and the y of every slope law at ln x (one-dimensional), 0 <= Im ln x <= pi.

        Raises `ConvergenceError`.
        """
        if self.one_gaussian and np.all(np.abs(log_x.real - self.log_scale) < 600):
            return gaussian_root(log_x - self.log_scale, float(self.powers[0][0])), []
        if not self.powers and [(m, k) for _, m, k in self.slopes] == [(1, 1)]:
            v, y = slope_root(log_x - self.log_scale, self.slopes[0][0])
            return v, [y]
        return self._newton_or(self._turned, log_x, *self._guess(log_x))

    def follow(self, log_x: ComplexArray, v: ComplexArray,
               y: list[ComplexArray]) -> tuple[ComplexArray, list[ComplexArray]]:
        """Return the root at ln x, from the root at a nearby x; anew where that is lost."""
        return self._newton_or(self.solve, log_x, v, y)

    def _newton_or(self, otherwise: Callable[[ComplexArray], tuple[ComplexArray, list[ComplexArray]]],
                   log_x: ComplexArray, v: ComplexArray,
                   y: list[ComplexArray]) -> tuple[ComplexArray, list[ComplexArray]]:
        """Return the root at ln x by Newton from (v, y), and otherwise where that is not proved."""
        v, y, done = self._newton(log_x, v, y, np.zeros(v.size))
        done &= self._proved(log_x, v, y)
        if not done.all():
            v_other, y_other = otherwise(log_x[~done])
            for root, other in zip((v, *y), (v_other, *y_other), strict=True):
                root[~done] = other
        return v, y

    def _guess(self, log_x: ComplexArray) -> tuple[ComplexArray, list[ComplexArray]]:
        """Return v and y right at both ends of x and not far between, from the negative axis.

        Im v falls from pi to pi / order with x; Re v moves as for one zero of that order, to second order in the turn.
        """
        v, y = self._negative_axis(log_x.real)
        order, turn = max(float(self.order), 2.0), math.pi - log_x.imag
        u = 1 / (1 + np.exp(-np.maximum(v.real, -50)))
        share = (1 - u) / (1 - u + (1 + order) * u)
        move = 1j * turn * (1 / order + (1 - 1 / order) * share)
        move += turn**2 / 2 * (order - 1) * u * (1 - u) / (1 + (order - 1) * u) ** 3
        return v + move, [y_l + move for y_l in y]

    def _proved(self, log_x: ComplexArray, v: ComplexArray, y: list[ComplexArray]) -> BoolArray:
        """Return where a solution is certainly the root.

        The y inside the strip that are turned at least as far as x are unique (Belinschi and Bercovici 2007), and
        so is v inside the strip without them. A real solution is the root if x + i0 moves it into the strip.
        """
        inside = np.minimum(v.imag, math.pi - v.imag) > _REAL
        for y_l in y:
            inside &= y_l.imag + log_x.imag <= math.pi + 1e-9
        nearly = _REAL if any(self._noises) else 1e-14
        real = math.pi - v.imag <= nearly
        if not real.any():
            return inside
        with np.errstate(all="ignore"):
            _, slope, corrections = self._system(logistic(v), y)
            real &= slope.real < 0
            for correction, y_l in zip(corrections, y, strict=True):
                real &= (math.pi - y_l.imag <= nearly) & (correction.gain.real / slope.real <= -1 + 1e-9)
        return inside | real

    def _turned(self, log_x: ComplexArray) -> tuple[ComplexArray, list[ComplexArray]]:
        """Return the root at ln x, followed from the negative axis; raise if it is lost."""
        for angles in (_ANGLES, _SMALL_STEPS):
            v, y = self._negative_axis(log_x.real)
            least = log_x.imag.min(initial=math.pi)
            for turn in (*(a for a in angles if a > least), least):
                behind = np.maximum(turn - log_x.imag, 0.0)
                v, y, done = self._newton(log_x + 1j * behind, v, y, 1e-3 * behind)
                if not done.all():
                    break
            else:
                return v, y
        raise ConvergenceError(f"master curve: no root at ln x = {log_x[~done][0]:.6g}")

    def _newton(self, target: ComplexArray, v: ComplexArray, y: list[ComplexArray],
                loose: Array) -> tuple[ComplexArray, list[ComplexArray], BoolArray]:
        """Return a solution at ln x = target near (v, y), and where there is: Newton in both, the y eliminated."""
        tolerance = 1e-15 * (self._rounding + np.abs(target))  # of the target and of the sum over a deep product
        ends, done = [v.copy(), *(y_l.copy() for y_l in y)], np.zeros(target.size, dtype=bool)
        todo, last = np.arange(target.size), np.full(target.size, np.inf)
        for i in range(60):
            value, derivative, corrections = self._system(logistic(v), y)
            miss = sum((k * shift for k, shift, _, _ in corrections), target - value)
            off, step = sum((np.abs(shift) for _, shift, _, _ in corrections), np.abs(miss)), miss / derivative
            size, reach = np.abs(step), np.maximum(0.4, 0.5 * (np.abs(v.real) - 8))  # far from |v| ~ 1 nearly linear
            if (far := size > reach).any():
                step[far] *= reach[far] / size[far]
            steps = [correction.shift + correction.gain * step for correction in corrections]
            v, y = in_strip(v + step), [in_strip(y_l + move) for y_l, move in zip(y, steps, strict=True)]
            whole = sum((np.abs(move) for move in steps), size)
            settled = (whole <= 1e-15 * (1 + np.abs(v))) | (off <= loose)
            if (off < _SMALL).any():
                # y is only known to its rounding over the slope of the logit, and to that of v times its gain
                rounding = sum((1e-15 * (1 + k) * ((8 + np.abs(v) + noise) / np.abs(slope) + np.abs(v * gain))
                                for (k, _, gain, slope), noise in zip(corrections, self._noises, strict=True)),
                               tolerance)
                # next to an edge a residual that is rounding leaves a step that is not: it goes on while it shrinks
                settled |= (off <= rounding) & (whole >= 0.5 * last)
            if i:  # the error that a quadratic convergence leaves
                settled |= whole**2 * np.maximum(whole / last**2, 1) <= 1e-16
            if settled.any():
                for end, part in zip(ends, (v, *y), strict=True):
                    end[todo] = part
                done[todo] = settled
                left = ~settled
                todo, v, y = todo[left], v[left], [y_l[left] for y_l in y]
                target, tolerance, loose, whole = target[left], tolerance[left], loose[left], whole[left]
                if todo.size == 0:
                    break
            last = whole
        for end, part in zip(ends, (v, *y), strict=True):
            end[todo] = part
        return ends[0], ends[1:], done

    def follow_slopes(self, v: ComplexArray, y: list[ComplexArray]) -> list[ComplexArray]:
        """Return the y of the slope laws at v, from those at a nearby v."""
        at = logistic(v)
        for _ in range(30):
            steps = [correction.shift for correction in self._system(at, y)[2]]
            y = [in_strip(y_l + step) for y_l, step in zip(y, steps, strict=True)]
            if all(np.all(np.abs(step) <= 1e-13 * (1 + np.abs(y_l))) for step, y_l in zip(steps, y, strict=True)):
                return y
        raise ConvergenceError("master curve: the slope laws do not follow the curve")

    def _negative_axis(self, log_x: Array) -> tuple[ComplexArray, list[ComplexArray]]:
        """Return the unique real root at -|x|, near enough for Newton: ln|x| falls from inf to -inf with v."""
        v_table, log_table, y_table = self._axis_table
        v = np.interp(-log_x, -log_table, v_table)
        left, right = np.maximum(log_x - log_table[0], 0), np.maximum(log_table[-1] - log_x, 0)
        v = v - left + right / float(self.order)  # beyond the table ln|x| is a straight line
        y = [np.interp(v, v_table, y_l) + np.minimum(v - v_table[0], 0) + np.maximum(v - v_table[-1], 0) * rises
             for y_l, rises in y_table]
        return v.astype(complex), [y_l.astype(complex) for y_l in y]

    @cached_property
    def _axis_table(self) -> tuple[Array, Array, list[tuple[Array, bool]]]:
        """v, ln|x| and each slope law's y (and whether y rises with v at the far end) on the negative axis, nearly."""
        value, y = self._on_negative_axis(_AXIS_LOGISTIC, 1e-2)
        return _AXIS, value, [(y_l, self.mass == m * law.mass) for y_l, (law, m, _) in zip(y, self.slopes, strict=True)]

    def _on_negative_axis(self, at: Logistic, tolerance: float) -> tuple[Array, list[Array]]:
        """Return ln|x| at real v, and the y of every slope law, found to a tolerance."""
        y = [law.real_root(at.odds(ratio)[0].real, tolerance=tolerance) for law, ratio, *_ in self._factors]
        return self._system(at, [y_l.astype(complex) for y_l in y])[0].real, y
