"""Worker processes that end at once when the work is interrupted."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager

from threadpoolctl import threadpool_limits


def _start() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides
    threadpool_limits(1)  # a process a core: more threads would only wait for each other


@contextmanager
def workers(count: int | None = None) -> Iterator[ProcessPoolExecutor]:
    """Yield an executor of `count` processes (one a core); on an error or Ctrl-C they are ended, not awaited."""
    pool = ProcessPoolExecutor(count or os.cpu_count(), mp_context=multiprocessing.get_context("spawn"),
                               initializer=_start)
    try:
        yield pool
    except BaseException:
        pool.shutdown(wait=False, cancel_futures=True)
        for process in multiprocessing.active_children():
            process.terminate()
        raise
    pool.shutdown()
