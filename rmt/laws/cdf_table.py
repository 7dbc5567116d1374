"""The cdf of a law in a table: asked often, of a law that takes long."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import PchipInterpolator

from rmt.laws.views import LogView

Array = NDArray[np.float64]

WITHIN = 1e-4  # of the cdf
_FIRST, _ROUNDS = 65, 8  # places in a band, and times that they are doubled where that is not enough
_TAIL = 1e-6  # of the mass, left out where a band has no end


@dataclass(frozen=True, eq=False)
class CdfTable:
    """What `LogView` says of atoms and of the cdf; the cdf is interpolated.

    Attributes
    ----------
    atoms : mapping
        Mass by ln s, exact.
    bands : array (bands, 2)
        Ends in ln s, increasing.
    places, continuous : array
        Along the bands, and the cdf there less the atoms: a place is the number of its band, and an angle over pi. In
        angles, as of points on a half circle over a band, a cdf is smooth at edges where it begins as a root.
    """

    atoms: Mapping[float, float]
    bands: Array
    places: Array
    continuous: Array

    def cdf(self, t: Array) -> Array:
        """Return the cdf at ln s."""
        found = sum((mass * (t >= place) for place, mass in self.atoms.items()), np.zeros_like(t))
        if self.places.size:
            i = np.maximum(np.searchsorted(self.bands[:, 0], t, side="right") - 1, 0)
            low, high = self.bands[i].T
            place = i + np.arccos(1 - 2 * np.clip((t - low) / (high - low), 0, 1)) / np.pi
            found = found + np.where(t < self.bands[0, 0], 0.0, _between(self.places, self.continuous, place))
        return np.clip(found, 0.0, 1.0)


def tabulated(law: LogView) -> CdfTable:
    """Return the table of a law, right to `WITHIN` wherever it was compared with the law, between all its places."""
    atoms = law.atoms
    bands = np.array([(low if np.isfinite(low) else float(law.ppf(_TAIL)), high) for low, high in law.support])

    def continuous(place: Array) -> Array:
        i = np.minimum(place.astype(int), len(bands) - 1)
        low, high = bands[i].T
        t = low + (high - low) * np.sin(np.pi / 2 * (place - i)) ** 2
        return np.asarray(law.cdf(t) - sum((mass * (t >= at) for at, mass in atoms.items()), np.zeros_like(t)))

    places = np.arange(len(bands) * (_FIRST - 1) + 1) / (_FIRST - 1) if len(bands) else np.empty(0)
    values = continuous(places) if places.size else places
    near = np.arange(len(places) - 1)  # the intervals that are asked
    for _ in range(_ROUNDS):
        if not near.size:
            break
        middle = (places[near] + places[near + 1]) / 2
        found = continuous(middle)
        off = np.abs(_between(places, values, middle) - found) > WITHIN
        order = np.argsort(np.r_[places, middle])
        places, values = np.r_[places, middle][order], np.r_[values, found][order]
        at = np.searchsorted(places, middle[off])
        near = np.unique(np.r_[at - 1, at])
    return CdfTable(atoms, bands, places, values)


def _between(places: Array, values: Array, at: Array) -> Array:
    return np.asarray(PchipInterpolator(places, values)(at))
