"""Running a module so that nothing of it is seen afterwards, in full precision and by formulas that have slopes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from empirical.afresh import changing, keeping
from empirical.unwrapped import as_written

# Whether torch warns of what it cannot batch; names that a version of torch may not have.
_SAYS_SLOW: Callable[[], bool] = getattr(torch._C, "_debug_only_are_vmap_fallback_warnings_enabled", lambda: False)
_SAY_SLOW: Callable[[bool], None] = getattr(torch._C._functorch, "_set_vmap_fallback_warning_enabled", lambda _: None)


@contextmanager
def as_found(module: nn.Module, x: torch.Tensor) -> Iterator[None]:
    """Run the module without gradients, in full precision; put back what it keeps, torch's random state and settings.

    Attention goes by its formula: of the fused kernels some have no forward derivative and none a batched one.
    """
    gradients = [(parameter, parameter.grad) for parameter in module.parameters() if parameter.is_leaf]
    devices = [x.device] if x.device.type == "cuda" else []
    tf32 = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    slowly = _SAYS_SLOW()
    with torch.no_grad(), torch.random.fork_rng(devices), torch.autocast(
            x.device.type, enabled=False), sdpa_kernel(SDPBackend.MATH), as_written(), keeping(module):
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
        _SAY_SLOW(False)
        try:
            for parameter, _ in gradients:  # a way back of a module's own may add to them
                parameter.grad = None
            yield
        finally:
            for parameter, gradient in gradients:
                parameter.grad = gradient
            torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = tf32
            _SAY_SLOW(slowly)


@contextmanager
def evaluating(module: nn.Module) -> Iterator[None]:
    """Put every submodule into evaluation mode, and back into its own."""
    modes = [(part, part.training) for part in module.modules() if hasattr(part, "training")]  # frozen ones have none
    with changing(module):
        try:
            with suppress(AttributeError, NotImplementedError):  # of those, and of exported ones, which have no modes
                module.eval()
            yield
        finally:
            for part, mode in modes:
                part.training = mode
