"""Code of others that asks the process to end: an error that says so, and the process goes on."""

from __future__ import annotations

import os
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Lock
from typing import Any, NoReturn

_ENDING = ("_exit", "abort")  # of os

_lock = Lock()
_inside = 0
_found: dict[str, Callable[..., Any]] = {}


class ExitedError(RuntimeError):
    """The code that was run asked the process to end; the message says how and where."""


class _AtOnce(BaseException):
    """Raised in place of a call that would have ended the process, past handlers of plain errors."""


@contextmanager
def exits_are_errors(own_process: bool = True) -> Iterator[None]:
    """Raise an `ExitedError` where the code inside calls sys.exit.

    With `own_process` so do os._exit and os.abort. A worker process may end as it likes: its parent lives to say so.
    """
    try:
        if own_process:
            _replace()
        try:
            yield
        finally:
            if own_process:
                _put_back()
    except (SystemExit, _AtOnce) as error:
        call = f"sys.exit({error.code!r})" if isinstance(error, SystemExit) else str(error)
        frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename != __file__]
        where = f" ({frames[-1].filename}:{frames[-1].lineno}: {frames[-1].line})" if frames else ""
        raise ExitedError(f"it calls {call}{where}") from error


def _replace() -> None:
    global _inside
    with _lock:
        _inside += 1
        if _inside == 1:
            for name in _ENDING:
                _found[name] = getattr(os, name)
                setattr(os, name, _refusing(name, _found[name], os.getpid()))


def _put_back() -> None:
    global _inside
    with _lock:
        _inside -= 1
        if _inside == 0:
            for name, call in _found.items():
                setattr(os, name, call)


def _refusing(name: str, call: Callable[..., Any], pid: int) -> Callable[..., Any]:
    def refuse(*arguments: Any) -> NoReturn:
        if os.getpid() != pid:  # a child of the code inside, forked, which has to end
            call(*arguments)
        raise _AtOnce(f"os.{name}({', '.join(map(repr, arguments))})")

    return refuse
