"""Condition number and gradient growth of a plain twin of the networks, with and without batch normalization."""

from __future__ import annotations

import math

import numpy as np
from matplotlib.figure import Figure

from figures import style
from figures.setting import Setting
from figures.tables import Table, plain
from figures.twin import WIDTH, twin
from rmt.networks.predict import predict

TITLE = "condition number of the plain twin against depth, with and without BN"
PAPER = "The paper's account is that the condition number of deep products is what BN mends."
DEPTHS = (2, 5, 10, 20, 50, 110)
KEYS = "batch_norm depth draw log_condition_number predicted log_largest predicted_log_largest"


def _draws(setting: Setting) -> int:
    return 10 if setting.small else 100


def table(setting: Setting) -> Table:
    """Return ln of s_max / s_min over s > 0 and of s_max, of every network and as predicted at this width."""
    rows = []
    for normalized in (True, False):
        for depth in DEPTHS:
            network = twin(depth, normalized)
            finite = predict(network).finite_width
            largest = math.nan if finite.log_largest is None else finite.log_largest.median
            for i, logs in enumerate(setting.measure(network, _draws(setting)).log_singular_values[:, 0]):
                alive = logs[np.isfinite(logs)]
                rows.append((normalized, depth, i, float(np.ptp(alive)), finite.log_condition_number, float(alive[0]),
                             largest))
    return plain(KEYS, rows)


def draw(table: Table, setting: Setting) -> Figure:
    """Draw both against depth: what is predicted as lines, networks as markers."""
    figure = style.figure(7.2, 3.5)
    axes = figure.subplots(1, 2)
    figure.subplots_adjust(left=0.09, right=0.98, top=0.82, bottom=0.14, wspace=0.24)
    for ax, column, name in zip(axes, (3, 5), ("condition number (of s > 0)", "largest s"), strict=True):
        for normalized, color, marker, shift in zip((True, False), style.PALETTE, style.MARKERS, (0.96, 1.04),
                                                    strict=False):
            depth, values, predicted = np.array([(row[1], row[column], row[column + 1]) for row in table.rows
                                                 if row[0] == normalized], dtype=float).T
            order = np.unique(depth, return_index=True)[1]
            ax.plot(depth[order], predicted[order] / math.log(10), color=color, lw=1.2, ls="-" if normalized else "--")
            ax.plot(depth * shift, values / math.log(10), color=color, marker=marker, ms=3.5, ls="none", alpha=0.7,
                    label="with BN" if normalized else "without BN")
        ax.set(xscale="log", xlabel="depth (layers)", ylabel=f"log₁₀ {name}")
        ax.set_xticks(DEPTHS, [str(depth) for depth in DEPTHS])
        ax.minorticks_off()
    axes[0].legend(frameon=False)
    figure.suptitle(f"plain twin: {WIDTH} units a layer, ReLU, He initialization, Gaussian inputs, {_draws(setting)} "
                    f"networks, seed {setting.seed}\nlines: theory at this width; markers: networks (BN in evaluation "
                    "mode with the statistics of 2048 inputs)", fontsize=8)
    return figure


def reading(table: Table) -> str:
    """Say how large both are at the greatest depth."""
    parts = []
    for normalized in (True, False):
        rows = np.array([row[3:] for row in table.rows if row[:2] == (normalized, DEPTHS[-1])], dtype=float)
        kappa, predicted, largest, expected = rows.mean(0) / math.log(10)
        parts.append(f"{'with' if normalized else 'without'} BN 10^{kappa:.1f} (theory 10^{predicted:.1f}), "
                     f"largest s 10^{largest:.1f} (10^{expected:.1f})")
    return f"At depth {DEPTHS[-1]} the condition number is, {'; '.join(parts)}: BN does not lower it at initialization."
