"""Ctrl-C, SIGTERM and SIGHUP: one end for all, which says what is kept, and within two seconds."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

INTERRUPTED = 3  # the exit status of Ctrl-C; of another signal it is 128 and its number, as a shell has it

_PATIENCE = 1.5  # seconds for a long step of LAPACK, or for code of others that goes on, after a signal
_exit = os._exit  # which is another while code of others runs
_words: list[Callable[[], str]] = []


class Ending:
    """Which signal has asked for the end, if any."""

    signum = int(signal.SIGINT)
    over = False  # whether what there is to say has been said

    @property
    def status(self) -> int:
        """The exit status."""
        return INTERRUPTED if self.signum == signal.SIGINT else 128 + self.signum


@contextmanager
def said(words: Callable[[], str]) -> Iterator[None]:
    """Say this instead of a plain "interrupted" if the end comes inside."""
    _words.append(words)
    try:
        yield
    finally:
        _words.remove(words)


@contextmanager
def ended_by_signals(whole: bool = False) -> Iterator[Ending]:
    """Raise KeyboardInterrupt on SIGTERM and SIGHUP too, and end the process where nothing comes of it in time.

    Of a `whole` process the time includes what Python does behind this context, until it has ended.
    """
    ending = Ending()
    if threading.current_thread() is not threading.main_thread():
        yield ending
        return

    def ask(signum: int, _: FrameType | None) -> None:
        if ending.signum == signal.SIGINT:  # once: a second one would disturb the end
            ending.signum = signum
            raise KeyboardInterrupt

    found = {}
    for name in ("SIGTERM", "SIGHUP"):
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) is signal.SIG_DFL:  # nohup ignores what is to be ignored
            found[number] = signal.signal(number, ask)
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    before = signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    asked = {int(signal.SIGINT), *map(int, found)} - {
        int(number) for number in (signal.SIGINT,) if signal.getsignal(number) in (signal.SIG_IGN, None)}
    done, came = threading.Event(), threading.Event()
    watch = threading.Thread(target=_watch, args=(reading, asked, ending, came, done), daemon=True)
    watch.start()
    try:
        yield ending
    finally:
        ending.over = True
        signal.set_wakeup_fd(before)
        os.close(writing)  # which ends the thread
        if not (whole and came.is_set()):
            done.set()
            watch.join()
            os.close(reading)
        for number, handler in found.items():
            signal.signal(number, handler)


def _watch(reading: int, asked: set[int], ending: Ending, came: threading.Event, done: threading.Event) -> None:
    """End the process if a signal has come and it does not end by itself."""
    while signals := os.read(reading, 64):
        number = next((one for one in signals if one in asked), None)
        if number is not None:
            came.set()
            if not done.wait(_PATIENCE):
                ending.signum = number
                if not ending.over:
                    os.write(2, f"\nrmt: {_words[-1]() if _words else 'interrupted'}\n".encode())
                _exit(ending.status)
