"""The largest learning rate that trains, against depth."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from empirical.tangent_kernel import LargestLearningRate
from figures import style
from figures.curves import band
from figures.setting import Setting
from figures.tables import Table, plain

TITLE = "largest learning rate that trains, against depth, with and without BN"
PAPER = ("Without BN deep networks train only with tiny learning rates (about .0001 at depth 110), with BN at .1. "
         "The paper's account: the condition number grows with depth.")
GRID = tuple(1.6 * 2.0**-k for k in range(15))


def _depths(setting: Setting) -> tuple[int, ...]:
    return (8, 20, 44) if setting.small else (8, 20, 56, 110)


def _job(setting: Setting, depth: int, norm: str, seed: int) -> LargestLearningRate:
    steps, batch = (150, 32) if setting.small else (400, 128)
    return LargestLearningRate(depth, norm, seed, GRID, steps, batch, setting.images(), setting.device)


def table(setting: Setting) -> Table:
    """Return the largest learning rate of a grid of factor 2, and 2 over the tangent kernel's top eigenvalue."""
    jobs = {(depth, norm == "every", seed): _job(setting, depth, norm, seed) for depth in reversed(_depths(setting))
            for norm in ("every", "none") for seed in range(setting.seed, setting.seed + 3)}
    found = setting.answers([*jobs.values()], "largest learning rates")
    return plain("depth batch_norm seed learning_rate predicted", sorted(
        (*key, float(answer["learning_rate"]), float(answer["predicted"]))
        for key, answer in zip(jobs, found, strict=True)))


def draw(table: Table, setting: Setting) -> Figure:
    """Draw both against depth in logs."""
    figure = style.figure(5.2, 3.8)
    ax = figure.add_subplot()
    figure.subplots_adjust(left=0.14, right=0.97, top=0.84, bottom=0.13)
    for normalized, color in zip((True, False), style.PALETTE, strict=False):
        mine = [row for row in table.rows if row[1] == normalized]
        name, depth = "with BN" if normalized else "without BN", [row[0] for row in mine]
        band(ax, depth, [row[3] for row in mine], color=color, marker="o", ms=4, label=f"{name}: trains")
        band(ax, depth, [row[4] for row in mine], color=color, ls="--", lw=1, label=f"{name}: 2/λ at initialization")
    ticks = _depths(setting)
    ax.set(xscale="log", yscale="log", xlabel="depth (layers)", ylabel="learning rate")
    ax.set_xticks(ticks, [str(depth) for depth in ticks])
    ax.minorticks_off()
    ax.legend(frameon=False, fontsize=7)
    job = _job(setting, 8, "none", setting.seed)
    seeds = f"seeds {setting.seed}–{setting.seed + 2}"
    figure.suptitle(f"ResNets, Xavier, {setting.inputs_text()}, momentum .9, batch {job.batch}, {job.steps} steps\n"
                    f"3 networks ({seeds}), line: median, band: all; rates tried: {GRID[0]:g}, a half of it, ...\n"
                    "λ: top eigenvalue of the tangent kernel over the batch", fontsize=7.5)
    return figure


def medians(table: Table, column: int) -> dict[tuple[bool, int], float]:
    """Return the median over seeds of a column, by (batch_norm, depth)."""
    keys = dict.fromkeys((bool(row[1]), int(row[0])) for row in table.rows)
    return {key: float(np.median([float(row[column]) for row in table.rows if (row[1], row[0]) == key]))
            for key in keys}


def reading(table: Table) -> str:
    """Say how it falls with depth, and what BN gains."""
    rate, stable = medians(table, 3), medians(table, 4)
    depths = [int(row[0]) for row in table.rows]
    low, high = min(depths), max(depths)
    text = [f"{'with' if bn else 'without'} BN from {rate[bn, low]:.2g} at depth {low} to {rate[bn, high]:.2g} at "
            f"depth {high} (2/λ: {stable[bn, low]:.2g} to {stable[bn, high]:.2g})" for bn in (False, True)]
    return f"Largest learning rate that trains, median over seeds: {'; '.join(text)}."
