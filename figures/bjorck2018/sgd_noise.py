"""The noise of SGD against its bound."""

from __future__ import annotations

from matplotlib.figure import Figure

from empirical.sgd_noise import GradientNoise
from figures import style
from figures.setting import Setting
from figures.tables import Table, plain

TITLE = "noise of SGD against learning rate and batch size, and its bound"
PAPER = ("The noise of a step, E |α g − α g_SGD|², is at most (α² / B) C with C = E |g_i − g|²: a larger learning rate "
         "means more noise, which is taken to help generalization.")
RATES, SIZES = (0.0001, 0.003, 0.1), (4, 16, 64, 256)


def _job(setting: Setting) -> GradientNoise:
    depth, count = (8, 512) if setting.small else (20, 4096)
    return GradientNoise(depth, setting.seed, count, (1, *SIZES), setting.images(), setting.device)


def table(setting: Setting) -> Table:
    """Return E |a g - a g_B|^2 over minibatches, and a^2 C / B."""
    c, *noise = setting.answers([_job(setting)], "gradients of minibatches")[0]["noise"].tolist()
    return plain("learning_rate batch_size measured bound", [
        (rate, size, rate**2 * one, rate**2 * c / size) for rate in RATES
        for size, one in zip(SIZES, noise, strict=True)])


def draw(table: Table, setting: Setting) -> Figure:
    """Draw both against the batch size in logs."""
    figure = style.figure(5.2, 3.6)
    ax = figure.add_subplot()
    figure.subplots_adjust(left=0.14, right=0.97, top=0.86, bottom=0.14)
    for rate, color, marker in zip(RATES, style.PALETTE, style.MARKERS, strict=False):
        _, size, measured, bound = zip(*(row for row in table.rows if row[0] == rate), strict=True)
        ax.loglog(size, bound, color=color, lw=1)
        ax.loglog(size, measured, color=color, marker=marker, ls="none", ms=5, label=f"learning rate {rate:g}")
    ax.set_xticks(SIZES, [str(size) for size in SIZES])
    ax.minorticks_off()
    ax.set_xlabel("batch size B")
    ax.set_ylabel("E |α g − α g_B|²")
    ax.legend(frameon=False, fontsize=7)
    job = _job(setting)
    ax.set_title(f"ResNet-{job.depth} without BN at initialization (Xavier), {job.count} images "
                 f"({setting.inputs_text()}), seed {job.seed}\n"
                 "lines: the bound α² C / B; markers: measured, all minibatches of one split",
                 fontsize=7)
    return figure


def reading(table: Table) -> str:
    """Say how close to the bound it is."""
    ratio = {row[1]: float(row[2]) / float(row[3]) for row in table.rows}
    return "Measured over bound: " + ", ".join(f"{value:.3f} at batch {size}" for size, value in ratio.items()) + "."
