"""Measured singular values at the door of a comparison."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]


def checked_values(values: ArrayLike, n_inputs: int | None) -> Array:
    """Return ln s as an array (networks, inputs, n_inputs), -inf for zeros; raise what is no such array."""
    shape = f"(networks, inputs, {n_inputs or 'n_inputs'})"
    if np.ma.isMaskedArray(values):
        raise TypeError("measured values must not be a masked array: a value that is not known has no place in a cdf")
    try:
        array = np.asarray(values)
    except ValueError:  # rows of different lengths
        raise ValueError(f"measured values must be an array {shape}, got {values!r:.80}") from None
    if array.dtype.kind not in "iuf":
        kind = "a complex array" if np.iscomplexobj(array) else f"an array of {array.dtype}"
        raise TypeError(f"measured values must be real numbers, ln s in an array {shape}, got {kind}")
    array = array.astype(float)
    if array.ndim != 3 or 0 in array.shape:
        raise ValueError(f"measured values must be an array {shape}, got shape {array.shape}")
    if np.isnan(array).any() or np.any(array == np.inf):
        raise ValueError("measured values must be ln s, -inf for zeros, got NaN or +inf")
    return array
