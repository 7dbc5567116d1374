"""The nearest of some places in the complex plane: where a root was found, from which one nearby is a few steps."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def nearest(points: NDArray[np.complex128], places: NDArray[np.complex128]) -> NDArray[np.intp]:
    """Return which of the places is the nearest to every point."""
    from scipy.spatial import KDTree  # slow to import

    found = KDTree(np.stack([places.real, places.imag], axis=1)).query(np.stack([points.real, points.imag], axis=1))[1]
    return np.asarray(found, dtype=np.intp)
