"""How the spectrum changes with depth: the largest, median and smallest singular value."""

from __future__ import annotations

import math

import numpy as np
from matplotlib.figure import Figure
from scipy.stats import sem

from empirical.predicted import Predicted
from figures import style
from figures.setting import Setting
from figures.tables import Table, plain
from rmt.networks.network import mlp

TITLE = "largest, median and smallest singular value against depth, 1 to 100 layers"
PAIRS = (("xavier_normal", "linear"), ("xavier_normal", "tanh"), ("kaiming_normal", "relu"), ("orthogonal", "tanh"))
DEPTHS = (1, 3, 10, 30, 100)
QUANTITIES = ("largest", "median", "smallest")


def sizes(setting: Setting) -> tuple[int, int]:
    """Return the width and the number of networks."""
    return (100, 8) if setting.small else (500, 20)


def table(setting: Setting) -> Table:
    """Return log10 of the three values at every depth: of the law, of this width where known, and measured."""
    width, draws = sizes(setting)
    networks = {(init, activation, depth): mlp([width] * (depth + 1), activation, init)
                for init, activation in PAIRS for depth in DEPTHS}
    rows = []
    laws = setting.answers([Predicted(network) for network in networks.values()], "laws")
    for (key, network), law in zip(networks.items(), laws, strict=True):
        logs = setting.measure(network, draws).log_singular_values[:, 0]
        ends = [(alive[0], np.median(alive), alive[-1]) for alive in (row[np.isfinite(row)] for row in logs)]
        predicted = law["largest"], law["quantiles"][0], law["smallest"]
        own = law["finite_largest"], math.nan, law["finite_largest"] - law["finite_condition"]
        numbers = np.array([predicted, own, np.mean(ends, axis=0), sem(ends)]).T / math.log(10)
        rows += [(*key, name, *row) for name, row in zip(QUANTITIES, numbers.tolist(), strict=True)]
    return plain("init activation depth quantity law finite_width measured standard_error", rows)


def draw(table: Table, setting: Setting) -> Figure:
    """Draw a panel per scheme and activation: lines predicted, markers measured."""
    width, draws = sizes(setting)
    figure = style.figure(7.2, 5.6)
    axes = figure.subplots(2, 2, sharex=True, sharey=True)
    figure.subplots_adjust(left=0.09, right=0.98, top=0.875, bottom=0.09, wspace=0.05, hspace=0.15)
    for ax, pair in zip(axes.flat, PAIRS, strict=True):
        for name, color, marker in zip(QUANTITIES, style.PALETTE, style.MARKERS, strict=False):
            mine = [(row[2], *row[4:]) for row in table.rows if row[:2] == pair and row[3] == name]
            depth, law, own, measured, error = np.array(mine, dtype=float).T
            ax.plot(depth, law, color=color, lw=1.2)
            ax.plot(depth, own, color=color, lw=1.2, ls=":")
            ax.errorbar(depth, measured, error, color=color, fmt=marker, ms=4, capsize=2, label=f"{name} s > 0")
        ax.plot([], [], color="black", lw=1.2, label="law (N → ∞), of N values")
        ax.plot([], [], color="black", lw=1.2, ls=":", label="theory at this width")
        ax.set_xscale("log")
        ax.set_yscale("symlog")
        for axis in (ax.xaxis, ax.yaxis):
            axis.set_major_formatter("{x:g}")
        ax.set_title(f"{pair[0]}, {pair[1]}", fontsize=8.5)
    for one, other in zip(axes[:, 0], axes[1], strict=True):
        one.set_ylabel("log₁₀ s (linear within ± 1)")
        other.set_xlabel("depth L (layers)")
    figure.legend(*axes[0, 0].get_legend_handles_labels(), frameon=False, ncols=5, loc="upper center",
                  bbox_to_anchor=(0.5, 0.965), fontsize=7.5)
    figure.suptitle(f"law of the Jacobian's singular values, and measured: mean ± standard error of {draws} networks, "
                    f"N = {width}, Gaussian inputs, seed {setting.seed}", fontsize=8)
    return figure


def reading(table: Table) -> str:
    """Say how many decades lie between the ends at the last depth."""
    said = []
    for pair in PAIRS:
        last = [row for row in table.rows if row[:3] == (*pair, DEPTHS[-1])]
        law, own, measured = (float(last[0][i]) - float(last[2][i]) for i in (4, 5, 6))
        width = f"; at this width {own:.1f}" if np.isfinite(own) else ""
        said.append(f"{measured:.1f} for {pair[0]} with {pair[1]} (law {law:.1f}{width})")
    return f"At depth {DEPTHS[-1]} the decades from the smallest to the largest s > 0 are {', '.join(said)}."
