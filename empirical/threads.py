"""One BLAS thread while networks are measured: the same bits on every executor, no fight for the cores."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock

import torch
from threadpoolctl import threadpool_limits

_lock = Lock()
_inside = 0
_found: tuple[int, threadpool_limits] | None = None


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """Limit numpy and torch to one thread; the last of overlapping tasks puts back what the first one found."""
    global _inside, _found
    with _lock:
        _inside += 1
        if _found is None:
            _found = torch.get_num_threads(), threadpool_limits(1)
            torch.set_num_threads(1)
    try:
        yield
    finally:
        with _lock:
            _inside -= 1
            if _inside == 0 and _found is not None:
                threads, limits = _found
                limits.restore_original_limits()
                torch.set_num_threads(threads)
                _found = None
