"""What decides a result and is not in its text: digests of functions, arrays and modules, for the names of answers.

Digests are of values at fixed points, rounded to some digits, so that another machine's last bits do not matter.
"""

from __future__ import annotations

import copy
import dataclasses
import hashlib
import re
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import nn

from empirical.cut import picked
from empirical.inputs import Array
from empirical.modules import function_of
from empirical.unwrapped import as_written
from rmt.networks.activations import ActivationFunction, LeakyReLU, is_named
from rmt.networks.schemes import Scheme, scheme

_ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")
_BITS = {torch.float64: 30, torch.float32: 14}  # of a number that count
_SCALES = (0.01, 1.0, 100.0)  # of a module's inputs


def unsaid(thing: Any) -> str:
    """Return a digest of all that decides what `thing` computes and its repr does not say; empty if it says all.

    That is custom activation functions (by their values and slopes, in numpy and in torch), arrays, and weight schemes
    that are not what they are called.
    """
    parts = [*_parts(thing)]
    return _digest(*parts) if parts else ""


def check_text(name: str, thing: Any) -> None:
    """Raise if something that is to name a stored answer has an address in memory for a text."""
    if found := _ADDRESS.search(text := repr(thing)):
        raise ValueError(f"{name} cannot be stored: its text must say what it is, but has an address in memory, "
                         f"{text[max(0, found.start() - 60) : found.end()]!r}: give that class a __repr__")


def _parts(thing: Any) -> Iterator[bytes]:
    if isinstance(thing, Array):
        return  # its name has a checksum
    if isinstance(thing, ActivationFunction):
        if not (isinstance(thing, LeakyReLU) or is_named(thing)):
            yield _of_function(thing)
    elif isinstance(thing, Scheme):
        if not _is_its_name(thing):
            yield repr(dataclasses.astuple(thing)).encode()
    elif isinstance(thing, np.ndarray | torch.Tensor):
        values = np.ascontiguousarray(thing.detach().cpu().numpy() if isinstance(thing, torch.Tensor) else thing)
        yield f"{values.dtype} {values.shape}".encode() + values.tobytes()
    elif isinstance(thing, Mapping):
        for key in sorted(thing, key=repr):
            yield from _parts(thing[key])
    elif isinstance(thing, tuple | list):
        for i, one in enumerate(thing):
            yield from (str(i).encode() + part for part in _parts(one))
    elif dataclasses.is_dataclass(thing):
        for field in dataclasses.fields(thing):
            yield from (field.name.encode() + part for part in _parts(getattr(thing, field.name)))


def _is_its_name(one: Scheme) -> bool:
    try:
        return scheme(one.call) == one
    except ValueError:
        return False


def _of_function(phi: ActivationFunction) -> bytes:
    """Return the values of a function and of its slope over eleven decades on either side, and about its kinks."""
    kinks = np.array(phi.kinks, dtype=float)
    sizes = 10 ** np.linspace(-8.03, 2.97, 67)
    points = np.concatenate([-sizes[::-1], sizes, kinks, kinks - 1e-3, kinks + 1e-3])
    with np.errstate(all="ignore"):
        parts = [_rounded(np.asarray(f(points), dtype=float)) for f in (phi.value, phi.slope)]
    try:
        module = copy.deepcopy(function_of(phi)).to(torch.float64).eval()
    except (TypeError, ValueError):  # no torch function: what is computed needs none
        return _digest(_rounded(kinks), *parts).encode()
    return _digest(_rounded(kinks), *parts, *_computed(module, torch.as_tensor(points)[None])).encode()


def of_module(module: nn.Module, shape: tuple[int, ...], dtype: torch.dtype, device: str) -> str:
    """Return a digest of a module: its text, parameters and buffers, outputs and gradients at fixed inputs."""
    x = torch.randn((len(_SCALES), *shape), generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    x = (x * torch.tensor(_SCALES, dtype=torch.float64).reshape(-1, *[1] * len(shape))).to(device, dtype)
    held = [part for name, tensor in [*module.named_parameters(), *module.named_buffers()]
            for part in (f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode(), _rounded_tensor(tensor))]
    return _digest(_ADDRESS.sub("", str(module)).encode(), *held, *_computed(module, x))


def _computed(module: nn.Module, x: torch.Tensor) -> list[bytes]:
    """Return a module's outputs, and the gradient of their sum with weights that differ."""
    with torch.enable_grad(), torch.random.fork_rng([x.device] if x.is_cuda else []), as_written():
        torch.manual_seed(0)
        x = x.clone().requires_grad_()
        y = picked(module(x), None)
        y = y if y.ndim else y[None]
        weights = torch.linspace(1, 2, y[0].numel(), dtype=y.dtype, device=y.device).reshape(y[0].shape)
        total = (y * weights).sum()
        (slope,) = torch.autograd.grad(total, x, allow_unused=True) if total.requires_grad else (None,)
    return [_rounded_tensor(y), b"" if slope is None else _rounded_tensor(slope)]


def _rounded_tensor(tensor: torch.Tensor) -> bytes:
    return _rounded(tensor.detach().cpu().double().numpy(), _BITS.get(tensor.dtype, 14))


def _rounded(values: np.ndarray, bits: int = _BITS[torch.float64]) -> bytes:
    """Return the bytes of numbers of so many bits; NaN and infinities as what they are."""
    mantissa, exponent = np.frexp(values)
    finite = np.isfinite(values)
    whole = np.rint(np.ldexp(np.where(finite, mantissa, 0.0), bits)).astype(np.int64)
    special = np.select([np.isnan(values), values == np.inf, values == -np.inf], [1, 2, 3], 0).astype(np.int8)
    return whole.tobytes() + np.where(finite, exponent, 0).astype(np.int32).tobytes() + special.tobytes()


def _digest(*parts: bytes) -> str:
    found = hashlib.sha256()
    for part in parts:
        found.update(len(part).to_bytes(8, "big") + part)
    return found.hexdigest()[:16]
