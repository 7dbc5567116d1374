"""The logistic function on the strip 0 <= Im v <= pi, every digit kept at both ends."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

ComplexArray = NDArray[np.complex128]


class Logistic(NamedTuple):
    """sigmoid(v) = 1 / (1 + e^-v), sigmoid(-v), and their logarithms, continuous on the strip."""

    s: ComplexArray
    rest: ComplexArray
    log_s: ComplexArray
    log_rest: ComplexArray


def logistic(v: ComplexArray) -> Logistic:
    """Return all four from one exponential."""
    left = v.real < 0
    inner = np.where(left, v, -v)
    e = np.exp(inner)
    near, log_near = 1 / (1 + e), -log1p(e)
    far, log_far = e * near, log_near + inner
    return Logistic(np.where(left, far, near), np.where(left, near, far),
                    np.where(left, log_far, log_near), np.where(left, log_near, log_far))


def sigmoids(v: ComplexArray) -> tuple[ComplexArray, ComplexArray]:
    """Return sigmoid(v) and sigmoid(-v)."""
    left = v.real < 0
    e = np.exp(np.where(left, v, -v))
    near = 1 / (1 + e)
    far = e * near
    return np.where(left, far, near), np.where(left, near, far)


def log1p(z: ComplexArray) -> ComplexArray:
    """log(1 + z), every digit kept for small z (numpy's loses the real part)."""
    x, y = z.real, z.imag
    excess = x * (2 + x) + y * y  # |1 + z|^2 - 1
    with np.errstate(divide="ignore"):
        value = np.log(1 + z)
    np.copyto(value.real, 0.5 * np.log1p(np.maximum(excess, -0.5)), where=excess > -0.5)
    return value
