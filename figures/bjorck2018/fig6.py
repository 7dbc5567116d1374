"""Figure 6: the gradient at the outputs at initialization."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from figures import initial, style
from figures.setting import Setting
from figures.tables import Table, plain

TITLE = "gradient at the outputs, image by class, at initialization"
PAPER = ("Without BN the network predicts one class for every image, so that the gradient has entries ± 1/batch and "
         "one class takes all that is positive; with BN it depends on the image.")


def table(setting: Setting) -> Table:
    """Return the gradient of the mean loss in every logit."""
    return plain("batch_norm input class gradient", [
        (normalized, i, k, value) for normalized, found in initial.passes(setting).items()
        for i, row in enumerate(found["output_gradient"].tolist()) for k, value in enumerate(row)])


def draw(table: Table, setting: Setting) -> Figure:
    """Draw both as images: a row an image of the batch, a column a class."""
    figure = style.figure(5.4, 4.6)
    axes = figure.subplots(1, 2, sharey=True)
    figure.subplots_adjust(left=0.11, right=0.86, top=0.83, bottom=0.11, wspace=0.08)
    for ax, normalized in zip(axes, (False, True), strict=True):
        g = matrix(table, normalized)
        drawn = ax.imshow(g * len(g), aspect="auto", cmap="RdBu_r", vmin=-1, vmax=1, interpolation="nearest")
        ax.set_title(f"{'with' if normalized else 'without'} BN: one class has\n{share(g):.2f} of the positive part",
                     fontsize=8)
        ax.set_xlabel("class")
        ax.set_xticks(range(g.shape[1]))
    axes[0].set_ylabel("image of the batch")
    bar = figure.colorbar(drawn, cax=figure.add_axes((0.88, 0.11, 0.025, 0.72)))
    bar.set_label("gradient of the loss × batch size")
    figure.suptitle(initial.about(setting), fontsize=7.5)
    return figure


def matrix(table: Table, normalized: bool) -> np.ndarray:
    """Return the gradient (batch, classes)."""
    rows = [row for row in table.rows if row[0] == normalized]
    return np.array([float(row[3]) for row in rows]).reshape(-1, 1 + max(int(row[2]) for row in rows))


def share(g: np.ndarray) -> float:
    """Return the largest share that a class has of the positive part of a gradient."""
    positive = np.maximum(g, 0).sum(0)
    return float(positive.max() / positive.sum())


def reading(table: Table) -> str:
    """Say how much one class takes."""
    without, with_norm = matrix(table, False), matrix(table, True)
    return (f"One class takes {share(without):.3f} of the positive gradient without BN, {share(with_norm):.3f} with; "
            f"the largest entries are {np.abs(without).max() * len(without):.3f} and "
            f"{np.abs(with_norm).max() * len(with_norm):.3f} over the batch size.")
