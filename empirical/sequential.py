"""Sequential modules of layers whose Jacobians are known: matrices and diagonals."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeGuard

import torch
from torch import nn

from empirical import registry
from empirical.modules import Dilated, Elementwise, Scaling

# Modules that act on every entry alone: their Jacobian is a diagonal.
POINTWISE = (nn.ReLU, nn.LeakyReLU, nn.Tanh, nn.Sigmoid, nn.GELU, nn.SiLU, nn.ELU, nn.SELU, nn.Softplus, nn.Hardtanh,
             nn.Mish, nn.Hardswish, nn.ReLU6, nn.Softsign, nn.LogSigmoid, nn.CELU, nn.Hardsigmoid, nn.Tanhshrink,
             nn.Softshrink, nn.Hardshrink, nn.Threshold, Elementwise, Dilated)
# The same, of those whose slopes are only found by differentiation, and of what multiplies every entry.
ONE_BY_ONE = (*POINTWISE, nn.Dropout, nn.AlphaDropout, Scaling, nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d,
              nn.PReLU, nn.RReLU)
LINEAR = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose2d)  # one Jacobian at every sample

_LOOKED_INTO = (nn.Sequential, nn.DataParallel, nn.parallel.DistributedDataParallel, nn.TransformerEncoder,
                nn.TransformerEncoderLayer, nn.TransformerDecoder, nn.TransformerDecoderLayer, nn.Transformer)


def product(module: nn.Module, x: torch.Tensor) -> torch.Tensor | None:
    """Return the Jacobian at every sample (batch, inputs) as (batch, outputs, inputs), None where another module is in.

    From the input on, all samples beside each other: one product (outputs, n) (n, batch * inputs) a layer, which is
    faster than as many backward passes.
    """
    if not is_chain(module) or x.ndim != 2:
        return None
    stages = [*leaves(module)]
    if any(altered(stage) or type(stage) not in (nn.Linear, nn.Identity, *POINTWISE) for stage in stages):
        return None
    (batch, n_inputs), signal = x.shape, x.clone()  # a module may work in place
    carried: torch.Tensor | None = None  # (n, batch, inputs)
    for stage in stages:
        if isinstance(stage, nn.Linear):
            weight = stage.weight.detach()
            carried = weight[:, None].expand(-1, batch, -1) if carried is None else (
                weight @ carried.reshape(len(carried), -1)).view(-1, batch, n_inputs)
        elif not isinstance(stage, nn.Identity):
            slopes = slopes_of(stage, signal)
            carried = torch.diag_embed(slopes).transpose(0, 1) if carried is None else slopes.T[:, :, None] * carried
        signal = stage(signal)
    return None if carried is None else carried.transpose(0, 1)


def is_chain(module: nn.Module) -> TypeGuard[nn.Sequential]:
    """Whether a module only calls its children in order (a subclass may do anything in its forward)."""
    return isinstance(module, nn.Sequential) and type(module).forward is nn.Sequential.forward and not altered(module)


def begins_with_matrix(module: nn.Module) -> bool:
    """Whether the first thing that a chain does to its input is a matrix."""
    first = next((leaf for leaf in leaves(module) if not isinstance(leaf, nn.Identity)), None) if is_chain(
        module) else None
    return isinstance(first, nn.Linear)


def leaves(module: nn.Sequential) -> Iterator[nn.Module]:
    """Yield the modules of a chain in order, those of chains inside it too."""
    for child in module:
        if is_chain(child):
            yield from leaves(child)
        else:
            yield child


def is_leaf(module: nn.Module) -> bool:
    """Whether a module is a stage that is not looked into: torch's own, a registered one, or pointwise of ours."""
    if isinstance(module, torch.jit.ScriptModule) or registry.reader_of(module) is not None:
        return True
    return type(module) in (Elementwise, Dilated, Scaling) or (
        type(module).__module__.startswith("torch.nn") and not isinstance(module, _LOOKED_INTO))


def altered(module: nn.Module) -> bool:
    """Whether something else may happen when a module runs than its class says."""
    return bool(module._forward_hooks or module._forward_pre_hooks or "forward" in vars(module)
                or type(module).__call__ is not nn.Module.__call__)


def slopes_of(stage: nn.Module, signal: torch.Tensor) -> torch.Tensor:
    """Return the slope at every entry, (batch, entries)."""
    if isinstance(stage, nn.Tanh):  # autograd's 1 - tanh^2 loses the digits of a saturated unit
        return torch.cosh(signal).pow(-2).flatten(1)
    if isinstance(stage, nn.Sigmoid):  # so does its s (1 - s)
        return torch.cosh(signal / 2).pow(-2).flatten(1) / 4
    if isinstance(stage, Dilated):
        return stage.inner * stage.outer * slopes_of(stage.function, stage.inner * signal)
    with torch.enable_grad():
        leaf = signal.detach().clone().requires_grad_(True)
        (slopes,) = torch.autograd.grad(stage(leaf.clone()).sum(), leaf)
    return slopes.flatten(1)
