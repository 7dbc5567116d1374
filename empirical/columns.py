"""A Jacobian with many more outputs than inputs, by its columns: one product with J for every input."""

from __future__ import annotations

from collections.abc import Callable

import torch

_ALIKE = 1e-6  # relative, of a product with J and one with its transpose, in single precision 1e-3
_TALL = 4  # outputs for an input, from which columns are cheaper: a product with J costs two with its transpose


def tall(n_outputs: int, n_inputs: int) -> bool:
    """Whether columns are cheaper than rows."""
    return n_outputs > _TALL * n_inputs


def by_columns(one: Callable[[torch.Tensor], torch.Tensor], start: torch.Tensor, chunk: int) -> torch.Tensor | None:
    """Return the Jacobian (outputs, inputs) of a function of one tensor; None where torch has no second derivative.

    J v is the transpose of u -> J^T u: both come from one evaluation, and no layer needs a forward mode.
    """
    try:
        y, pull = torch.func.vjp(one, start)[:2]
        push = torch.func.vjp(lambda u: pull(u)[0], torch.zeros_like(y))[1]
        found = start.new_empty(y.numel(), start.numel())
        for i in range(0, start.numel(), chunk):
            rest = min(chunk, start.numel() - i)
            units = start.new_zeros(rest, start.numel())
            units[range(rest), range(i, i + rest)] = 1
            found[:, i : i + rest] = torch.func.vmap(push)(units.reshape(rest, *start.shape))[0].T
        direction = torch.randn(y.numel(), generator=torch.Generator().manual_seed(0), dtype=torch.float64).to(y)
        expected = pull(direction)[0].flatten()
    except RuntimeError:
        return None
    tolerance = _ALIKE if start.dtype == torch.float64 else 1e3 * _ALIKE
    off = (direction @ found - expected).norm()
    return found if bool(off <= tolerance * expected.norm()) or not torch.isfinite(off) else None
