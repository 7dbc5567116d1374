"""What an accurate chain will cost, in seconds of one core: by the sizes of its stages, before it begins.

By sizes alone, so that the same module is measured in the same way every time.
"""

from __future__ import annotations

import torch
from torch import nn

from empirical.functions import ELEMENTWISE, REARRANGING
from empirical.graph import Stage, Steps
from empirical.sequential import LINEAR, ONE_BY_ONE

_RATE = 4e10  # operations a second, of LAPACK on one core
_OVERHEAD = 50  # operations of autograd for an entry that is not a weight's
_SVD = 20  # operations for every n^3


def chain_seconds(path: Steps, signal: torch.Tensor) -> float:
    """Return the seconds that a path takes from this signal on (batch axis of one)."""
    return _operations(path, signal, signal.numel())[0] / _RATE


def _operations(path: Steps, signal: torch.Tensor, rank: int) -> tuple[float, torch.Tensor]:
    """Return the operations of a path, of which `rank` columns are carried, and its output."""
    total = 0.0
    for stage in path:
        n, before = signal.numel(), signal
        if isinstance(stage, Stage):
            signal = stage.call(signal)
            total += _of_stage(stage, signal.numel(), n, rank)
        else:
            ways = [_operations(branch, before, n) for branch in stage.branches]
            total += sum(operations for operations, _ in ways)
            signal = ways[0][1] + ways[1][1]
            total += _of_product(signal.numel(), n, rank)
        rank = min(rank, signal.numel())
    return total + _SVD * rank**3, signal


def _of_stage(stage: Stage, m: int, n: int, rank: int) -> float:
    kind = type(stage.module)
    if kind in (nn.Identity, nn.Flatten, *ONE_BY_ONE) or stage.function in ELEMENTWISE:
        return float(m * rank)
    if isinstance(stage.module, nn.Linear) and n == stage.module.in_features:
        return _of_product(m, n, rank)  # its Jacobian is its weight
    if stage.function in REARRANGING:
        return _of_product(m, n, rank)
    weights = sum(value.numel() for value in stage.module.parameters()) if stage.module is not None else 0
    formed = float(m) * (2 * weights * max(1, m // max(1, _outputs(stage))) + _OVERHEAD * (m + n))
    known = kind in LINEAR
    return formed + _of_product(m, n, rank) + (0 if known else _SVD * m * n * min(m, n))


def _outputs(stage: Stage) -> int:
    """Return the outputs of one place: channels, features."""
    for name in ("out_features", "out_channels"):
        if stage.module is not None and hasattr(stage.module, name):
            return int(getattr(stage.module, name))
    return 1


def _of_product(m: int, n: int, rank: int) -> float:
    """A factor times Q, and the QR of what comes out."""
    return 2.0 * m * n * rank + 4.0 * m * rank**2
