"""From torch modules to the layers of rmt that they are: one registered reader a module, as `modules` builds them."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import suppress
from functools import singledispatch
from typing import Any, cast

import torch
from torch import nn

from empirical.functions import REARRANGING
from empirical.graph import Stage
from empirical.modules import Elementwise, Scaling
from empirical.pointwise import read
from empirical.weights import Weights
from rmt.networks import activations, schemes
from rmt.networks.convolution import AvgPool2d, Conv2d
from rmt.networks.layers import Activation, Dense, Dropout, Flatten, Layer, Scale, UnsupportedStructure
from rmt.networks.normalization import BatchNorm, LayerNorm, RMSNorm
from rmt.networks.schemes import Scheme

Shape = tuple[int, ...]

_KEPT = {"pad", "contiguous", "clone", "to", "float", "double"}


def _refused(what: str) -> UnsupportedStructure:
    return UnsupportedStructure(f"{what}; empirical.log_singular_values measures it, and between= what is before it or "
                                "behind it")


@singledispatch
def layers_of(module: nn.Module, shape: Shape, after: Shape, row: Weights | None) -> list[Layer | None]:
    """Return the layers that a torch module is, for an input of this shape; None for a factor of zero."""
    if shape == after and (found := read(module, shape, type(module).__name__)) is not None:
        return found
    raise _refused(f"{type(module).__name__} is no layer of rmt")


def _scheme(row: Weights | None) -> tuple[Scheme, float]:
    """Return a scheme of the measured variance, and the standard deviation of the bias that it does not bring."""
    assert row is not None
    if row.scheme is None:
        kind = schemes.uniform if row.entries == "uniform" else schemes.gaussian
        return kind(float(f"{row.sigma_w:.6g}")), row.bias_std
    return row.scheme, 0.0 if row.scheme.bias_gain_squared else row.bias_std


@layers_of.register
def _(module: nn.Linear, shape: Shape, after: Shape, row: Weights | None) -> list[Layer | None]:
    if len(shape) != 1:
        raise _refused(f"Linear on the last axis of {shape}: the same weights act at every place")
    if row is not None and row.entries == "zero":
        return [Dense(module.out_features, "lecun_normal"), None]
    return [Dense(module.out_features, *_scheme(row))]


@layers_of.register
def _(module: nn.Conv2d, shape: Shape, after: Shape, row: Weights | None) -> list[Layer | None]:
    if module.dilation not in (1, (1, 1)):
        raise _refused(f"Conv2d with dilation {module.dilation} is no layer of rmt")
    kernel, stride = cast(tuple[int, int], module.kernel_size), cast(tuple[int, int], module.stride)
    padding: str | int | tuple[int, ...] = (0, 0) if module.padding == "valid" else module.padding
    if isinstance(padding, tuple):
        same = stride == (1, 1) and any(padding) and all(k == 2 * p + 1 for k, p in zip(kernel, padding, strict=True))
        if not same and len({*padding}) > 1:
            raise _refused(f"Conv2d with padding {padding} is no layer of rmt")
        padding = "same" if same else padding[0]
    if len({*stride}) > 1:
        raise _refused(f"Conv2d with stride {stride} is no layer of rmt")
    off = row is not None and row.entries == "zero"
    init, bias = (schemes.lecun_normal(), 0.0) if off else _scheme(row)
    layer = Conv2d(module.out_channels, kernel, stride[0], padding, module.padding_mode,
                   module.groups, init, bias)
    return [layer, None] if off else [layer]


@layers_of.register(nn.BatchNorm1d)
@layers_of.register(nn.BatchNorm2d)
def _(module: nn.BatchNorm2d, shape: Shape, after: Shape, row: Weights | None) -> list[Layer | None]:
    weight = _size(module.weight)
    return [BatchNorm(weight, module.eps)] if weight else [BatchNorm(1.0, module.eps), None]


@layers_of.register
def _(module: nn.LayerNorm, shape: Shape, after: Shape, row: Weights | None) -> list[Layer | None]:
    return _normalized(LayerNorm(module.eps), module, tuple(module.normalized_shape), shape)


@layers_of.register
def _(module: nn.RMSNorm, shape: Shape, after: Shape, row: Weights | None) -> list[Layer | None]:
    eps = torch.finfo(torch.get_default_dtype()).eps if module.eps is None else module.eps
    return _normalized(RMSNorm(eps), module, tuple(module.normalized_shape), shape)


@layers_of.register
def _(module: nn.GroupNorm, shape: Shape, after: Shape, row: Weights | None) -> list[Layer | None]:
    if module.num_groups > 1:
        raise _refused(f"GroupNorm of {module.num_groups} groups is no layer of rmt")
    return _normalized(LayerNorm(module.eps), module, shape, shape)


def _normalized(layer: Layer, module: Any, over: Shape, shape: Shape) -> list[Layer | None]:
    if over != shape:
        raise _refused(f"{layer} over {over} of {shape}: every place has a scale of its own")
    weight = _size(module.weight)
    return [layer, None] if not weight else [layer] if weight == 1 else [layer, Scale(weight)]


def _size(weight: torch.Tensor | None) -> float:
    """Return the root mean square of a normalization's weights, 1 without."""
    return 1.0 if weight is None else float(f"{weight.detach().double().square().mean().sqrt():.6g}")


@layers_of.register
def _(module: nn.Dropout, shape: Shape, after: Shape, row: Weights | None) -> list[Layer | None]:
    if module.training and module.p:
        raise _refused("a dropout that acts in evaluation, too, is no layer of rmt")
    return [] if module.p == 0 else [None] if module.p == 1 else [Dropout(module.p)]


@layers_of.register
def _(module: nn.Identity, shape: Shape, after: Shape, row: Weights | None) -> list[Layer | None]:
    return []


@layers_of.register
def _(module: Scaling, shape: Shape, after: Shape, row: Weights | None) -> list[Layer | None]:
    return [None] if module.a == 0 else [] if module.a == 1 else [Scale(module.a)]


@layers_of.register
def _(module: nn.Flatten, shape: Shape, after: Shape, row: Weights | None) -> list[Layer | None]:
    if len(after) != 1:
        raise _refused(f"Flatten from {shape} to {after} keeps an axis")
    return [Flatten()] if len(shape) > 1 else []


@layers_of.register(nn.AvgPool2d)
@layers_of.register(nn.AdaptiveAvgPool2d)
def _(module: nn.Module, shape: Shape, after: Shape, row: Weights | None) -> list[Layer | None]:
    sizes = {n // m if n % m == 0 else 0 for n, m in zip(shape[1:], after[1:], strict=True)}
    size = sizes.pop()
    apart = not isinstance(module, nn.AvgPool2d) or (module.kernel_size in (size, (size, size)) and not any(
        [module.padding] if isinstance(module.padding, int) else module.padding) and module.divisor_override is None)
    if sizes or not size or not apart:
        raise _refused(f"{type(module).__name__} from {shape} to {after} is no average over squares")
    return [AvgPool2d(size)] if size > 1 else []


@layers_of.register
def _(module: Elementwise, shape: Shape, after: Shape, row: Weights | None) -> list[Layer | None]:
    if module.function is torch.erf:
        return [Activation("erf")]
    name = getattr(module.function, "__name__", type(module.function).__name__)
    if (found := read(module, shape, name)) is not None:
        return found
    raise _refused(f"{name} is no activation of rmt (its `custom` makes one)")


_ACTIVATIONS: dict[type[nn.Module], Callable[[Any], activations.ActivationFunction | None]] = {
    nn.ReLU: lambda _: activations.relu,
    nn.LeakyReLU: lambda module: activations.leaky_relu(module.negative_slope),
    nn.ELU: lambda module: activations.elu if module.alpha == 1 else None,
    nn.SELU: lambda _: activations.selu,
    nn.GELU: lambda _: activations.gelu,  # its approximation by tanh is within 5e-4
    nn.SiLU: lambda _: activations.silu,
    nn.Tanh: lambda _: activations.tanh,
    nn.Sigmoid: lambda _: activations.sigmoid,
    nn.Softplus: lambda module: activations.softplus if module.beta == 1 and module.threshold >= 15 else None,
    nn.Hardtanh: lambda module: activations.hardtanh if (module.min_val, module.max_val) == (-1, 1) else None,
}


def _activation(module: nn.Module, shape: Shape, after: Shape, row: Weights | None) -> list[Layer | None]:
    make = _ACTIVATIONS.get(type(module))
    phi = make(module) if make else None
    if phi is not None:
        return [Activation(phi)]
    if (found := read(module, shape, type(module).__name__)) is not None:
        return found
    raise _refused(f"{module} is no activation of rmt (its `custom` makes one)")


for _kind in _ACTIVATIONS:
    layers_of.register(_kind)(_activation)


def _ordered(stage: Stage, shape: Shape) -> torch.Tensor | None:
    """Return a signal of different entries, in a precision in which the stage runs."""
    for dtype in (torch.float64, torch.float32):
        signal = torch.arange(math.prod(shape), dtype=dtype).reshape(1, *shape)
        with suppress(RuntimeError):
            stage.call(signal.clone())
            return signal
    return None


def layers_of_call(stage: Stage, shape: Shape) -> list[Layer | None]:
    """Return the layers of a call that is no module's."""
    name = "_".join(stage.parts) or stage.function
    if name and stage.shape == shape and stage.function not in REARRANGING | _KEPT | {"add", "sub"}:
        if (found := read(stage.call, shape, name)) is not None:
            return found
    if stage.parts:
        raise _refused(f"{stage.name} is no layer of rmt, nor a sum of branches")
    ordered = _ordered(stage, shape)
    if ordered is None:
        raise _refused(f"{stage.name} runs in no precision that is known here")
    if stage.function == "mean" and len(shape) == 3 and stage.shape in (shape[:1], (shape[0], 1, 1)) and torch.equal(
            stage.call(ordered).flatten(), ordered.mean((2, 3)).flatten()):
        return [*layers_of(nn.AdaptiveAvgPool2d(1), shape, (shape[0], 1, 1), None),
                *([Flatten()] if len(stage.shape) == 1 else [])]
    if stage.function in REARRANGING | _KEPT:
        kept = torch.equal(stage.call(ordered).flatten(), ordered.flatten())
        if kept and stage.shape == shape:
            return []
        if kept and len(stage.shape) == 1:
            return [Flatten()]
        raise _refused(f"{stage.function} from {shape} to {stage.shape} is no layer of rmt")
    if stage.function in ("add", "sub"):
        if torch.equal(stage.call(ordered), ordered):
            return []
        raise _refused(f"{stage.function} of a constant (positions, say) is no layer of rmt")
    raise _refused(f"{stage.function or 'a module with hooks'} is no layer of rmt")
