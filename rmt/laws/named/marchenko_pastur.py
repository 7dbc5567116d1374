"""The Marchenko-Pastur law."""

import math
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from rmt.checks import Number, positive
from rmt.laws.distribution import Array
from rmt.laws.master_curve import MasterCurve
from rmt.laws.positive import PositiveLaw

_ONE = 1 << 200


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
        c, (above, below) = float(self.ratio), self.ratio.as_integer_ratio()
        root = math.isqrt(above * _ONE**2 // below)  # in units of 1/_ONE
        (lo, lo_rest), (hi, hi_rest) = (_rounded(end * end) for end in (_ONE - root, _ONE + root))
        return c, math.sqrt(c), lo, lo_rest, hi, hi_rest

    @property
    def support(self) -> tuple[tuple[float, float], ...]:
        """The interval (lo, hi) of the continuous part, to the last digit."""
        return ((self._numbers[2], self._numbers[4]),)

    def pdf(self, x: ArrayLike) -> Any:
        """Return sqrt((hi - x)(x - lo)) / (2 pi ratio x), infinite at x = 0 for ratio 1."""
        x = np.asarray(np.clip(x, -1e150, 1e150), dtype=float)  # whose squares are floats
        c, _, lo, lo_rest, hi, hi_rest = self._numbers
        inside = np.maximum(((hi - x) + hi_rest) * ((x - lo) - lo_rest), 0.0)
        return np.where((x == 0) & (c == 1), np.inf, np.sqrt(inside) / np.maximum(x, 5e-324) / (2 * math.pi * c))[()]

    def _tails(self, x: Array) -> tuple[Array, Array]:
        """Return the continuous mass below and above x, each with its own digits, by the angle of w on the band."""
        c, root, lo, _, hi, _ = self._numbers
        a, b = (np.sqrt(np.clip(d, 1e-300, 4 * root)) for d in (hi - x, x - lo))
        area, one, other = 2 * a * b, 4 * root * (root - 1) + 2 * b * b, 4 * (1 - root) + 2 * b * b
        first, second, rest = np.arctan2(area, one), np.arctan2(area, other) / c, area / (4 * c)
        if c == 1:
            below = 2 * np.arctan2(b, a)
        elif c < 1:
            below = np.arctan2(area, -one) - second
        else:
            below = np.arctan2(area, -other) / c - first
        return np.where(x <= lo, 0.0, (below + rest) / math.pi), np.minimum((first + second - rest) / math.pi, 1.0)

    def sf(self, x: ArrayLike) -> Any:
        """Return P(X > x)."""
        return np.where(np.less(x, 0), 1.0, self._tails(np.asarray(x, dtype=float))[1])[()]

    def cdf(self, x: ArrayLike) -> Any:
        """Return P(X <= x)."""
        below = max(0.0, 1 - 1 / self._numbers[0]) + self._tails(np.asarray(x, dtype=float))[0]
        return np.where(np.less(x, 0), 0.0, np.minimum(below, 1.0))[()]

    def ppf(self, q: ArrayLike) -> Any:
        """Return the quantile of `Law.ppf`, to the last digits by a Newton step on the nearer tail."""
        x, q = np.asarray(super().ppf(q)), np.asarray(q, dtype=float)
        low = q - max(0.0, 1 - 1 / self._numbers[0])
        below, above = self._tails(x)
        miss, density = np.where(below < above, below - low, (1 - q) - above), np.asarray(self.pdf(x))
        x = x - np.divide(miss, density, out=np.zeros_like(x), where=(low > 0) & (density > 0))
        return np.where(q == 1, self._numbers[4], np.where((q == 0) & (low == 0), self._numbers[2], x))[()]


def _rounded(end: int) -> tuple[float, float]:
    """Return end / _ONE^2 as the nearest float, and what that leaves."""
    above, below = (near := end / _ONE**2).as_integer_ratio()
    return near, (end * below - above * _ONE**2) / (below * _ONE**2)
