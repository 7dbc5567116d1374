"""The law of the squared slope of a function at a normal variable."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike

from rmt.laws.contour import REACH
from rmt.laws.distribution import Array
from rmt.laws.errors import ConvergenceError
from rmt.laws.local_slope import localised
from rmt.laws.master_curve import MasterCurve
from rmt.laws.positive import PositiveLaw
from rmt.laws.smooth_psi import Function, SmoothPsi


@dataclass(frozen=True, eq=False, repr=False)
class SlopeLaw(PositiveLaw):
    """The law of function.slope(u)^2, u ~ N(0, variance), for a slope that is analytic between kinks.

    It is cut at nine standard deviations of u, so its support ends there.
    """

    function: Function
    variance: float

    @cached_property
    def curve(self) -> MasterCurve:
        """The transform itself: there is no closed S."""
        function, variance, scale = self._local_slope
        return MasterCurve(scale, slopes=((SmoothPsi(function, variance), Fraction(1), Fraction(1)),))

    @cached_property
    def _local_slope(self) -> tuple[Function, float, Fraction]:
        """The slope, the variance of its argument and the scale of X: as given, or in units of sqrt(variance)."""
        found = localised(self.function, self.variance)
        return (self.function, self.variance, Fraction(1)) if found is None else (found[0], 1.0, found[1])

    def expect(self, f: Callable[[Array], ArrayLike]) -> float:
        """Return E f(X), an average over u: scipy's adaptive rule between kinks, to 1e-12 of E |f(X)|."""
        from scipy.integrate import cubature  # slow to import

        scale = math.sqrt(self.variance)
        ends = [-REACH, *(kink / scale for kink in self.function.kinks if abs(kink) < REACH * scale), REACH]

        def integrand(z: Array) -> Array:
            x = np.real(self.function.slope(scale * z[:, 0])) ** 2
            value = np.asarray(f(x)) * np.exp(-(z[:, 0] ** 2) / 2) / math.sqrt(2 * math.pi)
            return np.stack([value, np.abs(value)], axis=-1)

        total = np.zeros(2)
        for low, high in itertools.pairwise(ends):
            found = cubature(integrand, [low], [high], rtol=1e-12, atol=1e-13)
            if found.status != "converged":
                raise ConvergenceError("expectation did not settle: f must be finite and piecewise smooth")
            total += found.estimate
        return float(total[0])

    def __repr__(self) -> str:
        return f"SquaredSlope({self.function!r}, {self.variance!r})"
