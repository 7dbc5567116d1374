"""Where the inputs of a measurement come from, and the two numbers that a prediction needs of them."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec

import numpy as np
from numpy.typing import ArrayLike, NDArray

from empirical.cifar10 import Cifar10, cifar10
from empirical.data import Data, Held, standardised
from rmt.checks import Number, positive

_MISSING = "digits needs scikit-learn: pip install 'rmt[data]'"

__all__ = ["Array", "Cifar10", "Data", "Digits", "Gaussian", "Inputs", "array", "cifar10", "digits", "gaussian"]


@dataclass(frozen=True)
class Gaussian:
    """Independent normal entries of the given variance."""

    variance: Number

    @property
    def mean_square(self) -> float:
        """Mean square of an entry."""
        return float(self.variance)

    @property
    def correlation(self) -> float:
        """Cosine between two inputs."""
        return 0.0

    @property
    def shape(self) -> None:
        """None: there are inputs of any shape."""

    def most(self, count: int) -> int:
        """Return how many different inputs there are, up to count."""
        return count

    def check(self, shape: tuple[int, ...]) -> None:
        """Accept every shape."""

    def draw(self, count: int, shape: tuple[int, ...], rng: np.random.Generator) -> NDArray[np.float64]:
        """Return `count` inputs of the given shape."""
        return rng.standard_normal((count, *shape)) * math.sqrt(self.variance)


@dataclass(frozen=True, eq=False)
class Array(Held):
    """The rows of an array under a name, which identifies them in results: shape and checksum are added to it."""

    name: str
    values: NDArray[np.float64]

    def __post_init__(self) -> None:
        if not self.name.endswith(tail := f"{self.values.shape} {_checksum(self.values)}"):
            object.__setattr__(self, "name", f"{self.name} {tail}")

    def __repr__(self) -> str:
        return self.name


def _checksum(values: NDArray[np.float64]) -> str:
    return hashlib.sha256(values.tobytes()).hexdigest()[:12]


@dataclass(frozen=True, repr=False)
class Digits(Held):
    """scikit-learn's handwritten digits; holds nothing, so that a worker process loads its own."""

    def __repr__(self) -> str:
        return "digits()"

    @property
    def shape(self) -> tuple[int, ...]:
        """8 x 8 pixels, flat: known before they are loaded, which takes a second."""
        return (64,)

    @property
    def values(self) -> NDArray[np.float64]:  # type: ignore[override]
        """The 1797 standardised images, flat."""
        return _digits()


Inputs = Gaussian | Data


def gaussian(variance: Number = 1.0) -> Gaussian:
    """Return independent normal inputs with entries of this variance."""
    return Gaussian(positive("variance", variance))


def array(x: ArrayLike, name: str | None = None) -> Array:
    """Return the rows of an array (samples, *shape) as inputs; finite, no row of zeros, at least two rows.

    A checksum of the values, behind the name, identifies them.
    """
    values = np.array(x, dtype=float)
    if values.ndim < 2 or len(values) < 2:
        raise ValueError(f"x must be an array (samples, *shape) of two rows or more, got shape {values.shape}")
    if not values.size:
        raise ValueError(f"x must have entries in every row, got shape {values.shape}")
    if not np.all(np.isfinite(values)):
        raise ValueError("x must be finite, got NaN or inf")
    if np.any(np.all(values.reshape(len(values), -1) == 0, axis=1)):
        raise ValueError("x must not have a row of zeros")
    return Array(name or "array", values)


def digits() -> Digits:
    """Return scikit-learn's 1797 handwritten digits of 8 x 8 pixels.

    The global mean is subtracted and each image divided by its own root mean square, so that one input
    variance (1) describes them; two images have a cosine of .48 on average.
    """
    if find_spec("sklearn") is None:
        raise ModuleNotFoundError(_MISSING, name="sklearn")
    return Digits()


@cache
def _digits() -> NDArray[np.float64]:
    try:
        from sklearn.datasets import load_digits
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(_MISSING, name="sklearn") from error
    return standardised(load_digits().data, float(load_digits().data.mean()))
