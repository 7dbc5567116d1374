"""Functions of a trace by their names: which change a tensor in place, and which do what a torch module does."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import fx, nn

from empirical.modules import Elementwise, Scaling

_IN_PLACE = {operator.iadd: "add", operator.isub: "sub", operator.imul: "mul", operator.itruediv: "div"}

# Functions that act on every entry alone, besides those that are modules: their Jacobian is a diagonal.
ELEMENTWISE = {"add", "sub", "rsub", "mul", "div", "truediv", "true_divide", "neg", "pow", "square", "exp", "expm1",
               "log", "log1p", "sin", "cos", "sinh", "cosh", "atan", "abs", "clamp", "sqrt", "rsqrt",
               "reciprocal", "softsign", "mish", "hardswish", "relu6", "logsigmoid", "alpha_dropout", "to", "float",
               "double", "clone"}

# Functions that only put entries elsewhere, repeat them or leave some out.
REARRANGING = {"flatten", "reshape", "view", "permute", "transpose", "contiguous", "squeeze", "unsqueeze", "getitem",
               "select", "narrow", "slice", "expand", "expand_as", "movedim", "swapaxes", "unflatten", "view_as",
               "reshape_as", "T", "mT", "flip", "roll", "t", "pixel_shuffle", "pixel_unshuffle", "channel_shuffle"}


def called(node: fx.Node) -> str:
    """Return the name of the function or method that a node calls, without its marks; "" of other nodes."""
    if node.op not in ("call_function", "call_method"):
        return ""
    if node.target in _IN_PLACE:
        return _IN_PLACE[node.target]
    if node.target is getattr:
        return str(node.args[1])
    return _plain(node).rstrip("_") or _plain(node)


def _plain(node: fx.Node) -> str:
    """Return the name of what a node calls, without torch's name of the overload."""
    name = node.target if isinstance(node.target, str) else getattr(node.target, "__name__", "")
    return name.partition(".")[0]


def in_place(node: fx.Node, module: nn.Module) -> bool:
    """Whether a node overwrites what it reads."""
    if node.op == "call_module":
        return bool(getattr(module.get_submodule(str(node.target)), "inplace", False))
    if node.op not in ("call_function", "call_method"):
        return False
    plain = _plain(node)
    return node.target in _IN_PLACE or bool(node.kwargs.get("inplace")) or "out" in node.kwargs or (
        plain.endswith("_") and not plain.endswith("__"))


def as_module(node: fx.Node, signal: fx.Node, values: Mapping[fx.Node, Any]) -> nn.Module | None:
    """Return a module that does to the signal what a function call does; None where none is known."""
    args, kwargs = fx.node.map_arg((node.args, node.kwargs), lambda read: read if read is signal else values[read])
    name = called(node)
    if str(node.target) == "aten.batch_norm.default":  # its arguments are in another order
        name = "aten.batch_norm"
    if name == "mul" and args and args[-1] is signal and not kwargs:
        args = args[::-1]
    make = _MODULES.get(name)
    if make is None or not args or args[0] is not signal or any(
            value is signal for value in (*args[1:], *kwargs.values())):
        return None
    if make in (_scaling, _division) and values[node].shape != values[signal].shape:
        return None
    try:
        with torch.no_grad():
            return make(*args[1:], **kwargs)
    except TypeError:  # arguments that no module has
        return None


def _weights(module: nn.Module, weight: Any, bias: Any) -> nn.Module:
    """Put the function's own tensors into a module."""
    for name, value in (("weight", weight), ("bias", bias)):
        module.register_parameter(name, None if value is None else
                                  value if isinstance(value, nn.Parameter) else nn.Parameter(value, False))
    return module.eval()


def _linear(weight: torch.Tensor, bias: torch.Tensor | None = None) -> nn.Module:
    return _weights(nn.Linear(weight.shape[1], weight.shape[0], device="meta"), weight, bias)


def _conv2d(weight: torch.Tensor, bias: torch.Tensor | None = None, stride: Any = 1, padding: Any = 0,
            dilation: Any = 1, groups: int = 1) -> nn.Module:
    stride, padding, dilation = (tuple(size) * (1 if len(size) > 1 else 2) if isinstance(size, tuple | list) else size
                                 for size in (stride, padding, dilation))
    height, width = weight.shape[2:]
    return _weights(nn.Conv2d(weight.shape[1] * groups, weight.shape[0], (height, width), stride, padding, dilation,
                              groups, device="meta"), weight, bias)


def _layer_norm(shape: Any, weight: Any = None, bias: Any = None, eps: float = 1e-5, *_: Any) -> nn.Module:
    return _weights(nn.LayerNorm(tuple(shape), eps), weight, bias)


def _rms_norm(shape: Any, weight: Any = None, eps: float | None = None) -> nn.Module:
    return _weights(nn.RMSNorm(tuple(shape), eps), weight, None)


def _batch_norm(mean: Any, variance: Any, weight: Any = None, bias: Any = None, training: bool = False,
                momentum: float = 0.1, eps: float = 1e-5) -> nn.Module:
    module = _weights(nn.BatchNorm2d(len(mean), eps), weight, bias)
    module.running_mean, module.running_var = mean, variance
    return module.train(training)


def _dropout(p: float = 0.5, training: bool = True, inplace: bool = False) -> nn.Module:
    return nn.Dropout(p).train(training)


def _scaling(a: Any) -> nn.Module | None:
    """A number, or a tensor of equal ones."""
    if isinstance(a, torch.Tensor):
        values = a.detach().flatten()
        return Scaling(float(values[0])) if len(values) and bool((values == values[0]).all()) else None
    return Scaling(float(a)) if isinstance(a, int | float) else None


def _division(a: Any) -> nn.Module | None:
    return _scaling(1 / a) if isinstance(a, torch.Tensor | int | float) and torch.as_tensor(a).all() else None


_MODULES: dict[str, Callable[..., nn.Module | None]] = {
    "linear": _linear, "conv2d": _conv2d, "layer_norm": _layer_norm, "rms_norm": _rms_norm, "batch_norm": _batch_norm,
    "aten.batch_norm": lambda weight, bias, mean, variance, training, momentum, eps, _=None: _batch_norm(
        mean, variance, weight, bias, training, momentum, eps),
    "dropout": _dropout,
    "relu": lambda inplace=False: nn.ReLU(),
    "leaky_relu": lambda negative_slope=0.01, inplace=False: nn.LeakyReLU(negative_slope),
    "elu": lambda alpha=1.0, inplace=False: nn.ELU(alpha),
    "selu": lambda inplace=False: nn.SELU(),
    "gelu": lambda approximate="none": nn.GELU(approximate),
    "silu": lambda inplace=False: nn.SiLU(),
    "tanh": nn.Tanh, "sigmoid": nn.Sigmoid,
    "softplus": lambda beta=1.0, threshold=20.0: nn.Softplus(beta, threshold),
    "hardtanh": lambda min_val=-1.0, max_val=1.0, inplace=False: nn.Hardtanh(min_val, max_val),
    "erf": lambda: Elementwise(torch.erf),
    "max_pool2d": lambda kernel_size, *args, **kwargs: nn.MaxPool2d(kernel_size),
    "adaptive_avg_pool2d": nn.AdaptiveAvgPool2d,
    "avg_pool2d": nn.AvgPool2d,
    "mul": _scaling,
    "div": _division, "truediv": _division,
}
