"""One file a measured network, named by what was asked, so that nothing is measured twice."""

from __future__ import annotations

import hashlib
import json
import shutil
import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from empirical.files import check_writable, set_aside, sweep
from empirical.measurement import NUMERICS, Measurement

Question = Mapping[str, Any]

_HEADER = 4096  # bytes of a file beside its values, at most


class Store:
    """A folder of measured networks.

    Parameters
    ----------
    folder : path
        Made if missing; it must be writable.
    accept : iterable of int
        Versions of the numerics, beside this one's, whose answers may be mixed with its own.
    """

    def __init__(self, folder: str | Path, accept: Iterable[int] = ()) -> None:
        self.folder, self.accept = Path(folder), {NUMERICS, *accept}
        check_writable(self.folder, "store")
        sweep(self.folder)

    def path(self, question: Question) -> Path:
        """Return the file of the answer to a question."""
        return self.folder / f"{hashlib.sha256(json.dumps(question, sort_keys=True).encode()).hexdigest()[:32]}.npz"

    def get(self, question: Question) -> Measurement | None:
        """Return the stored answer; a damaged file, or one of other numerics, is set aside and counts as missing."""
        path = self.path(question)
        try:
            answer, answered = Measurement.answer(path)
            if answered != question:
                raise ValueError(f"{path}: answers another question: {answered}")
        except FileNotFoundError:
            return None
        except ValueError as error:
            aside = set_aside(path, "damaged")
            warnings.warn(f"damaged, set aside as {aside.name}, will be measured again: {error}", stacklevel=2)
            return None
        if answer.numerics not in self.accept:
            set_aside(path, f"numerics{answer.numerics}")
            warnings.warn(f"{self.folder}: networks measured by numerics {answer.numerics} (this is {NUMERICS}) are "
                          f"set aside as *.npz.numerics{answer.numerics} and measured again; to mix them, rename them "
                          f"back and use Store(folder, accept=[{answer.numerics}])", stacklevel=2)
            return None
        return answer

    def check_room(self, files: int, values: int) -> None:
        """Raise if so many files of so many values each do not fit on the disk."""
        needed, free = files * (8 * values + _HEADER), shutil.disk_usage(self.folder).free
        if needed > free:
            raise OSError(f"store {self.folder}: {files} networks take {needed:.3g} bytes, {free:.3g} are free")

    def other(self, questions: Iterable[Question]) -> str:
        """Return, where only other questions were answered here, in what the last of them differs; else no text."""
        asked = {self.path(question).name: question for question in questions}
        there = sorted(self.folder.glob("*.npz"), key=lambda path: path.lstat().st_mtime)
        if not there or not asked or any(path.name in asked for path in there):
            return ""
        try:
            last = Measurement.answer(there[-1])[1] or {}
        except (ValueError, OSError):
            return ""
        near = min(asked.values(), key=lambda one: sum(one[key] != last.get(key) for key in one))
        different = [f"{key} was {last.get(key)}, is {near.get(key)}" for key in dict.fromkeys([*near, *last])
                     if near.get(key) != last.get(key)]
        return f"{len(there)} networks in {self.folder} answer other questions and are not used: {'; '.join(different)}"
