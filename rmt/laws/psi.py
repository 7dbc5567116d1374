"""The moment transform psi_X(zeta) = E zeta X / (1 - zeta X) of a law without a closed S-transform."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable
from fractions import Fraction
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from rmt.laws import series
from rmt.laws.errors import ConvergenceError

Array = NDArray[np.float64]
ComplexArray = NDArray[np.complex128]
BoolArray = NDArray[np.bool_]

_NEAR, _TERMS = -6.0, 8  # ln |zeta X| under which the series of S has every digit


def joined(intervals: Iterable[tuple[float, float]], room: float) -> list[tuple[float, float]]:
    """Return intervals in order, those as one that are no further apart than `room`."""
    out = list[tuple[float, float]]()
    for low, high in sorted(intervals):
        if out and low <= out[-1][1] + room:
            low, high = out[-1][0], max(high, out.pop()[1])
        out.append((low, high))
    return out


class Psi(ABC):
    """psi of a law on x >= 0 as a factor of a master curve; hashable, equal where the laws are.

    It is known by rows of numbers on the strip 0 <= Im <= pi, the first of which is y, zeta = -e^y.
    """

    @property
    @abstractmethod
    def mass(self) -> Fraction:
        """The probability of a non-zero value."""

    @property
    @abstractmethod
    def point_masses(self) -> tuple[tuple[Fraction, Fraction], ...]:
        """The atoms (x, mass) away from zero."""

    @property
    @abstractmethod
    def order(self) -> Fraction | int:
        """The order of the zero of 1/S at w = -mass."""

    @property
    def deepest(self) -> float:
        """The logit of -psi / mass up to which it has digits; beyond, the rows are straight lines."""
        return math.inf

    @property
    def algebraic(self) -> bool:
        """Whether it is psi of a finite law, or of a law that may be algebraic itself."""
        return False

    @property
    def connected(self) -> bool:
        """Whether the law is known to have no gap between its ends."""
        return False

    @property
    def noise(self) -> float:
        """Relative error of psi beyond rounding."""
        return 0.0

    @property
    def explicit(self) -> ExplicitPsi | None:
        """The same as a function of y alone, if it is one: by that its gaps are known."""
        return None

    @abstractmethod
    def moments(self, n: int) -> Array:
        """Return the moments 1..n."""

    # ---- by rows ---------------------------------------------------------------------------------------------

    @property
    @abstractmethod
    def rows(self) -> int:
        """How many rows there are, y the first."""

    @abstractmethod
    def correction(self, rows: list[ComplexArray], goal: ComplexArray,
                   goal_slope: ComplexArray) -> tuple[list[ComplexArray], list[ComplexArray], ComplexArray]:
        """Return Newton's steps in the rows toward logit(-psi / mass) = goal, their slopes given that of the goal.

        And the slope of the logit in y.
        """

    def valid(self, inner: list[ComplexArray]) -> BoolArray | bool:
        """Return where the rows behind y are those of a root, not of one on another sheet."""
        return True

    @abstractmethod
    def real_rows(self, log_odds: Array, tolerance: float) -> list[Array]:
        """Return the rows on the negative axis, where ln |s / (1 - s)| = log_odds, s = -psi / mass."""

    @abstractmethod
    def mean_log(self, rows: list[ComplexArray]) -> ComplexArray:
        """Return E log(1 - zeta X) = E log(1 + e^y X)."""

    @abstractmethod
    def angles(self, rows: list[ComplexArray]) -> tuple[Array, Array]:
        """Return E arg(1 + e^y X) and E arg sigmoid(y + ln X) over X > 0: each is small where its end is near."""


class ExplicitPsi(Psi):
    """psi as a function of y, the only row."""

    rows = 1

    @property
    def explicit(self) -> ExplicitPsi:
        """Itself."""
        return self

    @property
    @abstractmethod
    def log_range(self) -> tuple[float, float]:
        """Ln of the least and the greatest value but zero."""

    @property
    def end_odds(self) -> tuple[float, float]:
        """Ln |psi / (mass + psi)| at zeta = 1/x at both ends: 0 where psi is infinite, inf at x = 0."""
        return (math.inf if self.log_range[0] == -math.inf else 0.0), 0.0

    @property
    @abstractmethod
    def log_intervals(self) -> list[tuple[float, float]]:
        """Ln of the intervals that carry the law but for zero, increasing; that of an atom has no length."""

    def above(self, b: Array) -> Array:
        """Return P(X > e^-b) at places outside the law."""
        return np.asarray(self.angles([b + np.complex128(1j * math.pi)])[0] / math.pi)

    @property
    def axis_noise(self) -> float:
        """Error of s' - s (1 - s), over s', that is not relative."""
        return 1e-14 + self.noise

    def on_axis(self, b: Array, positive: bool) -> tuple[Array, Array, Array, Array]:
        """Return s = -psi / mass, 1 - s, s'(b) and s' - s (1 - s) at real omega = 1/zeta = +-e^-b outside the law."""
        found, slope, steeper = self.steepness(b + np.complex128(1j * math.pi if positive else 0j))
        odds, outside = found.real, np.abs(found.imag) > math.pi / 2
        with np.errstate(all="ignore"):
            s, rest = (np.where(outside, -1 / np.expm1(-side), expit(side)) for side in (odds, -odds))
            ds, excess = s * rest * slope.real, s * rest * steeper.real
        far = b < _NEAR - self.log_range[1]
        if far.any() and np.isfinite(self._log_inverse_s).all():  # there it is a difference without digits
            n = np.arange(1, _TERMS)
            excess[far] = -s[far] * rest[far] * ds[far] * ((-s[far, None]) ** (n - 1) @ (n * self._log_inverse_s[1:]))
        return s, rest, ds, excess

    @cached_property
    def _log_inverse_s(self) -> Array:
        """The series of log(1/S) of the law given a value that is not zero."""
        with np.errstate(all="ignore"):
            return series.log_inverse_s(self.moments(_TERMS) / float(self.mass))

    @abstractmethod
    def logit(self, y: ComplexArray) -> tuple[ComplexArray, ComplexArray]:
        """Return logit(-psi / mass) and its derivative in y: nearly linear, so Newton is quick."""

    def steepness(self, y: ComplexArray) -> tuple[ComplexArray, ComplexArray, ComplexArray]:
        """Return logit(-psi / mass), its derivative in y, and that less one, with its own digits if it can be."""
        found, slope = self.logit(y)
        return found, slope, slope - 1

    def correction(self, rows: list[ComplexArray], goal: ComplexArray,
                   goal_slope: ComplexArray) -> tuple[list[ComplexArray], list[ComplexArray], ComplexArray]:
        """Return one step of Newton in y."""
        logit, slope = self.logit(rows[0])
        return [(goal - logit) / slope], [goal_slope / slope], slope

    def real_rows(self, log_odds: Array, tolerance: float) -> list[Array]:
        """Return y on the negative axis."""
        return [self.real_root(log_odds, tolerance=tolerance)]

    def real_root(self, log_odds: Array, above: Array | float = -np.inf, below: Array | float = np.inf,
                  tolerance: float = 1e-13) -> Array:
        """Return the real part b of y with ln |s / (1-s)| = log_odds, s = -psi / mass, by bracketed Newton.

        The odds are an average of e^b x, so they rise with b; on the negative zeta axis b is any number
        (y = b), for psi > 0 it lies below -ln max x and for psi < -mass above -ln min x (y = b + i pi).
        """
        low, high = self.log_range
        far = log_odds - low if low > -math.inf else (2 + float(self.order)) * np.abs(log_odds) + 100  # a hard edge
        left, right = np.maximum(log_odds - high - 1e-9, above), np.minimum(far + 1e-9, below)
        turn = 1j * np.pi * ((np.asarray(above) > -np.inf) | (np.asarray(below) < np.inf))
        while low == -math.inf and (short := (right < below) & (self.logit(right + turn)[0].real < log_odds)).any():
            right = np.where(short, np.minimum(2 * right, below), right)  # a law that is thin there
        b = log_odds - math.log(float(self.moments(1)[0]) / float(self.mass))
        b = np.where((b > left) & (b < right), b, (left + right) / 2)  # at its ends psi may have poles
        for _ in range(100):
            found, slope = self.logit(b + turn)
            miss = log_odds - found.real
            left, right = np.where(miss > 0, b, left), np.where(miss < 0, b, right)
            with np.errstate(divide="ignore", invalid="ignore"):
                new = b + miss / slope.real
            new = np.where((new > left) & (new < right), new, (left + right) / 2)
            if np.all(np.abs(new - b) <= tolerance * (1 + np.abs(b))):
                return np.asarray(new)
            b = new
        raise ConvergenceError(f"psi of {self!r}: no real root")
