"""Bernoulli masks and point masses: a projection, a scalar."""

from dataclasses import dataclass
from functools import cached_property

from rmt.checks import Number, number, positive
from rmt.laws.master_curve import MasterCurve
from rmt.laws.named.discrete import Discrete
from rmt.laws.positive import PositiveLaw


@dataclass(frozen=True, eq=False)
class Bernoulli(PositiveLaw):
    """One with probability p (keeps), zero otherwise: the eigenvalues of a projection. S(w) = (1+w)/(p+w).

    Parameters
    ----------
    p : int, float or Fraction
        Probability of one, in (0, 1].
    """

    p: Number

    def __post_init__(self) -> None:
        object.__setattr__(self, "p", number("p", self.p, 0, open_low=True, high=1))

    @cached_property
    def curve(self) -> MasterCurve:
        """1/S = (p + w)/(1 + w)."""
        return Discrete((0, 1), (1 - self.p, self.p)).curve if self.p != 1 else MasterCurve()


@dataclass(frozen=True, eq=False)
class PointMass(PositiveLaw):
    """All mass at x: the law of a scalar. S(w) = 1/x.

    Parameters
    ----------
    x : int, float or Fraction
        Positive (the product of free variables with zero is zero, which has no S-transform).
    """

    x: Number

    def __post_init__(self) -> None:
        object.__setattr__(self, "x", positive("x", self.x))

    @cached_property
    def curve(self) -> MasterCurve:
        """1/S = x."""
        return Discrete((self.x,), (1,)).curve
