"""A module as a chain of factors whose product is its Jacobian."""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn.utils import parametrize

from empirical import graph, underflow
from empirical.as_found import as_found
from empirical.calls import Batch, each, entry, ran
from empirical.checks import check
from empirical.cost import chain_seconds
from empirical.cut import Between, part, picked
from empirical.differentiated import alike, direction_at, units
from empirical.functions import ELEMENTWISE, REARRANGING
from empirical.graph import Stage, Steps, Sum, Untraceable
from empirical.jacobian import Output, memory_limit
from empirical.progress import announce
from empirical.qr_chain import full_rank
from empirical.sequential import LINEAR, ONE_BY_ONE, POINTWISE, altered, slopes_of
from empirical.softmax import is_softmax, softmax_factors
from empirical.trace import traced
from empirical.underflow import Underflow, smallest
from empirical.unwrapped import opened
from rmt.text import duration

Array = NDArray[np.float64]
_Kept = dict[tuple[nn.Module, torch.Size], Array]  # of linear modules, whose Jacobian is the same at every sample

_SMALLEST = 1e-150  # whose square is no longer a float of all digits
_WIDEST = 2**14  # entries of a signal
_AT_ONCE = 2**24  # numbers of a Jacobian
_ROUNDINGS = 100.0  # of a product, where it is little else: behind softmax that saturates, in what cancels
# Of a vector-Jacobian product: what the module and its chain may differ by. Autograd's slopes of saturated units round.
_ALIKE = {torch.float64: 1e-8, torch.float32: 1e-3}


class TooLong(ValueError):
    """A chain would take longer than it may; the message says how long."""


def factors(module: nn.Module, x: Batch, between: Between | None = None, output: Output = None,
            wrt: str | None = None, seconds: float = math.inf,
            unit: float = 0.0) -> tuple[int, list[list[Array]]]:
    """Return the number of inputs, and every sample's factors, the first to act first.

    Matrices, and vectors for diagonals. Arguments are those of `empirical.jacobian`; `seconds` is what all may take,
    by `cost.chain_seconds`. What takes over ten says so first. `unit` is that of the rounding inside, if it is coarser.

    Raises
    ------
    Untraceable
        If the module cannot be split; the message names what stands in the way.
    TooLong
        If it would take longer than `seconds`.
    Underflow
        If a signal is too small for its precision where a slope depends on it; the message names the layer.
    """
    module, between = opened(module, between)
    check(module, x, wrt, whole=between is None or between[0] is None)
    signals = entry(x, wrt)[1]
    known = graph.chain(module) if between is None and output is None and x is signals else None
    found: list[list[Array]] = []
    kept: _Kept = {}
    read, n_inputs = None, signals[0].numel()
    with as_found(module, signals):
        for i in range(len(signals)):
            sample = each(x, lambda value, i=i: value[i : i + 1].detach().clone())
            if known is not None:
                if i == 0:
                    _in_time(module, known, sample, len(signals), seconds)
                found.append(_through(known, sample, kept)[0])
                continue
            with as_found(module, signals):
                read = traced(module, sample) if read is None else read
                path = read.path(each(sample, torch.clone), between, output, wrt)
            if len(path) == 1 and isinstance(path[0], Stage) and path[0].parts:
                raise Untraceable(f"{path[0].name} reads what all the rest computes")
            with as_found(module, signals):
                start, direction, pulled, seen = product(module, sample, between, output, wrt)
            n_inputs = start.numel()
            if i == 0:
                _in_time(module, path, start, len(signals), seconds)
            chain, _ = _through(path, start, kept)
            coarsest = torch.float32 if unit > torch.finfo(start.dtype).eps else start.dtype
            tolerance, tiny = _ALIKE[coarsest] * float(np.linalg.norm(pulled)), smallest(start.dtype) if seen else 0.0
            if not _alike(chain, direction, pulled, tolerance, tiny) and not _alike(
                    chain, direction, pulled, _ROUNDINGS * rounding_of(module, sample, between, output, wrt), tiny):
                raise Untraceable(f"{type(module).__name__} does something that its trace does not show")
            found.append(chain)
    return n_inputs, found


def _in_time(module: nn.Module, path: Steps, signal: torch.Tensor, samples: int, seconds: float) -> None:
    """Raise if the chains of all samples would take too long; say so where they take a while."""
    with as_found(module, signal):
        needed = samples * chain_seconds(path, signal.clone())
    if needed > seconds:
        raise TooLong(f"the accurate chain would take about {duration(needed)}")
    announce("accurate singular values", needed)


def product(module: nn.Module, sample: Batch, between: Between | None, output: Output, wrt: str | None,
            times: float = 1) -> tuple[torch.Tensor, Array, Array, bool]:
    """Return the signal where the part begins, a direction (`times` one) at its end, and it times the Jacobian.

    Last, whether autograd sees that the one depends on the other at all. At one sample (batch axis of one), under
    `as_found`.
    """
    def run(at: Batch) -> object:
        return ran(module, at)

    with part(module, between, wrt) as through, torch.enable_grad():
        start = entry(sample, wrt)[1]
        if between is not None and between[0] is not None:
            with as_found(module, start):  # the second run draws the same
                start = through(run, sample, None)[0].detach().clone()
        leaf = start.clone().requires_grad_(True)
        end = picked(through(run, sample, leaf)[1], output)
        direction = direction_at(end) * times
        (pulled,) = torch.autograd.grad(end, leaf, direction, allow_unused=True) if end.requires_grad else (None,)
    product = torch.zeros_like(start) if pulled is None else pulled
    return start, _numpy(direction.flatten()), _numpy(product.flatten()), pulled is not None


def rounding_of(module: nn.Module, sample: Batch, between: Between | None, output: Output, wrt: str | None,
                relative: bool = False) -> float:
    """Return by how much a product with the Jacobian is not linear, for its rounding; relative to it, if asked."""
    def pulled(times: float) -> Array:
        with as_found(module, entry(sample, wrt)[1]):  # with the same draws
            return product(module, each(sample, torch.clone), between, output, wrt, times)[2]

    one = pulled(1)
    off, size = float(np.linalg.norm(one - 3 * pulled(1 / 3))), float(np.linalg.norm(one))
    return off / size if relative and size else off


def _alike(chain: list[Array], direction: Array, pulled: Array, tolerance: float, tiny: float) -> bool:
    """Whether the product of the factors does to a direction what the module does.

    Where that leaves the range of its precision, `tiny`, the product must be of next to nothing, too.
    """
    with np.errstate(all="ignore"):
        for factor in reversed(chain):
            direction = direction * factor if factor.ndim == 1 else direction @ factor
        if direction.shape != pulled.shape:
            return False
        off, size = float(np.linalg.norm(direction - pulled)), float(np.linalg.norm(pulled))
    lost = size < _SMALLEST and bool(np.linalg.norm(direction) <= math.sqrt(tiny))
    return off <= tolerance or not math.isfinite(size) or lost


def _through(path: Steps, signal: torch.Tensor, kept: _Kept, lost: str = "",
             held: list[str] | None = None) -> tuple[list[Array], torch.Tensor]:
    """Return the factors of a path at one sample, and its output; each stage runs once, what it draws included.

    `lost` says where the signal has underflowed: linear stages and slopes that are smooth at zero do not mind. Others
    raise; in a branch they are `held` until it is seen whether the sum has something to which they are nothing.
    """
    chain: list[Array] = []
    for stage in path:
        before, unseen = signal, list[str]()
        if isinstance(stage, Sum):
            (a, left), (b, right) = (_through(branch, signal, kept, lost, unseen) for branch in stage.branches)
            size = signal.numel()
            check_room(size, size, signal.device)
            more, signal = [multiplied(a, size) + multiplied(b, size)], left + right
            if underflow.largest(signal) * torch.finfo(signal.dtype).eps > smallest(signal.dtype):
                unseen = []
        else:
            if lost and not isinstance(stage.module, LINEAR) and underflow.sensitive(stage.call, signal):
                unseen.append(f"{lost}, and {stage.name} depends on them")
            more, signal = _factor(stage, signal, kept)
        if unseen and held is None:
            double = "module.double(), or " if signal.dtype == torch.float32 else ""
            raise Underflow(f"{unseen[0]}: use {double}larger weights or inputs")
        if held is not None:
            held += unseen
        lost = underflow.at_stage(stage.name, lost, before, signal, more)
        chain += more
        if signal.numel() > _WIDEST:
            raise Untraceable(f"{stage.name} has {signal.numel()} outputs, too many for a chain of matrices")
        if not torch.isfinite(signal).all():
            raise ValueError(f"the output of {stage.name} is not finite")
    return chain, signal


def _factor(stage: Stage, signal: torch.Tensor, kept: _Kept) -> tuple[list[Array], torch.Tensor]:
    """Return the factors of one stage, and its output."""
    module = stage.module
    plain = module is not None and not altered(module) and not parametrize.is_parametrized(module)
    if plain and isinstance(module, nn.Linear) and type(module).forward is nn.Linear.forward:
        if signal.numel() == module.in_features:
            return [_numpy(module.weight)], stage.call(signal)
    if plain and type(module) in POINTWISE:
        assert module is not None
        return [_numpy(slopes_of(module, signal))[0]], stage.call(signal)
    if plain and type(module) in (nn.Identity, nn.Flatten):
        return [], stage.call(signal)
    with torch.enable_grad():
        leaf = signal.clone().requires_grad_(True)
        out = stage.call(leaf.clone())
    if (plain and type(module) in ONE_BY_ONE) or (stage.function in ELEMENTWISE and out.shape == signal.shape):
        return [_numpy(_backward(out, leaf, torch.ones_like(out))).ravel()], out.detach()
    if stage.function in REARRANGING:
        check_room(out.numel(), signal.numel(), signal.device)
        order = stage.call(torch.arange(signal.numel(), dtype=torch.float64).reshape(signal.shape))
        index = order.flatten().long().numpy()
        return [] if np.array_equal(index, np.arange(signal.numel())) else [np.eye(signal.numel())[index]], out.detach()
    if (plain or module is None) and not stage.parts and is_softmax(module, stage.function):
        check_room(out.numel(), out.numel(), out.device)
        if (found := softmax_factors(out)) is not None:
            return found, out.detach()
    linear = plain and module is not None and type(module) in LINEAR
    if not linear:
        whole = full_rank(_rows(out, leaf), float(torch.finfo(out.dtype).eps), apart=bool(stage.parts))
        if whole is None:
            raise Untraceable(f"{stage.name} and {len(stage.parts) - 1} other calls cannot be split, and have values "
                              "down to the rounding of the largest")
        return [whole], out.detach()
    assert module is not None
    if (module, signal.shape) not in kept:
        kept[module, signal.shape] = _rows(out, leaf)
    return [kept[module, signal.shape]], out.detach()


def _backward(out: torch.Tensor, leaf: torch.Tensor, direction: torch.Tensor, many: bool = False) -> torch.Tensor:
    if not out.requires_grad:
        return leaf.new_zeros((*direction.shape[:1], *leaf.shape) if many else leaf.shape)
    (pulled,) = torch.autograd.grad(out, leaf, direction, retain_graph=True, is_grads_batched=many, allow_unused=True,
                                    materialize_grads=True)
    return pulled


def _rows(out: torch.Tensor, leaf: torch.Tensor) -> Array:
    """Return the Jacobian of what was just run, as many rows at once as fit; one by one where torch cannot do more."""
    check_room(out.numel(), leaf.numel(), leaf.device)
    direction = direction_at(out)
    expected = _numpy(_backward(out, leaf, direction)).ravel()
    try:
        found = _rows_by(out, leaf, max(1, min(_AT_ONCE // max(out.numel(), leaf.numel()), out.numel())))
        product = torch.from_numpy(_numpy(direction).ravel() @ found)
        if alike(product.to(out.dtype), torch.from_numpy(expected).to(out.dtype)):
            return found
    except RuntimeError:  # torch has no batched form of it
        pass
    return _rows_by(out, leaf, 0)


def _rows_by(out: torch.Tensor, leaf: torch.Tensor, step: int) -> Array:
    """Return the same, so many rows at once; with a step of 0 one by one, without torch's batched forms."""
    found = np.empty((out.numel(), leaf.numel()))
    for i in range(0, out.numel(), max(step, 1)):
        rows = units(out, i, max(step, 1))
        pulled = _backward(out, leaf, rows, many=True) if step else _backward(out, leaf, rows[0])
        found[i : i + len(rows)] = _numpy(pulled).reshape(len(rows), -1)
    return found


def check_room(rows: int, columns: int, device: torch.device) -> None:
    """Raise before a matrix of one stage is made that does not fit."""
    needed, limit = rows * columns * 8, memory_limit(device)
    if needed > limit:
        raise MemoryError(f"the Jacobian of one stage, {rows} x {columns}, takes {needed:.3g} bytes of "
                          f"{limit:.3g}: use empirical.spectral_density, or a part of the module with between=")


def multiplied(chain: list[Array], n_inputs: int) -> Array:
    """Return the product of factors, matrices and vectors for diagonals."""
    product = np.eye(n_inputs)
    for factor in chain:
        product = factor[:, None] * product if factor.ndim == 1 else np.asarray(factor) @ product
    return product


def _numpy(x: torch.Tensor) -> Array:
    return x.detach().to("cpu", torch.float64).numpy()
