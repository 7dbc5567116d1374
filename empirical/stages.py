"""A sequential module as a chain of factors whose product is its Jacobian."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from empirical.jacobian import as_found, check, jacobian
from empirical.modules import ResidualBlock, Scaling
from empirical.sequential import POINTWISE, has_hooks, is_chain, leaves, slopes_of

Array = NDArray[np.float64]

def factors(module: nn.Module, x: torch.Tensor) -> list[list[Array]] | None:
    """Return for every sample its factors, the input's first: matrices, and vectors for diagonals.

    None where the module is not an `nn.Sequential` of stages.
    """
    if not is_chain(module):
        return None
    check(module, x)
    with as_found(module, x):
        return _chains(module, x.detach().clone())[0]


def _chains(module: nn.Sequential, signal: torch.Tensor) -> tuple[list[list[Array]], torch.Tensor]:
    """Return for every sample its factors, and the output."""
    chains: list[list[Array]] = [[] for _ in signal]
    for stage in leaves(module):
        kind = None if has_hooks(stage) else type(stage)  # a subclass or a hook may do anything
        step: Callable[[torch.Tensor], torch.Tensor] = stage
        if kind is nn.Linear and signal.ndim == 2:
            parts = [[_numpy(cast(torch.Tensor, stage.weight))]] * len(signal)
        elif kind in POINTWISE:
            parts = [[slopes] for slopes in _numpy(slopes_of(stage, signal))]
        elif kind in (nn.Dropout, Scaling):  # in training a mask of its own, which the signal must meet too
            mask = stage(torch.ones_like(signal))
            parts, step = [[slopes] for slopes in _numpy(mask.flatten(1))], mask.mul
        elif kind in (nn.BatchNorm1d, nn.BatchNorm2d):  # in evaluation mode: a line in every entry
            line = stage(torch.ones_like(signal[:1])) - stage(torch.zeros_like(signal[:1]))
            parts = [[_numpy(line.flatten())]] * len(signal)
        elif kind in (nn.Identity, nn.Flatten):
            parts = [[]] * len(signal)
        elif kind is nn.Conv2d:
            parts = [[_numpy(jacobian(stage, signal[:1]))[0]]] * len(signal)
        elif isinstance(stage, ResidualBlock) and kind is ResidualBlock:
            (through, branch), (past, shortcut) = _chains(stage.branch, signal), _chains(stage.shortcut, signal)
            size = math.prod(signal.shape[1:])
            parts = [[multiplied(a, size) + stage.scale * multiplied(b, size)]
                     for a, b in zip(past, through, strict=True)]
            step = (shortcut + stage.scale * branch).add  # of zero: the branch may have drawn a mask
            signal = torch.zeros_like(shortcut)
        else:
            parts = [_full_rank(block) for block in _numpy(jacobian(stage, signal))]
        for chain, part in zip(chains, parts, strict=True):
            chain.extend(part)
        signal = step(signal)
        if not torch.isfinite(signal).all():
            raise ValueError(f"the output of {stage} is not finite")
    return chains, signal


def multiplied(chain: list[Array], n_inputs: int) -> Array:
    """Return the product of factors, matrices and vectors for diagonals."""
    product = np.eye(n_inputs)
    for factor in chain:
        product = factor[:, None] * product if factor.ndim == 1 else factor @ product
    return product


def _full_rank(block: Array) -> list[Array]:
    """Return factors of full rank: what lies under the rounding of a stage's own Jacobian is an exact zero."""
    left, values, right = np.linalg.svd(block, full_matrices=False)
    rank = int(np.sum(values > max(block.shape) * np.finfo(float).eps * values.max(initial=0.0)))
    return [block] if rank == min(block.shape) else [values[:rank, None] * right[:rank], left[:, :rank]]


def _numpy(x: torch.Tensor) -> Array:
    return x.detach().to("cpu", torch.float64).numpy()
