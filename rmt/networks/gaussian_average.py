"""Averages over Gaussian variables, right to rounding at kinks and at any variance: Gauss and Legendre between cuts."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]
Function = Callable[[NDArray[Any]], NDArray[Any]]

_FAR = 9.5  # standard deviations; 2e-21 of the mass is outside
_CUTS = np.linspace(-_FAR, _FAR, 11)
_NODE, _WEIGHT = np.polynomial.legendre.leggauss(20)
_TURNS = np.array([-8.0, -3.0, -1.0, 0.0, 1.0, 3.0, 8.0])
_BLOCK = 2**22  # numbers at a time


def average(f: Function, mean: ArrayLike, std: ArrayLike, kinks: Sequence[float] = ()) -> Array:
    """Return E f(mean + std z) of a standard normal z, for arrays of means and standard deviations.

    f may bend or jump at its kinks; otherwise it changes over lengths of about 1.
    """
    u, weight = nodes(np.asarray(mean, dtype=float), np.asarray(std, dtype=float), kinks)
    return np.asarray((f(u) * weight).sum(axis=-1))


def product_average(f: Function, variance: ArrayLike, correlation: ArrayLike, kinks: Sequence[float] = ()) -> Array:
    """Return E f(u) f(u') of two Gaussian variables of the same variance, for arrays of variances and correlations.

    As E f(u) E[f(u') | u]; the inner average turns near kink/correlation, over the conditional standard deviation.
    """
    q, rho = np.broadcast_arrays(np.asarray(variance, dtype=float), np.asarray(correlation, dtype=float))
    if np.all(rho == 1):
        return average(lambda u: f(u) ** 2, 0.0, np.sqrt(q), kinks)
    flat_q, flat_rho, found = q.ravel(), rho.ravel(), np.empty(q.size)
    n = nodes(np.zeros(()), np.sqrt(flat_q.max(initial=0.0)), kinks)[0].size + 20 * _TURNS.size * len(kinks)
    size = max(1, _BLOCK // n**2)
    for i in range(0, q.size, size):
        found[i : i + size] = _pairs(f, flat_q[i : i + size], flat_rho[i : i + size], kinks)
    return found.reshape(q.shape)


def _pairs(f: Function, q: Array, rho: Array, kinks: Sequence[float]) -> Array:
    std, spread = np.sqrt(q), np.sqrt(q * (1 - rho) * (1 + rho))
    slope = np.where(rho == 0, 1.0, np.abs(rho))
    turns = np.concatenate([(np.sign(rho) * kink / slope)[:, None] + (spread / slope)[:, None] * _TURNS
                            for kink in kinks], axis=1) if kinks else np.empty((q.size, 0))
    u, weight = nodes(np.zeros(q.shape), std, kinks, turns)
    return np.asarray((f(u) * average(f, rho[:, None] * u, spread[:, None], kinks) * weight).sum(axis=-1))


def nodes(mean: Array, std: Array, kinks: Sequence[float], more: Array | None = None) -> tuple[Array, Array]:
    """Return points mean + std z and weights on a last axis; `more`: further cuts, on a last axis too."""
    scale = np.where(std > 0, std, 1.0)[..., None]
    top = math.ceil(math.log2(_FAR * float(np.max(std, initial=0.0)))) if np.max(std, initial=0.0) > 0.5 else -1
    features = 2.0 ** np.arange(-1, top + 1)  # where std is large f turns within a small share of it
    at = np.r_[list(kinks), features, -features]
    cuts = [np.broadcast_to(_CUTS, (*np.broadcast(mean, std).shape, _CUTS.size)), (at - mean[..., None]) / scale]
    if more is not None:
        cuts.append((more - mean[..., None]) / scale)
    z = np.sort(np.clip(np.concatenate(cuts, axis=-1), -_FAR, _FAR), axis=-1)
    half = np.diff(z, axis=-1)[..., None] / 2
    z = z[..., :-1, None] + half * (1 + _NODE)
    weight = np.exp(-(z**2) / 2) / math.sqrt(2 * math.pi) * half * _WEIGHT
    shape = (*z.shape[:-2], -1)
    return mean[..., None] + std[..., None] * z.reshape(shape), weight.reshape(shape)
