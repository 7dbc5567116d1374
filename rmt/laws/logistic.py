"""The logistic function on the strip 0 <= Im v <= pi, every digit kept at both ends."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
ComplexArray = NDArray[np.complex128]

_CLEAR = 0.1  # of 1 + e^v: below, it is taken from i pi


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
    e = np.exp(v)
    return np.where(np.abs(v.imag) == math.pi, e.real + 0j, e)


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


def _one_plus(e: ComplexArray, v: ComplexArray) -> ComplexArray:
    """Return 1 + e, e = e^v, with every digit where that is small, next to v = +-i pi."""
    u = np.asarray(1 + e)
    if (small := np.abs(u) < _CLEAR).any():
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
