"""The command rmt phase."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click
import numpy as np

from empirical.study import Axis, axis, spaced
from figures.options import DONE, PICTURES, check_out, json_number, save, save_table
from figures.tables import FORMATS, Cell, Column, Table
from figures.terminal import say, width
from rmt import plotting
from rmt.checks import integer
from rmt.networks import activations
from rmt.networks.meanfield import CriticalPoint, NoFixedPoint, PhaseDiagram, critical_point

_SIGNS = {"ordered": ".", "critical": "|", "chaotic": "#", "unbounded": "^"}
_COLUMNS, _ROWS = 80, 40  # of the map
_BESIDE = 54  # columns of a terminal beside the map


def _axis(key: str, text: str, open_low: bool = False) -> Axis:
    """Read "low,high,count"."""
    try:
        low, high, count = text.split(",")
        value = float(low), float(high), int(count)
    except ValueError:
        raise ValueError(f"{key} must be low,high,count as 0.5,3,26, got {text!r}") from None
    return axis(key, value, open_low=open_low)


def phase(activation: str, sigma_w: str, bias_std: str, seed: int, as_json: bool, out: str | None) -> int:
    """Map where a deep network is ordered, critical or chaotic."""
    check_out(out, (*PICTURES, *FORMATS))
    activations.activation(activation)
    integer("seed", seed, 0)
    axes = spaced(_axis("sigma_w", sigma_w, open_low=True)), spaced(_axis("bias_std", bias_std))
    from figures import phase as diagrams
    from figures import style

    found = diagrams.diagram(activation, *axes)
    points = [_critical(activation, b) for b in found.bias_std.tolist()]
    if as_json:
        click.echo(json.dumps(_content(found, points)))
    else:
        say(_map(found, points))
    if out and Path(out).suffix in FORMATS:
        save_table(diagrams.table(found), out)
    elif out:
        style.use()
        ax = plotting.phase_diagram(found)
        ax.set_title(f"{activation}: mean field at infinite width", fontsize=8)
        save(ax, out)
    return DONE


def _critical(activation: str, bias_std: float) -> CriticalPoint | None:
    try:
        return critical_point(activation, bias_std=bias_std)
    except NoFixedPoint:
        return None


def _content(found: PhaseDiagram, points: list[CriticalPoint | None]) -> dict[str, Any]:
    numbers = {name: [[json_number(x) for x in row] for row in getattr(found, name).tolist()]
               for name in ("variance", "chi", "correlation", "trainable_depth")}
    return {"activation": found.activation, "sigma_w": found.sigma_w.tolist(), "bias_std": found.bias_std.tolist(),
            "region": found.region.tolist(), **numbers, "critical_points": [point and vars(point) for point in points]}


def _map(found: PhaseDiagram, points: list[CriticalPoint | None]) -> str:
    """Return the regions as signs, a line per bias_std, with its critical point beside it."""
    rows = _thinned(found.bias_std.size, _ROWS)
    most = min(_COLUMNS, max(8, (width() or 2 * _COLUMNS) - _BESIDE))
    columns = _thinned(found.sigma_w.size, most)
    low, high = (f"{found.sigma_w[i]:g}" for i in (0, -1))
    head = f"{low} .. {high}"
    if columns.size > len(low) + len(high):
        head = low + " " * (columns.size - len(low) - len(high)) + high
    lines: list[tuple[Cell, ...]] = []
    for i in rows[::-1]:
        signs = "".join(_SIGNS[region] for region in found.region[i, columns])
        point = points[i]
        last: tuple[Cell, ...] = ("none", "", "") if point is None else (
            f"{point.sigma_w:.6g}", f"{point.variance:.6g}", "yes" if point.stable else "no")
        lines.append((f"{found.bias_std[i]:.4g}", signs, *last))
    names = ("bias_std", head, "critical sigma_w", "variance there", "stable")
    key = ", ".join(f"{sign} {name}" for name, sign in _SIGNS.items() if (found.region == name).any())
    shown = f" ({columns.size} of {found.sigma_w.size} sigma_w, {rows.size} of {found.bias_std.size} bias_std)"
    thin = shown if (rows.size, columns.size) != found.region.shape else ""
    table = Table(tuple(Column(name, name) for name in names), tuple(lines))
    return f"{found.activation}: sigma_w to the right, bias_std upwards{thin}\n{key}\n\n{table.text()}".rstrip()


def _thinned(size: int, most: int) -> np.ndarray:
    """Return the indices of `size` values, evenly spaced ones where there are more than `most`."""
    return np.arange(size) if size <= most else np.unique(np.linspace(0, size - 1, most).round().astype(int))
