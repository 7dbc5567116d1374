"""Curves over epochs or sizes, with a band over seeds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from figures.tables import Cell


def band(ax: Axes, x: Sequence[Cell], y: Sequence[Cell], **look: Any) -> None:
    """Draw the median of y at each x, and a band from the least to the largest of the seeds there."""
    places, values = np.array(x, dtype=float), np.array(y, dtype=float)
    at = np.unique(places)
    low, middle, high = np.array([np.quantile(values[places == place], [0, 0.5, 1]) for place in at]).T
    ax.fill_between(at, low, high, color=look["color"], alpha=0.2, lw=0)
    ax.plot(at, middle, **look)
