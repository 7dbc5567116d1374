"""Answers of long computations, kept in a folder: what is interrupted goes on from there."""

from __future__ import annotations

import io
import json
import warnings
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Executor, as_completed
from hashlib import sha256
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from empirical.files import check_writable, set_aside, sweep, write_atomically
from empirical.files import read as read_file
from empirical.fingerprint import check_text, unsaid
from empirical.progress import progress
from empirical.threads import one_blas_thread

Arrays = dict[str, NDArray[Any]]

VERSION = 1  # raised whenever the same job may get another answer


class Job(Protocol):
    """Something to compute: a frozen dataclass, whose repr and what `unsaid` finds in it decide the answer."""

    def run(self, partial: Path | None) -> Arrays:
        """Return the answer, arrays by name; a long one may keep its state in the file `partial`."""


def answers(jobs: Sequence[Job], folder: Path | None, executor: Executor | None, text: str,
            show: bool = True) -> list[Arrays]:
    """Return the answers of all jobs, in order, behind a progress bar.

    Parameters
    ----------
    jobs : sequence of Job
        Equal ones are computed once.
    folder : path
        Where answers are kept, a file each; one that is there is not computed again. None: nowhere.
    executor : concurrent.futures.Executor
        Where jobs run; here, one after another, if None. Each has one BLAS thread.
    text : str
        What the progress bar says.
    """
    if folder is not None:
        check_writable(folder, "folder")
        sweep(folder)
    found: dict[Job, Arrays] = {}
    for job in dict.fromkeys(jobs):
        if folder is not None and (answer := read(_path(job, folder), question(job))) is not None:
            found[job] = answer
    missing = [job for job in dict.fromkeys(jobs) if job not in found]
    found.update(progress(_computed(missing, folder, executor), len(missing), text, show))
    return [found[job] for job in jobs]


def _computed(jobs: Sequence[Job], folder: Path | None, executor: Executor | None) -> Iterator[tuple[Job, Arrays]]:
    if executor is None:
        for job in jobs:
            yield job, _answer(job, folder)
        return
    futures = {executor.submit(_answer, job, folder): job for job in jobs}
    try:
        for future in as_completed(futures):
            yield futures[future], future.result()
    finally:
        for future in futures:
            future.cancel()


def _answer(job: Job, folder: Path | None) -> Arrays:
    """Compute and keep one answer (a function, so that any executor can send it)."""
    with one_blas_thread():
        if folder is None:
            return job.run(None)
        path = _path(job, folder)
        partial = path.with_suffix(".partial")
        answer = job.run(partial)
    write(path, question(job), answer)
    partial.unlink(missing_ok=True)
    return answer


def question(job: Job) -> str:
    """Return what a job asks: its text, and a digest of what that does not say."""
    check_text("job", job)
    digest = unsaid(job)
    return repr(job) + (f" fingerprint {digest}" if digest else "")


def _path(job: Job, folder: Path) -> Path:
    return folder / f"{sha256(f'{VERSION} {question(job)}'.encode()).hexdigest()[:32]}.npz"


def write(path: Path, question: str, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Write arrays and the question they answer, whole or not at all."""
    buffer = io.BytesIO()
    content: dict[str, Any] = {"question": np.array(json.dumps([VERSION, question, sorted(arrays)])), **arrays}
    np.savez(buffer, **content)
    write_atomically(path, buffer.getvalue())


def read(path: Path, question: str) -> Arrays | None:
    """Return the arrays of a file that answers the question; None if there is none, or it is damaged (a warning)."""
    try:
        content: bytes | ValueError = read_file(path)
    except FileNotFoundError:
        return None
    except ValueError as error:  # a folder, a pipe, a link to nothing
        content = error
    try:
        if isinstance(content, ValueError):
            raise content
        with np.load(io.BytesIO(content), allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        if json.loads(str(arrays.pop("question"))) != [VERSION, question, sorted(arrays)]:
            raise ValueError("it answers another question, or not all of it")
    except Exception as error:  # numpy, zipfile and zlib have their own for damaged files
        aside = set_aside(path, "damaged")
        warnings.warn(f"damaged, set aside as {aside.name}, will be computed again: {path}: {error}", stacklevel=2)
        return None
    return arrays
