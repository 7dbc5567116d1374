"""A data set as a source of inputs, and how images are standardised."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

_AT_ONCE = 4096  # samples


class Data(ABC):
    """Samples of a data set, drawn without replacement."""

    @property
    @abstractmethod
    def shape(self) -> tuple[int, ...]:
        """Shape of one sample."""

    @property
    @abstractmethod
    def count(self) -> int:
        """Number of samples."""

    @abstractmethod
    def take(self, rows: slice | NDArray[np.int64]) -> NDArray[np.float64]:
        """Return some samples, (samples, *shape)."""

    @property
    def mean_square(self) -> float:
        """Mean square of an entry."""
        return sum(float(np.sum(part**2)) for part in self._parts()) / (self.count * math.prod(self.shape))

    @property
    def correlation(self) -> float:
        """Mean cosine between two different inputs."""
        n, total = self.count, np.zeros(math.prod(self.shape))
        for part in self._parts():
            total += (part / np.linalg.norm(part, axis=1, keepdims=True)).sum(0)
        return float((np.linalg.norm(total) ** 2 - n) / (n * (n - 1)))

    def _parts(self) -> Iterator[NDArray[np.float64]]:
        """Yield all samples, flat, some thousands at a time."""
        for start in range(0, self.count, _AT_ONCE):
            part = self.take(slice(start, start + _AT_ONCE))
            yield part.reshape(len(part), -1)

    def most(self, count: int) -> int:
        """Return how many different inputs there are, up to count."""
        return min(count, self.count)

    def check(self, shape: tuple[int, ...]) -> None:
        """Raise unless an input of the data fits a network that takes this shape."""
        if math.prod(shape) != math.prod(self.shape):
            raise ValueError(f"inputs {self!r} have shape {self.shape}, the network takes {shape}")

    def draw(self, count: int, shape: tuple[int, ...], rng: np.random.Generator) -> NDArray[np.float64]:
        """Return `count` different inputs of the given shape."""
        self.check(shape)
        if count > self.count:
            raise ValueError(f"inputs_per_network must be at most {self.count} for {self!r}, got {count}")
        return self.take(rng.choice(self.count, count, replace=False)).reshape(count, *shape)


class Held(Data):
    """Samples that are one array, `values`."""

    values: NDArray[np.float64]

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of a row."""
        return self.values.shape[1:]

    @property
    def count(self) -> int:
        """Number of rows."""
        return len(self.values)

    def take(self, rows: slice | NDArray[np.int64]) -> NDArray[np.float64]:
        """Return some rows."""
        return self.values[rows]


def standardised(x: NDArray[np.float64], mean: float) -> NDArray[np.float64]:
    """Return images (samples, ...) less the mean of all pixels, each over its own root mean square."""
    x = x - mean
    size = np.sqrt(np.mean(x**2, axis=tuple(range(1, x.ndim)), keepdims=True))
    if not size.all():
        raise ValueError(f"image {int(np.argmin(size))} is the mean of all pixels everywhere: nothing to standardise")
    return x / size
