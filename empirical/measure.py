"""Measure independent random networks: same seed, same values, on any executor."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Executor, as_completed
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from empirical.calibration import calibrated, untrained
from empirical.inputs import Inputs, gaussian
from empirical.measurement import Measurement, joined
from empirical.modules import build, torch_dtype
from empirical.progress import progress as progress_bar
from empirical.singular_values import log_singular_values_and_resolution
from empirical.store import Store
from empirical.threads import one_blas_thread
from rmt.checks import integer
from rmt.networks.network import Network

CALIBRATION = 2048  # inputs, or the whole data set if that is smaller

Factory = Callable[[], nn.Module]


@dataclass(frozen=True)
class Task:
    """One network to measure: all that a worker needs, and whatever decides the result."""

    source: Network | Factory
    label: str
    inputs: Inputs
    inputs_per_network: int
    seed: int
    index: int
    device: str
    dtype: str

    @property
    def question(self) -> str:
        """What is asked, as text: the name under which the answer is stored."""
        return repr((self.label, repr(self.inputs), self.inputs_per_network, self.seed, self.index, self.device,
                     self.dtype))

    def run(self) -> Measurement:
        """Build the network, draw its inputs and measure it, on one BLAS thread."""
        weights, data, statistics = np.random.SeedSequence(self.seed, spawn_key=(self.index,)).spawn(3)
        seed = int(weights.generate_state(1, np.uint64)[0] >> 1)
        with one_blas_thread():
            module, shape = self._module(seed)
            x = self.inputs.draw(self.inputs_per_network, shape, np.random.default_rng(data))
            tensor = self._tensor(x)
            count = self.inputs.most(CALIBRATION) if any(untrained(module)) else 0
            if count:
                many = self.inputs.draw(count, shape, np.random.default_rng(statistics))
                module = calibrated(module, self._tensor(many))
            values, resolution = log_singular_values_and_resolution(module, tensor)
            with torch.no_grad():
                n_outputs = module(tensor).flatten(1).shape[1]
        return Measurement(values[None], resolution[None], n_outputs, self.label, repr(self.inputs), self.seed,
                           self.device, self.dtype, count)

    def _tensor(self, x: NDArray[np.float64]) -> torch.Tensor:
        return torch.as_tensor(x, dtype=torch_dtype(self.dtype), device=self.device)

    def _module(self, seed: int) -> tuple[nn.Module, tuple[int, ...]]:
        if isinstance(self.source, Network):
            return build(self.source, seed, self.device, self.dtype), self.source.input_shape
        values = getattr(self.inputs, "values", None)
        if values is None:
            raise ValueError("a factory of modules needs inputs with a shape: empirical.inputs.array(x) or digits()")
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            module = self.source().to(device=self.device, dtype=torch_dtype(self.dtype)).eval()
        return module, values.shape[1:]


def run(task: Task) -> Measurement:
    """Run a task (a function, so that any executor can send it)."""
    return task.run()


def measure(source: Network | Factory, *, draws: int, inputs: Inputs | None = None, inputs_per_network: int = 1,
            seed: int = 0, executor: Executor | None = None, device: str = "cpu", dtype: str = "float64",
            store: str | Path | None = None, label: str | None = None, progress: bool = True) -> Measurement:
    """Measure the singular values of `draws` independent networks.

    Batch normalizations without statistics are given those of 2048 further inputs (or of the whole data set) on a copy;
    `Measurement.calibrated` says so.

    Parameters
    ----------
    source : Network or callable
        A network's description, or a function that returns a torch module (put in evaluation mode here).
    draws : int
        Number of networks. More draws extend the same sequence.
    inputs : Inputs
        `empirical.inputs`; standard normal if not given.
    inputs_per_network : int
        Inputs at which each network is measured. They share its weights: one network all the same.
    seed : int
        Decides weights and inputs, network by network.
    executor : concurrent.futures.Executor
        Where networks are measured; here, one after another, if not given.
    device, dtype : str
        Where the module lives and its precision.
    store : path
        A folder that keeps every measured network, so that only what is missing is measured.
    label : str
        Names a factory's networks in the store.
    progress : bool
        Whether to show a progress bar on standard error.
    """
    draws = integer("draws", draws)
    if not isinstance(source, Network) and (not callable(source) or (store is not None and not label)):
        raise ValueError("source must be an rmt.Network, or a function returning a module (with label= if there is "
                         f"a store), got {source!r}")
    seed, inputs_per_network = integer("seed", seed, 0), integer("inputs_per_network", inputs_per_network)
    precision = str(torch_dtype(dtype)).removeprefix("torch.")
    inputs = gaussian() if inputs is None else inputs
    if not isinstance(inputs, Inputs):
        raise TypeError(f"inputs must be of empirical.inputs (gaussian, digits, array), got {inputs!r}")
    if isinstance(source, Network):
        inputs.check(source.input_shape)
        name = f"{label}: {source!r}" if label else repr(source)
    else:
        name = label or str(getattr(source, "__qualname__", source))
    tasks = [Task(source, name, inputs, inputs_per_network, seed, index, str(device), precision)
             for index in range(draws)]
    found: dict[Task, Measurement] = {}
    kept = Store(store) if store is not None else None
    for task, answer in progress_bar(answers(tasks, executor, kept), draws, "measuring", progress):
        found[task] = answer
    return joined([found[task] for task in tasks])


def answers(tasks: list[Task], executor: Executor | None = None,
            store: Store | None = None) -> Iterator[tuple[Task, Measurement]]:
    """Yield every task with its answer, stored ones first, others as they are measured and stored."""
    missing = []
    for task in tasks:
        answer = store.get(task.question) if store else None
        if answer is None:
            missing.append(task)
        else:
            yield task, answer
    with one_blas_thread():  # in this thread too, and first: OpenBLAS obeys only the thread that set a limit
        futures = {executor.submit(run, task): task for task in missing} if executor else {}
        done = ((futures[f], f.result()) for f in as_completed(futures)) if executor else ((t, run(t)) for t in missing)
        try:
            for task, answer in done:
                if store:
                    store.put(task.question, answer)
                yield task, answer
        finally:
            for future in futures:
                future.cancel()
