"""What is refused before anything is measured: modules without a Jacobian here, and what are no inputs."""

from __future__ import annotations

import warnings
from collections.abc import Mapping

import torch
from torch import nn

from empirical.calibration import untrained
from empirical.calls import Batch, entry


def check(module: nn.Module, x: Batch, wrt: str | None = None, mixing: bool = False, whole: bool = True) -> None:
    """Refuse inputs, and modules that have no per-sample Jacobian (unless samples may be mixed).

    Integers, as of tokens, are inputs to a part of the module alone.
    """
    key, main = entry(x, wrt) if isinstance(x, Mapping) else (None, x)
    _check_input("x" if key is None else f"x[{key!r}]", main, whole)
    for name, value in x.items() if isinstance(x, Mapping) else ():
        if name != key and (value.is_floating_point() or value.is_complex()):
            _check_input(f"x[{name!r}]", value, False, 1)
    check_module(module)
    for name, child in module.named_modules():
        if isinstance(child, nn.modules.batchnorm._BatchNorm) and (child.training or child.running_mean is None):
            _check_mixing(name or "module", child, mixing, len(main))
    if names := list(untrained(module, keeping=True)):
        warnings.warn(f"{', '.join(names)}: BatchNorm without statistics is the identity in evaluation mode; pass "
                      "inputs in training mode first, or use empirical.measure, which calibrates a copy", stacklevel=4)


def check_inputs(x: Batch) -> None:
    """Refuse what no module can be called with here; integers, as of tokens, are inputs."""
    entry(x, next(iter(x), None) if isinstance(x, Mapping) else None)  # which refuses what is no mapping of batches
    for name, value in x.items() if isinstance(x, Mapping) else [("", x)]:
        _check_input(f"x[{name!r}]" if name else "x", value, False, 1)


def _check_mixing(name: str, norm: nn.modules.batchnorm._BatchNorm, mixing: bool, samples: int) -> None:
    """Refuse samples that are taken alone where a batch normalization mixes them, and a batch of one."""
    kept = norm.running_mean is not None
    kind = "BatchNorm in training mode" + ("" if kept else ", which with track_running_stats=False is its only one,")
    if mixing and samples == 1:
        raise ValueError(f"{name}: {kind} has no statistics of a batch of 1; x must have two samples or more")
    if not mixing:
        first = "call eval() first, or " if kept else ""
        more = "" if kept else ", or empirical.measure, which gives a copy the statistics of many inputs"
        raise ValueError(f"{name}: {kind} mixes the samples; {first}use empirical.batch_jacobian for the whole batch"
                         f"{more}")


def check_module(module: nn.Module) -> None:
    """Refuse what is no module, or has parameters of which nothing can be computed here."""
    if not isinstance(module, nn.Module):
        raise TypeError(f"module must be a torch.nn.Module, got {module!r}")
    for name, value in (*module.named_parameters(), *module.named_buffers()):
        if nn.parameter.is_lazy(value):
            raise ValueError(f"{name} has no shape yet: run the lazy module once")
        if value.is_meta:
            raise ValueError(f"{name} is on the meta device, without values: use to_empty(device=...), then draw")
        if value.dtype in (torch.float16, torch.bfloat16):
            raise ValueError(f"{name} is of half precision ({value.dtype}): use module.float() or module.double()")
        if value.is_complex():
            raise ValueError(f"{name} is complex: only real modules have singular values here")
        if not value.numel() and name.endswith("weight"):
            raise ValueError(f"{name} has no entries: its shape is {tuple(value.shape)}")


def _check_input(name: str, x: object, whole: bool, axes: int = 2) -> None:
    integers = isinstance(x, torch.Tensor) and not x.is_floating_point() and not x.is_complex()
    if not isinstance(x, torch.Tensor) or x.ndim < axes or not (
            x.dtype in (torch.float32, torch.float64) or (integers and not whole)):
        hint = "; from an embedding on, say between=(the submodule behind it, None)" if integers else ""
        raise ValueError(f"{name} must be a tensor (batch, *input_shape) of real numbers in single or double "
                         f"precision, got {_shape(x)}{hint}")
    if not x.numel():
        raise ValueError(f"{name} must have a sample at least, and entries, got shape {tuple(x.shape)}")
    if not torch.isfinite(x).all():
        raise ValueError(f"{name} must be finite, got NaN or inf")


def _shape(x: object) -> str:
    return f"shape {tuple(x.shape)} of {x.dtype}" if isinstance(x, torch.Tensor) else repr(type(x))
