"""Activation functions and their averages over a Gaussian preactivation u ~ N(0, q)."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, ClassVar

from rmt.checks import Number, by_name, number
from rmt.laws.law import Law
from rmt.laws.named.discrete import Discrete
from rmt.laws.named.point_mass import PointMass


class ActivationFunction(ABC):
    """A pointwise function phi: what the mean field and the Jacobian need to know of it."""

    by_sign: ClassVar[bool] = False  # whether phi'(u) depends on the sign of u alone

    @abstractmethod
    def mean(self, q: float) -> float:
        """Return E phi(u)."""

    @abstractmethod
    def cross(self, q: float, rho: float) -> float:
        """Return E phi(u1) phi(u2) for u1, u2 of variance q and correlation rho; E phi^2 at rho = 1."""

    @abstractmethod
    def squared_slope(self, q: float) -> Law:
        """Return the law of phi'(u)^2, the squared entries of the layer's diagonal Jacobian."""


@dataclass(frozen=True, repr=False)
class LeakyReLU(ActivationFunction):
    """u for u > 0, slope * u below; slope 0 is ReLU, slope 1 is linear. Every average is exact."""

    by_sign: ClassVar[bool] = True
    slope: Number

    def __repr__(self) -> str:
        name = "relu" if self.slope == 0 else "linear" if self.slope == 1 else f"leaky_relu({self.slope!r})"
        return f"activations.{name}"

    def __str__(self) -> str:
        return repr(self).removeprefix("activations.")

    def mean(self, q: float) -> float:
        """Return (1 - slope) sqrt(q / 2 pi)."""
        return (1 - float(self.slope)) * math.sqrt(q / (2 * math.pi))

    def cross(self, q: float, rho: float) -> float:
        """Return slope rho q + (1 - slope)^2 q [sqrt(1 - rho^2) + (pi - arccos rho) rho] / 2 pi (Cho and Saul 2009)."""
        a = float(self.slope)
        arc_cosine = math.sqrt(1 - rho**2) + (math.pi - math.acos(rho)) * rho
        return q * (a * rho + (1 - a) ** 2 * arc_cosine / (2 * math.pi))

    def squared_slope(self, q: float) -> Law:
        """One or slope^2, each with probability 1/2."""
        low, half = Fraction(self.slope) ** 2, Fraction(1, 2)
        return PointMass(1) if low == 1 else Discrete((low, 1), (half, half))


linear = LeakyReLU(1)
relu = LeakyReLU(0)


def leaky_relu(slope: Number = 0.01) -> LeakyReLU:
    """Return u for u > 0, slope * u below (torch's default slope)."""
    return LeakyReLU(number("slope", slope))


REGISTRY: dict[str, Any] = {"linear": linear, "identity": linear, "relu": relu, "leaky_relu": leaky_relu}


def activation(name: str | ActivationFunction) -> ActivationFunction:
    """Return the function that a name, a call as text, or a function means."""
    return name if isinstance(name, ActivationFunction) else by_name("activation", name, REGISTRY)
