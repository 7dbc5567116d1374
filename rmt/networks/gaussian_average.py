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
_TURNS_TO = 6  # a function turns within lengths of 1 as far as 2^6; beyond it changes by powers
_NOTHING = 1e-17  # of E |f|: what lies so near to zero does not need its features
_LINE = 4e-16  # of E |f|: rounding


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
    straight, below, above, least = _shape(f, flat_q, kinks)
    found[straight] = _bent_line(below[straight], above[straight], flat_q[straight], flat_rho[straight])
    others = np.flatnonzero(~straight)
    features = _features(math.sqrt(flat_q[others].max(initial=0.0)), least[others].min(initial=math.inf))
    n = _NODE.size * (_CUTS.size + 2 * features.size + len(kinks) + _TURNS.size * (len(kinks) + 1))
    size = max(1, _BLOCK // n**2)
    for i in range(0, others.size, size):
        part = others[i : i + size]
        found[part] = _pairs(f, flat_q[part], flat_rho[part], kinks, features)
    return found.reshape(q.shape)


def _shape(f: Function, q: Array, kinks: Sequence[float]) -> tuple[NDArray[np.bool_], Array, Array, Array]:
    """Return whether f is a line on each side of zero to rounding, its slopes there, and how near to zero counts.

    All as far as u of variance q reaches; within the last is next to nothing of E |f|.
    """
    std = np.sqrt(q)
    u, weight = nodes(np.zeros(q.shape), std, kinks)
    value, ends = f(u), _FAR * std[:, None] * np.array([-1.0, 1.0])
    with np.errstate(all="ignore"):
        slopes = f(ends) / ends
    slopes = np.where(np.isfinite(slopes), slopes, 0.0)
    size, line = np.abs(value) * weight, np.where(u > 0, slopes[:, 1:], slopes[:, :1]) * u
    whole = size.sum(axis=-1)
    straight = (np.abs(value - line) * weight).sum(axis=-1) <= _LINE * whole
    order = np.argsort(np.abs(u), axis=-1)
    running = np.cumsum(np.take_along_axis(size, order, axis=-1), axis=-1)
    first = np.argmax(running > _NOTHING * whole[:, None], axis=-1)[:, None]
    least = np.take_along_axis(np.abs(u), np.take_along_axis(order, first, axis=-1), axis=-1)[:, 0]
    return straight, slopes[:, 0], slopes[:, 1], least


def _bent_line(below: Array, above: Array, q: Array, rho: Array) -> Array:
    """Return E f(u) f(u') of a line that bends at zero (Cho and Saul 2009)."""
    arc_cosine = np.sqrt((1 - rho) * (1 + rho)) + (math.pi - np.arccos(rho)) * rho
    return np.asarray(q * (below * above * rho + (above - below) ** 2 * arc_cosine / (2 * math.pi)))


def _pairs(f: Function, q: Array, rho: Array, kinks: Sequence[float], features: Array) -> Array:
    std, spread = np.sqrt(q), np.sqrt(q * (1 - rho) * (1 + rho))
    slope = np.where(rho == 0, 1.0, np.abs(rho))
    bends = [*kinks, *([0.0] if std.max() > 2.0**_TURNS_TO and 0 not in kinks else [])]  # from afar f bends at zero
    turns = np.concatenate([(np.sign(rho) * bend / slope)[:, None] + (spread / slope)[:, None] * _TURNS
                            for bend in bends], axis=1) if bends else np.empty((q.size, 0))
    u, weight = nodes(np.zeros(q.shape), std, kinks, turns, features)
    inner, share = nodes(rho[:, None] * u, spread[:, None], kinks, features=features)
    return np.asarray((f(u) * (f(inner) * share).sum(axis=-1) * weight).sum(axis=-1))


def _features(std: float, least: float = 0.0) -> Array:
    """Return the lengths from which on f is cut: where std is large f turns within a small share of it."""
    if std <= 0.5:
        return np.empty(0)
    top = math.log2(_FAR * std)
    fine, coarse = np.arange(-1.0, min(math.ceil(top), _TURNS_TO) + 1), np.arange(_TURNS_TO + 3.0, top + 3, 3)
    found = 2.0 ** np.r_[fine, coarse]
    return found[max(0, int(np.searchsorted(found, least)) - 1) :]


def nodes(mean: Array, std: Array, kinks: Sequence[float], more: Array | None = None,
          features: Array | None = None) -> tuple[Array, Array]:
    """Return points mean + std z and weights on a last axis; `more`: further cuts, on a last axis too.

    `features`: distances from zero at which f is cut, where not all of them are needed.
    """
    scale = np.where(std > 0, std, 1.0)[..., None]
    features = _features(float(np.max(std, initial=0.0))) if features is None else features
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
