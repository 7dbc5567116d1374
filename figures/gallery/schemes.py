"""Initialization schemes side by side: the law of log10 s and measured histograms, for tanh and for ReLU."""

from __future__ import annotations

import math

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray
from scipy.stats import sem

from empirical.predicted import Predicted
from figures import style
from figures.setting import Setting
from figures.tables import Table, plain
from rmt.networks.network import mlp

Array = NDArray[np.float64]

TITLE = "initialization schemes side by side, tanh and ReLU: laws and measured histograms"
SCHEMES = ("lecun_normal", "xavier_normal", "xavier_normal(gain=1.667)", "kaiming_normal", "torch_default",
           "orthogonal")
ACTIVATIONS = ("tanh", "relu")
LEVELS = tuple((0.01 + 0.99 * np.sin(np.linspace(0, np.pi / 2, 161)) ** 2).tolist())  # the rest is a long tail
BINS = 40


def sizes(setting: Setting) -> tuple[list[int], int]:
    """Return the widths, of which the first tells fan_in from the mean of both fans, and the number of networks."""
    width, draws = (240, 20) if setting.small else (1200, 40)
    return [width // 3, *[width] * 5], draws


def table(setting: Setting) -> Table:
    """Return densities of log10 s given s > 0: of the laws at places, of the measured values in the middle of bins."""
    widths, draws = sizes(setting)
    networks = {(activation, init): mlp(widths, activation, init) for init in SCHEMES for activation in ACTIVATIONS}
    laws = setting.answers([Predicted(network, levels=LEVELS) for network in networks.values()], "laws")
    rows = []
    for (key, network), law in zip(networks.items(), laws, strict=True):
        places, density = law["quantiles"] / math.log(10), law["density"] * math.log(10)
        rows += [(*key, "law", *pair, 0.0) for pair in zip(places.tolist(), density.tolist(), strict=True)]
        bins = np.linspace(places[0], places[-1], BINS + 1)
        measured = setting.measure(network, draws).log_singular_values[:, 0] / math.log(10)
        heights = [np.histogram(logs, bins)[0] / np.isfinite(logs).sum() / (bins[1] - bins[0]) for logs in measured]
        numbers = np.array([(bins[1:] + bins[:-1]) / 2, np.mean(heights, axis=0), sem(heights)]).T
        rows += [(*key, "measured", *row) for row in numbers.tolist()]
    return plain("activation init source log10_s density standard_error", rows)


def draw(table: Table, setting: Setting) -> Figure:
    """Draw a row of panels per scheme, a column per activation."""
    widths, draws = sizes(setting)
    figure = style.figure(7.2, 8.0)
    axes = figure.subplots(len(SCHEMES), len(ACTIVATIONS), sharex="col")
    figure.subplots_adjust(left=0.1, right=0.98, top=0.92, bottom=0.06, wspace=0.14, hspace=0.22)
    for row, init in zip(axes, SCHEMES, strict=True):
        for ax, activation, color in zip(row, ACTIVATIONS, style.PALETTE, strict=False):
            law, bars = parts(table, activation, init)
            ax.plot(law[0], law[1], color="black", lw=1.1, label="law")
            ax.bar(bars[0], bars[1], bars[0][1] - bars[0][0], yerr=bars[2], color=color, alpha=0.55, label="measured",
                   error_kw={"lw": 0.6})
            ax.set_ylim(0, 1.35 * max(law[1].max(), bars[1].max()))
            ax.text(0.02, 0.93, init, transform=ax.transAxes, va="top", fontsize=8)
    for ax, activation in zip(axes[0], ACTIVATIONS, strict=True):
        ax.set_title(activation)
        ax.legend(frameon=False, fontsize=7, loc="center left")
    for ax in axes[-1]:
        ax.set_xlabel("log₁₀ s")
    figure.supylabel("density per unit of log₁₀ s, given s > 0", fontsize=9, x=0.005)
    figure.suptitle(f"networks {widths[0]}-{widths[1]}x{len(widths) - 1}: law, and measured: mean ± standard error of "
                    f"{draws} networks, Gaussian inputs, seed {setting.seed}\n(schemes of normal entries share their "
                    "draws; the lowest 1 % of the mass is not drawn)", fontsize=8)
    return figure


def parts(table: Table, activation: str, init: str) -> tuple[Array, Array]:
    """Return the law's and the measured rows of log10 s, density and standard error, each as columns."""
    law, bars = (np.array([row[3:] for row in table.rows if row[:3] == (activation, init, source)], dtype=float).T
                 for source in ("law", "measured"))
    return law, bars


def distance(law: Array, bars: Array) -> float:
    """Return the largest distance of the measured cdf from the law's, at the edges of bins."""
    width = bars[0][1] - bars[0][0]
    above = np.cumsum(bars[1][::-1])[::-1] * width
    return float(np.abs(above - 1 + np.interp(bars[0] - width / 2, law[0], LEVELS)).max())


def reading(table: Table) -> str:
    """Say where the laws end, and how far the histograms are from them."""
    said = []
    for activation in ACTIVATIONS:
        found = {init: parts(table, activation, init) for init in SCHEMES}
        tops = {init: float(law[0].max()) for init, (law, _) in found.items()}
        low, high = min(tops, key=tops.__getitem__), max(tops, key=tops.__getitem__)
        off = max(distance(*both) for both in found.values())
        said.append(f"with {activation} from {10**tops[low]:.2g} ({low}) to {10**tops[high]:.2g} ({high}), the "
                    f"measured cdfs at most {off:.3f} from the laws'")
    return f"After five layers the law's largest s is {'; '.join(said)}."
