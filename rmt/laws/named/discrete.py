"""Laws with finitely many values."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property

from rmt.checks import Number, number
from rmt.laws.discrete_psi import DiscretePsi
from rmt.laws.master_curve import MasterCurve
from rmt.laws.positive import PositiveLaw


@dataclass(frozen=True, eq=False)
class Discrete(PositiveLaw):
    """Finitely many values x >= 0, not all zero, with probabilities.

    Parameters
    ----------
    values : sequence of numbers
        Distinct, at least one positive; kept sorted.
    weights : sequence of numbers
        Positive, one per value; they sum to one within 1e-12 and are then scaled to do so exactly.
    """

    values: tuple[Number, ...]
    weights: tuple[Number, ...]

    def __init__(self, values: Sequence[Number], weights: Sequence[Number]) -> None:
        points: list[Number] = [number("values", x, 0) for x in values]
        masses: list[Number] = [number("weights", p, 0, open_low=True) for p in weights]
        if len(points) != len(masses) or len(set(points)) != len(points) or not any(points):
            raise ValueError(f"values must be distinct, not all zero, one per weight, got {values!r}, {weights!r}")
        total = math.fsum(masses)
        if abs(total - 1) > 1e-12:
            raise ValueError(f"weights must sum to 1, got {weights!r} (sum {total!r})")
        order = sorted(range(len(points)), key=lambda i: Fraction(points[i]))
        object.__setattr__(self, "values", tuple(points[i] for i in order))
        object.__setattr__(self, "weights", tuple(masses[i] for i in order))

    @cached_property
    def curve(self) -> MasterCurve:
        """One non-zero value d of probability p: 1/S = d (p + w)/(1 + w). More: the transform itself."""
        total = sum((Fraction(p) for p in self.weights), Fraction(0))
        pairs = [(Fraction(x), Fraction(p) / total) for x, p in zip(self.values, self.weights, strict=True) if x]
        if len(pairs) == 1:
            (x, p), one = pairs[0], Fraction(1)
            return MasterCurve(x * p, ((p, one), (one, -one)) if p != 1 else ())
        values, weights = zip(*pairs, strict=True)
        return MasterCurve(slopes=((DiscretePsi(values, weights), Fraction(1), Fraction(1)),))
