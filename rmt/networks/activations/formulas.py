"""Activation functions and their slopes as formulas: values of real arrays, slopes of real and complex ones.

Slopes keep their digits where units are saturated, for the law of ln phi'^2 needs them.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import special

Array = NDArray[Any]

_ROOT_PI, _ROOT_2PI = math.sqrt(math.pi), math.sqrt(2 * math.pi)
SELU_SCALE, SELU_ALPHA = 1.0507009873554804934193349852946, 1.6732632423543772848170429916717  # Klambauer et al. 2017


def logistic(u: Array) -> Array:
    """Return 1/(1 + e^-u)."""
    e = np.exp(np.where(u.real < 0, u, -u))
    return np.where(u.real < 0, e, 1.0) / (1 + e)


def exp_below(u: Array) -> Array:
    """Return e^u below zero, 1 above."""
    return np.exp(np.where(u.real < 0, u, 0 * u))


def tanh_slope(u: Array) -> Array:
    """Return the slope of tanh."""
    e = np.exp(2 * np.where(u.real < 0, u, -u))
    return 4 * e / (1 + e) ** 2


def erf_slope(u: Array) -> Array:
    """Return the slope of erf."""
    return 2 / _ROOT_PI * np.exp(-(u**2))


def gelu(u: Array) -> Array:
    """Return u Phi(u), Phi the normal distribution (Hendrycks and Gimpel 2016)."""
    return u * special.ndtr(u)


def gelu_slope(u: Array) -> Array:
    """Return the slope of gelu."""
    return special.ndtr(u) + u * np.exp(-(u**2) / 2) / _ROOT_2PI


def silu(u: Array) -> Array:
    """Return u / (1 + e^-u)."""
    return u * logistic(u)


def silu_slope(u: Array) -> Array:
    """Return the slope of silu."""
    return logistic(u) * (1 + u * logistic(-u))


def selu(u: Array) -> Array:
    """Return SELU, of Klambauer et al. 2017."""
    return SELU_SCALE * np.where(u > 0, u, SELU_ALPHA * np.expm1(np.minimum(u, 0.0)))


def selu_slope(u: Array) -> Array:
    """Return the slope of selu."""
    return SELU_SCALE * np.where(u.real > 0, 1.0, SELU_ALPHA * exp_below(u))


def sigmoid_slope(u: Array) -> Array:
    """Return the slope of sigmoid."""
    return logistic(u) * logistic(-u)


def softplus(u: Array) -> Array:
    """Return ln(1 + e^u)."""
    return np.logaddexp(0.0, u)


def elu(u: Array, alpha: float = 1.0) -> Array:
    """Return u for u > 0, alpha (e^u - 1) below."""
    return np.where(u > 0, u, alpha * np.expm1(np.minimum(u, 0.0)))


def elu_slope(u: Array, alpha: float = 1.0) -> Array:
    """Return the slope of elu."""
    return np.where(u.real > 0, 1.0, alpha * exp_below(u))


def clip(u: Array, low: float = -1.0, high: float = 1.0) -> Array:
    """Return u inside [low, high], and their ends outside."""
    return np.clip(u, low, high)


def clip_slope(u: Array, low: float = -1.0, high: float = 1.0) -> Array:
    """Return the slope of clip."""
    return np.where((u.real > low) & (u.real < high), 1.0, 0.0)


def threshold(u: Array, threshold: float, value: float) -> Array:
    """Return u above the threshold, value elsewhere."""
    return np.where(u > threshold, u, value)


def threshold_slope(u: Array, threshold: float, value: float) -> Array:
    """Return the slope of threshold."""
    return np.where(u.real > threshold, 1.0, 0.0)


def soft_shrink(u: Array, lambd: float = 0.5) -> Array:
    """Return u moved toward zero by lambd, as far as zero."""
    return np.where(u > lambd, u - lambd, np.where(u < -lambd, u + lambd, 0.0))


def hard_shrink(u: Array, lambd: float = 0.5) -> Array:
    """Return u, but zero where |u| <= lambd."""
    return np.where(np.abs(u) > lambd, u, 0.0)


def shrink_slope(u: Array, lambd: float = 0.5) -> Array:
    """Return the slope of shrink."""
    return np.where(np.abs(u.real) > lambd, 1.0, 0.0)


def mish(u: Array) -> Array:
    """Return u tanh(ln(1 + e^u)) (Misra 2019)."""
    return u * np.tanh(softplus(u))


def mish_slope(u: Array) -> Array:
    """Return the slope of mish: with e = exp(-|u|), tanh(softplus(u)) is a ratio of polynomials."""
    below, e = u.real < 0, np.exp(np.where(u.real < 0, u, -u))
    size = np.where(below, 2 + 2 * e + e**2, 1 + 2 * e + 2 * e**2)
    turned = np.where(below, e * (2 + e), 1 + 2 * e) / size
    return turned + u * 4 * e * (1 + e) * np.where(below, 1.0, e) / size**2


def relu6(u: Array) -> Array:
    """Return u inside [0, 6]."""
    return np.clip(u, 0.0, 6.0)


def relu6_slope(u: Array) -> Array:
    """Return the slope of relu6."""
    return clip_slope(u, 0.0, 6.0)


def hardswish(u: Array) -> Array:
    """Return u relu6(u + 3) / 6."""
    return u * np.clip(u + 3, 0.0, 6.0) / 6


def hardswish_slope(u: Array) -> Array:
    """Return the slope of hardswish."""
    return np.where(u.real > 3, 1.0, np.where(u.real > -3, (2 * u + 3) / 6, 0.0))


def hardsigmoid(u: Array) -> Array:
    """Return relu6(u + 3) / 6."""
    return np.clip(u + 3, 0.0, 6.0) / 6


def hardsigmoid_slope(u: Array) -> Array:
    """Return the slope of hardsigmoid."""
    return clip_slope(u, -3.0, 3.0) / 6


def softsign(u: Array) -> Array:
    """Return u / (1 + |u|)."""
    return u / (1 + np.abs(u))


def softsign_slope(u: Array) -> Array:
    """Return the slope of softsign."""
    return (1 + np.where(u.real > 0, u, -u)) ** -2


def logsigmoid(u: Array) -> Array:
    """Return -ln(1 + e^-u)."""
    return -np.logaddexp(0.0, -u)


def logsigmoid_slope(u: Array) -> Array:
    """Return the slope of logsigmoid."""
    return logistic(-u)


_ODD = 2 * np.arange(2, 15) - 1  # powers of tanh's series behind u, whose coefficients are those of Bernoulli's numbers
_TANH = np.array([2.0**n * (2.0**n - 1) * special.bernoulli(n)[n] / math.factorial(n) for n in (_ODD + 1).tolist()])
_SHORT = 0.3  # where the series is right to rounding: the next term is (.3/1.57)^28


def tanhshrink(u: Array) -> Array:
    """Return u - tanh u; near zero by its series."""
    near = np.where(np.abs(u) < _SHORT, u, 0.0)
    return np.where(np.abs(u) < _SHORT, -(near[..., None] ** _ODD) @ _TANH, u - np.tanh(u))


def tanhshrink_slope(u: Array) -> Array:
    """Return the slope of tanhshrink."""
    return np.tanh(u) ** 2


def relu_squared(u: Array) -> Array:
    """Return u^2 for u > 0, zero below."""
    return np.maximum(u, 0.0) ** 2


def relu_squared_slope(u: Array) -> Array:
    """Return the slope of relu_squared."""
    return np.where(u.real > 0, 2 * u, 0 * u)
