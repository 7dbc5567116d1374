"""CIFAR-10 (Krizhevsky 2009) from a folder with its published binary version; nothing is downloaded."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from empirical.data import Data, standardised

TRAINING = tuple(f"data_batch_{i}.bin" for i in range(1, 6))
TEST = ("test_batch.bin",)
_SHAPE = (3, 32, 32)
_RECORD = 1 + 3 * 32 * 32  # a label, then red, green and blue, row by row


@dataclass(frozen=True, repr=False)
class Cifar10(Data):
    """The images of some files of a folder; holds their names alone, so that a worker process reads its own.

    Attributes
    ----------
    folder : Path
        With the files.
    files : tuple of str
        The training batches, or the test batch.
    checksum : str
        Of their content, which identifies them in results.
    """

    folder: Path
    files: tuple[str, ...]
    checksum: str

    def __repr__(self) -> str:
        return f"cifar10 {'test' if self.files == TEST else 'training'} {self.checksum}"

    @property
    def shape(self) -> tuple[int, ...]:
        """Colours, rows and columns."""
        return _SHAPE

    @property
    def count(self) -> int:
        """Number of images."""
        return len(self.labels)

    @property
    def labels(self) -> NDArray[np.uint8]:
        """The classes 0 to 9."""
        return _read(self.folder, self.files)[:, 0]

    def take(self, rows: slice | NDArray[np.int64]) -> NDArray[np.float64]:
        """Return some images: less the mean of all pixels, each over its own root mean square."""
        pixels = _read(self.folder, self.files)[:, 1:]
        return standardised(pixels[rows].reshape(-1, *_SHAPE).astype(float), _mean(self.folder, self.files))


def cifar10(folder: str | Path, test: bool = False) -> Cifar10:
    """Return the images of CIFAR-10's binary version as inputs.

    Parameters
    ----------
    folder : path
        With data_batch_1.bin to data_batch_5.bin and test_batch.bin (the published archive's `cifar-10-batches-bin`, or
        the folder it is in).
    test : bool
        The test images instead of those for training.

    Raises
    ------
    FileNotFoundError, ValueError
        If a file is missing or is none of that format.
    """
    place = Path(folder)
    place = inner if (inner := place / "cifar-10-batches-bin").is_dir() else place
    files = TEST if test else TRAINING
    for name in files:
        if not (place / name).is_file():
            pickled = "; what is there is the pickled Python version" if (place / "batches.meta").exists() else ""
            raise FileNotFoundError(f"cifar10: {place / name} is missing: the binary version has it{pickled}")
    return Cifar10(place, files, hashlib.sha256(_read(place, files).tobytes()).hexdigest()[:12])


@lru_cache(maxsize=2)
def _read(folder: Path, files: tuple[str, ...]) -> NDArray[np.uint8]:
    """Return the records of the files, (images, 3073)."""
    records = []
    for name in files:
        content = np.fromfile(folder / name, np.uint8)
        if content.size == 0 or content.size % _RECORD:
            raise ValueError(f"cifar10: {folder / name} has {content.size} bytes, no multiple of {_RECORD}")
        records.append(content.reshape(-1, _RECORD))
        if (worst := int(records[-1][:, 0].max())) > 9:
            raise ValueError(f"cifar10: {folder / name} has a label {worst}; they go from 0 to 9")
    return np.concatenate(records)


@lru_cache(maxsize=2)
def _mean(folder: Path, files: tuple[str, ...]) -> float:
    return float(_read(folder, files)[:, 1:].mean())
