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
from numpy.typing import NDArray

from rmt import independence, plotting, provenance, smooth_statistics
from rmt.cdf_distance import CdfDistance
from rmt.checks import Number, number
from rmt.finite.chain import Chain
from rmt.finite.condition import chain_log_condition_number
from rmt.finite.rank import RankDistribution
from rmt.laws.errors import ConvergenceError
from rmt.laws.law import Law
from rmt.laws.views import Spectrum
from rmt.measured_values import checked_values
from rmt.text import exp_text

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Array = NDArray[np.float64]
Cell = str | int | float

AGREES, DIFFERS, UNDECIDED = "agrees", "differs", "undecided"
_SNAP = {"float64": 1e-8, "float32": 1e-5}  # values this near an atom, in ln s, are on it
_FAR = 0.1  # a distance at which it is asked whether the values are what they should be
_MISTAKES = ((0.5, "ln s^2"), (math.log(10), "log10 s"))
_REFUSED = 0.01  # p under which a law with its 1/N term differs
_NARROW = 3.0


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
    null : Chain or None
        The network at its own width, whose mean over networks is known to order 1/N.
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
    null: Chain | None
    snap: float
    seed: int | None = None
    label: str = "law"

    # ---- the distance ---------------------------------------------------------------------------------

    @property
    def networks(self) -> int:
        """Number of independent networks."""
        return self.log_values.shape[0]

    @cached_property
    def _distance(self) -> CdfDistance:
        values = self.log_values.reshape(self.networks, -1)
        return CdfDistance(self.spectrum.log, values, float(self.censored.max()), self.snap)

    @cached_property
    def raw_discrepancy(self) -> float:
        """Largest distance between the cdfs of s given s > 0, measured (pooled over networks) and predicted.

        The noise of few networks only adds to it: it is biased upward.
        """
        if self._distance.empty:
            return 0.0 if self.spectrum.atoms.get(0.0, 0.0) == 1.0 else 1.0
        return self._distance.pooled

    @cached_property
    def discrepancy(self) -> float:
        """That distance less its bias by the noise of few networks; it lies inside `interval`.

        The bias is what resampled networks add once more (median of the bootstrap). Of one network nothing is known of
        it: there it is `raw_discrepancy`.
        """
        return self.raw_discrepancy if self.networks < 2 or self._distance.empty else self._distance.corrected

    @cached_property
    def interval(self) -> tuple[float, float]:
        """95 % interval of the discrepancy: basic (reflected) bootstrap over networks; (0, 1) for one network."""
        if self.networks < 2:
            return 0.0, 1.0
        return (self.discrepancy, self.discrepancy) if self._distance.empty else self._distance.interval

    @cached_property
    def dependence(self) -> str:
        """What shows that the networks are not independent, so that no error bar holds; "" where nothing does."""
        return independence.dependence(self.log_values, self.snap)

    @cached_property
    def _under(self) -> NDArray[np.bool_]:
        """Which values are only known to lie at or under the resolution."""
        return np.isfinite(self.log_values) & (self.log_values <= self.censored[..., None])

    @property
    def unresolved(self) -> float:
        """The fraction of values that lie at or under the resolution: nothing but their number is used."""
        return float(np.mean(self._under))

    @cached_property
    def wasserstein(self) -> float:
        """Mean distance in ln s between measured and predicted quantiles of the non-zero values that are resolved."""
        values, unseen = np.sort(self.log_values[self.log_values > -np.inf]), int(self._under.sum())
        if values.size == unseen:
            return 0.0
        predicted = self.spectrum.log.ppf((np.arange(unseen, values.size) + 0.5) / values.size)
        return float(np.mean(np.abs(values[unseen:] - predicted)))

    def cdf_difference(self, points: int = 200) -> tuple[Array, Array, Array]:
        """Return places ln s, measured minus predicted cdf there, and its standard error.

        Both cdfs are given s > 0; the error is across networks (0 for one network).
        """
        return (np.empty(0), np.empty(0), np.empty(0)) if self._distance.empty else self._distance.difference(points)

    # ---- smooth statistics ----------------------------------------------------------------------------

    @cached_property
    def _statistics(self) -> Array:
        if self._under.any():  # they rest on every value
            return np.empty((self.networks, 0))
        return smooth_statistics.cosines(self.spectrum.log, self.log_values.reshape(self.networks, -1), self.snap)

    @cached_property
    def _at_this_width(self) -> Array | None:
        """What the statistics are on average at the network's own width; None where that is not known."""
        frequencies = smooth_statistics.frequencies(self.networks)[: self._statistics.shape[1]]
        try:
            return None if self.null is None else self.null.mean_cosines(self.spectrum, frequencies)
        except ConvergenceError as error:
            warnings.warn(f"p is against the law at infinite width: at this one {error}", stacklevel=2)
            return None

    @property
    def _expected(self) -> Array:
        return np.zeros(self._statistics.shape[1]) if self._at_this_width is None else self._at_this_width

    @cached_property
    def zscores(self) -> Array:
        """How far the mean over networks of cos(j pi F(s)), j = 1, 2, ..., is from what is expected, in its error.

        F is of the continuous part; there are (networks - 1)//2 of them, at most six, and none below four networks or
        where values are not resolved.
        """
        return smooth_statistics.scores(self._statistics, self._expected)

    @cached_property
    def p_value(self) -> float | None:
        """Hotelling's p-value of those statistics together, across networks; None where there are none.

        With the 1/N term in the null a right theory is refused as often as the level says; without it (`null` is None)
        the law is that of infinite width, which no finite network has, and the verdict does not rest on it.
        """
        return smooth_statistics.hotelling(self._statistics, self._expected)

    @property
    def decisive(self) -> bool:
        """Whether the p-value is part of the verdict: the 1/N term in the null, and few enough networks.

        What is left, about 1.5/n of a standard deviation (n the least width), then stays under half a standard error.
        """
        narrow = self.null is None or _NARROW * math.sqrt(self.networks) > self.null.least_width
        return not narrow and self._at_this_width is not None

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
        """Ends of the non-zero part in ln s: predicted, and the mean over networks and inputs of the measured.

        The lower one that is measured is -inf where values are not resolved: they may be zero.
        """
        top, bottom = self._ends
        return self.spectrum.log_edges, (float(np.mean(bottom)), float(np.mean(top)))

    @cached_property
    def log_condition_number(self) -> tuple[float, float]:
        """Ln of the condition number of the non-zero part: predicted (at this width, where known), mean measured.

        The latter is inf where values are not resolved.
        """
        top, bottom = self._ends
        alive = max(1, round(float(np.mean((self.log_values > -np.inf).sum(-1)))))
        measured = float(np.mean(top - bottom)) if np.isfinite(top).all() else math.nan  # none where all are zero
        if self.null is not None:
            return chain_log_condition_number(self.null), measured
        return self.spectrum.log_condition_number_at(alive), measured

    @property
    def _ends(self) -> tuple[Array, Array]:
        alive = self.log_values > -np.inf
        some = alive.any(-1)
        if not some.any():
            return np.array([-np.inf]), np.array([-np.inf])
        least = np.min(self.log_values, axis=-1, where=alive, initial=np.inf)
        return np.max(self.log_values, axis=-1)[some], np.where(self._under.any(-1), -np.inf, least)[some]

    # ---- the verdict ----------------------------------------------------------------------------------

    @cached_property
    def verdict(self) -> str:
        """Return "agrees", "differs" or "undecided".

        agrees: the interval's upper end and half its width are under the tolerance, the raw discrepancy is not over it
        by more than noise explains, the mass at zero is inside its 99 % range, and the p-value not under .01 where it
        is `decisive`. differs: the lower end is over the tolerance + 1/n (n the non-zero values of one network, the
        bias of a right law), the mass at zero outside, or that p-value under .01. One network is undecided, and so are
        networks that are not independent, and values that are not resolved where the law has zeros.
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
        if self.dependence:
            return UNDECIDED, f"{self.dependence} (no error bar; {self.raw_discrepancy:.4f} apart)"
        if self.unresolved and self.mass_at_zero[0]:
            return UNDECIDED, f"{100 * self.unresolved:.3g} % of the values are not resolved: they may be zeros or not"
        (low, high), zero = self.interval, self.mass_range
        if not zero[0] - 1e-9 <= self.mass_at_zero[1] <= zero[1] + 1e-9:
            return DIFFERS, f"mass at zero {self.mass_at_zero[1]:.4f} outside {zero[0]:.4f} to {zero[1]:.4f}"
        if self._distance.empty and self.discrepancy:
            return UNDECIDED, "every value is zero: inside the range of the zeros, and nothing else to compare"
        bias = 1 / max(float(np.mean((self.log_values > -np.inf).sum(-1))), 1.0)
        if low > self.tolerance + bias:
            far = f"at least {low:.4f} apart, over {self.tolerance:g} + 1/n = {self.tolerance + bias:.4f}"
            explained = self.decisive and self.p_value is not None and self.p_value >= _REFUSED
            return DIFFERS, far + (f"; what this width does, p = {self.p_value:.2g}" if explained else "")
        if self.decisive and self.p_value is not None and self.p_value < _REFUSED:
            return DIFFERS, f"p = {self.p_value:.1g}: under {_REFUSED:g} with the 1/N term in the null"
        if high < self.tolerance:
            return self._near(high, bias)
        return UNDECIDED, f"{low:.4f} to {high:.4f} apart: on both sides of {self.tolerance:g}"

    def _near(self, high: float, bias: float) -> tuple[str, str]:
        """Return the verdict on an interval under the tolerance; where noise has put it there it is no evidence."""
        scatter = 0.0 if self._distance.empty else self._distance.scatter
        if scatter >= self.tolerance:
            return UNDECIDED, f"networks scatter too much: the interval is ±{scatter:.4f}, over {self.tolerance:g}"
        if self.raw_discrepancy >= self.tolerance + min(scatter, bias):
            return UNDECIDED, f"{self.raw_discrepancy:.4f} apart as measured: {self.discrepancy:.4f} rests on its bias"
        return AGREES, f"at most {high:.4f} apart, under {self.tolerance:g}"

    def rows(self) -> list[tuple[str, Cell, Cell, Cell, Cell, str]]:
        """Return (quantity, predicted, measured, low, high, note); low and high are of an interval or a range."""
        edges, kappa = self.log_edges, self.log_condition_number
        null = "law at infinite width: not in the verdict"
        if self._at_this_width is not None:
            null = "with the 1/N term" + ("" if self.decisive else f", too narrow for {self.networks} networks")
        zero = "99 % range of a right theory" if self.rank else "what the networks' spread allows"
        lost = [("not resolved", "", self.unresolved, "", "", "fraction of values, of which no more is known")]
        least, condition = ("not resolved",) * 2 if self.unresolved else (exp_text(edges[1][0]), exp_text(kappa[1]))
        _, inputs, n = self.log_values.shape
        return [
            ("verdict", "", self.verdict, "", "", self.reason),
            ("discrepancy", 0.0, self.discrepancy, *self.interval, f"tolerance {self.tolerance:g}"),
            ("raw discrepancy", 0.0, self.raw_discrepancy, "", "", "noise of few networks adds to it"),
            ("p-value", "", "none" if self.p_value is None else self.p_value, "", "", null),
            ("Wasserstein distance (ln s)", 0.0, self.wasserstein, "", "", ""),
            ("mass at zero", *self.mass_at_zero, *self.mass_range, zero),
            ("largest s", exp_text(edges[0][1]), exp_text(edges[1][1]), "", "", ""),
            ("smallest s > 0", exp_text(edges[0][1] - kappa[0]), least, "", "", ""),
            ("condition number", exp_text(kappa[0]), condition, "", "", ""),
            *(lost if self.unresolved else ()),
            ("networks", "", self.networks, "", "", f"{inputs} input{'s' * (inputs > 1)} each, {n} values an input"),
        ]

    def table(self) -> str:
        """Return the comparison as text; `figures.tables.agreement` has it in other forms."""
        rows = [("", "predicted", "measured", "low", "high", ""), *self.rows()]
        text = [[f"{cell:.4g}" if isinstance(cell, float) else str(cell) for cell in row] for row in rows]
        widths = [max(len(row[i]) for row in text) for i in range(6)]
        return "\n".join("  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)).rstrip() for row in text)

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw the density of log10 s with the law over it, and under it the cdf measured minus predicted."""
        return plotting.agreement(self, ax)


def compare(prediction: Any, measurement: Any, tolerance: Number = 0.02) -> Agreement:
    """Compare a prediction with measured singular values.

    Parameters
    ----------
    prediction : Prediction, Law (of x = s^2) or Spectrum (of s)
        A Prediction also brings the distribution of the rank and the means that a network of its width has.
    measurement : Measurement or array (networks, inputs, n_inputs)
        Natural logs of singular values, -inf for zeros.
    tolerance : float
        The distance of the cdfs that still counts as agreement, in (0, 1).

    Raises
    ------
    ValueError
        Where prediction and measurement are known to be of different networks, or of inputs of different variance
        where that matters. A law or Spectrum, and an array, have no name, and are compared with anything.

    Warns
    -----
    UserWarning
        Where the values are far from the law, and near it if they were ln s^2 or log10 s.
    """
    rank, null, n_inputs = None, None, None
    if isinstance(prediction, Spectrum):
        spectrum = prediction
    elif isinstance(getattr(prediction, "spectrum", None), Spectrum):
        spectrum = prediction.spectrum
        if not isinstance(prediction, Law):
            rank, null = prediction.finite_width.rank, prediction.null
            n_inputs, rank = rank.n_inputs, rank if rank.independent else None
    else:
        raise TypeError(f"prediction must be a Prediction, a law of x or a Spectrum, got {prediction!r}")
    provenance.check(prediction, measurement)
    values = checked_values(getattr(measurement, "log_singular_values", measurement), n_inputs)
    snap = _SNAP.get(str(getattr(measurement, "dtype", "")), _SNAP["float64"])
    if n_inputs is not None and values.shape[2] != n_inputs:
        raise ValueError(f"measurement has {values.shape[2]} values an input, the prediction {n_inputs}: it must "
                         f"have shape (networks, inputs, {n_inputs}), got {values.shape}")
    resolution = np.asarray(getattr(measurement, "resolution", np.full(values.shape[:2], -np.inf)))
    if resolution.shape != values.shape[:2]:
        raise ValueError(f"resolution must have shape (networks, inputs) = {values.shape[:2]}, got {resolution.shape}")
    values = np.where(values > -np.inf, np.maximum(values, resolution[..., None]), values)
    tolerance = float(number("tolerance", tolerance, 0, open_low=True, high=1, open_high=True))
    found = Agreement(spectrum, values, resolution, tolerance, rank, null, snap,
                      getattr(measurement, "seed", None), getattr(prediction, "label", None) or str(prediction))
    if found.raw_discrepancy > _FAR:
        for factor, word in _MISTAKES:
            with np.errstate(over="ignore"):
                other = replace(found, log_values=values * factor)
            if other.raw_discrepancy < found.raw_discrepancy / 4:
                warnings.warn(f"measured values look like {word}, not ln s: multiplied by {factor:.3g} they are near "
                              "the law", stacklevel=2)
    return found
