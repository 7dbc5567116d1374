"""The Marchenko-Pastur law."""

from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property

from rmt.checks import Number, positive
from rmt.laws.master_curve import MasterCurve
from rmt.laws.positive import PositiveLaw


@dataclass(frozen=True, eq=False)
class MarchenkoPastur(PositiveLaw):
    """Eigenvalues of W^T W, W of m x n with independent entries of variance 1/m, ratio = n/m.

    Mean 1, variance `ratio`; an atom 1 - 1/ratio at zero if ratio > 1; continuous on
    [(1 - sqrt ratio)^2, (1 + sqrt ratio)^2]. S(w) = 1/(1 + ratio w) (Marchenko and Pastur 1967).

    Parameters
    ----------
    ratio : int, float or Fraction
        Positive.
    """

    ratio: Number = 1

    def __post_init__(self) -> None:
        object.__setattr__(self, "ratio", positive("ratio", self.ratio))

    @cached_property
    def curve(self) -> MasterCurve:
        """1/S = 1 + ratio w."""
        return MasterCurve(powers=((1 / Fraction(self.ratio), Fraction(1)),))
