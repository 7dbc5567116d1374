"""Running a user's own file: what it prints, changes, raises or asks to end stays apart from the command's own."""

from __future__ import annotations

import atexit
import ctypes
import importlib.util
import os
import random
import signal
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, redirect_stdout, suppress
from pathlib import Path
from types import ModuleType
from typing import Any, TextIO

import numpy as np
import torch
from torch import nn

from empirical import lines
from empirical.exits import ExitedError, exits_are_errors


@contextmanager
def apart(model: str) -> Iterator[None]:
    """Run code of a user's file inside: one line for whatever it raises, and everything put back.

    What it prints goes to standard error, also from C or another process; calls that end the process are errors.
    Ctrl-C stays what it is.
    """
    with _path_put_back(), _put_back(), _printing_to_stderr(), _prints_at_exit_too():
        try:
            with exits_are_errors():
                yield
        except (ValueError, ArithmeticError, KeyboardInterrupt):
            raise
        except ExitedError as error:
            raise ValueError(f"{model}: {error}") from error
        except BaseException as error:
            where = lines.of_error(error)
            raise ValueError(f"{model}: {type(error).__name__}: {error}{f' ({where})' if where else ''}") from error


def made(path: Path, name: str, seed: int) -> nn.Module:
    """Run the user's file and return the module that the named function makes under a seed, or that has the name.

    To be called, and the module to be used, inside `apart`.
    """
    with _put_back():  # what is measured then is measured under torch's own defaults
        make = getattr(_loaded(path.absolute()), name, None)
        if not callable(make):
            raise ValueError(f"{path} has no function {name!r}")
        torch.manual_seed(seed)
        random.seed(seed)
        np.random.seed(seed % 2**32)  # noqa: NPY002 (what the user's code may draw from)
        module = make if isinstance(make, nn.Module) else make()
    if not isinstance(module, nn.Module):
        raise ValueError(f"{name} must return a torch.nn.Module, got {type(module).__name__}")
    return module


def _loaded(path: Path) -> ModuleType:
    """Import a file by its path; what stands beside it can be imported from it, later too."""
    sys.path.insert(0, str(path.parent))
    name = path.stem if path.stem not in sys.modules else f"own_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # where dataclasses and pickle look for it
    spec.loader.exec_module(module)
    return module


@contextmanager
def _printing_to_stderr() -> Iterator[None]:
    """Send what is written to standard output to standard error, by Python's name and by its number."""
    sys.stdout.flush()
    with ExitStack() as stack:
        with suppress(OSError):  # one that is closed
            saved = os.dup(1)
            stack.callback(os.close, saved)
            os.dup2(2, 1)
            stack.callback(os.dup2, saved, 1)
        original = sys.stdout
        stack.callback(_flush, original)  # of what was written past its name, while its number is another
        stack.callback(setattr, sys, "stdout", original)  # whatever it was set to inside
        stack.enter_context(redirect_stdout(sys.stderr))
        yield


def _flush(stream: TextIO) -> None:
    with suppress(ValueError, OSError, AttributeError):
        stream.flush()
        ctypes.CDLL(None).fflush(None)  # of C, too


@contextmanager
def _prints_at_exit_too() -> Iterator[None]:
    """Let functions that are registered for the end of the process print where the rest does."""
    register = atexit.register

    def registered(function: Callable[..., Any], *arguments: Any, **options: Any) -> Callable[..., Any]:
        def later() -> None:
            with _printing_to_stderr():
                function(*arguments, **options)

        register(later)
        return function

    atexit.register = registered  # type: ignore[assignment]
    try:
        yield
    finally:
        atexit.register = register


@contextmanager
def _path_put_back() -> Iterator[None]:
    """Put back where modules are imported from, and forget those that came from elsewhere."""
    path, modules = [*sys.path], set(sys.modules)
    try:
        yield
    finally:
        sys.path[:] = path
        _modules_of_its_own_go(modules)


@contextmanager
def _put_back() -> Iterator[None]:
    """Put back what a user's code may change for the whole process."""
    with warnings.catch_warnings(), torch.random.fork_rng(devices=[]), ExitStack() as stack:
        for read, write in _SETTINGS:
            stack.callback(_quietly, write, read())
        yield


def _quietly(write: Callable[[Any], object], value: object) -> None:
    with suppress(OSError):  # as of a directory that is gone
        write(value)


def _modules_of_its_own_go(before: set[str]) -> None:
    """Forget what was imported from folders that were put on the path: another file's neighbours have those names."""
    for name in set(sys.modules) - before:
        file = getattr(sys.modules[name], "__file__", None)
        if file and "site-packages" not in file and not file.startswith((sys.base_prefix, _ROOT)):
            del sys.modules[name]


def _environment(value: dict[str, str]) -> None:
    os.environ.clear()
    os.environ.update(value)


def _signals(value: dict[int, Any]) -> None:
    for number, handler in value.items():
        if handler is not None and signal.getsignal(number) is not handler:
            with suppress(ValueError):  # not the main thread
                signal.signal(number, handler)


def _handlers() -> dict[int, Any]:
    names = ("SIGINT", "SIGTERM", "SIGHUP")
    return {number: signal.getsignal(number) for number in (getattr(signal, name, None) for name in names) if number}


def _device() -> torch.device | None:
    """Return the default device where one is set; None stands for torch's own way to find it."""
    device = torch.get_default_device()
    return None if device.type == "cpu" else device


_ROOT = str(Path(__file__).parents[1])
_SETTINGS: tuple[tuple[Callable[[], Any], Callable[[Any], object]], ...] = (
    (os.getcwd, os.chdir),
    (lambda: [*sys.argv], lambda value: sys.argv.__setitem__(slice(None), value)),
    (lambda: dict(os.environ), _environment),
    (_handlers, _signals),
    (sys.getrecursionlimit, sys.setrecursionlimit),
    (random.getstate, random.setstate),
    (np.random.get_state, np.random.set_state),
    (np.geterr, lambda value: np.seterr(**value)),
    (torch.get_default_dtype, torch.set_default_dtype),
    (_device, torch.set_default_device),
    (torch.is_grad_enabled, torch.set_grad_enabled),
    (torch.get_num_threads, torch.set_num_threads),
    (torch.get_float32_matmul_precision, torch.set_float32_matmul_precision),
    (torch.are_deterministic_algorithms_enabled, torch.use_deterministic_algorithms),
    (torch.is_anomaly_enabled, torch.autograd.set_detect_anomaly),
)
