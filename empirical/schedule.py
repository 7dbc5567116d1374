"""Tasks on any executor: stored answers first, the others as they come, and what failed beside what did not."""

from __future__ import annotations

import multiprocessing
import os
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, CancelledError, Executor, Future, as_completed, wait
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from empirical.batched import run_together, supports
from empirical.exits import exits_are_errors
from empirical.files import NO_ROOM
from empirical.fingerprint import check_text, unsaid
from empirical.measurement import Measurement
from empirical.store import Store
from empirical.task import Task
from empirical.threads import one_blas_thread
from empirical.workers import workers
from rmt.networks.network import Network


@dataclass(frozen=True)
class Failure:
    """A network that could not be measured, and why."""

    task: Task
    error: Exception

    def __str__(self) -> str:
        task, known = self.task, isinstance(self.task.source, Network)
        what = str(task.source) if known else task.label
        again = f"empirical.build(network, {task.module_seed})" if known else \
            f"torch.manual_seed({task.module_seed}) and the factory"
        return (f"network {task.index} of seed {task.seed} of {what} ({again} makes it again): "
                f"{type(self.error).__name__}: {self.error}")


@dataclass(frozen=True)
class Payload:
    """A task and the file in which the worker leaves its answer; without one it returns it."""

    task: Task
    path: Path | None


Answer = tuple[Task, Measurement | Failure]
_Lost = (BrokenExecutor, CancelledError)
_SEEDS = 8  # of which one should give a module


def run(payload: Payload) -> Measurement | None:
    """Measure, and store or return the answer (a function, so that any executor can send it)."""
    with exits_are_errors(own_process=multiprocessing.parent_process() is None):
        answer = payload.task.run()
    if payload.path is None:
        return answer
    answer.save(payload.path, payload.task.question)
    return None


def answers(tasks: Sequence[Task], executor: Executor | None = None, store: Store | None = None) -> Iterator[Answer]:
    """Yield every task with its answer: stored ones first, others as they are measured and stored.

    One that raises is a `Failure`. Where a worker process dies, what it had not finished is measured in other
    processes; a network alone in a process that dies, too, is a failure.
    """
    missing = []
    for task in tasks:
        answer = store.get(task.question) if store else None
        if answer is None:
            missing.append(Payload(task, store.path(task.question) if store else None))
        else:
            yield task, answer
    with one_blas_thread():  # in this thread too, and first: OpenBLAS obeys only the thread that set a limit
        if executor is None:
            yield from _here(missing, store)
            return
        lost = []
        futures: dict[Future[Measurement | None], Payload] = {}
        try:
            for payload in missing:
                try:
                    futures[executor.submit(run, payload)] = payload
                except BrokenExecutor:
                    lost.append(payload)
            for future in as_completed(futures):
                try:
                    yield futures[future].task, _answer(futures[future], store, future)
                except _Lost:
                    lost.append(futures[future])
        finally:
            for future in futures:
                future.cancel()
        yield from _elsewhere(lost, store)


def fingerprint(task: Task, executor: Executor | None, stored: bool) -> str:
    """Return a digest of what a task's label does not say of its networks; raise if they cannot be told apart.

    Of a factory it is one module's, the first of some seeds that gives one, built where the networks are; of a factory
    that is not stored there is none.
    """
    if stored:
        check_text("inputs", task.inputs)
    if isinstance(task.source, Network):
        if stored:
            check_text("source", task.source)
        return unsaid(task.source)
    if not stored:
        return ""
    for seed in range(_SEEDS):
        try:
            one, two = _built(_Build(task, seed), executor)
            break
        except Exception:
            if seed == _SEEDS - 1:
                raise
    if one != two:
        raise ValueError(f"source cannot be stored under {task.label!r}: two modules of one seed differ; what it draws "
                         "must be torch's random numbers, or be the same at every call")
    return one


@dataclass(frozen=True)
class _Build:
    """A module to build for its fingerprint."""

    task: Task
    seed: int


def _fingerprints(build: _Build) -> tuple[str, str]:
    with exits_are_errors(own_process=multiprocessing.parent_process() is None):
        return build.task.fingerprints(build.seed)


def _built(build: _Build, executor: Executor | None) -> tuple[str, str]:
    if executor is None:
        return _fingerprints(build)
    try:
        return executor.submit(_fingerprints, build).result()
    except _Lost:  # its process has died: once more, in one of our own
        with workers(1) as pool:
            return pool.submit(_fingerprints, build).result()


def _here(missing: Sequence[Payload], store: Store | None) -> Iterator[Answer]:
    """Measure one after another, or on a device many at once."""
    for label, group in groupby(missing, lambda one: one.task.label if one.task.device != "cpu" and supports(one.task)
                                else None):
        left = {payload.task: payload for payload in group}
        if label is not None:
            try:
                for task, answer in run_together([*left]):
                    payload = left.pop(task)
                    if payload.path:
                        answer.save(payload.path, task.question)
                    yield task, answer
            except (RuntimeError, ArithmeticError, ValueError):
                pass  # what is left is measured alone, and the one that raises is named
        for payload in left.values():
            yield payload.task, _answer(payload, store, None)


def _answer(payload: Payload, store: Store | None, future: Future[Measurement | None] | None) -> Measurement | Failure:
    """Return what a future, or this process, answers; a `Failure` if it raises, but for a worker that died."""
    try:
        answer = future.result() if future else run(payload)
        answer = store.get(payload.task.question) if store and answer is None else answer
    except _Lost:
        raise
    except Exception as error:
        if isinstance(error, OSError) and error.errno in NO_ROOM:
            raise  # which the next network would not find either
        return Failure(payload.task, error)
    return answer or Failure(payload.task, FileNotFoundError(
        f"the worker's {payload.path} is not here: a store must be a folder that workers share"))


def _elsewhere(lost: Sequence[Payload], store: Store | None) -> Iterator[Answer]:
    """Measure what a broken executor left, in processes of our own; of those that die whoever was in one, alone."""
    waiting, count = deque(lost), os.cpu_count() or 1
    while waiting:
        suspects: list[Payload] = []
        with workers(min(count, len(waiting))) as pool:
            flying: dict[Future[Measurement | None], Payload] = {}
            while (waiting or flying) and not suspects:
                while waiting and len(flying) < count:
                    payload = waiting.popleft()
                    flying[pool.submit(run, payload)] = payload
                for future in wait(flying, return_when=FIRST_COMPLETED).done:
                    payload = flying.pop(future)
                    try:
                        yield payload.task, _answer(payload, store, future)
                    except _Lost:
                        suspects += [payload, *flying.values()]
                        flying.clear()
                        break
        for payload in suspects:
            with workers(1) as pool:
                try:
                    yield payload.task, _answer(payload, store, pool.submit(run, payload))
                except _Lost as error:
                    yield payload.task, Failure(payload.task, error)
