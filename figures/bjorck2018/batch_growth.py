"""A gradient's growth through plain layers with batch normalization in training mode."""

from __future__ import annotations

import math

import numpy as np
from matplotlib.figure import Figure

from empirical.batch_growth import BatchGrowth
from figures import style
from figures.curves import band
from figures.setting import Setting
from figures.tables import Table, plain
from figures.twin import twin
from rmt.networks.batchnorm import gradient_growth

TITLE = "a gradient's growth through the plain twin, BN in training mode, and the theory"
PAPER = ("Not in the paper, and against its account: BN in a plain network makes gradients explode at initialization "
         "(Yang et al. 2019), by π/(π − 1) = 1.467 a layer in the squared norm for ReLU and large batches.")
DEPTH, WIDTH, BATCH, SEEDS = 30, 400, 32, 4


def table(setting: Setting) -> Table:
    """Return log10 of the squared norm of a gradient behind so many layers, over that at the output."""
    jobs = {(normalized, seed): BatchGrowth(twin(DEPTH, normalized, WIDTH), BATCH, seed, setting.device)
            for normalized in (True, False) for seed in range(setting.seed, setting.seed + SEEDS)}
    rate = {True: gradient_growth("relu", BATCH), False: 1.0}
    found = setting.answers([*jobs.values()], "gradients through BN")
    return plain("batch_norm seed layers log_growth predicted", [
        (*key, layers, float(value), layers * math.log(rate[key[0]])) for key, answer in zip(jobs, found, strict=True)
        for layers, value in enumerate(answer["log_growth"], 1)])


def draw(table: Table, setting: Setting) -> Figure:
    """Draw it against the number of layers."""
    figure = style.figure(5.2, 3.6)
    ax = figure.add_subplot()
    figure.subplots_adjust(left=0.13, right=0.97, top=0.84, bottom=0.14)
    for normalized, color in zip((True, False), style.PALETTE, strict=False):
        layers, values, predicted = np.array([row[2:] for row in table.rows if row[0] == normalized], dtype=float).T
        band(ax, layers, values / math.log(10), color=color, marker="o", ms=3, ls="none",
             label=f"{'with' if normalized else 'without'} BN")
        ax.plot(layers[:DEPTH], predicted[:DEPTH] / math.log(10), color=color, lw=1.2,
                label=f"theory: {math.exp(predicted[0]):.3f} a layer")
    ax.set_xlabel("layers the gradient has gone back through")
    ax.set_ylabel("log₁₀ growth of its squared norm")
    ax.legend(frameon=False)
    ax.set_title(f"plain twin: {WIDTH} units a layer, ReLU, He initialization; BN in training mode, batch {BATCH}\n"
                 f"{SEEDS} networks, seeds {setting.seed}–{setting.seed + SEEDS - 1}; marker: median, band: all",
                 fontsize=7.5)
    return figure


def rate(table: Table, normalized: bool) -> float:
    """Return the growth per layer, from the first layer to the last but four, where the input is not felt."""
    rows = np.array([row[2:4] for row in table.rows if row[0] == normalized], dtype=float)
    last = DEPTH - 5
    return float(np.exp((rows[rows[:, 0] == last, 1].mean() - rows[rows[:, 0] == 1, 1].mean()) / (last - 1)))


def reading(table: Table) -> str:
    """Say the rates."""
    predicted = {row[0]: math.exp(float(row[4])) for row in table.rows if row[2] == 1}
    return (f"Per layer the squared norm grows by {rate(table, True):.3f} with BN (theory {predicted[True]:.3f} at "
            f"batch {BATCH}, 1.467 for large ones) and by {rate(table, False):.3f} without ({predicted[False]:.3f}).")
