"""The law of the squared slope of a function at a normal variable."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from rmt.laws.contour import FLAT, Contour
from rmt.laws.distribution import Array
from rmt.laws.errors import ConvergenceError
from rmt.laws.local_slope import localised
from rmt.laws.located import Local
from rmt.laws.master_curve import MasterCurve
from rmt.laws.normal_panels import panels, rough_and_fine
from rmt.laws.positive import PositiveLaw
from rmt.laws.psi import joined
from rmt.laws.rational import log_of, safe_exp
from rmt.laws.smooth_psi import Function, SmoothPsi

_TOUCHES = 1e-11  # in ln x: an atom so near to a band's end is at it


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

    # ---- the law itself needs no curve: it is that of a normal variable -------------------------------

    @cached_property
    def _contour(self) -> Contour:
        function, variance, _ = self._local_slope
        return SmoothPsi(function, variance).contour

    @cached_property
    def _log_scale(self) -> float:
        return log_of(self._local_slope[2])

    @cached_property
    def _bands(self) -> tuple[tuple[float, float], ...]:
        bands = joined((piece.logs[::-1] for piece in self._contour.pieces), FLAT)
        atoms = [math.log(x) for x in self._contour.point_masses]
        shift = self._log_scale
        return tuple((start + shift, end + shift) for low, high in bands for start, end in itertools.pairwise(
            [low, *sorted(x for x in atoms if low + _TOUCHES < x < high - _TOUCHES), high]))

    @property
    def _between(self) -> tuple[()]:
        return ()

    @property
    def _rate(self) -> float:
        return 1 / float(self.curve.order)

    @property
    def _dear(self) -> bool:
        return False

    @property
    def _rounding(self) -> float:
        return 1e-15

    def _at(self, t: Array, state: Any = None) -> Local:
        lower, upper, density = self._contour.parts(t - self._log_scale, math.sqrt(self._local_slope[1]))
        with np.errstate(divide="ignore"):
            return Local(np.log(density), [], lambda: (lower, upper))

    # ---- averages --------------------------------------------------------------------------------------

    def expect(self, f: Callable[[Array], ArrayLike]) -> float:
        """Return E f(X), an average over u: Gauss-Legendre panels, then scipy's adaptive rule, to 1e-12 of E |f(X)|."""
        return self._average(lambda z: f(self._value_at(z)))

    def mean(self) -> float:
        """Return E X; inf above every float."""
        return safe_exp(self._log_scale + math.log(self._mean))

    def var(self) -> float:
        """Return the variance; inf above every float."""
        spread = self._average(lambda z: (np.exp(self._log_square(z)) - self._mean) ** 2, 1e-15 * self._mean)
        return safe_exp(2 * self._log_scale + math.log(spread)) if spread else 0.0

    @cached_property
    def _mean(self) -> float:
        """E X over its scale."""
        return self._average(lambda z: np.exp(self._log_square(z)))

    def _log_square(self, z: Array) -> Array:
        """Return ln X less that of its scale."""
        function, variance, _ = self._local_slope
        with np.errstate(divide="ignore", under="ignore"):
            return 2 * np.log(np.abs(np.real(function.slope(math.sqrt(variance) * z))))

    def _value_at(self, z: Array) -> Array:
        with np.errstate(over="ignore", under="ignore"):
            return np.exp(self._log_square(z) + self._log_scale)

    def _average(self, f: Callable[[Array], ArrayLike], rounding: float = 0.0) -> float:
        """Return E f(z) over a standard normal z, panel by panel; `rounding` is that of the root of f."""
        from scipy.integrate import cubature  # slow to import

        function, variance, _ = self._local_slope

        def both(z: Array) -> Array:
            value = np.asarray(f(z)) + 0 * z
            return np.stack([value, np.abs(value)])

        def integrand(z: Array) -> Array:
            return (both(z[:, 0]) * np.exp(-(z[:, 0] ** 2) / 2) / math.sqrt(2 * math.pi)).T

        ends = panels(function.kinks, math.sqrt(variance))
        low, high = ends[:-1], ends[1:]
        rules = [found.T for found in rough_and_fine(both, ends)]
        size = float(rules[1][:, 1].sum())
        settled = 1e-13 * size + rounding * math.sqrt(size)
        rough = ~(np.abs(rules[1] - rules[0])[:, 0] <= settled)
        total = float(rules[1][~rough, 0].sum())
        for left, right in zip(low[rough], high[rough], strict=True):
            found = cubature(integrand, [left], [right], rtol=1e-12, atol=settled if math.isfinite(size) else 1e-13)
            if found.status != "converged" or not np.all(np.isfinite(found.estimate)):
                raise ConvergenceError("expectation did not settle: f must be finite and piecewise smooth")
            total += float(found.estimate[0])
        return total

    def __repr__(self) -> str:
        return f"SquaredSlope({self.function!r}, {self.variance!r})"
