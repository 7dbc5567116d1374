"""Infinitely deep products at a fixed width: Lyapunov exponents, and the picket fence of singular values."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import digamma, ndtr, polygamma

from rmt.checks import choice, integer

Array = NDArray[np.float64]

_DIMENSION = {"real": 1, "complex": 2}  # of the field: |W v|^2 is chi-squared of rows * dimension


def _halves(width: int, field: str) -> tuple[Array, int, int]:
    """Return half the degrees of freedom that exponent k has, k = 1..width, the width and the field's dimension."""
    width, dimension = integer("width", width), _DIMENSION[choice("field", field, _DIMENSION)]
    return dimension * np.arange(width, 0, -1) / 2, width, dimension


def lyapunov_exponents(width: int, field: str = "real") -> Array:
    """Return the exponents mu_1 > ... > mu_width, the limits of ln s_k / depth of a product of Gaussian matrices.

    Entries have variance 1/width (of a complex entry, E |W_ij|^2). mu_k = [ln(2/N) + digamma((N-k+1)/2)]/2 for real
    matrices, [-ln N + digamma(N-k+1)]/2 for complex ones (Newman 1986).

    Parameters
    ----------
    width : int
        At least 1.
    field : {"real", "complex"}
        Of the entries.
    """
    half, width, dimension = _halves(width, field)
    return np.asarray((digamma(half) - np.log(dimension * width / 2)) / 2)


@dataclass(frozen=True)
class PicketFence:
    """The law of ln s of a product of `depth` square Gaussian matrices, depth >> width, entries of variance 1/width.

    ln s_k is normal with mean depth * mu_k and variance depth * trigamma((N-k+1)/2)/4 (real; complex:
    trigamma(N-k+1)/4), independent of the others in the limit; where a spread reaches the next picket, which it
    does while depth is not far over width, the values repel and this is only the order of magnitude.

    Attributes
    ----------
    depth, width : int
        At least 1.
    field : {"real", "complex"}
        Of the entries.
    """

    depth: int
    width: int
    field: str = "real"

    def __post_init__(self) -> None:
        integer("depth", self.depth)
        _halves(self.width, self.field)

    @cached_property
    def mean(self) -> Array:
        """The mean of every ln s_k, descending."""
        return self.depth * lyapunov_exponents(self.width, self.field)

    @cached_property
    def std(self) -> Array:
        """The standard deviation of every ln s_k."""
        return np.sqrt(self.depth * polygamma(1, _halves(self.width, self.field)[0]) / 4)

    def pdf(self, log_s: ArrayLike) -> Any:
        """Return the density of ln s at log_s, averaged over the values."""
        z = (np.asarray(log_s, dtype=float)[..., None] - self.mean) / self.std
        return np.mean(np.exp(-(z**2) / 2) / (np.sqrt(2 * np.pi) * self.std), axis=-1)[()]

    def cdf(self, log_s: ArrayLike) -> Any:
        """Return the fraction of values with ln s <= log_s."""
        return np.mean(ndtr((np.asarray(log_s, dtype=float)[..., None] - self.mean) / self.std), axis=-1)[()]
