"""Where the inputs of a measurement come from, and the two numbers that a prediction needs of them."""

from __future__ import annotations

import hashlib
import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rmt.checks import Number, positive


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

    def most(self, count: int) -> int:
        """Return how many different inputs there are, up to count."""
        return count

    def check(self, shape: tuple[int, ...]) -> None:
        """Accept every shape."""

    def draw(self, count: int, shape: tuple[int, ...], rng: np.random.Generator) -> NDArray[np.float64]:
        """Return `count` inputs of the given shape."""
        return rng.standard_normal((count, *shape)) * math.sqrt(self.variance)


class Data(ABC):
    """Rows of a data set, drawn without replacement."""

    @property
    @abstractmethod
    def values(self) -> NDArray[np.float64]:
        """One input a row, (samples, *shape)."""

    @property
    def mean_square(self) -> float:
        """Mean square of an entry."""
        return float(np.mean(self.values**2))

    @property
    def correlation(self) -> float:
        """Mean cosine between two different inputs."""
        flat = self.values.reshape(len(self.values), -1)
        unit = flat / np.linalg.norm(flat, axis=1, keepdims=True)
        n = len(unit)
        return float((np.linalg.norm(unit.sum(0)) ** 2 - n) / (n * (n - 1)))

    def most(self, count: int) -> int:
        """Return how many different inputs there are, up to count."""
        return min(count, len(self.values))

    def check(self, shape: tuple[int, ...]) -> None:
        """Raise unless an input of the data fits a network that takes this shape."""
        if math.prod(shape) != math.prod(self.values.shape[1:]):
            raise ValueError(f"inputs {self!r} have shape {self.values.shape[1:]}, the network takes {shape}")

    def draw(self, count: int, shape: tuple[int, ...], rng: np.random.Generator) -> NDArray[np.float64]:
        """Return `count` different inputs of the given shape."""
        self.check(shape)
        if count > len(self.values):
            raise ValueError(f"inputs_per_network must be at most {len(self.values)} for {self!r}, got {count}")
        return self.values[rng.choice(len(self.values), count, replace=False)].reshape(count, *shape)


@dataclass(frozen=True, eq=False)
class Array(Data):
    """The rows of an array under a name, which identifies them in results."""

    name: str
    x: NDArray[np.float64]

    def __repr__(self) -> str:
        return self.name

    @property
    def values(self) -> NDArray[np.float64]:
        """The array."""
        return self.x


@dataclass(frozen=True, repr=False)
class Digits(Data):
    """scikit-learn's handwritten digits; holds nothing, so that a worker process loads its own."""

    def __repr__(self) -> str:
        return "digits()"

    @property
    def values(self) -> NDArray[np.float64]:
        """The 1797 standardised images, flat."""
        return _digits()


Inputs = Gaussian | Data


def gaussian(variance: Number = 1.0) -> Gaussian:
    """Return independent normal inputs with entries of this variance."""
    return Gaussian(positive("variance", variance))


def array(x: ArrayLike, name: str | None = None) -> Array:
    """Return the rows of an array (samples, *shape) as inputs; finite, no row of zeros, at least two rows.

    Without a name, a checksum of the values identifies them.
    """
    values = np.array(x, dtype=float)
    if values.ndim < 2 or len(values) < 2:
        raise ValueError(f"x must be an array (samples, *shape) of two rows or more, got shape {values.shape}")
    if not np.all(np.isfinite(values)):
        raise ValueError("x must be finite, got NaN or inf")
    if np.any(np.all(values.reshape(len(values), -1) == 0, axis=1)):
        raise ValueError("x must not have a row of zeros")
    return Array(name or f"array {values.shape} {hashlib.sha256(values.tobytes()).hexdigest()[:12]}", values)


def digits() -> Digits:
    """Return scikit-learn's 1797 handwritten digits of 8 x 8 pixels.

    The global mean is subtracted and each image divided by its own root mean square, so that one input
    variance (1) describes them; two images have a cosine of .48 on average.
    """
    _digits()
    return Digits()


@cache
def _digits() -> NDArray[np.float64]:
    try:
        from sklearn.datasets import load_digits
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError("digits needs scikit-learn: pip install 'rmt[data]'") from error
    x = load_digits().data
    x = x - x.mean()
    return x / np.sqrt(np.mean(x**2, axis=1, keepdims=True))
