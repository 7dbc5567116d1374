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
from fractions import Fraction
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq

from rmt.laws.errors import ConvergenceError
from rmt.laws.logistic import sigmoids, softplus
from rmt.laws.slope_piece import ROUGH, Array, ComplexArray, Piece, Polynomial, PolynomialPiece, Slope, normal_mass

REACH = 9.0  # standard deviations of u; 2e-19 of the mass is outside
UNDER = 1e-300  # |g| below counts as zero, as in a float64 network
FLAT = 1e-7  # a stretch over which ln X moves less is a point mass
_STEP = 0.34  # exp(-pi^2/step) = 2.5e-13
_START = -26.0  # Re s at an end
_NEAR_ZERO = 32.0  # below top: next to a zero u0 of g, ln X = 2 ln|u - u0| + a constant to 1e-9 (this times the order)
_DEEPEST = 80.0  # below that; e^-56 of the mass is left (likewise)
_TURNS = 40.0  # |u| up to which a slope may turn; beyond it changes by powers
_TOUCHES = 1e-11  # |g| at a minimum, over its size beside it, that is a zero
_LONGEST = 10_000  # nodes of a contour next to the real line: there is nothing to be gained by more
_AT_KINK = 1e-8  # a turn so near to a kink is at it, but for rounding
_MANY = 250  # turns of a slope between two kinks
_NODE, _WEIGHT = np.polynomial.legendre.leggauss(40)
_NO_MASS = 1e-14  # what is left out, of all that is not zero
_NOTHING = 1e-21  # a weight at the end of all there is
_SETTLED = 1e-10  # of the moments 0 to 3: what is aimed at
_ALIKE = 1e-9  # and of each of them against itself
_WRONG = 1e-7  # what raises


class Contour(NamedTuple):
    """Ln X and its weights, complex but for point masses at the end; ln of the ends of X, -inf at a zero of g.

    `connected`: whether X takes every value between its ends. `zero`: the highest order of a zero of g, 0 without one.
    `pieces`: where g is monotone, each of them `times` times.
    """

    log_x: ComplexArray
    weights: ComplexArray
    point_masses: dict[float, float]
    low: float
    high: float
    connected: bool
    zero: int
    pieces: tuple[Piece, ...]
    times: int

    def parts(self, log: Array, scale: float) -> tuple[Array, Array, Array]:
        """Return P(0 < X <= e^log), P(X > e^log) and the density of ln X, by u, of this deviation, itself."""
        lower, upper, density = np.zeros((3, log.size))
        for piece in self.pieces:
            fall, over, log_density = piece.parts(log, scale)
            lower += self.times * fall
            upper += self.times * over
            with np.errstate(over="ignore"):
                density += self.times * np.exp(log_density)
        for x, mass in self.point_masses.items():
            lower += mass * (math.log(x) <= log)
            upper += mass * (math.log(x) > log)
        return lower, upper, density


class Branch(NamedTuple):
    """One formula of a slope, from a low to a high u, and whether it is another one behind either end."""

    slope: Slope
    low: float
    high: float
    kinked: tuple[bool, bool] = (False, False)


def contour(slope: Slope, kinks: Sequence[float], variance: float) -> Contour:
    """Return the law of slope(u)^2, u of this variance.

    `slope` takes real and complex arrays; between its kinks it is analytic. Raises `ConvergenceError` where it cannot
    be continued.
    """
    return branched(*_branches(slope, kinks, variance))


def _branches(slope: Slope, kinks: Sequence[float], variance: float) -> tuple[list[Branch], float, int]:
    """Return the branches of a slope between its kinks, the variance, and 2 where one side of an even one will do."""
    reach = REACH * math.sqrt(variance)
    points = grid(reach)
    even = set(kinks) == {-k for k in kinks} and np.array_equal(np.abs(slope(points)), np.abs(slope(points[::-1])))
    first = 0.0 if even else -reach
    ends = [first, *sorted(k for k in kinks if first < k < reach), reach]
    return ([Branch(slope, low, high, (low in kinks, high in kinks)) for low, high in itertools.pairwise(ends)],
            variance, 2 if even else 1)


def branched(branches: Sequence[Branch], variance: float, times: int = 1) -> Contour:
    """Return the law of a slope given by branches side by side, u of this variance; `times` 2 if it is even."""
    scale = math.sqrt(variance)
    points, pieces, live = _divided(branches, variance, times)
    ranges, zeros = list[tuple[float, float]](), [0]
    parts: list[tuple[ComplexArray, ComplexArray]] = []
    kept = [piece for piece in pieces if times * piece.mass(scale) >= _NO_MASS * live]
    for piece in kept:
        log_x, weights = _on_piece(piece, scale, live / times)
        parts.append((log_x, live * weights))
        ranges.append(piece.logs[::-1])
        zeros.append(piece.zero)
    points = {x: mass for x, mass in points.items() if mass > _NO_MASS * live}
    ranges = sorted([*ranges, *((math.log(x), math.log(x)) for x in points)])
    highest = np.maximum.accumulate([high for _, high in ranges])
    connected = all(low <= high for (low, _), high in zip(ranges[1:], highest, strict=False))
    at = np.r_[*(log_x for log_x, _ in parts), np.log([*points] or np.zeros(0))]
    return Contour(at, np.r_[*(w for _, w in parts), [*points.values()]], points, ranges[0][0], float(highest[-1]),
                   connected, max(zeros), tuple(kept), times)


def live_mass(slope: Slope, kinks: Sequence[float], variance: float) -> float:
    """Return the probability of a slope that does not count as zero, u of this variance: no contour is needed."""
    return _divided(*_branches(slope, kinks, variance))[2]


def _divided(branches: Sequence[Branch], variance: float, times: int) -> tuple[dict[float, float], list[Piece], float]:
    """Return the point masses that are not at zero, the pieces, and the mass of both."""
    scale = math.sqrt(variance)
    points, total, pieces = dict[float, float](), 0.0, list[Piece]()
    for branch in branches:
        stretches, more = _cut(branch, REACH * scale)
        pieces += more
        for low, high in stretches:
            mass = times * float(normal_mass(low / scale, (high - low) / scale))
            x = float(mean_square(branch.slope, low, high, variance))
            points[x] = points.get(x, 0.0) + mass
            total += mass
    inside = times * math.fsum(piece.mass(scale) for piece in pieces)
    live, total = inside + math.fsum(mass for x, mass in points.items() if x > 0), total + inside
    points.pop(0.0, None)
    if not live:
        raise ConvergenceError(f"slope: under {UNDER:g} everywhere at variance {variance:.4g}: the law is zero")
    if abs(total - 1) > _WRONG:
        raise ConvergenceError(f"slope: {1 - total:.3g} of its mass is lost: does it vanish without a change of sign?")
    return points, pieces, live


def grid(reach: float) -> Array:
    """Return points of u on both sides of zero: close where a slope turns, at lengths of 1, and out to the reach."""
    near = min(reach, _TURNS)
    half = [np.linspace(0, near, 400)[1:], np.geomspace(1e-3 * min(1.0, reach), near, 200)]
    if reach > near:
        many = 200 + math.ceil(40 * math.log10(reach / near))
        half += [np.geomspace(near, reach, many), np.linspace(near, reach, 400)]
    whole = np.unique(np.concatenate(half))
    return np.r_[-whole[::-1], whole]


def mean_square(slope: Slope, low: float, high: float, variance: float) -> Fraction:
    """Return E g(u)^2 between low and high; exact where g is constant."""
    u = low + (high - low) * (1 + _NODE) / 2
    scale = math.sqrt(variance) or 1.0
    share = _WEIGHT * np.exp(((min(abs(low), abs(high)) / scale) ** 2 * (low * high > 0) - (u / scale) ** 2) / 2)
    g = np.real(slope(u))
    return Fraction(float(g[0])) ** 2 if np.ptp(g) == 0 else Fraction(float(share @ g**2 / share.sum()))


def _cut(branch: Branch, reach: float) -> tuple[list[tuple[float, float]], list[Piece]]:
    """Cut a branch into stretches on which g is constant and pieces on which it is monotone and not zero."""
    slope, left, right, kinked = branch
    points = grid(reach)
    points = points[(points > left) & (points < right)]
    u = np.r_[math.nextafter(left, right), points, math.nextafter(right, left)]

    aside = 1e-9 * min(1.0, reach)  # whose square is nothing; times a slope of 1e-296 it is a number yet

    def value(v: float) -> float:
        return float(np.real(slope(np.array([v])))[0])

    def bend(v: float) -> float:
        return float(np.imag(slope(np.array([v + 1j * aside])))[0]) / aside

    g, bends = np.real(slope(u)), np.imag(slope(u + 1j * aside)) / aside
    if np.ptp(g) <= FLAT / 2 * np.max(np.abs(g)):
        return [(float(u[0]), float(u[-1]))], []
    alive: NDArray[np.bool_] = np.abs(g) > UNDER
    span = min(1.0, float(np.ptp(2 * np.log(np.abs(g[alive]))))) if alive.any() else 1.0
    stretches = []
    low, high = 0, u.size - 1
    for i, side in ((0, 1), (u.size - 1, -1)):  # flat toward infinity
        with np.errstate(all="ignore"):
            moved = np.abs(2 * np.log(np.abs(g / g[i])))[::side] > FLAT * span
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
    size = float(np.max(np.abs(g)))
    for values, f in ((g, value), (bends, bend)):
        change = np.flatnonzero((np.sign(values[:-1]) * np.sign(values[1:]) < 0) & live)
        if change.size > _MANY:
            raise ConvergenceError(f"slope: it turns {change.size} times between {u[0]:.4g} and {u[-1]:.4g}, and more "
                                   f"than {_MANY} times are too many: does it oscillate, or lose its digits there?")
        found = [(brentq(f, u[i], u[i + 1], xtol=1e-300, rtol=1e-15), g[i]) for i in change]
        inside = 1 + np.flatnonzero((values[1:-1] == 0) & (alive[:-2] & alive[2:]))
        found += zip(u[inside].tolist(), g[inside - 1], strict=True)
        zeros |= {x for x, beside in found if values is g or abs(value(x)) < _TOUCHES * abs(beside)}
        at_kink = [end for end, kink in zip((left, right), kinked, strict=True) if kink and values is bends]
        cuts += [x for x, _ in found if not any(abs(x - end) < _AT_KINK * min(1.0, reach) for end in at_kink)]
    for i in (0, -1):
        if u[i] == ends[i] and abs(u[i]) < 0.99 * reach and not alive[i] and alive[1 if i == 0 else -2]:
            zeros, alive[i] = zeros | {float(u[i])}, True  # at a kink, or in the middle of an even slope
    last = {_last(value, float(u[i if alive[i] else i + 1]), float(u[i + 1 if alive[i] else i]))
            for i in np.flatnonzero(alive[1:] != alive[:-1])}
    cuts += last
    if not bends.any():
        raise _not_analytic(u[0], u[-1])
    radius = 0.05 * min(1.0, float(size / np.max(np.abs(bends))))
    pieces = []
    for left, right in itertools.pairwise(sorted(set(cuts))):
        dead = [abs(value(u)) < UNDER and u not in zeros for u in (left, (left + right) / 2, right)]
        if dead[1] or ({left, right} & last and any(dead)):
            stretches.append((left, right))
        if right - left < 1e-12 * max(abs(left), abs(right)) or any(dead):
            continue
        sides, kinks = (left, right), (kinked[0] and left == ends[0], kinked[1] and right == ends[1])
        if right in zeros or (left not in zeros and abs(value(left)) > abs(value(right))):
            order = _order(slope, right, min(right - left, radius)) if right in zeros else 0
            pieces.append(_piece(slope, sides, kinks, order, radius))
        else:
            order = _order(slope, left, -min(right - left, radius)) if left in zeros else 0
            pieces.append(_piece(slope, sides[::-1], kinks[::-1], order, radius))
    return stretches, pieces


def _last(value: Callable[[float], float], alive: float, dead: float) -> float:
    """Return the last place at which |g| is more than counts as zero, by bisection."""
    while alive != (middle := (alive + dead) / 2) != dead and abs(dead - alive) > 1e-14 * abs(dead):
        alive, dead = (middle, dead) if abs(value(middle)) > UNDER else (alive, middle)
    return alive


def _piece(slope: Slope, ends: tuple[float, float], kinks: tuple[bool, bool], zero: int, radius: float) -> Piece:
    if isinstance(slope, Polynomial):
        return PolynomialPiece(slope, ends, kinks, zero, radius)
    return Piece(slope, ends, kinks, zero, radius)


def _order(slope: Slope, zero: float, room: float) -> int:
    """Return the order of a zero of g, which must be a whole number."""
    near = np.real(slope(zero - room * np.array([1e-2, 1e-2 / 2])))
    power = math.log2(abs(near[0] / near[1])) if near.all() else 0.0
    if round(power) < 1 or abs(power - round(power)) > 0.1:
        raise _not_analytic(zero - room, zero)
    return round(power)


def _on_piece(piece: Piece, scale: float, live: float) -> tuple[ComplexArray, ComplexArray]:
    """Return ln X and weights over `live`, on the contour of a piece, checked by its mass and part of three moments."""
    mass = piece.mass(scale) / live
    low, high = np.clip(sorted(piece.ends), -REACH * scale, REACH * scale)
    panels = np.linspace(low, high, 61)
    u = (panels[:-1, None] + np.diff(panels)[:, None] * (1 + _NODE) / 2).ravel()
    p = np.exp(-((u / scale) ** 2) / 2) / (math.sqrt(2 * math.pi) * scale * live)
    p *= (np.diff(panels)[:, None] * _WEIGHT / 2).ravel()
    log = piece.below(u.astype(complex), 0).real
    share = p / p.sum()
    powers = np.arange(4.0)[:, None]  # of X over its top
    moments = np.exp(powers * log) @ p
    moments[0] = mass
    c = min(1.0, math.sqrt(float(share @ (log - share @ log) ** 2)))
    best = closest = math.inf
    for _ in range(8):
        with np.errstate(all="ignore"):
            below, weights = _trapezoid(piece, scale, live, c)
            miss = np.abs(np.exp(powers * below) @ weights - moments)
            off, relative = float(np.max(miss)), float(np.max(miss / moments))
            off, relative = (off, relative) if np.abs(weights).sum() < 4 * mass else (math.inf, math.inf)
        gained = relative < closest / 4
        if relative < closest:
            best, closest, found = off, relative, (piece.logs[0] + below, weights * (mass / weights.sum()))
        if (off < _SETTLED * mass and relative * mass < _ALIKE) or off < 1e-18 or (closest < 1e-8 and not gained):
            break
        if below.size > _LONGEST:
            break
        c /= 2
    if best > _WRONG * mass + _NO_MASS:
        raise _not_analytic(*piece.ends)
    return found


def _not_analytic(low: float, high: float) -> ConvergenceError:
    return ConvergenceError(f"slope: not analytic between {min(low, high):.6g} and {max(low, high):.6g}: does it bend "
                            "there (name it in kinks=), vanish like a power, or not take complex arrays?")


def _trapezoid(piece: Piece, scale: float, live: float, c: float) -> tuple[ComplexArray, ComplexArray]:
    """Return ln X less its top and the weights on the contour of depth c."""
    turn, step = (math.pi / 4, _STEP / 2) if any(piece.kinks) else (math.pi / 2, _STEP)
    length, near_zero = (piece.logs[0] - piece.logs[1]) / c, _NEAR_ZERO * piece.zero / c
    sigma = np.arange(_START, _DEEPEST * piece.zero + near_zero if piece.zero else length - _START, step)
    exact = sigma < near_zero if piece.zero else np.ones(sigma.size, dtype=bool)
    upper = sigma < length / 2  # counted from the nearer end

    def path(s: ComplexArray) -> tuple[ComplexArray, ComplexArray]:
        if piece.zero:  # below there the depth grows to pi/2
            then = s - near_zero
            return (-c * softplus(s) - (1 - c) * softplus(then),
                    -c * sigmoids(s)[0] - (1 - c) * sigmoids(then)[0])
        rest, near, far = -math.expm1(-length), sigmoids(s), sigmoids(length - s)
        ahead, other = np.where(upper, s, length - s), np.where(upper, far[0], near[0])
        log = np.where(ahead.real < 40, np.log1p(rest * other * np.exp(np.minimum(ahead.real, 40) + 1j * ahead.imag)),
                       ahead + np.log(rest * other))
        return np.where(upper, -c, c) * log, -c * rest * near[0] * far[0]

    u = _inverse(piece, path(sigma.astype(complex))[0].real, upper).astype(complex)
    for share, steps in ((0.25, 1), (0.5, 1), (0.75, 1), (1.0, 10)):
        goal, rate = path(sigma + np.complex128(1j * turn * share))
        todo = np.arange(u.size)
        for _ in range(steps):
            here, side = u[todo], upper[todo]
            log = piece.below(here, 0)
            if not piece.zero:
                log = np.where(side, log, piece.below(here, 1))
            move = (log - goal[todo]) / piece.rate(here, ROUGH)
            u[todo] = here - move
            todo = todo[~(np.abs(move) < 1e-15 * (min(scale, 1e-3) + np.abs(here)))]
            if not todo.size:
                break
    density = np.exp(-((u / scale) ** 2) / 2) / (math.sqrt(2 * math.pi) * scale * live)
    weights = density * rate / piece.rate(u) * step * np.sign(piece.ends[1] - piece.ends[0])
    below = np.where(upper, 0.0, piece.logs[1] - piece.logs[0] if not piece.zero else 0.0) + goal
    last = int(np.flatnonzero(exact)[-1])
    tail = slice(last + 1, None)
    weights[tail] = weights[last] / rate[last] * rate[tail] * np.exp((below[tail] - below[last]) / (2 * piece.zero))
    for i, j in ((0, 1), (-1, -2)):  # what is left at an end falls off like a power: a geometric series
        if 0 < abs(weights[i]) < abs(weights[j]):
            weights[i] += weights[i] ** 2 / (weights[j] - weights[i])
    if not piece.zero:
        kept = np.flatnonzero(np.abs(weights) > _NOTHING)
        below, weights = below[kept[0] : kept[-1] + 1], weights[kept[0] : kept[-1] + 1]
    return below, weights


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
