"""Residual networks with branches scaled by 1, 1/sqrt(L) and 1/L, with and without normalization."""

from __future__ import annotations

import math

import numpy as np
from matplotlib.figure import Figure
from scipy.stats import sem

from empirical.predicted import Predicted
from figures import style
from figures.setting import Setting
from figures.tables import Table, plain
from rmt.networks.zoo import residual_mlp

TITLE = "residual branches scaled by 1, 1/sqrt(L) and 1/L against the number of blocks"
SCALES: dict[str, float | str] = {"1": 1.0, "1/√L": "1/sqrt(L)", "1/L": "1/L"}
NORMS = {"none": "no normalization", "layer": "LayerNorm"}
TICKS = (0.2, 0.5, 1, 2, 5, 10, 20)  # decades
BLOCKS = (1, 2, 4, 8, 16)
QUANTITIES = {"largest": ("largest s", (0.15, 7)), "condition": ("condition number", (0.3, 30))}


def sizes(setting: Setting) -> tuple[int, int]:
    """Return the width and the number of networks."""
    return (100, 6) if setting.small else (500, 20)


def table(setting: Setting) -> Table:
    """Return log10 of the largest s and of the condition number, of the law and of networks."""
    width, draws = sizes(setting)
    jobs = {(norm, name, blocks): Predicted(residual_mlp(blocks, width, "relu", "kaiming_normal", norm, scale))
            for norm in NORMS for name, scale in SCALES.items() for blocks in BLOCKS}
    rows = []
    for (key, job), law in zip(jobs.items(), setting.answers([*jobs.values()], "laws"), strict=True):
        logs = setting.measure(job.network, draws).log_singular_values[:, 0]
        found = np.array([logs[:, 0], logs[:, 0] - logs[:, -1]]).T
        numbers = np.array([[law[quantity] for quantity in QUANTITIES], found.mean(axis=0), sem(found)]) / math.log(10)
        rows += [(*key, *row) for row in zip(QUANTITIES, *numbers.tolist(), strict=True)]
    return plain("norm scale blocks quantity law measured standard_error", rows)


def draw(table: Table, setting: Setting) -> Figure:
    """Draw a row of panels per quantity, a column per normalization."""
    width, draws = sizes(setting)
    figure = style.figure(7.2, 5.4)
    axes = figure.subplots(2, 2, sharex=True, sharey="row")
    figure.subplots_adjust(left=0.09, right=0.98, top=0.87, bottom=0.09, wspace=0.05, hspace=0.1)
    for row, (quantity, (title, ends)) in zip(axes, QUANTITIES.items(), strict=True):
        for ax, norm in zip(row, NORMS, strict=True):
            for scale, color, marker in zip(SCALES, style.PALETTE, style.MARKERS, strict=False):
                mine = [line for line in table.rows if line[:2] == (norm, scale) and line[3] == quantity]
                blocks, law, mean, error = np.array([(line[2], *line[4:]) for line in mine], dtype=float).T
                ax.plot(blocks, law, color=color)
                ax.errorbar(blocks, mean, error, color=color, fmt=marker, ms=4.5, capsize=2, label=f"a = {scale}")
            ax.set(xscale="log", yscale="log")
            ax.set_xticks(BLOCKS, map(str, BLOCKS))
            ax.set_yticks(TICKS, map(str, TICKS))
            ax.minorticks_off()
        row[0].set(ylabel=f"log₁₀ of the {title}", ylim=ends)
    for ax, title in zip(axes[0], NORMS.values(), strict=True):
        ax.set_title(title)
    for ax in axes[1]:
        ax.set_xlabel("number of blocks L")
    axes[0, 1].legend(frameon=False)
    figure.suptitle("blocks x + a W relu(W norm(x)), Kaiming; lines: law (N → ∞, its smallest of N values)\nmarkers: "
                    f"mean ± standard error of {draws} networks, N = {width}, Gaussian inputs, seed {setting.seed}",
                    fontsize=8)
    return figure


def reading(table: Table) -> str:
    """Say what the largest s is at the last number of blocks."""
    said = [f"10^{row[5]:.2f} (law 10^{row[4]:.2f}) for a = {row[1]} with {NORMS[str(row[0])]}"
            for row in table.rows if row[2] == BLOCKS[-1] and row[3] == "largest"]
    return f"After {BLOCKS[-1]} blocks the largest s is {', '.join(said)}."
