"""The primitive pictures; the only file of rmt that imports matplotlib, when a picture is asked for."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.text import Text

    # What is drawn stands above the pictures, and calls them.
    Law: TypeAlias = Any
    Spectrum: TypeAlias = Any
    Agreement: TypeAlias = Any
    PhaseDiagram: TypeAlias = Any
    SpectralDensity: TypeAlias = Any
    SpectrumMonitor: TypeAlias = Any

LAW, MEASURED, BAND = "#c1432e", "#3b6fa0", "#b9b9b9"
_LN10 = math.log(10)
_TAIL = 1e-3  # of the mass, left out of a picture at a hard edge
_NAMED_STEMS = 6
_LONGEST = 56  # letters of a label
_SHADES = {"largest": "#1d3f63", "median": MEASURED, "smallest": "#8fb7dc"}  # of what is measured
_MARKED = 40  # measurements, of which each has its mark
_DEPTHS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)  # where the colour of a phase diagram changes


def _axes(ax: Axes | None) -> Axes:
    if ax is not None:
        return ax
    try:
        import matplotlib.pyplot as plt
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError("plots need matplotlib: pip install 'rmt[figures]'") from error
    figure, ax = plt.subplots(figsize=(5.2, 4.2))
    figure.subplots_adjust(left=0.155, right=0.955, top=0.93, bottom=0.11)
    return ax


def wrap(title: Text, width: float) -> None:
    """Break the lines of a text between words where they are wider than so many pixels; shrink what has no spaces.

    The parts of a line are as even as they can be.
    """
    broken: list[str] = []
    for line in title.get_text().split("\n"):
        parts = _broken(title, line, width)
        shares = (0.5, 0.6, 0.7, 0.8, 0.9) if len(parts) > 1 else ()
        narrower = (_broken(title, line, share * width) for share in shares)
        broken += next((even for even in narrower if len(even) == len(parts)), parts)
    title.set_text("\n".join(broken))
    if (wide := title.get_window_extent().width) > width > 0:
        title.set_fontsize(0.98 * float(title.get_fontsize()) * width / wide)


def _broken(title: Text, line: str, width: float) -> list[str]:
    """Return the parts of a line, as many words in each as the width holds in the text's own letters."""
    parts = [""]
    for word in re.split(r"(?<![×±=]) (?![×±=])", line):
        longer = f"{parts[-1]} {word}" if parts[-1] else word
        title.set_text(longer)
        if parts[-1] and title.get_window_extent().width > width:
            parts.append(word)
        else:
            parts[-1] = longer
    return parts


def _title(ax: Axes, text: str, size: float) -> None:
    """Give axes a title that is no wider than the picture on either side of their middle."""
    ax.set_title(text, fontsize=size)
    box, whole = ax.get_window_extent(), ax.figure.bbox
    middle = (box.x0 + box.x1) / 2
    wrap(ax.title, 1.98 * min(middle - whole.x0, whole.x1 - middle))


def _law_line(log_law: Any, unit: float = _LN10) -> tuple[np.ndarray, np.ndarray]:
    """Return places in units (log10 of a log view) and the density per unit, all but the tail at a hard edge."""
    lines_x, lines_y = [], []
    for lo, hi in log_law.support:
        low = lo if math.isfinite(lo) else float(log_law.ppf(_TAIL))
        theta = np.linspace(0, np.pi, 201)
        x = low + (hi - low) * np.sin(theta / 2) ** 2
        y = log_law.pdf(x) * unit
        lines_x += [*(x / unit), np.nan]
        lines_y += [*np.where(np.isfinite(y), y, np.nan), np.nan]  # at an end it may be infinite
    return np.array(lines_x), np.array(lines_y)


def law(law: Law, ax: Axes | None = None) -> Axes:
    """Draw a law: the density of log10 x given x > 0, or of x where the law reaches below zero."""
    positive = float(law.ppf(0.0)) >= 0 and law.atoms.get(0.0) != 1
    return _density(law.log if positive else law, "x", law.atoms.get(0.0, 0.0) if positive else 0.0, str(law),
                    _axes(ax), logs=positive)


def spectrum(law: Spectrum, ax: Axes | None = None) -> Axes:
    """Draw the density of log10 s given s > 0, atoms as labelled stems, the support and the mass at zero in words."""
    return _density(law.log, "s", law.atoms.get(0.0, 0.0), str(law.squared), _axes(ax), logs=True)


def _density(law: Any, name: str, zero: float, title: str, ax: Axes, *, logs: bool) -> Axes:
    """Draw the density of a law on a line, its bands as bars under the axis, its atoms as stems."""
    unit, given = (_LN10, f", given {name} > 0") if logs else (1.0, "")
    x, y = _law_line(law, unit)
    ax.plot(x, y, color=LAW, label="density" if x.size else None)
    for i, (lo, hi) in enumerate(law.support):
        low = lo if math.isfinite(lo) else float(law.ppf(_TAIL))
        bar = ax.axvspan(low / unit, hi / unit, ymax=0.02, color=LAW, alpha=0.35, lw=0)
        bar.set_label("support" if i == 0 else "")
    for i, (place, mass) in enumerate(law.atoms.items()):
        if len(law.atoms) <= _NAMED_STEMS:
            ax.axvline(place / unit, ymax=0.75, color=LAW, lw=1.5, ls="--",
                       label=f"atom of mass {mass:.3g}{given if zero else ''}")
        else:
            label = f"{len(law.atoms)} atoms{given if zero else ''}" if i == 0 else ""
            ax.axvline(place / unit, ymax=0.75 * mass / max(law.atoms.values()), color=LAW, lw=0.8, label=label)
    quantity = f"log₁₀ {name}" if logs else name
    ax.set_xlabel(quantity)
    ax.set_ylabel(f"density per unit of {quantity}{given}")
    top = float(np.nanquantile(y, 0.9)) * 1.6 if y.size else 1.0  # an edge may diverge
    ax.set_ylim(0, min(top, 1.15 * float(np.nanmax(y))) if y.size else 1.0)
    ax.margins(x=0.05)
    words = f"\nmass at zero {zero:.4g}" if zero else ""
    _title(ax, (title if len(title) <= 70 else title[:67] + "...") + words, 8)
    ax.legend(frameon=False, fontsize=7)
    return ax


def _stems(law: Spectrum, ax: Axes) -> None:
    given = ", given s > 0" if law.atoms.get(0.0) else ""
    for place, mass in law.log.atoms.items():
        ax.axvline(place / _LN10, ymax=0.75, color=LAW, lw=1.5, ls="--", label=f"atom of mass {mass:.3g}{given}")


def agreement(result: Agreement, ax: Axes | None = None) -> Axes:
    """Draw the default picture of a comparison: densities above, the difference of the cdfs under it."""
    from mpl_toolkits.axes_grid1 import make_axes_locatable

    ax = _axes(ax)
    alive = result.log_values > -np.inf
    values = result.log_values[alive & (result.log_values > result.censored[..., None])] / _LN10
    log_law = result.spectrum.log
    x, y = _law_line(log_law)
    ends = [*(place / _LN10 for place in log_law.atoms), *x[np.isfinite(x)]]
    if values.size:
        ends += list(np.quantile(values, [_TAIL, 1.0]))
    low, high = min(ends), max(ends)
    pad = max(0.03 * (high - low), 0.02 if log_law.atoms else 1e-3)
    low, high = low - pad, high + pad
    if values.size:
        _bars(values, low, high, ax, int(alive.sum()))
    label = result.label if len(result.label) <= _LONGEST else result.label[: _LONGEST - 1] + "…"
    ax.plot(x, y, color=LAW, lw=1.6 if np.isfinite(x).any() else 0.0, label=f"law: {label}")
    _stems(result.spectrum, ax)
    networks, inputs, n = result.log_values.shape
    zero = result.mass_at_zero
    seed = "" if result.seed is None else f" (seed {result.seed})"
    _title(ax, f"{networks} network{'s' * (networks > 1)}{seed}, {inputs} input{'s' * (inputs > 1)} each, N = {n}; "
           f"mass at zero: law {zero[0]:.3f}, measured {zero[1]:.3f}"
           + (f"; not resolved {result.unresolved:.3f}" if result.unresolved else ""), 7.5)
    ax.set_ylabel("density per unit of log₁₀ s,\ngiven s > 0", fontsize=8)
    ax.set_ylim(0, 1.3 * ax.dataLim.ymax if np.isfinite(ax.dataLim.ymax) else 1)  # room for the legend
    ax.legend(fontsize=7, frameon=False, loc="upper left")
    ax.tick_params(labelbottom=False, labelsize=7)
    ax.locator_params(nbins=6)
    ax.set_xlim(low, high)

    under = make_axes_locatable(ax).append_axes("bottom", size="62%", pad=0.12, sharex=ax)
    _difference(result, under)
    return ax


def _bars(values: np.ndarray, low: float, high: float, ax: Axes, whole: int = 0) -> float:
    """Draw the density of values, of a `whole` of more, in fewer bins where they are few; return its height."""
    bins = np.linspace(low, high, min(62, 12 + values.size // 8))
    height = np.histogram(values, bins)[0] / (max(values.size, whole) * (bins[1] - bins[0]))
    ax.stairs(height, bins, fill=True, color=MEASURED, alpha=0.55, label="measured")
    return float(height.max())


def _difference(result: Agreement, ax: Axes) -> None:
    """Draw measured minus predicted cdf of s given s > 0, its three-sigma band over networks, the tolerance."""
    place, gap, error = result.cdf_difference()
    t = place / _LN10
    ax.axhspan(-result.tolerance, result.tolerance, color=BAND, alpha=0.35, lw=0,
               label=f"tolerance {result.tolerance:g}")
    if np.any(error > 0):
        ax.fill_between(t, gap - 3 * error, gap + 3 * error, color=MEASURED, alpha=0.3, lw=0,
                        label="±3 standard errors")
    ax.plot(t, gap, color=MEASURED, lw=1.1,
            label=f"measured − law (discrepancy {result.discrepancy:.4f}, raw {result.raw_discrepancy:.4f})")
    if result.null is not None and place.size and not result.spectrum.log.atoms:
        at, shift = result.null.cdf_shift(result.spectrum)
        ax.plot(at / _LN10, shift, color=LAW, lw=1.1, ls="--", label="theory at this width − law")
    ax.axhline(0, color=LAW, lw=0.8)
    reach = 1.15 * max(1.6 * result.tolerance, float(np.max(np.abs(gap) + 3 * error, initial=0.0)))
    ax.set_ylim(-1.5 * reach, reach)  # room for the legend
    ax.set_xlabel("log₁₀ s", fontsize=8)
    ax.set_ylabel("cdf: measured\n− law", fontsize=8)
    ax.tick_params(labelsize=7)
    ax.locator_params(axis="y", nbins=5, steps=[1, 2, 5, 10])
    ax.legend(fontsize=6.5, frameon=False, ncols=2, loc="lower center")


def histogram(bins: np.ndarray, counts: np.ndarray, predicted: np.ndarray, ax: Axes | None = None) -> Axes:
    """Draw counts of s in bins with the law's expected counts over them."""
    ax = _axes(ax)
    ax.stairs(counts, bins, fill=True, color=MEASURED, alpha=0.55, label="measured")
    ax.stairs(predicted, bins, color=LAW, lw=1.4, label="law")
    ax.set_xlabel("singular value s")
    ax.set_ylabel(f"values per bin (width {bins[1] - bins[0]:.3g})")
    ax.legend(frameon=False)
    return ax


def matrix_free(found: SpectralDensity, ax: Axes | None = None) -> Axes:
    """Draw the density of log10 s of a Jacobian that was not formed, with its error, and the ends that were found."""
    ax = _axes(ax)
    x, y, error = found.grid / _LN10, found.density * _LN10, found.density_se * _LN10
    ax.fill_between(x, np.maximum(y - 2 * error, 0), y + 2 * error, color=MEASURED, alpha=0.3, lw=0,
                    label="±2 standard errors")
    ax.plot(x, y, color=MEASURED, lw=1.4, label="measured, matrix-free")
    for i, end in enumerate(found.extremes):
        if end.converged:
            line = ax.axvline(end.log_value / _LN10, color=BAND, lw=1, ls="--", zorder=0)
            line.set_label("_" if any(end.converged for end in found.extremes[:i]) else "an end that has converged")
    _title(ax, f"{found.n_inputs} inputs, {found.probes} probes of {found.steps} steps (seed {found.seed}); "
           f"mass up to s = {math.exp(found.grid[0]):.1g}: {found.cdf[0]:.3f}", 7.5)
    return _log_density(ax, float(y.max(initial=0)))


def measured(logs: np.ndarray, resolution: np.ndarray, ax: Axes | None = None) -> Axes:
    """Draw the density of log10 s of ln s (samples, values), -inf for zeros, that there is no law for.

    Values at or under the ln of the resolution (samples) are only counted.
    """
    ax = _axes(ax)
    unseen = np.isfinite(logs) & (logs <= resolution[:, None])
    values, top = logs[np.isfinite(logs) & ~unseen] / _LN10, 0.0
    if values.size:
        pad = max(0.03 * np.ptp(values), 1e-3)
        top = _bars(values, values.min() - pad, values.max() + pad, ax, values.size + int(unseen.sum()))
    _title(ax, f"{logs.shape[0]} input{'s' * (logs.shape[0] > 1)}, N = {logs.shape[1]}; mass at zero "
           f"{np.mean(np.isneginf(logs)):.3f}" + (f"; not resolved {np.mean(unseen):.3f}" if unseen.any() else ""), 7.5)
    return _log_density(ax, top)


def _log_density(ax: Axes, top: float) -> Axes:
    ax.set_xlabel("log₁₀ s")
    ax.set_ylabel("density per unit of log₁₀ s,\ngiven s > 0" if not ax.lines else "density per unit of log₁₀ s")
    ax.set_ylim(0, 1.3 * top if top > 0 else 1)  # room for the legend
    if top > 0:
        ax.legend(fontsize=7, frameon=False, loc="upper left")
    return ax


def training(monitor: SpectrumMonitor, ax: Axes | None = None) -> Axes:
    """Draw log10 of the largest, median and smallest s over training steps; dashed, the law at initialization."""
    records, law = monitor.records, monitor.law
    if not records:
        raise ValueError("nothing was measured yet: call step() or measure()")
    ax = _axes(ax)
    steps = [record.step for record in records]
    for name, color in _SHADES.items():
        logs = np.array([getattr(record, f"log_{name}") for record in records])
        ax.plot(steps, np.where(np.isfinite(logs), logs, np.nan) / _LN10, color=color, lw=1.5,
                marker="o" if len(steps) <= _MARKED else None, ms=3, label=f"{name} s")
    if law is not None:
        low, high = law.log_edges
        name = "edges and median"
        if low == -math.inf:  # a hard edge: what n values have is known
            n = max(1, round(monitor.inputs[0].numel() * (1 - records[0].mass_at_zero)))
            low, name = high - law.log_condition_number_at(n), f"edge, median, smallest of {n}"
        for place in (high, float(law.log.ppf(0.5)), low):
            line = ax.axhline(place / _LN10, color=LAW, lw=1, ls="--")
        line.set_label(f"law at initialization: {name}")
    ax.set_xlabel("training step")
    ax.set_ylabel("log₁₀ s")
    ax.locator_params(axis="x", integer=True)
    pad = max(0.03 * (steps[-1] - steps[0]), 0.5)
    ax.set_xlim(steps[0] - pad, steps[-1] + pad)
    bottom, top = ax.get_ylim()
    ax.set_ylim(bottom, top + 0.3 * (top - bottom))  # room for the legend
    ax.legend(frameon=False, fontsize=7, ncols=3 if law is None else 2, loc="upper center")
    return ax


def phase_diagram(diagram: PhaseDiagram, ax: Axes | None = None) -> Axes:
    """Draw the line chi = 1 and the regions over sigma_w and bias_std; colours: the trainable depth."""
    ax = _axes(ax)
    critical_line(diagram, ax)
    _trainable_depth(diagram, ax)
    for name in ("ordered", "chaotic", "unbounded"):
        _name_region(diagram, name, ax)
    _title(ax, f"{diagram.activation}, mean field at infinite width", 8)
    return ax


def _trainable_depth(diagram: PhaseDiagram, ax: Axes) -> None:
    from matplotlib import colormaps
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import BoundaryNorm, ListedColormap

    colors = colormaps["viridis"](np.linspace(0, 1, len(_DEPTHS) + 1))
    rate = np.sign(diagram.chi - 1) * 6 / np.maximum(diagram.trainable_depth, 0.1)  # smooth through criticality
    rates = 6 / np.array(_DEPTHS)
    ax.contourf(diagram.sigma_w, diagram.bias_std, _bounded(diagram, rate), [*-rates, *rates[::-1]],
                colors=[*colors, *colors[-2::-1]], extend="both")
    scale = ScalarMappable(BoundaryNorm(_DEPTHS, len(colors), extend="both"), ListedColormap(colors))
    bar = ax.figure.colorbar(scale, ax=ax, ticks=_DEPTHS, format="%d")
    bar.set_label("trainable depth 6 ξ (layers)")


def _bounded(diagram: PhaseDiagram, grid: np.ndarray) -> np.ma.MaskedArray:
    return np.ma.masked_where(diagram.region == "unbounded", grid)


def critical_line(diagram: PhaseDiagram, ax: Axes) -> None:
    """Draw the line chi = 1 where the variance is bounded, grey where it is not; name the axes."""
    ax.set_facecolor(BAND)
    chi = _bounded(diagram, diagram.chi)
    if chi.count() and chi.min() < 1 < chi.max():
        for width, color in ((3.0, "white"), (1.6, LAW)):
            ax.contour(diagram.sigma_w, diagram.bias_std, chi, [1.0], colors=color, linewidths=width)
        ax.plot([], [], color=LAW, lw=1.6, label="critical: χ = 1")
        ax.legend(fontsize=7, loc="upper left", framealpha=0.85)
    ax.set_xlabel(r"weight scale $\sigma_w$ (a weight has variance $\sigma_w^2$ / fan_in)")
    ax.set_ylabel("standard deviation of a bias")
    ax.set_xlim(diagram.sigma_w[0], diagram.sigma_w[-1])
    ax.set_ylim(diagram.bias_std[0], diagram.bias_std[-1])


def _name_region(diagram: PhaseDiagram, name: str, ax: Axes) -> None:
    """Write a region's name where it is widest."""
    from scipy.ndimage import distance_transform_edt

    inside = diagram.region == name
    if inside.mean() < 0.02:
        return
    wide = distance_transform_edt(np.pad(inside, 1), sampling=1 / np.array(inside.shape))[1:-1, 1:-1]
    i, j = np.unravel_index(np.argmax(wide), wide.shape)
    ax.text(diagram.sigma_w[j], diagram.bias_std[i], name, ha="center", va="center", fontsize=8,
            bbox={"boxstyle": "round,pad=0.2", "fc": "white", "ec": "none", "alpha": 0.8})
