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
    places, continuous : array
        ln s, increasing, and the cdf there less the atoms.
    """

    atoms: Mapping[float, float]
    places: Array
    continuous: Array

    def cdf(self, t: Array) -> Array:
        """Return the cdf at ln s."""
        found = sum((mass * (t >= place) for place, mass in self.atoms.items()), np.zeros_like(t))
        if self.places.size:
            inside = np.clip(t, self.places[0], self.places[-1])
            found = found + np.where(t < self.places[0], 0.0, PchipInterpolator(self.places, self.continuous)(inside))
        return np.clip(found, 0.0, 1.0)


def tabulated(law: LogView) -> CdfTable:
    """Return the table of a law, right to `WITHIN` wherever it was compared with the law, between all its places."""
    atoms = law.atoms

    def continuous(t: Array) -> Array:
        return np.asarray(law.cdf(t) - sum((mass * (t >= place) for place, mass in atoms.items()), np.zeros_like(t)))

    bands = [(low if np.isfinite(low) else float(law.ppf(_TAIL)), high) for low, high in law.support]
    places = np.unique(np.concatenate([np.linspace(*band, _FIRST) for band in bands] or [np.empty(0)]))
    table = CdfTable(atoms, places, continuous(places) if places.size else places)
    ends = np.array([low for low, _ in bands])
    near = np.arange(len(places) - 1)  # the intervals that are asked
    for _ in range(_ROUNDS):
        near = near[~np.isin(table.places[near + 1], ends)]  # between two bands nothing changes
        if not near.size:
            break
        middle = (table.places[near] + table.places[near + 1]) / 2
        found = continuous(middle)
        off = np.abs(PchipInterpolator(table.places, table.continuous)(middle) - found) > WITHIN
        places = np.r_[table.places, middle]
        order = np.argsort(places)
        table = CdfTable(atoms, places[order], np.r_[table.continuous, found][order])
        at = np.searchsorted(table.places, middle[off])
        near = np.unique(np.r_[at - 1, at])
    return table
