"""Whether the singular values of a chain are likely too far apart for an SVD, before its Jacobian is formed."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import nn

from empirical.as_found import as_found
from empirical.sequential import POINTWISE, is_chain, leaves, slopes_of

_ASKED = 4  # linear layers: the others are taken to be like them


def likely_apart(module: nn.Module, x: torch.Tensor, units: float) -> bool:
    """Whether the mean of ln s lies further under ln of the root mean square of s than `units` of rounding under 1.

    Of matrices and diagonals in free positions both add up over the factors, so a few layers tell. It decides what is
    tried first, and nothing else: a guess that is wrong costs time.
    """
    if not is_chain(module) or x.ndim != 2 or not x.is_floating_point() or not x.numel():
        return False
    stages = [*leaves(module)]
    linear = [stage for stage in stages if isinstance(stage, nn.Linear)]
    if not linear or any(type(stage) not in (nn.Linear, nn.Identity, *POINTWISE) for stage in stages):
        return False
    asked = linear[:: math.ceil(len(linear) / _ASKED)]
    apart = len(linear) * float(np.mean([_of_matrix(layer.weight.detach()) for layer in asked]))
    with as_found(module, x):
        signal = x.clone()
        for stage in stages:
            if type(stage) in POINTWISE:
                apart += _of_slopes(slopes_of(stage, signal))
            signal = stage(signal)
    return apart > -math.log(units * torch.finfo(x.dtype).eps)


def _of_matrix(weight: torch.Tensor) -> float:
    """Return ln of the root mean square of a matrix's singular values less the mean of their logarithms."""
    tall = weight if weight.shape[0] >= weight.shape[1] else weight.T
    r = torch.linalg.qr(tall.to(torch.float64), mode="r")[1].diagonal().abs()
    return float(tall.double().square().sum().div(len(r)).log() / 2 - r.log().mean())


def _of_slopes(slopes: torch.Tensor) -> float:
    """The same of diagonals, the largest of all samples."""
    return float((slopes.double().square().mean(1).log() / 2 - slopes.double().abs().log().mean(1)).max())
