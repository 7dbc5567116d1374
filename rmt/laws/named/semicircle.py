"""The semicircle law."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from rmt.checks import Number, positive
from rmt.laws.distribution import Array
from rmt.laws.law import ComplexArray, Law
from rmt.laws.located import Cauchy


@dataclass(frozen=True, repr=False)
class Semicircle(Law):
    """Eigenvalues of a symmetric Gaussian matrix with entries of variance std^2/N (Wigner 1955).

    Mean 0, standard deviation `std`, density sqrt(4 std^2 - x^2) / (2 pi std^2) on [-2 std, 2 std]; R(w) = std^2 w.

    Parameters
    ----------
    std : int, float or Fraction
        Positive; kept as `deviation`, for `std()` is a method.
    """

    deviation: Number

    def __init__(self, std: Number = 1) -> None:
        object.__setattr__(self, "deviation", positive("std", std))

    def __repr__(self) -> str:
        return f"Semicircle({self.deviation!r})"

    _point_masses = ()
    _elementary_r = True

    @property
    def _unit(self) -> float:
        return float(self.deviation)

    @property
    def _bands(self) -> tuple[tuple[float, float], ...]:
        return ((-2 * self._unit, 2 * self._unit),)

    @np.errstate(over="ignore")
    def pdf(self, x: ArrayLike) -> Any:
        """Return sqrt(4 std^2 - x^2) / (2 pi std^2)."""
        x, top = np.asarray(x, dtype=float), 2 * self._unit
        return (np.sqrt(np.maximum((top - x) * (top + x), 0.0)) / (math.pi * top * self._unit))[()]

    def sf(self, x: ArrayLike) -> Any:
        """Return P(X > x)."""
        u = np.clip(np.asarray(x, dtype=float) / (2 * self._unit), -1, 1)
        return np.clip((np.arccos(u) - u * np.sqrt((1 - u) * (1 + u))) / math.pi, 0, 1)[()]

    def cdf(self, x: ArrayLike) -> Any:
        """Return P(X <= x)."""
        return self.sf(-np.asarray(x, dtype=float))

    def _cauchy(self, z: ComplexArray, state: Any = None) -> Cauchy:
        root = np.sqrt(z - 2 * self._unit) * np.sqrt(z + 2 * self._unit)
        f = (z + root) / 2  # 1/G

        @np.errstate(divide="ignore")
        def slope() -> ComplexArray:
            return -1 / (f * root)

        return Cauchy(1 / f, [], slope, lambda: np.log(f) + (self._unit / f) ** 2 / 2)

    def _r_parts(self, g: ComplexArray) -> tuple[ComplexArray, ComplexArray]:
        variance = self._unit**2
        return variance * g, np.full_like(g, variance)

    def _r_potential(self, g: ComplexArray) -> ComplexArray:
        return self._unit**2 * g**2 / 2

    def _cumulants(self, n: int) -> Array:
        return self._unit**2 * (np.arange(1, n + 1) == 2)
