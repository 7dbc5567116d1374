"""What measuring, predicting and drawing the rows of a study takes."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from empirical import estimate
from empirical.data import Data
from empirical.estimate import Estimate, Part
from empirical.store import Store
from empirical.study import Row

_WORTH = 20  # of so many networks one is stored, at least: else they are not looked for


def estimated(rows: Iterable[Row], folder: Path, processes: int) -> Estimate:
    """Return what predicting, measuring and drawing rows takes on so many processes.

    Networks that are stored in the folder take no time: they are looked for where all would take long, or not fit,
    and enough are there to make it shorter.
    """
    every = [*rows]
    whole = _estimated(every, {}, processes)
    stored = sum(1 for _ in folder.glob("*.npz"))
    if stored * _WORTH > sum(row.draws for row in every) and (whole.long or whole.disk > estimate.free_disk(folder)):
        store = Store(folder)
        return _estimated(every, {row: _missing(row, store) for row in every}, processes)
    return whole


def _estimated(rows: Sequence[Row], missing: Mapping[Row, int], processes: int) -> Estimate:
    work = estimate.together(_work(row, missing.get(row, row.draws), processes) for row in rows)
    kept = sum(estimate.results(row.draws, _first(row)).memory for row in rows)
    return replace(work, memory=work.memory + kept)


def _missing(row: Row, store: Store) -> int:
    return sum(not store.path(task.question).exists() for task in row.tasks())


def _work(row: Row, missing: int, processes: int) -> Estimate:
    first = _first(row)
    one = estimate.one_network(_parts(row), first, normalized=row.norm == "batch")
    ranks = float(row.depth * row.width) if estimate.alive(row.activation) < 1 else 0.0
    page = estimate.page(row.depth, ranks, row.depth if row.architecture == "resnet" else 0)
    work = estimate.measuring(one, missing, first, processes)
    return Estimate(work.seconds + page.seconds / processes, max(work.memory, page.memory), work.disk + page.disk)


def _first(row: Row) -> int:
    source = row.source
    return math.prod(source.shape) if isinstance(source, Data) else row.width


def _parts(row: Row) -> Iterator[Part]:
    """Yield the layers of a row without making them: there may be many rows of many layers."""
    first, width, alive = _first(row), row.width, estimate.alive(row.activation)
    if row.architecture == "mlp":
        yield Part(first, width, first, width, alive)
        yield Part(width, width, width, width, alive, row.depth - 1)
    else:
        yield Part(first, width, first, width, repeats=int(first != width))
        yield Part(width, width, width, width, repeats=2 * row.depth)
