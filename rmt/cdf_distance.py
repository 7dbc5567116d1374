"""How far the values of several networks are from a law: the sup distance of the cdfs, and its bootstrap."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rmt.laws.cdf_table import CdfTable
from rmt.laws.views import LogView

Array = NDArray[np.float64]

_RESAMPLES = 1000
_LEVEL = 0.95
_WHOLE = 2**22  # values: a resampled count is far under 2^24
_CELLS = 2_000_000  # of one block of the bootstrap: it stays small, and near the processor


@dataclass(frozen=True, eq=False)
class CdfDistance:
    """Values of several networks beside a law, both given that they are finite.

    Attributes
    ----------
    law : LogView or CdfTable
        Of ln s given s > 0.
    log_values : array (networks, values)
        ln s, -inf for zeros.
    unseen : float
        Of the values at or under this only the number is known.
    snap : float
        Values within this of an atom are on it.
    """

    law: LogView | CdfTable
    log_values: Array
    unseen: float
    snap: float

    @cached_property
    def _sorted(self) -> tuple[Array, NDArray[np.intp]]:
        """The finite values of all networks, increasing, and whose each is."""
        t, owner = self.log_values.ravel(), np.repeat(np.arange(len(self.log_values)), self.log_values.shape[1])
        for place in self.law.atoms:
            t = np.where(np.abs(t - place) <= self.snap, place, t)
        t, owner = t[t > -np.inf], owner[t > -np.inf]
        order = np.argsort(t, kind="stable")
        return t[order], owner[order]

    @cached_property
    def _places(self) -> tuple[Array, Array, Array, NDArray[np.intp]]:
        """Where a cdf jumps: ln s, the law's cdf just before and at each, and how many values are up to it."""
        atoms = self.law.atoms
        places = np.unique(np.r_[self._sorted[0], list(atoms)])
        at = np.atleast_1d(self.law.cdf(places))
        before = at - np.array([atoms.get(place, 0.0) for place in places])
        return places, before, at, np.searchsorted(self._sorted[0], places, side="right")

    @property
    def empty(self) -> bool:
        """Whether no value is finite."""
        return self._sorted[0].size == 0

    def sup(self, weights: NDArray[Any]) -> Array:
        """Return the sup distance of the pooled cdf from the law for each row of network weights (rows, networks)."""
        places, before, at, ends = self._places
        counts = np.cumsum(weights[:, self._sorted[1]], axis=1)
        total = np.maximum(counts[:, -1:], 1)
        pooled = np.where(ends > 0, counts[:, ends - 1], 0) / total
        # Of the places at or under a resolution only the total count is known: just above the last of them.
        unseen = int(np.searchsorted(places, self.unseen, side="right"))
        after, first = max(unseen - 1, 0), max(unseen, 1)
        gaps = np.abs(pooled[:, after:] - at[after:]).max(axis=1)
        if first < places.size:
            gaps = np.maximum(gaps, np.abs(pooled[:, first - 1 : -1] - before[first:]).max(axis=1))
        return np.asarray(gaps if unseen else np.maximum(gaps, before[0]))

    @cached_property
    def pooled(self) -> float:
        """The sup distance, all networks counting alike."""
        return float(self.sup(np.ones((1, len(self.log_values))))[0])

    @cached_property
    def _quantiles(self) -> tuple[float, float, float]:
        """Lower end, median and upper end of the distance of resampled networks."""
        resampled = np.concatenate([self.sup(rows) for rows in self._resamples()])
        low, middle, high = np.quantile(resampled, [(1 - _LEVEL) / 2, 0.5, (1 + _LEVEL) / 2])
        return float(low), float(middle), float(high)

    @property
    def corrected(self) -> float:
        """That distance less its bias: noise only adds to a largest distance, and resampled networks add it again."""
        return self._reflected(self._quantiles[1])

    @property
    def interval(self) -> tuple[float, float]:
        """95 % interval of the corrected distance: basic (reflected) bootstrap over networks, in [0, 1]."""
        low, _, high = self._quantiles
        return self._reflected(high), self._reflected(low)

    @property
    def scatter(self) -> float:
        """Half the width of that interval before it is cut at 0 and 1."""
        low, _, high = self._quantiles
        return (high - low) / 2

    def _reflected(self, resampled: float) -> float:
        return min(1.0, max(0.0, 2 * self.pooled - resampled))

    def _resamples(self) -> Iterator[NDArray[Any]]:
        networks = len(self.log_values)
        draws = np.random.default_rng(0).multinomial(networks, np.full(networks, 1 / networks), size=_RESAMPLES)
        size = self._sorted[0].size
        rows = max(1, _CELLS // size)
        for i in range(0, _RESAMPLES, rows):  # counts are whole numbers: single precision holds them up to 2^24
            yield draws[i : i + rows].astype(np.float32 if size < _WHOLE else np.float64)

    def difference(self, points: int) -> tuple[Array, Array, Array]:
        """Return places ln s, measured minus predicted cdf there, and its standard error across networks."""
        places, _, at, _ = self._places
        values, owner = self._sorted
        keep = np.unique(np.linspace(0, places.size - 1, min(points, places.size)).round().astype(int))
        counts = np.zeros((keep.size + 1, len(self.log_values)))
        np.add.at(counts, (np.searchsorted(places[keep], values), owner), 1.0)
        counts = np.cumsum(counts, axis=0)
        share = counts[:-1] / counts[-1].mean()
        pooled = share.mean(axis=1)
        spread = share - pooled[:, None] * (counts[-1] / counts[-1].mean())  # of a ratio of means
        networks = len(self.log_values)
        error = np.std(spread, axis=1, ddof=1) / math.sqrt(networks) if networks > 1 else 0 * pooled
        return places[keep], pooled - at[keep], error
