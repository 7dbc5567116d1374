"""The input-output Jacobian of a torch module."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

from empirical.calibration import untrained


def jacobian(module: nn.Module, x: torch.Tensor) -> torch.Tensor:
    """Return the Jacobian of every sample, (batch, outputs, inputs), in the module's precision, detached.

    Parameters
    ----------
    module : torch.nn.Module
        Taken exactly as it is; neither its parameters, gradients, buffers nor mode change.
    x : tensor (batch, *input_shape)
        Inputs on the module's device.

    Raises
    ------
    ValueError
        If x has no batch axis or is not finite, or if samples depend on each other (BatchNorm in training mode).
    """
    check(module, x)
    state = {name: value.detach() for name, value in (*module.named_parameters(), *module.named_buffers())}

    def one(sample: torch.Tensor) -> torch.Tensor:
        # a copy, as the module may work in place
        return torch.func.functional_call(module, state, (sample[None].clone(),))[0].flatten()

    with as_found(module, x):
        rows = torch.func.vmap(torch.func.jacrev(one), randomness="different")(x.detach())
    if not torch.isfinite(rows).all():
        raise ValueError("the Jacobian is not finite: the module has NaN or inf in a weight or an activation")
    return rows.flatten(2)


@contextmanager
def as_found(module: nn.Module, x: torch.Tensor) -> Iterator[None]:
    """Run the module without gradients; its buffers and torch's random state are put back, also after an error."""
    buffers = [(buffer, buffer.clone()) for buffer in module.buffers()]
    devices = [x.device] if x.device.type == "cuda" else []
    with torch.no_grad(), torch.random.fork_rng(devices):
        try:
            yield
        finally:
            for buffer, saved in buffers:
                buffer.copy_(saved)


def check(module: nn.Module, x: torch.Tensor) -> None:
    """Refuse inputs and modules that have no per-sample Jacobian."""
    if not isinstance(x, torch.Tensor) or x.ndim < 2 or not x.is_floating_point():
        raise ValueError(f"x must be a real floating tensor (batch, *input_shape), got {_shape(x)}")
    if not torch.isfinite(x).all():
        raise ValueError("x must be finite, got NaN or inf")
    for name, part in module.named_modules():
        if isinstance(part, nn.modules.batchnorm._BatchNorm) and (part.training or part.running_mean is None):
            raise ValueError(f"{name or 'module'}: BatchNorm in training mode mixes the samples; call eval() first")
    if names := list(untrained(module)):
        warnings.warn(f"{', '.join(names)}: BatchNorm without statistics is the identity in evaluation mode; pass "
                      "inputs in training mode first, or use empirical.measure, which calibrates a copy", stacklevel=4)


def _shape(x: object) -> str:
    return f"shape {tuple(x.shape)} of {x.dtype}" if isinstance(x, torch.Tensor) else repr(type(x))
