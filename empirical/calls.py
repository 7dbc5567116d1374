"""How a module is called: with one tensor, or with named ones, as keywords or in a mapping."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from empirical.afresh import afresh

Batch = torch.Tensor | Mapping[str, torch.Tensor]


def entry(x: Batch, wrt: str | None = None) -> tuple[str | None, torch.Tensor]:
    """Return the name and the tensor of the input that is meant: the only one, or the only floating one, or `wrt`."""
    if not isinstance(x, Mapping):
        if wrt is not None:
            raise ValueError(f"wrt must be None where x is one tensor, got {wrt!r}")
        return None, x
    if not x or not all(isinstance(name, str) and isinstance(value, torch.Tensor) for name, value in x.items()):
        raise ValueError("x must map names to tensors, got "
                         f"{ {name: type(value).__name__ for name, value in x.items()} }")
    if len({len(value) if value.ndim else -1 for value in x.values()}) > 1:
        raise ValueError("x must map names to tensors with one batch axis, got shapes "
                         f"{ {name: tuple(value.shape) for name, value in x.items()} }")
    floating = [name for name, value in x.items() if value.is_floating_point()]
    names = [wrt] if wrt is not None else floating or list(x)
    if len(names) != 1 or names[0] not in x:
        raise ValueError(f"wrt must name one of the inputs {list(x)}, got {wrt!r}")
    return names[0], x[names[0]]


def replaced(x: Batch, key: str | None, value: torch.Tensor) -> Batch:
    """Return the inputs with another tensor in the place of one."""
    return value if key is None or not isinstance(x, Mapping) else {**x, key: value}


def each(x: Batch, function: Any) -> Any:
    """Return the inputs with a function of every tensor in its place."""
    return {name: function(value) for name, value in x.items()} if isinstance(x, Mapping) else function(x)


def arguments(module: nn.Module, x: Batch) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Return the arguments to call a module with: keywords if its forward has those names, else one mapping."""
    if not isinstance(x, Mapping):
        return (x,), {}
    parameters = inspect.signature(module.forward).parameters
    takes_any = any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values())
    if takes_any or set(x) <= set(parameters):
        return (), dict(x)
    return (dict(x),), {}


def ran(module: nn.Module, x: Batch) -> Any:
    """Return what a module makes of a copy of its inputs, for it may work in place; what it keeps is as found."""
    afresh(module)
    args, named = arguments(module, each(x, torch.clone))
    return module(*args, **named)


def like(module: nn.Module) -> torch.Tensor:
    """Return a tensor of the precision and on the device that a module's inputs have."""
    return next((value for value in (*module.parameters(), *module.buffers()) if value.is_floating_point()),
                torch.zeros(()))
