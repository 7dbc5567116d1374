"""From a network's description to a torch module: one registered builder a layer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import singledispatch
from typing import cast

import torch
from torch import nn

from rmt.checks import integer
from rmt.networks.activations import ActivationFunction, Custom, LeakyReLU, Member, Pointwise, Scaled
from rmt.networks.convolution import AvgPool2d, Conv2d
from rmt.networks.layers import Activation, Dense, Dropout, Flatten, Layer, Scale, Weighted
from rmt.networks.network import Network
from rmt.networks.normalization import BatchNorm, LayerNorm, RMSNorm
from rmt.networks.residual import Residual
from rmt.networks.schemes import Scheme


def build(network: Network, seed: int, device: str | torch.device = "cpu",
          dtype: str | torch.dtype = "float64") -> nn.Sequential:
    """Return a torch module drawn at random from a network's initialization.

    Weights are drawn on the CPU in float64, so the same seed gives the same network on every device and,
    up to rounding, in every dtype. The module is in evaluation mode.

    Parameters
    ----------
    network : Network
        What to build.
    seed : int
        At least 0; it alone decides the weights. The global random state is neither read nor changed.
    device, dtype
        Where the module goes and its precision, "float64" or "float32".
    """
    generator = torch.Generator().manual_seed(integer("seed", seed, 0) % 2**63)
    return sequence(network.layers, network.input_shape, generator).to(device=device, dtype=torch_dtype(dtype)).eval()


def sequence(layers: Sequence[Layer], shape: tuple[int, ...], generator: torch.Generator) -> nn.Sequential:
    """Return the modules of layers, one behind the other."""
    modules = []
    for layer in layers:
        modules.append(module_of(layer, shape, generator))
        shape = layer.output_shape(shape)
    return nn.Sequential(*modules)


def torch_dtype(dtype: str | torch.dtype) -> torch.dtype:
    """Return a floating torch dtype from it or its name."""
    found = getattr(torch, dtype, None) if isinstance(dtype, str) else dtype
    if found not in (torch.float64, torch.float32):
        raise ValueError(f"dtype must be 'float64' or 'float32', got {dtype!r}")
    return found


@singledispatch
def module_of(layer: Layer, shape: tuple[int, ...], generator: torch.Generator) -> nn.Module:
    """Return the torch module of a layer whose input has this shape."""
    raise TypeError(f"no torch module is registered for {layer!r}")


@module_of.register
def _(layer: Dense, shape: tuple[int, ...], generator: torch.Generator) -> nn.Module:
    bias = layer.bias_variance(shape[0]) > 0
    linear = nn.utils.skip_init(nn.Linear, shape[0], layer.width, bias=bias, dtype=torch.float64)
    return _drawn(linear, layer, shape, generator)


@module_of.register
def _(layer: Conv2d, shape: tuple[int, ...], generator: torch.Generator) -> nn.Module:
    bias = layer.bias_variance(layer.fans(shape)[0]) > 0
    convolution = nn.utils.skip_init(
        nn.Conv2d, shape[0], layer.channels, layer.kernel, layer.stride, layer.padding, groups=layer.groups, bias=bias,
        padding_mode=layer.padding_mode, dtype=torch.float64)
    return _drawn(convolution, layer, shape, generator)


def _drawn(module: nn.Linear | nn.Conv2d, layer: Weighted, shape: tuple[int, ...],
           generator: torch.Generator) -> nn.Module:
    fan_in, fan_out = layer.fans(shape)
    draw(module.weight, layer.scheme, generator, fan_in, fan_out, getattr(module, "groups", 1))
    bias = layer.bias_variance(fan_in) ** 0.5
    if layer.scheme.bias_gain_squared:
        nn.init.uniform_(cast(torch.Tensor, module.bias), -(3**0.5) * bias, 3**0.5 * bias, generator=generator)
    elif bias:
        nn.init.normal_(cast(torch.Tensor, module.bias), 0.0, bias, generator=generator)
    return module


@module_of.register
def _(layer: Activation, shape: tuple[int, ...], generator: torch.Generator) -> nn.Module:
    return function_of(layer.phi)


@module_of.register
def _(layer: Scale, shape: tuple[int, ...], generator: torch.Generator) -> nn.Module:
    return nn.Identity() if layer.a == 1 else Scaling(float(layer.a))


@module_of.register
def _(layer: Flatten, shape: tuple[int, ...], generator: torch.Generator) -> nn.Module:
    return nn.Flatten()


@module_of.register
def _(layer: AvgPool2d, shape: tuple[int, ...], generator: torch.Generator) -> nn.Module:
    return nn.AvgPool2d(layer.kernel_size)


@module_of.register
def _(layer: BatchNorm, shape: tuple[int, ...], generator: torch.Generator) -> nn.Module:
    kind = nn.BatchNorm2d if len(shape) == 3 else nn.BatchNorm1d
    module = kind(shape[0], float(layer.eps))
    nn.init.constant_(module.weight, float(layer.weight))
    return module


@module_of.register
def _(layer: LayerNorm, shape: tuple[int, ...], generator: torch.Generator) -> nn.Module:
    return nn.LayerNorm(shape, float(layer.eps))


@module_of.register
def _(layer: RMSNorm, shape: tuple[int, ...], generator: torch.Generator) -> nn.Module:
    return nn.RMSNorm(shape, float(layer.eps))


@module_of.register
def _(layer: Residual, shape: tuple[int, ...], generator: torch.Generator) -> nn.Module:
    return ResidualBlock(sequence(layer.layers, shape, generator), sequence(layer.shortcut, shape, generator),
                         float(layer.scale))


@module_of.register
def _(layer: Dropout, shape: tuple[int, ...], generator: torch.Generator) -> nn.Module:
    return nn.Dropout(float(layer.p))


@singledispatch
def function_of(phi: ActivationFunction) -> nn.Module:
    """Return the torch module of an activation function."""
    raise TypeError(f"no torch module is registered for {phi!r}")


@function_of.register
def _(phi: LeakyReLU) -> nn.Module:
    if phi.a == 1:
        return nn.Identity()
    return nn.LeakyReLU(float(phi.a)) if phi.a else nn.ReLU()


_MODULES: dict[str, Callable[..., nn.Module]] = {
    "elu": nn.ELU, "celu": nn.CELU, "selu": nn.SELU, "gelu": nn.GELU, "silu": nn.SiLU, "mish": nn.Mish, "tanh": nn.Tanh,
    "hardtanh": nn.Hardtanh, "relu6": nn.ReLU6, "hardswish": nn.Hardswish, "sigmoid": nn.Sigmoid,
    "hardsigmoid": nn.Hardsigmoid, "logsigmoid": nn.LogSigmoid, "softplus": nn.Softplus, "softsign": nn.Softsign,
    "tanhshrink": nn.Tanhshrink, "softshrink": nn.Softshrink, "hardshrink": nn.Hardshrink, "threshold": nn.Threshold,
    "erf": lambda: Elementwise(torch.erf), "sin": lambda: Elementwise(torch.sin),
    "relu_squared": lambda: Elementwise(_relu_squared),
}


def _relu_squared(x: torch.Tensor) -> torch.Tensor:
    return torch.relu(x).square()


@function_of.register
def _(phi: Pointwise) -> nn.Module:
    return _MODULES[phi.name]()


@function_of.register
def _(phi: Member) -> nn.Module:
    return _MODULES[phi.family](*map(float, phi.parameters))


@function_of.register
def _(phi: Scaled) -> nn.Module:
    if phi.family in ("celu", "softplus"):  # which torch has with the parameter
        return _MODULES[phi.family](*map(float, phi.parameters))
    return Dilated(function_of(phi.base), float(phi.inner), float(phi.outer))


@function_of.register
def _(phi: Custom) -> nn.Module:
    function = phi.torch
    if function is None:
        raise ValueError(f"{phi!r} has no torch function: give custom(..., torch=) a module or a function of tensors")
    return Elementwise(function() if isinstance(function, type) else function)


class Elementwise(nn.Module):
    """A function of tensors that acts on every entry alone, as a module."""

    def __init__(self, function: Callable[[torch.Tensor], torch.Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return function(x)."""
        return self.function(x)


class Dilated(nn.Module):
    """outer * function(inner * x), of a module that acts on every entry alone."""

    function: nn.Module

    def __init__(self, function: nn.Module, inner: float, outer: float) -> None:
        super().__init__()
        self.function, self.inner, self.outer = function, inner, outer

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return outer * function(inner * x)."""
        y: torch.Tensor = self.function(self.inner * x)
        return y if self.outer == 1 else self.outer * y

    def extra_repr(self) -> str:
        """Return the two numbers."""
        return f"inner={self.inner:g}, outer={self.outer:g}"


class ResidualBlock(nn.Module):
    """shortcut(x) + scale * branch(x)."""

    branch: nn.Sequential
    shortcut: nn.Sequential
    scale: float

    def __init__(self, branch: nn.Sequential, shortcut: nn.Sequential, scale: float) -> None:
        super().__init__()
        self.branch, self.shortcut, self.scale = branch, shortcut, scale

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return shortcut(x) + scale * branch(x)."""
        return self.shortcut(x) + self.scale * self.branch(x)


class Scaling(nn.Module):
    """Multiplication by a number."""

    def __init__(self, a: float) -> None:
        super().__init__()
        self.a = a

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return a x."""
        return self.a * x


def draw(weight: torch.Tensor, scheme: Scheme, generator: torch.Generator, fan_in: int, fan_out: int,
         groups: int = 1) -> None:
    """Fill a matrix (outputs, inputs) or a kernel (outputs, inputs, height, width), by torch's own functions."""
    std, gain = float(scheme.variance(fan_in, fan_out)) ** 0.5, float(scheme.gain_squared) ** 0.5
    match scheme.entries:
        case "orthogonal":
            nn.init.orthogonal_(weight, gain, generator=generator)
        case "delta":
            nn.init.zeros_(weight)
            row, column = ((n - 1) // 2 for n in weight.shape[2:])
            for block in weight.detach().chunk(groups):
                centre = nn.init.orthogonal_(torch.empty_like(block[:, :, 0, 0]), gain, generator=generator)
                block[:, :, row, column] = centre
        case "uniform":
            nn.init.uniform_(weight, -(3**0.5) * std, 3**0.5 * std, generator=generator)
        case "truncated":
            nn.init.trunc_normal_(weight, 0.0, scheme.numbers[0], -scheme.numbers[1], scheme.numbers[1], generator)
        case "sparse":  # torch.nn.init.sparse_ takes its zeros from the global random state
            nn.init.normal_(weight, 0.0, scheme.numbers[1], generator=generator)
            order = torch.rand(fan_out, fan_in, dtype=torch.float64, generator=generator).argsort(dim=0)
            with torch.no_grad():
                weight[order < scheme.zeros(fan_out)] = 0.0
        case _:
            nn.init.normal_(weight, 0.0, std, generator=generator)
