"""The statistics of a signal at one place of a network, over its random weights."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Signal:
    """One entry's statistics, the same for every entry of a layer.

    Attributes
    ----------
    shape : tuple of int
        Shape of the layer, channels first.
    mean, variance : float
        Of an entry over the weights.
    correlation : float
        E x x' / E x^2 of the same entry for two inputs (uncentred: the cosine between the two signals).
    gaussian : bool
        Whether an entry is Gaussian, which the averages of an activation take for granted.
    """

    shape: tuple[int, ...]
    mean: float
    variance: float
    correlation: float
    gaussian: bool

    @property
    def size(self) -> int:
        """Number of entries."""
        return math.prod(self.shape)

    @property
    def mean_square(self) -> float:
        """Return E x^2."""
        return self.mean**2 + self.variance
