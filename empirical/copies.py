"""Copies of modules that share nothing with them, in their own precision or in double."""

from __future__ import annotations

import copy
from collections.abc import Iterator

import torch
from torch import nn


def copied(module: nn.Module, double: bool = False) -> nn.Module:
    """Return a copy that shares no tensor with a module; in double precision, if asked.

    Also of modules that keep tensors of an earlier forward, as hooks of weight norms do: torch copies none that was
    computed with a graph behind it, here it is copied without.
    """
    with torch.no_grad():  # of TorchScript torch would copy the graph, too
        return copy.deepcopy(module, {id(value): _copied(value, double) for value in kept_by(module)})


def kept_by(module: nn.Module) -> Iterator[torch.Tensor]:
    """Yield every tensor that a module keeps, also one that a hook computes and that is no parameter."""
    for part in module.modules():
        for value in (*part._parameters.values(), *part._buffers.values(), *vars(part).values()):
            if isinstance(value, torch.Tensor):
                yield value


def _copied(value: torch.Tensor, double: bool) -> torch.Tensor:
    found = value.detach().clone()
    found = found.double() if double and value.dtype == torch.float32 else found
    return nn.Parameter(found, value.requires_grad and not double) if isinstance(value, nn.Parameter) else found
