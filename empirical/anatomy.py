"""What a module does to any signal, whatever its weights: where a signal ends, what is averaged, what must be lost."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import nn
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves

from empirical import lines
from empirical.as_found import as_found
from empirical.calls import ran
from empirical.cut import Between, part, picked
from empirical.differentiated import direction_at
from empirical.functions import ELEMENTWISE, REARRANGING
from empirical.graph import Stage, Steps, replayed
from empirical.jacobian import Output
from empirical.pointwise import acts_entrywise
from empirical.trace import traced
from empirical.unwrapped import is_script

_REDUCING = {"mean", "sum", "logsumexp"}
_WEIGHING = {"softmax", "scaled_dot_product_attention", "multi_head_attention_forward"}
_ROUNDING = 1e-5  # of a signal in single precision
_PICKED = 0.01  # of a squared gradient, up to which entries are left out, and not averaged
_KNOWN = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d,
          nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d, nn.Flatten, nn.Identity, nn.modules.batchnorm._BatchNorm)


@dataclass(frozen=True)
class Anatomy:
    """What is known of the measured part of a module before its Jacobian.

    Attributes
    ----------
    detached : str
        Behind which submodule the signal is detached, so that autograd sees no dependence; "" where it is not.
    dead : str
        Behind which submodule no slope is left, so that the Jacobian is zero; "" where some is.
    unreached : tuple of str
        Submodules with parameters that run, but whose output no gradient reaches though some reaches the input.
    parameters : frozenset of str
        The names of the parameters that act in it, where autograd shows them.
    averaging : float or None
        By what averages over places alone multiply a squared gradient: 1/T for one over T places; None where that is
        not known.
    averager : str
        What averages then, a call and its line; "" where it is known.
    rank : int or None
        What the narrowest place and the normalizations leave of the directions of the input; None where the module
        cannot be read.
    removed : int
        How many directions normalizations take away, as far as it can be read.
    depth : int or None
        Layers of weights on the longest way through it; None where that cannot be read.
    """

    detached: str
    dead: str
    unreached: tuple[str, ...]
    parameters: frozenset[str]
    averaging: float | None
    averager: str
    rank: int | None
    removed: int
    depth: int | None


def anatomy(module: nn.Module, x: torch.Tensor, between: Between | None = None, output: Output = None) -> Anatomy:
    """Return what is known of a part of a module at some samples (batch, *input_shape); the module is left as it is."""
    end = _end(module, x, between, output)
    try:
        with as_found(module, x):
            path = traced(module, x[:1]).path(x[:1].clone(), between, output)
            taken = _taken(path, _start(module, x[:1], between))
            return Anatomy(*end, taken.averaging, taken.averager, taken.rank, taken.removed, _depth(path))
    except Exception:  # it cannot be read, or does not run so: nothing is claimed
        with as_found(module, x), _Averages() as averages:
            ran(module, x)
        return Anatomy(*end, None if averages.seen else 1.0, averages.seen, None, 0, None)


def _start(module: nn.Module, x: torch.Tensor, between: Between | None) -> torch.Tensor:
    with part(module, between) as through:
        return through(lambda at: ran(module, at), x, None)[0].detach().clone()


# ---- where a signal ends ------------------------------------------------------------------------------


class _End(NamedTuple):
    """The first fields of an `Anatomy`."""

    detached: str
    dead: str
    unreached: tuple[str, ...]
    parameters: frozenset[str]


def _end(module: nn.Module, x: torch.Tensor, between: Between | None, output: Output) -> _End:
    """Return behind what the signal is detached or dead, whom no gradient reaches, and the parameters that act."""
    names = {child: name or "the module" for name, child in module.named_modules()
             if not [*child.children()] and not is_script(child)}
    seen: list[tuple[str, torch.Tensor]] = []
    hidden: dict[str, None] = {}  # who runs under torch.no_grad

    def see(child: nn.Module, _: Any, found: Any) -> None:
        if not torch.is_grad_enabled():
            hidden[names[child]] = None
        seen.extend((names[child], value) for value in tree_leaves(found)[:1]
                    if isinstance(value, torch.Tensor) and value.requires_grad)

    frozen = [(value, value.requires_grad) for value in module.parameters()]
    hooks = [child.register_forward_hook(see) for child in names]
    try:
        with as_found(module, x), part(module, between) as through:
            start = through(lambda at: ran(module, at), x, None)[0].detach().clone()
            if not start.is_floating_point():
                return _End("", "", (), frozenset())
            for value, _ in frozen:
                value.requires_grad_(False)
            seen.clear()
            hidden.clear()
            with torch.enable_grad():
                end = picked(through(lambda at: ran(module, at), x, start.requires_grad_(True))[1], output)
            if not end.requires_grad:
                return _End(seen[-1][0] if seen else "its input", "", (), frozenset())
            dead, unreached = _dead(end, start, seen)
            own = {name for child, name in names.items() if [*child.parameters(recurse=False)]}
            alive = {name for name, _ in seen}
            unreached = (*unreached, *(name for name in hidden if name not in alive))
            unreached = tuple(name for name in unreached if name in own) if output is None else ()
            for value, wanted in frozen:
                value.requires_grad_(wanted or value.is_floating_point())
            with torch.enable_grad():
                end = picked(through(lambda at: ran(module, at), x, start.detach().clone())[1], output)
            reached = {id(value) for value in _leaves(end)}
            acting = frozenset(name for name, value in module.named_parameters() if id(value) in reached)
            return _End("", dead, unreached, acting)
    finally:
        for hook in hooks:
            hook.remove()
        for value, wanted in frozen:
            value.requires_grad_(wanted)


def _dead(end: torch.Tensor, start: torch.Tensor,
          seen: list[tuple[str, torch.Tensor]]) -> tuple[str, tuple[str, ...]]:
    """Return the last submodule whose output no gradient reaches, if none reaches the start; else all of them."""
    slopes = torch.autograd.grad(end, [start, *(value for _, value in seen)], direction_at(end), allow_unused=True)
    reached = {name: False for name, _ in seen}
    for (name, _), slope in zip(seen, slopes[1:], strict=True):
        reached[name] |= slope is not None and bool(slope.any())
    without = tuple(name for name, does in reached.items() if not does)
    if slopes[0] is not None and slopes[0].any():
        return "", without
    return without[-1] if without else "its input", ()


def _leaves(end: torch.Tensor) -> Iterator[torch.Tensor]:
    """Yield the tensors that a graph of autograd begins with."""
    waiting, known = [end.grad_fn], set()
    while waiting:
        node = waiting.pop()
        if node is None or node in known:
            continue
        known.add(node)
        if hasattr(node, "variable"):
            yield node.variable
        waiting += [source for source, _ in node.next_functions]


# ---- what is averaged, what is lost -------------------------------------------------------------------


class _Taken(NamedTuple):
    """What averages multiply a squared gradient by or who does so in a way not known; directions left, and taken."""

    averaging: float | None
    averager: str
    rank: int | None
    removed: int


def _taken(path: Steps, signal: torch.Tensor) -> _Taken:
    free, least, unknown, weighed = 1.0, 1.0, "", ""
    rank = narrow = signal.numel()
    known = True
    for step in path:
        before = signal
        signal = replayed((step,), signal.clone()).detach()
        if isinstance(step, Stage):
            fewer = signal.numel() < before.numel() and step.function not in REARRANGING
            if _is_free(step) and _is_linear(step, before):
                square = _square(step, before)
                free *= square
                if fewer and abs(square - 1) > _PICKED:
                    least *= signal.numel() / before.numel()
                unknown = unknown or (weighed if fewer and square > 1 else "")  # a sum of what has such weights
            else:
                removed = _removed(step, before)
                known &= removed is not None
                said = _averager(step, before) if removed is None else ""
                unknown, weighed = unknown or (said if fewer else ""), weighed or said
                rank -= removed or 0
        narrow = min(narrow, signal.numel())
        rank = max(0, min(rank, signal.numel()))  # what was lost before a narrow place may be lost there anyway
    averaging = None if unknown else min(1.0, max(free, least))  # numbers beside averages do not average
    return _Taken(averaging if least < 1 or unknown else 1.0, unknown, rank if known else None, narrow - rank)


def _is_free(step: Stage) -> bool:
    """Whether a stage has no weights; of several calls that cannot be split that is not known."""
    return not step.parts and (step.module is None or not [*step.module.parameters()])


def _is_linear(step: Stage, signal: torch.Tensor) -> bool:
    """Whether a stage is the same at other signals: a sum, a mean, a number, a fixed matrix."""
    try:
        zero, one, two = (step.call(factor * signal) for factor in (0.0, 1.0, -2.0))
        other = step.call(signal.flip(0).roll(1, -1))
        both = step.call(signal + signal.flip(0).roll(1, -1))
    except RuntimeError:
        return False
    rounding = _ROUNDING * float(signal.abs().max())  # of sums that cancel, too
    return torch.allclose(two - zero, -2 * (one - zero), atol=rounding) and torch.allclose(
        both - zero, one + other - 2 * zero, atol=rounding)


def _depth(path: Steps) -> int | None:
    """Return the layers of weights on the longest way through a path; None where calls cannot be split."""
    total = 0
    for step in path:
        if isinstance(step, Stage):
            if step.parts:
                return None
            total += step.module is not None and any(value.ndim > 1 for value in step.module.parameters())
        else:
            ways = [_depth(branch) for branch in step.branches]
            if ways[0] is None or ways[1] is None:
                return None
            total += max(ways[0], ways[1])
    return total


def _square(step: Stage, signal: torch.Tensor) -> float:
    """Return E |J^T g|^2 / |g|^2 of a stage that does not depend on its signal."""
    with torch.enable_grad():
        leaf = torch.zeros_like(signal).requires_grad_(True)
        out = step.call(leaf)
        g = direction_at(out)
        (pulled,) = torch.autograd.grad(out, leaf, g)
    return float(pulled.square().sum() / g.square().sum())


def _removed(step: Stage, signal: torch.Tensor) -> int | None:
    """Return how many directions a stage takes away besides its size: a normalization mean and scale, in each group."""
    module, n = step.module, signal.numel()
    if isinstance(module, nn.LayerNorm | nn.RMSNorm):
        return 2 * (n // max(1, torch.Size(module.normalized_shape).numel()))
    if isinstance(module, nn.GroupNorm):
        return 2 * module.num_groups
    if isinstance(module, nn.modules.instancenorm._InstanceNorm):
        return 2 * signal.shape[1]
    if isinstance(module, _KNOWN) or step.function in ELEMENTWISE | REARRANGING:
        return 0
    return 0 if acts_entrywise(step.call, tuple(signal.shape[1:])) else None


def _averager(step: Stage, signal: torch.Tensor) -> str:
    """Return what a stage that gives fewer entries averages with, "" if it picks or gates: softmax weighs a mean."""
    with _Averages(also=_WEIGHING) as averages, torch.no_grad():
        step.call(signal.clone())
    return averages.seen and f"{averages.name} in {step.name}{f' ({step.where})' if step.where else ''}"


class _Averages(TorchFunctionMode):
    """Notes the first call that averages entries away; those that keep their axis belong to normalizations."""

    def __init__(self, also: Collection[str] = ()) -> None:
        super().__init__()
        self.also, self.name, self.seen = also, "", ""

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        found = function(*args, **(kwargs or {}))
        name = getattr(function, "__name__", "").partition(".")[0]  # without torch's name of the overload
        fewer = name in _REDUCING and isinstance(found, torch.Tensor) and 0 < found.ndim < args[0].ndim
        if not self.seen and (fewer or "avg_pool" in name or name == "interpolate" or name in self.also):
            where = lines.outside()
            self.name, self.seen = name, f"{name} ({where})" if where else name
        return found
