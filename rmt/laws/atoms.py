"""Point masses of free products and sums: where they are, and how much."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Sequence
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from rmt.laws.master_curve import MasterCurve
from rmt.laws.rational import power

Places = list[tuple[Fraction, Fraction]]


def candidates(curve: MasterCurve) -> tuple[tuple[Fraction, Fraction], ...]:
    """Return each finite x > 0 where w may be infinite, with its mass, which is not negative, in increasing x.

    1/S must be bounded as w grows, so one Gaussian matrix removes every atom. Then x is the product of one
    atom of each factor, and its mass is one minus what the others of every factor weigh (Bercovici and
    Voiculescu 1998, Theorem 7.4). Mass zero: an edge with a diverging density.
    """
    if curve.drift or sum((k for _, k in curve.powers), Fraction(0)) != 0:
        return ()
    found = [(curve.scale, 1 + sum((k * m for m, k in curve.powers), Fraction(0)))]
    for m, k in curve.powers:
        found = [(x * power(m, -k), mass) for x, mass in found]
    lacking = [[(power(d, k), k * m * (1 - p)) for d, p in law.point_masses] for law, m, k in curve.slopes]
    return tuple((x, mass) for x, mass in combined(found, lacking, operator.mul) if mass >= 0)


def combined(found: Places, lacking: Sequence[Places],
             join: Callable[[Fraction, Fraction], Fraction]) -> tuple[tuple[Fraction, Fraction], ...]:
    """Return the places with their masses, increasing, joined with one of every law, where some mass may be left.

    `lacking` has the places of every law and what its other values weigh.
    """
    least = [min((lack for _, lack in places), default=Fraction(2)) for places in lacking]
    for i, places in enumerate(lacking):
        later = sum(least[i + 1 :], Fraction(0))
        found = [(join(x, place), mass - lack) for x, mass in found for place, lack in places if mass - lack >= later]
    return tuple(sorted(found))


def at_place(x: float, places: NDArray[np.float64], room: float) -> float:
    """Return the nearest place where x is within `room` of it: there it is exact; else x."""
    if not (places.size and math.isfinite(x)):
        return x
    at = float(places[np.abs(places - x).argmin()])
    return at if abs(at - x) <= room else x


def positive_atoms(curve: MasterCurve) -> tuple[tuple[Fraction, Fraction], ...]:
    """Return the atoms (x, mass) with x > 0, in increasing x."""
    return tuple((x, mass) for x, mass in candidates(curve) if mass > 0)
