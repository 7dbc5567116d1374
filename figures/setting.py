"""What decides a figure's numbers, and where they are computed and kept."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from pathlib import Path

from empirical.inputs import Inputs
from empirical.kept import Arrays, Job, answers
from empirical.labelled import Images, images
from empirical.measure import measure
from empirical.measurement import Measurement
from empirical.task import Factory
from rmt.networks.network import Network


@dataclass(frozen=True)
class Setting:
    """How a figure is made.

    Attributes
    ----------
    seed : int
        Decides every random number.
    size : str
        "small", minutes on a laptop with scikit-learn's digits, or "paper", hours on a GPU with CIFAR-10.
    device : str
        Where networks live.
    data : str
        Folder of CIFAR-10's binary version.
    kept : path
        Folder that keeps what was computed, to go on from there.
    pool : executor
        Where it is computed; here if not given.
    """

    seed: int = 0
    size: str = "small"
    device: str = "cpu"
    data: str | None = None
    kept: Path | None = None
    pool: Executor | None = None

    @property
    def small(self) -> bool:
        """Whether it is the reduced size."""
        return self.size == "small"

    def images(self, size: int = 16) -> Images:
        """Return the labelled images: digits enlarged to `size`, or CIFAR-10."""
        if self.small:
            return images(size=size)
        if self.data is None:
            raise ValueError("size paper needs data: a folder with CIFAR-10's binary version (--data DIR)")
        return images(self.data)

    def inputs_text(self, size: int = 16) -> str:
        """Return the name of the images for a caption."""
        return f"digits as 3 × {size} × {size}" if self.small else "CIFAR-10"

    def answers(self, jobs: Sequence[Job], text: str) -> list[Arrays]:
        """Return the answers of jobs, computed or kept."""
        folder = None if self.kept is None else self.kept / "jobs"
        return answers(jobs, folder, self._executor, text)

    def measure(self, source: Network | Factory, draws: int, inputs: Inputs | None = None,
                label: str | None = None) -> Measurement:
        """Measure independent networks with this seed, as `empirical.measure` does."""
        store = None if self.kept is None else self.kept / "networks"
        return measure(source, draws=draws, inputs=inputs, seed=self.seed, executor=self._executor, device=self.device,
                       store=store, label=label, progress=draws > 1)

    @property
    def _executor(self) -> Executor | None:
        return self.pool if self.device == "cpu" else None  # a device is one
