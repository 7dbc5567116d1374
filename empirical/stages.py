"""A sequential module as a chain of factors whose product is its Jacobian."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeGuard

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from empirical.jacobian import check, jacobian

Array = NDArray[np.float64]

# Modules that act on every entry alone: their Jacobian is a diagonal.
_POINTWISE = (nn.ReLU, nn.LeakyReLU, nn.Tanh, nn.Sigmoid, nn.GELU, nn.SiLU, nn.ELU, nn.SELU, nn.Softplus, nn.Hardtanh)


def factors(module: nn.Module, x: torch.Tensor) -> list[list[Array]] | None:
    """Return for every sample its factors, the input's first: matrices, and vectors for diagonals.

    None where the module is not an `nn.Sequential` of stages.
    """
    if not _is_chain(module):
        return None
    check(module, x)
    chains: list[list[Array]] = [[] for _ in x]
    with torch.no_grad():
        signal = x.detach()
        for stage in _leaves(module):
            if isinstance(stage, nn.Linear) and signal.ndim == 2:
                shared = _numpy(stage.weight)
                parts = [shared for _ in x]
            elif isinstance(stage, _POINTWISE):
                parts = list(_numpy(_slopes(stage, signal)))
            elif isinstance(stage, nn.Identity | nn.Flatten):
                parts = []
            else:
                parts = list(_numpy(jacobian(stage, signal)))
            for chain, part in zip(chains, parts, strict=False):
                chain.append(part)
            signal = stage(signal)
            if not torch.isfinite(signal).all():
                raise ValueError(f"the output of {stage} is not finite")
    return chains


def _is_chain(module: nn.Module) -> TypeGuard[nn.Sequential]:
    """Whether a module only calls its children in order (a subclass may do anything in its forward)."""
    return isinstance(module, nn.Sequential) and type(module).forward is nn.Sequential.forward


def _leaves(module: nn.Sequential) -> Iterator[nn.Module]:
    for child in module:
        if _is_chain(child):
            yield from _leaves(child)
        else:
            yield child


def _slopes(stage: nn.Module, signal: torch.Tensor) -> torch.Tensor:
    """Return the slope at every entry, (batch, entries)."""
    if isinstance(stage, nn.Tanh):  # autograd's 1 - tanh^2 loses the digits of a saturated unit
        return torch.cosh(signal).pow(-2).flatten(1)
    with torch.enable_grad():
        leaf = signal.detach().clone().requires_grad_(True)
        (slopes,) = torch.autograd.grad(stage(leaf.clone()).sum(), leaf)
    return slopes.flatten(1)


def _numpy(x: torch.Tensor) -> Array:
    return x.detach().to("cpu", torch.float64).numpy()
