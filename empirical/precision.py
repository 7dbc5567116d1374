"""A module of single precision as its copy in double: its weights are exact there, and its slopes have all digits."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves

from empirical.as_found import as_found
from empirical.calls import Batch, each, entry
from empirical.copies import copied, kept_by
from empirical.jacobian import detached

_REAL = (torch.float32, torch.float64)


def in_double(module: nn.Module, x: Batch, wrt: str | None = None) -> tuple[nn.Module, Batch] | None:
    """Return a copy of a module of single precision in double, and its inputs; None where there is no such copy.

    Every tensor that the module keeps is copied, buffers and plain attributes too, shared ones once. There is none of
    a module of double precision, and of one that cannot be copied or does not run in double.
    """
    if not isinstance(module, nn.Module) or entry(x, wrt)[1].dtype == torch.float64:
        return None
    kept = [value for value in kept_by(module) if value.is_floating_point()]
    if {value.dtype for value in kept} - {*_REAL} or (kept and all(value.dtype == torch.float64 for value in kept)):
        return None
    try:
        twin = copied(module, double=True)
        twice = each(x, lambda value: value.double() if value.is_floating_point() else value)
        rounding(twin, twice, wrt)  # it runs
        return twin, twice
    except Exception:  # whatever a module may do in a precision for which it was not written
        return None


def rounding(module: nn.Module, x: Batch, wrt: str | None = None) -> float:
    """Return the unit of rounding of the coarsest precision that a signal goes through in a module, at one sample."""
    key, signals = entry(x, wrt)
    sample = each(x, lambda value: value[:1].detach().clone())
    with as_found(module, signals), torch.enable_grad(), _Coarsest() as coarsest:
        main = sample if key is None else sample[key]
        main.requires_grad_(main.is_floating_point())
        detached(module)(sample)
    return max(coarsest.unit, torch.finfo(signals.dtype).eps if signals.is_floating_point() else 0.0)


class _Coarsest(TorchFunctionMode):
    """Notes the precisions of what depends on the input; constants are exact in any."""

    unit = 0.0

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        found = function(*args, **(kwargs or {}))
        for value in tree_leaves(found):
            if isinstance(value, torch.Tensor) and value.requires_grad and value.is_floating_point():
                self.unit = max(self.unit, torch.finfo(value.dtype).eps)
        return found
