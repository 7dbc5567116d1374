"""What a module keeps, its values too: every forward begins with them, and they are there when all is done."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from functools import partial
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from torch import nn

PutBack = Callable[[], None]

unseen = torch._C.DisableTorchFunction  # by those who watch what a forward does

_MACHINERY = frozenset(vars(nn.Module()))  # hooks among it, which may be ours


@contextmanager
def keeping(module: nn.Module) -> Iterator[None]:
    """Put back what a module keeps, before every forward inside (`afresh`) and at the end.

    Inside another one of the same module, it is as that one found it.
    """
    outer = _KEPT.get()
    put_back = outer.get(module) or _kept(module)
    token = _KEPT.set({**outer, module: put_back})
    try:
        put_back()
        yield
    finally:
        _KEPT.reset(token)
        put_back()


def afresh(module: nn.Module) -> None:
    """Put back what a module keeps, if that is kept here: what an earlier forward left does not act on the next."""
    if (put_back := _KEPT.get().get(module)) is not None:
        put_back()


@contextmanager
def changing(module: nn.Module) -> Iterator[None]:
    """Let a module be changed on purpose: what is kept inside is as it is then."""
    token = _KEPT.set({other: put_back for other, put_back in _KEPT.get().items() if other is not module})
    try:
        yield
    finally:
        _KEPT.reset(token)


_KEPT: ContextVar[Mapping[nn.Module, PutBack]] = ContextVar("kept", default=MappingProxyType({}))


def _kept(module: nn.Module) -> PutBack:
    """Return what puts back all that a module and its parts keep: others in its place, and what was written to it."""
    parts = [part for part in module.modules() if not isinstance(part, torch.jit.ScriptModule)]
    spaces = [space for part in parts for space in (part.__dict__, part._parameters, part._buffers, part._modules)]
    own = [value for part in parts for name, value in vars(part).items() if name not in _MACHINERY]
    seen: dict[int, Any] = {}
    _collect([*module.parameters(), *module.buffers(), *own], seen)
    puts = [*map(_of_container, spaces), *(put for value in seen.values() if (put := _of(value)) is not None)]

    def put_back() -> None:
        with unseen():
            for put in puts:
                put()

    return put_back


def _collect(values: Iterable[Any], seen: dict[int, Any]) -> None:
    """Add values, and what is in the containers among them, each once."""
    for value in values:
        if id(value) not in seen:
            seen[id(value)] = value
            if type(value) in (list, dict, set, tuple):
                _collect(value.values() if isinstance(value, dict) else value, seen)


def _of(value: Any) -> PutBack | None:
    """Return what puts back the content of a value; None of what cannot be written to."""
    if isinstance(value, torch.Tensor):
        return _of_tensor(value)
    if type(value) in (list, dict, set):
        return _of_container(value)
    if isinstance(value, np.ndarray):
        saved = value.copy()
        return lambda: np.copyto(value, saved)
    if isinstance(value, torch.Generator):
        return partial(_rewind, value, value.get_state())
    return None


def _of_container(container: Any) -> PutBack:
    content, items = container.copy(), _items(container)

    def put_back() -> None:
        now = _items(container)
        if len(now) == len(items) and all(one is two for one, two in zip(now, items, strict=True)):
            return
        container.clear()
        container.extend(content) if isinstance(container, list) else container.update(content)

    return put_back


def _rewind(generator: torch.Generator, state: torch.Tensor) -> None:
    generator.set_state(state)


def _items(container: Any) -> list[Any]:
    return [*container, *container.values()] if isinstance(container, dict) else [*container]


def _of_tensor(value: torch.Tensor) -> PutBack:
    data, saved = value.data, value.detach().clone()

    def put_back() -> None:
        if _place(value) != _place(data):
            value.data = data
        if not _equal(value, saved):
            with torch.no_grad():
                value.copy_(saved)

    return put_back


def _place(value: torch.Tensor) -> object:
    return (value.data_ptr(), value.shape, value.stride()) if value.layout == torch.strided else None


def _equal(one: torch.Tensor, other: torch.Tensor) -> bool:
    if one.layout != torch.strided:
        one, other = one.to_dense(), other.to_dense()
    return torch.equal(one, other)
