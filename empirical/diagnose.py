"""What a module is, what the theory says of it, what is measured, and what to change."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from empirical.advice import Change, Numbers, advice, changed
from empirical.anatomy import Anatomy, anatomy
from empirical.as_found import as_found, evaluating
from empirical.calibration import calibrated, untrained
from empirical.calls import like, ran
from empirical.cut import Between, part, picked
from empirical.describe import Description, described, sizes
from empirical.jacobian import Output, cut_of
from empirical.matrix_free import SpectralDensity, spectral_density
from empirical.progress import waiting
from empirical.singular_values import COARSE, Values, measured
from empirical.weights import Weights, weights
from rmt import plotting
from rmt.agreement import Agreement, compare
from rmt.checks import integer
from rmt.laws.errors import ConvergenceError
from rmt.networks.layers import UnsupportedStructure
from rmt.networks.predict import Prediction, predict

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Array = NDArray[np.float64]

_LARGEST = 1024  # values of a Jacobian that is formed
_OPEN = 0.05  # of the mass: an error of a cdf, beyond that of random probes, under which its values are known
_CALIBRATION = 256  # inputs
_PATIENCE = 10.0  # seconds for the accurate chain


@dataclass(frozen=True)
class Diagnosis:
    """What is known of a module.

    Attributes
    ----------
    weights : tuple of Weights
        A row per layer.
    description, prediction : Description, Prediction, or None
        As a Network, and what the theory says of that.
    obstacle : str
        What stands in the way of a prediction: a node, its line and the reason; empty if there is one.
    shape : (int, int)
        Outputs and inputs of the Jacobian.
    log_singular_values : array (samples, inputs) or None
        ln s of the Jacobian at every sample; None where it was too large to form.
    log_resolution : array (samples,) or None
        What lies at or under it, in ln s, is only known to be that small; -inf where all values are accurate.
    unresolved_because : str
        Why some are not resolved; empty where all are.
    density : SpectralDensity or None
        Its spectrum then, matrix-free.
    agreement : Agreement or None
        Measured against predicted, one network.
    warnings : tuple of str
        What description and prediction leave out, and that statistics were calibrated.
    anatomy : Anatomy
        What the measured part does to any signal.
    whole_module : bool
        Whether the measured part is the whole module.
    predicted : dict or None
        The numbers of `summary` as the law has them; its typical smallest of as many values at a hard edge.
    advice : tuple of str
        What to change, each with the number that it rests on.
    """

    weights: tuple[Weights, ...]
    description: Description | None
    prediction: Prediction | None
    obstacle: str
    shape: tuple[int, int]
    log_singular_values: Array | None
    log_resolution: Array | None
    unresolved_because: str
    density: SpectralDensity | None
    agreement: Agreement | None
    warnings: tuple[str, ...]
    anatomy: Anatomy
    whole_module: bool
    predicted: dict[str, Any] | None = None
    advice: tuple[str, ...] = ()

    @property
    def unresolved(self) -> float:
        """The share of the values at or under `log_floor`; zeros by shape, and exact ones, are not among them."""
        return self._seen.unresolved if self.log_singular_values is None else float(np.mean(self._under))

    @property
    def log_floor(self) -> float:
        """Ln s under which values are not resolved: by an SVD, or by the steps where the Jacobian was not formed."""
        return self._seen.floor if self.log_resolution is None else float(self.log_resolution.max())

    @property
    def _seen(self) -> _Seen:
        assert self.density is not None
        return _seen(self.density, self.shape)

    @property
    def _under(self) -> NDArray[np.bool_]:
        assert self.log_singular_values is not None
        assert self.log_resolution is not None
        logs = self.log_singular_values
        return np.isfinite(logs) & (logs <= self.log_resolution[:, None])

    @property
    def summary(self) -> dict[str, Any]:
        """The measured spectrum in a few numbers: ln of its ends and median, the share of zeros, gradient growth.

        Where values are not resolved there is no smallest, and the median is that of the others; of a Jacobian that was
        not formed there is none where more than a twentieth are not, for they may be zeros or not.
        """
        if self.log_singular_values is None:
            assert self.density is not None
            ends, (places, mass, zeros, unresolved, _) = self.density.extremes, self._seen
            middle = float(places[np.searchsorted(np.cumsum(mass), mass.sum() / 2)])
            least = ends.smallest.log_value if ends.smallest.converged and not unresolved else -math.inf
            middle = min(max(middle, least), ends.largest.log_value)  # places are those of a grid
            return {"log_largest_s": ends.largest.log_value, "log_median_s": None if unresolved > _OPEN else middle,
                    "log_smallest_s": None if least == -math.inf and ends.largest.log_value > least else least,
                    "mass_at_zero": zeros, "unresolved": unresolved,
                    "gradient_growth": self.density.mean_square * self.shape[1] / self.shape[0]}
        logs = self.log_singular_values
        seen = logs[np.isfinite(logs) & ~self._under]
        with np.errstate(over="ignore"):
            growth = float(np.mean(np.sum(np.exp(2 * logs), axis=1, where=~self._under))) / self.shape[0]
        low, middle, high = np.quantile(seen, [0, 0.5, 1]) if seen.size else (-math.inf,) * 3
        return {"log_largest_s": float(high), "log_median_s": float(middle),
                "log_smallest_s": None if self.unresolved else float(low),
                "mass_at_zero": float(np.mean(np.isneginf(logs))), "unresolved": self.unresolved,
                "gradient_growth": growth}

    @property
    def kept(self) -> float:
        """The share of the outputs' directions that the narrowest place of the module keeps at most."""
        rank = self.anatomy.rank
        narrow = min(self.shape) if rank is None else min(*self.shape, rank + self.anatomy.removed)
        return max(1, narrow) / self.shape[0]

    @property
    def judged(self) -> bool:
        """Whether the growth of gradients says something of the weights: what averages alone do to it is known."""
        return self.anatomy.averaging is not None

    @property
    def numbers(self) -> Numbers:
        """What advice looks at; no spread where values are not resolved."""
        growth = float(self.summary["gradient_growth"]) / (self.anatomy.averaging or 1.0) / self.kept
        log_growth = math.log(growth) if growth > 0 else -math.inf
        if self.log_singular_values is not None:
            return Numbers(log_growth, self._spread)
        if self.unresolved or self.anatomy.rank is None:
            return Numbers(log_growth, None)
        places, mass = self._seen[:2]
        if not mass.any():
            return Numbers(log_growth, 0.0)
        mean = float(np.average(places, weights=mass))
        return Numbers(log_growth, math.sqrt(float(np.average((places - mean) ** 2, weights=mass))))

    @property
    def _spread(self) -> float | None:
        """The standard deviation of ln s, less the values that normalizations take away to all but their eps."""
        if self.unresolved or self.anatomy.rank is None:
            return None
        assert self.log_singular_values is not None
        rows = [row[np.isfinite(row)] for row in self.log_singular_values]
        logs = np.concatenate([row[: max(0, row.size - self.anatomy.removed)] for row in rows])
        return float(np.std(logs)) if logs.size else 0.0

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw what was measured: over the law where there is one, with its error where it is matrix-free."""
        if self.agreement is not None:
            return self.agreement.plot(ax)
        if self.density is not None:
            return self.density.plot(ax)
        assert self.log_singular_values is not None
        assert self.log_resolution is not None
        return plotting.measured(self.log_singular_values, self.log_resolution, ax)


def diagnose(module: nn.Module, input_shape: int | Sequence[int], *, samples: int = 2, seed: int = 0,
             tokens: int | None = None, between: Between | None = None, output: Output = None) -> Diagnosis:
    """Return what a module is, what the theory says of it, what is measured, and what to change.

    Parameters
    ----------
    module : torch.nn.Module
        Left as it is. It is measured in evaluation mode; batch normalizations without statistics have those of random
        inputs, on a copy. What is advised was tried on copies.
    input_shape : int or tuple of int
        Of one input, without the batch axis.
    samples, seed : int
        Standard normal inputs at which it is measured, and the seed that draws them.
    tokens : int
        Inputs are whole numbers below this, as of a vocabulary; say with `between` what is behind the embedding.
    between, output
        The part that is measured, as of `empirical.jacobian`. Described and predicted is the whole module, up to that
        output.
    """
    shape = sizes(input_shape)
    samples, generator = integer("samples", samples), torch.Generator().manual_seed(integer("seed", seed, 0))
    with waiting("solving the law"):
        description, prediction, obstacle = _predicted(module, shape, output) if tokens is None else (
            None, None, "the input is of tokens, and looking them up is no layer of rmt")
    with evaluating(module):
        many = _CALIBRATION if any(untrained(module)) else 0
        x = _drawn(module, (samples + many, *shape), tokens, generator)
        x, others = x[:samples], x[samples:]

        def ready(one: nn.Module) -> nn.Module:
            with as_found(one, x):
                return calibrated(one, others) if many else one

        taken = ready(module)
        size = _size(taken, x[:1], between, output)
        body = anatomy(taken, x, between, output)
        values, density = _measured(taken, x, between, output, size, body, seed)
        logs = None if values is None else values.logs
        whole = between is None
        agreement, predicted = None, None
        try:
            if prediction is not None:
                with waiting("comparing with the law"):
                    predicted = _numbers_of(prediction, size[1])
                    if values is not None and whole:
                        agreement = replace(compare(prediction, values.logs[None]), censored=values.resolution[None])
                        _ = agreement.discrepancy  # the law is asked for here, and may not be found
        except ConvergenceError as error:
            prediction, predicted, agreement, obstacle = None, None, None, f"the law is not found: {error}"
        notes = (*(description.warnings if description else ()), *(prediction.warnings if prediction else ()))
        if many:
            notes += (f"batch normalizations without statistics were given those of {many} random inputs, on a copy",)
        if values is not None and values.underflow:
            notes += (f"its own forward underflows, and a copy in double precision was measured: {values.underflow}",)
        if logs is not None and not np.isfinite(logs).any() and (cut := cut_of(taken, x, between, output)):
            notes += (cut,)
        found = Diagnosis(description.weights if description else weights(taken, x), description, prediction, obstacle,
                          size, logs, None if values is None else values.resolution,
                          values.whole if values is not None and values.unresolved.any() else "", density, agreement,
                          notes, body, whole, predicted)
        if density is not None and found.unresolved:
            found = replace(found, unresolved_because=(
                f"the Jacobian was not formed, and {density.steps} steps from each of {density.probes} random vectors "
                "do not see so far down"))

        def again(change: Change) -> Numbers:
            twin = ready(changed(module, change))
            seen, free = _measured(twin, x, between, output, size, body, seed)
            return replace(found, log_singular_values=None if seen is None else seen.logs, density=free,
                           log_resolution=None if seen is None else seen.resolution).numbers

        return replace(found, advice=tuple(advice(found, again)))


def _predicted(module: nn.Module, shape: tuple[int, ...],
               output: Output) -> tuple[Description | None, Prediction | None, str]:
    """Return the description, the prediction, and what stands in the way of either."""
    try:
        found = described(module, shape, output)
    except UnsupportedStructure as error:
        return None, None, str(error)
    try:
        return found, predict(found.network), ""
    except (UnsupportedStructure, ConvergenceError) as error:
        place = re.match(r"layers\[(\d+)\](?:: )?", str(error))
        return found, None, f"{found.parts[int(place[1])].at}: {str(error)[place.end():]}" if place else str(error)


def _numbers_of(prediction: Prediction, n_inputs: int) -> dict[str, Any]:
    """Return the numbers of a summary as a law has them."""
    law = prediction.spectrum
    zeros, (low, high) = law.atoms.get(0.0, 0.0), law.log_edges
    low = low if low > -math.inf else high - law.log_condition_number_at(max(1, round(n_inputs * (1 - zeros))))
    return {"log_largest_s": high, "log_median_s": float(law.log.ppf(0.5)), "log_smallest_s": low,
            "mass_at_zero": zeros, "gradient_growth": prediction.gradient_growth}


def _measured(module: nn.Module, x: torch.Tensor, between: Between | None, output: Output, size: tuple[int, int],
              body: Anatomy, seed: int) -> tuple[Values | None, SpectralDensity | None]:
    """Return the singular values, or their density where the Jacobian is too large to form."""
    if body.detached:  # autograd sees no dependence: all is zero
        return Values(np.full((len(x), size[1]), -np.inf), np.full(len(x), -np.inf), ""), None
    if min(size) <= _LARGEST:
        return measured(module, x, between, output, units=max(COARSE, *size), seconds=_PATIENCE), None
    return None, spectral_density(module, x, seed=seed, between=between, output=output)


def _drawn(module: nn.Module, shape: tuple[int, ...], tokens: int | None, generator: torch.Generator) -> torch.Tensor:
    if tokens is not None:
        return torch.randint(integer("tokens", tokens), shape, generator=generator).to(like(module).device)
    return torch.randn(shape, generator=generator, dtype=torch.float64).to(like(module))


def _size(module: nn.Module, x: torch.Tensor, between: Between | None, output: Output) -> tuple[int, int]:
    """Return the numbers of outputs and inputs of the Jacobian of one sample."""
    with as_found(module, x), part(module, between) as through:
        start, found = through(lambda at: ran(module, at), x, None)
    return picked(found, output).numel(), start.numel()


class _Seen(NamedTuple):
    """What is known of a spectrum whose Jacobian was not formed.

    Attributes
    ----------
    places, mass : array
        In ln s, ascending, and the share of all values at each.
    zeros, unresolved : float
        The share of values that are zero by shape, or because all are; and of others that lie under `floor`, in ln s.
    floor : float
    """

    places: Array
    mass: Array
    zeros: float
    unresolved: float
    floor: float


def _seen(density: SpectralDensity, shape: tuple[int, int]) -> _Seen:
    """Return what the steps saw: what is above the last place where they leave more of the mass open than `_OPEN`."""
    if density.extremes.largest.log_value == -math.inf:
        return _Seen(np.array([-math.inf]), np.zeros(1), 1.0, 0.0, -math.inf)
    zeros, probes = max(0.0, 1 - shape[0] / shape[1]), density.probe_se
    unseen = (density.cdf_se**2 - probes**2 > _OPEN**2) | (density.grid <= density.resolution)
    first = min(int(np.max(np.flatnonzero(unseen), initial=-1)) + 1, len(unseen) - 2)
    grid, cdf = density.grid[first:], density.cdf[first:]
    below = float(cdf[0]) - zeros
    unresolved = below if below > 1 / (2 * density.n_inputs) else 0.0  # half a value
    return _Seen((grid[1:] + grid[:-1]) / 2, np.diff(cdf), zeros, unresolved, float(grid[0]))
