"""Calls that act on every entry alone, read as activation functions by their values, whatever they are made of."""

from __future__ import annotations

import copy
import keyword
import math
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from empirical import registry
from empirical.functions import ELEMENTWISE
from empirical.graph import Stage, Steps, Sum
from empirical.modules import Scaling
from empirical.sequential import POINTWISE
from rmt.networks import activations
from rmt.networks.activations.matching import GRID, known
from rmt.networks.layers import Activation, Layer, Scale

Array = NDArray[Any]
Shape = tuple[int, ...]
_Call = Callable[[torch.Tensor], Any]

_ALIKE = {torch.float64: 1e-9, torch.float32: 1e-4}  # of a value, wherever it stands and whatever stands beside it
_STEP, _SLOPE, _MOST = 1e-4, 1e-3, 0.9  # of a difference; of a slope, relative; the share of places that must agree
_LONGEST = 40  # characters of a name
_POINTWISE = (*POINTWISE, nn.PReLU, nn.RReLU, Scaling)


@dataclass(frozen=True, eq=False)
class Entrywise:
    """A call on a signal of one shape, as a function of tensors of any shape."""

    call: _Call
    shape: Shape
    dtype: torch.dtype = torch.float64

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """Return the call's value at every entry."""
        flat = x.reshape(-1) if x.is_complex() else x.reshape(-1).to(self.dtype)
        size = math.prod(self.shape)
        rows = -(-flat.numel() // size)
        signal = flat[torch.arange(rows * size) % flat.numel()].reshape(rows, *self.shape)
        return self._whole(signal).reshape(-1)[: flat.numel()].reshape(x.shape).to(x.dtype)

    def __deepcopy__(self, memo: Any) -> Entrywise:
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        if isinstance(self.call, nn.Module):
            return Entrywise, (self.call, self.shape, self.dtype)
        raise TypeError("an activation that was read from a forward of your own cannot go to another process: give "
                        "it a name there, by empirical.register(torch function or module type, custom(...))")

    def _whole(self, signal: torch.Tensor) -> torch.Tensor:
        try:
            found = self.call(signal.clone())
            if isinstance(found, torch.Tensor) and found.shape == signal.shape:
                return found
        except RuntimeError:  # what was traced may know of one sample alone
            pass
        return torch.cat([self.call(sample.clone()) for sample in signal.split(1)])

    def value(self, u: Array) -> Array:
        """Return the values at numpy's numbers."""
        with torch.no_grad():
            return np.asarray(self(torch.as_tensor(np.array(u, dtype=float))).numpy())


def read(call: _Call, shape: Shape, name: str) -> list[Layer | None] | None:
    """Return the layers that a call on a signal of this shape is; None if it does not act on every entry alone.

    That is an activation function with a name, perhaps times a number; else one of its own, of this name.
    """
    function = _entrywise(call, shape)
    if function is None:
        return None
    if not _slopes_are_its_own(function):
        return None
    values = function.value(GRID)
    if not np.any(values[np.isfinite(values)]):
        return [None]
    if (found := known(function.value, registry.functions())) is not None:
        scale: list[Layer | None] = [Scale(found.scale)] if found.scale != 1 else []
        return scale if found.function == activations.linear else [Activation(found.function), *scale]
    try:
        return [Activation(activations.custom(_word(name), function.value, torch=function))]
    except ValueError:  # not finite, say
        return None


def acts_entrywise(call: _Call, shape: Shape) -> bool:
    """Whether a call on a signal of this shape acts on every entry alone."""
    return _entrywise(call, shape) is not None


def _entrywise(call: _Call, shape: Shape) -> Entrywise | None:
    """Return the call as a function of entries if its values are the same wherever they stand."""
    for dtype in (torch.float64, torch.float32):
        one = Entrywise(copy.deepcopy(call).to(dtype) if isinstance(call, nn.Module) else call, shape, dtype)
        try:
            with torch.random.fork_rng(devices=[]):
                return one if _same_everywhere(one, _ALIKE[dtype]) else None
        except Exception:  # constants of another type, and whatever else the user's code may raise there
            continue
    return None


def _same_everywhere(function: Entrywise, tolerance: float) -> bool:
    """Whether values do not depend on their place, on the entries beside them, or on chance."""
    rng = np.random.default_rng(0)
    first = function.value(GRID)
    many = max(GRID.size, 2 * math.prod(function.shape))
    for _ in range(2):
        order = np.resize(rng.permutation(GRID.size), many)
        found = function.value(GRID[order])
        with np.errstate(invalid="ignore"):
            alike = np.abs(found - first[order]) <= tolerance * np.abs(first[order]) + 1e-12 * np.abs(GRID[order])
        if not np.all(alike | (found == first[order]) | (np.isnan(found) & np.isnan(first[order]))):
            return False
    return True


def _slopes_are_its_own(function: Entrywise) -> bool:
    """Whether autograd has the slopes of the values: not where a part is detached, or passed straight through."""
    u = torch.linspace(-3.03, 2.97, 61, dtype=torch.float64)
    with torch.enable_grad():
        leaf = u.clone().requires_grad_(True)
        found = function(leaf)
        slopes = torch.zeros_like(u) if not found.requires_grad else torch.autograd.grad(
            found.sum(), leaf, allow_unused=True, materialize_grads=True)[0]
    ahead = torch.as_tensor((function.value((u + _STEP).numpy()) - function.value((u - _STEP).numpy())) / (2 * _STEP))
    near = (slopes - ahead).abs() <= _SLOPE * (1 + ahead.abs()) / (1 if function.dtype == torch.float64 else 1e-2)
    return float(near.double().mean()) > _MOST  # beside kinks they differ


def _word(name: str) -> str:
    """Return a name as an identifier that no function of rmt has."""
    parts = dict.fromkeys(re.sub(r"_\d+\b", "", part) for part in re.split(r"\W+", name) if part)
    word = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", "_".join(parts)).lower()[:_LONGEST].strip("_") or "function"
    word = word if word[0].isalpha() else f"f_{word}"
    return f"custom_{word}" if word in activations.REGISTRY or keyword.iskeyword(word) else word


def runs(path: Steps, shape: Shape) -> Iterator[Steps]:
    """Yield steps in a row: those that may act on every entry alone together, every other by itself."""
    run = list[Stage | Sum]()
    for step in path:
        if may_be_pointwise(step, shape):
            run.append(step)
            continue
        if run:
            yield tuple(run)
            run = []
        yield (step,)
        shape = step.shape
    if run:
        yield tuple(run)


def may_be_pointwise(stage: Stage | Sum, shape: Shape) -> bool:
    """Whether a step may act on every entry alone: calls that do, and sums of them."""
    if stage.shape != shape:
        return False
    if isinstance(stage, Sum):
        return all(may_be_pointwise(step, shape) for branch in stage.branches for step in branch)
    if stage.module is not None:
        return isinstance(stage.module, _POINTWISE) and registry.reader_of(stage.module) is None
    return bool(stage.parts) or stage.function in ELEMENTWISE
