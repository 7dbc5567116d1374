"""Point masses: the law of a scalar."""

from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property

from rmt.checks import Number, number
from rmt.laws.finite_law import FiniteLaw


@dataclass(frozen=True, eq=False)
class PointMass(FiniteLaw):
    """All mass at x: the law of a scalar. S(w) = 1/x for x > 0; `+` shifts by x.

    Parameters
    ----------
    x : int, float or Fraction
        Finite; positive in a product.
    """

    x: Number

    def __post_init__(self) -> None:
        object.__setattr__(self, "x", number("x", self.x))

    @property
    def values(self) -> tuple[Number, ...]:
        """The one value."""
        return (self.x,)

    @property
    def weights(self) -> tuple[Number, ...]:
        """Its probability, one."""
        return (1,)

    @cached_property
    def _point_masses(self) -> tuple[tuple[Fraction, Fraction], ...]:
        return ((Fraction(self.x), Fraction(1)),)
