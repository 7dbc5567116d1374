"""A part of a module as a function: from the input of one submodule to the output of another, and which output."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from empirical.calls import Batch, entry, replaced
from rmt.checks import choice

Between = tuple[str | None, str | None]
Run = Callable[[Batch], Any]
Part = Callable[[Run, Batch, torch.Tensor | None], tuple[torch.Tensor, Any]]


@contextmanager
def part(module: nn.Module, between: Between | None, wrt: str | None = None) -> Iterator[Part]:
    """Yield a function (run, x, start) -> (the input of the first submodule, the output of the last).

    `run` is the module as a function of x; where `start` is given, it takes the place of that input, or of the one
    of x that is meant.
    """
    if between is not None and (not isinstance(between, tuple | list) or len(between) != 2):
        raise ValueError(f"between must be a pair of names of submodules, got {between!r}")
    first, last = (None if name is None else _named(module, name) for name in between or (None, None))
    entered: list[torch.Tensor] = []
    left: list[Any] = []
    instead: list[torch.Tensor] = []

    def enter(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, Any] | None:
        tensors = [value for value in (*args, *kwargs.values()) if isinstance(value, torch.Tensor)]
        if not tensors:
            raise ValueError(f"between: the input of {between[0]!r} is no tensor" if between else "")
        entered.append(tensors[0])
        if not instead:
            return None
        return (tuple(instead[0] if value is tensors[0] else value for value in args),
                {name: instead[0] if value is tensors[0] else value for name, value in kwargs.items()})

    def leave(_: nn.Module, args: Any, output: Any) -> None:
        if first is not None and not entered and between:
            raise ValueError(f"between: {between[1]!r} ends before {between[0]!r} begins")
        left.append(output)

    def through(run: Run, x: Batch, start: torch.Tensor | None) -> tuple[torch.Tensor, Any]:
        key, own = entry(x, wrt)
        entered.clear()
        left.clear()
        instead[:] = [] if start is None else [start]
        output = run(x if first or start is None else replaced(x, key, start))
        for name, seen in zip(between or (), (entered if first else [own], left if last else [output]), strict=False):
            if len(seen) != 1:
                raise ValueError(f"between: {name!r} runs {len(seen)} times, it must run once")
        return entered[0] if first else own if start is None else start, left[0] if last else output

    hooks = [first.register_forward_pre_hook(enter, with_kwargs=True)] if first else []
    hooks += [last.register_forward_hook(leave)] if last else []
    try:
        yield through
    finally:
        for hook in hooks:
            hook.remove()


def _named(module: nn.Module, name: str) -> nn.Module:
    parts = dict(module.named_modules())
    return parts[choice("submodule in between", name, parts)]


def picked(output: Any, which: str | int | None) -> torch.Tensor:
    """Return the tensor of a module's output that is meant; raise unless there is one, of real numbers."""
    if which is not None:
        try:
            output = getattr(output, which) if isinstance(which, str) and not isinstance(output, Mapping) \
                else output[which]
        except (KeyError, IndexError, AttributeError, TypeError):
            raise ValueError(f"output={which!r} is not in what the module returns: {_said(output)}") from None
    if not isinstance(output, torch.Tensor):
        raise ValueError(f"the module returns {_said(output)}: say with output= which tensor of it is meant, or wrap "
                         "it in a module that returns that one")
    if not output.numel():
        raise ValueError(f"the output has no entries: its shape is {tuple(output.shape)}")
    if not output.is_floating_point():
        hint = ("torch.view_as_real of it is" if output.is_complex() else
                "whole numbers (of argmax, say) have no slope: between=(None, NAME) measures what they are taken from")
        raise ValueError(f"the output must be real and floating, got {output.dtype}: {hint}")
    return output


def _said(output: Any) -> str:
    if isinstance(output, Mapping):
        return f"a mapping with {', '.join(map(repr, output))}"
    if isinstance(output, tuple | list):
        return f"a {type(output).__name__} of {len(output)}"
    return f"a {type(output).__name__}"
