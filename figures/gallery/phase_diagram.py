"""The phase diagram of tanh networks: where gradients vanish and explode, and down to which depth networks train."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from empirical.inputs import gaussian
from empirical.kept import Arrays
from empirical.study import growth
from figures import style
from figures.setting import Setting
from figures.tables import Table, plain
from rmt import plotting
from rmt.networks import meanfield
from rmt.networks.network import mlp
from rmt.networks.schemes import gaussian as weights

TITLE = "phase diagram of tanh over sigma_w and the biases: trainable depth, and measured gradients"
SIGMAS, BIASES = np.linspace(0.5, 3, 41), (np.linspace(0, 1, 21) ** 2).round(4)  # denser where the line bends
MEASURED = [(i, j) for i in (6, 12, 16) for j in (3, 12, 16, 20, 32)]  # where on the grid
GRIDS = ("region", "variance", "chi", "correlation", "trainable_depth")
DEPTH, ERRORS = 10, 3


@dataclass(frozen=True)
class MeanField:
    """Mean field at one bias_std: the answer has a row of every grid of a phase diagram."""

    activation: str
    sigma_w: tuple[float, ...]
    bias_std: float

    def run(self, partial: Path | None) -> Arrays:
        """Find the fixed points."""
        found = meanfield.phase_diagram(self.activation, self.sigma_w, [self.bias_std])
        return {name: getattr(found, name)[0] for name in GRIDS}


def sizes(setting: Setting) -> tuple[int, int]:
    """Return the width and the number of networks."""
    return (100, 10) if setting.small else (500, 40)


def table(setting: Setting) -> Table:
    """Return mean field at every point; where networks were measured, a gradient's squared growth per layer too."""
    width, draws = sizes(setting)
    jobs = [MeanField("tanh", tuple(SIGMAS.tolist()), bias) for bias in BIASES.tolist()]
    found = setting.answers(jobs, "mean field")
    grids = {name: np.array([row[name] for row in found]) for name in GRIDS}
    rates = np.full((2, BIASES.size, SIGMAS.size), math.nan)
    for at in MEASURED:
        bias, sigma_w = float(BIASES[at[0]]), float(SIGMAS[at[1]])
        inputs = gaussian((float(grids["variance"][at]) - bias**2) / sigma_w**2)  # at the fixed point at once
        network = mlp([width] * (DEPTH + 1), "tanh", weights(sigma_w), bias)
        log_growth, error = growth(setting.measure(network, draws, inputs))
        rates[:, *at] = math.exp(log_growth / DEPTH) * np.array([1, error / DEPTH])
    columns = [*np.meshgrid(SIGMAS, BIASES), *grids.values(), *rates]
    return plain(f"sigma_w bias_std {' '.join(GRIDS)} measured_chi standard_error",
                 zip(*(column.ravel().tolist() for column in columns), strict=True))


def draw(table: Table, setting: Setting) -> Figure:
    """Draw regions and trainable depth of mean field, and what the gradients of networks did."""
    width, draws = sizes(setting)
    figure = style.figure(6.0, 4.6)
    ax = figure.add_subplot()
    figure.subplots_adjust(left=0.1, right=0.97, top=0.88, bottom=0.11)
    grids = {name: np.array(table.column(name)).reshape(BIASES.size, SIGMAS.size) for name in GRIDS}
    plotting.phase_diagram(meanfield.PhaseDiagram("tanh", SIGMAS, BIASES, **grids), ax)
    sigma_w, bias_std, _, rate, error = measured(table)
    for sign, marker, name in ((-1, "v", "shrink"), (0, "o", "do neither"), (1, "^", "grow")):
        mine = sign == np.sign(rate - 1) * (np.abs(rate - 1) > ERRORS * error)
        ax.plot(sigma_w[mine], bias_std[mine], marker, color="white", mec="black", ms=8, zorder=4,
                label=f"measured gradients {name}")
    ax.legend(fontsize=7, loc="upper left", framealpha=0.9)
    ax.set_title("")
    figure.suptitle("tanh, Gaussian weights and biases: mean field (N → ∞), and measured gradients, which grow or\n"
                    f"shrink by over {ERRORS} standard errors: {draws} networks a point, N = {width}, L = {DEPTH}, "
                    f"seed {setting.seed}", fontsize=8)
    return figure


def measured(table: Table) -> NDArray[np.float64]:
    """Return sigma_w, bias_std, chi of mean field, chi as measured and its standard error, where it was measured."""
    keys = ("sigma_w", "bias_std", "chi", "measured_chi", "standard_error")
    columns = np.array([table.column(key) for key in keys], dtype=float)
    return columns[:, np.isfinite(columns[3])]


def reading(table: Table) -> str:
    """Say where the critical line is, and how well networks follow."""
    _, _, chi, rate, _ = measured(table)
    rows = np.array(table.column("chi"), dtype=float).reshape(BIASES.size, SIGMAS.size)
    low, high = (np.interp(1, row, SIGMAS) for row in rows[[0, -1]])
    return (f"The critical line goes from sigma_w = {low:.2f} without biases to {high:.2f} at bias std {BIASES[-1]:g}; "
            f"at {np.sum((rate > 1) == (chi > 1))} of {chi.size} measured points gradients go the way mean field says, "
            f"their growth per layer within {100 * np.abs(rate / chi - 1).max():.1f} % of chi.")
