"""A function of the real line recognised as one that has a name, by its values over twelve decades on either side."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rmt.networks.activations import formulas as f
from rmt.networks.activations import named
from rmt.networks.activations.function import ActivationFunction, Pointwise

Array = NDArray[Any]
Function = Callable[[Array], Array]

_DECADES = 10 ** np.linspace(-8.03, 4.03, 97)
GRID = np.unique(np.r_[-_DECADES, _DECADES, np.linspace(-10.07, 10.05, 161)])  # no round numbers: they may be kinks
_FAR, _NEAR, _UNIT = 1e4 * 1.0001, 1e-7, 1.37
_ALIKE, _SMALL = 1e-6, 1e-9  # of a value, and of the argument: constants are written to seven digits and more
_SURE = 100.0  # |u| up to which values must be numbers
_DIGITS = 7  # of a parameter, which may have been stored in single precision

_GELU_BY_TANH = Pointwise("gelu", lambda u: u / 2 * (1 + np.tanh(math.sqrt(2 / math.pi) * (u + 0.044715 * u**3))),
                          f.gelu_slope)  # within 5e-4 of GELU


class Known(NamedTuple):
    """A function, and the number that it is multiplied by."""

    function: ActivationFunction
    scale: float


def known(value: Function, first: Iterable[ActivationFunction] = ()) -> Known | None:
    """Return the function of this name, times a number, that has the values; None where none has them.

    Parameters
    ----------
    value : callable
        Of an array of real numbers, entry by entry.
    first : iterable of ActivationFunction
        Functions to look at before those of `rmt.activations`.
    """
    with np.errstate(all="ignore"):
        values = np.asarray(value(GRID), dtype=float)
        finite = np.isfinite(values)  # e^u leaves the range of a float far out
        if not np.all(finite[np.abs(GRID) < _SURE]) or not values.any():
            return None
        values = np.where(finite, values, np.nan)
        plain = [phi for phi in named.REGISTRY.values() if isinstance(phi, ActivationFunction)]
        plain += [named.tanh, named.elu, named.silu, named.softplus, named.hardtanh, named.sin, named.softshrink,
                  named.hardshrink]
        candidates = [*first, *dict.fromkeys(plain), _GELU_BY_TANH]
        for phi in (*candidates, *_fitted(value)):
            if _alike(phi, values, 1.0):
                return Known(named.gelu if phi is _GELU_BY_TANH else phi, 1.0)
        for phi in (*candidates, *_scaled(value)):
            at = float(phi.value(np.array([_UNIT]))[0])
            scale = _few(float(value(np.array([_UNIT]))[0]) / at) if at else 0.0
            if scale and math.isfinite(scale) and _alike(phi, values, scale):
                return Known(named.gelu if phi is _GELU_BY_TANH else phi, scale)
    return None


def _alike(phi: ActivationFunction, values: Array, scale: float) -> bool:
    expected = scale * np.asarray(phi.value(GRID), dtype=float)
    size = abs(scale * float(phi.value(np.array([_UNIT]))[0]))
    allowed = _ALIKE * np.abs(expected) + _SMALL * size * np.minimum(np.abs(GRID), 1.0)
    return bool(np.all((np.abs(values - expected) <= allowed) | np.isnan(values)))


def _few(x: float) -> float:
    return float(f"{x:.{_DIGITS}g}")


def _fitted(value: Function) -> Iterator[ActivationFunction]:
    """Yield the functions with parameters that the values at a few points suggest."""
    below, under, zero, over, above = np.asarray(
        value(np.array([-_FAR, -_UNIT, 0.0, _UNIT, _FAR])), dtype=float).tolist()
    start = (float(value(np.array([_NEAR]))[0]) - float(value(np.array([-_NEAR]))[0])) / (2 * _NEAR)
    share = over / _UNIT
    guesses: list[tuple[Callable[..., Any], tuple[float, ...]]] = [
        (named.leaky_relu, (_few(-under / _UNIT),)), (named.elu, (_few(-below),)), (named.celu, (_few(-below),)),
        (named.hardtanh, (_few(below), _few(above))), (named.tanh, (_few(start),)), (named.sin, (_few(start),)),
        (named.softplus, (_few(math.log(2) / zero),) if zero > 0 else ()),
        (named.silu, (_few(math.log(share / (1 - share)) / _UNIT),) if 0 < share < 1 else ()),
        (named.softshrink, (_few(_FAR - above),)),
        (named.hardshrink, (_few(_border(value, lambda u, v: v == 0)),)),
        (named.threshold, (_few(_border(value, lambda u, v: v != u, -_FAR)), _few(below))),
    ]
    for make, parameters in guesses:
        try:
            if parameters:
                yield make(*parameters)
        except (ValueError, TypeError):  # no parameters of such a function
            continue


def _scaled(value: Function) -> Iterator[ActivationFunction]:
    """Yield leaky ReLU, and tanh(a u), of a multiple of it: a is the slope at zero over the limit."""
    under, over = (float(x) for x in value(np.array([-_UNIT, _UNIT])))
    if over:
        yield named.leaky_relu(_few(-under / over))
    limit, start = (float(x) for x in value(np.array([_FAR, _NEAR])))
    if limit and start / limit > 0:
        yield named.tanh(_few(start / _NEAR / limit))


def _border(value: Function, low_side: Callable[[Any, Any], Any], low: float = 0.0, high: float = _FAR) -> float:
    """Return up to which u the values are of one kind, by bisection."""
    for _ in range(70):
        u = (low + high) / 2
        low, high = (u, high) if low_side(u, float(value(np.array([u]))[0])) else (low, u)
    return (low + high) / 2
