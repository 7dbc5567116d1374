"""Do a law and a measurement agree? An effect size, its interval across networks, and a verdict.

Eigenvalues of one matrix repel: they are far more regular than independent draws, so textbook p-values do not
apply. Independent are the networks: they are what is resampled (THEORY 7).
"""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from rmt import plotting
from rmt.checks import Number, number
from rmt.finite.chain_term import ChainTerm
from rmt.finite.rank import RankDistribution
from rmt.finite.regime import FREE_LAW
from rmt.laws.law import Law
from rmt.laws.views import Spectrum
from rmt.text import exp_text

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Array = NDArray[np.float64]

AGREES, DIFFERS, UNDECIDED = "agrees", "differs", "undecided"
_SNAP = {"float64": 1e-8, "float32": 1e-5}  # values this near an atom, in ln s, are on it
_RESAMPLES = 1000
_FREQUENCIES = 6
_FAR = 0.1  # a distance at which it is asked whether the values are what they should be
_MISTAKES = ((0.5, "ln s^2"), (math.log(10), "log10 s"))
_REFUSED = 0.01  # p under which a law with its 1/N term differs
_LEVEL = 0.95


@dataclass(frozen=True, eq=False)
class Agreement:
    """How far a measurement is from a law.

    Attributes
    ----------
    spectrum : Spectrum
        The law.
    log_values : array (networks, inputs, n_inputs)
        ln s as measured, -inf for zeros.
    censored : array (networks, inputs)
        ln of the resolution: values at or under it are only known to be that small.
    tolerance : float
        The distance that still counts as agreement.
    rank : RankDistribution or None
        The finite-width distribution of the number of non-zero values, where it is known.
    null : ChainTerm or None
        The 1/N term of the mean over networks, where it is known.
    decisive : bool
        Whether that term is all that a finite width does: the p-value then is part of the verdict.
    snap : float
        Values within this of an atom, in ln s, are on it.
    seed : int or None
        Of the measurement, where it is known.
    label : str
        Names the law in a picture.
    """

    spectrum: Spectrum
    log_values: Array
    censored: Array
    tolerance: float
    rank: RankDistribution | None
    null: ChainTerm | None
    decisive: bool
    snap: float
    seed: int | None = None
    label: str = "law"

    # ---- the distance ---------------------------------------------------------------------------------

    @property
    def networks(self) -> int:
        """Number of independent networks."""
        return self.log_values.shape[0]

    @cached_property
    def _steps(self) -> tuple[Array, Array, Array, Array]:
        """Sorted places ln s, the law's cdf just before and at each, and how much each network jumps there."""
        values = self.log_values.reshape(self.networks, -1)
        t = values.ravel()
        network = np.repeat(np.arange(self.networks), values.shape[1])
        log_law = self.spectrum.log
        atoms = log_law.atoms
        for place in atoms:
            t = np.where(np.abs(t - place) <= self.snap, place, t)
        alive = t > -np.inf
        places, where = np.unique(np.r_[t[alive], list(atoms)], return_inverse=True)
        jumps = np.zeros((places.size, self.networks))
        np.add.at(jumps, (where[: alive.sum()], network[alive]), 1.0)
        at = np.atleast_1d(log_law.cdf(places))
        before = at - np.array([atoms.get(place, 0.0) for place in places])
        return places, before, at, jumps

    def _distances(self, weights: NDArray[Any]) -> Array:
        """Sup distance of the pooled cdf from the law for each row of network weights (rows, networks)."""
        places, before, at, jumps = (part.astype(weights.dtype) for part in self._steps)
        counts = np.cumsum(jumps @ weights.T, axis=0)
        counts /= np.maximum(counts[-1], 1)
        # Of the places at or under a resolution only the total count is known: just above the last of them.
        unseen = int(np.searchsorted(self._steps[0], self.censored.max(), side="right"))
        after, first = max(unseen - 1, 0), max(unseen, 1)
        gaps = np.abs(counts[after:] - at[after:, None]).max(axis=0)
        if first < places.size:
            gaps = np.maximum(gaps, np.abs(counts[first - 1 : -1] - before[first:, None]).max(axis=0))
        return gaps if unseen else np.maximum(gaps, before[0])

    @cached_property
    def discrepancy(self) -> float:
        """Largest distance between the cdfs of s given s > 0, measured (pooled over networks) and predicted."""
        if self._steps[3].sum() == 0:
            return 0.0 if self.spectrum.atoms.get(0.0, 0.0) == 1.0 else 1.0
        return float(self._distances(np.ones((1, self.networks)))[0])

    @cached_property
    def interval(self) -> tuple[float, float]:
        """95 % interval of the discrepancy: basic (reflected) bootstrap over networks; (0, 1) for one network."""
        if self.networks < 2:
            return 0.0, 1.0
        if self._steps[3].sum() == 0:
            return self.discrepancy, self.discrepancy
        rng = np.random.default_rng(0)
        draws = rng.multinomial(self.networks, np.full(self.networks, 1 / self.networks), size=_RESAMPLES)
        chunk = max(1, 200_000 // max(self._steps[0].size, 1))  # small enough to stay in the processor's cache
        weights = draws.astype(np.float32)  # counts are whole numbers: single precision holds them
        resampled = np.concatenate([self._distances(weights[i : i + chunk]) for i in range(0, _RESAMPLES, chunk)])
        low, high = np.quantile(resampled, [(1 - _LEVEL) / 2, (1 + _LEVEL) / 2])
        return max(0.0, 2 * self.discrepancy - float(high)), min(1.0, max(0.0, 2 * self.discrepancy - float(low)))

    @cached_property
    def wasserstein(self) -> float:
        """Mean distance in ln s between measured and predicted quantiles of the non-zero values."""
        values = np.sort(self.log_values[self.log_values > -np.inf])
        if values.size == 0:
            return 0.0
        predicted = self.spectrum.log.ppf((np.arange(values.size) + 0.5) / values.size)
        return float(np.mean(np.abs(values - predicted)))

    def cdf_difference(self, points: int = 200) -> tuple[Array, Array, Array]:
        """Return places ln s, measured minus predicted cdf there, and its standard error.

        Both cdfs are given s > 0; the error is across networks (0 for one network).
        """
        places, _, at, jumps = self._steps
        counts = np.cumsum(jumps, axis=0)
        if counts.size == 0 or counts[-1].sum() == 0:
            return np.empty(0), np.empty(0), np.empty(0)
        keep = np.unique(np.linspace(0, places.size - 1, min(points, places.size)).round().astype(int))
        share = counts[keep] / counts[-1].mean()
        pooled = share.mean(axis=1)
        spread = share - pooled[:, None] * (counts[-1] / counts[-1].mean())  # of a ratio of means
        error = np.std(spread, axis=1, ddof=1) / math.sqrt(self.networks) if self.networks > 1 else 0 * pooled
        return places[keep], pooled - at[keep], error

    # ---- smooth statistics ----------------------------------------------------------------------------

    @cached_property
    def _statistics(self) -> Array:
        """Mean over a network's values of cos(j pi u), u the level in the continuous part: (networks, frequencies).

        Eigenvalues repel, so these fluctuate by 1/n and are nearly normal, whatever the law (Lytova and Pastur 2009).
        """
        frequencies = np.arange(1, min(_FREQUENCIES, (self.networks - 1) // 2) + 1)
        log_law = self.spectrum.log
        masses = list(log_law.atoms.items())
        continuous = 1 - sum(mass for _, mass in masses)
        values = self.log_values.reshape(self.networks, -1)
        if self.networks < 4 or not log_law.support:
            return np.empty((self.networks, 0))
        counts = (values > -np.inf) & ~np.any([np.abs(values - place) <= self.snap for place, _ in masses], axis=0)
        below = sum((mass * (values > place) for place, mass in masses), np.zeros(values.shape))
        level = np.where(counts, (log_law.cdf(values) - below) / continuous, 0.0)
        cosines = np.cos(np.pi * frequencies[:, None, None] * level) * counts
        return np.asarray((cosines.sum(-1) / np.maximum(counts.sum(-1), 1)).T)

    @cached_property
    def _expected(self) -> Array:
        """What the statistics are on average: zero for the law, and the 1/N term where it is known."""
        frequencies = np.arange(1, self._statistics.shape[1] + 1)
        if self.null is None or self.rank is None:
            return np.zeros(frequencies.size)
        alive = self.rank.n_inputs * (1 - self.mass_at_zero[0])
        lost = alive * self.rank.shift
        return np.asarray((self.null.mean_sums(self.spectrum, frequencies) - lost) / (alive - lost))

    @cached_property
    def zscores(self) -> Array:
        """How far the mean over networks of cos(j pi F(s)), j = 1, 2, ..., is from what is expected, in its error.

        F is of the continuous part; there are (networks - 1)//2 of them, at most six, and none below four networks.
        """
        found = self._statistics
        if not found.shape[1]:
            return np.empty(0)
        error = np.std(found, axis=0, ddof=1) / math.sqrt(self.networks)
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.nan_to_num((found.mean(axis=0) - self._expected) / error, posinf=np.inf, neginf=-np.inf)

    @cached_property
    def p_value(self) -> float | None:
        """Hotelling's p-value of those statistics together, across networks; None where there are none.

        With the 1/N term in the null a right theory is refused as often as the level says; without it (`null` is None)
        the law is that of infinite width, which no finite network has, and the verdict does not rest on it.
        """
        found = self._statistics
        networks, frequencies = found.shape
        if not frequencies:
            return None
        covariance = np.atleast_2d(np.cov(found.T))
        if np.linalg.matrix_rank(covariance, tol=1e-24) < frequencies:
            return None
        off = found.mean(axis=0) - self._expected
        t_squared = networks * off @ np.linalg.solve(covariance, off)
        ratio = t_squared * (networks - frequencies) / (frequencies * (networks - 1))
        return float(special.fdtrc(frequencies, networks - frequencies, ratio))

    # ---- zeros ----------------------------------------------------------------------------------------

    @cached_property
    def mass_at_zero(self) -> tuple[float, float]:
        """The fraction of zero singular values: (predicted by the law, measured)."""
        return self.spectrum.atoms.get(0.0, 0.0), float(np.mean(self.log_values == -np.inf))

    @cached_property
    def mass_range(self) -> tuple[float, float]:
        """99 % range of the measured fraction of zeros if the theory is right, averaged over the networks.

        From the finite-width distribution of the rank where a Prediction gives it; for a bare law within one
        value, or what the networks' spread allows, of the law's mass.
        """
        if self.rank is not None:
            return self.rank.mass_range(self.networks)
        per_network = np.mean(self.log_values == -np.inf, axis=(1, 2))
        slack = max(1 / self.log_values.shape[2], 3 * float(np.std(per_network)) / math.sqrt(self.networks))
        return self.mass_at_zero[0] - slack, self.mass_at_zero[0] + slack

    # ---- ends -----------------------------------------------------------------------------------------

    @cached_property
    def log_edges(self) -> tuple[tuple[float, float], tuple[float, float]]:
        """Ends of the non-zero part in ln s: predicted, and the mean over networks and inputs of the measured."""
        top, bottom = self._ends
        return self.spectrum.log_edges, (float(np.mean(bottom)), float(np.mean(top)))

    @cached_property
    def log_condition_number(self) -> tuple[float, float]:
        """Ln of the condition number of the non-zero part: typical for that many values, and mean measured."""
        top, bottom = self._ends
        alive = max(1, round(float(np.mean((self.log_values > -np.inf).sum(-1)))))
        measured = float(np.mean(top - bottom)) if np.isfinite(top).all() else math.nan  # none where all are zero
        return self.spectrum.log_condition_number_at(alive), measured

    @property
    def _ends(self) -> tuple[Array, Array]:
        alive = self.log_values > -np.inf
        some = alive.any(-1)
        if not some.any():
            return np.array([-np.inf]), np.array([-np.inf])
        return (np.max(self.log_values, axis=-1)[some],
                np.min(self.log_values, axis=-1, where=alive, initial=np.inf)[some])

    # ---- the verdict ----------------------------------------------------------------------------------

    @cached_property
    def verdict(self) -> str:
        """Return "agrees", "differs" or "undecided".

        agrees: the interval's upper end is under the tolerance, the mass at zero inside its 99 % range, and the p-value
        not under .01 where it is decisive: the 1/N term in the null, and the network in the regime of the free law,
        where no more is needed. differs: the lower end is over the tolerance + 1/n (n the non-zero values of one
        network, the bias of a right law), the mass at zero outside, or that p-value under .01. One network is
        undecided.
        """
        return self._judgement[0]

    @property
    def reason(self) -> str:
        """Why the verdict is what it is, in a few words with the numbers."""
        return self._judgement[1]

    @cached_property
    def _judgement(self) -> tuple[str, str]:
        if self.networks < 2:
            return UNDECIDED, "one network has no error bar"
        (low, high), zero = self.interval, self.mass_range
        if not zero[0] - 1e-9 <= self.mass_at_zero[1] <= zero[1] + 1e-9:
            return DIFFERS, f"mass at zero {self.mass_at_zero[1]:.4f} outside {zero[0]:.4f} to {zero[1]:.4f}"
        bias = 1 / max(float(np.mean((self.log_values > -np.inf).sum(-1))), 1.0)
        if low > self.tolerance + bias:
            return DIFFERS, f"at least {low:.4f} apart, over {self.tolerance:g} + 1/n = {self.tolerance + bias:.4f}"
        if self.decisive and self.p_value is not None and self.p_value < _REFUSED:
            return DIFFERS, f"p = {self.p_value:.1g}: under {_REFUSED:g} with the 1/N term in the null"
        if high < self.tolerance:
            return AGREES, f"at most {high:.4f} apart, under {self.tolerance:g}"
        return UNDECIDED, f"{low:.4f} to {high:.4f} apart: on both sides of {self.tolerance:g}"

    def rows(self) -> list[tuple[str, str, str]]:
        """Return (quantity, predicted, measured) as text."""
        low, high = self.interval
        edges, kappa, zero = self.log_edges, self.log_condition_number, self.mass_at_zero
        networks, inputs, n = self.log_values.shape
        null = "law at infinite width" if self.null is None else "with the 1/N term"
        return [
            ("verdict", self.verdict, self.reason),
            ("discrepancy", "0", f"{self.discrepancy:.4f} [{low:.4f}, {high:.4f}]"),
            ("p-value", null, "none" if self.p_value is None else f"{self.p_value:.3g}"),
            ("Wasserstein distance (ln s)", "0", f"{self.wasserstein:.4f}"),
            ("mass at zero", f"{zero[0]:.4f} ({self.mass_range[0]:.4f} to {self.mass_range[1]:.4f})", f"{zero[1]:.4f}"),
            ("largest s", exp_text(edges[0][1]), exp_text(edges[1][1])),
            ("smallest s > 0", exp_text(edges[0][1] - kappa[0]), exp_text(edges[1][0])),
            ("condition number", exp_text(kappa[0]), exp_text(kappa[1])),
            ("networks x inputs x values", "", f"{networks} x {inputs} x {n}"),
        ]

    def table(self) -> str:
        """Return the comparison as text."""
        rows = [("", "predicted", "measured"), *self.rows()]
        widths = [max(len(row[i]) for row in rows) for i in range(3)]
        return "\n".join("  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)).rstrip() for row in rows)

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw the density of log10 s with the law over it, and under it the cdf measured minus predicted."""
        return plotting.agreement(self, ax)


def compare(prediction: Any, measurement: Any, tolerance: Number = 0.02) -> Agreement:
    """Compare a prediction with measured singular values.

    Parameters
    ----------
    prediction : Prediction, Law (of x = s^2) or Spectrum (of s)
        A Prediction also brings the finite-width distribution of the rank.
    measurement : Measurement or array (networks, inputs, n_inputs)
        Natural logs of singular values, -inf for zeros.
    tolerance : float
        The distance of the cdfs that still counts as agreement, in (0, 1).

    Warns
    -----
    UserWarning
        Where the values are far from the law, and near it if they were ln s^2 or log10 s.
    """
    rank, null, decisive = None, None, False
    if isinstance(prediction, Spectrum):
        spectrum = prediction
    elif isinstance(getattr(prediction, "spectrum", None), Spectrum):
        spectrum = prediction.spectrum
        if not isinstance(prediction, Law):
            rank, null = prediction.finite_width.rank, prediction.null
            decisive = null is not None and prediction.finite_width.regime.name == FREE_LAW
    else:
        raise TypeError(f"prediction must be a Prediction, a law of x or a Spectrum, got {prediction!r}")
    values = _array(getattr(measurement, "log_singular_values", measurement))
    snap = _SNAP.get(str(getattr(measurement, "dtype", "")), _SNAP["float64"])
    if rank is not None and values.shape[2] != rank.n_inputs:
        raise ValueError(f"measurement has {values.shape[2]} values an input, the prediction {rank.n_inputs}")
    resolution = np.asarray(getattr(measurement, "resolution", np.full(values.shape[:2], -np.inf)))
    if resolution.shape != values.shape[:2]:
        raise ValueError(f"resolution must have shape (networks, inputs) = {values.shape[:2]}, got {resolution.shape}")
    values = np.where(values > -np.inf, np.maximum(values, resolution[..., None]), values)
    tolerance = float(number("tolerance", tolerance, 0, open_low=True, high=1, open_high=True))
    found = Agreement(spectrum, values, resolution, tolerance, rank, null, decisive, snap,
                      getattr(measurement, "seed", None), getattr(prediction, "label", repr(prediction)))
    if found.discrepancy > _FAR:
        for factor, word in _MISTAKES:
            if replace(found, log_values=values * factor).discrepancy < found.discrepancy / 4:
                warnings.warn(f"measured values look like {word}, not ln s: multiplied by {factor:.3g} they are near "
                              "the law", stacklevel=2)
    return found


def _array(values: ArrayLike) -> Array:
    try:
        array = np.asarray(values)
        array = array.astype(float) if not np.iscomplexobj(array) else array
    except (TypeError, ValueError):
        raise ValueError(f"measured values must be an array (networks, inputs, n_inputs), got {values!r:.80}") from None
    if np.iscomplexobj(array):
        raise TypeError("measured values must be real, got a complex array")
    if array.ndim != 3 or 0 in array.shape:
        raise ValueError(f"measured values must be an array (networks, inputs, n_inputs), got shape {array.shape}")
    if np.isnan(array).any() or np.any(array == np.inf):
        raise ValueError("measured values must be ln s, -inf for zeros, got NaN or +inf")
    return array
