"""Figure 3: the loss after one step along the gradient."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from empirical.gradient_step import DIVERGED, RelativeLoss
from figures import initial, style
from figures.setting import Setting
from figures.tables import Table, plain

TITLE = "relative loss after one step along the gradient, against its size"
PAPER = ("Without BN the loss turns up at a step of about .001 and passes 10^6 times its value by .003 to .007; with "
         "BN it stays low over far larger steps.")
STEPS = tuple(float(f"{10 ** (k / 4):.4g}") for k in range(-20, -3))
MINIBATCHES = 3
_TOP = 1e9  # of the picture


def job(setting: Setting, norm: str, minibatch: int) -> RelativeLoss:
    """Return what is computed for one network and minibatch."""
    images = setting.images(initial.SIZE)
    return RelativeLoss(initial.DEPTH, norm, setting.seed, minibatch, initial.BATCH, images, STEPS, setting.device)


def table(setting: Setting) -> Table:
    """Return the relative loss after every step; inf where the network leaves the range of a float."""
    jobs = {(norm == "every", i): job(setting, norm, i) for norm in ("every", "none") for i in range(MINIBATCHES)}
    found = setting.answers([*jobs.values()], "ResNet-110, steps along the gradient")
    return plain("batch_norm minibatch step relative_loss", [
        (*key, *pair) for key, answer in zip(jobs, found, strict=True)
        for pair in zip(STEPS, answer["relative_loss"].tolist(), strict=True)])


def draw(table: Table, setting: Setting) -> Figure:
    """Draw the relative losses, both axes in logs; what is larger leaves the picture."""
    figure = style.figure(5.2, 3.8)
    ax = figure.add_subplot()
    figure.subplots_adjust(left=0.13, right=0.97, top=0.92, bottom=0.13)
    for normalized, color in zip((True, False), style.PALETTE, strict=False):
        for i, marker in zip(range(MINIBATCHES), style.MARKERS, strict=False):
            y = np.array([float(row[3]) for row in table.rows if row[:2] == (normalized, i)])
            ax.plot(STEPS, np.minimum(y, 1e3 * _TOP), color=color, marker=marker, ms=3, lw=1,
                    label=f"{'with' if normalized else 'without'} BN, minibatch {i + 1}")
    ax.axhline(DIVERGED, color="black", lw=0.8, ls=":")
    ax.text(STEPS[0], 1.5 * DIVERGED, "divergence", fontsize=7)
    ax.set(xscale="log", yscale="log", ylim=(1e-3, _TOP), xlabel="step along the gradient (learning rate)",
           ylabel="loss after the step / before")
    ax.legend(frameon=False, fontsize=7, loc="upper left", bbox_to_anchor=(0, 0.98))
    figure.suptitle(initial.about(setting), fontsize=7.5)
    return figure


def reading(table: Table) -> str:
    """Say where the loss diverges without BN, and how large it becomes with it."""
    first = [min((float(row[2]) for row in table.rows if row[:2] == (False, i) and not float(row[3]) < DIVERGED),
                 default=np.inf) for i in range(MINIBATCHES)]
    largest = max(float(row[3]) for row in table.rows if row[0])
    steps = ", ".join(f"{x:.2g}" for x in first)
    return (f"Without BN the relative loss passes {DIVERGED:g} at steps of {steps}; with BN it is at most "
            f"{largest:.3g} up to a step of {STEPS[-1]:g}.")
