"""The statistics of a signal at one place of a network, over its random weights."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


class Border(NamedTuple):
    """What zeros beyond the border leave at each position (height, width), over what there is on a circle.

    Of the mean square of the signal, and of the mean square of the Jacobian from there to any one input.
    """

    square: Array
    gain: Array


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
    stream : float
        Variance of the stream of which an entry is a multiple, in units in which shortcuts are identities: two places
        on one stream have the correlation sqrt(less / more).
    """

    shape: tuple[int, ...]
    mean: float
    variance: float
    correlation: float
    gaussian: bool
    stream: float = 0.0

    @property
    def size(self) -> int:
        """Number of entries."""
        return math.prod(self.shape)

    @property
    def mean_square(self) -> float:
        """Return E x^2."""
        return self.mean**2 + self.variance
