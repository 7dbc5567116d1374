"""Phase diagrams: mean field on a grid, the measured networks over it, as pictures and tables."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import TwoSlopeNorm
from matplotlib.ticker import NullLocator
from numpy.typing import NDArray

from empirical.measurement import Measurement
from empirical.progress import progress
from empirical.study import Phase, Row, growth, spaced
from figures import style
from figures.tables import Cell, Column, Table
from rmt import plotting
from rmt.networks import meanfield
from rmt.networks.meanfield import PhaseDiagram

Array = NDArray[np.float64]

_POINTS = 500  # of a grid at a time
_GRID = (("sigma_w", "sigma_w"), ("bias_std", "bias std"), ("region", "region"), ("variance", "variance"),
         ("chi", "chi"), ("correlation", "correlation"), ("trainable_depth", "trainable depth"))
_MEASURED = (("predicted_growth", "growth a layer, theory"), ("measured_growth", "growth a layer, measured"),
             ("standard_error", "standard error"), ("within_3_standard_errors", "within 3 standard errors"))
_LOOK = {"ordered": ("#0072b2", "o"), "critical": ("#009e73", "D"), "chaotic": ("#d55e00", "s"),
         "unbounded": ("#555555", "^")}


def diagram(activation: str, sigma_w: Array, bias_std: Array, show: bool = True) -> PhaseDiagram:
    """Return the phase diagram, some rows at a time behind a progress bar where there are many points."""
    parts = np.array_split(bias_std, min(bias_std.size, math.ceil(sigma_w.size * bias_std.size / _POINTS)))
    found = [meanfield.phase_diagram(activation, sigma_w, part)
             for part in progress(parts, len(parts), "mean field", show and len(parts) > 2)]
    grids: dict[str, Any] = {name: np.concatenate([getattr(part, name) for part in found])
                             for name in ("variance", "chi", "correlation", "region", "trainable_depth")}
    return replace(found[0], bias_std=bias_std, **grids)


@dataclass(frozen=True)
class Point:
    """Growth of a gradient's squared norm per layer at one measured point, predicted and measured."""

    predicted: float
    measured: float
    error: float

    @property
    def agrees(self) -> bool:
        """Whether they are within three standard errors."""
        return abs(self.measured - self.predicted) <= 3 * self.error


def predicted(row: Row) -> float:
    """Return ln of the predicted gradient growth (a function of its own, so that worker processes can run it)."""
    return row.predict().log_gradient_growth


def point(row: Row, log_growth: float, measurement: Measurement) -> Point:
    """Return what theory and networks say per layer: the growth over all layers to the power 1 / depth."""
    log_mean, error = growth(measurement)
    measured = math.exp(log_mean / row.depth)
    return Point(math.exp(log_growth / row.depth), measured, measured * error / row.depth)


def table(diagram: PhaseDiagram, points: Sequence[Point] = ()) -> Table:
    """Return a row per pair of a sigma_w and a bias_std; with points, what was measured there too."""
    rows: list[tuple[Cell, ...]] = []
    for i, bias_std in enumerate(diagram.bias_std.tolist()):
        for j, sigma_w in enumerate(diagram.sigma_w.tolist()):
            numbers = (_cell(grid[i, j]) for grid in (diagram.variance, diagram.chi, diagram.correlation,
                                                      diagram.trainable_depth))
            rows.append((sigma_w, bias_std, str(diagram.region[i, j]), *numbers))
    if points:
        rows = [(*row, p.predicted, p.measured, p.error, "yes" if p.agrees else "no")
                for row, p in zip(rows, points, strict=True)]
    return Table(tuple(Column(*names) for names in _GRID + (_MEASURED if points else ())), tuple(rows))


def _cell(x: float) -> Cell:
    return "none" if math.isnan(x) else float(x)


@dataclass(frozen=True)
class Page:
    """All that the page says of a phase diagram."""

    phase: Phase
    table: Table
    points: tuple[Point, ...]
    pictures: tuple[tuple[str, str], ...]

    @property
    def agree(self) -> int:
        """How many points are within three standard errors."""
        return sum(p.agrees for p in self.points)


def page(phase: Phase, log_growths: Sequence[float], measured: dict[Row, Measurement]) -> Page:
    """Return the pictures and the table of a measured phase diagram."""
    points = tuple(point(row, g, measured[row]) for row, g in zip(phase.rows, log_growths, strict=True))
    fine = diagram(phase.activation, spaced(phase.sigma_w), spaced(phase.bias_std))
    coarse = diagram(phase.activation, spaced(phase.sigma_w, phase.measure[0]),
                     spaced(phase.bias_std, phase.measure[1]))
    where = (f"{phase.activation}, L = {phase.depth}, N = {phase.width}, {phase.draws} networks a point, "
             f"seed {phase.seed}")
    pictures = (("Trainable depth, and the points that were measured", _depth_map(phase, fine, where)),
                ("Gradient growth per layer: predicted (background) and measured (circles)",
                 _growth_map(phase, fine, points, where)),
                ("Gradient growth per layer: measured against predicted", _scatter(coarse, points, where)))
    return Page(phase, table(coarse, points), points, pictures)


def _picture() -> tuple[style.Figure, Axes]:
    figure = style.figure(5.2, 4.0)
    figure.subplots_adjust(left=0.12, right=0.97, top=0.92, bottom=0.12)
    return figure, figure.add_subplot()


def _depth_map(phase: Phase, fine: PhaseDiagram, where: str) -> str:
    figure, ax = _picture()
    plotting.phase_diagram(fine, ax)
    _circles(phase, ax, facecolor="none")
    ax.set_title(f"colours: mean field, infinite width; circles: measured networks\n{where}", fontsize=7.5)
    return style.svg(figure, f"depth, {where}")


def _circles(phase: Phase, ax: Axes, **look: Any) -> None:
    weights, biases = np.array(phase.points).T
    ax.scatter(weights, biases, s=60, edgecolor="black", linewidth=0.9, clip_on=False, zorder=3, **look)


def _growth_map(phase: Phase, fine: PhaseDiagram, points: Sequence[Point], where: str) -> str:
    figure, ax = _picture()
    log_growth = phase.log_growth(fine.sigma_w, fine.bias_std) / phase.depth / math.log(10)
    measured = np.log10(np.maximum([p.measured for p in points], 1e-300))
    low, high = min(-0.1, log_growth.min(), measured.min()), max(0.1, log_growth.max(), measured.max())
    norm, levels = TwoSlopeNorm(0, low, high), np.r_[np.linspace(low, 0, 21), np.linspace(0, high, 21)[1:]]
    mesh = ax.contourf(fine.sigma_w, fine.bias_std, log_growth, levels, norm=norm, cmap="RdBu_r")
    mesh.set_edgecolor("face")  # else the page shows through between colours
    plotting.critical_line(fine, ax)
    _circles(phase, ax, c=measured, norm=norm, cmap="RdBu_r")
    bar = figure.colorbar(mesh, ax=ax)
    places = _ticks(10**low, 10**high)
    bar.set_ticks([math.log10(g) for g in places], labels=[f"{g:g}" for g in places])
    bar.set_label("growth of a gradient's squared norm, per layer")
    ax.set_title(f"background: theory at this depth; circles: measured\n{where}", fontsize=7.5)
    return style.svg(figure, f"growth, {where}")


def _ticks(low: float, high: float) -> list[float]:
    """Return round numbers of a logarithmic axis."""
    fine = (0.7, 1, 1.5, 2, 3, 5) if high < 30 * low else (1, 2, 5) if high < 1e4 * low else (1,)
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    return [g for d in decades for g in (float(f"{m}e{d}") for m in fine) if low <= g <= high]


def _scatter(coarse: PhaseDiagram, points: Sequence[Point], where: str) -> str:
    figure = style.figure(5.2, 5.2)
    figure.subplots_adjust(left=0.15, right=0.97, top=0.94, bottom=0.1, hspace=0.1)
    ax, under = figure.subplots(2, 1, sharex=True, height_ratios=(2, 1))
    theory, measured, error = np.array([(p.predicted, p.measured, p.error) for p in points]).T
    regions = coarse.region.ravel()
    for name, (color, marker) in _LOOK.items():
        at = regions == name
        if at.any():
            look = {"fmt": marker, "ms": 4.5, "capsize": 2, "color": color, "mec": "white", "mew": 0.4}
            ax.errorbar(theory[at], measured[at], 2 * error[at], label=f"{name} ({at.sum()} of {at.size})", **look)
            under.errorbar(theory[at], 100 * (measured[at] / theory[at] - 1), 200 * error[at] / theory[at], **look)
    both = np.r_[theory, measured[measured > 0]]
    ends = [both.min() * 0.9, both.max() * 1.1]
    ax.plot(ends, ends, color="black", lw=0.8, zorder=0, label="measured = theory")
    under.axhline(0, color="black", lw=0.8, zorder=0)
    for axis in (ax.xaxis, ax.yaxis):
        places = _ticks(*ends)
        axis.axes.set(**{f"{axis.axis_name}scale": "log"})
        axis.set_ticks(places, [f"{g:g}" for g in places])
        axis.set_minor_locator(NullLocator())
    under.set_xlabel("growth of a gradient's squared norm per layer, theory")
    ax.set_ylabel("measured")
    under.set_ylabel("measured / theory\n− 1 (%)")
    ax.legend(frameon=False, loc="upper left")
    ax.set_title(f"mean over networks ± 2 standard errors\n{where}", fontsize=7.5)
    return style.svg(figure, f"scatter, {where}")
