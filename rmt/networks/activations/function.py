"""What an activation function is: its averages over a Gaussian preactivation u ~ N(0, q), and the law of its slopes."""

from __future__ import annotations

import itertools
import math
from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rmt.checks import Number
from rmt.networks.gaussian_average import average, product_average

if TYPE_CHECKING:
    from rmt.laws.law import Law

Array = NDArray[Any]

_JUMP = 1e-12  # of the size of a value: a difference that is no rounding
_BESIDE = 1e-40  # zero
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

    def square_growth(self, q: ArrayLike) -> Any:
        """Return dE phi(u)^2/dq = E phi(u) phi'(u) u / q, q > 0, and what each jump of phi adds to it."""
        q = np.asarray(q, dtype=float)
        smooth = average(lambda u: self.value(u) * self.slope(u) * u, 0.0, np.sqrt(q), self.kinks) / q
        for place, below, above in self.jumps:
            density = np.exp(-(place**2) / (2 * q)) / np.sqrt(2 * math.pi * q)
            smooth = smooth + place / (2 * q) * (above**2 - below**2) * density
        return smooth[()]

    @property
    def jumps(self) -> tuple[tuple[float, float, float], ...]:
        """Where phi itself jumps, and its values below and above."""
        found = []
        for kink in self.kinks:
            beside = (np.nextafter(kink, side) if kink else math.copysign(_BESIDE, side) for side in (-np.inf, np.inf))
            below, above = (float(self.value(np.array([u]))[0]) for u in beside)
            if abs(above - below) > _JUMP * max(abs(kink), abs(above), abs(below)) + math.sqrt(_BESIDE):
                found.append((kink, below, above))
        return tuple(found)

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
        below = [Fraction(0), *(_cdf(cut / math.sqrt(2 * q)) if q else Fraction(1, 2) for cut in cuts), Fraction(1)]
        values = [mean_square(self.slope, low, high, q) for low, high in pieces]
        shares = [high - low for low, high in itertools.pairwise(below)]
        if max(values) - min(values) < FLAT * max(values):
            return PointMass(sum((x * share for x, share in zip(values, shares, strict=True)), Fraction(0)))
        masses = defaultdict[Fraction, Fraction](Fraction)
        for x, share in zip(values, shares, strict=True):
            masses[x] += share
        return Discrete([*masses], [*masses.values()])


def _cdf(x: float) -> Fraction:
    """Return P(u < x) of u of variance 1/2, exact differences of which have their digits in the tails too."""
    if abs(x) <= 2:
        return (1 + Fraction(math.erf(x))) / 2
    return Fraction(math.erfc(-x)) / 2 if x < 0 else 1 - Fraction(math.erfc(x)) / 2


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
        return f"activations.{self.name}"

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


class Formula(NamedTuple):
    """Functions that differ by parameters.

    Attributes
    ----------
    value, slope : callable
        phi and phi', of an array and the parameters.
    kinks : callable
        The kinks, of the parameters.
    make : callable
        The function for given parameters, which it checks.
    """

    value: Callable[..., Array]
    slope: Callable[..., Array]
    kinks: Callable[..., tuple[float, ...]]
    make: Callable[..., ActivationFunction]


FAMILIES: dict[str, Formula] = {}


class Member(ActivationFunction):
    """A function of a family: called with parameters it returns the one that has them."""

    family: str
    parameters: tuple[Number, ...]

    def __repr__(self) -> str:
        return f"activations.{self}"

    def __str__(self) -> str:
        inside = ", ".join(repr(int(x) if x == int(x) else x) for x in self.parameters)
        return f"{self.family}({inside})" if inside else self.family

    def __call__(self, *parameters: Number, **named: Number) -> ActivationFunction:
        """Return the function of the family with these parameters."""
        return FAMILIES[self.family].make(*parameters, **named)


@dataclass(frozen=True, repr=False)
class OfFamily(Member):
    """A function by its formula; no parameters are the formula's own."""

    family: str
    parameters: tuple[Number, ...] = ()

    @property
    def kinks(self) -> tuple[float, ...]:
        """As the formula has them."""
        return FAMILIES[self.family].kinks(*map(float, self.parameters))

    def value(self, u: Array) -> Array:
        """Return phi(u)."""
        return FAMILIES[self.family].value(u, *map(float, self.parameters))

    def slope(self, u: Array) -> Array:
        """Return phi'(u)."""
        return FAMILIES[self.family].slope(u, *map(float, self.parameters))


@dataclass(frozen=True, repr=False)
class Scaled(Member):
    """outer f(inner u): all that is known of f is known of it, at the variance inner^2 q."""

    family: str
    parameters: tuple[Number, ...]
    base: ActivationFunction
    inner: Number
    outer: Number

    def _of(self, q: ArrayLike) -> Any:
        return np.asarray(q, dtype=float)[()] * float(self.inner) ** 2

    @property
    def kinks(self) -> tuple[float, ...]:
        """Those of f, over inner."""
        return tuple(sorted(kink / float(self.inner) for kink in self.base.kinks))

    def value(self, u: Array) -> Array:
        """Return outer f(inner u)."""
        return float(self.outer) * self.base.value(float(self.inner) * u)

    def slope(self, u: Array) -> Array:
        """Return outer inner f'(inner u)."""
        return float(self.outer) * float(self.inner) * self.base.slope(float(self.inner) * u)

    def mean(self, q: ArrayLike) -> Any:
        """Return outer E f."""
        return float(self.outer) * self.base.mean(self._of(q))

    def cross(self, q: ArrayLike, rho: ArrayLike) -> Any:
        """Return outer^2 E f f."""
        return float(self.outer) ** 2 * self.base.cross(self._of(q), rho)

    def slope_cross(self, q: ArrayLike, rho: ArrayLike) -> Any:
        """Return (outer inner)^2 E f' f'."""
        return (float(self.outer) * float(self.inner)) ** 2 * self.base.slope_cross(self._of(q), rho)

    def square_growth(self, q: ArrayLike) -> Any:
        """Return dE phi^2/dq."""
        return (float(self.outer) * float(self.inner)) ** 2 * self.base.square_growth(self._of(q))

    def squared_slope(self, q: float) -> Law:
        """Return the law of f'(inner u)^2, times (outer inner)^2."""
        return (Fraction(self.outer) * Fraction(self.inner)) ** 2 * self.base.squared_slope(float(self._of(q)))
