"""The Jacobian of a function, by rows or by columns; what torch batches is held to a product that it does not."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import torch

from empirical.calls import Batch, each

One = Callable[[torch.Tensor], torch.Tensor]
Function = Callable[[Batch, torch.Tensor], torch.Tensor]

_ALIKE = 1e-6  # relative, of a product with J and one with its transpose, in single precision 1e-3
_HELD = 8  # samples: a batched form that is wrong is so at every sample, or at all but the first
_TALL = 4  # outputs for an input, from which columns are cheaper: a product with J costs two with its transpose


def by_rows(one: Function, samples: Batch, starts: torch.Tensor, chunk: int, random: bool) -> torch.Tensor:
    """Return the Jacobians of some samples, (batch, outputs, *inputs), `chunk` rows of each at once.

    Samples go together, but for functions that draw: no product of another evaluation would tell whether it is right.
    """
    if not random:
        try:
            rows = torch.func.jacrev(one, argnums=1, chunk_size=chunk)
            found = torch.as_tensor(torch.func.vmap(rows)(samples, starts))
        except RuntimeError:  # raised again below where it is of the module's own
            pass
        else:
            asked = {*range(0, len(starts), math.ceil(len(starts) / _HELD)), len(starts) - 1}
            if all(_holds(partial(one, _at(samples, i)), starts[i], found[i]) for i in asked):
                return found
    return torch.stack([_of_one(partial(one, _at(samples, i)), start, chunk) for i, start in enumerate(starts)])


def by_columns(one: One, start: torch.Tensor, chunk: int) -> torch.Tensor | None:
    """Return the Jacobian (outputs, inputs) of a function of one tensor; None where torch has no second derivative.

    J v is the transpose of u -> J^T u: both come from one evaluation, and no layer needs a forward mode.
    """
    try:
        y, pull = torch.func.vjp(one, start)[:2]
        push = torch.func.vjp(lambda u: pull(u)[0], torch.zeros_like(y))[1]
        found = start.new_empty(y.numel(), start.numel())
        for i in range(0, start.numel(), chunk):
            some = units(start, i, chunk)
            found[:, i : i + len(some)] = torch.func.vmap(push)(some)[0].T
        direction = direction_at(y)
        return found if alike(direction @ found, pull(direction)[0].flatten()) else None
    except RuntimeError:
        return None


def tall(n_outputs: int, n_inputs: int) -> bool:
    """Whether columns are cheaper than rows."""
    return n_outputs > _TALL * n_inputs


def direction_at(y: torch.Tensor) -> torch.Tensor:
    """Return a fixed direction, without a place that is special, of the shape of a tensor."""
    generator = torch.Generator().manual_seed(0)
    return torch.randn(y.shape, generator=generator, dtype=torch.float64).to(y)


def alike(found: torch.Tensor, expected: torch.Tensor) -> bool:
    """Whether a product is what it should be, but for rounding; what is not finite is looked at elsewhere."""
    tolerance = _ALIKE if expected.dtype == torch.float64 else 1e3 * _ALIKE
    off = (found - expected).norm()
    return bool(off <= tolerance * expected.norm()) or not bool(torch.isfinite(off))


def units(like: torch.Tensor, first: int, chunk: int) -> torch.Tensor:
    """Return unit vectors from the first on, each of the shape of a tensor."""
    n = min(chunk, like.numel() - first)
    found = like.new_zeros(n, like.numel())
    found[range(n), range(first, first + n)] = 1
    return found.reshape(n, *like.shape)


def _at(samples: Batch, i: int) -> Batch:
    found: Batch = each(samples, lambda value: value[i])
    return found


def _holds(one: One, start: torch.Tensor, matrix: torch.Tensor) -> bool:
    """Whether a product with a Jacobian is that of plain autograd."""
    with torch.enable_grad():
        leaf = start.clone().requires_grad_(True)
        y = one(leaf)
        direction = direction_at(y)
        (pulled,) = torch.autograd.grad(y, leaf, direction, allow_unused=True, materialize_grads=True) \
            if y.requires_grad else (torch.zeros_like(start),)
    return alike(direction @ matrix.flatten(1), pulled.flatten())


def _of_one(one: One, start: torch.Tensor, chunk: int) -> torch.Tensor:
    """Return the Jacobian of one sample: rows of one evaluation, one after another where torch cannot batch them."""
    try:
        y, pull = torch.func.vjp(one, start)[:2]
        found = torch.cat([torch.func.vmap(pull)(units(y, i, chunk))[0] for i in range(0, y.numel(), chunk)])
        direction = direction_at(y)
        if alike(direction @ found.flatten(1), pull(direction)[0].flatten()):
            return found
    except RuntimeError:  # as of a GRU: raised again below where it is of the module's own
        pass
    return torch.as_tensor(torch.autograd.functional.jacobian(one, start))
