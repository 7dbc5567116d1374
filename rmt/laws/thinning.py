"""Many slope laws of one function at variances near each other, as few: a Gauss rule in the logarithm of the variance.

ln S of the law of g(u)^2 is a smooth function of ln q, q the variance of u. Of a product over many layers only the sum
of ln S matters, and powers of laws may be any numbers: the Gauss rule of the layers' own ln q, each counted as often as
it is there, has that sum exactly for polynomials up to twice its points. Where u is large the law is a series in
one over its standard deviation, which is the variable there: whatever grows from layer to layer is one rule.
"""

from __future__ import annotations

import math
from collections import defaultdict
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from rmt.laws.local_slope import LocalSlope
from rmt.laws.master_curve import MasterCurve
from rmt.laws.psi import Psi
from rmt.laws.smooth_psi import SmoothPsi

Array = NDArray[np.float64]

_MANY = 24  # laws of a curve: fewer are kept as they are
_WIDTH = 5.0  # of ln q under one rule
_POINTS = 18  # of a rule, exact to degree 35: 1e-12 in ln x
_LARGE = 150.0  # q from which on the variable is 1 / sqrt(q)
_FEWEST = 18  # points of a rule in that: 1e-9 in the cdf, and the end of a thin tail, under every float, to a percent
_LAST = 8  # of the largest variances, which stay


def thinned(curve: MasterCurve) -> MasterCurve:
    """Return the curve with fewer slope laws: of every function at most 18 where ln of the variance spans 5."""
    if len(curve.slopes) <= _MANY:
        return curve
    groups = defaultdict[tuple[object, Fraction], list[tuple[SmoothPsi, Fraction]]](list)
    slopes = list[tuple[Psi, Fraction, Fraction]]()
    for law, m, k in curve.slopes:
        smooth = isinstance(law, SmoothPsi) and not isinstance(law.function, LocalSlope)
        if isinstance(law, SmoothPsi) and smooth and k > 0 and not _decides(curve, law, m):
            groups[law.function, m].append((law, k))
        else:
            slopes.append((law, m, k))
    for (_, m), laws in groups.items():
        slopes += ((law, m, k) for law, k in _few(sorted(laws, key=lambda pair: pair[0].variance)))
    return MasterCurve(curve.scale, curve.powers, tuple(sorted(slopes, key=repr)), curve.drift)


def _decides(curve: MasterCurve, law: SmoothPsi, m: Fraction) -> bool:
    """Return whether a law's mass is the rank of the product, and not all of its space."""
    return law.mass < 1 and m * law.mass == curve.mass


def _few(laws: list[tuple[SmoothPsi, Fraction]]) -> list[tuple[SmoothPsi, Fraction]]:
    """Return laws of one function with powers, cell by cell of ln q, and one cell where q is large."""
    found, first = list[tuple[SmoothPsi, Fraction]](), 0
    while first < len(laws):
        large, end = laws[first][0].variance >= _LARGE, first
        while end < len(laws) and (large or (laws[end][0].variance < _LARGE and math.log(
                laws[end][0].variance / laws[first][0].variance) <= _WIDTH)):
            end += 1
        kept = max(first, end - _LAST) if large else end  # they decide the lower end, and how it is reached
        found += laws[kept:end]
        cell = laws[first:kept]
        found += cell if len(cell) <= (_FEWEST if large else _POINTS) else _rule(cell, large=large)
        first = end
    return found


def _rule(laws: list[tuple[SmoothPsi, Fraction]], *, large: bool) -> list[tuple[SmoothPsi, Fraction]]:
    """Return the Gauss rule of a cell; its weights add up to the number of layers, exactly."""
    q = np.array([law.variance for law, _ in laws])
    x = q**-0.5 if large else np.log(q)
    middle, half = (x.min() + x.max()) / 2, max(float(np.ptp(x)) / 2, 1e-300)
    place, weight = gauss((x - middle) / half, np.array([float(k) for _, k in laws]), _FEWEST if large else _POINTS)
    function, total = laws[0][0].function, sum((k for _, k in laws), Fraction(0))
    kept = weight > 1e-15 * weight.sum()
    powers = [Fraction(round(w * 2**44), 2**44) for w in weight[kept].tolist()]  # whose sums are exact in floats
    powers[powers.index(max(powers))] += total - sum(powers, Fraction(0))
    at = np.clip(middle + half * place[kept], x.min(), x.max())
    variances = (at**-2.0 if large else np.exp(at)).tolist()
    return [(SmoothPsi(function, one), k) for one, k in zip(variances, powers, strict=True)]


def gauss(x: Array, weight: Array, points: int) -> tuple[Array, Array]:
    """Return the Gauss rule of a discrete measure on [-1, 1]: Lanczos from the roots of its weights."""
    vector = np.sqrt(weight / weight.sum())
    basis, diagonal, beside = [vector], list[float](), list[float]()
    for _ in range(points):
        following = x * basis[-1]
        diagonal.append(float(following @ basis[-1]))
        for _ in range(2):  # twice is enough
            for one in basis:
                following = following - (following @ one) * one
        size = float(np.linalg.norm(following))
        if size < 1e-13:
            break
        beside.append(size)
        basis.append(following / size)
    n = len(diagonal)
    nodes, vectors = np.linalg.eigh(np.diag(diagonal) + np.diag(beside[: n - 1], 1) + np.diag(beside[: n - 1], -1))
    return nodes, weight.sum() * vectors[0] ** 2
