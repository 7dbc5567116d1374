"""Measure independent random networks: same seed, same values, on any executor."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import replace
from pathlib import Path

import torch
from torch import nn

from empirical import estimate
from empirical.errors import IncompleteError as IncompleteError
from empirical.estimate import Estimate
from empirical.fingerprint import unsaid
from empirical.inputs import Inputs, gaussian
from empirical.measurement import Measurement, joined
from empirical.modules import torch_dtype
from empirical.progress import progress as progress_bar
from empirical.schedule import Failure, answers, fingerprint
from empirical.store import Store
from empirical.task import Factory, Task
from rmt.checks import integer
from rmt.networks.network import Network


def measure(source: Network | Factory, *, draws: int, inputs: Inputs | None = None, inputs_per_network: int = 1,
            seed: int = 0, executor: Executor | None = None, device: str = "cpu", dtype: str = "float64",
            store: str | Path | Store | None = None, label: str | None = None, progress: bool = True) -> Measurement:
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
        Where networks are measured; here, one after another, if not given. On a cluster: Dask's
        `client.get_executor(pure=False)`.
    device, dtype : str
        Where the module lives and its precision.
    store : path or Store
        A folder that keeps every measured network, so that only what is missing is measured.
    label : str
        Names a factory's networks in the store, together with a digest of what one of its modules is and computes.
    progress : bool
        Whether to show a progress bar on standard error.

    Raises
    ------
    DoesNotFitError
        Before anything is measured, if there is not the memory, or in the store's folder not the room.
    IncompleteError
        After all others were measured, if some network could not be; it has both. If none could be, the first one's
        own error.
    """
    draws = integer("draws", draws)
    if isinstance(source, nn.Module):
        raise TypeError("source must be an rmt.Network, or a function that makes a new module at every call, got the "
                        f"module {type(source).__name__} itself: empirical.log_singular_values(module, x) measures one")
    if not isinstance(source, Network) and (not callable(source) or (store is not None and not label)):
        raise ValueError("source must be an rmt.Network, or a function returning a module (with label= if there is "
                         f"a store), got {source!r}")
    seed, inputs_per_network = integer("seed", seed, 0), integer("inputs_per_network", inputs_per_network)
    precision = str(torch_dtype(dtype)).removeprefix("torch.")
    check_device(device)
    inputs = gaussian() if inputs is None else inputs
    if not isinstance(inputs, Inputs):
        raise TypeError(f"inputs must be of empirical.inputs (gaussian, digits, cifar10, array), got {inputs!r}")
    if isinstance(source, Network):
        inputs.check(source.input_shape)
        name = f"{label}: {source!r}" if label else repr(source)
    else:
        name = label or str(getattr(source, "__qualname__", source))
    task = Task(source, name, inputs, inputs_per_network, seed, 0, str(device), precision)
    values = inputs_per_network * (source.n_inputs if isinstance(source, Network) else math.prod(inputs.shape or ()))
    several = f" of inputs_per_network={inputs_per_network}" if inputs_per_network > 1 else ""
    estimate.check_fits(f"draws={draws}{several}", estimate.results(draws, values))
    kept = store if store is None or isinstance(store, Store) else Store(store)
    task = replace(task, fingerprint=fingerprint(task, executor, stored=kept is not None))
    tasks = [replace(task, index=index) for index in range(draws)]
    if isinstance(source, Network) and (missing := _missing(tasks, kept)):
        if kept:
            kept.check_room(missing, values)
        if executor is None and task.device == "cpu":  # elsewhere is not known
            one = _one(source, inputs_per_network)
            takes = estimate.measuring(one, missing, values, stored=kept is not None)
            estimate.check_fits(f"source={str(source)!r}", takes)
    found: dict[int, Measurement] = {}
    failures: list[Failure] = []
    try:
        for task, answer in progress_bar(answers(tasks, executor, kept), draws, "measuring", progress):
            if isinstance(answer, Failure):
                failures.append(answer)
            else:
                found[task.index] = answer
    except KeyboardInterrupt:
        where = f"in {kept.folder}; the same call goes on from there" if kept else "nowhere (store= keeps them)"
        raise KeyboardInterrupt(f"{len(found)} of {draws} networks are stored {where}") from None
    failures.sort(key=lambda failure: failure.task.index)
    if not found:
        raise failures[0].error
    measured = joined([found[index] for index in sorted(found)])
    if measured.underflow:
        warnings.warn("measured as copies in float64 of modules whose own forward is another: "
                      f"{measured.underflow} (dtype=\"float32\" measures them as they are)", stacklevel=2)
    if failures:
        raise IncompleteError(tuple(failures), measured, draws)
    return measured


def estimated(network: Network, *, draws: int, inputs: Inputs, seed: int = 0, store: str | Path | None = None,
              saved: bool = False) -> Estimate:
    """Return what `measure` will take here, one network after another; only those that are not stored take time.

    `saved` if the result is a file, too. Raises if there is not the memory, or not the room on the disk.
    """
    waiting, missing = estimate.results(draws, network.n_inputs), draws
    if store is not None and Path(store).is_dir() and waiting.memory < estimate.free_memory():
        task = Task(network, repr(network), inputs, 1, seed, 0, "cpu", "float64", fingerprint=unsaid(network))
        missing = _missing([replace(task, index=index) for index in range(draws)], Store(store))
    work = estimate.measuring(_one(network), missing, network.n_inputs, stored=store is not None)
    whole = replace(work, memory=work.memory + waiting.memory)
    estimate.check_fits(f"draws={draws} of {network}", whole, None if store is None else Path(store))
    return replace(whole, disk=whole.disk + 8.0 * draws * network.n_inputs) if saved else whole


def _one(network: Network, inputs: int = 1) -> Estimate:
    return estimate.one_network(estimate.parts(network), network.n_inputs, inputs, estimate.normalizes(network.layers))


def _missing(tasks: Sequence[Task], kept: Store | None) -> int:
    """Return how many networks are not stored."""
    if kept is None or next(kept.folder.glob("*.npz"), None) is None:
        return len(tasks)
    return sum(not kept.path(task.question).exists() for task in tasks)


def check_device(device: str) -> None:
    """Raise unless torch can use a device here."""
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise ValueError(f"device {str(device)!r} cannot be used here: {str(error).splitlines()[0]}") from None
