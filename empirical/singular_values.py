"""Singular values of the Jacobian of a module: through the accurate chain where it is one, else by an SVD."""

from __future__ import annotations

import math
import warnings
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from empirical import graph
from empirical.calls import Batch
from empirical.cut import Between
from empirical.graph import Untraceable
from empirical.jacobian import Output, formed
from empirical.qr_chain import chain_log_singular_values
from empirical.stages import factors
from empirical.underflow import Underflow, smallest
from empirical.unwrapped import opened

Array = NDArray[np.float64]

_UNITS = 4e10  # of rounding: what is so far above them an SVD has to 1e-10
COARSE = 1e3  # of rounding, or as many as there are values: enough to show where a value is


def log_singular_values(module: nn.Module, x: Batch, between: Between | None = None, output: Output = None,
                        wrt: str | None = None) -> Array:
    """Return ln of the singular values of the Jacobian at every sample, (batch, inputs), descending.

    Exact zeros are -inf, and pad the row where there are fewer outputs than inputs. A module is read as stages, each
    with a Jacobian of its own, and goes through the accurate chain. Where it cannot be split only a float64 SVD is
    taken: values under its resolution are put at it, with a warning that says what stands in the way. Arguments are
    those of `empirical.jacobian`.
    """
    values = measured(module, x, between, output, wrt)
    if np.any(np.isfinite(values.logs) & (values.logs <= values.resolution[:, None])):
        warnings.warn("singular values under the resolution of a float64 SVD were put at it, for the module was "
                      f"measured whole: {values.whole}", stacklevel=2)
    return values.logs


class Values(NamedTuple):
    """ln s (batch, inputs), ln of the resolution (batch,), -inf where every value is accurate, and why it was whole."""

    logs: Array
    resolution: Array
    whole: str


def measured(module: nn.Module, x: Batch, between: Between | None = None, output: Output = None,
             wrt: str | None = None, units: float = _UNITS) -> Values:
    """Return `log_singular_values`, with what is known of their accuracy.

    An SVD will do where every value is `units` of rounding of the largest, or more.
    """
    module, between = opened(module, between)
    j = None if graph.chain(module) and between is None and output is None else formed(
        module, x, between, output, wrt=wrt)
    if j is not None:
        logs, resolution, unit, digits = _whole(j)
        if np.all(logs[:, : min(j.shape[1:])] > np.maximum(logs[:, :1] + math.log(units * unit), math.log(digits))):
            return Values(logs, np.full(len(j), -np.inf), "")
    try:
        n_inputs, chains = factors(module, x, between, output, wrt)
    except Underflow:
        raise
    except Exception as error:  # whatever a module may do when it is taken apart: it was measured whole
        if j is None:
            if not isinstance(error, Untraceable | MemoryError):
                raise
            logs, resolution, _, digits = _whole(formed(module, x, between, output, wrt=wrt))
        if np.any(logs[:, 0] < math.log(digits)):
            formed(module, x, between, output, wrt=wrt, vanishing=False, warned=True)  # raises unless zeros are true
        return Values(logs, resolution, str(error) or type(error).__name__)
    logs = np.array([chain_log_singular_values(chain, n_inputs) for chain in chains])
    return Values(logs, np.full(len(chains), -np.inf), "")


def _whole(j: torch.Tensor) -> tuple[Array, Array, float, float]:
    """Return ln s, ln of the resolution, a unit of rounding, and above which size what is one unit below has digits."""
    unit = float(torch.finfo(j.dtype).eps)
    return *_by_svd(j.to("cpu", torch.float64).numpy(), unit), unit, smallest(j.dtype) / unit


def _by_svd(j: Array, unit: float) -> tuple[Array, Array]:
    """Return ln of the values of matrices that are known to one unit of rounding, and of their resolution."""
    values = np.linalg.svd(j, compute_uv=False)
    with np.errstate(divide="ignore"):
        resolution = np.log(max(j.shape[1:]) * unit * values[:, 0])
        logs = np.maximum(np.log(values), resolution[:, None])
    padding = np.full((len(j), j.shape[2] - logs.shape[1]), -np.inf)
    return np.concatenate([logs, padding], axis=1), resolution
