"""One file a measured network, named by what was asked, so that nothing is measured twice."""

from __future__ import annotations

import hashlib
import time
import warnings
from pathlib import Path

from empirical.measurement import Measurement

# Raised whenever the same question may get another answer: old files are then not found.
NUMERICS = 1
_STALE = 3600.0  # seconds after which a temporary file belongs to no living writer


class Store:
    """A folder of measured networks.

    Parameters
    ----------
    folder : path
        Made if missing; it must be writable.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            (probe := self.folder / ".writable").touch()
            probe.unlink()
        except OSError as error:
            raise OSError(f"store {self.folder} is not a writable folder: {error.strerror}") from None
        for left in self.folder.glob(".*.tmp"):
            if time.time() - left.stat().st_mtime > _STALE:
                left.unlink(missing_ok=True)

    def path(self, question: str) -> Path:
        """Return the file of the answer to a question."""
        return self.folder / f"{hashlib.sha256(f'{NUMERICS} {question}'.encode()).hexdigest()[:32]}.npz"

    def get(self, question: str) -> Measurement | None:
        """Return the stored answer; a damaged file is set aside and counts as missing."""
        path = self.path(question)
        try:
            return Measurement.load(path)
        except FileNotFoundError:
            return None
        except ValueError as error:
            aside = path.with_suffix(".npz.damaged")
            path.replace(aside)
            warnings.warn(f"damaged, set aside as {aside.name}, will be measured again: {error}", stacklevel=2)
            return None

    def put(self, question: str, answer: Measurement) -> None:
        """Store an answer."""
        answer.save(self.path(question))
