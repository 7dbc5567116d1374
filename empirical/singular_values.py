"""Singular values of the Jacobian of a module: through the accurate chain where it is one, else by an SVD."""

from __future__ import annotations

import math
import warnings

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from empirical.jacobian import jacobian
from empirical.qr_chain import chain_log_singular_values
from empirical.stages import factors

Array = NDArray[np.float64]


def log_singular_values(module: nn.Module, x: torch.Tensor) -> Array:
    """Return ln of the singular values of the Jacobian at every sample, (batch, inputs), descending.

    Exact zeros are -inf, and pad the row where there are fewer outputs than inputs. A sequential module goes
    through the accurate chain; of any other only a float64 SVD is taken: values under its resolution are put
    at it, with a warning.
    """
    logs, resolution = log_singular_values_and_resolution(module, x)
    if np.any(np.isfinite(logs) & (logs <= resolution[:, None])):
        warnings.warn("singular values under the resolution of a float64 SVD were put at it", stacklevel=2)
    return logs


def log_singular_values_and_resolution(module: nn.Module, x: torch.Tensor) -> tuple[Array, Array]:
    """Return `log_singular_values` and, per sample, ln of the resolution: -inf where every value is accurate."""
    chains = factors(module, x)
    if chains is not None:
        n_inputs = math.prod(x.shape[1:])
        return np.array([chain_log_singular_values(chain, n_inputs) for chain in chains]), np.full(len(x), -np.inf)
    j = jacobian(module, x)
    values = np.linalg.svd(j.to("cpu", torch.float64).numpy(), compute_uv=False)
    unit = float(torch.finfo(j.dtype).eps)
    with np.errstate(divide="ignore"):
        resolution = np.log(max(j.shape[1:]) * unit * values[:, 0])
        logs = np.maximum(np.log(values), resolution[:, None])
    padding = np.full((len(x), j.shape[2] - logs.shape[1]), -np.inf)
    return np.concatenate([logs, padding], axis=1), resolution
