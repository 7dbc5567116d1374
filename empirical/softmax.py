"""The Jacobian of a softmax as factors that keep every digit: autograd's p (1 - p) has none left where it saturates."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

Array = NDArray[np.float64]


def is_softmax(module: nn.Module | None, function: str) -> bool:
    """Whether a stage is a softmax and nothing else."""
    return type(module) in (nn.Softmax, nn.Softmax2d) or function == "softmax"


def softmax_factors(out: torch.Tensor) -> list[Array] | None:
    """Return diag(q), 1 - q q^T and diag(q), q the root of the probabilities; None where they sum to one along no axis.

    The product is diag(p) - p p^T of each group. On the diagonal 1 - p is the sum of the others, and each row is known
    to its own rounding.
    """
    axis = next((axis for axis in range(1, out.ndim) if torch.allclose(out.sum(axis), torch.ones_like(out.sum(axis)))),
                None)
    if axis is None:
        return None
    p = out.detach().to("cpu", torch.float64)
    groups = torch.arange(p.sum(axis).numel()).reshape(p.sum(axis).shape).unsqueeze(axis).expand_as(p).flatten().numpy()
    others = (groups[:, None] == groups) & ~np.eye(len(groups), dtype=bool)
    flat = p.flatten().numpy()
    q = np.sqrt(flat)
    return [q, np.diag(others @ flat) - others * np.outer(q, q), q]
