"""Activation functions and their averages over a Gaussian preactivation u ~ N(0, q)."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from rmt.checks import Number, by_name, number
from rmt.laws.law import Law
from rmt.laws.named.bernoulli import Bernoulli
from rmt.laws.named.discrete import Discrete
from rmt.laws.named.point_mass import PointMass

Array = NDArray[np.float64]

_FAR = 9.5  # standard deviations; 2e-21 of the mass is outside


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


@dataclass(frozen=True, repr=False)
class HardTanh(ActivationFunction):
    """u clipped to [-1, 1]."""

    def __repr__(self) -> str:
        return "activations.hardtanh"

    def __str__(self) -> str:
        return "hardtanh"

    def mean(self, q: float) -> float:
        """Return 0: the function is odd."""
        return 0.0

    def cross(self, q: float, rho: float) -> float:
        """Return q P(|z| < c) - 2 q c pdf(c) + P(|z| > c) at rho = 1, c = 1/sqrt q; else an integral over one variable.

        Of phi(u1) E[phi(u2) | u1], the latter in closed form, by Gauss and Legendre between the kinks: right to 1e-12
        of E phi^2.
        """
        if abs(rho) == 1:
            c = 1 / math.sqrt(q)
            density = math.exp(-c * c / 2) / math.sqrt(2 * math.pi)
            return rho * (q * (math.erf(c / math.sqrt(2)) - 2 * c * density) + math.erfc(c / math.sqrt(2)))
        if rho == 0:
            return 0.0
        scale, c, spread = math.sqrt(q), 1 / math.sqrt(q), math.sqrt((1 - rho) * (1 + rho))
        width = spread / abs(rho)  # over which E[phi(u2) | u1] turns, beside c/rho
        kinks = [c, *(c / abs(rho) + k * width for k in (-8, -3, -1, 0, 1, 3, 8))]
        ends = np.unique(np.clip([*np.linspace(0, _FAR, 20), *kinks], 0, _FAR))
        node, weight = np.polynomial.legendre.leggauss(24)
        half = np.diff(ends)[:, None] / 2
        z = ends[:-1, None] + half * (1 + node)
        given = _mean_of_clipped(rho * scale * z, scale * spread)
        normal = np.exp(-(z**2) / 2) / math.sqrt(2 * math.pi)
        return float(2 * np.sum(np.minimum(scale * z, 1) * given * normal * weight * half))

    def squared_slope(self, q: float) -> Law:
        """One with probability P(|u| < 1) = erf(1/sqrt(2 q)), else zero."""
        return Bernoulli(math.erf(1 / math.sqrt(2 * q)))


def _mean_of_clipped(mean: Array, std: float) -> Array:
    """Return E of a normal variable clipped to [-1, 1]."""
    low, high = (-1 - mean) / std, (1 - mean) / std
    bump = (np.exp(-(low**2) / 2) - np.exp(-(high**2) / 2)) / math.sqrt(2 * math.pi)
    return np.asarray(ndtr(-high) - ndtr(low) + mean * (ndtr(high) - ndtr(low)) + std * bump)


linear = LeakyReLU(1)
relu = LeakyReLU(0)
hardtanh = HardTanh()


def leaky_relu(slope: Number = 0.01) -> LeakyReLU:
    """Return u for u > 0, slope * u below (torch's default slope)."""
    return LeakyReLU(number("slope", slope))


REGISTRY: dict[str, Any] = {"linear": linear, "identity": linear, "relu": relu, "leaky_relu": leaky_relu,
                            "hardtanh": hardtanh}


def activation(name: str | ActivationFunction) -> ActivationFunction:
    """Return the function that a name, a call as text, or a function means."""
    return name if isinstance(name, ActivationFunction) else by_name("activation", name, REGISTRY)
