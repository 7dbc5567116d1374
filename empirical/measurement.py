"""The result of measuring: log singular values of independent networks, and where they came from."""

from __future__ import annotations

import io
import json
import os
import secrets
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

# What numpy and zipfile raise on truncated, foreign or bit-flipped files.
_UNREADABLE = (ValueError, KeyError, TypeError, AttributeError, EOFError, RuntimeError, OSError, zipfile.BadZipFile,
               zlib.error)


@dataclass(frozen=True, eq=False)
class Measurement:
    """Singular values of the Jacobians of independent networks.

    Attributes
    ----------
    log_singular_values : array (networks, inputs, n_inputs)
        Natural logs, descending, -inf for exact zeros.
    resolution : array (networks, inputs)
        ln of the value under which a float64 SVD could not see; -inf where every value is accurate.
    n_outputs : int
        Rows of the Jacobian.
    source, inputs, seed, device, dtype
        Provenance.
    calibrated : int
        Inputs whose statistics untrained batch normalizations were given, on a copy; 0 where there was none.
    """

    log_singular_values: Array
    resolution: Array
    n_outputs: int
    source: str
    inputs: str
    seed: int
    device: str
    dtype: str
    calibrated: int = 0

    def __post_init__(self) -> None:
        shape = self.log_singular_values.shape
        if len(shape) != 3 or self.resolution.shape != shape[:2]:
            raise ValueError(f"log_singular_values must be (networks, inputs, n_inputs) and resolution "
                             f"(networks, inputs), got shapes {shape} and {self.resolution.shape}")
        if np.isnan(self.log_singular_values).any():
            raise ValueError("log_singular_values must not have NaN")

    @property
    def networks(self) -> int:
        """Number of independent networks."""
        return self.log_singular_values.shape[0]

    @property
    def gradient_growth(self) -> Array:
        """Squared-norm growth of a random gradient, sum s^2 / n_outputs, for every network and input."""
        with np.errstate(over="ignore"):
            return np.exp(2 * self.log_singular_values).sum(-1) / self.n_outputs

    def __add__(self, other: Measurement) -> Measurement:
        """Return the networks of both; they must measure the same thing, drawn with other seeds."""
        if not isinstance(other, Measurement):
            return NotImplemented
        mine, theirs = ((m.source, m.inputs, m.device, m.dtype, m.n_outputs, m.log_singular_values.shape[1:])
                        for m in (self, other))
        if mine != theirs:
            raise ValueError(f"cannot join measurements of different things: {mine} and {theirs}")
        if self.seed == other.seed:
            raise ValueError(f"cannot join measurements of one seed, {self.seed}: they have networks in common")
        return joined([self, other])

    def save(self, path: str | Path) -> None:
        """Write an .npz file, whole or not at all."""
        about = {"n_outputs": self.n_outputs, "source": self.source, "inputs": self.inputs, "seed": self.seed,
                 "device": self.device, "dtype": self.dtype, "calibrated": self.calibrated}
        buffer = io.BytesIO()
        np.savez(buffer, log_singular_values=self.log_singular_values, resolution=self.resolution,
                 about=np.array(json.dumps(about)))
        write_atomically(Path(path), buffer.getvalue())

    @classmethod
    def load(cls, path: str | Path) -> Measurement:
        """Read a file that `save` wrote; nothing in it is unpickled. Any other content is a ValueError."""
        with open(path, "rb") as raw:
            try:
                with np.load(raw, allow_pickle=False) as file:
                    return cls(file["log_singular_values"], file["resolution"], **json.loads(str(file["about"])))
            except _UNREADABLE as error:
                raise ValueError(f"{path}: not a measurement file: {error}") from None


def joined(parts: Sequence[Measurement]) -> Measurement:
    """Return the networks of all parts, under the provenance of the first."""
    return replace(parts[0], log_singular_values=np.concatenate([part.log_singular_values for part in parts]),
                   resolution=np.concatenate([part.resolution for part in parts]))


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file under a temporary name and rename it: a reader sees all of it or nothing."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}.tmp")
    try:
        with open(temporary, "xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
