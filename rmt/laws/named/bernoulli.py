"""Bernoulli masks: the law of a projection."""

from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property

from rmt.checks import Number, number
from rmt.laws.finite_law import FiniteLaw


@dataclass(frozen=True, eq=False)
class Bernoulli(FiniteLaw):
    """One with probability p (keeps), zero otherwise: the eigenvalues of a projection. S(w) = (1+w)/(p+w).

    Parameters
    ----------
    p : int, float or Fraction
        Probability of one, in (0, 1].
    """

    p: Number

    def __post_init__(self) -> None:
        object.__setattr__(self, "p", number("p", self.p, 0, open_low=True, high=1))

    @property
    def values(self) -> tuple[Number, ...]:
        """Zero and one."""
        return (0, 1) if self.p != 1 else (1,)

    @property
    def weights(self) -> tuple[Number, ...]:
        """Their probabilities."""
        return (1 - self.p, self.p) if self.p != 1 else (1,)

    @cached_property
    def _point_masses(self) -> tuple[tuple[Fraction, Fraction], ...]:
        p = Fraction(self.p)
        return ((Fraction(0), 1 - p), (Fraction(1), p)) if p != 1 else ((Fraction(1), p),)
