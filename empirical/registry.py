"""Modules and functions of one's own: what layers of rmt they are."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from torch import nn

from rmt.networks.activations import ActivationFunction
from rmt.networks.layers import Activation, Layer

Layers = Layer | ActivationFunction | Sequence[Layer]
Reader = Layers | Callable[[Any, tuple[int, ...]], Layers]
Custom = Mapping[Any, Reader]  # of a type of modules, or a function of tensors

_registered: dict[Any, Reader] = {}
_in_use: ContextVar[Custom | None] = ContextVar("custom", default=None)  # only while a module is described


def register(kind: Any, reader: Reader | None = None) -> Any:
    """Say what a module or function of your own is, for `describe`, `rmt advise` and the monitor.

    Parameters
    ----------
    kind : type of torch.nn.Module, or function of tensors
        A module is then not looked into. A function is known by its values wherever it is called.
    reader : ActivationFunction, Layer, sequence of Layer, or function
        What it is; or a function of (module, input shape) that returns it. Without one, a decorator of such a function.

    Returns
    -------
    function
        The reader, or the decorator.

    Examples
    --------
    >>> import numpy as np, torch, empirical, rmt
    >>> class Swirl(torch.nn.Module):
    ...     def forward(self, x):
    ...         return x * torch.sin(x)
    >>> swirl = rmt.activations.custom("swirl", lambda u: u * np.sin(u), torch=Swirl)
    >>> _ = empirical.register(Swirl, swirl)
    >>> str(empirical.describe(torch.nn.Sequential(torch.nn.Linear(50, 50), Swirl()), 50))
    '50-50, torch_default, swirl'
    """
    if reader is None and not isinstance(kind, ActivationFunction):
        def registering(function: Reader) -> Reader:
            register(kind, function)
            return function

        return registering
    _check(kind, reader)
    _registered[kind] = reader  # type: ignore[assignment]
    return reader


def _check(kind: Any, reader: Any) -> None:
    module = isinstance(kind, type) and issubclass(kind, nn.Module)
    if not module and not callable(kind):
        raise TypeError(f"kind must be a type of torch.nn.Module or a function of tensors, got {kind!r}")
    if isinstance(reader, nn.Module) or isinstance(reader, type) or not (
            callable(reader) or isinstance(reader, Layer | ActivationFunction | Sequence)):
        raise TypeError("reader must be an activation function, a layer, a list of layers, or a function of "
                        f"(module, input shape) that returns one of these, got {reader!r}")
    if not module and not isinstance(reader, ActivationFunction | Activation):
        raise TypeError(f"reader of a function must be an activation function, got {reader!r}")


@contextmanager
def using(custom: Custom) -> Iterator[None]:
    """Know what is registered, and these modules and functions, for the time of a description."""
    for kind, reader in custom.items():
        _check(kind, reader)
    token = _in_use.set({**_registered, **custom})
    try:
        yield
    finally:
        _in_use.reset(token)


def reader_of(module: nn.Module) -> Reader | None:
    """Return what says of a module which layers it is; None of those that are not registered."""
    known = _in_use.get()
    return next((known[kind] for kind in type(module).__mro__ if kind in known), None) if known else None


def functions() -> list[ActivationFunction]:
    """Return the activation functions that are registered: they are known by their values."""
    found = [reader.phi if isinstance(reader, Activation) else reader for reader in (_in_use.get() or {}).values()]
    return [phi for phi in found if isinstance(phi, ActivationFunction)]


def layers_by(reader: Reader, module: nn.Module, shape: tuple[int, ...]) -> list[Layer]:
    """Return the layers that a reader says a module is."""
    found = reader if isinstance(reader, Layer | ActivationFunction | Sequence) else reader(module, shape)
    layers = [found] if isinstance(found, Layer | ActivationFunction) else found
    if not isinstance(layers, Sequence) or not all(isinstance(one, Layer | ActivationFunction) for one in layers):
        raise TypeError(f"the reader of {type(module).__name__} must return an activation function, a layer or a list "
                        f"of layers, got {found!r}")
    return [Activation(one) if isinstance(one, ActivationFunction) else one for one in layers]
