"""Figure 4: channel means and variances along a diverging step."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from empirical.gradient_step import MomentsAlongStep
from figures import initial, style
from figures.bjorck2018 import fig3
from figures.setting import Setting
from figures.tables import Table, plain

TITLE = "channel means and variances along a diverging step, without BN"
PAPER = "Along a diverging gradient update without BN the moments explode, the more the higher the layer."
FRACTIONS = tuple(i / 20 for i in range(21))
STATISTICS = ("mean", "variance")


def table(setting: Setting) -> Table:
    """Return mean and variance of every channel of three layers along the step."""
    job = MomentsAlongStep(fig3.job(setting, "none", 0), initial.SAMPLED, FRACTIONS)
    moments = setting.answers([job], "ResNet-110, along a diverging step")[0]["moments"]
    return plain("layer fraction_of_step channel statistic value", [
        (layer, fraction, channel, STATISTICS[k], float(moments[i, j, channel, k]))
        for j, layer in enumerate(initial.SAMPLED) for i, fraction in enumerate(FRACTIONS)
        for channel in range(moments.shape[2]) if not np.isnan(moments[i, j, channel, 0]) for k in range(2)])


def draw(table: Table, setting: Setting) -> Figure:
    """Draw log10 of both as images: upwards the step, to the right the channels, a column of panels a layer."""
    figure = style.figure(7.2, 4.6)
    axes = figure.subplots(2, len(initial.SAMPLED), sharey=True)
    figure.subplots_adjust(left=0.09, right=0.97, top=0.86, bottom=0.11, wspace=0.2, hspace=0.35)
    for row, statistic in zip(axes, STATISTICS, strict=True):
        for ax, layer in zip(row, initial.SAMPLED, strict=True):
            values = matrix(table, layer, statistic)
            with np.errstate(divide="ignore"):
                logs = np.ma.masked_invalid(np.log10(np.abs(values)))
            drawn = ax.imshow(logs, origin="lower", aspect="auto", extent=(-0.5, values.shape[1] - 0.5, 0, 100),
                              interpolation="nearest")
            figure.colorbar(drawn, ax=ax)
            ax.set_title(f"layer {layer}: log₁₀ {statistic}", fontsize=8)
    for ax in axes[1]:
        ax.set_xlabel("channel")
    for ax in axes[:, 0]:
        ax.set_ylabel("% of the step")
    figure.suptitle(f"{initial.about(setting)}\nwithout BN, activations; white: a channel that is zero", fontsize=7.5)
    return figure


def matrix(table: Table, layer: int, statistic: str) -> np.ndarray:
    """Return the values of a layer's statistic, (fractions, channels)."""
    values = [float(row[4]) for row in table.rows if row[0] == layer and row[3] == statistic]
    return np.array(values).reshape(len(FRACTIONS), -1)


def reading(table: Table) -> str:
    """Say by how much the variances grow."""
    grown = []
    for layer in initial.SAMPLED:
        first, last = (matrix(table, layer, "variance")[i] for i in (0, -1))
        active = (first > 0) & (last > 0)
        grown.append(f"10^{np.median(np.log10(last[active] / first[active])):.1f} at layer {layer}")
    return f"From the beginning to the end of the step a channel's variance grows (median) by {', '.join(grown)}."
