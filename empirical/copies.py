"""Copies of modules."""

from __future__ import annotations

import copy

import torch
from torch import nn


def copied(module: nn.Module) -> nn.Module:
    """Return a copy of a module, of those too that keep tensors of an earlier forward, as hooks of weight norms do.

    Torch copies no tensor that was computed with a graph behind it: here it is copied without.
    """
    kept = {id(value): value.detach().clone() for part in module.modules() for value in vars(part).values()
            if isinstance(value, torch.Tensor) and not value.is_leaf}
    with torch.no_grad():  # of TorchScript torch would copy the graph, too
        return copy.deepcopy(module, kept)
