"""Jacobian spectra of the ResNets themselves, with and without batch normalization."""

from __future__ import annotations

import math
from functools import partial
from itertools import product

import numpy as np
from matplotlib.figure import Figure
from torch import nn

from empirical.labelled import digit_images
from empirical.resnet import cifar_resnet
from figures import style
from figures.setting import Setting
from figures.tables import Table, binned, plain

TITLE = "Jacobian spectrum of the ResNets at initialization, images to last features"
PAPER = "Not in the paper, which has no Jacobian of its networks."
BINS = 40


def _plan(setting: Setting) -> tuple[tuple[int, ...], int]:
    """Return the depths and how many networks of each."""
    return ((8, 20, 56), 2) if setting.small else ((8, 20, 56, 110), 40)


def _features(depth: int, norm: str) -> nn.Module:
    return cifar_resnet(depth, norm).features


def table(setting: Setting) -> Table:
    """Return histograms of log10 s of the Jacobian from an image to the features of the last block."""
    depths, draws = _plan(setting)
    rows = []
    for depth, normalized in product(depths, (True, False)):
        norm = "every" if normalized else "none"
        measured = setting.measure(partial(_features, depth, norm), draws, digit_images(8), f"ResNet-{depth} {norm}")
        logs = measured.log_singular_values
        values = logs[np.isfinite(logs)] / math.log(10)
        counts, edges = np.histogram(values, BINS)
        rows += [(normalized, depth, *row) for row in binned(edges, counts)]
    return plain("batch_norm depth bin_left bin_right count", rows)


def draw(table: Table, setting: Setting) -> Figure:
    """Draw the densities of log10 s, a panel each with and without BN."""
    depths, draws = _plan(setting)
    figure = style.figure(7.2, 3.5)
    axes = figure.subplots(1, 2, sharey=True)
    figure.subplots_adjust(left=0.08, right=0.98, top=0.82, bottom=0.14, wspace=0.08)
    for ax, normalized in zip(axes, (True, False), strict=True):
        for depth, color in zip(depths, style.PALETTE, strict=False):
            left, right, count = _bins(table, normalized, depth)
            ax.stairs(count / count.sum() / (right - left), [*left, right[-1]], color=color, label=f"ResNet-{depth}")
        ax.set_xlabel("log₁₀ s")
        ax.set_title("with BN (evaluation mode, statistics of all images)" if normalized else "without BN", fontsize=8)
    axes[0].set_ylabel("density per unit of log₁₀ s, given s > 0")
    axes[0].legend(frameon=False)
    figure.suptitle("Jacobian from an image (digits, 3 × 8 × 8) to the last block's 64 × 2 × 2 features; Xavier, "
                    f"{draws} networks, seed {setting.seed}\nno law: blocks that end in a ReLU are not predicted",
                    fontsize=8)
    return figure


def _bins(table: Table, normalized: bool, depth: int) -> np.ndarray:
    return np.array([row[2:] for row in table.rows if row[:2] == (normalized, depth)], dtype=float).T


def reading(table: Table) -> str:
    """Say where the spectra lie and how wide they are."""
    parts = []
    for normalized, depth in dict.fromkeys(row[:2] for row in table.rows):
        left, right, count = _bins(table, bool(normalized), int(depth))
        below = np.cumsum(count) / count.sum()
        median = np.interp(0.5, below, right)
        parts.append(f"ResNet-{depth} {'with' if normalized else 'without'} BN: largest s 10^{right[-1]:.1f}, "
                     f"median 10^{median:.1f}, s_max/s_min 10^{right[-1] - left[0]:.1f}")
    return "; ".join(parts) + "."
