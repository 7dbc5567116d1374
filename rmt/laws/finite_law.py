"""Laws with finitely many values: what they share."""

import math
from abc import abstractmethod
from collections.abc import Iterable
from fractions import Fraction
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rmt.laws import series
from rmt.laws.batches import batches
from rmt.laws.discrete_psi import DiscretePsi
from rmt.laws.distribution import Array
from rmt.laws.law import ComplexArray, Law
from rmt.laws.located import Cauchy
from rmt.laws.master_curve import MasterCurve


def finite_curve(points: Iterable[tuple[Fraction, Fraction]]) -> MasterCurve:
    """Return the curve of values x >= 0 and their probabilities.

    One non-zero value d of probability p: 1/S = d (p + w)/(1 + w). More: the transform itself.
    """
    pairs = [(x, p) for x, p in points if x]
    if len(pairs) == 1:
        (x, p), one = pairs[0], Fraction(1)
        return MasterCurve(x * p, ((p, one), (one, -one)) if p != 1 else ())
    values, weights = zip(*pairs, strict=True)
    return MasterCurve(slopes=((DiscretePsi(values, weights), Fraction(1), Fraction(1)),))


class FiniteLaw(Law):
    """A law with finitely many values, which subclasses give."""

    @cached_property
    @abstractmethod
    def _point_masses(self) -> tuple[tuple[Fraction, Fraction], ...]:
        """The values and their probabilities, increasing."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, FiniteLaw) and self._point_masses == other._point_masses

    def __hash__(self) -> int:
        return hash(self._point_masses)

    @property
    def _bands(self) -> tuple[tuple[float, float], ...]:
        return ()

    @property
    def _unit(self) -> float:
        return 0.0

    @cached_property
    def _arrays(self) -> tuple[Array, Array]:
        return np.array(list(self.atoms)), np.array(list(self.atoms.values()))

    @cached_property
    def curve(self) -> MasterCurve:
        """The curve of its values; `Law.curve` refuses those of negative ones, and of zero alone."""
        points = self._point_masses
        return finite_curve(points) if points[0][0] >= 0 and points[-1][0] > 0 else super().curve

    def _cauchy(self, z: ComplexArray, state: Any = None) -> Cauchy:
        _, _, g, slope, _ = self._branch(z)
        return Cauchy(g, [], lambda: slope, lambda: self._branch_potential(z))

    def _branch_potential(self, at: ComplexArray) -> ComplexArray:
        values, weights = self._arrays
        found = np.empty(at.size, dtype=complex)
        for part in batches(at.size, values.size):
            found[part] = np.log(at[part, None] - values) @ weights
        return found

    def _branch(self, at: NDArray[Any]) -> tuple[NDArray[Any], ...]:
        """Return z, dz, G, dG and h; of real points in real numbers."""
        values, weights = self._arrays
        both = np.stack([weights, weights * values], axis=1).astype(at.dtype)
        g, h, slope = np.empty((3, at.size), dtype=at.dtype)
        for part in batches(at.size, values.size):
            inverse: NDArray[Any] = 1 / (at[part, None] - values)
            g[part], h[part] = (inverse @ both).T
            slope[part] = np.square(inverse, out=inverse) @ weights
        return at, np.ones_like(at), g, -slope, -h / g

    def _moment(self, k: int) -> float:
        return math.fsum(float(p) * float(x) ** k for x, p in self._point_masses)

    def _cumulants(self, n: int) -> Array:
        centre = self._moment(1)  # all but the first are those of X - E X, whose moments cancel less
        values, weights = self._arrays
        central = [float(weights @ (values - centre) ** k) for k in range(2, n + 1)]
        if n <= 3:
            return np.array([centre, *central])
        return np.array([centre, *series.cumulants_of_moments(np.array([0.0, *central]))[1:]])
