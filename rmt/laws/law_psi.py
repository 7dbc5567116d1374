"""The moment transform psi of a law known by its log-potential, as a factor of a master curve.

A product may have a sum or a shifted law as a factor. Its psi is read off the Cauchy transform on the strip where
zeta = -e^y, z = 1/zeta in the upper half plane: -psi = 1 - z G(z), E log(1 - zeta X) = U(z) - log z.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from typing import Any

import numpy as np

from rmt.laws.logistic import exponential, log_upper, sigmoids
from rmt.laws.psi import Array, BoolArray, ComplexArray, ExplicitPsi, joined

_NEAR = 0.02  # of the radius of convergence: up to there the series at zeta = 0 and at z = 0 have every digit
_TERMS = 12
_ROUNDING = 4e-16  # of ln x
_DEEP = 1e-6  # of the greatest value


@dataclass(frozen=True)
class LawPsi(ExplicitPsi):
    """psi_X of any law on x >= 0.

    Attributes
    ----------
    law : Law
        The law of X.
    """

    law: Any

    @property
    def algebraic(self) -> bool:
        """Whether it is psi of a finite law, or of a law that may be algebraic itself."""
        return True

    @cached_property
    def mass(self) -> Fraction:
        """The probability of a non-zero value."""
        return 1 - sum((mass for x, mass in self.law._point_masses if x == 0), Fraction(0))

    @cached_property
    def point_masses(self) -> tuple[tuple[Fraction, Fraction], ...]:
        """The atoms (x, mass) away from zero."""
        return tuple((x, mass) for x, mass in self.law._point_masses if x)

    @cached_property
    def order(self) -> int:
        """The order of the zero of 1/S at w = -mass: 1 at an atom at x = 0, or where one has just lost its mass."""
        return int(self.mass < 1 or self.log_range[0] == -math.inf)

    @cached_property
    def log_range(self) -> tuple[float, float]:
        """Ln of the least and the greatest value but zero."""
        ends = [x for band in self.law.support for x in band] + [float(x) for x, _ in self.point_masses]
        return (math.log(min(ends)) if min(ends) > 0 else -math.inf), math.log(max(ends))

    @cached_property
    def log_intervals(self) -> list[tuple[float, float]]:
        """Ln of the bands and atoms but zero."""
        ends = [*self.law.support, *((float(x), float(x)) for x, _ in self.point_masses)]
        return joined(((math.log(low) if low > 0 else -math.inf, math.log(high)) for low, high in ends), 0.0)

    def moments(self, n: int) -> Array:
        """Return the moments 1..n."""
        return np.array([self.law.moment(k) for k in range(1, n + 1)])

    @cached_property
    def _at_infinity(self) -> Array:
        """Coefficients 1.. of -psi in zeta."""
        return -self.moments(_TERMS)

    @cached_property
    def _at_zero(self) -> Array:
        """Coefficients 1.. of z G - (mass at zero) in z over the least value, by the trapezoidal rule on a circle."""
        n = 64
        circle = 0.5 * math.exp(self.log_range[0]) * np.exp(2j * np.pi * (np.arange(n) + 0.5) / n)
        upper = circle[: n // 2]
        values = upper * self.law._cauchy(upper).g
        series = np.fft.fft(np.r_[values, values[::-1].conj()]) / n
        k = np.arange(1, _TERMS + 1)
        return (series[k] * np.exp(-1j * np.pi * k / n)).real * 2.0**k

    def _parts(self, y: ComplexArray) -> tuple[ComplexArray, ComplexArray, ComplexArray, ComplexArray]:
        """Return s = -psi/mass, 1 - s, s' = ds/dy and s' - s (1 - s), every digit kept at both ends."""
        mass, zero = float(self.mass), 1 - float(self.mass)
        far, near = self._beyond(y)
        s, rest, ds, excess = np.empty((4, *y.shape), dtype=complex)
        k = np.arange(1, _TERMS + 1)
        powers = _powers(-np.exp(y[far]))
        s[far], ds[far] = powers @ self._at_infinity / mass, powers @ (k * self._at_infinity) / mass
        rest[far] = 1 - s[far]
        excess[far] = powers @ ((k - 1) * self._at_infinity) / mass + s[far] ** 2
        if near.any():
            powers = _powers(self._over_least(y[near]))
            rest[near], ds[near] = powers @ self._at_zero / mass, powers @ (k * self._at_zero) / mass
            s[near] = 1 - rest[near]
            excess[near] = powers @ ((k - 1) * self._at_zero) / mass + rest[near] ** 2
        if (deep := self._deep(y) & ~near).any():
            v, rows = self.law.curve.solve(-y[deep] + 1j * math.pi)
            s[deep], rest[deep] = sigmoids(v)
            ds[deep] = -s[deep] * rest[deep] / self.law.curve.log_x(v, rows)[1]
            excess[deep] = ds[deep] - s[deep] * rest[deep]
        between = ~(far | near | deep)
        if between.any():
            z = _inverse(y[between])
            found = self.law._cauchy(z)
            g, slope = found.g, found.slope
            with np.errstate(invalid="ignore"):  # at an atom all are infinite
                s[between], rest[between], ds[between] = 1 - z * g, z * g - zero, z * (g + z * slope)
                s[between], rest[between], ds[between] = s[between] / mass, rest[between] / mass, ds[between] / mass
                # s' - (1 - s) is known by itself where 1 - s is small
                small = (z**2 * slope + zero) / mass + rest[between] ** 2
                excess[between] = np.where(np.abs(rest[between]) < 0.5, small, ds[between] - s[between] * rest[between])
        return s, rest, ds, excess

    def _beyond(self, y: ComplexArray) -> tuple[BoolArray, BoolArray]:
        """Return where z is so large, and where it is so small, that the series there have every digit."""
        low, high = self.log_range
        return y.real < math.log(_NEAR) - high, (y.real > -math.log(_NEAR) - low) & np.isfinite(low)

    def _deep(self, y: ComplexArray) -> BoolArray:
        """Return where z is off the positive axis and so small that a sum in x itself has lost its digits.

        Those of its psi, in logarithms, are its terms' own.
        """
        if self.law.curve.alone:
            return np.zeros(y.shape, dtype=bool)
        return (y.imag < math.pi) & (y.real > -math.log(_DEEP) - self.log_range[1])

    def _over_least(self, y: ComplexArray) -> ComplexArray:
        """Return z over the least value, which in powers of its own would leave the range of a float."""
        return _inverse(y + self.log_range[0])

    def logit(self, y: ComplexArray) -> tuple[ComplexArray, ComplexArray]:
        """Return logit(-psi / mass) and its derivative in y."""
        return self.steepness(y)[:2]

    def steepness(self, y: ComplexArray) -> tuple[ComplexArray, ComplexArray, ComplexArray]:
        """Return logit(-psi / mass), its derivative in y, and that less one, with its own digits next to z = 0."""
        s, rest, ds, excess = self._parts(y)
        with np.errstate(divide="ignore", invalid="ignore"):  # at an atom
            return log_upper(s / rest), ds / (s * rest), excess / (s * rest)

    def on_axis(self, b: Array, positive: bool) -> tuple[Array, Array, Array, Array]:
        """Return what `ExplicitPsi` does; what rounding does not tell from an end is taken from outside of it."""
        bands = np.array([band for band in self.log_intervals if band[0] < band[1]])
        if positive and bands.size:
            ends, out = bands.ravel(), np.tile([-1.0, 1.0], len(bands))
            with np.errstate(invalid="ignore"):
                off = np.abs(ends[:, None] + b)
                i, room = off.argmin(axis=0), _ROUNDING * (2 + np.abs(ends))
                b = np.where(off.min(axis=0) < room[i], -(ends + out * room)[i], b)
        return super().on_axis(b, positive)

    def mean_log(self, rows: list[ComplexArray]) -> ComplexArray:
        """Return E log(1 - zeta X) = E log(1 + e^y X)."""
        (y,), k = rows, np.arange(1, _TERMS + 1)
        far, near = self._beyond(y)
        out = np.empty(y.shape, dtype=complex)
        out[far] = _powers(-np.exp(y[far])) @ (self._at_infinity / k)
        edge = -math.log(_NEAR) - self.log_range[0]
        deepest = np.minimum(y.real, edge) + 1j * y.imag
        out[~far] = self.law._cauchy(_inverse(deepest[~far])).u + deepest[~far] - 1j * math.pi
        if near.any():  # U' = G is known from there on
            powers = [_powers(self._over_least(at)) for at in (y[near], deepest[near])]
            out[near] += float(self.mass) * (y[near].real - edge) + (powers[0] - powers[1]) @ (self._at_zero / k)
        return out

    def angles(self, rows: list[ComplexArray]) -> tuple[Array, Array]:
        """Return E arg(1 + e^y X) and E arg sigmoid(y + ln X) over X > 0."""
        first = self.mean_log(rows).imag
        return first, float(self.mass) * rows[0].imag - first


def _inverse(y: ComplexArray) -> ComplexArray:
    """Return z = 1/zeta = -e^-y, of which 0 <= Im z: not even a zero is negative."""
    return np.asarray(0.0 - exponential(-y))


def _powers(x: ComplexArray) -> ComplexArray:
    """Return x, x^2, ... of every x, as a row."""
    return np.asarray(x[:, None] ** np.arange(1, _TERMS + 1), dtype=complex)
