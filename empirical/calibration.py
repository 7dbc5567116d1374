"""Statistics for batch normalizations that have none: an untrained one in evaluation mode is the identity."""

from __future__ import annotations

from collections.abc import Iterator
from typing import cast

import torch
from torch import nn

from empirical.copies import copied

_BatchNorm = nn.modules.batchnorm._BatchNorm


def untrained(module: nn.Module) -> Iterator[str]:
    """Yield the names of the batch normalizations in evaluation mode whose statistics nobody has set."""
    for name, part in module.named_modules():
        if isinstance(part, _BatchNorm) and not part.training and part.num_batches_tracked is not None:
            mean, variance = cast(torch.Tensor, part.running_mean), cast(torch.Tensor, part.running_var)
            if part.num_batches_tracked == 0 and not mean.any() and torch.equal(variance, torch.ones_like(variance)):
                yield name or "module"


def calibrated(module: nn.Module, x: torch.Tensor) -> nn.Module:
    """Return a copy in which the untrained batch normalizations have the statistics of these inputs.

    Each sees what the ones before it have normalized with the batch's statistics, as in training. The others stay as
    they are.
    """
    names = set(untrained(module))
    twin = copied(module)
    parts = [part for name, part in twin.named_modules()
             if isinstance(part, _BatchNorm) and (name or "module") in names]
    momenta = [part.momentum for part in parts]
    for part in parts:
        part.train()
        part.momentum = None  # the average over all batches: of this one
    with torch.no_grad():
        twin(x)
    for part, momentum in zip(parts, momenta, strict=True):
        part.eval()
        part.momentum = momentum
    return twin
