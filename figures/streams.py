"""What becomes of a command whose output cannot be written: its reader has left, or there is no room."""

from __future__ import annotations

import os
import select
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

READER_LEFT = 141  # 128 + SIGPIPE: what a shell says of a command whose reader has left, as `head` does


class Unwritten(Exception):
    """Standard output or error took nothing more; `reason` is empty where nobody reads it, and then nothing is said."""

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(reason)


@contextmanager
def told_apart() -> Iterator[None]:
    """Raise `Unwritten` for an error of standard output or error, which are then let go of.

    Or Python would complain at its end of what it could not write. An error of another file, or of a pipe to a process
    of our own, stays what it is.
    """
    try:
        yield
    except OSError as error:
        if not any([_let_go(sys.stdout), _let_go(sys.stderr)]):
            raise
        raise Unwritten("" if isinstance(error, BrokenPipeError) else str(error.strerror)) from None


def _let_go(stream: TextIO | None) -> bool:
    """Return whether a stream takes nothing more; what is still to be written then goes nowhere."""
    try:
        if stream is None or not _lost(stream):
            return False
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)
    except ValueError:  # it is closed, or no file (io.UnsupportedOperation)
        return False
    return True


def _lost(stream: TextIO) -> bool:
    """Return whether a stream takes nothing more: by what waits in it, or, where nothing waits, by its pipe's state."""
    try:
        stream.flush()
    except OSError:
        return True
    if not hasattr(select, "poll"):  # Windows
        return False
    poll = select.poll()
    poll.register(stream.fileno(), select.POLLOUT)
    return any(event & select.POLLERR for _, event in poll.poll(0))
