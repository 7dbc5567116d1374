"""The free multiplicative Brownian motion: many small residual blocks."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property

from rmt.checks import Number, positive
from rmt.laws.master_curve import MasterCurve
from rmt.laws.positive import PositiveLaw


@dataclass(frozen=True, eq=False)
class MultiplicativeBrownian(PositiveLaw):
    """Eigenvalues of J^T J, J a product of many 1 + A, the A small and R-diagonal (Gaussian or Haar matrices in each).

    S(w) = e^(-c (1 + 2 w)): mean e^c, variance 2 c e^(2c) (Biane 1997; Tarnowski et al. 2019).

    Parameters
    ----------
    variance : number
        c, the sum over blocks of E |A_l u|^2 / |u|^2; positive.
    """

    variance: Number

    def __post_init__(self) -> None:
        positive("variance", self.variance)

    @cached_property
    def curve(self) -> MasterCurve:
        """1/S = e^c e^(2 c w)."""
        return MasterCurve(Fraction(math.exp(self.variance)), drift=2 * Fraction(self.variance))

    @property
    def edges(self) -> tuple[float, float]:
        """1/l and l = (s + 1)/(s - 1) e^(c s), s = sqrt(1 + 2/c): the ends of the support, in closed form."""
        c = float(self.variance)
        s = math.sqrt(1 + 2 / c)
        top = math.exp(c * s) * c * (s + 1) ** 2 / 2
        return 1 / top, top
