"""How a density begins at its edges: pdf(x) ~ prefactor * distance ** exponent."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rmt.laws.errors import ConvergenceError

if TYPE_CHECKING:
    Law: TypeAlias = Any  # which stands above, and calls this
    from rmt.laws.master_curve import MasterCurve

Array = NDArray[np.float64]

_NEAR = 1e-3  # of the band: the density is a power times a polynomial of the distance up to there
_LEVELS = 6


@dataclass(frozen=True)
class Edge:
    """The leading term of a density at an edge.

    Attributes
    ----------
    place : float
        The edge.
    side : int
        1 where the law lies above the edge, -1 where it lies below.
    exponent, prefactor : float
        pdf(x) ~ prefactor * |x - place| ** exponent.
    """

    place: float
    side: int
    exponent: float
    prefactor: float

    def pdf(self, x: ArrayLike) -> Any:
        """Return the leading term at x; 0 on the far side of the edge."""
        distance = self.side * (np.asarray(x, dtype=float) - self.place)
        inside = np.where(distance > 0, distance, np.nan)
        return np.where(np.isnan(distance), np.nan, np.nan_to_num(self.prefactor * inside**self.exponent))[()]


def hard_edge(curve: MasterCurve) -> Edge:
    """Return the edge at x = 0 of a master curve whose zero at w = -c has order K > 1.

    There x = -A (1 + w/c)^K, so pdf(x) ~ (c/pi) sin(pi/K) A^(-1/K) x^(1/K - 1) (Penson and Zyczkowski 2011 for
    Fuss-Catalan, K = L + 1, A = c = 1).
    """
    order = float(curve.order)
    if order <= 1:
        raise ValueError("no hard edge: the law stays away from zero but for an atom")
    log_prefactor = math.log(float(curve.mass) / math.pi * math.sin(math.pi / order)) - curve.log_at_bottom / order
    return Edge(0.0, 1, 1 / order - 1, math.exp(log_prefactor))


def soft_edges(law: Law) -> tuple[Edge, ...]:
    """Return every end of a band but a hard edge, its exponent 1/2 (or -1/2 where the density diverges)."""
    found = []
    for lo, hi in law._bands:
        ends = [(end, side) for end, side in ((lo, 1), (hi, -1)) if math.isfinite(end)]
        found += [_measured(law, end, side, min(hi - lo, 1.0)) for end, side in ends]
    return tuple(found)


def _measured(law: Law, end: float, side: int, width: float) -> Edge:
    """Return the edge at t = end: the density over the power, extrapolated to the edge (Richardson)."""
    step: Array = _NEAR * width * 4.0 ** -np.arange(float(_LEVELS))
    place = law._value(end)
    log_distance = np.log(np.abs(law._x_gap(end, side * step)))
    t: Array = end + side * step
    log_density = law._local(t).log_density - law._log_dx_dt(t)
    slope = float((log_density[-1] - log_density[-2]) / (log_distance[-1] - log_distance[-2]))
    exponent = round(2 * slope) / 2
    if abs(slope - exponent) > 0.01 or abs(exponent) != 0.5:
        raise ConvergenceError(f"the density at {place:.6g} is no square root of the distance: exponent {slope:.4f}")
    rest = np.exp(log_density - exponent * log_distance)
    for k in range(1, _LEVELS):
        rest = (4.0**k * rest[1:] - rest[:-1]) / (4.0**k - 1)
    return Edge(place, side, exponent, float(rest[0]))
