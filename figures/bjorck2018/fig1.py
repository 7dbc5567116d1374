"""Figure 1: training with and without batch normalization at three learning rates."""

from __future__ import annotations

from matplotlib.figure import Figure

from empirical.training import Training
from figures import style
from figures.curves import band
from figures.setting import Setting
from figures.tables import Table, plain

TITLE = "accuracy while training, with and without BN, at three learning rates"
PAPER = ("ResNet-110 on CIFAR-10, batch 128: test accuracy 93.2 % with BN at .1, 90.4 % at .003, 81.3 % at .0001; "
         "82.0 % without BN at .0001. Without BN the larger rates diverge.")
RATES = (0.1, 0.003, 0.0001)
LINES = "line: median, band: all seeds; a diverged network counts as a guess (10 %)"


def run(setting: Setting, norm: str, rate: float, seed: int) -> Training:
    """Return one network of the study to train: ResNet-20 for 10 epochs of batch 32, or ResNet-110 for 165 of 128."""
    depth, epochs, batch = (20, 10, 32) if setting.small else (110, 165, 128)
    return Training(depth, norm, rate, seed, epochs, batch, setting.images(), setting.device)


def seeds(setting: Setting) -> range:
    """Return the seeds of the networks that are trained."""
    return range(setting.seed, setting.seed + 3)


def about(setting: Setting) -> str:
    """Say what was trained, for a title."""
    one = run(setting, "every", RATES[0], setting.seed)
    return (f"ResNet-{one.depth}, Xavier, {setting.inputs_text()}, SGD, momentum .9, batch {one.batch}; "
            f"{len(seeds(setting))} networks (seeds {seeds(setting)[0]}–{seeds(setting)[-1]})")


def table(setting: Setting) -> Table:
    """Return the accuracies after every epoch."""
    jobs = {(norm == "every", rate, seed): run(setting, norm, rate, seed)
            for rate in RATES for norm in ("every", "none") for seed in seeds(setting)}
    found = setting.answers([*jobs.values()], "training")
    return plain("batch_norm learning_rate seed epoch train_accuracy test_accuracy", [
        (*key, epoch, *accuracies) for key, answer in zip(jobs, found, strict=True) for epoch, accuracies in
        enumerate(zip(answer["train_accuracy"].tolist(), answer["test_accuracy"].tolist(), strict=True), 1)])


def draw(table: Table, setting: Setting) -> Figure:
    """Draw the accuracies over epochs: on training images to the left, on test images to the right."""
    figure = style.figure(7.2, 3.6)
    axes = figure.subplots(1, 2, sharey=True)
    figure.subplots_adjust(left=0.08, right=0.98, top=0.8, bottom=0.2, wspace=0.06)
    for ax, column, title in zip(axes, (4, 5), ("training images (as they come)", "test images"), strict=True):
        for i, rate in enumerate(RATES):
            for normalized in (True, False):
                mine = [row for row in table.rows if row[:2] == (normalized, rate)]
                band(ax, [row[3] for row in mine], [100 * float(row[column]) for row in mine],
                     color=style.PALETTE[i], ls="-" if normalized else "--",
                     label=f"{'BN' if normalized else 'no BN'}, {rate:g}")
        ax.set_xlabel("epoch")
        ax.set_title(title, fontsize=8)
    axes[0].set_ylabel("accuracy (%)")
    axes[0].set_ylim(0, 102)
    figure.legend(*axes[0].get_legend_handles_labels(), frameon=False, fontsize=7, ncols=6, loc="lower center")
    figure.suptitle(f"{about(setting)}\n{LINES}", fontsize=8)
    return figure


def final(table: Table, normalized: bool, rate: float) -> float:
    """Return the mean over seeds of the test accuracy after the last epoch, in per cent."""
    last = max(row[3] for row in table.rows)
    mine = [100 * float(row[5]) for row in table.rows if row[:2] == (normalized, rate) and row[3] == last]
    return sum(mine) / len(mine)


def reading(table: Table) -> str:
    """Say where each learning rate ends."""
    ends = [f"{'with' if bn else 'without'} BN " + ", ".join(
        f"{final(table, bn, rate):.1f} % at {rate:g}" for rate in RATES) for bn in (True, False)]
    return f"Last-epoch test accuracy (mean over seeds): {'; '.join(ends)}."
