"""Table 1: sums of gradients per entry of a kernel."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from figures import initial, style
from figures.setting import Setting
from figures.tables import Table, plain, show

TITLE = "sum of |gradient| over |sum of gradient|, per kernel entry"
PAPER = ("The sum over images and pixels of |gradient|, over |their sum|, per entry of a kernel: some 250, 110 and 40 "
         "at layers 18, 54 and 90 with BN, about 2 without: there the summands share their sign.")


def table(setting: Setting) -> Table:
    """Return both sums, means over a kernel's entries, and their ratio."""
    found = initial.passes(setting)
    rows = [(layer, normalized, float(found[normalized]["sum_of_abs"][i]), float(found[normalized]["abs_of_sum"][i]))
            for i, layer in enumerate(initial.SAMPLED) for normalized in (True, False)]
    return plain("layer batch_norm sum_of_abs abs_of_sum ratio", [(*row, row[2] / row[3]) for row in rows])


def draw(table: Table, setting: Setting) -> Figure:
    """Draw the ratios as bars, with the sums in words."""
    figure = style.figure(5.4, 3.6)
    ax = figure.add_subplot()
    figure.subplots_adjust(left=0.12, right=0.97, top=0.86, bottom=0.14)
    for normalized, color, shift in ((True, style.PALETTE[0], -0.2), (False, style.PALETTE[1], 0.2)):
        rows = [row for row in table.rows if row[1] == normalized]
        ratio = [float(row[4]) for row in rows]
        ax.bar(np.arange(len(rows)) + shift, ratio, 0.36, color=color, label="with BN" if normalized else "without BN")
        for i, row in enumerate(rows):
            ax.annotate(f"{show(row[2])}\n/ {show(row[3])}", (i + shift, ratio[i]), (0, 3), textcoords="offset points",
                        ha="center", fontsize=7)
    ax.set_yscale("log")
    ax.set_ylim(1, 10 * max(float(row[4]) for row in table.rows))
    ax.set_xticks(range(len(initial.SAMPLED)), [f"layer {layer}" for layer in initial.SAMPLED])
    ax.set_ylabel("Σ |g| / |Σ g|  (g: at an image and a pixel)")
    ax.legend(frameon=False, loc="upper right")
    figure.suptitle(f"{initial.about(setting)}\nabove the bars: the two sums, means over a kernel's entries",
                    fontsize=7.5)
    return figure


def reading(table: Table) -> str:
    """Say the ratios."""
    ratios = {bn: ", ".join(f"{row[4]:.3g}" for row in table.rows if row[1] == bn) for bn in (True, False)}
    layers = ", ".join(map(str, initial.SAMPLED))
    return f"Ratio at layers {layers}: {ratios[True]} with BN, {ratios[False]} without."
