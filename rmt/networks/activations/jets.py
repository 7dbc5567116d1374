"""Values and derivatives together, of real and complex arrays: a function of real arrays continued off the real line.

A function made of numpy's and scipy's elementary functions is run on a `Jet` as it would be on an array. Functions that
take real arrays only (expit, logaddexp) have their analytic forms here; |u|, max, min, sign and comparisons go by the
real part, so that what they choose between is continued, piece by piece.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import special

from rmt.networks.activations import formulas as f

Array = NDArray[Any]

_SERIES = 0.05  # of pi u: below, the slope of sinc is its series, without cancellation


class Jet(np.lib.mixins.NDArrayOperatorsMixin):
    """An array and its derivative with respect to one variable, entry by entry."""

    def __init__(self, value: Any, slope: Any) -> None:
        self.value, self.slope = np.broadcast_arrays(np.asarray(value), np.asarray(slope))

    def __getattr__(self, name: str) -> Any:
        if name in ("shape", "size", "ndim", "dtype", "real"):
            return getattr(self.value, name)
        raise AttributeError(f"no {name} of an array and its derivative")

    def __len__(self) -> int:
        return len(self.value)

    def copy(self) -> Jet:
        """Return a copy."""
        return Jet(self.value.copy(), self.slope.copy())

    def __getitem__(self, index: Any) -> Jet:
        return Jet(self.value[index], self.slope[index])

    def __setitem__(self, index: Any, new: Any) -> None:
        new = _jet(new)
        self.value, self.slope = (_with(old, index, part) for old, part in (
            (self.value, new.value), (self.slope, new.slope)))

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **options: Any) -> Any:
        if method != "__call__" or options:
            return NotImplemented
        jets = [_jet(one) for one in inputs]
        if ufunc in _COMPARED:
            return ufunc(*(one.value.real for one in jets))
        rule = _RULES.get(ufunc)
        if rule is None:
            return NotImplemented
        if rule in _ON_PARTS:
            return Jet(*rule(*jets))
        value, *partial = rule(*(one.value for one in jets))
        return Jet(value, sum(one.slope * slope for one, slope in zip(jets, partial, strict=True)))

    def __array_function__(self, function: Any, kinds: Any, args: Any, options: Any) -> Any:
        rule = _FUNCTIONS.get(function)
        return NotImplemented if rule is None else rule(*args, **options)


def _jet(one: Any) -> Jet:
    return one if isinstance(one, Jet) else Jet(one, 0.0)


def _with(old: Array, index: Any, new: Array) -> Array:
    out = old.astype(np.result_type(old, new))
    out[index] = new
    return out


def _where(condition: Any, yes: Any, no: Any) -> Jet:
    yes, no = _jet(yes), _jet(no)
    return Jet(np.where(condition, yes.value, no.value), np.where(condition, yes.slope, no.slope))


def _greater(a: Jet, b: Jet) -> tuple[Array, Array]:
    found = _where(a.value.real >= b.value.real, a, b)
    return found.value, found.slope


def _less(a: Jet, b: Jet) -> tuple[Array, Array]:
    found = _where(a.value.real <= b.value.real, a, b)
    return found.value, found.slope


def _clip(u: Any, a_min: Any = None, a_max: Any = None, **bounds: Any) -> Any:
    low, high = bounds.get("min", a_min), bounds.get("max", a_max)
    u = u if low is None else np.maximum(u, low)
    return u if high is None else np.minimum(u, high)


def _sinc(u: Any) -> Jet:
    u = _jet(u)
    x, value = np.pi * u.value, np.sinc(u.value)
    near = np.abs(x) < _SERIES
    slope = np.where(near, x * ((1 / 30 - x**2 / 840) * x**2 - 1 / 3), (np.cos(x) - value) / np.where(near, 1.0, x))
    return Jet(value, np.pi * slope * u.slope)


def _filled(number: float) -> Callable[..., Jet]:
    return lambda u, *_, **__: Jet(np.full(u.shape, number, dtype=u.dtype), 0.0)


def _select(conditions: Any, choices: Any, default: Any = 0) -> Any:
    out = default
    for condition, one in zip(reversed(conditions), reversed(choices), strict=True):
        out = _where(condition, one, out)
    return out


def _power(x: Array, p: Array) -> tuple[Array, Array, Array]:
    with np.errstate(all="ignore"):
        value = x**p
        log = np.where(value == 0, 0.0, np.log(np.where(x == 0, 1.0, x + 0j if np.any(x.real < 0) else x)))
        return value, p * x ** (p - 1), value * (log.real if np.isrealobj(value) else log)


def _log_add(a: Array, b: Array) -> tuple[Array, Array, Array]:
    first = a.real >= b.real
    high, low = np.where(first, a, b), np.where(first, b, a)
    with np.errstate(invalid="ignore"):
        share = f.logistic(high - low)
    return high + np.log1p(np.exp(low - high)), np.where(first, share, 1 - share), np.where(first, 1 - share, share)


def _softplus(u: Array) -> Array:
    return np.where(u.real > 0, u, 0 * u) + np.log1p(np.exp(np.where(u.real > 0, -u, u)))


def _side(u: Array) -> Array:
    return np.sign(u.real)


_RULES: dict[Any, Any] = {
    np.add: lambda a, b: (a + b, 1.0, 1.0), np.subtract: lambda a, b: (a - b, 1.0, -1.0),
    np.multiply: lambda a, b: (a * b, b, a), np.divide: lambda a, b: (a / b, 1 / b, -a / b**2),
    np.power: _power, np.float_power: _power, np.logaddexp: _log_add,
    np.maximum: _greater, np.fmax: _greater, np.minimum: _less, np.fmin: _less,
    np.negative: lambda u: (-u, -1.0), np.positive: lambda u: (u, 1.0), np.square: lambda u: (u**2, 2 * u),
    np.reciprocal: lambda u: (1 / u, -1 / u**2), np.sqrt: lambda u: (np.sqrt(u), 0.5 / np.sqrt(u)),
    np.exp: lambda u: (np.exp(u), np.exp(u)), np.expm1: lambda u: (np.expm1(u), np.exp(u)),
    np.exp2: lambda u: (2.0**u, math.log(2) * 2.0**u), np.log: lambda u: (np.log(u), 1 / u),
    np.log1p: lambda u: (np.log1p(u), 1 / (1 + u)), np.log2: lambda u: (np.log2(u), 1 / u / math.log(2)),
    np.log10: lambda u: (np.log10(u), 1 / u / math.log(10)),
    np.sin: lambda u: (np.sin(u), np.cos(u)), np.cos: lambda u: (np.cos(u), -np.sin(u)),
    np.tan: lambda u: (np.tan(u), np.cos(u) ** -2), np.sinh: lambda u: (np.sinh(u), np.cosh(u)),
    np.cosh: lambda u: (np.cosh(u), np.sinh(u)), np.tanh: lambda u: (np.tanh(u), f.tanh_slope(u)),
    np.arctan: lambda u: (np.arctan(u), 1 / (1 + u**2)), np.arcsinh: lambda u: (np.arcsinh(u), (1 + u**2) ** -0.5),
    np.abs: lambda u: (_side(u) * u, _side(u)), np.fabs: lambda u: (_side(u) * u, _side(u)),
    np.sign: lambda u: (_side(u), 0.0), np.heaviside: lambda u, at: (np.heaviside(u.real, at), 0.0, 0.0),
    np.conjugate: lambda u: (u, 1.0),
    special.expit: lambda u: (f.logistic(u), f.sigmoid_slope(u)),
    special.log_expit: lambda u: (-_softplus(-u), f.logistic(-u)),
    special.erf: lambda u: (special.erf(u), f.erf_slope(u)), special.erfc: lambda u: (special.erfc(u), -f.erf_slope(u)),
    special.ndtr: lambda u: (special.ndtr(u), f.erf_slope(u / math.sqrt(2)) / math.sqrt(8)),
    special.log_ndtr: lambda u: (special.log_ndtr(u), np.exp(-(u**2) / 2 - special.log_ndtr(u)) / math.sqrt(2 * np.pi)),
    special.xlogy: lambda x, y: (special.xlogy(x, y), np.log(y), x / y),
    special.xlog1py: lambda x, y: (special.xlog1py(x, y), np.log1p(y), x / (1 + y)),
}
_ON_PARTS = {_greater, _less}
_COMPARED = {np.greater, np.greater_equal, np.less, np.less_equal, np.equal, np.not_equal, np.isfinite, np.isnan}
_FUNCTIONS: dict[Any, Any] = {
    np.where: _where, np.clip: _clip, np.select: _select, np.zeros_like: _filled(0.0), np.ones_like: _filled(1.0),
    np.sinc: _sinc,
    np.copy: lambda u, *_, **__: u.copy(), np.real: lambda u: u.real, np.shape: lambda u: u.shape,
    np.ndim: lambda u: u.ndim, np.size: lambda u, *_: u.size,
    np.full_like: lambda u, number, *_, **__: Jet(np.full(u.shape, number, dtype=u.dtype), 0.0),
}


def run(function: Callable[[Any], Any], u: Array) -> tuple[Array, Array]:
    """Return a function's value and derivative at u; raise TypeError where it is not made of what is known here."""
    with np.errstate(all="ignore"):
        found = function(Jet(u, np.ones_like(u)))
    if isinstance(found, Jet) and found.shape == np.shape(u):
        return found.value, found.slope
    if isinstance(found, int | float):
        return np.full(np.shape(u), found), np.zeros(np.shape(u))
    raise TypeError(f"the function returns {type(found).__name__}")
