"""Dynamical isometry: Gaussian against orthogonal weights as depth grows."""

from __future__ import annotations

import math

import numpy as np
from matplotlib.figure import Figure
from scipy.stats import sem

from empirical.inputs import gaussian
from empirical.predicted import Predicted
from figures import style
from figures.setting import Setting
from figures.tables import Table, plain
from rmt.networks import schemes
from rmt.networks.meanfield import critical_point
from rmt.networks.network import mlp

TITLE = "dynamical isometry: Gaussian and orthogonal weights with linear, tanh and ReLU, against depth"
CASES = (("linear", 0.0), ("tanh", 0.001), ("tanh", 0.2), ("relu", 0.0))  # activation, standard deviation of a bias
WEIGHTS = {"gaussian": schemes.gaussian, "orthogonal": schemes.orthogonal}
DEPTHS = (1, 2, 8, 32)
TICKS = (1, 2, 5, 10)  # of the largest s


def sizes(setting: Setting) -> tuple[int, int]:
    """Return the width and the number of networks."""
    return (200, 8) if setting.small else (1000, 20)


def table(setting: Setting) -> Table:
    """Return the largest s and Var(s^2) / (mean s^2)^2 of critical networks, of law and networks."""
    width, draws = sizes(setting)
    jobs = {}
    for activation, bias in CASES:
        point = critical_point(activation, bias_std=bias)
        square = (point.variance - bias**2) / point.sigma_w**2  # of an input: at the fixed point from the start
        for name, weights in WEIGHTS.items():
            jobs.update({(name, activation, bias, point.sigma_w, point.variance, depth): Predicted(
                mlp([width] * (depth + 1), activation, weights(point.sigma_w), bias), square) for depth in DEPTHS})
    rows = []
    for (key, job), law in zip(jobs.items(), setting.answers([*jobs.values()], "laws"), strict=True):
        logs = setting.measure(job.network, draws, gaussian(job.input_variance)).log_singular_values[:, 0]
        x = np.exp(2 * logs)
        both = {"largest": (math.exp(law["largest"]), np.exp(logs[:, 0])),
                "variance": (float(law["variance"]), x.var(axis=1) / x.mean(axis=1) ** 2)}
        rows += [(*key, quantity, predicted, float(found.mean()), float(sem(found)))
                 for quantity, (predicted, found) in both.items()]
    return plain("weights activation bias_std sigma_w variance depth quantity law measured standard_error", rows)


def draw(table: Table, setting: Setting) -> Figure:
    """Draw both against depth: full markers and lines orthogonal, open markers and dashes Gaussian."""
    width, draws = sizes(setting)
    figure = style.figure(7.2, 4.0)
    axes = figure.subplots(1, 2)
    figure.subplots_adjust(left=0.08, right=0.98, top=0.77, bottom=0.12, wspace=0.2)
    for ax, quantity in zip(axes, ("largest", "variance"), strict=True):
        for (activation, bias), color, marker in zip(CASES, style.PALETTE, style.MARKERS, strict=False):
            for name, line, face in (("orthogonal", "-", color), ("gaussian", "--", "white")):
                mine = [row for row in table.rows if row[:3] == (name, activation, bias) and row[6] == quantity]
                depth, law, mean, error = np.array([(row[5], *row[7:]) for row in mine], dtype=float).T
                ax.plot(depth, law, color=color, ls=line, lw=1.2)
                label = activation + (f", q* = {mine[0][4]:.2g}" if bias else "")
                ax.errorbar(depth, mean, error, color=color, fmt=marker, mfc=face, ms=4.5, label=f"{name} {label}")
        ax.set(xscale="log", yscale="log", xlabel="depth L (layers)")
        ax.set_xticks(DEPTHS, map(str, DEPTHS))
        ax.minorticks_off()
    axes[0].set_yticks(TICKS, map(str, TICKS))
    axes[0].set_ylabel("largest s")
    axes[1].set(ylim=(3e-4, 300), ylabel="variance of s² / (mean s²)²")
    axes[1].text(1, 0.003, "orthogonal linear: 0", fontsize=7, color=style.PALETTE[0])
    figure.legend(*axes[0].get_legend_handles_labels(), frameon=False, ncols=4, fontsize=7, loc="upper center",
                  bbox_to_anchor=(0.5, 0.91))
    figure.suptitle(f"critical networks (mean s² = 1); lines: law (N → ∞), markers: mean ± standard error of {draws} "
                    f"networks, N = {width}, Gaussian inputs, seed {setting.seed}\n(where L² > N, the largest s of a "
                    "network falls short of the law's edge)", fontsize=7.5)
    return figure


def reading(table: Table) -> str:
    """Say what the largest s is at the last depth."""
    last = [row for row in table.rows if row[5] == DEPTHS[-1] and row[6] == "largest"]
    said = [f"{row[8]:.3g} (law {row[7]:.3g}) for {row[0]} {row[1]}" + (f" at q* = {row[4]:.2g}" if row[2] else "")
            for row in sorted(last, key=lambda row: float(row[7]))]
    return f"At depth {DEPTHS[-1]} the largest s is {', '.join(said)}."
