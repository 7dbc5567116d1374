"""Figure 5: channel means and standard deviations against depth at initialization."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from figures import initial, style
from figures.setting import Setting
from figures.tables import Table, plain

TITLE = "channel means and standard deviations against layer at initialization"
PAPER = "Near-exponential growth with depth without BN, nearly constant with BN."


def table(setting: Setting) -> Table:
    """Return mean and standard deviation over a layer's channels of log10 |mean| and log10 std."""
    return plain("batch_norm layer log_abs_mean log_abs_mean_sd log_std log_std_sd", [
        (normalized, layer, *means, *stds) for normalized, found in initial.passes(setting).items()
        for layer, (means, stds) in enumerate(zip(found["log_abs_mean"].tolist(), found["log_std"].tolist(),
                                                  strict=True), 1)])


def draw(table: Table, setting: Setting) -> Figure:
    """Draw both against the layer, a band of one standard deviation over channels."""
    figure = style.figure(7.2, 3.4)
    axes = figure.subplots(1, 2, sharey=True)
    figure.subplots_adjust(left=0.09, right=0.98, top=0.86, bottom=0.13, wspace=0.2)
    for ax, column, name in zip(axes, (2, 4), ("|mean|", "standard deviation"), strict=True):
        for normalized, color in zip((True, False), style.PALETTE, strict=False):
            rows = np.array([row[1:] for row in table.rows if row[0] == normalized], dtype=float)
            layer, value, spread = rows[:, 0], rows[:, column - 1], rows[:, column]
            ax.fill_between(layer, value - spread, value + spread, color=color, alpha=0.2, lw=0)
            ax.plot(layer, value, color=color, label="with BN" if normalized else "without BN")
        ax.set_xlabel("layer")
        ax.set_ylabel(f"log₁₀ of a channel's {name}")
        ax.tick_params(labelleft=True)
    axes[0].legend(frameon=False)
    figure.suptitle(f"{initial.about(setting)}\nactivations (after BN and ReLU); band: ± 1 sd over channels",
                    fontsize=8)
    return figure


def growth(table: Table, normalized: bool, column: int = 2) -> float:
    """Return the decades from the first to the last layer."""
    values = [float(row[column]) for row in table.rows if row[0] == normalized]
    return values[-1] - values[0]


def reading(table: Table) -> str:
    """Say how many decades each grows."""
    decades = [f"{growth(table, False, column):.2f} without BN, {growth(table, True, column):.2f} with"
               for column in (2, 4)]
    return f"From the first layer to the last, log10 |mean| grows by {decades[0]}; log10 std by {decades[1]}."
