"""Activation functions and their averages over a Gaussian preactivation u ~ N(0, q)."""

from __future__ import annotations

import itertools
import math
from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from rmt.checks import Number, by_name, number
from rmt.networks.gaussian_average import average, product_average

if TYPE_CHECKING:
    from rmt.laws.law import Law

Array = NDArray[Any]

_SLIVER = 2e-17  # standard deviations: so much of u around zero is no mass


class ActivationFunction(ABC):
    """A pointwise function phi: what the mean field and the Jacobian need to know of it.

    Averages take arrays of variances q and correlations rho.
    """

    by_sign: ClassVar[bool] = False  # whether phi'(u) depends on the sign of u alone

    @property
    @abstractmethod
    def kinks(self) -> tuple[float, ...]:
        """Where phi or its slope is another function on either side, increasing."""

    @abstractmethod
    def value(self, u: Array) -> Array:
        """Return phi(u)."""

    @abstractmethod
    def slope(self, u: Array) -> Array:
        """Return phi'(u), of real and complex arrays: analytic between kinks."""

    def mean(self, q: ArrayLike) -> Any:
        """Return E phi(u)."""
        return average(self.value, 0.0, np.sqrt(q), self.kinks)[()]

    def cross(self, q: ArrayLike, rho: ArrayLike) -> Any:
        """Return E phi(u1) phi(u2) for u1, u2 of variance q and correlation rho; E phi^2 at rho = 1."""
        return product_average(self.value, q, rho, self.kinks)[()]

    def slope_cross(self, q: ArrayLike, rho: ArrayLike) -> Any:
        """Return E phi'(u1) phi'(u2); E phi'^2 at rho = 1."""
        return product_average(self.slope, q, rho, self.kinks)[()]

    def squared_slope(self, q: float) -> Law:
        """Return the law of phi'(u)^2, the squared entries of the layer's diagonal Jacobian.

        Finitely many values where the slope is constant between kinks to 5e-8, as far as u reaches: their mean is kept,
        and a variance of less than 1e-14 of its square left out. What is within 1e-17 standard deviations of zero does
        not count beside slopes that are constant further out.
        """
        # loading the laws takes a while, and a name that is misspelt does not need them
        from rmt.laws.contour import FLAT, REACH, grid, mean_square
        from rmt.laws.named.discrete import Discrete
        from rmt.laws.named.point_mass import PointMass
        from rmt.laws.slope_law import SlopeLaw

        reach = max(REACH * math.sqrt(q), 1e-150)
        cuts = [kink for kink in self.kinks if -reach < kink < reach]
        pieces = [*itertools.pairwise([-reach, *cuts, reach])]
        points = grid(reach)
        if (near := _SLIVER * math.sqrt(q)) > 1 and not any(near < abs(kink) < reach for kink in self.kinks):
            sides = [np.real(self.slope(points[side * points > near])) for side in (-1, 1)]
            if all(np.ptp(side) == 0 for side in sides) and any(side.any() for side in sides):
                cuts, pieces = [0.0], [(-reach, -near), (near, reach)]
        for low, high in pieces:
            inside = np.r_[np.linspace(low, high, 41)[1:-1], points[(points > low) & (points < high)]]
            slopes = np.real(self.slope(inside))
            if np.ptp(slopes) > FLAT / 2 * np.max(np.abs(slopes)):
                return SlopeLaw(self, q)
        below = [Fraction(-1), *(Fraction(math.erf(cut / math.sqrt(2 * q))) if q else Fraction(0) for cut in cuts),
                 Fraction(1)]
        values = [mean_square(self.slope, low, high, q) for low, high in pieces]
        shares = [(high - low) / 2 for low, high in itertools.pairwise(below)]
        if max(values) - min(values) < FLAT * max(values):
            return PointMass(sum((x * share for x, share in zip(values, shares, strict=True)), Fraction(0)))
        masses = defaultdict[Fraction, Fraction](Fraction)
        for x, share in zip(values, shares, strict=True):
            masses[x] += share
        return Discrete([*masses], [*masses.values()])


@dataclass(frozen=True, repr=False)
class LeakyReLU(ActivationFunction):
    """u for u > 0, a u below; a = 0 is ReLU, a = 1 is linear. Every average is exact."""

    by_sign: ClassVar[bool] = True
    a: Number

    def __repr__(self) -> str:
        return f"activations.{self}"

    def __str__(self) -> str:
        return "relu" if self.a == 0 else "linear" if self.a == 1 else f"leaky_relu({self.a!r})"

    @property
    def kinks(self) -> tuple[float, ...]:
        """Zero, but for the linear function."""
        return () if self.a == 1 else (0.0,)

    def value(self, u: Array) -> Array:
        """Return u, or a u where u < 0."""
        return np.where(u > 0, u, float(self.a) * u)

    def slope(self, u: Array) -> Array:
        """Return 1, or a where u < 0."""
        return np.where(u > 0, 1.0, float(self.a))

    def mean(self, q: ArrayLike) -> Any:
        """Return (1 - a) sqrt(q / 2 pi)."""
        return (1 - float(self.a)) * np.sqrt(np.asarray(q, dtype=float) / (2 * math.pi))[()]

    def cross(self, q: ArrayLike, rho: ArrayLike) -> Any:
        """Return a rho q + (1 - a)^2 q [sqrt(1 - rho^2) + (pi - arccos rho) rho] / 2 pi (Cho and Saul 2009)."""
        a = float(self.a)
        if isinstance(q, float) and isinstance(rho, float):  # as in a block, of which there may be thousands
            sqrt, arccos = math.sqrt, math.acos
        else:
            q, rho, sqrt, arccos = np.asarray(q, dtype=float), np.asarray(rho, dtype=float), np.sqrt, np.arccos
        arc_cosine = sqrt((1 - rho) * (1 + rho)) + (math.pi - arccos(rho)) * rho
        return q * (a * rho + (1 - a) ** 2 * arc_cosine / (2 * math.pi))

    def slope_cross(self, q: ArrayLike, rho: ArrayLike) -> Any:
        """Return a + (1 - a)^2 (pi - arccos rho) / 2 pi."""
        a = float(self.a)
        angle = math.pi - np.arccos(np.asarray(rho, dtype=float))
        return (a + (1 - a) ** 2 * angle / (2 * math.pi) + 0 * np.asarray(q, dtype=float))[()]

    def squared_slope(self, q: float) -> Law:
        """One or a^2, each with probability 1/2."""
        from rmt.laws.named.discrete import Discrete
        from rmt.laws.named.point_mass import PointMass

        low, half = Fraction(self.a) ** 2, Fraction(1, 2)
        return PointMass(1) if low == 1 else Discrete((low, 1), (half, half))


@dataclass(frozen=True, repr=False)
class Pointwise(ActivationFunction):
    """A function given by its value and its slope.

    Attributes
    ----------
    name : str
        What it is called in tables and in results that are stored.
    function, derivative : callable
        phi and phi', of arrays.
    bends : tuple of float
        Its kinks.
    torch : callable or None
        A torch module, or a function of tensors: what `empirical.build` puts into the network.
    """

    name: str
    function: Callable[[Array], Array]
    derivative: Callable[[Array], Array]
    bends: tuple[float, ...] = ()
    torch: Any = None

    def __repr__(self) -> str:
        return f"activations.{self.name}" if self.name in REGISTRY else f"activations.custom({self.name!r}, ...)"

    def __str__(self) -> str:
        return self.name

    @property
    def kinks(self) -> tuple[float, ...]:
        """As given."""
        return self.bends

    def value(self, u: Array) -> Array:
        """Return phi(u)."""
        return self.function(u)

    def slope(self, u: Array) -> Array:
        """Return phi'(u)."""
        return self.derivative(u)


def custom(name: str, value: Callable[[Array], Array], slope: Callable[[Array], Array], kinks: Sequence[Number] = (),
           torch: Any = None) -> Pointwise:
    """Return an activation function of your own.

    Parameters
    ----------
    name : str
        Not that of a function which is there; it identifies the function in stored measurements.
    value, slope : callable
        phi and its derivative, of numpy arrays. `slope` is called with complex arrays too, as `np.tanh` and
        `np.where(u.real > 0, ...)` allow, and is analytic between kinks near the real line.
    kinks : sequence of float
        Where phi or phi' bends or jumps, but for smooth turns.
    torch : callable
        A torch module or function of tensors; only `empirical.build` needs it.
    """
    if not isinstance(name, str) or not name.isidentifier() or name in REGISTRY:
        raise ValueError(f"name must be a word that no function of rmt.activations has, got {name!r}")
    for key, f in (("value", value), ("slope", slope)):
        if not callable(f):
            raise TypeError(f"{key} must be a function of an array, got {f!r}")
    if torch is not None and not callable(torch):
        raise TypeError(f"torch must be a torch module or a function of tensors, got {torch!r}")
    if not isinstance(kinks, Sequence):
        raise TypeError(f"kinks must be a sequence of numbers, got {kinks!r}")
    bends = tuple(sorted({float(number(f"kinks[{i}]", kink)) for i, kink in enumerate(kinks)}))
    _check(name, value, slope, bends)
    return Pointwise(name, value, slope, bends, torch)


def _check(name: str, value: Callable[[Array], Array], slope: Callable[[Array], Array], kinks: Sequence[float]) -> None:
    """Raise unless the functions take arrays, are finite, and one is the derivative of the other."""
    u = np.linspace(-4.03, 3.97, 33)
    if kinks:
        u = u[np.min(np.abs(u[:, None] - np.array(kinks)), axis=1) > 0.05]
    if not u.size:
        raise ValueError(f"kinks must be further than .1 apart somewhere in [-4, 4], got {len(kinks)} of them")
    step, across_step = 1e-3, 1e-4

    def at(key: str, f: Callable[[Array], Array], points: Array) -> Array:
        try:
            with np.errstate(all="ignore"):
                found = np.asarray(f(points))
            valid = found.shape == points.shape and bool(np.all(np.isfinite(found)))
        except Exception as error:  # whatever a function of the user's own may raise
            raise ValueError(f"{key} of {name!r} must take real arrays, and slope complex ones: {error}") from None
        if not valid:
            raise ValueError(f"{key} of {name!r} must be finite and of the shape of its argument")
        return found

    ahead = (8 * (at("value", value, u + step) - at("value", value, u - step)) - at("value", value, u + 2 * step)
             + at("value", value, u - 2 * step)) / (12 * step)
    d, turned = at("slope", slope, u), at("slope", slope, u + 1j * across_step)
    across = (at("slope", slope, u + across_step) - at("slope", slope, u - across_step)) / 2
    off = np.abs(ahead - d) > 1e-6 * (1 + np.abs(d).max())
    if off.any():
        raise ValueError(f"slope of {name!r} must be the derivative of value: at u = {u[off][0]:.4g} it is "
                         f"{d[off][0]:.6g}, not {ahead[off][0]:.6g} (kinks, if any, go into kinks=)")
    off = np.abs(turned.imag - across) > 1e-3 * (1e-4 + np.abs(across).max())
    if off.any():
        raise ValueError(f"slope of {name!r} must be analytic between kinks, for it is called with complex arrays: at "
                         f"u = {u[off][0]:.4g} it is not (compare u.real in np.where; no abs, no real part)")


# ---- the functions ------------------------------------------------------------------------------------

_ROOT_PI, _ROOT_2PI = math.sqrt(math.pi), math.sqrt(2 * math.pi)
SELU_SCALE, SELU_ALPHA = 1.0507009873554804934193349852946, 1.6732632423543772848170429916717  # Klambauer et al. 2017


def _logistic(u: Array) -> Array:
    e = np.exp(np.where(u.real < 0, u, -u))
    return np.where(u.real < 0, e, 1.0) / (1 + e)


def _exp_below(u: Array) -> Array:
    return np.exp(np.where(u.real < 0, u, 0 * u))


def _tanh_slope(u: Array) -> Array:
    e = np.exp(2 * np.where(u.real < 0, u, -u))
    return 4 * e / (1 + e) ** 2


def _erf_slope(u: Array) -> Array:
    return 2 / _ROOT_PI * np.exp(-(u**2))


def _gelu(u: Array) -> Array:
    return u * special.ndtr(u)


def _gelu_slope(u: Array) -> Array:
    return special.ndtr(u) + u * np.exp(-(u**2) / 2) / _ROOT_2PI


def _silu(u: Array) -> Array:
    return u * _logistic(u)


def _silu_slope(u: Array) -> Array:
    return _logistic(u) * (1 + u * _logistic(-u))


def _elu(u: Array) -> Array:
    return np.where(u > 0, u, np.expm1(np.minimum(u, 0.0)))


def _elu_slope(u: Array) -> Array:
    return np.where(u.real > 0, 1.0, _exp_below(u))


def _selu(u: Array) -> Array:
    return SELU_SCALE * np.where(u > 0, u, SELU_ALPHA * np.expm1(np.minimum(u, 0.0)))


def _selu_slope(u: Array) -> Array:
    return SELU_SCALE * np.where(u.real > 0, 1.0, SELU_ALPHA * _exp_below(u))


def _sigmoid_slope(u: Array) -> Array:
    return _logistic(u) * _logistic(-u)


def _softplus(u: Array) -> Array:
    return np.logaddexp(0.0, u)


def _clip(u: Array) -> Array:
    return np.clip(u, -1.0, 1.0)


def _clip_slope(u: Array) -> Array:
    return np.where(np.abs(u.real) < 1, 1.0, 0.0)


linear = LeakyReLU(1)
relu = LeakyReLU(0)
elu = Pointwise("elu", _elu, _elu_slope, (0.0,))
selu = Pointwise("selu", _selu, _selu_slope, (0.0,))
gelu = Pointwise("gelu", _gelu, _gelu_slope)
silu = Pointwise("silu", _silu, _silu_slope)
tanh = Pointwise("tanh", np.tanh, _tanh_slope)
erf = Pointwise("erf", special.erf, _erf_slope)
hardtanh = Pointwise("hardtanh", _clip, _clip_slope, (-1.0, 1.0))
sigmoid = Pointwise("sigmoid", _logistic, _sigmoid_slope)
softplus = Pointwise("softplus", _softplus, _logistic)


def leaky_relu(slope: Number = 0.01) -> LeakyReLU:
    """Return u for u > 0, slope * u below (torch's default slope)."""
    return LeakyReLU(number("slope", slope))


REGISTRY: dict[str, Any] = {
    "linear": linear, "identity": linear, "relu": relu, "leaky_relu": leaky_relu, "elu": elu, "selu": selu,
    "gelu": gelu, "silu": silu, "swish": silu, "tanh": tanh, "erf": erf, "hardtanh": hardtanh, "sigmoid": sigmoid,
    "softplus": softplus,
}


def activation(name: str | ActivationFunction) -> ActivationFunction:
    """Return the function that a name, a call as text, or a function means."""
    return name if isinstance(name, ActivationFunction) else by_name("activation", name, REGISTRY)
