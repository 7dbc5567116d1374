"""What figure 6 owes to the last layer: the share of one class over draws of that layer alone."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure
from scipy.special import softmax

from empirical.labelled import CLASSES
from figures import initial, style
from figures.setting import Setting
from figures.tables import Table, plain

TITLE = "share of one class in the output's positive gradient, over draws of the last layer"
PAPER = "Not in the paper, whose figure 6 is of one draw."
DRAWS = 200
SCHEMES = {"torch_default": 1 / (3 * 64), "xavier_normal": 2 / (64 + CLASSES)}  # variance of a weight


def table(setting: Setting) -> Table:
    """Return the largest share of a class, averaged over uniformly random labels, for each draw."""
    rng, rows = np.random.default_rng(setting.seed), []
    for normalized, found in initial.passes(setting).items():
        for scheme, variance in SCHEMES.items():
            weights = rng.standard_normal((DRAWS, 64, CLASSES)) * np.sqrt(variance)
            guess = softmax(found["features"].astype(float) @ weights, axis=2)
            taken = guess.sum(1)  # a right class's own share is missing everywhere alike
            rows += [(normalized, scheme, i, float(share)) for i, share in enumerate(taken.max(1) / taken.sum(1))]
    return plain("batch_norm last_layer draw share", rows)


def draw(table: Table, setting: Setting) -> Figure:
    """Draw the cumulative distributions of the share."""
    figure = style.figure(5.2, 3.6)
    ax = figure.add_subplot()
    figure.subplots_adjust(left=0.12, right=0.97, top=0.86, bottom=0.14)
    for i, (normalized, scheme) in enumerate(dict.fromkeys(row[:2] for row in table.rows)):
        ax.ecdf(shares(table, bool(normalized), str(scheme)), color=style.PALETTE[i], lw=1.3,
                label=f"{'with' if normalized else 'without'} BN, last layer {scheme}")
    ax.axvline(0.7, color="black", lw=0.8, ls=":")
    ax.set(xlabel="share of one class", ylabel="part of the draws with a smaller share", xlim=(0.1, 1.02), ylim=(0, 1))
    ax.legend(frameon=False, fontsize=7, loc="upper left")
    figure.suptitle(f"{initial.about(setting)}\n{DRAWS} draws of the last layer (normal), labels averaged over",
                    fontsize=7.5)
    return figure


def shares(table: Table, normalized: bool, scheme: str) -> np.ndarray:
    """Return the shares of all draws."""
    return np.array([float(row[3]) for row in table.rows if row[:2] == (normalized, scheme)])


def reading(table: Table) -> str:
    """Say the medians, and how many are over .7."""
    parts = [f"{'with' if bn else 'without'} BN, {scheme}: median {np.median(shares(table, bn, scheme)):.2f}, "
             f"{np.mean(shares(table, bn, scheme) > 0.7):.0%} of draws over .7" for bn in (True, False)
             for scheme in SCHEMES]
    return "; ".join(parts) + "."
