"""Statistics for batch normalizations that have none: an untrained one in evaluation mode is the identity."""

from __future__ import annotations

from collections.abc import Iterator
from typing import cast

import torch
from torch import nn

from empirical.copies import copied
from empirical.unwrapped import as_written

_BatchNorm = nn.modules.batchnorm._BatchNorm


def untrained(module: nn.Module, keeping: bool = False) -> Iterator[str]:
    """Yield the names of the batch normalizations in evaluation mode whose statistics nobody has set.

    Those that keep none are among them, unless `keeping`: they take a batch's own, and are known for many inputs alone.
    """
    for name, part in module.named_modules():
        if isinstance(part, _BatchNorm) and not part.training and part.running_mean is None:
            if not keeping:
                yield name or "module"
        elif isinstance(part, _BatchNorm) and not part.training and part.num_batches_tracked is not None:
            mean, variance = cast(torch.Tensor, part.running_mean), cast(torch.Tensor, part.running_var)
            if part.num_batches_tracked == 0 and not mean.any() and torch.equal(variance, torch.ones_like(variance)):
                yield name or "module"


def tracking(module: nn.Module) -> nn.Module:
    """Return a copy in which every batch normalization has statistics; the module itself if all of them do."""
    if all(part.running_mean is not None for part in module.modules() if isinstance(part, _BatchNorm)):
        return module
    twin = copied(module)
    for part in twin.modules():
        if isinstance(part, _BatchNorm):
            _track(part)
    return twin


def _track(part: _BatchNorm) -> None:
    """Give a normalization the statistics of a new one, if it keeps none."""
    if part.running_mean is None:
        like = next((value for value in part.parameters()), torch.zeros(()))
        part.track_running_stats = True
        part.running_mean = torch.zeros(part.num_features, dtype=like.dtype, device=like.device)
        part.running_var = torch.ones(part.num_features, dtype=like.dtype, device=like.device)
        part.num_batches_tracked = torch.zeros((), dtype=torch.long, device=like.device)


def calibrated(module: nn.Module, x: torch.Tensor) -> nn.Module:
    """Return a copy in which the untrained batch normalizations have the statistics of these inputs.

    Each sees what the ones before it have normalized with the batch's statistics, as in training. The others stay as
    they are.
    """
    names = set(untrained(module))
    if names and len(x) < 2:
        raise ValueError(f"{', '.join(sorted(names))}: BatchNorm without statistics is given those of the inputs, "
                         f"which must be two or more, got {len(x)}")
    twin = copied(module)
    parts = [part for name, part in twin.named_modules()
             if isinstance(part, _BatchNorm) and (name or "module") in names]
    for part in parts:
        _track(part)
    momenta = [part.momentum for part in parts]
    for part in parts:
        part.train()
        part.momentum = None  # the average over all batches: of this one
    with torch.no_grad(), as_written():
        twin(x)
    for part, momentum in zip(parts, momenta, strict=True):
        part.eval()
        part.momentum = momentum
    return twin
