"""The stable fixed point of the correlation of two inputs, where a small difference between them grows."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.polynomial.polynomial import polyval
from numpy.typing import NDArray

from rmt.errors import ConvergenceError
from rmt.networks.activations import ActivationFunction
from rmt.networks.gaussian_average import nodes

Array = NDArray[np.float64]

MARGIN = 1e-12  # a slope this near to 1 is 1
_TERMS = 256, 1024  # of the Hermite expansion: the second where the first are not enough
_POINTS = 256  # of a grid at a time
_NODE, _WEIGHT = np.polynomial.legendre.leggauss(4)


def stable_correlation(phi: ActivationFunction, w: Array, b: Array, q: Array, squared_slope: Array) -> Array:
    """Return c* for arrays of sigma_w^2, bias_std^2, the fixed points of the variance and E phi'^2 there.

    With a_k the Hermite coefficients, E phi(u1) phi(u2) = sum a_k^2 c^k (Mehler). Taking the map at c from the map at
    1 leaves D(c) = sum a_k^2 (1 + c + .. + c^(k-1)) = E phi^2 + bias_std^2 / sigma_w^2: no root at 1 is left, D grows.
    """
    c = np.ones(q.size)
    chaotic = np.flatnonzero(w * squared_slope > 1 + MARGIN)
    for i in range(0, chaotic.size, _POINTS):
        at = chaotic[i : i + _POINTS]
        c[at] = _chaotic(phi, b[at] / w[at], q[at], squared_slope[at], *_TERMS)
    return c


def _chaotic(phi: ActivationFunction, offset: Array, q: Array, squared_slope: Array, terms: int,
             *more: int) -> Array:
    square, top = np.asarray(phi.cross(q, 1.0)), q * squared_slope  # D(1) = q E phi'^2
    squares = _hermite(phi, q, terms) ** 2
    rest = square - squares.sum(axis=0)
    rest = np.where(rest > 1e-15 * square, rest, 0.0)
    d = np.cumsum([rest, *squares[:0:-1]], axis=0)[::-1]  # D(c) = sum d_j c^j, d_j the sum of the squares beyond j
    tail = top - d.sum(axis=0)  # what is left of D(1): the true remainder is between 0 and tail c^terms
    target = np.maximum(square + offset, d[0])

    d = np.append(d, [tail], axis=0)
    zero, one, every = np.zeros(q.size), np.ones(q.size), np.arange(q.size)
    c = root(lambda x, i: polyval(x, d[:, i], tensor=False) - target[i], zero, one, every)
    # D is convex, so tail c^terms / (target - d_0) bounds the error: a kink needs more terms where c is near 1
    poor = np.flatnonzero((np.abs(tail) * c**terms > MARGIN * (target - d[0])) & (tail > 1e-13 * top))
    if poor.size and more:
        c[poor] = _chaotic(phi, offset[poor], q[poor], squared_slope[poor], *more)
    elif poor.size:
        c[poor] = root(lambda x, i: _difference(phi, q[i], x, square[i], top[i]) - target[i],
                        c[poor] - 1e-6 * (1 - c[poor]), one[poor], poor)
    return c


def _difference(phi: ActivationFunction, q: Array, c: Array, square: Array, top: Array) -> Array:
    """Return D(c) = (E phi^2 - E phi(u1) phi(u2)) / (1 - c); near 1, where that cancels, as a mean of its slope."""
    found = np.array(top)
    if (far := c <= 0.999).any():
        found[far] = (square[far] - phi.cross(q[far], c[far])) / (1 - c[far])
    if (near := (c > 0.999) & (c < 1)).any():
        t = (1 + _NODE) / 2  # over [c, 1] as 1 - (1 - c) t^2, in which the slope is smooth
        slope = phi.slope_cross(q[near][:, None], 1 - (1 - c[near])[:, None] * t**2)
        found[near] = q[near] * (slope * t * _WEIGHT).sum(axis=-1)
    return found


def _hermite(phi: ActivationFunction, q: Array, terms: int) -> Array:
    """Return E phi(sqrt(q) z) h_k(z), h_k the orthonormal Hermite polynomials, k = 0 .. terms on a first axis."""
    std = np.sqrt(q)
    fine = np.linspace(-9.0, 9.0, 1 + math.ceil(1.5 * math.sqrt(terms)))  # h_k turns sqrt(k)/2 pi times a unit
    u, weight = nodes(np.zeros(q.shape), std, phi.kinks, std[:, None] * fine)
    z, part = u / std[:, None], phi.value(u) * weight
    last, h, found = np.zeros_like(z), np.ones_like(z), np.empty((terms + 1, q.size))
    for k in range(terms + 1):
        found[k] = np.einsum("ij,ij->i", h, part)
        last, h = h, (z * h - math.sqrt(k) * last) / math.sqrt(k + 1)
    return found


def root(f: Callable[..., Array], low: Array, high: Array, *args: NDArray[Any]) -> Array:
    """Return a root of f(x, *args) in every bracket, to rounding (Chandrupatla)."""
    from scipy.optimize.elementwise import find_root  # slow to import

    if not low.size:
        return np.empty(0)
    result = find_root(f, (low, high), args=args, maxiter=400)
    if not np.all(result.success):
        raise ConvergenceError(f"no root found between {low[~result.success][0]!r} and {high[~result.success][0]!r}")
    return np.asarray(result.x)
