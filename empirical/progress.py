"""What is said on standard error of long work: a progress bar, or how long it takes."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from rmt.text import duration

T = TypeVar("T")


def progress(items: Iterable[T], total: int, text: str, show: bool = True) -> Iterator[T]:
    """Yield the items behind a progress bar, with the time left; without `rich`, or where there is nothing, no bar."""
    try:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
    except ModuleNotFoundError:
        show = False
    if not show or total == 0:
        yield from items
        return

    class Terminal(Console):
        def on_broken_pipe(self) -> None:
            raise  # rich would end with status 1

    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    with Progress(*columns, console=Terminal(stderr=True)) as bar:
        task = bar.add_task(text, total=total)
        for item in items:
            yield item
            bar.advance(task)


_LONG = 10.0  # seconds that pass without a word


def announce(what: str, seconds: float) -> None:
    """Say on standard error that something takes a while, if it does."""
    if seconds > _LONG:
        print(f"{what}: about {duration(seconds)}", file=sys.stderr, flush=True)


@contextmanager
def waiting(what: str) -> Iterator[None]:
    """Say on standard error what is being done, once it has worked long; how long it will is not known."""
    begun, done = time.process_time(), threading.Event()

    def say() -> None:
        while (left := begun + _LONG - time.process_time()) > 0:
            if done.wait(left):
                return
        print(f"{what}: it takes a while", file=sys.stderr, flush=True)

    thread = threading.Thread(target=say, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
