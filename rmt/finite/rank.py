"""How many singular values of a finite network are exactly zero."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.special import bdtr, bdtrc


@dataclass(frozen=True)
class RankDistribution:
    """The rank of a chain: the least of n_inputs and independent Binomial(n_l, p_l) numbers of active units.

    The law's mass at zero is its limit; at width n the minimum over layers lies below it (n = 200, ten ReLU
    layers: mass .554 at zero, not 1/2). A residual block 1 + Q, Q Haar in O(n), has one zero if det Q = -1, for then -1
    is an eigenvalue of Q. Kernels and images turned at random meet no more than they must: zeros of factors do not add
    up, the least rank counts.

    Attributes
    ----------
    n_inputs : int
        Columns of the Jacobian.
    active : tuple of (n, p)
        Units of each layer and the probability that one is active.
    independent : bool
        Whether units are active independently of each other; else (hard-tanh: all depend on one norm) the number of
        active units spreads more than this distribution does, and only its mean is about right.
    singular : tuple of (n, parts, copies, p)
        Residual blocks of n dimensions whose branch turns `parts` spaces, each `copies` times (a convolution does so
        at every position): each loses `copies` dimensions with probability p.
    """

    n_inputs: int
    active: tuple[tuple[int, float], ...]
    independent: bool = True
    singular: tuple[tuple[int, int, int, float], ...] = ()

    @cached_property
    def pmf(self) -> NDArray[np.float64]:
        """Probabilities of rank 0 .. n_inputs."""
        k = np.arange(self.n_inputs + 2)
        tail = np.where(k <= self.n_inputs, 1.0, 0.0)  # P(rank >= k)
        for n, p in self.active:
            at_least = bdtrc(np.minimum(k - 1.0, n), n, p) if p < 1 else (k <= n).astype(float)
            tail = tail * np.where(k == 0, 1.0, np.where(k <= n, at_least, 0.0))
        for n, parts, copies, p in self.singular:
            tail = tail * np.where(k <= n, bdtr(np.minimum((n - k) // copies, parts), parts, p), 0.0)
        return -np.diff(tail)

    @property
    def mass_at_zero(self) -> float:
        """Expected fraction of zero singular values."""
        return 1 - float(self.pmf @ np.arange(self.n_inputs + 1)) / self.n_inputs

    @property
    def shift(self) -> float:
        """Share of the limit law's non-zero mass that the finite rank removes on average, in [0, 1]."""
        limit = min([1.0, *(n * p / self.n_inputs for n, p in self.active)])
        return max(0.0, 1 - (1 - self.mass_at_zero) / limit) if limit else 1.0  # less is left than a float tells from 0

    def mass_range(self, networks: int, level: float = 0.99) -> tuple[float, float]:
        """Return the central range of the fraction of zeros averaged over independent networks."""
        total = networks * self.n_inputs
        size = total + 1
        sums = np.fft.irfft(np.fft.rfft(self.pmf, n=2 * size) ** networks, n=2 * size)[:size]
        below = np.cumsum(sums)
        low = int(np.searchsorted(below, (1 - level) / 2))
        high = int(np.searchsorted(below, 1 - (1 - level) / 2))
        return 1 - min(high, total) / total, 1 - low / total
