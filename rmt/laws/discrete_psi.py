"""The moment transform psi of a law with finitely many values, on the strip where it is a sum of sigmoids."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property

import numpy as np
from scipy.special import expit

from rmt.laws.batches import batches
from rmt.laws.logistic import angle_sums, log_upper, logistic, sigmoid_sums
from rmt.laws.psi import Array, ComplexArray, ExplicitPsi


@dataclass(frozen=True)
class DiscretePsi(ExplicitPsi):
    """psi_D(zeta) = sum p d zeta / (1 - d zeta) = -sum p sigmoid(y + ln d), zeta = -e^y.

    Attributes
    ----------
    values, weights : tuples
        The non-zero values d > 0, increasing, and their probabilities p (their sum may be under one:
        the rest is at zero).
    """

    values: tuple[Fraction, ...]
    weights: tuple[Fraction, ...]

    @property
    def algebraic(self) -> bool:
        """Whether it is psi of a finite law, or of a law that may be algebraic itself."""
        return True

    @cached_property
    def mass(self) -> Fraction:
        """The probability of a non-zero value."""
        return sum(self.weights, Fraction(0))

    @property
    def order(self) -> int:
        """The order of the zero of 1/S at w = -mass."""
        return int(self.mass < 1)

    @property
    def point_masses(self) -> tuple[tuple[Fraction, Fraction], ...]:
        """The atoms (x, mass) away from zero."""
        return tuple(zip(self.values, self.weights, strict=True))

    @cached_property
    def _d(self) -> Array:
        return np.array([float(d) for d in self.values])

    @cached_property
    def _log_d(self) -> Array:
        return np.log(self._d)

    @property
    def log_range(self) -> tuple[float, float]:
        """Ln of the least and the greatest non-zero value."""
        return float(self._log_d[0]), float(self._log_d[-1])

    @property
    def log_intervals(self) -> list[tuple[float, float]]:
        """Ln of the values."""
        return [(x, x) for x in self._log_d.tolist()]

    @cached_property
    def _p(self) -> Array:
        return np.array([float(p) for p in self.weights])

    @cached_property
    def _given(self) -> Array:
        return self._p / float(self.mass)

    def moments(self, n: int) -> Array:
        """Return the moments 1..n."""
        return np.exp(np.outer(np.arange(1, n + 1), self._log_d)) @ self._p

    def logit(self, y: ComplexArray) -> tuple[ComplexArray, ComplexArray]:
        """Return logit(-psi_D / mass) and its derivative in y: nearly linear, so Newton is quick."""
        far = y.real - np.minimum(np.maximum(y.real, -500), 500)
        rest, s, both = sigmoid_sums(y - far, self._log_d, self._d, self._given)
        return np.asarray(log_upper(s / rest) + far, dtype=complex), both / (s * rest)

    @property
    def axis_noise(self) -> float:
        """Error of s' - s (1 - s) that is not relative."""
        return 0.0

    def on_axis(self, b: Array, positive: bool) -> tuple[Array, Array, Array, Array]:
        """Return s = -psi / mass, 1 - s, s'(b) and s' - s (1 - s) = -Var sigmoid, in real numbers."""
        out = np.empty((4, b.size))
        for part in batches(b.size, self._log_d.size):
            out[:, part] = self._on_axis(b[part, None] + self._log_d, positive)
        return out[0], out[1], out[2], out[3]

    def _on_axis(self, z: Array, positive: bool) -> tuple[Array, Array, Array, Array]:
        with np.errstate(all="ignore"):
            up, down = (-1 / np.expm1(-z), -1 / np.expm1(z)) if positive else (expit(z), expit(-z))
            s, rest, slope = up @ self._given, down @ self._given, (up * down) @ self._given
            low = np.abs(s) < np.abs(rest)
            spread = np.where(low[:, None], up, down) - np.where(low, s, rest)[:, None]
        return s, rest, slope, -(spread**2 @ self._given)

    def mean_log(self, rows: list[ComplexArray]) -> ComplexArray:
        """Return E log(1 - zeta D) = sum p log(1 + e^(y + ln d))."""
        z = rows[0][..., None] + self._log_d
        return -logistic(z).log_rest @ self._p

    def angles(self, rows: list[ComplexArray]) -> tuple[Array, Array]:
        """Return E arg(1 + e^y D) and E arg sigmoid(y + ln D) over D > 0."""
        return angle_sums(rows[0], self._log_d, self._d, self._p)
