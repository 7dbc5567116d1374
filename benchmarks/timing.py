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


def ratio(work: Callable[[], object], against: Callable[[], object], repeats: int = 5) -> float:
    """Return the shortest time of one over that of the other, taken in turn: a machine's speed changes in between."""
    pairs = [(best(work, 1), best(against, 1)) for _ in range(repeats)]
    times, others = zip(*pairs, strict=True)
    return min(times) / min(others)
