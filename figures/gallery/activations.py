"""Activations at their critical points: the spectrum of ten layers, and what they do to a gradient."""

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
from rmt.networks.meanfield import critical_point
from rmt.networks.network import mlp
from rmt.networks.schemes import gaussian as weights

TITLE = "activations at their critical points: spread of the singular values and growth of gradients"
# standard deviations of biases: none where a bias leaves no critical point, large where a smaller leaves it unstable
BIASES = {"linear": 0.0, "leaky_relu(0.2)": 0.0, "relu": 0.0, "tanh": 0.2, "erf": 0.2, "hardtanh": 0.2, "elu": 0.2,
          "selu": 0.2, "gelu": 0.5, "silu": 0.8, "sigmoid": 0.2}
DEPTH = 10
SHARES = (0.1, 0.5, 0.9)
QUANTITIES = ("10 % quantile", "median", "90 % quantile", "largest")  # of log10 s, beside the growth of gradients


def sizes(setting: Setting) -> tuple[int, int]:
    """Return the width and the number of networks."""
    return (100, 20) if setting.small else (500, 40)


def table(setting: Setting) -> Table:
    """Return log10 of quantiles of s > 0 and of the largest, and the gradient growth, of the law and of networks."""
    width, draws = sizes(setting)
    points = {name: critical_point(name, bias_std=bias) for name, bias in BIASES.items()}
    inputs = {name: gaussian((point.variance - BIASES[name] ** 2) / point.sigma_w**2)  # at the fixed point at once
              for name, point in points.items()}
    jobs = [Predicted(mlp([width] * (DEPTH + 1), name, weights(point.sigma_w), BIASES[name]),
                      inputs[name].mean_square, SHARES) for name, point in points.items()]
    rows = []
    for (name, point), job, law in zip(points.items(), jobs, setting.answers(jobs, "laws"), strict=True):
        measured = setting.measure(job.network, draws, inputs[name])
        alive = [logs[np.isfinite(logs)] for logs in measured.log_singular_values[:, 0]]
        found = [[*np.quantile(logs, SHARES), logs[0]] for logs in alive]
        numbers = np.array([[*law["quantiles"], law["largest"]], np.mean(found, axis=0), sem(found)]) / math.log(10)
        growth = measured.gradient_growth[:, 0]
        key = name, point.sigma_w, BIASES[name]
        rows += [(*key, *row) for row in zip(QUANTITIES, *numbers.tolist(), strict=True)]
        rows.append((*key, "growth", math.exp(law["growth"]), float(growth.mean()), float(sem(growth))))
    return plain("activation sigma_w bias_std quantity law measured standard_error", rows)


def draw(table: Table, setting: Setting) -> Figure:
    """Draw a line per activation, from the law's 10 % quantile to its largest s, and its gradient growth beside it."""
    width, draws = sizes(setting)
    figure = style.figure(7.2, 5.0)
    left, right = figure.subplots(1, 2, sharey=True, width_ratios=(2.4, 1))
    figure.subplots_adjust(left=0.2, right=0.98, top=0.86, bottom=0.1, wspace=0.06)
    laws = np.array(table.column("law"), dtype=float).reshape(len(BIASES), -1)
    order = np.argsort(np.argsort(laws[:, 0]))
    left.hlines(order, laws[:, 0], laws[:, 3], color="black", lw=1, label="law: 10 % to 90 % quantile, and largest")
    left.plot(laws[:, :4].ravel(), np.repeat(order, 4), "|", color="black", ms=9)
    right.plot(laws[:, 4], order, "|", color="black", ms=12, label="law")
    for ax, quantities in ((left, QUANTITIES), (right, ("growth",))):
        for i, quantity in enumerate(quantities):
            numbers = np.array([row[5:] for row in table.rows if row[3] == quantity], dtype=float)
            ax.errorbar(numbers[:, 0], order, xerr=numbers[:, 1], fmt=style.MARKERS[i], color=style.PALETTE[i], ms=4.5,
                        capsize=2, label=quantity)
    labels = {row[0]: f"{row[0]}\nσ_w {row[1]:.3g}, bias std {row[2]:g}" for row in table.rows}
    left.set_yticks(order, labels.values(), fontsize=7)
    left.set_xscale("symlog")
    left.xaxis.set_major_formatter("{x:g}")
    left.set_xlabel("log₁₀ s, given s > 0 (linear within ± 1)")
    right.set_xlabel("gradient growth, Σ s² / N")
    figure.legend(*left.get_legend_handles_labels(), frameon=False, ncols=5, fontsize=7, loc="upper center",
                  bbox_to_anchor=(0.5, 0.93))
    figure.suptitle(f"{DEPTH} Gaussian layers at the critical point (χ = 1) and its fixed point of the variance: law,\n"
                    f"and measured: mean ± standard error of {draws} networks, N = {width}, Gaussian inputs, "
                    f"seed {setting.seed}", fontsize=8)
    return figure


def reading(table: Table) -> str:
    """Say where the largest s is, which spectra are narrow and wide, and what a gradient does."""
    tops, bottoms, growths = ([row for row in table.rows if row[3] == quantity]
                              for quantity in (QUANTITIES[3], QUANTITIES[0], "growth"))
    low, high = (choose(bottoms, key=lambda row: row[5]) for choose in (min, max))
    largest, growth = ([float(row[5]) for row in rows] for rows in (tops, growths))
    off = max(abs(float(row[5]) - float(row[4])) / float(row[6]) for row in growths)
    return (f"At criticality the largest s is {10 ** min(largest):.1f} to {10 ** max(largest):.1f}, but the 10 % "
            f"quantile goes from 10^{low[5]:.1f} ({low[0]}) to 10^{high[5]:.1f} ({high[0]}); the mean gradient growth "
            f"is {min(growth):.2f} to {max(growth):.2f} (law: 1), at most {off:.1f} standard errors off.")
