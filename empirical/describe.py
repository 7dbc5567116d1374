"""A module that exists already, as a `rmt.Network`: its layers, and schemes that draw weights like its own."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import cast

import torch
from torch import nn
from torch.utils._pytree import tree_leaves

from empirical import graph, pointwise
from empirical.acting import Used, computed, only_computes
from empirical.as_found import as_found, evaluating
from empirical.calibration import tracking
from empirical.calls import like, ran
from empirical.checks import check_module
from empirical.cut import picked
from empirical.dependence import in_torch
from empirical.differentiated import direction_at
from empirical.graph import Stage, Steps, Sum, Untraceable, replayed
from empirical.jacobian import Output, detached
from empirical.layers import Shape, layers_of, layers_of_call
from empirical.pointwise import may_be_pointwise, runs
from empirical.registry import Custom, layers_by, reader_of, using
from empirical.sequential import altered
from empirical.trace import traced
from empirical.unwrapped import opened
from empirical.weights import Weights, read, weights
from rmt.checks import integer
from rmt.networks.layers import Activation, Layer, Scale, UnsupportedStructure
from rmt.networks.network import Network
from rmt.networks.residual import Residual

NORMS = (nn.modules.batchnorm._BatchNorm, nn.LayerNorm, nn.RMSNorm, nn.GroupNorm)
_SIDE = 0.3  # of the root mean square of biases: a mean beyond it is no scatter
_ALIKE = 1e-3  # of outputs and of a vector-Jacobian product
_SPREAD = 0.05  # of the weights of a normalization: more is not one number


@dataclass(frozen=True)
class Part:
    """A layer, the node that it was read from, and the line that calls it; no layer stands for a factor of zero."""

    layer: Layer | None
    name: str
    where: str

    @property
    def at(self) -> str:
        """The node and the line."""
        return self.name + _at(self.where)


@dataclass(frozen=True)
class Description:
    """What a module is.

    Attributes
    ----------
    network : Network
        Its layers, with schemes that have the variance of its weights.
    parts : tuple of Part
        Where each layer of the network was read.
    weights : tuple of Weights
        What is known of its weights.
    warnings : tuple of str
        What the network leaves out.
    """

    network: Network
    parts: tuple[Part, ...]
    weights: tuple[Weights, ...]
    warnings: tuple[str, ...]


def describe(module: nn.Module, input_shape: int | Sequence[int], output: Output = None,
             custom: Custom | None = None) -> Network:
    """Return the network that a module is, with weights read as they are: the named scheme that has their variance.

    Where no named scheme has it within its error, `gaussian(sigma_w)` or `uniform(sigma_w)` of the measured one.
    Orthogonal matrices are seen as such. Weights of a trained module are described too, with a warning that they are
    no longer random; the law is then that of random weights of their variance.

    Parameters
    ----------
    module : torch.nn.Module
        Left as it is. Modules, functional calls, and residual blocks with a forward of their own are read.
    input_shape : int or tuple of int
        Of one input, channels first, without a batch axis.
    output : str or int
        Which output, where the module returns a mapping, a tuple or an object with attributes.
    custom : mapping
        Of types of modules of your own, and functions of tensors, to what they are: an activation function, a layer,
        a list of layers, or a function of (module, input shape) that returns one of these. `empirical.register` says
        it once for all calls.

    Raises
    ------
    UnsupportedStructure
        If some part of it is no layer of rmt; the message names the part and the line that calls it.
    """
    found = described(module, input_shape, output, custom)
    for warning in found.warnings:
        warnings.warn(warning, stacklevel=2)
    return found.network


def described(module: nn.Module, input_shape: int | Sequence[int], output: Output = None,
              custom: Custom | None = None) -> Description:
    """Return `describe`'s network with where its layers were read, its weights, and its warnings."""
    shape = sizes(input_shape)
    check_module(module)
    module = tracking(opened(module)[0])
    with evaluating(module), using(custom or {}):
        used, rows = _acting(module, shape)
        reader = _Reader(used, rows)
        parts = tuple(reader.parts(_path(module, shape, output), shape))
    for part in parts:
        if part.layer is None:
            raise UnsupportedStructure(f"{part.at}: everything behind it is multiplied by zero")
    network = Network(shape, [cast(Layer, part.layer) for part in parts])
    return Description(network, parts, rows, tuple(reader.warnings()))


def _acting(module: nn.Module, shape: Shape) -> tuple[tuple[Used, ...], tuple[Weights, ...]]:
    """Return the weights that a forward uses, as they act, and what is known of them; of one that fails, as stored."""
    try:
        return read(module, _sample(module, shape))
    except Exception:  # whatever a forward may raise: said where the module is traced
        return read(module)


def _sample(module: nn.Module, shape: Shape) -> torch.Tensor:
    return torch.randn((1, *shape), generator=torch.Generator().manual_seed(0)).to(like(module))


def sizes(input_shape: int | Sequence[int]) -> Shape:
    """Return the shape of an input as a tuple, of whole numbers from 1 on."""
    return tuple(integer("input_shape", n) for n in (
        input_shape if isinstance(input_shape, Sequence) else (input_shape,)))


def _path(module: nn.Module, shape: Shape, output: Output) -> Steps:
    """Return the stages of a module."""
    x = _sample(module, shape)
    with as_found(module, x), in_torch():
        try:
            path, run = traced(module, x).path(x, output=output), detached(module)
            if not _same(lambda signal: picked(run(signal), output), path, x):
                raise Untraceable(f"{type(module).__name__} {_unlike(module, x)}")
            return path
        except UnsupportedStructure:
            raise
        except Exception as error:  # whatever a module may do where it is taken apart
            said = str(error).strip().splitlines()[:1] or [type(error).__name__]
            if isinstance(error, Untraceable | NotImplementedError) or _runs(module, x):
                raise UnsupportedStructure(f"the module cannot be read: {said[0]}") from None
            raise ValueError(f"input_shape {shape} does not fit the module: {said[0]}") from None


def _runs(module: nn.Module, x: torch.Tensor) -> bool:
    try:
        ran(module, x)
    except Exception:  # its own
        return False
    return True


def _unlike(module: nn.Module, x: torch.Tensor) -> str:
    """Return why a module is not what its trace does."""
    before = torch.get_rng_state()
    values = [value for value in tree_leaves(ran(module, x)) if isinstance(value, torch.Tensor)]
    if not torch.equal(before, torch.get_rng_state()):
        return "draws random numbers on its way"
    if not all(torch.isfinite(value).all() for value in values):
        return "is not finite at a random input"
    return "does something that its trace does not show (hooks, or torch.no_grad, say)"


def _same(module: Callable[[torch.Tensor], torch.Tensor], path: Steps, x: torch.Tensor) -> bool:
    """Whether stages give the module's output and its derivative in a direction."""
    def pulled(run: Callable[[torch.Tensor], torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
        leaf = x.clone().requires_grad_(True)
        out = run(leaf.clone())
        direction = direction_at(out)
        if not out.requires_grad:
            return out.detach(), torch.zeros_like(leaf)
        return out.detach(), torch.autograd.grad(out, leaf, direction, allow_unused=True, materialize_grads=True)[0]

    with torch.enable_grad():
        pairs = zip(pulled(module), pulled(lambda signal: graph.replayed(path, signal)), strict=True)
        return all(one.shape == other.shape and bool((one - other).norm() <= _ALIKE * one.norm())
                   for one, other in pairs)


class _Reader:
    """Reads stages as layers, and counts how often each weight is used."""

    def __init__(self, used: Sequence[Used], rows: Sequence[Weights]) -> None:
        self.known: dict[tuple[torch.Size, float], list[tuple[Weights, torch.Tensor]]] = {}
        for one, row in zip(used, rows, strict=True):
            self.known.setdefault(_key(one.weight), []).append((row, one.weight))
        self.read: list[tuple[Weights, torch.Tensor]] = []
        self.uneven: list[str] = []
        self.shifted: list[str] = []

    def parts(self, path: Steps, shape: Shape) -> Iterator[Part]:
        """Yield the layers of a path whose input has this shape."""
        for run in runs(path, shape):
            if (layers := self._together(run, shape)) is not None:
                yield from (Part(layer, run[0].name, run[0].where) for layer in layers)
                continue
            for step in run:
                if isinstance(step, Sum):
                    yield from self._block(step, shape)
                else:
                    for layer in self._layers(step, shape):
                        yield Part(layer, step.name, step.where)
                shape = step.shape

    def _together(self, run: Steps, shape: Shape) -> Sequence[Layer | None] | None:
        """Return the layers of steps that act entry by entry as one function; None where each is a layer by itself."""
        if len(run) < 2 and not (isinstance(run[0], Sum) and may_be_pointwise(run[0], shape)):
            return None
        layers = list[Layer | None]()
        if not any(isinstance(step, Sum) for step in run):
            try:
                layers = [layer for step in run if isinstance(step, Stage) for layer in self._layers(step, shape)]
            except UnsupportedStructure:
                layers = []
            if layers and sum(isinstance(layer, Activation) for layer in layers) < 2 and not any(
                    isinstance(one, Scale) and isinstance(other, Scale) for one, other in pairwise(layers)):
                return None
        return pointwise.read(lambda x: replayed(run, x), shape, "_".join(step.name for step in run))

    def _block(self, step: Sum, shape: Shape) -> Iterator[Part]:
        """Yield a residual block; the branch is the one with more weights."""
        both = [[*self.parts(branch, shape)] for branch in step.branches]
        depth = [sum(part.layer is not None and part.layer.mixes for part in parts) for parts in both]
        branch, shortcut = both if depth[0] > depth[1] else both[::-1]
        off = any(part.layer is None for part in branch)
        layers = [part.layer for part in branch if part.layer is not None]
        past = [part.layer for part in shortcut if part.layer is not None]
        if not layers or len(past) < len(shortcut):
            raise UnsupportedStructure(f"{step.name}{_at(step.where)}: a sum of which one term is a multiple of the "
                                       "other is no residual block")
        scale, last = 1.0, layers[-1]
        if isinstance(last, Scale) and len(layers) > 1:
            scale, layers = float(last.a), layers[:-1]
        name = branch[0].name.rpartition(".")[0] or step.name
        yield Part(Residual(layers, 0.0 if off else scale, past), name, step.where)

    def _layers(self, stage: Stage, shape: Shape) -> list[Layer | None]:
        module = stage.module
        try:
            if module is not None and (reader := reader_of(module)) is not None:
                found: list[Layer | None] = [*layers_by(reader, module, shape)]
            elif module is not None and (not altered(module) or only_computes(module)):
                row = None
                if isinstance(module, nn.Linear | nn.Conv2d):
                    row, weight = self._row(module, stage.name)
                    self.read.append((row, weight))
                if (spread := _spread(module)) > _SPREAD:
                    self.uneven.append(f"{stage.name} ({spread:.2g})")
                if _shifts(module):
                    self.shifted.append(stage.name)
                found = layers_of(module, shape, stage.shape, row)
            else:
                found = layers_of_call(stage, shape)
            for layer in found:
                shape = shape if layer is None else layer.output_shape(shape)
            if shape != stage.shape:
                raise UnsupportedStructure(f"it makes {stage.shape} of its input, what it looks like makes {shape}")
            return found
        except (ValueError, RuntimeError) as error:  # the latter of a call in another precision
            raise UnsupportedStructure(f"{stage.name}{_at(stage.where)}: {error}") from None

    def _row(self, module: nn.Linear | nn.Conv2d, name: str) -> tuple[Weights, torch.Tensor]:
        """Return what is known of the weight of a layer, and the weight as it acts."""
        weight = computed(module).get("weight", module.weight)
        alike = self.known.get(_key(weight), [])
        same = [pair for pair in alike if pair[1] is weight] or [
            (row, weight) for row, other in alike if torch.equal(other, weight)]
        return same[0] if same else (replace(next(row for row in weights(module) if row.name == "weight"), name=name),
                                     weight)

    def warnings(self) -> Iterator[str]:
        """Yield what the network leaves out."""
        odd = [f"{row.name} ({row.odd})" for row in dict.fromkeys(row for row, _ in self.read) if row.odd]
        if odd:
            yield (f"the weights of {_listed(odd)} are no longer random: the law is that of random weights of their "
                   "variance")
        places = [weight.untyped_storage().data_ptr() for _, weight in self.read]
        times = Counter(places)
        shared = dict.fromkeys(row.name for (row, _), place in zip(self.read, places, strict=True) if times[place] > 1)
        if shared:
            yield f"{_listed([*shared])}: weights that are used more than once are taken as independent of each other"
        if self.uneven:
            yield f"{_listed(self.uneven)}: weights of a normalization that differ are taken as their root mean square"
        if self.shifted:
            yield (f"{_listed(self.shifted)}: biases with a mean of their own (of a normalization: all) are left out "
                   "or taken as random")


def _key(weight: torch.Tensor) -> tuple[torch.Size, float]:
    """Return something that equal weights share, and others seldom."""
    return weight.shape, float(weight.detach().flatten()[0]) if weight.numel() else 0.0


def _shifts(module: nn.Module) -> bool:
    """Whether the biases move the signal to one side: those of a normalization, or a mean far beyond their scatter."""
    bias = getattr(module, "bias", None)
    if not isinstance(bias, torch.Tensor) or not bias.any():
        return False
    values = bias.detach().double()
    mean, size = float(values.mean()), float(values.square().mean().sqrt())
    scatter = float(values.std(correction=0)) / len(values) ** 0.5
    return isinstance(module, NORMS) or abs(mean) > max(_SIDE * size, 5 * scatter)


def _at(where: str) -> str:
    return f" ({where})" if where else ""


def _listed(names: Sequence[str]) -> str:
    return ", ".join([*names[:3], f"{len(names) - 3} more"] if len(names) > 4 else names)


def _spread(module: nn.Module) -> float:
    """Return the relative standard deviation of a normalization's weights."""
    weight = getattr(module, "weight", None)
    if not isinstance(module, NORMS) or not isinstance(weight, torch.Tensor) or not weight.any():
        return 0.0
    values = weight.detach().double()
    return float(values.std(correction=0) / values.square().mean().sqrt())
