"""Signals that are too small for their precision: at which layer, and whether what follows would be wrong."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from empirical.calls import Batch, ran
from empirical.differentiated import direction_at

Array = NDArray[np.float64]

# Whether torch.func has a tensor of several in it, whose entries cannot be asked; a name that torch may not have.
_is_inside = getattr(torch._C._functorch, "is_functorch_wrapped_tensor", lambda _: False)
_APART = 1e-3  # relative: slopes that differ by more depend on the signal


class Underflow(ValueError):
    """A signal or a Jacobian leaves the range of its precision at the lower end; the message names the layer."""


def smallest(dtype: torch.dtype) -> float:
    """Return the smallest number that has all its digits."""
    return float(torch.finfo(dtype).tiny)


def largest(x: torch.Tensor) -> float:
    """Return the size of the largest entry."""
    return float(x.detach().abs().max()) if x.numel() else 0.0


def said(name: str, y: torch.Tensor) -> str:
    """Return what has happened to the output of a layer."""
    return (f"the output of {name} underflows in {str(y.dtype).removeprefix('torch.')}: its largest entry is "
            f"{largest(y):.3g}, numbers under {smallest(y.dtype):.3g} have lost digits or are zero")


def at_stage(name: str, lost: str, before: torch.Tensor, after: torch.Tensor, factors: list[Array]) -> str:
    """Return what is said of a signal that has underflowed at this stage, or at the one before; "" of any other.

    Zeros are true where the stage's Jacobian takes the signal to zero (dead units, weights of zero) or there was none.
    """
    size = largest(after)
    if size >= smallest(after.dtype):
        return ""
    if lost or size:
        return lost or said(name, after)
    if not largest(before):
        return ""
    v = (before.double() / largest(before)).flatten().cpu().numpy()
    for factor in factors:
        v = factor * v if factor.ndim == 1 else factor @ v
    return said(name, after) if np.any(v) else ""


def sensitive(call: Callable[[torch.Tensor], Any], signal: torch.Tensor) -> bool:
    """Return whether the Jacobian at a signal of next to nothing depends on that signal: at a kink, or a power."""
    step = direction_at(signal) * smallest(signal.dtype) ** 0.25
    slopes = [_pulled(call, at) for at in (step, -step, 2 * step)]
    size = max(float(slope.norm()) for slope in slopes)
    return any(float((slope - slopes[0]).norm()) > _APART * size for slope in slopes[1:])


def _pulled(call: Callable[[torch.Tensor], Any], at: torch.Tensor) -> torch.Tensor:
    """Return a fixed direction times the Jacobian; what is drawn on the way is the same every time."""
    with torch.enable_grad(), torch.random.fork_rng([at.device] if at.is_cuda else []):
        torch.manual_seed(0)
        leaf = at.clone().requires_grad_(True)
        y = call(leaf.clone())
        direction = torch.linspace(1, 2, y.numel(), dtype=torch.float64).to(y).reshape(y.shape)
        if not y.requires_grad:
            return torch.zeros_like(at)
        (slope,) = torch.autograd.grad(y, leaf, direction, allow_unused=True, materialize_grads=True)
    return slope.double()


def in_forward(module: nn.Module, sample: Batch) -> str:
    """Return what is said of the first layer whose output underflows at a sample (batch axis of one), "" if none does.

    The caller puts back what the module keeps of this run.
    """
    names = {child: name or "the module" for name, child in module.named_modules()
             if not [*child.children()] and not isinstance(child, torch.jit.ScriptModule)}
    found: list[str] = []

    def see(child: nn.Module, args: tuple[Any, ...], y: Any) -> None:
        if found or not (_real(y) and args and _real(args[0])) or largest(y) >= smallest(y.dtype):
            return
        before = args[0]
        if largest(y) or (largest(before) and _reaches(child, before)):
            found.append(said(names[child], y))

    hooks = [child.register_forward_hook(see) for child in names]
    try:
        ran(module, sample)
    finally:
        for hook in hooks:
            hook.remove()
    return found[0] if found else ""


def _real(value: Any) -> bool:
    return isinstance(value, torch.Tensor) and value.is_floating_point() and value.numel() > 0 and not _is_inside(value)


def _reaches(child: nn.Module, x: torch.Tensor) -> bool:
    """Return whether a layer's Jacobian takes its input to something other than zero."""
    try:
        products = _pulled(child.forward, x) * (x.double() / largest(x))
    except (RuntimeError, TypeError):  # no slope, or more arguments than one
        return False
    return abs(float(products.sum())) > 1e-6 * float(products.abs().sum())
