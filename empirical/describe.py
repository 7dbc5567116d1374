"""A module that exists already, as a `rmt.Network`: its layers, and schemes that draw weights like its own."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import cast

import torch
from torch import nn

from empirical.graph import Stage, Steps, Sum, Untraceable
from empirical.jacobian import as_found, evaluating
from empirical.layers import Shape, layers_of, layers_of_call
from empirical.sequential import has_hooks
from empirical.trace import traced
from empirical.weights import Weights, tensors, weights
from rmt.checks import integer
from rmt.networks.layers import Layer, Scale, UnsupportedStructure
from rmt.networks.network import Network
from rmt.networks.residual import Residual

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


def describe(module: nn.Module, input_shape: int | Sequence[int]) -> Network:
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

    Raises
    ------
    UnsupportedStructure
        If some part of it is no layer of rmt; the message names the part and the line that calls it.
    """
    found = described(module, input_shape)
    for warning in found.warnings:
        warnings.warn(warning, stacklevel=2)
    return found.network


def described(module: nn.Module, input_shape: int | Sequence[int]) -> Description:
    """Return `describe`'s network with where its layers were read, its weights, and its warnings."""
    shape = tuple(integer("input_shape", n) for n in (
        input_shape if isinstance(input_shape, Sequence) else (input_shape,)))
    if not isinstance(module, nn.Module):
        raise TypeError(f"module must be a torch.nn.Module, got {module!r}")
    rows = weights(module)
    with evaluating(module):
        reader = _Reader(module, dict(zip((id(weight) for _, _, weight, _ in tensors(module)), rows, strict=True)))
        parts = tuple(reader.parts(_path(module, shape), shape))
    for part in parts:
        if part.layer is None:
            raise UnsupportedStructure(f"{part.at}: everything behind it is multiplied by zero")
    network = Network(shape, [cast(Layer, part.layer) for part in parts])
    return Description(network, parts, rows, tuple(reader.warnings()))


def _path(module: nn.Module, shape: Shape) -> Steps:
    """Return the stages of a module."""
    first = next((value for value in module.parameters() if value.is_floating_point()), torch.zeros(()))
    generator = torch.Generator().manual_seed(0)
    x = torch.randn((1, *shape), generator=generator).to(first)
    with as_found(module, x):
        try:
            return traced(module, x).path(x)
        except Untraceable as error:
            raise UnsupportedStructure(f"the module cannot be read: {error}") from None
        except RuntimeError as error:
            raise ValueError(f"input_shape {shape} does not fit the module: {str(error).splitlines()[0]}") from None


class _Reader:
    """Reads stages as layers, and counts how often each weight is used."""

    def __init__(self, module: nn.Module, rows: Mapping[int, Weights]) -> None:
        self.rows, self.used = rows, Counter[str]()
        self.named = {id(part): name for name, part in module.named_modules()}
        self.uneven: list[str] = []

    def parts(self, path: Steps, shape: Shape) -> Iterator[Part]:
        """Yield the layers of a path whose input has this shape."""
        for step in path:
            if isinstance(step, Sum):
                yield from self._block(step, shape)
            else:
                for layer in self._layers(step, shape):
                    yield Part(layer, step.name, step.where)
            shape = step.shape

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
            if module is not None and not has_hooks(module):
                weight = getattr(module, "weight", None)
                row = self.rows.get(id(weight)) or _row_of(module)
                if row is not None and isinstance(module, nn.Linear | nn.Conv2d):
                    self.used[row.name] += 1
                if (spread := _spread(module)) > _SPREAD:
                    self.uneven.append(f"{stage.name} ({spread:.2g})")
                return layers_of(module, shape, stage.shape, row)
            return layers_of_call(stage, shape)
        except UnsupportedStructure as error:
            raise UnsupportedStructure(f"{stage.name}{_at(stage.where)}: {error}") from None

    def warnings(self) -> Iterator[str]:
        """Yield what the network leaves out."""
        odd = [f"{row.name} ({row.odd})" for row in self.rows.values() if row.odd and self.used[row.name]]
        if odd:
            yield (f"the weights of {_listed(odd)} are no longer random: the law is that of random weights of their "
                   "variance")
        shared = [name for name, count in self.used.items() if count > 1]
        if shared:
            yield f"{_listed(shared)}: weights that are used more than once are taken as independent of each other"
        if self.uneven:
            yield f"{_listed(self.uneven)}: weights of a normalization that differ are taken as their root mean square"


def _row_of(module: nn.Module) -> Weights | None:
    """Return the row of a layer whose weight is computed anew at every call, as a parametrized one's is."""
    if not isinstance(module, nn.Linear | nn.Conv2d):
        return None
    return next(row for row in weights(module) if row.name == "weight")


def _at(where: str) -> str:
    return f" ({where})" if where else ""


def _listed(names: Sequence[str]) -> str:
    return ", ".join([*names[:3], f"{len(names) - 3} more"] if len(names) > 4 else names)


def _spread(module: nn.Module) -> float:
    """Return the relative standard deviation of a normalization's weights."""
    weight = getattr(module, "weight", None)
    norms = (nn.modules.batchnorm._BatchNorm, nn.LayerNorm, nn.RMSNorm, nn.GroupNorm)
    if not isinstance(module, norms) or not isinstance(weight, torch.Tensor) or not weight.any():
        return 0.0
    values = weight.detach().double()
    return float(values.std(correction=0) / values.square().mean().sqrt())
