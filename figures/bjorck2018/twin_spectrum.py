"""Jacobian spectra of a plain twin of the networks, with and without batch normalization."""

from __future__ import annotations

import math
from itertools import product

import numpy as np
from matplotlib.figure import Figure

from figures import style
from figures.setting import Setting
from figures.tables import Table, binned, plain
from figures.twin import twin
from rmt import plotting
from rmt.networks.predict import predict

TITLE = "Jacobian spectrum of the plain twin, depth 20 and 110, with and without BN, and the law"
PAPER = "Not in the paper, which argues by products of Gaussian matrices (figures 7 and 8)."
DEPTHS, BINS = (20, 110), 50
_WIDTH = 200  # units a layer


def _draws(setting: Setting) -> int:
    return 8 if setting.small else 100


def table(setting: Setting) -> Table:
    """Return histograms of log10 s, of the values s > 0 of all networks, and what is expected of so many.

    `predicted` is at this width (the law, its 1/N term, the draw of active units), `law` at infinite width; what they
    expect below the smallest value measured is in the first bin.
    """
    rows = []
    for depth, normalized in product(DEPTHS, (True, False)):
        network = twin(depth, normalized, _WIDTH)
        measured = setting.measure(network, _draws(setting)).log_singular_values
        values, prediction = measured[np.isfinite(measured)], predict(network)
        edges = np.linspace(values.min(), max(values.max(), prediction.spectrum.log_edges[1]), BINS + 1)
        law = prediction.spectrum.log.cdf(edges)
        shift = np.interp(edges, *prediction.null.cdf_shift(prediction.spectrum)) if prediction.null else 0.0
        counts = np.histogram(values, edges)[0]
        expected = [np.diff([0.0, *cdf[1:-1], 1.0]) * values.size for cdf in (law + shift, law)]
        rows += [(normalized, depth, *row) for row in binned(edges / math.log(10), counts, *expected)]
    return plain("batch_norm depth bin_left bin_right count predicted law", rows)


def draw(table: Table, setting: Setting) -> Figure:
    """Draw the four histograms."""
    figure = style.figure(7.2, 5.2)
    axes = figure.subplots(2, 2)
    figure.subplots_adjust(left=0.09, right=0.98, top=0.88, bottom=0.1, wspace=0.22, hspace=0.42)
    for ax, (depth, normalized) in zip(axes.flat, product(DEPTHS, (True, False)), strict=True):
        left, right, counts, predicted, law = _columns(table, normalized, depth)
        edges = np.array([*left, right[-1]])
        plotting.histogram(edges, counts, predicted, ax)
        ax.stairs(law, edges, color="black", lw=0.8, ls=":")
        ax.set_ylim(0, 1.25 * counts.max())
        ax.get_legend().remove()
        ax.set_title(f"depth {depth}, {'with' if normalized else 'without'} BN", fontsize=8)
        ax.set_xlabel("log₁₀ s")
        ax.set_ylabel("values s > 0 per bin")
    figure.suptitle(f"plain twin: {_WIDTH} units a layer, ReLU, He initialization, Gaussian inputs, {_draws(setting)} "
                    f"networks, seed {setting.seed}\nBN in evaluation mode with the statistics of 2048 inputs; "
                    "red: theory at this width, dotted: the law at infinite width", fontsize=8)
    return figure


def _columns(table: Table, normalized: bool, depth: int) -> np.ndarray:
    return np.array([row[2:] for row in table.rows if row[:2] == (normalized, depth)], dtype=float).T


def distance(table: Table, normalized: bool, depth: int) -> tuple[float, float]:
    """Return the sup distance of the binned cdfs, measured from predicted at this width and from the law."""
    _, _, *shares = (np.cumsum(column) / column.sum() for column in _columns(table, normalized, depth))
    measured, predicted, law = shares
    return float(np.abs(measured - predicted).max()), float(np.abs(measured - law).max())


def reading(table: Table) -> str:
    """Say how far theory and networks are apart."""
    found = ["depth {} {} BN {:.3f} ({:.3f})".format(depth, "with" if bn else "without", *distance(table, bn, depth))
             for depth, bn in product(DEPTHS, (True, False))]
    return (f"Sup distance of measured cdfs from the theory at this width (from the law at infinite width): "
            f"{', '.join(found)}. BN shifts the spectrum and leaves its shape.")
