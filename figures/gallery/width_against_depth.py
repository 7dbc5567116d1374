"""How far one network is from the law, over width and depth."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from scipy.stats import sem

from empirical.kept import Arrays
from figures import style
from figures.setting import Setting
from figures.tables import Table, plain
from rmt.agreement import compare
from rmt.finite.regime import FLUCTUATING, FREE_LAW, LYAPUNOV
from rmt.networks.network import Network, mlp
from rmt.networks.predict import predict

TITLE = "distance of one network from the law over width and depth: predicted and measured"
PAIRS = (("xavier_normal", "linear"), ("kaiming_normal", "relu"))
DEPTHS = (1, 3, 10, 50)
TICKS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5)
REGIMES = (FREE_LAW, FLUCTUATING, LYAPUNOV)


@dataclass(frozen=True)
class Distance:
    """How far one network may be from its law: the answer is `mean`, of the sup distance of the cdfs."""

    network: Network

    def run(self, partial: Path | None) -> Arrays:
        """Predict it."""
        return {"mean": np.array(predict(self.network).finite_width.distance, dtype=float)}


def sizes(setting: Setting) -> tuple[tuple[int, ...], int]:
    """Return the widths and the number of networks."""
    return ((25, 50, 100, 200), 12) if setting.small else ((50, 100, 200, 500, 1000), 20)


def table(setting: Setting) -> Table:
    """Return the mean distance of single networks, predicted and measured, and the regime that is predicted."""
    widths, draws = sizes(setting)
    networks = {(init, activation, width, depth): mlp([width] * (depth + 1), activation, init)
                for init, activation in PAIRS for width in widths for depth in DEPTHS}
    predicted = setting.answers([Distance(network) for network in networks.values()], "distances")
    rows = []
    for (key, network), distance in zip(networks.items(), predicted, strict=True):
        law, logs = predict(network), setting.measure(network, draws).log_singular_values
        measured = [compare(law, one[None]).discrepancy for one in logs]
        rows.append((*key, law.finite_width.regime.name, float(distance["mean"]), float(np.mean(measured)),
                     float(sem(measured))))
    return plain("init activation width depth regime predicted measured standard_error", rows)


def draw(table: Table, setting: Setting) -> Figure:
    """Draw a panel per activation, a line per width; markers by regime."""
    widths, draws = sizes(setting)
    figure = style.figure(7.2, 3.8)
    axes = figure.subplots(1, 2, sharey=True)
    figure.subplots_adjust(left=0.09, right=0.98, top=0.84, bottom=0.13, wspace=0.05)
    for ax, pair in zip(axes, PAIRS, strict=True):
        for width, color in zip(widths, style.PALETTE, strict=False):
            mine = [row for row in table.rows if row[:3] == (*pair, width)]
            ax.plot([row[3] for row in mine], [row[5] for row in mine], color=color, label=f"N = {width}")
            for _, _, _, depth, regime, _, measured, error in mine:
                marker = style.MARKERS[REGIMES.index(str(regime))]
                ax.errorbar(depth, measured, error, color=color, fmt=marker, ms=5, capsize=2)
        for regime, marker in zip(REGIMES, style.MARKERS, strict=False):
            ax.plot([], [], color="black", ls="", marker=marker, ms=5, label=regime)
        ax.set(xscale="log", yscale="log", xlabel="depth L (layers)", title=f"{pair[0]}, {pair[1]}")
        ax.xaxis.set_major_formatter("{x:g}")
        ax.set_yticks(TICKS, map(str, TICKS))
        ax.minorticks_off()
    axes[0].set_ylabel("sup distance of one network's cdf of s, given s > 0")
    axes[0].legend(frameon=False, ncols=2, fontsize=7)
    figure.suptitle(f"lines: predicted; markers: mean ± standard error of {draws} networks, by the regime predicted; "
                    f"Gaussian inputs, seed {setting.seed}", fontsize=8)
    return figure


def reading(table: Table) -> str:
    """Say where one network is nearest and farthest, and how well that is predicted."""
    ratios = np.array(table.column("measured"), dtype=float) / np.array(table.column("predicted"), dtype=float)
    near, far = (choose(table.rows, key=lambda row: row[6]) for choose in (min, max))
    return (f"One network is from {near[6]:.3f} ({near[1]}, N = {near[2]}, depth {near[3]}) to {far[6]:.3f} ({far[1]}, "
            f"N = {far[2]}, depth {far[3]}) from the law; measured over predicted is {ratios.min():.2f} to "
            f"{ratios.max():.2f}, {np.median(ratios):.2f} in the median.")
