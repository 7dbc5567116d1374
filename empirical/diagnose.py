"""What a module is, what the theory says of it, what is measured, and what to change."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from empirical.calibration import calibrated, untrained
from empirical.calls import like, ran
from empirical.copies import copied
from empirical.cut import Between, part, picked
from empirical.describe import NORMS, Description, described, sizes
from empirical.jacobian import Output, as_found, cut_of, evaluating
from empirical.matrix_free import SpectralDensity, spectral_density
from empirical.singular_values import COARSE, measured
from empirical.underflow import Underflow
from empirical.weights import Weights, weights
from rmt import plotting
from rmt.agreement import Agreement, compare
from rmt.checks import integer
from rmt.laws.errors import ConvergenceError
from rmt.networks.layers import Activation, Layer, UnsupportedStructure
from rmt.networks.meanfield import NoFixedPoint, critical_point
from rmt.networks.predict import Prediction, predict
from rmt.networks.residual import Residual
from rmt.networks.sequence import every

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Array = NDArray[np.float64]

_LARGEST = 1024  # values of a Jacobian that is formed
_CALIBRATION = 256  # inputs
_GROWTH, _ALL = 0.1, math.log(10)  # of ln |J^T g|^2, a layer and in all: less is no trouble
_SPREAD = 2.0  # standard deviation of ln s: more is far from an isometry
_DEAD = 0.02  # of the directions, beyond those that the shape takes


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
    density : SpectralDensity or None
        Its spectrum then, matrix-free.
    agreement : Agreement or None
        Measured against predicted, one network.
    warnings : tuple of str
        What description and prediction leave out, and that statistics were calibrated.
    normalized : bool
        Whether there are normalizations in it.
    """

    weights: tuple[Weights, ...]
    description: Description | None
    prediction: Prediction | None
    obstacle: str
    shape: tuple[int, int]
    log_singular_values: Array | None
    density: SpectralDensity | None
    agreement: Agreement | None
    warnings: tuple[str, ...]
    normalized: bool

    @property
    def summary(self) -> dict[str, Any]:
        """The measured spectrum in a few numbers: ln of its ends and median, the share of zeros, gradient growth."""
        if self.log_singular_values is None:
            assert self.density is not None
            share, ends = float(self.density.cdf[0]), self.density.extremes
            places, mass = _masses(self.density)
            middle = float(places[np.searchsorted(np.cumsum(mass), mass.sum() / 2)])
            square = float(np.sum(np.exp(2 * places) * mass)) * self.shape[1]
            return {"log_largest_s": ends.largest.log_value, "log_median_s": middle,
                    "log_smallest_s": ends.smallest.log_value if ends.smallest.converged else None,
                    "mass_at_zero": share, "gradient_growth": square / self.shape[0]}
        logs = self.log_singular_values
        finite = logs[np.isfinite(logs)]
        with np.errstate(over="ignore"):
            growth = float(np.mean(np.sum(np.exp(2 * logs), axis=1))) / self.shape[0]
        low, middle, high = np.quantile(finite, [0, 0.5, 1]) if finite.size else (-math.inf,) * 3
        return {"log_largest_s": float(high), "log_median_s": float(middle), "log_smallest_s": float(low),
                "mass_at_zero": float(np.mean(np.isneginf(logs))), "gradient_growth": growth}

    @property
    def predicted(self) -> dict[str, Any] | None:
        """The same numbers of the law; its typical smallest of as many values at a hard edge."""
        if self.prediction is None:
            return None
        law = self.prediction.spectrum
        zeros, (low, high) = law.atoms.get(0.0, 0.0), law.log_edges
        low = low if low > -math.inf else high - law.log_condition_number_at(max(1, round(self.shape[1] * (1 - zeros))))
        return {"log_largest_s": high, "log_median_s": float(law.log.ppf(0.5)), "log_smallest_s": low,
                "mass_at_zero": zeros, "gradient_growth": self.prediction.gradient_growth}

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw what was measured: over the law where there is one, with its error where it is matrix-free."""
        if self.agreement is not None:
            return self.agreement.plot(ax)
        if self.density is not None:
            return self.density.plot(ax)
        assert self.log_singular_values is not None
        return plotting.measured(self.log_singular_values, ax)

    @property
    def advice(self) -> tuple[str, ...]:
        """What to change, each with the number that it rests on."""
        return tuple(_advice(self))


def diagnose(module: nn.Module, input_shape: int | Sequence[int], *, samples: int = 2, seed: int = 0,
             tokens: int | None = None, between: Between | None = None, output: Output = None) -> Diagnosis:
    """Return what a module is, what the theory says of it and what is measured.

    Parameters
    ----------
    module : torch.nn.Module
        Left as it is. It is measured in evaluation mode; batch normalizations without statistics have those of random
        inputs, on a copy.
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
    description, prediction, obstacle = _predicted(module, shape, output) if tokens is None else (
        None, None, "the input is of tokens, and looking them up is no layer of rmt")
    with evaluating(module):
        many = _CALIBRATION if any(untrained(module)) else 0
        x = _drawn(module, (samples + many, *shape), tokens, generator)
        with as_found(module, x):
            taken = calibrated(module, x[samples:]) if many else module
        size = _size(taken, x[:1], between, output)
        formed = min(size) <= _LARGEST
        logs, lost = _measured(taken, x[:samples], between, output, max(COARSE, *size)) if formed else (None, "")
        density = None if formed else spectral_density(taken, x[:samples], seed=seed, between=between, output=output)
    whole = prediction is not None and logs is not None and between is None
    agreement = compare(prediction, logs[None]) if whole and logs is not None else None
    notes = (*(description.warnings if description else ()), *(prediction.warnings if prediction else ()))
    if many:
        notes += (f"batch normalizations without statistics were given those of {many} random inputs, on a copy",)
    if lost:
        notes += (f"its own forward underflows, and a copy in double precision was measured: {lost}",)
    if logs is not None and not np.isfinite(logs).any() and (
            cut := cut_of(taken, x[:samples], between, output)):
        notes += (cut,)
    normalized = any(isinstance(layer, (*NORMS, nn.LocalResponseNorm)) for layer in module.modules())
    rows = description.weights if description else weights(taken, x[:samples])
    return Diagnosis(rows, description, prediction, obstacle, size, logs, density, agreement, notes, normalized)


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


def _measured(module: nn.Module, x: torch.Tensor, between: Between | None, output: Output,
              units: float) -> tuple[Array, str]:
    """Return ln s; of a copy in double precision where single is too small for a signal, and what is said of that."""
    try:
        return measured(module, x, between, output, units=units).logs, ""
    except Underflow as error:
        if like(module).dtype != torch.float32:
            raise
        x = x.double() if x.is_floating_point() else x
        return measured(copied(module).double(), x, between, output, units=units).logs, str(error)


def _drawn(module: nn.Module, shape: tuple[int, ...], tokens: int | None, generator: torch.Generator) -> torch.Tensor:
    if tokens is not None:
        return torch.randint(integer("tokens", tokens), shape, generator=generator).to(like(module).device)
    return torch.randn(shape, generator=generator, dtype=torch.float64).to(like(module))


def _size(module: nn.Module, x: torch.Tensor, between: Between | None, output: Output) -> tuple[int, int]:
    """Return the numbers of outputs and inputs of the Jacobian of one sample."""
    with as_found(module, x), part(module, between) as through:
        start, found = through(lambda at: ran(module, at), x, None)
    return picked(found, output).numel(), start.numel()


# ---- what to change -----------------------------------------------------------------------------------


def _advice(found: Diagnosis) -> Iterator[str]:
    summary = found.summary
    layers = [*every(found.description.network.layers)] if found.description else []
    depth = max(1, sum(row.kind in ("Linear", "Conv2d", "Conv1d", "projections") for row in found.weights))
    growth = summary["gradient_growth"]
    rate = math.log(growth) / depth if 0 < growth < math.inf else math.copysign(math.inf, growth - 1)
    if abs(rate) > max(_GROWTH, _ALL / depth):
        yield (f"squared gradients {'grow' if rate > 0 else 'shrink'} by a factor of {growth:.3g} over {depth} layers "
               f"of weights: {_remedy(found, layers, rate)}")
    dead = summary["mass_at_zero"] - max(0.0, 1 - found.shape[0] / found.shape[1])
    if dead > _DEAD:
        yield (f"{100 * dead:.0f} % of the directions of the input do not reach the output: wider layers, a leaky "
               "activation or shortcuts keep them")
    spread = _spread(found)
    if spread > _SPREAD:
        yield (f"ln s has a standard deviation of {spread:.2g}, some directions are learned e^{2 * spread:.0f} times "
               "faster than others: orthogonal weights (with a linear or tanh-like activation), shortcuts with small "
               "branches, or fewer layers bring them together")


def _remedy(found: Diagnosis, layers: list[Layer], rate: float) -> str:
    """Return what brings the growth of gradients to 1."""
    most = sorted(found.weights, key=lambda row: math.copysign(row.sigma_w, rate), reverse=True)[:2]
    if found.normalized:
        return (f"the scale of weights before a normalization changes nothing; that of those behind the last does, as "
                f"do shortcuts and fewer layers ({'largest' if rate > 0 else 'smallest'} sigma_w: "
                f"{', '.join(f'{row.name} {row.sigma_w:.2g}' for row in most)})")
    if any(isinstance(layer, Residual) for layer in layers):
        return "scale the branches by 1/sqrt(number of blocks)"
    functions = {layer.phi for layer in layers if isinstance(layer, Activation)}
    used = [row.sigma_w for row in found.weights if row.entries != "zero"]
    if len(functions) == 1 and used:
        bias = math.sqrt(sum(row.bias_std**2 for row in found.weights) / len(found.weights))
        phi = functions.pop()
        try:
            point = critical_point(phi, bias_std=bias)
            return (f"{phi} with biases of {bias:.2g} is critical at sigma_w = {point.sigma_w:.4g}, these weights have "
                    f"{min(used):.3g} to {max(used):.3g}")
        except NoFixedPoint:
            pass
    return f"weights {math.exp(-rate / 2):.3g} times as large" if math.isfinite(rate) else "other weights"


def _spread(found: Diagnosis) -> float:
    """Return the standard deviation of ln s given s > 0."""
    if found.log_singular_values is not None:
        logs = found.log_singular_values[np.isfinite(found.log_singular_values)]
        return float(np.std(logs)) if logs.size else 0.0
    assert found.density is not None
    places, mass = _masses(found.density)
    mean = float(np.average(places, weights=mass))
    return math.sqrt(float(np.average((places - mean) ** 2, weights=mass)))


def _masses(density: SpectralDensity) -> tuple[Array, Array]:
    """Return places in ln s, and the mass at each."""
    return (density.grid[1:] + density.grid[:-1]) / 2, np.diff(density.cdf)
