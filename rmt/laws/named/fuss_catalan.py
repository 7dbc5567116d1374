"""The Fuss-Catalan laws."""

from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property

from rmt.checks import integer
from rmt.laws.master_curve import MasterCurve
from rmt.laws.positive import PositiveLaw


@dataclass(frozen=True, eq=False)
class FussCatalan(PositiveLaw):
    """Eigenvalues of J^T J, J a product of `depth` square matrices with independent entries of variance 1/N.

    MarchenkoPastur(1) ** depth: moments C((L+1)k, k)/(Lk+1), top edge (L+1)^(L+1)/L^L, hard edge
    x^(-L/(L+1)) at zero (Penson and Zyczkowski 2011; Bjorck et al. 2018, Theorem 1).

    Parameters
    ----------
    depth : int
        Number of matrices, at least 1.
    """

    depth: int

    def __post_init__(self) -> None:
        object.__setattr__(self, "depth", integer("depth", self.depth))

    @cached_property
    def curve(self) -> MasterCurve:
        """1/S = (1 + w)^depth."""
        return MasterCurve(powers=((Fraction(1), Fraction(self.depth)),))
