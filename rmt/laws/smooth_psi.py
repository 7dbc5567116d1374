"""The moment transform psi of the law of g(u)^2, u ~ N(0, variance), as sums over a contour clear of its poles."""

from __future__ import annotations

import math
from collections.abc import Hashable
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property, lru_cache
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from rmt.laws.batches import batches
from rmt.laws.contour import REACH, UNDER, Contour, contour, live_mass
from rmt.laws.contour_sums import ContourSums
from rmt.laws.local_slope import LocalSlope
from rmt.laws.logistic import log_upper, sigmoid_sums, sigmoids, softplus
from rmt.laws.normal_panels import panels, rough_and_fine
from rmt.laws.psi import Array, ComplexArray, ExplicitPsi, joined

_FAR = 600.0  # |ln e^y X| beyond which one end of the law decides
_FAR_ZERO = 100.0  # the same where the density of X begins like x^(-1/2); times the order of the zero of g
_REAL = 1e-13  # Im y on the negative axis, where psi is real
_PAST = 40.0  # ln of how far behind a value what lies there is seen no more
_THIN = 36.0  # logit of what is left of the law


class Function(Hashable, Protocol):
    """A function g of real and complex arrays, analytic between its kinks; hashable."""

    @property
    def kinks(self) -> tuple[float, ...]:
        """Where it is another function on either side."""

    def slope(self, u: NDArray[Any]) -> NDArray[Any]:
        """Return g(u)."""


@dataclass(frozen=True)
class SmoothPsi(ExplicitPsi):
    """psi of X = function.slope(u)^2: -sum W sigmoid(y + ln X) over the contour, zeta = -e^y.

    The law is cut at nine standard deviations of u, which leave out 2e-19 of it.

    Attributes
    ----------
    function : Function
        Whose `slope` is g.
    variance : float
        Of u.
    """

    function: Function
    variance: float

    @property
    def contour(self) -> Contour:
        """The law as weights on its contour."""
        return _contour(self.function, self.variance)

    @cached_property
    def _nodes(self) -> tuple[ComplexArray, ComplexArray, ComplexArray]:
        """Ln X, X, and its weights."""
        return self.contour.log_x, np.exp(self.contour.log_x), self.contour.weights

    @cached_property
    def _sums(self) -> ContourSums:
        return ContourSums(self.contour.log_x, self.contour.weights)

    @cached_property
    def _mirrored(self) -> ContourSums:
        """The sums of 1/X: sigmoid(-t) where that is small."""
        return ContourSums(-self.contour.log_x, self.contour.weights)

    @property
    def alive(self) -> bool:
        """Whether no slope is so small that it counts as zero, as far as u reaches; needs no contour."""
        u = REACH * math.sqrt(self.variance) * np.linspace(-1.0, 1.0, 31)
        return bool(np.all(np.abs(self.function.slope(u)) > UNDER))

    @cached_property
    def mass(self) -> Fraction:
        """The probability of a non-zero value."""
        if isinstance(self.function, LocalSlope):
            found = float(self.contour.weights.real.sum())
        else:
            found = live_mass(self.function.slope, self.function.kinks, self.variance)
        return Fraction(1) if abs(found - 1) < 1e-12 else Fraction(found)

    @cached_property
    def point_masses(self) -> tuple[tuple[Fraction, Fraction], ...]:
        """The atoms (x, mass) away from zero."""
        return tuple(sorted((Fraction(x), Fraction(mass)) for x, mass in self.contour.point_masses.items()))

    @property
    def _zero(self) -> bool:
        """Whether g has a zero, of some order p, where the density of X begins like x^(1/2p - 1)."""
        return self.contour.zero > 0

    @property
    def order(self) -> int:
        """The order of the zero of 1/S at w = -mass."""
        return (2 * self.contour.zero if self._zero else 1) - (self.mass == 1)

    @property
    def log_range(self) -> tuple[float, float]:
        """Ln of the least and the greatest value but zero."""
        return self.contour.low, self.contour.high

    @cached_property
    def log_intervals(self) -> list[tuple[float, float]]:
        """Ln of the values that its pieces take, and of its atoms."""
        points = [math.log(x) for x in self.contour.point_masses]
        return joined([*(piece.logs[::-1] for piece in self.contour.pieces), *zip(points, points, strict=True)], 0.0)

    @cached_property
    def end_odds(self) -> tuple[float, float]:
        """Ln |psi / (mass + psi)| at zeta = 1/x at both ends: finite where little of the law is near."""
        low, high = self.log_range
        ends = np.array([0.0 if self._zero else -low, -high]) + 1j * math.pi
        with np.errstate(divide="ignore", invalid="ignore"):
            bottom, top = np.nan_to_num(self.logit(ends)[0].real)
        return math.inf if self._zero else max(float(bottom), 0.0), min(float(top), 0.0)

    @property
    def deepest(self) -> float:
        """Where so little is near the lower end that the cut of u would decide: e^-36 of the law, eight deviations."""
        return _THIN if not self._zero and self.end_odds[0] > _THIN else math.inf

    def above(self, b: Array) -> Array:
        """Return P(X > e^-b), by u itself and not by the contour."""
        return self.contour.parts(-b, math.sqrt(self.variance))[1]

    @property
    def connected(self) -> bool:
        """Whether its values leave no gap."""
        return self.contour.connected

    @property
    def noise(self) -> float:
        """Relative error of psi beyond rounding: that of the contour."""
        return 3e-10

    def moments(self, n: int) -> Array:
        """Return the moments 1..n: averages over u, or over the contour where u turns too fast for them."""
        return _moments(self, n).copy()

    def logit(self, y: ComplexArray) -> tuple[ComplexArray, ComplexArray]:
        """Return logit(-psi / mass) and its derivative in y."""
        near, beyond = self._near(y)
        down, up, both = self._sums.sigmoids(near) if self._sums.shrinks else sigmoid_sums(near, *self._nodes)
        if (real := np.abs(y.imag) < _REAL).any():
            down, up, both = (np.where(real, part.real, part) for part in (down, up, both))
        odds = log_upper(up / down)  # but for the contour's error it is there
        return odds + beyond, (both / up) * (float(self.mass) / down)

    @property
    def axis_noise(self) -> float:
        """Error of s' - s (1 - s) that is not relative."""
        return super().axis_noise if self._sums.shrinks else 0.0

    def on_axis(self, b: Array, positive: bool) -> tuple[Array, Array, Array, Array]:
        """Return s = -psi / mass, 1 - s, s'(b) and s' - s (1 - s) = -Var sigmoid at real omega outside the law."""
        s, rest, slope, excess = super().on_axis(b, positive)
        y = b + np.complex128(1j * math.pi if positive else 0j)
        if not self._sums.shrinks:
            log_x, _, weights = self._nodes
            for part in batches(b.size, log_x.size):
                up, down = sigmoids(y[part, None] + log_x)
                low = (np.abs(s[part]) < np.abs(rest[part]))[:, None]
                spread = np.where(low, up - s[part, None], down - rest[part, None])
                found = -(spread**2 @ weights).real / float(self.mass)
                excess[part] = np.where(self._near(y[part])[1] == 0, found, excess[part])
        return s, rest, slope, excess

    def mean_log(self, rows: list[ComplexArray]) -> ComplexArray:
        """Return E log(1 - zeta X) = E log(1 + e^y X)."""
        (y,), (log_x, _, weights) = rows, self._nodes
        if self._sums.shrinks:
            return self._sums.softplus(y)
        found = np.empty(y.size, dtype=complex)
        for part in batches(y.size, log_x.size):
            found[part] = softplus(y[part, None] + log_x) @ weights
        return found

    def angles(self, rows: list[ComplexArray]) -> tuple[Array, Array]:
        """Return E arg(1 + e^y X) and E arg sigmoid(y + ln X) over X > 0; their sum is known, the smaller computed."""
        (y,), (log_x, _, weights) = rows, self._nodes
        near, beyond = self._near(y)
        rises = near.real + (weights @ log_x).real / float(self.mass) > 0
        small, sign = np.empty(y.size), np.where(rises, -1, 1)
        if self._sums.shrinks:
            small[~rises] = np.abs(self._sums.softplus(near[~rises]).imag)
            small[rises] = np.abs(self._mirrored.softplus(-near[rises]).imag)
        for part in [] if self._sums.shrinks else batches(y.size, log_x.size):
            small[part] = np.abs((softplus(sign[part, None] * (near[part, None] + log_x)) @ weights).imag)
        small *= np.exp(-np.abs(beyond))
        other = float(self.mass) * y.imag + (weights @ log_x).imag - small
        return np.where(rises, other, small), np.where(rises, small, other)

    def _near(self, y: ComplexArray) -> tuple[ComplexArray, Array]:
        """Return y moved to where the contour knows psi, and by how much its logit moves further on."""
        high, deepest, order = self.log_range[1], float(self._nodes[0].real.min()), self.contour.zero
        ends = (_PAST - piece.logs[1] for piece in self.contour.pieces if not piece.zero)  # where it ends at once
        bottom = max(_FAR_ZERO * order - high, -deepest, *ends) if order else _FAR - deepest
        near = np.clip(y.real, -_FAR - high, bottom)
        beyond = y.real - near
        return near + 1j * y.imag, np.where(beyond > 0, beyond / (2 * order or 1), beyond)


@lru_cache(maxsize=256)
def _contour(function: Function, variance: float) -> Contour:
    if isinstance(function, LocalSlope):
        return function.contour()
    return contour(function.slope, function.kinks, variance)


@lru_cache(maxsize=4096)
def _moments(psi: SmoothPsi, n: int) -> Array:
    """See `SmoothPsi.moments`."""
    scale = math.sqrt(psi.variance)

    def powers_at(z: Array) -> Array:
        return np.real(psi.function.slope(scale * z)) ** (2 * np.arange(1, n + 1)[:, None])

    with np.errstate(over="ignore", under="ignore"):
        rough, fine = (found.sum(axis=-1) for found in rough_and_fine(
            powers_at, panels(psi.function.kinks, scale)))
    if np.all(np.abs(rough - fine) <= 1e-13 * fine):
        return np.asarray(fine)
    powers = np.exp(np.outer(np.arange(1, n + 1), psi.contour.log_x))
    return np.asarray((powers @ psi.contour.weights).real)
