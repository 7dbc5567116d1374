"""Watch the singular values of a module's Jacobian while it trains, beside the law it began with."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch
from torch import nn

from empirical.as_found import as_found
from empirical.calibration import calibrated, untrained
from empirical.calls import ran
from empirical.copies import copied
from empirical.describe import describe
from empirical.progress import waiting
from empirical.singular_values import COARSE, measured
from rmt import plotting
from rmt.cdf_distance import CdfDistance
from rmt.checks import choice, integer
from rmt.laws.cdf_table import tabulated
from rmt.laws.views import Spectrum
from rmt.networks.layers import UnsupportedStructure
from rmt.networks.predict import predict

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_BatchNorm = nn.modules.batchnorm._BatchNorm
_PATIENCE = 2.0  # seconds for the accurate chain: training waits for it
_SNAP = {torch.float64: 1e-8, torch.float32: 1e-5}  # values this near an atom of the law, in ln s, are on it


@dataclass(frozen=True)
class Record:
    """The singular values s of the Jacobian at one training step, averaged over the inputs.

    Attributes
    ----------
    step : int
        Calls of `SpectrumMonitor.step` so far.
    log_largest, log_median, log_smallest : float
        ln s: the largest, and of those that are resolved the median and the smallest; -inf where all are zero.
    log_condition_number : float
        ln of largest over smallest, a lower bound where some are unresolved; inf where all are zero.
    gradient_growth : float
        E |J^T g|^2 / |g|^2 = sum s^2 / n_outputs; inf above every float.
    mass_at_zero, unresolved : float
        Share of the n_inputs values that are zero, and that may be: no other number rests on these.
    distance : float or None
        Largest distance between the cdfs of s given s > 0, of all inputs and of the law; None without a law.
    """

    step: int
    log_largest: float
    log_median: float
    log_smallest: float
    log_condition_number: float
    gradient_growth: float
    mass_at_zero: float
    unresolved: float
    distance: float | None


class SpectrumMonitor:
    """Measure the Jacobian of a module that trains every so many steps, and leave the module as it is.

    Neither weights, gradients, buffers, modes nor torch's random state change: training goes on bit for bit as without.
    The module is measured in the mode it is in, with the dropout of that moment, but batch normalizations in training
    mode are in evaluation mode, on a copy: with their running averages less what is left of the start, or, where they
    have seen no batch, with the statistics of the inputs (give some dozens, then).

    Parameters
    ----------
    module : torch.nn.Module
        What trains.
    inputs : tensor (batch, *input_shape)
        A few samples, always the same, of the module's precision and on its device. Copied.
    every : int
        The first call of `step` measures, and every so many-th. A measurement costs a Jacobian in double precision and
        its SVD; the accurate chain is taken where that does not see every value (dead units, deep) and takes two
        seconds at most.
    law : Spectrum, Law (of x = s^2), Prediction, None or "predicted"
        What to compare with. "predicted": what `rmt.predict` says of the module as it is now, at initialization, for
        inputs of this mean square and mean cosine. None: nothing. It is solved and tabulated here, before training (to
        1e-4 of its cdf), which may take seconds, of dozens of residual blocks a minute.
    writer : object with add_scalar(tag, value, step)
        As TensorBoard's SummaryWriter: is given "spectrum/..." of every record.

    Attributes
    ----------
    law, why : Spectrum or None, str
        The law at initialization, and why there is none.
    unresolved_because : str
        Why some values of the last record are not resolved; empty where all are.
    records : tuple of Record
        The measurements so far.
    """

    def __init__(self, module: nn.Module, inputs: torch.Tensor, every: int = 100, law: Any = "predicted",
                 writer: Any = None) -> None:
        if not isinstance(module, nn.Module):
            raise TypeError(f"module must be a torch.nn.Module, got {module!r}")
        if (not isinstance(inputs, torch.Tensor) or inputs.ndim < 2 or not inputs.numel() or inputs.dtype not in _SNAP
                or not torch.isfinite(inputs).all()):
            got = f"shape {tuple(inputs.shape)} of {inputs.dtype}: " if isinstance(inputs, torch.Tensor) else ""
            raise ValueError("inputs must be a finite tensor (batch, *input_shape) of single or double precision, not "
                             f"empty, got {got}{inputs!r:.200}")
        if writer is not None and not callable(getattr(writer, "add_scalar", None)):
            raise TypeError(f"writer must have add_scalar(tag, value, step), got {writer!r}")
        self.module, self.inputs, self.every = module, inputs.detach().clone(), integer("every", every)
        with waiting("solving the law at initialization"):
            self.law, self.why = _law(law, module, self.inputs)
            self._table = None if self.law is None else tabulated(self.law.log)
        self._writer, self._calls = writer, 0
        self.records: tuple[Record, ...] = ()
        self.unresolved_because = ""

    def step(self) -> Record | None:
        """Count a training step; measure at the first and at every `every`-th."""
        self._calls += 1
        return self.measure() if self._calls == 1 or self._calls % self.every == 0 else None

    def measure(self) -> Record:
        """Measure now, whatever the step; raise ValueError where the Jacobian is not finite, naming what is not."""
        with as_found(self.module, self.inputs):
            module = _in_evaluation(self.module, self.inputs)
            n_outputs = ran(module, self.inputs).flatten(1).shape[1]
            values = measured(module, self.inputs, units=max(COARSE, self.inputs[0].numel(), n_outputs),
                              seconds=_PATIENCE)
        logs, resolution = values.logs, values.resolution
        self.unresolved_because = values.whole if values.unresolved.any() else ""
        record = _record(self._calls, logs, resolution, n_outputs, self._distance(logs, resolution))
        self.records += (record,)
        for name, value in self.summary().items() if self._writer is not None else ():
            if name != "step":
                self._writer.add_scalar(f"spectrum/{name}", value, record.step)
        return record

    def _distance(self, logs: np.ndarray, resolution: np.ndarray) -> float | None:
        """Return how far the cdf of one network's values is from the law's; 1 where all are zero."""
        if self._table is None:
            return None
        found = CdfDistance(self._table, logs.reshape(1, -1), float(resolution.max()), _SNAP[self.inputs.dtype])
        return 1.0 if found.empty else found.pooled

    def summary(self) -> dict[str, float]:
        """Return the last record as {name: number}, for any logger: empty before one, no distance without a law."""
        return {name: float(value) for last in self.records[-1:] for name, value in asdict(last).items()
                if value is not None}

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw log10 of the largest, median and smallest s over training steps, the law's at initialization dashed."""
        return plotting.training(self, ax)


def _law(law: Any, module: nn.Module, inputs: torch.Tensor) -> tuple[Spectrum | None, str]:
    """Return the law at initialization, and why there is none."""
    if law is None:
        return None, "none was asked for (law=None)"
    if isinstance(law, str) and choice("law", law, ("predicted",)):
        try:
            return _predicted(module, inputs), ""
        except UnsupportedStructure as error:
            return None, str(error)
    spectrum = law if isinstance(law, Spectrum) else getattr(law, "spectrum", None)
    if not isinstance(spectrum, Spectrum):
        raise TypeError(f'law must be a Spectrum, a law of x, a Prediction, None or "predicted", got {law!r}')
    return spectrum, ""


def _predicted(module: nn.Module, inputs: torch.Tensor) -> Spectrum:
    x, n = inputs.double().flatten(1), len(inputs)
    cosine = (float(nn.functional.normalize(x).sum(0).square().sum()) - n) / max(n * (n - 1), 1)  # mean over pairs
    masked = any(isinstance(m, nn.modules.dropout._DropoutNd) and m.training and m.p for m in module.modules())
    network = describe(module, tuple(inputs.shape[1:]))
    return predict(network, float(x.square().mean()), float(np.clip(cosine, -1, 1)), training=masked).spectrum


def _in_evaluation(module: nn.Module, x: torch.Tensor) -> nn.Module:
    """Return the module, or a copy in which batch normalizations have statistics and use them."""
    training = [name for name, part in module.named_modules() if isinstance(part, _BatchNorm) and part.training]
    module = copied(module) if training else module
    for norm in (cast(_BatchNorm, module.get_submodule(name)).eval() for name in training):
        mean, variance, batches = norm.running_mean, norm.running_var, norm.num_batches_tracked
        if mean is not None and variance is not None and batches and norm.momentum:
            start = (1 - norm.momentum) ** int(batches)  # the weight of mean 0 and variance 1, taken out as Adam does
            if torch.all(variance >= start * (1 - 1e-5)):  # else they began elsewhere
                mean.div_(1 - start)
                variance.sub_(start).div_(1 - start).clamp_(min=0)
    return calibrated(module, x) if any(untrained(module)) else module


def _record(step: int, logs: np.ndarray, resolution: np.ndarray, n_outputs: int, distance: float | None) -> Record:
    """Summarize ln s (inputs, n_inputs) and the ln of its resolution (inputs); ends are means over the inputs' own."""
    alive, seen = logs > -np.inf, logs > resolution[:, None]
    with np.errstate(over="ignore"):
        growth = float(np.exp(2 * logs).sum(1, where=seen).mean()) / n_outputs
    ends = [(row.max(), np.median(row[is_seen]), row[is_seen].min())
            for row, is_seen in zip(logs, seen, strict=True) if is_seen.any()] or [(-np.inf, -np.inf, -np.inf)]
    largest, median, smallest = map(float, np.mean(ends, axis=0))
    condition = largest - smallest if seen.any() else float("inf")
    return Record(step, largest, median, smallest, condition, growth, float(np.mean(~alive)),
                  float(np.mean(alive & ~seen)), distance)
