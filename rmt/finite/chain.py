"""The mean over networks of what a chain of layers of finite width has, to order 1/width.

Given its slopes, a chain of real Gaussian and Haar orthogonal matrices has spaces of n_l dimensions. Let Omega = n_0
psi(1/x) be what they share, w_l = Omega/n_l, and D_l = d ln zeta/d ln Omega where the squared slopes of space l have
psi_l(zeta) = w_l (no slopes: D_l = 1/(1 + w_l)). Then ln x falls with ln Omega at a rate D, and

    E ln det(1 - J^T J/x) - n_0 E ln(1 - X/x) = 1/2 ln(D / prod_l D_l) - 1/2 sum_Haar ln(1 + w_m) + O(1/n),

m the larger side of a Haar matrix (Gaussian matrices alone: the mean of Bai and Silverstein 2004, layer by layer, whose
sum telescopes). In units of a level F(x) the next order is about n^-2 at any depth. The slopes are drawn, and a ReLU
layer's number of active units moves by sqrt(n): that is averaged over, for no expansion in 1/n holds it
(docs/finite_width.md).
"""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cached_property, lru_cache

import numpy as np
from numpy.typing import NDArray

from rmt.checks import integer
from rmt.laws.atoms import positive_atoms
from rmt.laws.finite_law import FiniteLaw
from rmt.laws.logistic import Logistic, logistic
from rmt.laws.master_curve import ComplexArray, MasterCurve
from rmt.laws.named.discrete import Discrete
from rmt.laws.named.point_mass import PointMass
from rmt.laws.rational import log_of
from rmt.laws.views import Spectrum

Array = NDArray[np.float64]

_LEVELS, _LEVELS_IN_BANDS = 48, 200  # of the quadrature over levels; slopes of two sizes leave gaps, whose ends jump
_DRAWS = 128
_GROUPS = 8
_ALL_ONE = PointMass(1)
_SNAP = 1e-8  # places this near, in ln s, are one


@dataclass(frozen=True)
class ChainLayer:
    """A random matrix and the slopes behind it.

    Attributes
    ----------
    rows : int
        Its rows.
    weights : MasterCurve
        Its factor of the chain's curve.
    turned : int
        The larger side of a Haar matrix; 0 for a Gaussian one.
    slopes : FiniteLaw
        Of the squared slopes.
    """

    rows: int
    weights: MasterCurve
    turned: int = 0
    slopes: FiniteLaw = _ALL_ONE

    @property
    def sizes(self) -> int:
        """How many different slopes it has beside zero."""
        return sum(x > 0 for x in self.slopes.atoms)

    def drawn(self, levels: Array) -> list[ChainLayer]:
        """Return the layer with the slopes of one network for each row of levels (networks, values - 1).

        Levels are of the number of slopes of each value but the last, given the numbers before.
        """
        from scipy.stats import binom  # slow to import

        masses = np.array([*self.slopes.atoms.values()])
        left, counts = np.full(len(levels), self.rows), []
        for i, level in enumerate(levels.T):
            counts.append(binom.ppf(level, left, masses[i] / masses[i:].sum()).astype(int))
            left = left - counts[-1]
        kinds, which = np.unique(np.array([*counts, left]).T, axis=0, return_inverse=True)
        layers = []
        for kind in kinds.tolist():
            found = {x: Fraction(k, self.rows) for x, k in zip(self.slopes.atoms, kind, strict=True) if k}
            layers.append(replace(self, slopes=Discrete([*found], [*found.values()])))
        return [layers[i] for i in which.ravel()]


def gaussian_weights(rows: int, n_inputs: int, variance: Fraction) -> MasterCurve:
    """Return the factor of a matrix of independent entries of this variance, on n_inputs dimensions."""
    return MasterCurve(variance * rows, ((Fraction(rows, n_inputs), Fraction(1)),))


@dataclass(frozen=True)
class Chain:
    """Layers with independent slopes, from the input to the output.

    Attributes
    ----------
    n_inputs : int
        n_0.
    layers : tuple of ChainLayer
        At least one.
    """

    n_inputs: int
    layers: tuple[ChainLayer, ...]

    @cached_property
    def curve(self) -> MasterCurve:
        """Of J^T J, with the slopes' laws as they are."""
        return MasterCurve.product(
            (layer.weights * layer.slopes.curve.at(Fraction(layer.rows, self.n_inputs))) ** Fraction(times)
            for layer, times in Counter(self.layers).items())

    @classmethod
    def gaussian(cls, widths: Sequence[int]) -> Chain:
        """Return linear layers with entries of variance 1/fan_in; widths are n_0, n_1, ..., n_L."""
        n = [integer(f"widths[{i}]", width) for i, width in enumerate(widths)]
        if len(n) < 2:
            raise ValueError(f"widths must be two or more, the input's first, got {widths!r}")
        return cls(n[0], tuple(
            ChainLayer(rows, gaussian_weights(rows, n[0], Fraction(1, columns)))
            for columns, rows in itertools.pairwise(n)))

    @property
    def one_size(self) -> bool:
        """Whether the slopes of every layer are zero or one other, as linear and ReLU layers have."""
        return all(layer.sizes == 1 for layer in self.layers)

    @property
    def square_gaussian(self) -> bool:
        """Whether it is a product of square Gaussian matrices, up to a factor."""
        return all(layer.rows == self.n_inputs and not layer.turned and len(layer.slopes.atoms) == 1
                   for layer in self.layers)

    @property
    def alive(self) -> bool:
        """Whether some value of J is not zero: no layer's slopes are all zero."""
        return all(layer.slopes.atoms.get(0.0) != 1 for layer in self.layers)

    @property
    def least_width(self) -> int:
        """The least dimension of a space."""
        return min([self.n_inputs, *(layer.rows for layer in self.layers)])

    @cached_property
    def networks(self) -> list[Chain]:
        """The chain with its slopes drawn: quasi-random networks, or itself where nothing is to draw."""
        from scipy.stats import qmc  # slow to import

        free = [len(layer.slopes.atoms) - 1 for layer in self.layers]
        if not any(free):
            return [self]
        levels = np.split(qmc.Sobol(sum(free), rng=0).random(_DRAWS), np.cumsum(free)[:-1], axis=1)
        drawn = [layer.drawn(part) for layer, part in zip(self.layers, levels, strict=True)]
        return [replace(self, layers=_grouped(layers)) for layers in zip(*drawn, strict=True)]

    def expected_counts(self, log_x: Array) -> tuple[Array, Array]:
        """Return the law's count of eigenvalues above x, n_0 P(X > x), and what order one adds, the slopes given."""
        v, y = self.curve.solve(np.asarray(log_x, dtype=float).astype(complex))
        at = logistic(v)
        turn = (np.log(-self.curve.log_x(v, y)[1]) - at.log_rest + self._log_unit(at, Fraction(1))).imag
        for layer, times in Counter(self.layers).items():
            turn += times * self._log_inverse_rate(layer, at, y).imag
            if layer.turned:
                turn -= times * self._log_unit(at, Fraction(layer.turned, self.n_inputs)).imag
        return self.n_inputs * self.curve.tails(v, y)[1], turn / (2 * math.pi)

    def mean_cosines(self, spectrum: Spectrum, frequencies: Array) -> Array:
        """Return E of a network's mean of cos(j pi u) for each frequency j, u the levels of its values.

        Levels are in the continuous part of `spectrum`, and values on its atoms are left out; a network without others
        counts as 0.
        """
        (u, weights), _, above, number = _level_counts(self, spectrum)
        turns = math.pi * np.asarray(frequencies, dtype=float)
        waves = turns[:, None] * np.sin(np.outer(turns, u)) * weights
        return np.asarray(np.mean((number - waves @ above) / np.maximum(number, 1), axis=1))  # by parts

    def cdf_shift(self, spectrum: Spectrum) -> tuple[Array, Array]:
        """Return ln s, rising, and there the mean cdf of networks pooled less the law's, off the law's atoms."""
        (u, _), log_x, above, number = _level_counts(self, spectrum)
        return log_x / 2, 1 - u - above.sum(axis=1) / max(float(number.sum()), 1.0)

    def distance(self, spectrum: Spectrum) -> float:
        """Return E of the sup distance of one network's cdf from the law's, both given s > 0.

        Off the law's atoms; where it has nothing else, of their masses.

        About: the draw of the slopes moves it by what is computed; what is left is that of n values which repel, (1 +
        .3 ln n)/n in simulation at any depth (n = 50 to 200); the two are added as squares. Within 15 % where measured.
        """
        atoms = spectrum.log.atoms
        if not spectrum.log.support:
            alive = [network for network in self.networks if network.alive]
            shares = [np.array([*_masses(network, atoms).values()]) / float(network.curve.mass) for network in alive]
            moved = np.cumsum(np.array(shares) - np.array([*atoms.values()]), axis=1)
            return float(np.mean(np.max(np.abs(moved), axis=1)))
        (u, _), _, above, number = _level_counts(self, spectrum)
        moved = np.mean(np.max(np.abs(above / np.maximum(number, 1) - (1 - u)[:, None]), axis=0))
        n = max(float(number.mean()), 1.0)
        return min(1.0, math.hypot(float(moved) if number.size > 1 else 0.0, (1 + 0.3 * math.log(n)) / n))

    def _log_unit(self, at: Logistic, m: Fraction) -> ComplexArray:
        """Return ln(1 + w/m), every digit kept where it is small."""
        return at.log_complement(float(self.curve.mass / m))[0]

    def _log_inverse_rate(self, layer: ChainLayer, at: Logistic, y: list[ComplexArray]) -> ComplexArray:
        """Return -ln D_l of the space behind a layer: D_l = 1/(1 + w_l/mass) for slopes of one value and zero."""
        m, own = Fraction(layer.rows, self.n_inputs), layer.slopes.curve
        total = self._log_unit(at, m * own.mass)
        for (law, place, _), y_l in zip(self.curve.explicit, y, strict=True):
            if place == m and any(law == other for other, *_ in own.slopes):
                total = total + np.log(law.logit(y_l)[1])
        return total


@lru_cache(maxsize=64)
def _level_counts(chain: Chain, spectrum: Spectrum) -> tuple[tuple[Array, Array], Array, Array, Array]:
    """Return levels u with their weights, ln x there, and of networks drawn the mean numbers of values above, and all.

    Of values off the spectrum's atoms. None is above any level where all slopes of a layer are zero.
    """
    networks = chain.networks
    node, weight = np.polynomial.legendre.leggauss(_LEVELS if chain.one_size else _LEVELS_IN_BANDS)
    u, weights = (node + 1) / 2, weight / 2
    log_x, atoms = _places(spectrum, u)
    above, number = np.zeros((u.size, len(networks))), np.zeros(len(networks))
    for i, network in enumerate(networks):
        if not network.alive:
            continue
        masses = _masses(network, atoms)
        found = network.n_inputs * (float(network.curve.mass) - sum(masses.values()))
        if found > 0.5:
            number[i], above[:, i] = found, np.sum(network.expected_counts(log_x), axis=0)
            for place, mass in masses.items():
                above[:, i] -= network.n_inputs * mass * (log_x < 2 * place)
    return (u, weights), log_x, above, number


def _masses(network: Chain, places: Iterable[float]) -> dict[float, float]:
    """Return the mass that the law of a network, its slopes given, has at each place ln s."""
    found = [(log_of(x) / 2, float(mass)) for x, mass in positive_atoms(network.curve)]
    return {place: sum(mass for at, mass in found if abs(at - place) < _SNAP) for place in places}


def _grouped(layers: tuple[ChainLayer, ...]) -> tuple[ChainLayer, ...]:
    """Return few different layers for many: with two sizes of slopes every different layer has an equation of its own.

    Like layers are sorted by their numbers of slopes and put in at most eight groups, each with its mean numbers, so
    that ln x is right to first order in what a number is off its group's, a hundredth of its variance.
    """
    kinds: dict[tuple[int, MasterCurve, int], list[ChainLayer]] = {}
    for layer in layers:
        if layer.sizes > 1:
            kinds.setdefault((layer.rows, layer.weights, layer.turned), []).append(layer)
    out = [layer for layer in layers if layer.sizes < 2]
    for own in kinds.values():
        own.sort(key=lambda layer: tuple(layer.slopes.atoms.items()))
        for part in np.array_split(np.arange(len(own)), min(len(own), _GROUPS)):
            masses: Counter[Fraction] = Counter()
            for i in part:
                for x, mass in own[i].slopes._point_masses:
                    masses[x] += mass / len(part)
            out += [replace(own[part[0]], slopes=Discrete([*masses], [*masses.values()]))] * len(part)
    return tuple(out)


def _places(spectrum: Spectrum, u: Array) -> tuple[Array, list[float]]:
    """Return ln x at levels u of the continuous part of s > 0, and the places ln s of its atoms."""
    law, below = spectrum.log, 0.0
    continuous = 1 - sum(law.atoms.values())
    level = continuous * u
    for place, mass in sorted(law.atoms.items()):
        level[continuous * u > float(law.cdf(place)) - mass - below] += mass
        below += mass
    return 2 * law.ppf(level), [*law.atoms]
