"""The sine, whose averages are closed: at large variance its argument is uniform on the circle."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from rmt.networks.activations.function import Array, Member

if TYPE_CHECKING:
    from rmt.laws.law import Law

_UNIFORM = 18.5  # variance from which on the density of u mod pi is 1/pi to 2 exp(-2 q) = 2e-16


@dataclass(frozen=True, repr=False)
class Sine(Member):
    """The sine of u."""

    family: str = "sin"
    parameters: tuple[()] = ()

    @property
    def kinks(self) -> tuple[()]:
        """None."""
        return ()

    def value(self, u: Array) -> Array:
        """Return sin u."""
        return np.sin(u)

    def slope(self, u: Array) -> Array:
        """Return cos u."""
        return np.cos(u)

    def mean(self, q: ArrayLike) -> Any:
        """Return 0."""
        return np.zeros(np.shape(q))[()]

    def cross(self, q: ArrayLike, rho: ArrayLike) -> Any:
        """Return exp(-q) sinh(q rho)."""
        q, rho = np.asarray(q, dtype=float), np.asarray(rho, dtype=float)
        size = np.abs(rho)
        return (np.sign(rho) * np.exp(-q * (1 - size)) * -np.expm1(-2 * q * size) / 2)[()]

    def slope_cross(self, q: ArrayLike, rho: ArrayLike) -> Any:
        """Return exp(-q) cosh(q rho)."""
        q, rho = np.asarray(q, dtype=float), np.asarray(rho, dtype=float)
        return ((np.exp(-q * (1 - rho)) + np.exp(-q * (1 + rho))) / 2)[()]

    def square_growth(self, q: ArrayLike) -> Any:
        """Return exp(-2 q)."""
        return np.exp(-2 * np.asarray(q, dtype=float))[()]

    def squared_slope(self, q: float) -> Law:
        """Return the law of cos(u)^2: at large variance the arcsine law, a corner of half of a projection."""
        if q < _UNIFORM:
            return super().squared_slope(q)
        from rmt.laws.named.bernoulli import Bernoulli  # not before a law is asked for

        return Bernoulli(Fraction(1, 2)).compress(Fraction(1, 2))
