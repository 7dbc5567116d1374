"""The condition number of a product of Gaussian matrices."""

from __future__ import annotations

import math
from itertools import product

import numpy as np
from matplotlib.figure import Figure

from figures import style
from figures.setting import Setting
from figures.tables import Table, plain
from rmt.finite.condition import log_condition_number
from rmt.networks.network import mlp

TITLE = "condition number of products of Gaussian matrices"
PAPER = "The condition number of a product of Gaussian matrices grows quickly with their number (appendix)."
WIDTHS, DEPTHS = (50, 200), tuple(range(1, 11))


def _draws(setting: Setting) -> int:
    return 30 if setting.small else 400


def table(setting: Setting) -> Table:
    """Return ln(s_max / s_min) of every product, accurate at any depth, and the predicted mean over products."""
    rows = []
    for width, m in product(WIDTHS, DEPTHS):
        measured = setting.measure(mlp([width] * (m + 1), "linear", "gaussian(sigma_w=1.0)"), _draws(setting))
        log_kappa = np.ptp(measured.log_singular_values[:, 0], axis=1).tolist()
        rows += [(m, width, i, one, log_condition_number(m, width).mean) for i, one in enumerate(log_kappa)]
    return plain("matrices width draw log_condition_number predicted", rows)


def draw(table: Table, setting: Setting) -> Figure:
    """Draw mean and spread against the number of matrices."""
    figure = style.figure(5.2, 3.8)
    ax = figure.add_subplot()
    figure.subplots_adjust(left=0.13, right=0.97, top=0.86, bottom=0.13)
    for width, color, marker, shift in zip(WIDTHS, style.PALETTE, style.MARKERS, (-0.06, 0.06), strict=False):
        m, _, mean, _, spread, predicted = summary(table, width).T
        ax.plot(m, predicted / math.log(10), color=color, lw=1.2)
        ax.errorbar(m + shift, mean / math.log(10), spread / math.log(10), color=color, marker=marker, ms=4, capsize=2,
                    ls="none", label=f"N = {width}")
    ax.set_xticks(DEPTHS)
    ax.set_xlabel("matrices in the product")
    ax.set_ylabel("log₁₀ condition number")
    ax.legend(frameon=False)
    ax.set_title(f"square Gaussian matrices, {_draws(setting)} products each, seed {setting.seed}\n"
                 "lines: (L + 1)/2 ln N + c_L; markers: mean ± 1 standard deviation over products", fontsize=8)
    return figure


def summary(table: Table, width: int) -> np.ndarray:
    """Return rows (matrices, draws, mean, its standard error, standard deviation, predicted) of ln kappa."""
    rows = []
    for m in DEPTHS:
        mine = [row for row in table.rows if row[:2] == (m, width)]
        values = np.array([float(row[3]) for row in mine])
        sd = float(values.std(ddof=1))
        rows.append((m, len(mine), values.mean(), sd / math.sqrt(len(mine)), sd, float(mine[0][4])))
    return np.array(rows)


def reading(table: Table) -> str:
    """Say how large it is and how far the theory is."""
    both = np.concatenate([summary(table, width) for width in WIDTHS])
    z = np.abs(both[:, 2] - both[:, 5]) / both[:, 3]
    last = " and ".join(f"10^{summary(table, width)[-1, 2] / math.log(10):.1f} at N = {width}" for width in WIDTHS)
    return (f"Ten matrices: {last} (geometric means). Of {len(z)} means of ln kappa {np.sum(z < 3)} are within three "
            f"standard errors of the theory, the farthest at {z.max():.1f}.")
