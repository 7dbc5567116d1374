"""The Marchenko-Pastur law."""

import math
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

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

    @cached_property
    def _numbers(self) -> tuple[float, ...]:
        """Ratio c, its root, and each edge as a float and the rest: next to it the density has no more digits."""
        c = Fraction(self.ratio)
        root = Fraction(math.sqrt(c))
        root += (c - root**2) / (2 * root)
        lo, hi = (1 - root) ** 2, (1 + root) ** 2
        rests = [float(end - Fraction(float(end))) for end in (lo, hi)]
        return float(c), float(root), float(lo), rests[0], float(hi), rests[1]

    def pdf(self, x: ArrayLike) -> Any:
        """Return sqrt((hi - x)(x - lo)) / (2 pi ratio x)."""
        x = np.asarray(x, dtype=float)
        c, _, lo, lo_rest, hi, hi_rest = self._numbers
        root = np.sqrt(np.maximum(((hi - x) + hi_rest) * ((x - lo) - lo_rest), 0.0))
        return np.divide(root, (2 * math.pi * c) * x, out=np.zeros_like(root), where=root != 0)[()]

    def sf(self, x: ArrayLike) -> Any:
        """Return P(X > x), by the angle of w = e^(-i theta)/sqrt(ratio) on the band."""
        x = np.asarray(x, dtype=float)
        c, root, lo, _, hi, _ = self._numbers
        a, b = (np.sqrt(np.clip(d, 1e-300, 4 * root)) for d in (hi - x, x - lo))
        angles = np.arctan2(2 * a * b, 4 * root * (root - 1) + 2 * b * b) + np.arctan2(
            2 * a * b, 4 * (1 - root) + 2 * b * b) / c
        return np.where(x < 0, 1.0, (angles - a * b / (2 * c)) / math.pi)[()]
