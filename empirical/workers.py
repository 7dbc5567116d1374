"""Worker processes that end at once when the work is interrupted, and with the process that started them."""

from __future__ import annotations

import multiprocessing
import multiprocessing.forkserver
import multiprocessing.resource_tracker
import os
import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager, nullcontext, suppress

from threadpoolctl import threadpool_limits


def _start() -> None:
    threadpool_limits(1)  # a process a core: more threads would only wait for each other
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # of a process that is started later, too
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """End this process when the one that asked for it is gone, however that ended: a pipe between them then closes.

    A signal of the kernel (prctl) would not do: the parent of a process of a fork server is that server.
    """
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _stop_server() -> None:
    """End the server of forks before it starts a process that nobody would know of."""
    pid = getattr(multiprocessing.forkserver._forkserver, "_forkserver_pid", None)
    if pid is not None:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


@contextmanager
def _held_back(number: int | None) -> Iterator[None]:
    """Hold a signal back here, and from processes started inside for good; where that is not known, do nothing."""
    if number is None or not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, (number,))
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)  # it comes now, if it has come


@contextmanager
def _interrupts_held_back() -> Iterator[None]:
    """Hold Ctrl-C back here, and from processes started inside for good: the parent decides for them."""
    if hasattr(signal, "pthread_sigmask"):
        with _held_back(signal.SIGINT):
            yield
    elif threading.current_thread() is threading.main_thread():
        handler = signal.signal(signal.SIGINT, signal.SIG_IGN)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, handler)
    else:
        yield


@contextmanager
def workers(count: int | None = None) -> Iterator[ProcessPoolExecutor]:
    """Yield an executor of `count` processes (one a core); on an error or Ctrl-C they are ended, not awaited.

    If this process ends without a word, as by SIGKILL, they end with it.
    """
    count = count or os.cpu_count() or 1
    forks = "forkserver" in multiprocessing.get_all_start_methods()  # of a process that has imported torch once
    context = multiprocessing.get_context("forkserver" if forks else "spawn")
    if forks:
        context.set_forkserver_preload(["empirical.schedule"])
        with _held_back(getattr(signal, "SIGHUP", None)):  # which it does not ignore by itself, as it does the others
            multiprocessing.resource_tracker.ensure_running()
        with _interrupts_held_back():  # for a moment: the import of torch, seconds, is the server's
            multiprocessing.forkserver.ensure_running()
    pool, others = ProcessPoolExecutor(count, mp_context=context, initializer=_start), multiprocessing.active_children()
    started = False
    try:
        with nullcontext() if forks else _interrupts_held_back():
            for _ in range(count):  # such a pool starts one process a submission
                pool.submit(os.getpid)
        started = True
        yield pool
    except BaseException:
        if forks and not started and not others:
            _stop_server()
        own = [*(pool._processes or {}).values()]
        pool.shutdown(wait=False, cancel_futures=True)
        time.sleep(0.3)  # the pool forgets cancelled work first, or it stumbles over it when its processes end
        for process in own:
            process.kill()  # of user's code, which may ignore a request
        raise
    pool.shutdown()
