"""Slopes that are not given as functions of complex arrays: found, and continued off the real line.

`FromValue` and `Continued` run the user's function on jets. Where it is made of other things than numpy's and scipy's
functions, `Numerical` has its slope on the real line alone, by automatic differentiation in torch or by interpolation,
and continues it by rational approximation (AAA, Nakatsukasa, Sete and Trefethen 2018) between its kinks.
"""

from __future__ import annotations

import math
import sys
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.polynomial import chebyshev
from numpy.typing import NDArray

from rmt.networks.activations import jets
from rmt.networks.activations.function import ActivationFunction

Array = NDArray[Any]
Function = Callable[[Array], Array]

_ULPS = 1e-14  # of a kink: so near to it u is on its side but for rounding
_NODES = 14  # of a local interpolation
_LENGTH = 0.3  # half of what it spans, where no kink is near
_REACH = 40.0  # |u| up to which a slope may turn; beyond, it changes by powers
_NEAR_AXIS = 1e-5  # an imaginary part below is a first-order term
_FIT = 1e-12  # of the largest slope: what rational approximation aims at
RIGHT = 1e-10  # of the largest slope: what is smaller has no digits
_PLACE = 0.5 + np.cos(np.pi * (np.arange(_NODES) + 0.5) / _NODES) / 2  # Chebyshev's, on [0, 1]
_TO_SERIES = np.linalg.inv(chebyshev.chebvander(2 * _PLACE - 1, _NODES - 1)).T


@dataclass(frozen=True)
class FromValue:
    """The slope of a value, by automatic differentiation of the numpy function."""

    value: Function
    kinks: tuple[float, ...] = ()

    def __call__(self, u: Array) -> Array:
        """Return phi'(u)."""
        return jets.run(self.value, _beside(np.asarray(u), self.kinks))[1]


def _beside(u: Array, kinks: tuple[float, ...]) -> Array:
    """Return points with those that rounding may take over a kink, as in u + 3 > 6, a little away from it."""
    for kink in kinks:
        gap, x = _ULPS * abs(kink), u.real
        u = np.where(np.abs(x - kink) < gap, u + (np.where(x > kink, kink + gap, kink - gap) - x), u)
    return u


@dataclass(frozen=True)
class Continued:
    """A slope that takes real arrays, continued function by function."""

    slope: Function

    def __call__(self, u: Array) -> Array:
        """Return phi'(u)."""
        return jets.run(self.slope, np.asarray(u))[0] if np.iscomplexobj(u) else self.slope(u)


@dataclass(frozen=True)
class ByTorch:
    """The slope of a torch function; off the real line, where torch has its parts for complex tensors."""

    function: Any

    def __call__(self, u: Array) -> Array:
        """Return phi'(u)."""
        torch = sys.modules["torch"]  # the function's own
        function = self.function() if isinstance(self.function, type) else self.function
        if isinstance(function, torch.nn.Module):
            function = function.to(torch.float64)
        leaf = torch.as_tensor(np.array(u, dtype=np.result_type(u, float))).requires_grad_(True)
        with torch.enable_grad():
            out = function(leaf.clone())
        if not out.requires_grad:
            return np.zeros(np.shape(u))
        (found,) = torch.autograd.grad(out, leaf, torch.ones_like(out))
        return np.asarray(found.conj().resolve_conj().numpy())


@dataclass(frozen=True)
class ByDifferences:
    """The slope of a value on the real line, by local interpolation between the kinks."""

    value: Function
    kinks: tuple[float, ...]

    def __call__(self, u: Array) -> Array:
        """Return phi'(u)."""
        return derivative(self.value, u, self.kinks)


def derivative(f: Function, u: Array, kinks: tuple[float, ...]) -> Array:
    """Return f'(u) at real points, by interpolation at nodes beside each, on its side of every kink."""
    u = np.asarray(u, dtype=float)
    half = np.maximum(_LENGTH, np.abs(u) / 50)
    ends = np.array([-np.inf, *kinks, np.inf])
    at = np.clip(np.searchsorted(ends, u), 1, ends.size - 1)
    left, right = ends[at - 1], ends[at]
    half = np.minimum(half, (right - left) / 2)
    low = np.clip(u - half, left, right - 2 * half)
    with np.errstate(all="ignore"):
        series = f(low[..., None] + 2 * half[..., None] * _PLACE) @ _TO_SERIES
    angle = np.arccos(np.clip((u - low) / half - 1, -1.0, 1.0))
    order = np.arange(1, _NODES)
    sine = np.sin(angle)[..., None]
    turn = np.where(sine > 1e-8, np.sin(order * angle[..., None]) / np.where(sine > 1e-8, sine, 1.0),
                    order * np.where(angle[..., None] > 1, (-1.0) ** (order + 1), 1.0))
    return np.asarray((series[..., 1:] * order * turn).sum(axis=-1) / half)


@dataclass(frozen=True)
class Multiple:
    """The slope of a multiple of a known function."""

    function: ActivationFunction
    scale: float

    def __call__(self, u: Array) -> Array:
        """Return phi'(u)."""
        return self.scale * self.function.slope(u)


@dataclass(frozen=True)
class Numerical:
    """A slope that is known on the real line alone: a rational function between kinks, as far as it may turn."""

    slope: Function
    kinks: tuple[float, ...]
    _pieces: dict[int, Any] = field(default_factory=dict, compare=False, repr=False)

    def __getstate__(self) -> dict[str, Any]:
        return {"slope": self.slope, "kinks": self.kinks, "_pieces": {}}

    def without_digits(self, q: float) -> float:
        """Return the probability that the slope is not zero, but smaller than it is known, u of variance q."""
        u = np.linspace(-9, 9, 1801)
        found = np.abs(self._real(math.sqrt(q) * u))
        size = float(np.max(np.abs(self._real(np.linspace(-5.03, 4.97, 101)))))
        weight, small = np.exp(-(u**2) / 2), np.append(np.append(False, (found > 0) & (found < RIGHT * size)), False)
        lost = small[1:-1] & (small[:-2] | small[2:])  # one alone is a place where the slope changes its sign
        return float(weight[lost].sum() / weight.sum())

    def _real(self, u: Array) -> Array:
        with np.errstate(all="ignore"):
            return np.asarray(self.slope(u), dtype=float)

    def __call__(self, u: Array) -> Array:
        """Return phi'(u)."""
        u = np.asarray(u)
        out = np.empty(u.shape, dtype=u.dtype if np.iscomplexobj(u) else float)
        far = np.abs(u.real) > _REACH
        if far.any():
            x = u.real[far]
            out[far] = self._real(x) + (1j * u.imag[far] * derivative(self._real, x, self.kinks)
                                        if np.iscomplexobj(u) else 0.0)
        which = np.searchsorted(self.kinks, u.real)
        for i in np.unique(which[~far]):
            here = ~far & (which == i)
            out[here] = self._near(self._piece(int(i)), u[here])
        return out

    def _near(self, piece: Any, u: Array) -> Array:
        """Return the values of a piece; of an imaginary part that rounding would swallow, the first-order term."""
        if np.isrealobj(u):
            return np.asarray(piece(u.astype(complex))).real
        y = np.where(np.abs(u.imag) < _NEAR_AXIS, _NEAR_AXIS, u.imag)
        found = np.asarray(piece(u.real + 1j * y))
        return np.where(y == u.imag, found, found.real + 1j * u.imag / _NEAR_AXIS * found.imag)

    def _piece(self, i: int) -> Any:
        if i not in self._pieces:
            ends = [-_REACH, *self.kinks, _REACH]
            low, high = min(ends[i], ends[i + 1] - 1.0), max(ends[i + 1], ends[i] + 1.0)
            near = np.geomspace(1e-6, 1.0, 60) * (high - low) / 2
            points = np.unique(np.r_[np.linspace(low, high, 600)[1:-1], low + near, high - near])
            self._pieces[i] = _rational(points, self._real(points))
        return self._pieces[i]


def _rational(points: Array, values: Array) -> Any:
    from scipy.interpolate import AAA  # slow to import

    if np.ptp(values) <= 1e-13 * np.max(np.abs(values)):
        return lambda u: np.full(u.shape, values[0], dtype=complex)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return AAA(points, values, rtol=_FIT, max_terms=80)
