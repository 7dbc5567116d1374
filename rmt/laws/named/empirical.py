"""The law of given values, each with the same probability."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property

import numpy as np

from rmt.checks import Number, number
from rmt.laws.finite_law import FiniteLaw
from rmt.text import listed


@dataclass(frozen=True, eq=False, repr=False)
class Empirical(FiniteLaw):
    """The law of given values, each with the same probability: the eigenvalues of one matrix.

    Parameters
    ----------
    values : sequence of numbers
        One-dimensional, at least one; repeated values weigh more. Kept sorted. A repr of more than 24 says their
        number and range alone, and does not rebuild the law.
    """

    values: tuple[Number, ...]

    def __init__(self, values: Sequence[Number]) -> None:
        if np.ndim(np.asarray(values)) != 1 or len(values) == 0:
            raise ValueError(f"values must be a sequence of numbers, at least one, got {values!r:.80}")
        object.__setattr__(self, "values", tuple(sorted(number("values", x) for x in values)))

    def __repr__(self) -> str:
        return f"Empirical(values={listed(self.values)})"

    @property
    def weights(self) -> tuple[Fraction, ...]:
        """The probability of each of the values."""
        return (Fraction(1, len(self.values)),) * len(self.values)

    @cached_property
    def _point_masses(self) -> tuple[tuple[Fraction, Fraction], ...]:
        counts = Counter(Fraction(x) for x in self.values)
        return tuple((x, Fraction(count, len(self.values))) for x, count in sorted(counts.items()))
