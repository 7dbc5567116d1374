"""Point masses of a free product, at zero and away from it."""

from __future__ import annotations

from fractions import Fraction

from rmt.laws.master_curve import MasterCurve
from rmt.laws.rational import power


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
    if not all(lacking):
        return ()
    least = [min(lack for _, lack in places) for places in lacking]
    for i, places in enumerate(lacking):
        later = sum(least[i + 1 :], Fraction(0))
        found = [(x * d, mass - lack) for x, mass in found for d, lack in places if mass - lack >= later]
    return tuple(sorted((x, mass) for x, mass in found if mass >= 0))


def positive_atoms(curve: MasterCurve) -> tuple[tuple[Fraction, Fraction], ...]:
    """Return the atoms (x, mass) with x > 0, in increasing x."""
    return tuple((x, mass) for x, mass in candidates(curve) if mass > 0)
