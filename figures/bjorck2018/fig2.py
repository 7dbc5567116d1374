"""Figure 2: the gradient of the middle layer at initialization."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from figures import initial, style
from figures.setting import Setting
from figures.tables import Table, binned, plain

TITLE = "entries of the middle layer's gradient at initialization"
PAPER = ("Heavy tails without BN, over a range far wider than with BN, whose gradients are concentrated around zero "
         "(layer 55 of ResNet-110).")
BINS = 200


def table(setting: Setting) -> Table:
    """Return the histogram of the entries, with bins over the range of each network."""
    rows = []
    for normalized, found in initial.passes(setting).items():
        gradient = found["gradient"].astype(float)
        counts, edges = np.histogram(gradient, BINS, (-np.abs(gradient).max(), np.abs(gradient).max()))
        rows += [(normalized, *row) for row in binned(edges, counts)]
    return plain("batch_norm bin_left bin_right count", rows)


def draw(table: Table, setting: Setting) -> Figure:
    """Draw both histograms, counts in logs."""
    figure = style.figure(7.2, 3.3)
    axes = figure.subplots(1, 2, sharey=True)
    figure.subplots_adjust(left=0.09, right=0.98, top=0.8, bottom=0.14, wspace=0.08)
    for ax, normalized, color in zip(axes, (True, False), style.PALETTE, strict=False):
        left, right, count = _bins(table, normalized)
        ax.stairs(count, [*left, right[-1]], fill=True, color=color)
        ax.set_yscale("log")
        ax.set_xlabel("entry of the gradient of the loss")
        ax.set_title(f"{'with' if normalized else 'without'} BN: kurtosis {kurtosis(table, normalized):.1f} "
                     "(a Gaussian: 3)", fontsize=8)
        ax.locator_params(axis="x", nbins=5)
    axes[0].set_ylabel("entries per bin")
    figure.suptitle(f"layer {initial.DEPTH // 2}: {initial.about(setting)}\n(the two scales differ)", fontsize=8)
    return figure


def _bins(table: Table, normalized: bool) -> np.ndarray:
    return np.array([row[1:] for row in table.rows if row[0] == normalized], dtype=float).T


def kurtosis(table: Table, normalized: bool) -> float:
    """Return E (g - mean)^4 / variance^2 of the binned entries."""
    left, right, count = _bins(table, normalized)
    x, weight = (left + right) / 2, count / count.sum()
    x = x - weight @ x
    return float(weight @ x**4 / (weight @ x**2) ** 2)


def reading(table: Table) -> str:
    """Say how wide and how heavy-tailed both are."""
    width = {bn: 2 * float(_bins(table, bn)[1].max()) for bn in (True, False)}
    return (f"Without BN the entries span {width[False]:.3g}, {width[False] / width[True]:.3g} times the "
            f"{width[True]:.3g} with BN; kurtosis {kurtosis(table, False):.1f} without, "
            f"{kurtosis(table, True):.1f} with.")
