"""Measure the rows of a study."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Executor

from empirical.measurement import Measurement, joined
from empirical.progress import progress as progress_bar
from empirical.schedule import Failure, answers
from empirical.store import Store
from empirical.study import Row
from empirical.task import Task


def run(rows: tuple[Row, ...], store: Store, executor: Executor | None = None,
        progress: bool = True) -> Iterator[tuple[Row, Measurement | None, list[Failure]]]:
    """Yield every row with its measurement and what failed, once all its networks are in; stored ones are not again."""
    unique = dict.fromkeys(rows)
    tasks = {row: row.tasks() for row in unique}
    waiting = {row: len(tasks[row]) for row in unique}
    found: dict[Task, Measurement | Failure] = {}
    owners: dict[Task, list[Row]] = {}
    for row, own in tasks.items():
        for task in own:
            owners.setdefault(task, []).append(row)
    done = answers(list(owners), executor, store)
    for task, answer in progress_bar(done, len(owners), "measuring networks", progress):
        found[task] = answer
        for row in owners[task]:
            waiting[row] -= 1
            if waiting[row] == 0:
                all_answers = [found[t] for t in tasks[row]]
                measured = [one for one in all_answers if isinstance(one, Measurement)]
                yield row, joined(measured) if measured else None, [
                    one for one in all_answers if isinstance(one, Failure)]
