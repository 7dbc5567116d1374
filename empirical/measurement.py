"""The result of measuring: log singular values of independent networks, and where they came from."""

from __future__ import annotations

import hashlib
import io
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from empirical.files import read, write_atomically
from rmt.text import exp_text

Array = NDArray[np.float64]

# Raised whenever the same question may get another answer, in its last digits too: files of both are not mixed.
NUMERICS = 7

_ARRAYS = ("log_singular_values", "resolution")


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
    random : bool
        Whether the module draws random numbers on its way, which the seed has frozen.
    numerics : int
        Version of the code that found the values; others may differ in the last digits.
    fingerprint : str
        Digest of what `source` does not say: of custom activations, of the module of a factory that is stored. Empty
        where there is nothing to say, or where it is not known.
    underflow : str
        Where the forward of a module in single precision underflows, of which the copy in double precision was
        measured; empty where it does not.
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
    random: bool = False
    numerics: int = NUMERICS
    fingerprint: str = ""
    underflow: str = ""

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

    @property
    def network(self) -> str | None:
        """The network that was measured, as its `repr`; None for a factory, of which only the label is known."""
        start = re.match(r"(?:.*?: )??(?=Network\(input_shape=)", self.source, re.DOTALL)
        return self.source[start.end() :] if start else None

    @property
    def input_variance(self) -> float | None:
        """Variance of the input entries where they were normal; None of other inputs."""
        found = re.fullmatch(r"Gaussian\(variance=(?:Fraction\((\d+), (\d+)\)|([^()]*))\)", self.inputs)
        return None if found is None else float(found[3]) if found[3] else int(found[1]) / int(found[2])

    def __add__(self, other: Measurement) -> Measurement:
        """Return the networks of both; they must measure the same thing, drawn with other seeds."""
        if not isinstance(other, Measurement):
            return NotImplemented
        mine, theirs = ({**m._about, "shape": m.log_singular_values.shape[1:]} for m in (self, other))
        different = [key for key in mine if key in theirs and mine[key] != theirs[key] and key not in (
            "seed", "underflow")]
        if different:
            raise ValueError("cannot join measurements of different things: " + ", ".join(
                f"{key} is {mine[key]} and {theirs[key]}" for key in different))
        if self.seed == other.seed:
            raise ValueError(f"cannot join measurements of one seed, {self.seed}: they have networks in common")
        return joined([self, other])

    @property
    def _about(self) -> dict[str, Any]:
        about = {key: getattr(self, key) for key in self.__dataclass_fields__ if key not in _ARRAYS}
        return {key: value for key, value in about.items() if value or key not in ("fingerprint", "underflow")}

    # ---- as text and as a table --------------------------------------------------------------------------------------

    def records(self) -> list[dict[str, float | None]]:
        """Return one row a network and input: ln of the largest and smallest s > 0, share of zeros, gradient growth.

        Where values are not resolved, of a module that cannot be taken apart, their share is a number and there is no
        smallest.
        """
        found: list[dict[str, float | None]] = []
        rows = zip(self.log_singular_values, self.resolution, self.gradient_growth, strict=True)
        for network, (values, floors, growths) in enumerate(rows):
            for place, (logs, floor, growth) in enumerate(zip(values, floors, growths, strict=True)):
                alive = logs[logs > -np.inf]
                low, high = (float(alive[-1]), float(alive[0])) if alive.size else (-np.inf, -np.inf)
                unresolved = float(np.sum(alive <= floor)) / logs.size
                found.append({"network": network, "input": place, "log_largest_s": high,
                              "log_smallest_s": None if unresolved else low,
                              "mass_at_zero": 1 - alive.size / logs.size, "unresolved": unresolved,
                              "gradient_growth": float(growth)})
        return found

    def table(self) -> str:
        """Return `records` as text."""
        several, rows = self.log_singular_values.shape[1] > 1, self.records()
        lost = any(row["unresolved"] for row in rows)
        head = f"{'network':>8} " + ("  input " if several else "")
        lines = [f"{head}{'largest s':>12} {'smallest s':>12} {'zeros':>8} "
                 + (f"{'not resolved':>12} " if lost else "") + f"{'growth':>10}"]
        for row in rows:
            place = f"{row['input']:7d} " if several else ""
            low = row["log_smallest_s"]
            lines.append(f"{row['network']:8d} {place}{exp_text(row['log_largest_s'] or 0.0):>12} "
                         f"{'not resolved' if low is None else exp_text(low):>12} {row['mass_at_zero']:8.4f} "
                         + (f"{row['unresolved']:12.4f} " if lost else "") + f"{row['gradient_growth']:10.4g}")
        return "\n".join(lines)

    def __str__(self) -> str:
        return (f"{self.source}, {self.inputs} inputs, seed {self.seed}, {self.dtype} on {self.device}\n{self.table()}")

    def __repr__(self) -> str:
        networks, inputs, n = self.log_singular_values.shape
        return f"Measurement({networks} networks, {inputs} inputs, {n} values, seed {self.seed}: {self.source})"

    def to_pandas(self) -> Any:
        """Return every value as a pandas DataFrame: network, input, k (0 the largest), log_singular_value."""
        try:
            import pandas as pd
        except ModuleNotFoundError:
            raise ModuleNotFoundError("to_pandas needs pandas: pip install 'rmt[data]'", name="pandas") from None
        values = self.log_singular_values
        index = pd.MultiIndex.from_product([range(n) for n in values.shape], names=["network", "input", "k"])
        return pd.DataFrame({"log_singular_value": values.ravel()}, index=index).reset_index()

    # ---- as a file ---------------------------------------------------------------------------------------------------

    def save(self, path: str | Path, question: Mapping[str, Any] | None = None) -> None:
        """Write an .npz file, whole or not at all; its header has a checksum, and the question that it answers."""
        about = {**self._about, "question": question and dict(question)}
        about["sha256"] = self._checksum(about)
        buffer = io.BytesIO()
        np.savez(buffer, log_singular_values=self.log_singular_values, resolution=self.resolution,
                 about=np.array(json.dumps(about)))
        write_atomically(Path(path), buffer.getvalue())

    @classmethod
    def load(cls, path: str | Path) -> Measurement:
        """Read a file that `save` wrote; nothing in it is unpickled. Any other content is a ValueError."""
        return cls.answer(path)[0]

    @classmethod
    def answer(cls, path: str | Path) -> tuple[Measurement, dict[str, Any] | None]:
        """Return what `load` does, and the question that the file says it answers."""
        content = read(Path(path))
        try:
            with np.load(io.BytesIO(content), allow_pickle=False) as file:
                about = json.loads(str(file["about"]))
                values, resolution = (file[name] for name in _ARRAYS)
            checksum, question = about.pop("sha256"), about.pop("question")
            found = cls(values, resolution, **about)
            if found._checksum({**about, "question": question}) != checksum:
                raise ValueError("its checksum is another")
        except Exception as error:  # numpy, zipfile, zlib and tokenize have their own for damaged files
            raise ValueError(f"{path}: not a measurement file: {error}") from None
        return found, question

    def _checksum(self, about: Mapping[str, Any]) -> str:
        parts = [np.ascontiguousarray(getattr(self, name)).tobytes() for name in _ARRAYS]
        shape = repr(self.log_singular_values.shape).encode()
        return hashlib.sha256(b"".join([json.dumps(about, sort_keys=True).encode(), shape, *parts])).hexdigest()


def joined(parts: Sequence[Measurement]) -> Measurement:
    """Return the networks of all parts, under the provenance of the first."""
    underflow = next((part.underflow for part in parts if part.underflow), "")
    return replace(parts[0], underflow=underflow,
                   log_singular_values=np.concatenate([part.log_singular_values for part in parts]),
                   resolution=np.concatenate([part.resolution for part in parts]))
