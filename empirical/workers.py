"""Worker processes that end at once when the work is interrupted."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager

from threadpoolctl import threadpool_limits


def _start() -> None:
    threadpool_limits(1)  # a process a core: more threads would only wait for each other


@contextmanager
def _interrupts_ignored() -> Iterator[None]:
    """Ignore Ctrl-C here, and in processes started inside for good: the parent decides for them."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


@contextmanager
def workers(count: int | None = None) -> Iterator[ProcessPoolExecutor]:
    """Yield an executor of `count` processes (one a core); on an error or Ctrl-C they are ended, not awaited."""
    count = count or os.cpu_count() or 1
    forks = "forkserver" in multiprocessing.get_all_start_methods()  # of a process that has imported torch once
    context = multiprocessing.get_context("forkserver" if forks else "spawn")
    if forks:
        context.set_forkserver_preload(["empirical.schedule"])
    pool = ProcessPoolExecutor(count, mp_context=context, initializer=_start)
    with _interrupts_ignored():
        for _ in range(count):  # such a pool starts one process a submission
            pool.submit(os.getpid)
    try:
        yield pool
    except BaseException:
        pool.shutdown(wait=False, cancel_futures=True)
        time.sleep(0.3)  # the pool forgets cancelled work first, or it stumbles over it when its processes end
        for process in multiprocessing.active_children():
            process.terminate()
        raise
    pool.shutdown()
