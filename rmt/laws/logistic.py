"""The logistic function on the strip 0 <= Im v <= pi, every digit kept at both ends."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rmt.laws.batches import batches

Array = NDArray[np.float64]
ComplexArray = NDArray[np.complex128]

_CLEAR = 0.1  # of 1 + e^v: below, it is taken from i pi
_SAFE = 300.0  # e^y and x within e^+-_SAFE multiply without leaving the range of a float


class Logistic(NamedTuple):
    """sigmoid(v) = 1 / (1 + e^-v), sigmoid(-v), and their logarithms, continuous on the strip."""

    s: ComplexArray
    rest: ComplexArray
    log_s: ComplexArray
    log_rest: ComplexArray

    def log_complement(self, ratio: float) -> tuple[ComplexArray, ComplexArray]:
        """Return log(1 - ratio * sigmoid(v)), every digit kept where that vanishes, and its derivative in v."""
        if ratio == 1:
            return self.log_rest, -self.s
        z, u = -ratio * self.s, (1 - ratio) + ratio * self.rest
        return log_lower(u) + np.where(np.abs(z) < 0.5, _lost(z, u), 0), z * self.rest / u

    def log_complements(self, ratios: Array) -> tuple[ComplexArray, ComplexArray]:
        """Return `log_complement` of several ratios, (ratios, 1): (ratios, points)."""
        if ratios.size == 1:
            log_u, slope = self.log_complement(float(ratios.item()))
            return log_u[None], slope[None]
        others = ratios[:, 0] != 1
        r, log_u, slope = ratios[others], *np.empty((2, ratios.size, self.s.size), dtype=complex)
        z, u = -r * self.s, (1 - r) + r * self.rest
        log_u[others] = log_lower(u) + np.where(np.abs(z) < 0.5, _lost(z, u), 0)
        slope[others] = z * self.rest / u
        log_u[~others], slope[~others] = self.log_rest, -self.s
        return log_u, slope

    def odds(self, ratio: float) -> tuple[ComplexArray, ComplexArray]:
        """Return the logit of ratio * sigmoid(v), and its derivative."""
        log_u, slope_u = self.log_complement(ratio)
        return math.log(ratio) + self.log_s - log_u, self.rest - slope_u


def logistic(v: ComplexArray) -> Logistic:
    """Return all four from one exponential."""
    left = v.real < 0
    inner = np.where(left, v, -v)
    e = exponential(inner)
    u = _one_plus(e, inner)
    near, log_near = 1 / u, -np.log(u) - np.where(np.abs(u) < _CLEAR, 0, _lost(e, u))
    far, log_far = e * near, log_near + inner
    return Logistic(np.where(left, far, near), np.where(left, near, far),
                    np.where(left, log_far, log_near), np.where(left, log_near, log_far))


def exponential(v: ComplexArray) -> ComplexArray:
    """Return e^v, real where Im v is the float next to +-pi."""
    e = np.asarray(np.exp(v))
    if (real := np.abs(v.imag) == math.pi).any():
        e.imag[real] = 0.0
    return e


def softplus(v: ComplexArray) -> ComplexArray:
    """Return log(1 + e^v)."""
    right = v.real > 0
    inner = np.where(right, -v, v)
    e = exponential(inner)
    u = _one_plus(e, inner)
    return np.asarray(np.where(right, v, 0) + np.log(u) + np.where(np.abs(u) < _CLEAR, 0, _lost(e, u)))


def log_near_one(z: ComplexArray) -> ComplexArray:
    """Return log(1 + z), with every digit of a small one."""
    u = 1 + z
    return np.asarray(np.log(u) + _lost(z, u))


def _lost(z: ComplexArray, u: ComplexArray) -> ComplexArray:
    """Return log(1 + z) - log(u) for u = 1 + z rounded: for small z it is all that is known of it."""
    return (z - (u - 1)) / u


def sigmoids(v: ComplexArray) -> tuple[ComplexArray, ComplexArray]:
    """Return sigmoid(v) and sigmoid(-v)."""
    left = v.real < 0
    inner = np.where(left, v, -v)
    e = exponential(inner)
    near = 1 / _one_plus(e, inner)
    far = e * near
    return np.where(left, far, near), np.where(left, near, far)


def sigmoid_sums(y: ComplexArray, log_x: NDArray[Any], x: NDArray[Any],
                 weights: NDArray[Any]) -> tuple[ComplexArray, ComplexArray, ComplexArray]:
    """Return the sums of weights times sigmoid(-t), sigmoid(t) and their product, t = y + log_x: (points,) each.

    One exponential a point, but where it leaves the range of a float; x = e^(log_x).
    """
    found, x_weights = np.empty((3, y.size), dtype=complex), x * weights
    for part, near, quick in _batches(y, log_x, x):
        if quick:
            e, one = quick
            rest = 1 / one
            found[:, part] = rest @ weights, e * (rest @ x_weights), e * (rest**2 @ x_weights)
        else:
            here, rest = sigmoids(near[:, None] + log_x)
            found[:, part] = rest @ weights, here @ weights, (here * rest) @ weights
    return found[0], found[1], found[2]


def angle_sums(y: ComplexArray, log_x: Array, x: Array, weights: Array) -> tuple[Array, Array]:
    """Return the sums of weights times |arg(1 + e^t)| and |arg sigmoid(t)|, t = y + log_x, as `sigmoid_sums`."""
    found = np.empty((2, y.size))
    for part, near, quick in _batches(y, log_x, x):
        if quick:  # sigmoid(t) is e^t times the conjugate of 1 + e^t, but for its size
            e, one = quick
            turn = np.abs(one.imag)
            behind = np.arctan2(turn, e.real[:, None] * x * one.real + turn**2)
            found[:, part] = np.arctan2(turn, one.real) @ weights, behind @ weights
        else:
            here, rest = sigmoids(near[:, None] + log_x)
            found[:, part] = angle(rest) @ weights, angle(here) @ weights
    return found[0], found[1]


def _batches(y: ComplexArray, log_x: NDArray[Any], x: NDArray[Any]
            ) -> Iterator[tuple[NDArray[np.intp], ComplexArray, tuple[ComplexArray, ComplexArray] | None]]:
    """Yield numbers of points, y there, and e^y with 1 + e^y x but where these leave the range of a float."""
    with np.errstate(invalid="ignore"):
        safe = (np.abs(y.real) < _SAFE) & (np.abs(log_x.real).max(initial=0.0) < _SAFE)
    for chosen, quick in ((np.flatnonzero(safe), True), (np.flatnonzero(~safe), False)):
        for batch in batches(chosen.size, x.size):
            near = y[part := chosen[batch]]
            if not quick:
                yield part, near, None
                continue
            e = exponential(near)
            one = 1 + e[:, None] * x
            if np.isrealobj(x) and (beside := np.abs(near.imag - math.pi) < _CLEAR).any():
                one[beside] = _taken_from_pole(one[beside], near[beside, None] + log_x)
            yield part, near, (e, one)


def _one_plus(e: ComplexArray, v: ComplexArray) -> ComplexArray:
    """Return 1 + e, e = e^v, with every digit where that is small, next to v = +-i pi."""
    return _taken_from_pole(np.asarray(1 + e), v)


def _taken_from_pole(u: ComplexArray, v: ComplexArray) -> ComplexArray:
    """Return u = 1 + e^v, changed in place to have every digit where it is small."""
    if (small := u.real**2 + u.imag**2 < _CLEAR**2).any():
        near = v[small]
        u[small] = -np.expm1(near.real + 1j * (near.imag - np.copysign(math.pi, near.imag)))
    return u


def angle(u: ComplexArray) -> Array:
    """Return |arg u|, with every digit of a small one."""
    return np.arctan2(np.abs(u.imag), u.real)


def log_lower(u: ComplexArray) -> ComplexArray:
    """Logarithm of numbers in the closed lower half plane: the cut is on the +i axis."""
    return np.log(1j * u) - 0.5j * math.pi


def log_upper(u: ComplexArray) -> ComplexArray:
    """Logarithm of numbers in the closed upper half plane: the cut is on the -i axis."""
    return np.log(-1j * u) + 0.5j * math.pi


def in_strip(v: ComplexArray) -> ComplexArray:
    """Return v, changed in place to 0 <= Im v <= pi: rounding must not carry w across the real axis."""
    v.imag = np.minimum(np.maximum(v.imag, 0.0), math.pi)
    return v
