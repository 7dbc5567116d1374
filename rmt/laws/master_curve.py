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

import itertools
import math
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cached_property, partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rmt.laws import curve_root, series
from rmt.laws.located import Cauchy
from rmt.laws.logistic import Logistic, angle, logistic, sigmoids
from rmt.laws.psi import ExplicitPsi, Psi
from rmt.laws.rational import log_of, power, shortened
from rmt.text import number_text

Array = NDArray[np.float64]
ComplexArray = NDArray[np.complex128]


_AXIS = np.linspace(-45.0, 45.0, 61)
_AXIS_LOGISTIC = logistic(_AXIS.astype(complex))
_BOTTOM = 45.0
_ZERO = 1e-300
_NEXT_TO_NOTHING = 1e-18  # of a factor's dimension: where so little of it is left a factor is a number to 1e-9


def upper(z: ComplexArray) -> ComplexArray:
    """Return z in the closed upper half plane, but for zero, where G may be infinite."""
    z = z.real + 1j * np.maximum(z.imag, 0.0)
    return np.where(z == 0, _ZERO, z)


class Correction(NamedTuple):
    """Newton's step in the rows of a factor of power k at fixed v, and their derivatives in v; the first row is y.

    And the slope of the logit in y, and what a relative error of psi is of the logit.
    """

    k: float
    shift: list[ComplexArray]
    gain: list[ComplexArray]
    slope: ComplexArray
    share: Array


@dataclass(frozen=True, repr=False)
class MasterCurve:
    """1/S(w) = scale e^(drift w) prod (1 + w/m)^k prod S_D(w/m)^-k, exact in its numbers; see the module's docstring.

    Attributes
    ----------
    scale : Fraction
        Positive factor of x.
    powers : tuple of (m, k)
        Factors (1 + w/m)^k, in increasing m > 0; k is any real (negative for projections).
    slopes : tuple of (psi, m, k)
        Factors S_D(w/m)^-k of laws D without a closed form: with two or more non-zero values, or a sum.
    drift : Fraction
        At least 0: the free multiplicative Brownian motion, to which many small residual blocks add up.
    """

    scale: Fraction = Fraction(1)
    powers: tuple[tuple[Fraction, Fraction], ...] = ()
    slopes: tuple[tuple[Psi, Fraction, Fraction], ...] = ()
    drift: Fraction = Fraction(0)

    def __repr__(self) -> str:
        return (f"MasterCurve(scale={number_text(self.scale)}, powers={self.powers!r}, slopes={self.slopes!r}, "
                f"drift={self.drift!r})")

    def __mul__(self, other: MasterCurve) -> MasterCurve:
        return MasterCurve.product((self, other))

    @staticmethod
    def product(curves: Iterable[MasterCurve]) -> MasterCurve:
        """Return the curve of the free product of all."""
        scale, drift, powers = Fraction(1), Fraction(0), defaultdict[Fraction, Fraction](Fraction)
        slopes = defaultdict[tuple[Psi, Fraction], Fraction](Fraction)
        for curve in curves:
            scale *= curve.scale
            drift += curve.drift
            for m, k in curve.powers:
                powers[m] += k
            for law, m, k in curve.slopes:
                slopes[law, m] += k
        return MasterCurve(scale, tuple(sorted((m, k) for m, k in powers.items() if k)),
                           tuple(sorted(((*key, k) for key, k in slopes.items()), key=repr)), drift)

    def __pow__(self, exponent: Fraction) -> MasterCurve:
        return MasterCurve(power(self.scale, exponent),
                           tuple((m, k * exponent) for m, k in self.powers),
                           tuple((d, m, k * exponent) for d, m, k in self.slopes), self.drift * exponent)

    def at(self, m: Fraction) -> MasterCurve:
        """Return the curve of w/m: a factor that acts on a space with m times the input's dimensions."""
        return MasterCurve(self.scale, tuple((m * root, k) for root, k in self.powers),
                           tuple((d, m * root, k) for d, root, k in self.slopes), self.drift / m)

    def shortened(self) -> MasterCurve:
        """Return the curve with a scale of 77 digits where the exact one has hundreds: it grows with every layer."""
        scale = shortened(self.scale)
        return self if scale == self.scale else replace(self, scale=scale)

    def settled(self) -> MasterCurve:
        """Return the curve with factors as numbers, their means, that see next to nothing of their space.

        Of a factor of dimension m only |w| up to some sqrt(c m) counts: where c/m is 1e-18 it moves ln x by 1e-9 there.
        """
        most = self.mass / Fraction(_NEXT_TO_NOTHING)
        if self.mass == 0 or all(m < most for m in [Fraction(1), *(m for m, _ in self.powers)]):
            return self
        scale, kept = self.scale, [(law, m, k) for law, m, k in self.slopes if m * law.mass < most]
        for law, m, k in self.slopes:
            if m * law.mass >= most:
                scale *= power(Fraction(float(law.moments(1)[0])), k)
        little = [(m, k) for m, k in self.powers if m < most]
        one = sum((k for _, _, k in kept), Fraction(-1))  # so that all 1 + w/m of a great m cancel, with that of x
        return MasterCurve(scale, tuple(sorted([*little, *([(Fraction(1), one)] if one else [])])), tuple(kept))

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
        return not self.slopes and not self.drift and [k for _, k in self.powers] == [1]

    @cached_property
    def alone(self) -> ExplicitPsi | None:
        """The law whose psi, scaled, is all of the curve."""
        if len(self.slopes) != 1 or self.powers or self.drift:
            return None
        law, m, k = self.slopes[0]
        return law if isinstance(law, ExplicitPsi) and m == k == 1 else None

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
        return float(self.on_negative_axis(logistic(np.array([_BOTTOM + 0j])), 1e-13)[0][0])

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
    def explicit(self) -> tuple[tuple[ExplicitPsi, Fraction, Fraction], ...]:
        """Those of the slopes whose psi is a function of y."""
        return tuple((law.explicit, m, k) for law, m, k in self.slopes if law.explicit)

    @property
    def implicit(self) -> bool:
        """Whether a psi is no function of y alone."""
        return len(self.explicit) < len(self.slopes)

    @property
    def algebraic(self) -> bool:
        """Whether every factor is known as an algebraic function."""
        return not self.drift and all(law.algebraic for law, *_ in self.slopes)

    @cached_property
    def noises(self) -> tuple[float, ...]:
        """The relative errors of the psi of the factors, in units of rounding."""
        return tuple(law.noise / 1e-15 for law, *_ in self.slopes)

    @property
    def noisy(self) -> bool:
        """Whether a psi has an error beyond rounding; it is dear to evaluate, too."""
        return any(self.noises)

    @cached_property
    def rounding(self) -> float:
        """Of ln x, in units of that of one term."""
        return 8 + sum(abs(float(k)) for _, k in self.zeros) + sum(float(k) for *_, k in self.slopes)

    def log_inverse_s(self, n: int) -> Array:
        """Return the series of log(1/S(w)) at w = 0, coefficients 0..n."""
        total = np.zeros(n + 1)
        total[0] = self.log_scale
        total[1:2] = float(self.drift)
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
        with np.errstate(divide="ignore"):  # |1 + e^-v|^2, which may be small
            return (math.log(self.mass) + np.log(np.abs(np.sin(b))) - a
                    - np.log(np.expm1(-a) ** 2 + 4 * np.exp(-a) * np.cos(b / 2) ** 2))

    def log_x(self, v: ComplexArray, y: list[ComplexArray]) -> tuple[ComplexArray, ComplexArray]:
        """Return ln x and d ln x / dv (along the y that follow v)."""
        return self.system(logistic(v), y)[:2]

    def system(self, at: Logistic, y: list[ComplexArray]) -> tuple[ComplexArray, ComplexArray, list[Correction]]:
        """Return ln x, its derivative along the y that follow v, and how far each y is from doing so."""
        constant, order, _ = self._coefficients
        value, derivative = constant + order * at.log_s, order * at.rest
        ratios, _, powers = self._exponents
        log_u, slope_u = at.log_complements(ratios)
        value, derivative = value + (powers * log_u).sum(axis=0), derivative + (powers * slope_u).sum(axis=0)
        if self.drift:
            rate = -float(self.drift) * float(self.mass) * at.s
            value, derivative = value + rate, derivative + rate * at.rest
        corrections = []
        for (law, ratio, _, k), rows in zip(self._factors, self.rows(y), strict=True):
            goal, goal_slope = at.odds(ratio)
            corrections.append(Correction(k, *law.correction(rows, goal, goal_slope), 1 / (1 + ratio * np.abs(at.s))))
            value -= k * rows[0]
            derivative -= k * corrections[-1].gain[0]
        return value, derivative, corrections

    def rows(self, y: list[ComplexArray]) -> list[list[ComplexArray]]:
        """Return the rows of every factor, the first of each its y."""
        each = iter(y)
        return [list(itertools.islice(each, law.rows)) for law, *_ in self.slopes]

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
        phi += (powers * (w + roots) * log_u).sum(axis=0) + float(self.drift) / 2 * w**2
        for (law, _, m, k), rows in zip(self._factors, self.rows(y), strict=True):
            phi -= k * (w * rows[0] + m * law.mean_log(rows))
        return w * log_x - phi

    def transform(self, v: ComplexArray, y: list[ComplexArray]) -> tuple[ComplexArray, ComplexArray]:
        """Return z G(z) and z^2 G'(z) at a root."""
        (s, rest), mass = sigmoids(v), float(self.mass)
        z_g = (1 - mass) + mass * rest  # 1 + w
        slope = -mass * s * rest / self.log_x(v, y)[1]  # dw / d ln z
        return z_g, slope - z_g

    def cauchy(self, z: ComplexArray, state: Any, *, quick: bool = False) -> Cauchy:
        """Return G, G' and U = E log(z - X) at z in the closed upper half plane, and the state: v and the rows.

        Quickly: NaN where Newton does not find the root at once.
        """
        z = upper(z)
        log_z = np.log(z)
        v, y = self.root(log_z, state, quick=quick)
        with np.errstate(invalid="ignore"):
            z_g, slope = self.transform(v, y)
        return Cauchy(z_g / z, [v, *y], lambda: slope / z**2, lambda: log_z + self.potential(log_z, v, y))

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
        if self.drift:
            upper += float(self.drift) * mass**2 * s.real * s.imag
            lower += float(self.drift) * mass**2 * rest.real * s.imag
        for (law, _, m, k), rows in zip(self._factors, self.rows(y), strict=True):
            up, down = law.angles(rows)  # together mass Im y: where the law is mostly ahead only one has its digits
            upper += k * m * up
            behind = (mass - m * float(law.mass)) * rows[0].imag + m * down
            if isinstance(law, ExplicitPsi):
                behind = np.where(up < down, mass * rows[0].imag - m * up, behind)
            lower += k * behind
        return lower / math.pi, upper / math.pi

    # ---- the root at x --------------------------------------------------------------------------------

    def solve(self, log_x: ComplexArray) -> tuple[ComplexArray, list[ComplexArray]]:
        """Return v and the rows of every factor at ln x (one-dimensional), 0 <= Im ln x <= pi.

        Raises `ConvergenceError`.
        """
        return curve_root.solve(self, log_x)

    def root(self, log_x: ComplexArray, state: Any, *, quick: bool = False) -> tuple[ComplexArray, list[ComplexArray]]:
        """Return the root at ln x, from the state, v and the rows, of nearby ones, if there is one; see `cauchy`."""
        solve = partial(curve_root.solve, quick=quick)
        return curve_root.newton_or(solve, self, log_x, state[0], state[1:]) if state else solve(self, log_x)

    def follow_slopes(self, v: ComplexArray, y: list[ComplexArray]) -> list[ComplexArray]:
        """Return the rows of the factors at v, from those at a nearby v."""
        return curve_root.follow_slopes(self, v, y)

    @cached_property
    def axis_table(self) -> tuple[Array, Array, list[Array]]:
        """v, ln|x| and the rows of every factor on the negative axis, nearly."""
        return _AXIS, *self.on_negative_axis(_AXIS_LOGISTIC, 1e-2)

    def on_negative_axis(self, at: Logistic, tolerance: float) -> tuple[Array, list[Array]]:
        """Return ln|x| at real v, and the rows of every factor, found to a tolerance."""
        y = [row for law, ratio, *_ in self._factors for row in law.real_rows(at.odds(ratio)[0].real, tolerance)]
        return self.system(at, [y_l.astype(complex) for y_l in y])[0].real, y
