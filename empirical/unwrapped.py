"""What stands around a module and changes nothing of what it computes: wrappers, checkpoints, compilation."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack
from typing import Any, ClassVar

import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel
from torch.utils import checkpoint

from empirical.cut import Between

_COMPILED = "_orig_mod"  # the name under which torch.compile keeps the module
_WRAPPERS = (nn.DataParallel, nn.parallel.DistributedDataParallel, AveragedModel)


def passes_to(module: nn.Module) -> str:
    """Return the name of the one child that a wrapper passes its input on to; "" of any other module."""
    if isinstance(module, _WRAPPERS):
        return "module"
    return _COMPILED if _COMPILED in module._modules else ""


def opened(module: nn.Module, between: Between | None = None) -> tuple[nn.Module, Between | None]:
    """Return the module inside a wrapper, and the ends of a part by the names that they have in it."""
    while isinstance(module, nn.Module) and (name := passes_to(module)):
        module = module.get_submodule(name)
        if isinstance(between, tuple | list) and len(between) == 2:
            first, last = (None if end in (None, name) else str(end).removeprefix(f"{name}.") for end in between)
            between = (first, last)
    return module, between


def is_script(module: nn.Module) -> bool:
    """Whether a module is TorchScript, whose forward is no Python."""
    return isinstance(module, torch.jit.ScriptModule)


def scripted(module: nn.Module) -> bool:
    """Whether some part of a module is TorchScript: torch.func knows nothing of it, plain autograd does."""
    return any(map(is_script, module.modules()))


class _Passing:
    """In the place of `torch.utils.checkpoint.CheckpointFunction`."""

    @staticmethod
    def apply(function: Callable[..., Any], preserve: bool, *args: Any) -> Any:
        """Return what the function returns."""
        return function(*args)


def _once(*_: Any, **__: Any) -> Iterator[None]:
    """In the place of what torch runs before and after a call that it will run again."""
    yield


class _AsWritten:
    """Left out of this process while some thread is inside: the first puts it aside, the last puts it back."""

    _INSTEAD: ClassVar = {"CheckpointFunction": _Passing, "_checkpoint_without_reentrant_generator": _once}

    def __init__(self) -> None:
        self._lock, self._inside, self._aside = threading.Lock(), 0, ExitStack()

    def __enter__(self) -> None:
        with self._lock:
            if not self._inside:
                if "torch._dynamo" in sys.modules:  # else nothing is compiled
                    self._aside.enter_context(torch.compiler.set_stance("force_eager"))
                for name, instead in self._INSTEAD.items():
                    if hasattr(checkpoint, name):
                        self._aside.callback(setattr, checkpoint, name, getattr(checkpoint, name))
                        setattr(checkpoint, name, instead)
            self._inside += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._inside -= 1
            if not self._inside:
                self._aside.close()


_AS_WRITTEN = _AsWritten()


def as_written() -> AbstractContextManager[None]:
    """Run checkpointed calls as they are written, and compiled modules without compiling.

    A checkpoint computes anew on the way back: what was put in the place of parameters is gone by then, and one of
    the two kinds cannot give a gradient of its inputs alone. It computes the same without.
    """
    return _AS_WRITTEN
