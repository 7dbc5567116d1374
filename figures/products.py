"""Histograms of the singular values of products of Gaussian matrices, with the exact law."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure

from empirical.measurement import Measurement
from empirical.study import Row
from figures import style
from figures.tables import Table, binned, plain
from rmt import plotting


def histograms(measured: Mapping[Row, Measurement], bins: int) -> Table:
    """Return counts of s, all runs pooled, in equal bins up to the law's upper edge; the last has larger ones too."""
    rows = []
    for row, measurement in measured.items():
        law = row.predict().spectrum
        top = math.exp(law.log_edges[1])
        edges = np.linspace(0, top, bins + 1)
        values = np.exp(measurement.log_singular_values)
        counts = np.histogram(np.minimum(values, top), edges)[0]
        predicted = np.diff(law.cdf(edges)) * values.size
        rows += [(row.depth, *one) for one in binned(edges, counts, predicted)]
    return plain("matrices bin_left bin_right count predicted", rows)


def draw(table: Table, width: int, draws: int, seed: int) -> Figure:
    """Draw the histograms, one above the other."""
    matrices = list(dict.fromkeys(table.column("matrices")))
    figure = style.figure(5.2, 2.5 * len(matrices))
    axes = np.atleast_1d(figure.subplots(len(matrices), 1))
    figure.subplots_adjust(left=0.14, right=0.97, top=1 - 0.12 / len(axes), bottom=0.22 / len(axes), hspace=0.42)
    for ax, m in zip(axes, matrices, strict=True):
        left, right, counts, predicted = np.array([row[1:] for row in table.rows if row[0] == m]).T
        plotting.histogram(np.array([*left, right[-1]]), counts, predicted, ax)
        ax.set_title(f"{m} matri{'x' if m == 1 else 'ces'}, N = {width}, {draws} runs pooled, seed {seed}", fontsize=8)
    return figure


def first_bins(table: Table, count: int = 3) -> Table:
    """Return the first bins of each histogram."""
    matrices = dict.fromkeys(table.column("matrices"))
    return plain("matrices bin from to predicted measured", [
        (m, i, left, right, predicted, counted) for m in matrices for i, (_, left, right, counted, predicted) in
        enumerate([row for row in table.rows if row[0] == m][:count], 1)])
