"""A piece of a slope: an interval on which |g| rises or falls, with ln g^2 and its rate in the complex plane."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.polynomial.polynomial import polyder, polyval
from numpy.typing import NDArray
from scipy.special import expit, ndtr

from rmt.laws.logistic import log_near_one

Array = NDArray[np.float64]
ComplexArray = NDArray[np.complex128]
Slope = Callable[[NDArray[Any]], NDArray[Any]]

_NARROW = 0.5
_HALVINGS = 60
_BESIDE = 1e-7  # of a zero's place: u nearer to it than this has lost digits of the distance
_NODE, _WEIGHT = np.polynomial.legendre.leggauss(12)
CIRCLE = np.exp(2j * np.pi * np.arange(64) / 64)
_CHANGE = 0.5  # of a slope, times itself, over the radius of a circle
_LEAST = 1 / 16  # of the radius of the piece
_NEAR = 1e-4
_STATIONARY = 1e-9  # of the second term of a series about an end: a first one below is rounding
ROUGH, _FINE = 8, 12  # points of such a circle: for a step to a root, and for a derivative to rounding


def normal_mass(low: Any, width: Any) -> Any:
    """Return P(low < z < low + width) of a standard normal z, digits kept in the tails and in a narrow interval."""
    low, width = np.broadcast_arrays(np.asarray(low, dtype=float), np.asarray(width, dtype=float))
    high = low + width
    with np.errstate(under="ignore"):
        z = low[..., None] + width[..., None] * (1 + _NODE) / 2
        narrow = width / 2 * (np.exp(-(z**2) / 2) @ _WEIGHT) / math.sqrt(2 * math.pi)
        wide = np.where(low < 0, ndtr(high) - ndtr(low), ndtr(-low) - ndtr(-high))
    return np.where(width < _NARROW, narrow, wide)[()]


@dataclass(frozen=True)
class Polynomial:
    """A slope given by its Taylor series about zero, lowest power first."""

    coefficients: tuple[float, ...]

    def __call__(self, u: NDArray[Any]) -> NDArray[Any]:
        """Return the slope at u."""
        return np.asarray(polyval(u, np.array(self.coefficients))) + 0 * u


@dataclass(frozen=True)
class Piece:
    """An interval of u on which g has one sign and |g| rises or falls.

    Attributes
    ----------
    slope : function
        g, of real or complex arrays.
    ends : tuple of float
        u at the greater and at the smaller |g|.
    kinks : tuple of bool
        Whether g is another function behind that end.
    zero : int
        The order of the zero of g at the second end; 0 where there is none.
    radius : float
        Over which g changes little against its size.
    """

    slope: Slope
    ends: tuple[float, float]
    kinks: tuple[bool, bool]
    zero: int
    radius: float

    @cached_property
    def logs(self) -> tuple[float, float]:
        """Ln g^2 at both ends."""
        top, bottom = (2 * math.log(abs(self._g(np.array([end + 0j]))[0])) if not (zero and self.zero) else -math.inf
                       for end, zero in zip(self.ends, (False, True), strict=True))
        return top, bottom

    def mass(self, scale: float) -> float:
        """Return the probability of the piece, u having this standard deviation."""
        low, high = sorted(end / scale for end in self.ends)
        return float(normal_mass(low, high - low))

    def parts(self, log: Array, scale: float) -> tuple[Array, Array, Array]:
        """Return P(ln g^2 <= log) and P(ln g^2 > log) of u on the piece, and the log density of ln g^2 there."""
        (top, bottom), (first, last) = self.logs, self.ends
        inside = (log > bottom) & (log < top)
        fall, over, density = np.zeros((3, log.size))
        ahead, behind, place = self._inverse(log[inside])
        turn = math.copysign(1.0, last - first)
        whole = self.mass(scale)
        fall[log >= top] = over[log <= bottom] = whole
        start, end = first / scale, last / scale
        over[inside] = normal_mass(np.where(turn > 0, start, start - ahead / scale), ahead / scale)
        fall[inside] = normal_mass(np.where(turn > 0, end - behind / scale, end), behind / scale)
        density[~inside] = -np.inf
        with np.errstate(divide="ignore", invalid="ignore"):
            rate = np.abs(self.rate(place.astype(complex)).real)
            if self.zero:
                rate = np.where(behind < _BESIDE * abs(last), 2 * self.zero / behind, rate)
            density[inside] = -((place / scale) ** 2) / 2 - math.log(math.sqrt(2 * math.pi) * scale) - np.log(rate)
        return fall, over, density

    def _inverse(self, log: Array) -> tuple[Array, Array, Array]:
        """Return how far u(ln g^2) is from the ends, the one with the greater |g| first, and u: by bisection."""
        (top, bottom), (first, last) = self.logs, self.ends
        width = last - first
        floor = max(_BESIDE * abs(last) / abs(width), 10.0 ** (-290 / self.zero)) if self.zero else 1e-300
        low, high = np.full(log.size, -690.0), np.full(log.size, -math.log(floor))

        def at(y: Array) -> tuple[Array, Array, Array]:
            ahead, behind = expit(y), expit(-y)
            return ahead, behind, np.where(y < 0, first + width * ahead, last - width * behind)

        near_top = top - log < log - bottom
        with np.errstate(all="ignore"):
            for _ in range(_HALVINGS):
                middle = (low + high) / 2
                u = at(middle)[2].astype(complex)
                over = self.below(u, 0).real > log - top
                if not self.zero:
                    over = np.where(near_top, over, self.below(u, 1).real > log - bottom)
                low, high = np.where(over, middle, low), np.where(over, high, middle)
        ahead, behind, u = at((low + high) / 2)
        if self.zero:  # nearer to a zero than u has digits ln g^2 is 2 p ln of the distance
            edge = at(np.array([-math.log(floor)]))
            beyond = log - (top + float(self.below(edge[2].astype(complex), 0).real[0]))
            behind = np.where(beyond < 0, edge[1] * np.exp(np.minimum(beyond, 0) / (2 * self.zero)), behind)
        return abs(width) * ahead, abs(width) * behind, u

    def below(self, u: ComplexArray, end: int) -> ComplexArray:
        """Return ln g(u)^2 less that at an end, with its own digits next to one where it is stationary."""
        out = 2 * np.log(self._g(u) * self._sign) - self.logs[end]
        series = self._series[end]
        if series.size:
            near = np.abs(u - self.ends[end]) < self.radius
            out[near] = polyval((u[near] - self.ends[end]) / (8 * self.radius), series)
        return np.asarray(out)

    def rate(self, u: ComplexArray, points: int = _FINE) -> ComplexArray:
        """Return d ln g^2 / du, by Cauchy's formula on a circle that meets no kink; for a step to a root, roughly."""
        room = [np.abs(u.real - end) / 2 for end, kink in zip(self.ends, self.kinks, strict=True) if kink]
        r, g = np.minimum.reduce([np.full(u.shape, self.radius), *room]), self._g(u)
        with np.errstate(all="ignore"):
            steep = np.abs(self._g(u + _NEAR * r) / g - 1) / _NEAR  # by how many times itself g changes over r
            r = r * np.clip(_CHANGE / steep, _LEAST, 1.0)
        circle = np.exp(2j * np.pi * np.arange(points) / points)
        out = 2 * (self._g(u[:, None] + r[:, None] * circle) @ circle.conj()) / (circle.size * r * g)
        for end, series in zip(self.ends, self._series, strict=True):
            if series.size:
                near = np.abs(u - end) < self.radius
                out[near] = polyval((u[near] - end) / (8 * self.radius), polyder(series)) / (8 * self.radius)
        return np.asarray(out)

    @cached_property
    def _sign(self) -> float:
        return float(np.sign(self._g(np.array([sum(self.ends) / 2 + 0j]))[0].real))

    @cached_property
    def _series(self) -> tuple[Array, ...]:
        """Coefficients of ln g^2 less that at an end, in units of 8 radii, where it is stationary; else empty."""
        found = []
        for end, kink, log in zip(self.ends, self.kinks, self.logs, strict=True):
            g = self._g(end + 8 * self.radius * CIRCLE) * self._sign
            series = np.zeros(0)
            if not kink and log > -math.inf and np.all(g.real > 0):
                terms = np.fft.fft(2 * np.log(g)).real[:18] / CIRCLE.size  # 8^-18 is left
                if abs(terms[1]) < _STATIONARY * np.abs(terms[2]):
                    series = np.r_[0.0, 0.0, terms[2:]]
            found.append(series)
        return tuple(found)

    def _g(self, u: ComplexArray) -> ComplexArray:
        """Return g(u) as it is on the piece, though rounding stepped over a kink."""
        (low, low_kink), (high, high_kink) = sorted(zip(self.ends, self.kinks, strict=True))
        real = np.clip(u.real, math.nextafter(low, math.inf) if low_kink else -math.inf,
                       math.nextafter(high, -math.inf) if high_kink else math.inf)
        return np.asarray(self.slope(real + 1j * u.imag), dtype=complex)


@dataclass(frozen=True)
class PolynomialPiece(Piece):
    """A piece of a polynomial: every difference from an end is a factor times a polynomial, and keeps its digits.

    So narrow laws have theirs, and a kink is no wall: the polynomial goes on behind it.
    """

    slope: Polynomial

    def below(self, u: ComplexArray, end: int) -> ComplexArray:
        """Return ln g(u)^2 less that at an end."""
        if end and self.zero:
            return super().below(u, end)
        quotient, at_end = self._quotients[end]
        gap = (u - self.ends[end]) * polyval(u - self.ends[end], quotient) / at_end
        near = np.abs(gap) < 0.5  # further away, as next to a zero, the polynomial itself has the digits
        out = super().below(u, end)
        out[near] = 2 * log_near_one(gap[near])
        return out

    def rate(self, u: ComplexArray, points: int = _FINE) -> ComplexArray:
        """Return d ln g^2 / du."""
        slopes = [polyval(u - end, polyder(np.r_[0.0, quotient]))
                  for end, (quotient, _) in zip(self.ends, self._quotients, strict=True)]
        if self.zero:  # where all terms but one vanish
            slopes[1] = polyval(u, polyder(np.array(self.slope.coefficients)))
        nearer = np.abs(u - self.ends[0]) <= np.abs(u - self.ends[1])
        return np.asarray(2 * np.where(nearer, *slopes) / self.slope(u))

    @cached_property
    def _quotients(self) -> tuple[tuple[Array, float], ...]:
        """(P(u) - P(e)) / (u - e) in powers of u - e, and P(e), of both ends e."""
        found = []
        for end in self.ends:
            rest, series = np.array(self.slope.coefficients), []
            for _ in range(rest.size):  # Horner's scheme, again and again: the Taylor series about e
                sums = [0.0]
                for term in rest[::-1]:
                    sums.append(sums[-1] * end + float(term))
                series.append(sums[-1])
                rest = np.array(sums[-2:0:-1])
            terms = np.array(series[1:])
            if terms.size > 1 and abs(terms[0]) < 1e-11 * abs(terms[1]):
                terms[0] = 0.0  # a maximum or a minimum, to rounding
            found.append((terms, series[0]))
        return tuple(found)
