"""The law of given values with given probabilities."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property

from rmt.checks import Number, number
from rmt.laws.finite_law import FiniteLaw
from rmt.text import listed


@dataclass(frozen=True, eq=False, repr=False)
class Discrete(FiniteLaw):
    """Finitely many values with probabilities; products need values >= 0.

    Parameters
    ----------
    values : sequence of numbers
        Distinct; kept sorted. A repr of more than 24 says their number and range alone, and does not rebuild the law.
    weights : sequence of numbers
        Positive, one per value; they sum to one within 1e-12 and are then scaled to do so exactly.
    """

    values: tuple[Number, ...]
    weights: tuple[Number, ...]

    def __init__(self, values: Sequence[Number], weights: Sequence[Number]) -> None:
        points: list[Number] = [number("values", x) for x in values]
        masses: list[Number] = [number("weights", p, 0, open_low=True) for p in weights]
        if not points or len(points) != len(masses) or len(set(points)) != len(points):
            raise ValueError(f"values must be distinct, one per weight, got {values!r}, {weights!r}")
        total = math.fsum(masses)
        if abs(total - 1) > 1e-12:
            raise ValueError(f"weights must sum to 1, got {weights!r} (sum {total!r})")
        order = sorted(range(len(points)), key=lambda i: Fraction(points[i]))
        object.__setattr__(self, "values", tuple(points[i] for i in order))
        object.__setattr__(self, "weights", tuple(masses[i] for i in order))

    def __repr__(self) -> str:
        return f"Discrete(values={listed(self.values)}, weights={listed(self.weights)})"

    @cached_property
    def _point_masses(self) -> tuple[tuple[Fraction, Fraction], ...]:
        total = sum((Fraction(p) for p in self.weights), Fraction(0))
        return tuple((Fraction(x), Fraction(p) / total) for x, p in zip(self.values, self.weights, strict=True))
