"""The 1/N term of the law of a chain of real Gaussian layers with independent slopes between them.

Let Omega = n_0 psi(1/x) be what every space of the chain shares, w_l = Omega/n_l, and D_l = d ln zeta/d ln Omega
where the squared slopes of space l have psi_l(zeta) = w_l (no slopes: D_l = 1/(1 + w_l)). Then ln x falls with
ln Omega at the rate D = 1 + sum_l (D_l - 1), and to order one

    E ln det(1 - J^T J/x) - n_0 E ln(1 - X/x) = 1/2 ln(D / prod_l D_l) + 1/2 sum_l (1 - D_l (1 + w_l)) (1 - D_l/D).

The first part is the mean of Bai and Silverstein (2004) layer by layer: a real Gaussian layer between spaces whose
partial products have D_a and D_b adds 1/2 ln(1 - (1/D_a - 1)(1/D_b - 1)), and the sum telescopes. The second is what
the slopes' own spread does, the empirical law of n_l draws standing for the law: half a second derivative.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from rmt.laws.logistic import sigmoids
from rmt.laws.master_curve import ComplexArray, MasterCurve
from rmt.laws.views import Spectrum

Array = NDArray[np.float64]

_LEVELS = 2000  # of the midpoint rule
_NO_SLOPES = MasterCurve()


@dataclass(frozen=True)
class Space:
    """A space of the chain: its dimension over n_0, and the curve of the squared slopes that act on it."""

    dimension: Fraction
    slopes: MasterCurve = _NO_SLOPES


@dataclass(frozen=True)
class ChainTerm:
    """How the mean over networks differs from the law, to order one in the number of values.

    Attributes
    ----------
    curve : MasterCurve
        Of J^T J.
    spaces : tuple of Space
        From the input's to the output's, with a Gaussian layer between each two.
    """

    curve: MasterCurve
    spaces: tuple[Space, ...]

    def count_above(self, log_x: Array) -> Array:
        """Return E of the number of eigenvalues above x minus n_0 P(X > x)."""
        v, y = self.curve.solve(np.asarray(log_x, dtype=float).astype(complex))
        s, rest = sigmoids(v)
        w = -float(self.curve.mass) * s
        d = -self.curve.log_x(v, y)[1] / rest
        total = np.log(d)
        for space, times in Counter(self.spaces).items():
            w_l = w / float(space.dimension)
            d_l = self._rate(space, w_l, y)
            total = total + times * ((1 - d_l * (1 + w_l)) * (1 - d_l / d) - np.log(d_l))
        return np.asarray(total.imag / (2 * math.pi))

    def mean_sums(self, spectrum: Spectrum, frequencies: Array) -> Array:
        """Return E sum_i cos(j pi u_i) over all n_0 values for each frequency j, u their level among the values > 0.

        The law's own sum is zero but for the values at zero, which count as u = 0 and are left out here.
        """
        u = (np.arange(_LEVELS) + 0.5) / _LEVELS
        above = self.count_above(2 * spectrum.log.ppf(u))
        turns = math.pi * np.asarray(frequencies, dtype=float)
        return np.asarray(-turns * (np.sin(np.outer(turns, u)) @ above) / _LEVELS)

    def _rate(self, space: Space, w: ComplexArray, y: list[ComplexArray]) -> ComplexArray:
        """Return d ln zeta / d ln w of the slopes of a space."""
        for (law, m, _), y_l in zip(self.curve.slopes, y, strict=True):
            if m == space.dimension and any(law == own for own, *_ in space.slopes.slopes):
                return np.asarray(1 / (law.logit(y_l)[1] * (1 + w / float(law.mass))))
        return np.asarray(1 - w / (1 + w) - sum(float(k) * w / (float(m) + w) for m, k in space.slopes.powers))
