"""The law of g(u)^2, u ~ N(0, q), as weights on a contour: averages over it without a pole on their way.

psi of X = g(u)^2 has poles where 1 + e^y X = 0: at Im ln X in [0, pi] for y on the strip of `psi.Psi`, or 2 pi k off
it. So ln X is integrated below the real line, as deep as half way to the next poles. On a piece where ln X is monotone,
from `top` to `bottom`, u is continued to

    ln X(s) = top - c [log(1 + e^s) - log(1 + e^(s - S))],   Im s = pi/2,   S = (top - bottom)/c,   0 < c <= 1,

which leaves both ends straight downward and keeps c pi/2 below the line between them. The trapezoidal rule in Re s then
converges like exp(-pi^2/step) at every y, next to an end too, be it a maximum of g^2, a kink or a zero. At a kink g
is another function behind, which u must not touch: Im s = pi/4 there, with half the step.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.polynomial.polynomial import polyder, polyval
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.special import ndtr

from rmt.laws.errors import ConvergenceError
from rmt.laws.logistic import sigmoids, softplus

Array = NDArray[np.float64]
ComplexArray = NDArray[np.complex128]
Slope = Callable[[NDArray[Any]], NDArray[Any]]

REACH = 9.0  # standard deviations of u; 2e-19 of the mass is outside
_UNDER = 1e-300  # |g| below counts as zero, as in a float64 network
_FLAT = 1e-7  # a stretch to infinity over which ln X moves less is a point mass
_STEP = 0.34  # exp(-pi^2/step) = 2.5e-13
_START = -26.0  # Re s at an end
_NEAR_ZERO = 32.0  # below top: next to a zero u0 of g, ln X = 2 ln|u - u0| + a constant to 1e-9
_DEEPEST = 80.0  # below that; e^-56 of the mass is left
_CIRCLE = np.exp(2j * np.pi * np.arange(64) / 64)
_NODE, _WEIGHT = np.polynomial.legendre.leggauss(40)
_SPECK = 1e-14  # a mass whose law does not matter
_NOTHING = 1e-21  # a weight at the end of all there is
_SETTLED = 1e-10  # of the moments 0 to 3: what is aimed at
_WRONG = 1e-7  # and what raises


class Contour(NamedTuple):
    """Ln X and its weights, complex but for point masses at the end; ln of the ends of X, -inf at a zero of g.

    `connected`: whether X takes every value between its ends.
    """

    log_x: ComplexArray
    weights: ComplexArray
    point_masses: dict[float, float]
    low: float
    high: float
    connected: bool


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
    zero : bool
        Whether g vanishes at the second end.
    radius : float
        Over which g changes little against its size.
    """

    slope: Slope
    ends: tuple[float, float]
    kinks: tuple[bool, bool]
    zero: bool
    radius: float

    @cached_property
    def logs(self) -> tuple[float, float]:
        """Ln g^2 at both ends."""
        top, bottom = (2 * math.log(abs(self._g(np.array([end + 0j]))[0])) if not (zero and self.zero) else -math.inf
                       for end, zero in zip(self.ends, (False, True), strict=True))
        return top, bottom

    def mass(self, scale: float) -> float:
        """Return the probability of the piece, u having this standard deviation."""
        return _mass(*sorted(end / scale for end in self.ends))

    def below(self, u: ComplexArray, end: int) -> ComplexArray:
        """Return ln g(u)^2 less that at an end, with its own digits next to one where it is stationary."""
        out = 2 * np.log(self._g(u) * self._sign) - self.logs[end]
        series = self._series[end]
        if series.size:
            near = np.abs(u - self.ends[end]) < self.radius
            out[near] = polyval((u[near] - self.ends[end]) / (8 * self.radius), series)
        return np.asarray(out)

    def rate(self, u: ComplexArray) -> ComplexArray:
        """Return d ln g^2 / du, by Cauchy's formula on a circle that meets no kink."""
        room = [np.abs(u.real - end) / 2 for end, kink in zip(self.ends, self.kinks, strict=True) if kink]
        r = np.minimum.reduce([np.full(u.shape, self.radius), *room])
        circle = _CIRCLE[::4]
        out = 2 * (self._g(u[:, None] + r[:, None] * circle) @ circle.conj()) / (circle.size * r * self._g(u))
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
            g = self._g(end + 8 * self.radius * _CIRCLE) * self._sign
            series = np.zeros(0)
            if not kink and log > -math.inf and np.all(g.real > 0):
                terms = np.fft.fft(2 * np.log(g)).real[:18] / _CIRCLE.size  # 8^-18 is left
                if abs(terms[1]) < 1e-11 * np.abs(terms[2]):
                    series = np.r_[0.0, 0.0, terms[2:]]
            found.append(series)
        return tuple(found)

    def _g(self, u: ComplexArray) -> ComplexArray:
        """Return g(u) as it is on the piece, though rounding stepped over a kink."""
        (low, low_kink), (high, high_kink) = sorted(zip(self.ends, self.kinks, strict=True))
        real = np.clip(u.real, math.nextafter(low, math.inf) if low_kink else -math.inf,
                       math.nextafter(high, -math.inf) if high_kink else math.inf)
        return np.asarray(self.slope(real + 1j * u.imag), dtype=complex)


def contour(slope: Slope, kinks: Sequence[float], variance: float) -> Contour:
    """Return the law of slope(u)^2, u of this variance.

    `slope` takes real and complex arrays; between its kinks it is analytic. Raises `ConvergenceError` where it cannot
    be continued.
    """
    scale = math.sqrt(variance)
    reach = REACH * scale
    half = np.unique(np.r_[np.linspace(0, reach, 400)[1:], np.geomspace(1e-3 * min(1.0, reach), reach, 200)])
    grid = np.r_[-half[::-1], half]
    even = set(kinks) == {-k for k in kinks} and np.array_equal(np.abs(slope(grid)), np.abs(slope(grid[::-1])))
    first, times = (0.0, 2) if even else (-reach, 1)
    ends = [first, *sorted(k for k in kinks if first < k < reach), reach]
    parts: list[tuple[ComplexArray, ComplexArray]] = []
    points, ranges, total = dict[float, float](), list[tuple[float, float]](), 0.0
    for left, right in itertools.pairwise(ends):
        u = np.r_[math.nextafter(left, right), grid[(grid > left) & (grid < right)], math.nextafter(right, left)]
        stretches, pieces = _cut(slope, u, (left in kinks, right in kinks), reach)
        for low, high in stretches:
            mass = times * _mass(low / scale, high / scale)
            u = low + (high - low) * (1 + _NODE) / 2
            share = _WEIGHT * np.exp((min(abs(low), abs(high)) ** 2 * (low * high > 0) - u**2) / (2 * variance))
            square = np.real(slope(u)) ** 2
            x = float(square[0] if np.ptp(square) == 0 else share @ square / share.sum())
            points[x] = points.get(x, 0.0) + mass
            total += mass
        for piece in pieces:
            log_x, weights = _on_piece(piece, scale)
            parts.append((log_x, times * weights))
            ranges.append(piece.logs[::-1])
            total += times * float(weights.real.sum())
    if not parts:
        raise ConvergenceError(f"slope: under {_UNDER:g} everywhere at variance {variance:.4g}: the law is zero")
    if abs(total - 1) > _WRONG:
        raise ConvergenceError(f"slope: {1 - total:.3g} of its mass is lost: does it vanish without a change of sign?")
    points = {x: mass for x, mass in points.items() if x > 0 and mass > 1e-16}
    ranges = sorted([*ranges, *((math.log(x), math.log(x)) for x in points)])
    highest = np.maximum.accumulate([high for _, high in ranges])
    connected = all(low <= high + _FLAT for (low, _), high in zip(ranges[1:], highest, strict=False))
    at = np.r_[*(log_x for log_x, _ in parts), np.log([*points] or np.zeros(0))]
    return Contour(at, np.r_[*(w for _, w in parts), [*points.values()]], points, ranges[0][0], float(highest[-1]),
                   connected)


def _cut(slope: Slope, u: Array, kinked: tuple[bool, bool],
         reach: float) -> tuple[list[tuple[float, float]], list[Piece]]:
    """Cut an interval into stretches on which g is constant and pieces on which it is monotone and not zero."""
    def value(v: float) -> float:
        return float(np.real(slope(np.array([v])))[0])

    def bend(v: float) -> float:
        return float(np.imag(slope(np.array([v + 1e-30j])))[0]) / 1e-30

    g, bends = np.real(slope(u)), np.imag(slope(u + 1e-30j)) / 1e-30
    if np.ptp(g) <= 1e-14 * np.max(np.abs(g)):
        return [(float(u[0]), float(u[-1]))], []
    alive: NDArray[np.bool_] = np.abs(g) > _UNDER
    stretches = []
    low, high = 0, u.size - 1
    for i, side in ((0, 1), (u.size - 1, -1)):  # flat toward infinity
        with np.errstate(all="ignore"):
            moved = np.abs(2 * np.log(np.abs(g / g[i])))[::side] > _FLAT
        steps = int(np.argmax(moved)) - 1
        if abs(u[i]) > 0.99 * reach and steps > 0 and alive[i]:
            j = i + side * steps
            stretches.append((float(min(u[i], u[j])), float(max(u[i], u[j]))))
            low, high = (j, high) if side == 1 else (low, j)
    ends = (u[0], u[-1])
    u, g, bends = (a[low : high + 1] for a in (u, g, bends))
    alive = alive[low : high + 1]
    zeros, cuts = set[float](), [float(u[0]), float(u[-1])]
    live = alive[1:] & alive[:-1]
    for values, f in ((g, value), (bends, bend)):
        change = np.flatnonzero((np.sign(values[:-1]) * np.sign(values[1:]) < 0) & live)
        found = [brentq(f, u[i], u[i + 1], xtol=1e-300, rtol=1e-15) for i in change]
        inside = 1 + np.flatnonzero((values[1:-1] == 0) & (alive[:-2] & alive[2:]))
        found += [float(x) for x in u[inside]]
        zeros |= set(found) if values is g else set()
        cuts += found
    for i in (0, -1):
        if u[i] == ends[i] and abs(u[i]) < 0.99 * reach and not alive[i] and alive[1 if i == 0 else -2]:
            zeros, alive[i] = zeros | {float(u[i])}, True  # at a kink, or in the middle of an even slope
    last = {float(u[i] if alive[i] else u[i + 1]) for i in np.flatnonzero(alive[1:] != alive[:-1])}
    cuts += last
    if not bends.any():
        raise _not_analytic(u[0], u[-1])
    radius = 0.05 * min(1.0, float(np.max(np.abs(g)) / np.max(np.abs(bends))))
    pieces = []
    for left, right in itertools.pairwise(sorted(set(cuts))):
        dead = [abs(value(u)) < _UNDER and u not in zeros for u in (left, (left + right) / 2, right)]
        if dead[1] or ({left, right} & last and any(dead)):
            stretches.append((left, right))
        if right - left < 1e-12 * reach or any(dead):
            continue
        sides, kinks = (left, right), (kinked[0] and left == ends[0], kinked[1] and right == ends[1])
        if right in zeros or (left not in zeros and abs(value(left)) > abs(value(right))):
            pieces.append(Piece(slope, sides, kinks, right in zeros, radius))
        else:
            pieces.append(Piece(slope, sides[::-1], kinks[::-1], left in zeros, radius))
    return stretches, pieces


def _on_piece(piece: Piece, scale: float) -> tuple[ComplexArray, ComplexArray]:
    """Return ln X and weights on the contour of a piece, checked by its mass and its part of three moments."""
    mass = piece.mass(scale)
    if mass < _SPECK:
        middle = piece.below(np.array([sum(piece.ends) / 2 + 0j]), 0)
        return piece.logs[0] + middle, np.array([mass + 0j])
    low, high = np.clip(sorted(piece.ends), -REACH * scale, REACH * scale)
    panels = np.linspace(low, high, 61)
    u = (panels[:-1, None] + np.diff(panels)[:, None] * (1 + _NODE) / 2).ravel()
    p = np.exp(-((u / scale) ** 2) / 2) / (math.sqrt(2 * math.pi) * scale)
    p *= (np.diff(panels)[:, None] * _WEIGHT / 2).ravel()
    log = piece.below(u.astype(complex), 0).real
    share = p / p.sum()
    powers = np.arange(4.0)[:, None]  # of X over its top
    moments = np.exp(powers * log) @ p
    moments[0] = mass
    c = min(1.0, math.sqrt(float(share @ (log - share @ log) ** 2)))
    best = math.inf
    for _ in range(8):
        with np.errstate(all="ignore"):
            below, weights = _trapezoid(piece, scale, c)
            off = float(np.max(np.abs(np.exp(powers * below) @ weights - moments)))
            off = off if np.abs(weights).sum() < 4 * mass else math.inf
        if off < best:
            best, found = off, (piece.logs[0] + below, weights * (mass / weights.sum()))
        if off < _SETTLED * mass + 1e-18:
            break
        c /= 2
    if best > _WRONG * mass + _SPECK:
        raise _not_analytic(*piece.ends)
    return found


def _not_analytic(low: float, high: float) -> ConvergenceError:
    return ConvergenceError(f"slope: not analytic between {min(low, high):.6g} and {max(low, high):.6g}: does it bend "
                            "there (name it in kinks=), vanish like a power, or not take complex arrays?")


def _trapezoid(piece: Piece, scale: float, c: float) -> tuple[ComplexArray, ComplexArray]:
    """Return ln X less its top and the weights on the contour of depth c."""
    turn, step = (math.pi / 4, _STEP / 2) if any(piece.kinks) else (math.pi / 2, _STEP)
    length = (piece.logs[0] - piece.logs[1]) / c
    sigma = np.arange(_START, _DEEPEST + _NEAR_ZERO / c if piece.zero else length - _START, step)
    exact = sigma < _NEAR_ZERO / c if piece.zero else np.ones(sigma.size, dtype=bool)
    upper = sigma < length / 2  # counted from the nearer end

    def path(s: ComplexArray) -> tuple[ComplexArray, ComplexArray]:
        if piece.zero:  # below there the depth grows to pi/2
            then = s - _NEAR_ZERO / c
            return (-c * softplus(s) - (1 - c) * softplus(then),
                    -c * sigmoids(s)[0] - (1 - c) * sigmoids(then)[0])
        rest, near, far = -math.expm1(-length), sigmoids(s), sigmoids(length - s)
        ahead, other = np.where(upper, s, length - s), np.where(upper, far[0], near[0])
        log = np.where(ahead.real < 40, np.log1p(rest * other * np.exp(np.minimum(ahead.real, 40) + 1j * ahead.imag)),
                       ahead + np.log(rest * other))
        return np.where(upper, -c, c) * log, -c * rest * near[0] * far[0]

    def log_square(u: ComplexArray) -> ComplexArray:
        return piece.below(u, 0) if piece.zero else np.where(upper, piece.below(u, 0), piece.below(u, 1))

    u = _inverse(piece, path(sigma.astype(complex))[0].real, upper).astype(complex)
    for share, steps in ((0.25, 2), (0.5, 2), (0.75, 2), (1.0, 10)):
        goal, rate = path(sigma + np.complex128(1j * turn * share))
        for _ in range(steps):
            move = (log_square(u) - goal) / piece.rate(u)
            u = np.asarray(u - move)
            if np.all(np.abs(move) < 1e-15 * (scale + np.abs(u))):
                break
    density = np.exp(-((u / scale) ** 2) / 2) / (math.sqrt(2 * math.pi) * scale)
    weights = density * rate / piece.rate(u) * step * np.sign(piece.ends[1] - piece.ends[0])
    below = np.where(upper, 0.0, piece.logs[1] - piece.logs[0] if not piece.zero else 0.0) + goal
    last = int(np.flatnonzero(exact)[-1])
    tail = slice(last + 1, None)
    weights[tail] = weights[last] / rate[last] * rate[tail] * np.exp((below[tail] - below[last]) / 2)
    for i, j in ((0, 1), (-1, -2)):  # what is left at an end falls off like a power: a geometric series
        if 0 < abs(weights[i]) < abs(weights[j]):
            weights[i] += weights[i] ** 2 / (weights[j] - weights[i])
    if not piece.zero:
        kept = np.flatnonzero(np.abs(weights) > _NOTHING)
        below, weights = below[kept[0] : kept[-1] + 1], weights[kept[0] : kept[-1] + 1]
    return below, weights


def _mass(low: float, high: float) -> float:
    """Return P(low < z < high) of a standard normal z."""
    return float(ndtr(high) - ndtr(low) if low < 0 else ndtr(-low) - ndtr(-high))


def _inverse(piece: Piece, log: Array, upper: NDArray[np.bool_]) -> Array:
    """Return u, about, where ln g^2 less that at the nearer end (`upper`: the greater) is as given: Newton's start."""
    width = piece.ends[1] - piece.ends[0]
    distance = np.geomspace(1e-13, 0.5, 300)
    out = np.empty(log.size)
    for end, sign, here in ((0, 1, upper), (1, -1, ~upper)):
        u = piece.ends[end] + sign * width * np.r_[distance, 1 - distance[-2::-1]]
        at = np.abs(piece.below(u.astype(complex), end).real) if not (piece.zero and end) else None
        if at is not None and here.any():
            keep = np.r_[True, np.diff(np.maximum.accumulate(at)) > 0] & (at > 0)
            out[here] = np.exp(np.interp(np.log(np.abs(log[here])), np.log(at[keep]),
                                         np.log(np.abs(u - piece.ends[end])[keep])))
            out[here] = piece.ends[end] + sign * math.copysign(1, width) * out[here]
    return out
