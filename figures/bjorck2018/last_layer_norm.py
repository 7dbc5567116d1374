"""Batch normalization nowhere, after the last layer alone, and everywhere."""

from __future__ import annotations

from matplotlib.figure import Figure

from figures import style
from figures.bjorck2018 import fig1
from figures.curves import band
from figures.setting import Setting
from figures.tables import Table, plain

TITLE = "test accuracy with BN nowhere, after the last layer alone, everywhere"
PAPER = ("One BN after the last layer alone lets the network train at .03 and reach 90.1 %, about two thirds of what "
         "BN everywhere gains.")
RATES = (0.1, 0.03, 0.003)
VARIANTS = ("none", "last", "every")


def table(setting: Setting) -> Table:
    """Return the test accuracy after every epoch."""
    jobs = {(variant, rate, seed): fig1.run(setting, variant, rate, seed)
            for rate in RATES for variant in VARIANTS for seed in fig1.seeds(setting)}
    found = setting.answers([*jobs.values()], "training")
    return plain("variant learning_rate seed epoch test_accuracy", [
        (*key, epoch, value) for key, answer in zip(jobs, found, strict=True)
        for epoch, value in enumerate(answer["test_accuracy"].tolist(), 1)])


def draw(table: Table, setting: Setting) -> Figure:
    """Draw the accuracies over epochs, a panel a learning rate."""
    figure = style.figure(7.2, 3.2)
    axes = figure.subplots(1, len(RATES), sharey=True)
    figure.subplots_adjust(left=0.08, right=0.98, top=0.78, bottom=0.14, wspace=0.06)
    for ax, rate in zip(axes, RATES, strict=True):
        for variant, color in zip(VARIANTS, style.PALETTE, strict=False):
            mine = [row for row in table.rows if row[:2] == (variant, rate)]
            band(ax, [row[3] for row in mine], [100 * float(row[4]) for row in mine], color=color, label=variant)
        ax.set_title(f"learning rate {rate:g}", fontsize=8)
        ax.set_xlabel("epoch")
    axes[0].set_ylabel("test accuracy (%)")
    axes[0].set_ylim(0, 102)
    axes[-1].legend(frameon=False, fontsize=7, title="BN", title_fontsize=7)
    figure.suptitle(f"{fig1.about(setting)}\n{fig1.LINES}", fontsize=8)
    return figure


def reading(table: Table) -> str:
    """Say how far each variant gets at its best learning rate."""
    last, best = max(row[3] for row in table.rows), []
    for variant in VARIANTS:
        ends = {rate: [100 * float(row[4]) for row in table.rows if row[:2] == (variant, rate) and row[3] == last]
                for rate in RATES}
        rate = max(ends, key=lambda one: sum(ends[one]))
        best.append(f"{variant} {sum(ends[rate]) / len(ends[rate]):.1f} % (at {rate:g})")
    return f"Best last-epoch test accuracy, mean over seeds: {', '.join(best)}."
