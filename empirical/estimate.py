"""What measuring will take, before it starts: time, memory and disk from a count of operations and one small timing.

Of a network the count is that of the accurate chain, calibrated at widths of 10 to 4096 (depth 1 to 1000; dense,
residual and convolutional): right within a factor of 2 mostly. Layers whose activation is zero for half of its inputs
carry half of the rows.
"""

from __future__ import annotations

import math
import shutil
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
from threadpoolctl import threadpool_limits

from empirical.qr_chain import chain_log_singular_values
from rmt.networks.layers import Activation, Layer, Weighted
from rmt.networks.network import Network
from rmt.networks.normalization import BatchNorm
from rmt.networks.residual import Residual
from rmt.text import amount, duration

LONG = 600.0  # seconds that a command starts without being asked twice
_LARGE = 1e10  # bytes of disk likewise

_UNIT = 0.0028  # seconds of `_small` on the machine where the numbers below were found
_TICK, _SLOWEST = 1e-4, 20.0  # seconds that a clock tells apart; times slower: more is no machine
_NETWORK, _LAYER, _WEIGHT = 3e-3, 2e-4, 4e-8  # seconds a network, a layer, a weight
_CHAIN, _END, _FORWARD = 1e-10, 3e-10, 1.5e-10  # seconds an operation: of the QR chain, of its end, of a plain product
_CALIBRATION = 2048  # inputs that give batch normalizations their statistics
_ROW = 4e-5  # seconds a row of a convolution's Jacobian
_PREDICTION, _PREDICTED_LAYER, _STREAM = 1.0, 5e-3, 1.2  # seconds: of a prediction, a layer of it, a block on a stream
_RANK, _RANKS = 1.6e-5, 25.0  # seconds and bytes of an output that may be zero, of a prediction
_DRAWN = 3.0  # seconds: of comparing a row and drawing it
_STREAMS = 64  # blocks, beyond which they are taken as free
_KEPT, _WORKING, _PROCESS = 2.5, 12, 2.5e8  # copies of what a layer has; square matrices at work; bytes of a process
_TASK, _COPIES, _FILE = 4096, 3, 4096  # bytes of a network that waits; copies of a result; bytes of a file beside it
_PICTURE = 4e5  # bytes of a row on a page, and of its table


@dataclass(frozen=True)
class Estimate:
    """Seconds, bytes of memory and bytes of disk; as text "about 14 hours, 3.2 GB of memory, 40 MB of disk"."""

    seconds: float = 0.0
    memory: float = 0.0
    disk: float = 0.0

    @property
    def long(self) -> bool:
        """Whether it is to be confirmed: more than ten minutes, half of the free memory, or ten gigabytes of disk."""
        return self.seconds > LONG or self.disk > _LARGE or self.memory > free_memory() / 2

    def __str__(self) -> str:
        time = (f"about {duration(self.seconds)}",) if self.seconds else ()
        room = (f"{amount(size)} of {name}" for name, size in (("memory", self.memory), ("disk", self.disk)) if size)
        return ", ".join((*time, *room))


class DoesNotFitError(ValueError):
    """Work that needs more memory or disk than there is; the message has the estimate."""


class Part(NamedTuple):
    """Equal layers of weights in a row: sizes before and after, weights of an output, and the share that lives on.

    A convolution has fewer `weights` of an output than there are inputs, and all of them once a channel.
    """

    inputs: int
    outputs: int
    weights: int
    channels: int
    alive: float = 1.0
    repeats: int = 1


def parts(network: Network) -> list[Part]:
    """Return the layers of weights of a network."""
    return [*_parts(network.layers, network.input_shape)]


def _parts(layers: Sequence[Layer], shape: tuple[int, ...]) -> Iterator[Part]:
    for layer, following in zip(layers, [*layers[1:], None], strict=False):
        after = layer.output_shape(shape)
        if isinstance(layer, Residual):
            for branch in (layer.layers, layer.shortcut):
                yield from _parts(branch, shape)
        elif isinstance(layer, Weighted):
            fan_in, _ = layer.fans(shape)
            yield Part(math.prod(shape), math.prod(after), fan_in, after[0], alive(str(following)))
        shape = after


def alive(activation: str) -> float:
    """Return the share of a layer's outputs that an activation does not put to zero."""
    return 0.5 if activation == "relu" else 1.0


def one_network(chain: Iterable[Part], n_inputs: int, inputs: int = 1, normalized: bool = False) -> Estimate:
    """Return what one network takes at some inputs; `normalized` if statistics are found first. No disk."""
    seconds, held, widest, rank, alive = _NETWORK, 0.0, float(n_inputs), float(n_inputs), 1.0
    for part in chain:
        size = part.inputs * part.outputs
        seconds += part.repeats * (_LAYER + _WEIGHT * part.weights * part.channels)
        seconds += part.repeats * inputs * _CHAIN * size * alive * min(rank, part.outputs)
        if normalized:
            seconds += part.repeats * _CALIBRATION * _FORWARD * part.weights * part.outputs
        if part.weights < part.inputs:
            seconds += part.repeats * inputs * _ROW * part.outputs
        held += part.repeats * size
        widest, alive = max(widest, part.outputs), part.alive
        rank = min(rank, part.outputs * alive)
    seconds += inputs * _END * rank**2 * n_inputs
    return Estimate(_speed() * seconds, 8 * (_KEPT * held + _WORKING * widest**2))


def results(networks: int, values: int) -> Estimate:
    """Return the memory that so many results of so many values take, whether measured now or before."""
    return Estimate(memory=float(networks) * (_TASK + _COPIES * 8.0 * values))


def measuring(one: Estimate, missing: int, values: int, processes: int = 1, stored: bool = True) -> Estimate:
    """Return what so many missing networks take, of which one takes so much, on so many processes."""
    if not missing:
        return Estimate()
    at_once = min(processes, missing)
    return Estimate(one.seconds * missing / at_once, at_once * (one.memory + (_PROCESS if processes > 1 else 0)),
                    float(missing) * (_FILE + 8.0 * values) if stored else 0.0)


def predicting(layers: int, ranks: float = 0.0, blocks: int = 0) -> Estimate:
    """Return what a prediction takes.

    Parameters
    ----------
    layers : int
        Layers of weights.
    ranks : float
        Sum of the widths of those whose outputs may be zero: their number has a distribution.
    blocks : int
        Residual blocks whose slopes act on one stream.
    """
    seconds = _PREDICTION + _PREDICTED_LAYER * layers + _RANK * ranks
    return Estimate(_speed() * (seconds + (_STREAM * blocks**1.3 if 1 < blocks <= _STREAMS else 0.0)), _RANKS * ranks)


def prediction(network: Network) -> Estimate:
    """Return what the prediction of a network takes."""
    chain = parts(network)
    blocks = sum(isinstance(layer, Residual) and isinstance(layer.layers[0], Activation) for layer in network.layers)
    return predicting(len(chain), sum(part.outputs for part in chain if part.alive < 1), blocks)


def page(layers: int, ranks: float = 0.0, blocks: int = 0) -> Estimate:
    """Return what the prediction and the picture of a row take; arguments are those of `predicting`."""
    row = predicting(layers, ranks, blocks)
    return Estimate(row.seconds + _speed() * _DRAWN, row.memory, _PICTURE)


def normalizes(layers: Iterable[Layer]) -> bool:
    """Whether there is a batch normalization, whose statistics are found first."""
    return any(isinstance(layer, BatchNorm) or (isinstance(layer, Residual) and normalizes(layer.inside))
               for layer in layers)


def together(estimates: Iterable[Estimate]) -> Estimate:
    """Return what works take, one after the other."""
    every = [*estimates]
    return Estimate(sum(one.seconds for one in every), max((one.memory for one in every), default=0.0),
                    sum(one.disk for one in every))


def check_fits(name: str, estimate: Estimate, folder: Path | None = None) -> None:
    """Raise if there is not the memory, or on the folder's disk not the room, that the argument `name` asks for."""
    if estimate.memory > (free := free_memory()):
        raise DoesNotFitError(f"{name} takes {estimate}; {amount(free)} of memory are free")
    if folder is not None and estimate.disk > (left := free_disk(folder)):
        raise DoesNotFitError(f"{name} takes {estimate}; {amount(left)} are free in {folder}")


def free_disk(folder: Path) -> float:
    """Return the bytes that are free where a folder is, or will be."""
    there = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.is_dir())
    usage = shutil.disk_usage(there)
    return float(usage.free) if usage.total else math.inf  # what is no disk does not say


def free_memory() -> float:
    """Return the bytes that this process may still take: of the machine, of its container, of its own limit."""
    import psutil  # only here

    free = [float(psutil.virtual_memory().available)]
    try:
        most, used = (Path(f"/sys/fs/cgroup/memory.{name}").read_text().strip() for name in ("max", "current"))
        if most != "max":
            free.append(max(0.0, float(most) - float(used)) + _reclaimable())
    except (OSError, ValueError):
        pass  # no container, or one of another kind
    try:
        import resource

        limit = resource.getrlimit(resource.RLIMIT_AS)[0]
        if limit != resource.RLIM_INFINITY:
            free.append(max(0.0, float(limit) - psutil.Process().memory_info().vms))
    except ImportError:
        pass
    return min(free)


def _reclaimable() -> float:
    """Return the bytes of files that a container holds in memory and gives up."""
    words = Path("/sys/fs/cgroup/memory.stat").read_text().split()
    return float(words[words.index("inactive_file") + 1]) if "inactive_file" in words else 0.0


@cache
def _speed() -> float:
    """Return how much slower this machine is than the one of the numbers above: the least of some short timings."""
    matrices = [np.random.default_rng(0).standard_normal((100, 100)) / 10] * 6
    found = []
    with threadpool_limits(1):  # several wait for each other where other work goes on
        for _ in range(6):
            start = time.thread_time()  # of this thread alone, whatever else runs
            chain_log_singular_values(matrices, 100)
            found.append(time.thread_time() - start)
    return min(_SLOWEST, max(min(found), _TICK) / _UNIT)
