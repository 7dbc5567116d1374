"""A slope where u is so small, or so large, that it is a short series, or a power: normalised, with an exact scale.

X = g(u)^2, u = sqrt(q) z. About 0 let g(u) = a_p u^p + a_(p+1) u^(p+1) + ..., p = 0 mostly: X is a_p^2 q^p times the
square of z^p + (a_(p+1) / a_p) sqrt(q) z^(p+1) + ..., whose law stays where it is as q vanishes. So no number leaves
the range of a float, and layers at different small signals share one law.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rmt.laws.contour import REACH, Branch, Contour, branched
from rmt.laws.slope_piece import CIRCLE, Array, Polynomial, Slope

_TERMS = 18
_ROOM = 0.4  # a slope is analytic so far around a point without a kink
_SMALL = 0.05  # of that room: |u| up to there is small, and the series right to rounding
_NOTHING = 1e-13  # of a slope's size: a coefficient below is zero
_LOST = 1e-17  # of the leading term
_POWER = 1e-12  # how far from a power a slope may be that counts as one


@dataclass(frozen=True)
class LocalSlope:
    """Polynomials of z, left and right of 0; their squares, z standard normal, have the law."""

    left: Polynomial
    right: Polynomial

    @property
    def kinks(self) -> tuple[float, ...]:
        """Zero, if the two sides differ."""
        return () if self.left == self.right else (0.0,)

    def slope(self, u: NDArray[Any]) -> NDArray[Any]:
        """Return the slope at z."""
        return np.where(np.real(u) > 0, self.right(u), self.left(u))

    def contour(self) -> Contour:
        """Return the law of slope(z)^2."""
        if _mirrored(self.left) in (self.right, _negative(self.right)):
            return branched([Branch(self.right, 0.0, REACH)], 1.0, 2)
        if self.left == self.right:
            return branched([Branch(self.right, -REACH, REACH)], 1.0)
        return branched([Branch(self.left, -REACH, 0.0), Branch(self.right, 0.0, REACH)], 1.0)


@lru_cache(maxsize=1024)
def localised(function: Any, variance: float) -> tuple[LocalSlope, Fraction] | None:
    """Return the slope in units of sqrt(variance), and the scale of X; None where it is neither series nor power."""
    with np.errstate(all="ignore"):
        return _series(function.slope, function.kinks, variance) or _power(function.slope, function.kinks, variance)


def _series(slope: Slope, kinks: tuple[float, ...], variance: float) -> tuple[LocalSlope, Fraction] | None:
    root = math.sqrt(variance)
    room = min([_ROOM / 2 if 0 in kinks else _ROOM, *(0.45 * abs(kink) for kink in kinks if kink)])
    if REACH * root > _SMALL * room:
        return None
    sides = [_taylor(slope, side * room, room) for side in (-1, 1)] if 0 in kinks else [_taylor(slope, 0.0, room)] * 2
    for series, side in zip(sides, (-1, 1), strict=True):
        u = side * np.r_[np.geomspace(1e-3, 1.0, 20)] * REACH * root
        found, size = np.real(slope(u)), float(np.max(np.abs(series) * room ** np.arange(_TERMS)))
        if not np.all(np.abs(Polynomial(tuple(series))(u) - found) <= 30 * _NOTHING * size):
            return None
    orders = [int(np.flatnonzero(series)[0]) for series in sides if series.any()]
    if not orders:
        return None
    p = min(orders)
    lead = next(float(series[p]) for series in sides[::-1] if series[p])
    if p == 0:
        lead = 1.0
    left, right = (_scaled(series / lead, root, p) for series in sides)
    return LocalSlope(left, right), Fraction(lead) ** 2 * Fraction(variance) ** p


def _taylor(slope: Slope, centre: float, room: float) -> Array:
    """Return the Taylor series about 0 from a circle around a point whose room reaches to 0; 0 where it is rounding."""
    radius = 0.9 * room if centre else room
    series = np.fft.fft(slope(centre + radius * CIRCLE)).real[:_TERMS] / CIRCLE.size / radius ** np.arange(_TERMS)
    if centre:  # from powers of u - centre to powers of u
        shifted = np.zeros(_TERMS)
        for term in series[::-1]:
            shifted = np.r_[term - centre * shifted[0], shifted[:-1] - centre * shifted[1:]]
    else:
        shifted = series
    at_zero = float(np.real(slope(np.array([math.copysign(5e-324, centre) if centre else 0.0])))[0])
    sizes = np.abs(shifted) * room ** np.arange(_TERMS)
    out = np.where(sizes > _NOTHING * sizes.max(initial=0.0), shifted, 0.0)
    out[0] = at_zero if abs(at_zero) > 1e-15 * sizes.max(initial=0.0) else 0.0
    return out


def _scaled(series: Array, root: float, p: int) -> Polynomial:
    """Return the series in z, without what is lost in rounding."""
    terms = [float(term) * root ** (k - p) if k >= p else 0.0 for k, term in enumerate(series)]
    kept = [term if k == p or abs(term) * REACH ** (k - p) > _LOST else 0.0 for k, term in enumerate(terms)]
    while len(kept) > 1 and kept[-1] == 0:
        kept.pop()
    return Polynomial(tuple(kept))


def _power(slope: Slope, kinks: tuple[float, ...], variance: float) -> tuple[LocalSlope, Fraction] | None:
    """Return a slope that is a whole power of |u| on each side, as far as u is normal."""
    root = math.sqrt(variance)
    z = np.geomspace(1e-12, REACH, 41)
    sides = list[tuple[float, int]]()
    for sign in (-1.0, 1.0):
        g, (one, half) = np.real(slope(sign * root * z)), np.real(slope(sign * root * np.array([1.0, 0.5]))).tolist()
        if not np.all(np.isfinite(g)) or (not one and g.any()) or (one and not half):
            return None
        p = round(math.log2(abs(one / half))) if one else 0
        if p < 0 or not np.all(np.abs(g - one * z**p) <= _POWER * abs(one) * z**p):
            return None
        sides.append((one, p))
    lead = next((one for one, p in sides[::-1] if one and p), 0.0)
    if not lead:
        return None  # constants: finitely many values
    below, above = (Polynomial((*([0.0] * p), one / lead * sign**p))
                    for (one, p), sign in zip(sides, (-1, 1), strict=True))
    return LocalSlope(below, above), Fraction(lead) ** 2


def _mirrored(p: Polynomial) -> Polynomial:
    return Polynomial(tuple(-term if k % 2 and term else term for k, term in enumerate(p.coefficients)))


def _negative(p: Polynomial) -> Polynomial:
    return Polynomial(tuple(-term if term else term for term in p.coefficients))
