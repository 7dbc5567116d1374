"""Activation functions of one's own."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from rmt.checks import Number, number
from rmt.errors import ConvergenceError
from rmt.networks.activations.continuation import (
    RIGHT,
    ByDifferences,
    ByTorch,
    Continued,
    FromValue,
    Multiple,
    Numerical,
)
from rmt.networks.activations.function import Pointwise
from rmt.networks.activations.kinks import kinks_of
from rmt.networks.activations.matching import known
from rmt.networks.activations.named import REGISTRY

if TYPE_CHECKING:
    from rmt.laws.law import Law

Array = NDArray[Any]
Function = Callable[[Array], Array]

_LOST = 1e-6  # probability
_STEP = 1e-5  # of a difference that is to see where a value bends
_FAR = (-12.3, -9.1, -7.2, -5.7, 5.7, 7.2, 9.1, 12.3)  # standard deviations, which wide layers reach
_ACROSS = 1e-4  # how far from the real line a slope is held against itself

# Functions that came to rmt.activations when networks with one's own function of that name had been stored.
_FREE = {"mish", "relu6", "hardswish", "hardsigmoid", "softsign", "logsigmoid", "tanhshrink", "softshrink",
         "hardshrink", "sin", "relu_squared", "celu", "threshold", "prelu"}


@dataclass(frozen=True, repr=False)
class Custom(Pointwise):
    """A function of one's own."""

    def __repr__(self) -> str:
        return f"activations.custom({self.name!r}, ...)"

    def squared_slope(self, q: float) -> Law:
        """Return the law of phi'(u)^2; raise where it would rest on a slope that has no digits there."""
        if isinstance(self.derivative, Numerical):
            lost = self.derivative.without_digits(q)
            if lost > _LOST:
                raise ConvergenceError(f"slope of {self.name!r}: found numerically, to {RIGHT:g} of its size, and at a "
                                       f"variance of {q:.3g} smaller with a probability of {lost:.2g}: give slope=, or "
                                       "a value made of numpy's and scipy's functions")
        return super().squared_slope(q)


def custom(name: str, value: Function, slope: Function | None = None, kinks: Sequence[Number] = (),
           torch: Any = None) -> Custom:
    """Return an activation function of your own.

    Parameters
    ----------
    name : str
        Not that of a function which is there; it identifies the function in stored measurements.
    value : callable
        phi, of numpy arrays.
    slope : callable or None
        phi', of numpy arrays. One that takes complex arrays is analytic between kinks near the real line; one that
        takes real arrays only is continued. Without one it is found: by automatic differentiation of `value` where it
        is made of numpy's and scipy's functions, else of its torch form, else by interpolation of `value`. In any case
        it is held against finite differences of `value`.
    kinks : sequence of float
        Where phi or phi' bends or jumps, but for smooth turns. Without a slope they are looked for, if none are given.
    torch : callable
        A torch module or function of tensors; only `empirical.build` needs it.
    """
    if not isinstance(name, str) or not name.isidentifier() or name in REGISTRY.keys() - _FREE:
        raise ValueError(f"name must be a word that no function of rmt.activations has, got {name!r}")
    if not callable(value):
        raise TypeError(f"value must be a function of an array, got {value!r}")
    if slope is not None and not callable(slope):
        raise TypeError(f"slope must be a function of an array, or left out, got {slope!r}")
    if torch is not None and not callable(torch):
        raise TypeError(f"torch must be a torch module or a function of tensors, got {torch!r}")
    if not isinstance(kinks, Sequence):
        raise TypeError(f"kinks must be a sequence of numbers, got {kinks!r}")
    given = slope is not None
    bends = tuple(sorted({float(number(f"kinks[{i}]", kink)) for i, kink in enumerate(kinks)}))
    points = _points(bends)
    _at(name, "value", value, points)
    if slope is None:
        slope, bends = _found(value, bends, torch)
        points = _points(bends)
    elif not _takes(slope, points + 1j):
        _at(name, "slope", slope, points)
        slope = _continued(slope, points, bends)
    _check(name, value, slope, points, given)
    _check(name, value, slope, np.array([u for u in _FAR if not bends or np.min(np.abs(u - np.array(bends))) > 0.05]),
           given)
    if torch is not None and "torch" in sys.modules:
        _check_form(name, value, torch, points)
    return Custom(name, value, slope, bends, torch)


def _found(value: Function, kinks: tuple[float, ...], torch: Any) -> tuple[Function, tuple[float, ...]]:
    """Return the slope of a value, and its kinks if none are given."""
    if not kinks and (same := known(value)) is not None:  # whose slope has its own digits
        return Multiple(same.function, same.scale), same.function.kinks
    by_jets = FromValue(value)
    if _takes(by_jets, _points(kinks)) and _takes(by_jets, _points(kinks) + 1j):
        kinks = kinks or kinks_of(by_jets)
        return FromValue(value, kinks), kinks
    if torch is not None and "torch" in sys.modules:
        real: Function = ByTorch(torch)
        kinks = kinks or kinks_of(real)
        if _is_analytic(real, _points(kinks)):
            return real, kinks
    else:
        kinks = kinks or kinks_of(lambda u: (value(u + _STEP) - value(u - _STEP)) / (2 * _STEP), 3 * _STEP)
        real = ByDifferences(value, kinks)
    return Numerical(real, kinks), kinks


def _continued(slope: Function, points: Array, kinks: tuple[float, ...]) -> Function:
    """Return a slope of real arrays as one of complex arrays."""
    by_jets = Continued(slope)
    if _takes(by_jets, points + 1j * _ACROSS) and np.allclose(by_jets(points + 0j), slope(points), 1e-9, 1e-12):
        return by_jets
    return Numerical(slope, kinks)


def _is_analytic(f: Function, u: Array) -> bool:
    """Whether a function of real arrays takes complex ones, too, as the analytic function that it is."""
    if not _takes(f, u + 1j):
        return False
    turned, across = f(u + 1j * _ACROSS), (f(u + _ACROSS) - f(u - _ACROSS)) / 2
    return bool(np.all(np.abs(turned.imag - across) <= 1e-6 * (1e-4 + np.abs(across).max())))


def _takes(f: Function, u: Array) -> bool:
    """Whether a function takes an array and returns one of its shape."""
    try:
        with np.errstate(all="ignore"):
            return np.shape(f(u)) == u.shape
    except Exception:  # whatever a function of the user's own may raise
        return False


def _check_form(name: str, value: Function, form: Any, u: Array) -> None:
    """Raise unless the torch form has the values that the function has."""
    torch = sys.modules["torch"]
    function = form() if isinstance(form, type) else form
    with torch.no_grad():
        found = np.asarray(function(torch.as_tensor(u)).numpy(), dtype=float)
    off = np.abs(found - _at(name, "value", value, u)) > 1e-4 * (1 + np.abs(found))
    if off.any():
        raise ValueError(f"torch of {name!r} must be the same function as value: at u = {u[off][0]:.4g} it is "
                         f"{found[off][0]:.6g}, not {float(value(u[off][:1])[0]):.6g}")


def _points(kinks: Sequence[float]) -> Array:
    """Return where functions are held against each other: away from kinks."""
    u = np.linspace(-4.03, 3.97, 33)
    if kinks:
        u = u[np.min(np.abs(u[:, None] - np.array(kinks)), axis=1) > 0.05]
    if not u.size:
        raise ValueError(f"kinks must be further than .1 apart somewhere in [-4, 4], got {len(kinks)} of them")
    return u


def _at(name: str, key: str, f: Function, points: Array) -> Array:
    """Return a function's values at points; raise unless they are finite."""
    try:
        with np.errstate(all="ignore"):
            found = np.asarray(f(points))
        valid = found.shape == points.shape and bool(np.all(np.isfinite(found)))
    except Exception as error:  # whatever a function of the user's own may raise
        raise ValueError(f"{key} of {name!r} must take real arrays: {error}") from None
    if not valid:
        raise ValueError(f"{key} of {name!r} must be finite and of the shape of its argument")
    return found


def _check(name: str, value: Function, slope: Function, u: Array, given: bool) -> None:
    """Raise unless one function is the derivative of the other, and analytic."""
    step = 1e-3
    ahead = (8 * (_at(name, "value", value, u + step) - _at(name, "value", value, u - step))
             - _at(name, "value", value, u + 2 * step) + _at(name, "value", value, u - 2 * step)) / (12 * step)
    d, turned = _at(name, "slope", slope, u), _at(name, "slope", slope, u + 1j * _ACROSS)
    across = (_at(name, "slope", slope, u + _ACROSS) - _at(name, "slope", slope, u - _ACROSS)) / 2
    off = np.abs(ahead - d) > 1e-6 * (1 + np.abs(d).max())
    if off.any() and not given:
        raise ValueError(f"slope of {name!r} is not found: at u = {u[off][0]:.4g} it came out as {d[off][0]:.6g}, by a "
                         f"difference it is {ahead[off][0]:.6g}: give slope=, and where value jumps or bends in kinks=")
    if off.any():
        raise ValueError(f"slope of {name!r} must be the derivative of value: at u = {u[off][0]:.4g} it is "
                         f"{d[off][0]:.6g}, not {ahead[off][0]:.6g} (kinks, if any, go into kinks=)")
    off = np.abs(turned.imag - across) > 1e-3 * (1e-4 + np.abs(across).max())
    if off.any():
        raise ValueError(f"slope of {name!r} must be analytic between kinks, for it is called with complex arrays: at "
                         f"u = {u[off][0]:.4g} it is not (compare u.real in np.where; no abs, no real part; or leave "
                         "slope out: it is then found from value)")
