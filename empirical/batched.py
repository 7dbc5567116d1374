"""Many multilayer perceptrons at once: the accurate chain as batched matrix products, for a GPU.

The chain is that of `qr_chain`, its QR by CholeskyQR2 (Yamamoto et al. 2015): two Cholesky factorizations of a Gram
matrix, all of it products. Where the first leaves a Q too far from orthogonal, as of a saturated network, that network
goes through `qr_chain` alone. Inactive units are zero rows; ranks differ from network to network, and what is beyond a
network's rank is zero and has the scale -inf. The graded matrices are ended on the host's cores while the next networks
are on the device.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import NamedTuple, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from empirical.as_found import as_found
from empirical.graded import log_singular_values_of_graded, padded
from empirical.jacobian import memory_limit
from empirical.measurement import Measurement
from empirical.sequential import slopes_of
from empirical.singular_values import as_it_is
from empirical.task import Task
from empirical.underflow import smallest
from rmt.networks.layers import Activation, Dense
from rmt.networks.network import Network

Array = NDArray[np.float64]

_ORTHOGONAL = 0.1  # of Q^T Q - 1 after the first factorization: the second then leaves rounding
_WORKING = 12  # square matrices a network has on the device beside its weights


def supports(task: Task) -> bool:
    """Whether a task is a network of dense layers and activations."""
    network = task.source
    return isinstance(network, Network) and all(isinstance(layer, Dense | Activation) for layer in network.layers)


class _Product(NamedTuple):
    """Of every network: Q diag(e^scales) rows. `rows` None is the identity; a scale of -inf is beyond its rank."""

    scales: torch.Tensor  # (networks, k)
    rows: torch.Tensor | None  # (networks, k, inputs)


def run_together(tasks: Sequence[Task], at_once: int | None = None) -> Iterator[tuple[Task, Measurement]]:
    """Yield tasks of one network that `supports` accepts, with their answers, some of them at once on their device."""
    if not tasks:
        return
    at_once = at_once or _fitting(tasks[0])
    with ThreadPoolExecutor(os.cpu_count()) as cores:
        waiting: list[tuple[Task, list[Future[Array]], int]] = []
        for start in range(0, len(tasks), at_once):
            part = tasks[start : start + at_once]
            modules, inputs = zip(*((cast(nn.Sequential, module), x) for module, x, _ in (t.drawn() for t in part)),
                                  strict=True)
            scales, rows, good, n_outputs = _chained(modules, torch.stack(inputs))
            yield from _ended(waiting)
            waiting = []
            for i, task in enumerate(part):
                if good[i].all():
                    futures = [cores.submit(_ended_one, s, r) for s, r in zip(scales[i], rows[i], strict=True)]
                else:
                    futures = [cores.submit(_alone, modules[i], x) for x in inputs[i]]
                waiting.append((task, futures, n_outputs))
        yield from _ended(waiting)


def _ended(waiting: Sequence[tuple[Task, list[Future[Array]], int]]) -> Iterator[tuple[Task, Measurement]]:
    for task, futures, n_outputs in waiting:
        values = np.array([future.result() for future in futures])
        yield task, task.answer(values, np.full(len(values), -np.inf), n_outputs)


def _ended_one(scales: Array, rows: Array) -> Array:
    """Return the values of one graded matrix, padded with -inf to the number of inputs."""
    alive = scales > -np.inf
    return padded(log_singular_values_of_graded(scales[alive], rows[alive]), rows.shape[1])


def _alone(module: nn.Module, x: torch.Tensor) -> Array:
    return as_it_is(module, x[None]).logs[0]


def _fitting(task: Task) -> int:
    """Return how many networks fit on the device."""
    network = cast(Network, task.source)
    widest = max([network.n_inputs, *(layer.width for layer in network.layers if isinstance(layer, Dense))])
    dense = sum(isinstance(layer, Dense) for layer in network.layers)
    bytes_each = 8 * widest**2 * (dense + _WORKING * task.inputs_per_network)
    return max(1, int(memory_limit(torch.device(task.device)) / bytes_each))


def _chained(modules: Sequence[nn.Sequential], x: torch.Tensor) -> tuple[Array, Array, NDArray[np.bool_], int]:
    """Return scales (networks, inputs, k) and rows of the Jacobians of modules alike at x (networks, inputs, n).

    And where the factorizations held, (networks, inputs), and the number of outputs.
    """
    networks, per_network, n_inputs = x.shape
    signal = x.reshape(-1, n_inputs)
    product = _Product(signal.new_zeros(len(signal), n_inputs, dtype=torch.float64), None)
    block: torch.Tensor | None = None
    good = torch.ones(len(signal), dtype=torch.bool, device=x.device)
    with as_found(modules[0], x):
        for stages in zip(*modules, strict=True):
            first = stages[0]
            if isinstance(first, nn.Linear):
                weight = torch.stack([cast(torch.Tensor, stage.weight) for stage in stages])
                weight = weight.repeat_interleave(per_network, dim=0)
                signal = (weight @ signal[:, :, None])[:, :, 0]
                if first.bias is not None:
                    bias = torch.stack([cast(torch.Tensor, stage.bias) for stage in stages])
                    signal = signal + bias.repeat_interleave(per_network, dim=0)
                if block is None:
                    block = weight.double()
                else:
                    order, q, upper, held = _split(block, product)
                    good &= held
                    product = _multiplied(upper, product)
                    columns = order[:, None, :].expand(-1, weight.shape[1], -1)
                    block = weight.double().gather(2, columns) @ q
            else:
                slopes = slopes_of(first, signal).double()
                block = torch.diag_embed(slopes) if block is None else slopes[:, :, None] * block
                signal = first(signal.clone())
            good &= signal.abs().amax(1) >= smallest(signal.dtype)  # or alone, where it is seen whether that matters
    if block is not None:
        _, _, upper, held = _split(block, product)
        good &= held
        product = _multiplied(upper, product)
    rows = torch.eye(n_inputs).expand(len(signal), -1, -1) if product.rows is None else product.rows
    shape = networks, per_network, -1
    return (product.scales.reshape(shape).cpu().numpy(), rows.reshape(*shape, n_inputs).cpu().double().numpy(),
            good.reshape(networks, per_network).cpu().numpy(), signal.shape[1])


def _split(block: torch.Tensor, product: _Product) -> tuple[torch.Tensor, ...]:
    """Return the rows of every block that are not zero, largest first, as Q R: their order, Q, R, and whether it held.

    R is upper trapezoidal: what is beyond the rank of a network, in rows of R and columns of Q, is zero.
    """
    size = block.abs().amax(2)
    alive = (size > 0).sum(1)
    order = size.argsort(dim=1, descending=True, stable=True)[:, : max(1, int(alive.max()))]
    block = block.gather(1, order[:, :, None].expand(-1, -1, block.shape[2]))
    largest = size.amax(1).clamp(min=torch.finfo(size.dtype).tiny)[:, None, None]
    block = block / largest  # whose squares are floats
    rank = torch.minimum(alive, (product.scales > -torch.inf).sum(1))
    square = block[:, :, : max(1, int(rank.max()))]
    inside = torch.arange(square.shape[2], device=block.device) < rank[:, None]
    square = square * inside[:, None, :]
    beyond = torch.diag_embed((~inside).double())
    first, info = torch.linalg.cholesky_ex(square.mT @ square + beyond, upper=True)
    q = torch.linalg.solve_triangular(first, square, upper=True, left=False)
    gram = q.mT @ q + beyond
    held = (info == 0) & ((gram - torch.eye(gram.shape[1]).to(gram)).abs().amax((1, 2)) < _ORTHOGONAL)
    second, _ = torch.linalg.cholesky_ex(gram, upper=True)
    q = torch.linalg.solve_triangular(second, q, upper=True, left=False)
    upper = q.mT @ block
    own = torch.triu(second @ first) * inside[:, None, :] * inside[:, :, None]
    upper[:, :, : square.shape[2]] = torch.where(inside[:, None, :], own, upper[:, :, : square.shape[2]])
    return order, q, upper * largest, held


def _multiplied(upper: torch.Tensor, product: _Product) -> _Product:
    """Return R times the product so far, its rows of length 1 again."""
    scales, rows = product
    most = scales.flip(1).cummax(1).values.flip(1)[:, : upper.shape[1], None]  # of the scales that a row of R meets
    factor = (scales[:, None, :] - most).clamp(max=0.0).exp()
    factor = torch.where((scales > -torch.inf)[:, None, :], factor, 0.0)
    scaled = upper * factor
    size = scaled.abs().amax(2, keepdim=True)
    scaled = scaled / size.clamp(min=torch.finfo(size.dtype).tiny)
    found = scaled if rows is None else scaled @ rows
    norms = found.square().sum(2, keepdim=True).sqrt()
    alive = norms > 0
    found = found / torch.where(alive, norms, 1.0)
    log = torch.where(alive, most + size.log() + norms.log(), -torch.inf)
    return _Product(log[:, :, 0], found)
