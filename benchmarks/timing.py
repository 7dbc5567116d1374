"""How long something takes, at its best."""

import time
from collections.abc import Callable


def best(f: Callable[[], object], repeats: int = 5) -> float:
    """Return the shortest of some runs, in seconds."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        f()
        times.append(time.perf_counter() - start)
    return min(times)
