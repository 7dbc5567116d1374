"""Averages over a normal variable by Gauss and Legendre, on panels as short as a function turns."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rmt.laws.contour import REACH

Array = NDArray[np.float64]

_RULES = tuple(np.polynomial.legendre.leggauss(n) for n in (20, 32))


def panels(kinks: Sequence[float], scale: float) -> Array:
    """Return the ends of panels of z, u = scale z: a function of u turns over lengths of 1, and where it is far."""
    turns = np.r_[0.0, 2.0 ** np.arange(-1.0, max(0.0, math.log2(REACH * scale)))] / scale
    ends = np.r_[-REACH, -turns, np.array([*kinks]) / scale, turns, REACH, np.linspace(-REACH, REACH, 13)]
    return np.unique(np.clip(ends, -REACH, REACH))


def rough_and_fine(f: Callable[[Array], Any], ends: Array) -> list[Array]:
    """Return the integrals of f over every panel by two rules; f may have more values, on a first axis."""
    low, width, found = ends[:-1, None], np.diff(ends)[:, None], []
    for node, weight in _RULES:
        z = low + width * (1 + node) / 2
        terms = np.asarray(f(z.ravel())) * np.exp(-(z.ravel() ** 2) / 2) / math.sqrt(2 * math.pi)
        found.append((terms.reshape(*terms.shape[:-1], *z.shape) * (weight * width / 2)).sum(axis=-1))
    return found
