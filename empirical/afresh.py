"""What a module keeps, its values too: every forward begins with them, and they are there when all is done."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from copy import copy
from functools import partial
from types import MappingProxyType, ModuleType
from typing import Any

import numpy as np
import torch
from torch import nn

PutBack = Callable[[], object]

unseen = torch._C.DisableTorchFunction  # by those who watch what a forward does

_MACHINERY = frozenset(vars(nn.Module()))  # hooks among it, which may be ours


@contextmanager
def keeping(module: nn.Module) -> Iterator[None]:
    """Put back what a module keeps, before every forward inside (`afresh`) and at the end.

    Inside another one of the same module, it is as that one found it.
    """
    outer = _KEPT.get()
    put_back = outer.get(module) or _kept(module)
    flags = [(value, value.requires_grad) for value in (*module.parameters(), *module.buffers())]
    token = _KEPT.set({**outer, module: put_back})
    try:
        put_back()
        yield
    finally:
        _KEPT.reset(token)
        put_back()
        for value, flag in flags:
            if value.is_leaf and value.requires_grad != flag:
                value.requires_grad_(flag)


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
    seen: dict[int, Any] = {}
    _collect([module], seen)
    puts = [put for value in seen.values() for put in _of(value)]

    def put_back() -> None:
        with unseen():
            for put in puts:
                put()

    return put_back


def _collect(values: Iterable[Any], seen: dict[int, Any], inside: bool = False) -> None:
    """Add values, and what they keep, each once: of modules, containers and plain objects.

    Objects `inside` others are left alone: a trainer, say, has all its data behind it.
    """
    for value in values:
        if id(value) not in seen:
            seen[id(value)] = value
            if isinstance(value, nn.Module):
                own = [] if isinstance(value, torch.jit.ScriptModule) else [
                    one for name, one in vars(value).items() if name not in _MACHINERY]
                _collect([*value.parameters(), *value.buffers(), *value.children(), *own], seen)
            elif isinstance(value, dict):
                _collect(value.values(), seen, inside)
            elif isinstance(value, list | tuple | set | deque):
                _collect(value, seen, inside)
            elif _is_plain(value) and not inside:
                _collect(vars(value).values(), seen, inside=True)


def _is_plain(value: Any) -> bool:
    """Whether a value is an object of someone's own class, or a namespace, that only has attributes."""
    return type(value).__module__ not in ("builtins", "functools") and not isinstance(
        value, torch.Tensor | nn.Module | type | ModuleType) and not callable(value) and isinstance(
            getattr(value, "__dict__", None), dict) and not type(value).__module__.startswith(("torch.", "numpy."))


def _of(value: Any) -> Iterator[PutBack]:
    """Yield what puts back the content of a value; nothing of what cannot be written to."""
    if isinstance(value, nn.Module):
        if not isinstance(value, torch.jit.ScriptModule):
            yield from map(_of_container, (value.__dict__, value._parameters, value._buffers, value._modules))
    elif isinstance(value, torch.Tensor):
        yield _of_tensor(value)
    elif isinstance(value, list | dict | set | deque | bytearray):
        yield _of_container(value)
    elif isinstance(value, np.ndarray):
        yield partial(np.copyto, value, value.copy())
    elif isinstance(value, torch.Generator):
        yield partial(value.set_state, value.get_state())
    elif isinstance(value, np.random.RandomState):
        yield partial(value.set_state, value.get_state(legacy=False))
    elif isinstance(value, np.random.Generator):
        yield partial(setattr, value.bit_generator, "state", value.bit_generator.state)
    elif isinstance(value, random.Random):
        yield partial(value.setstate, value.getstate())
    elif _is_plain(value):
        yield _of_container(vars(value))


def _of_container(container: Any) -> PutBack:
    content, items = copy(container), _items(container)

    def put_back() -> None:
        now = _items(container)
        if len(now) == len(items) and all(one is two for one, two in zip(now, items, strict=True)):
            return
        container.clear()
        container.update(content) if isinstance(container, dict | set) else container.extend(content)

    return put_back


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
