"""A density at the very ends of its bands, where a formula has 0/0: infinite, zero, or the limit."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    Distribution: TypeAlias = Any  # which stands above, and calls this

Array = NDArray[np.float64]

_NEAR, _LEVELS = 1e-3, 6  # of the band: where the power is read off, and in how many steps of 1/4
_FLAT = 0.02  # an exponent that is nothing
_DEEP = -200.0  # in ln x: a hard edge is its power there


def log_density(law: Distribution, t: float, side: int, width: float) -> float:
    """Return ln of the limit of the density at an end t of a band, which lies on that side: -inf, inf or a number."""
    return _at_hard_edge(law) if math.isinf(t) else _at_end(law, t, side, width)


def _at_end(law: Distribution, end: float, side: int, width: float) -> float:
    step: Array = _NEAR * min(width, 1.0) * 4.0 ** -np.arange(float(_LEVELS))
    t = end + side * step
    log_f = law._local(t).log_density
    if not np.isfinite(log_f[-2:]).all():
        return float(log_f[-1])
    slope = float((log_f[-1] - log_f[-2]) / math.log(0.25))
    if abs(slope) > _FLAT:
        return math.copysign(math.inf, -slope)
    return float(log_f[-1] - law._log_dx_dt(t)[-1])


def _at_hard_edge(law: Distribution) -> float:
    """Return what F ~ C e^(t / K) says of a value that leaves the edge as e^(k t)."""
    base = law
    while hasattr(base, "law"):
        base = base.law
    order = float(base.curve.order)
    low, lower = law._log_dx_dt(np.array([_DEEP, _DEEP - 1]))
    exponent = 1 / (order * (low - lower)) - 1
    if abs(exponent) > 1e-9:
        return math.copysign(math.inf, -exponent)
    edge = base.hard_edge
    return float(math.log(edge.prefactor) + _DEEP / order - low)
