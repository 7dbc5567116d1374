"""The coordinate of a side of a gap: an interval, whose ends it keeps apart by logarithms."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

Array = NDArray[np.float64]


def place(u: Array, low: Array, high: Array, unit: float = 1.0) -> Array:
    """Return the place at u: the logit of its share, +-ln of its distance (in units) from an only end, or itself."""
    with np.errstate(all="ignore"):
        span = high - low
        finite = np.where(u < 0, low + span * expit(u), high - span * expit(-u))
        above = np.where(np.isinf(low), u, low + unit * np.exp(u))
        return np.where(np.isinf(span), np.where(np.isinf(high), above, high - unit * np.exp(-u)), finite)


def rate(u: Array, low: Array, high: Array, unit: float = 1.0) -> Array:
    """Return d(place) / du."""
    with np.errstate(all="ignore"):
        span = high - low
        above = np.where(np.isinf(low), 1.0, unit * np.exp(u))
        inner = span * expit(u) * expit(-u)
        return np.where(np.isinf(span), np.where(np.isinf(high), above, unit * np.exp(-u)), inner)


def distinct(sides: NDArray[np.intp], at: Array) -> tuple[NDArray[np.intp], Array, NDArray[np.intp]]:
    """Return the points of sides that differ, and which of them every point is: combinations share most of theirs."""
    both = np.empty(at.size, dtype=complex)
    both.real, both.imag = sides, at
    found, whose = np.unique(both, return_inverse=True)
    return found.real.astype(np.intp), found.imag, whose


def rising(values: Array) -> NDArray[np.bool_]:
    """Return where values exceed all before them."""
    return np.r_[True, values[1:] > np.maximum.accumulate(values)[:-1]][: values.size]
