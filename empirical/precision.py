"""A module of single precision as its copy in double: its weights are exact there, and its slopes have all digits."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves

from empirical.calls import Batch, each, entry, ran
from empirical.copies import copied, kept_by
from empirical.jacobian import as_found

_REAL = (torch.float32, torch.float64)


def in_double(module: nn.Module, x: Batch, wrt: str | None = None) -> tuple[nn.Module, Batch] | None:
    """Return a copy of a module of single precision in double, and its inputs; None where there is no such copy.

    Every tensor that the module keeps is copied, buffers and plain attributes too, shared ones once. There is none of
    a module of double precision, of one that cannot be copied, and of one that rounds its signal to single itself.
    """
    if not isinstance(module, nn.Module) or entry(x, wrt)[1].dtype == torch.float64:
        return None
    kept = [value for value in kept_by(module) if value.is_floating_point()]
    if {value.dtype for value in kept} - {*_REAL} or (kept and all(value.dtype == torch.float64 for value in kept)):
        return None
    try:
        twin = copied(module, double=True)
        twice = each(x, lambda value: value.double() if value.is_floating_point() else value)
        return (twin, twice) if _stays_double(twin, each(twice, lambda value: value[:1])) else None
    except Exception:  # whatever a module may do in a precision for which it was not written
        return None


class _Rounded(TorchFunctionMode):
    """Notes whether a signal leaves double precision."""

    seen = False

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        found = function(*args, **(kwargs or {}))
        self.seen |= any(isinstance(value, torch.Tensor) and value.requires_grad and value.dtype != torch.float64
                         for value in tree_leaves(found))
        return found


def _stays_double(module: nn.Module, sample: Batch) -> bool:
    """Whether a module that was copied computes in double precision all that depends on its input."""
    with as_found(module, entry(sample)[1]), torch.enable_grad(), _Rounded() as rounded:
        ran(module, each(sample, lambda value: value.detach().clone().requires_grad_(value.is_floating_point())))
    return not rounded.seen
