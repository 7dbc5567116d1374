"""The mean over networks of what a chain of real Gaussian layers of finite width has, to order 1/width.

Given its slopes a chain has fixed spaces of n_l dimensions. Let Omega = n_0 psi(1/x) be what they share, w_l =
Omega/n_l, and D_l = d ln zeta/d ln Omega where the squared slopes of space l have psi_l(zeta) = w_l (no slopes:
D_l = 1/(1 + w_l)). Then ln x falls with ln Omega at the rate D = 1 + sum_l (D_l - 1), and

    E ln det(1 - J^T J/x) - n_0 E ln(1 - X/x) = 1/2 ln(D / prod_l D_l) + O(1/n),

the mean of Bai and Silverstein (2004) layer by layer: a real Gaussian layer between spaces whose partial products have
D_a and D_b adds 1/2 ln(1 - (1/D_a - 1)(1/D_b - 1)), and the sum telescopes. In units of a level F(x) the next order is
about n^-2 at any depth. The slopes are drawn, and a ReLU layer's number of active units moves by sqrt(n): that is
averaged over, for no expansion in 1/n holds it (docs/finite_width.md).
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cached_property, lru_cache

import numpy as np
from numpy.typing import NDArray

from rmt.laws.finite_law import FiniteLaw
from rmt.laws.logistic import Logistic, logistic
from rmt.laws.master_curve import ComplexArray, MasterCurve
from rmt.laws.named.discrete import Discrete
from rmt.laws.views import Spectrum

Array = NDArray[np.float64]

_LEVELS, _LEVELS_DRAWN = 2000, 200  # of the midpoint rule; over drawn slopes the edges are smeared
_DRAWS = 128


@dataclass(frozen=True)
class GaussianLayer:
    """A real Gaussian matrix: its rows, the variance of an entry, and the law of the squared slopes behind it."""

    rows: int
    variance: Fraction
    slopes: FiniteLaw | None = None

    def drawn(self, levels: Array) -> GaussianLayer:
        """Return the layer with the slopes of one network: quantiles of their numbers, a level for all but the last."""
        from scipy.stats import binom  # slow to import

        if self.slopes is None:
            return self
        values, masses = self.slopes.atoms.keys(), [*self.slopes.atoms.values()]
        counts: list[int] = []
        for i, level in enumerate(levels):
            counts.append(int(binom.ppf(level, self.rows - sum(counts), masses[i] / sum(masses[i:]))))
        found = {x: k for x, k in zip(values, (*counts, self.rows - sum(counts)), strict=True) if k}
        if found.keys() <= {0.0, 1.0}:
            return replace(self, rows=found.get(1.0, 0), slopes=None)  # the active rows alone
        return replace(self, slopes=Discrete([*found], [Fraction(k, self.rows) for k in found.values()]))


@dataclass(frozen=True)
class GaussianChain:
    """Gaussian layers with independent slopes, from the input to the output.

    Attributes
    ----------
    n_inputs : int
        n_0.
    layers : tuple of GaussianLayer
        At least one.
    """

    n_inputs: int
    layers: tuple[GaussianLayer, ...]

    @cached_property
    def curve(self) -> MasterCurve:
        """Of J^T J, the slopes' law being what it is."""
        total = MasterCurve()
        for layer, times in Counter(self.layers).items():
            m = Fraction(layer.rows, self.n_inputs)
            own = MasterCurve(layer.variance * layer.rows, ((m, Fraction(1)),))
            total = total * (own if layer.slopes is None else own * layer.slopes.curve.at(m)) ** Fraction(times)
        return total

    @property
    def least_width(self) -> int:
        """The least dimension of a space."""
        return min([self.n_inputs, *(layer.rows for layer in self.layers)])

    def expected_counts(self, log_x: Array) -> tuple[Array, Array]:
        """Return the law's count of eigenvalues above x, n_0 P(X > x), and what order one adds, the slopes given."""
        v, y = self.curve.solve(np.asarray(log_x, dtype=float).astype(complex))
        at = logistic(v)
        turn = (np.log(-self.curve.log_x(v, y)[1]) - at.log_rest + self._log_unit(at, Fraction(1))).imag
        for layer, times in Counter(self.layers).items():
            turn += times * self._log_inverse_rate(layer, at, y).imag
        return self.n_inputs * self.curve.tails(v, y)[1], turn / (2 * math.pi)

    def mean_cosines(self, spectrum: Spectrum, frequencies: Array) -> Array:
        """Return E of a network's mean of cos(j pi u) for each frequency j, u the levels of its values s > 0.

        Levels are those of `spectrum` given s > 0; a network without such values counts as 0.
        """
        return np.array(_mean_cosines(self, spectrum, tuple(frequencies)))

    def _log_unit(self, at: Logistic, m: Fraction) -> ComplexArray:
        """Return ln(1 + w/m), every digit kept where it is small."""
        return at.log_complement(float(self.curve.mass / m))[0]

    def _log_inverse_rate(self, layer: GaussianLayer, at: Logistic, y: list[ComplexArray]) -> ComplexArray:
        """Return -ln D_l of the space behind a layer: D_l = 1/(1 + w_l/mass) for slopes of one value and zero."""
        m = Fraction(layer.rows, self.n_inputs)
        own = MasterCurve() if layer.slopes is None else layer.slopes.curve
        total = self._log_unit(at, m * own.mass)
        for (law, place, _), y_l in zip(self.curve.slopes, y, strict=True):
            if place == m and any(law == other for other, *_ in own.slopes):
                total = total + np.log(law.logit(y_l)[1])
        return total


@lru_cache(maxsize=64)
def _mean_cosines(chain: GaussianChain, spectrum: Spectrum, frequencies: tuple[float, ...]) -> tuple[float, ...]:
    """Return what `GaussianChain.mean_cosines` promises: by parts, from the counts above each level."""
    from scipy.stats import qmc  # slow to import

    free = [0 if layer.slopes is None else len(layer.slopes.atoms) - 1 for layer in chain.layers]
    drawn = [chain]
    if any(free):
        rows = (np.split(row, np.cumsum(free)[:-1]) for row in qmc.Sobol(sum(free), rng=0).random(_DRAWS))
        drawn = [replace(chain, layers=tuple(layer.drawn(part) for layer, part in zip(chain.layers, row, strict=True)))
                 for row in rows]
    n = _LEVELS_DRAWN if any(free) else _LEVELS
    u = (np.arange(n) + 0.5) / n
    log_x, turns = 2 * spectrum.log.ppf(u), math.pi * np.array(frequencies)
    waves, total = -turns[:, None] * np.sin(np.outer(turns, u)) / n, np.zeros(turns.size)
    for network in drawn:
        alive = network.n_inputs * network.curve.mass if all(layer.rows for layer in network.layers) else 0
        if alive:
            total += 1 + waves @ np.sum(network.expected_counts(log_x), axis=0) / float(alive)
    return tuple(total / len(drawn))
