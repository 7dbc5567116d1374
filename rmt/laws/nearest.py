"""The nearest of some places in the complex plane: where a root was found, from which one nearby is a few steps."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_FAR = 1e150  # whose square is a float


def nearest(points: NDArray[np.complex128], places: NDArray[np.complex128]) -> NDArray[np.intp]:
    """Return which of the places is the nearest to every point; infinite ones are far away, NaN is zero."""
    from scipy.spatial import KDTree  # slow to import

    known, asked = (np.clip(np.nan_to_num(np.stack([z.real, z.imag], axis=1)), -_FAR, _FAR) for z in (places, points))
    return np.asarray(KDTree(known).query(asked)[1], dtype=np.intp)
