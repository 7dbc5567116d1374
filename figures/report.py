"""The page of a study: summary first, a picture a row, then trends with depth and the products."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined

from empirical.files import write_atomically
from empirical.measurement import Measurement
from empirical.study import Products, Row, Study, groups, growth
from figures import phase, products, style
from figures.catalogue import Made
from figures.tables import FORMATS, Cell, Column, Table
from rmt import plotting
from rmt.agreement import AGREES, DIFFERS, UNDECIDED, Agreement, compare
from rmt.finite.regime import Regime
from rmt.networks.predict import Prediction
from rmt.text import exp_text

_COLUMNS = (
    Column("scheme", "scheme"), Column("activation", "activation"), Column("depth", "depth"),
    Column("inputs", "inputs"), Column("bias_std", "bias std"), Column("activate_last", "last activation"),
    Column("blocks", "blocks"),
    Column("width", "width"), Column("networks", "nets"), Column("seed", "seed"),
    Column("verdict", "verdict"), Column("regime", "regime"), Column("discrepancy", "discrepancy"),
    Column("interval_low", "from"), Column("interval_high", "to (95 %)"), Column("raw_discrepancy", "raw"),
    Column("p_value", "p"),
    Column("mass_at_zero_predicted", "zeros, law"), Column("mass_at_zero_measured", "zeros, measured"),
    Column("largest_s_predicted", "largest s, law"), Column("largest_s_measured", "largest s, measured"),
    Column("condition_number_predicted", "cond. number, theory"),
    Column("condition_number_measured", "cond. number, measured"),
)
_SAID_ONCE = ("activation", "inputs", "bias_std", "activate_last", "blocks", "width", "networks", "seed")
_USUAL = {"bias_std": 0.0, "activate_last": True, "blocks": ""}


@dataclass(frozen=True)
class RowResult:
    """All that the page says of one row."""

    row: Row
    verdict: str
    reason: str
    regime: Regime
    cells: tuple[Cell, ...]
    log_condition_number: tuple[float, float, float]
    log_growth: tuple[float, float, float]
    svg: str

    @property
    def anchor(self) -> str:
        """Name of the row's picture on the page."""
        row = self.row
        text = f"{row.init}-{row.activation}-{row.depth}-{row.width}-{row.inputs}-{row.draws}"
        text += f"-bias {row.bias_std!r}" if row.bias_std else ""
        text += "" if row.activate_last else "-last linear"
        text += f"-{row.blocks}" if row.blocks else ""
        return "".join(c if c.isalnum() or c == "-" else "_" for c in text)


def row_result(row: Row, measurement: Measurement) -> RowResult:
    """Compare one row and draw its picture (a function of its own, so that worker processes can run it)."""
    style.use()
    prediction = row.predict()
    result = compare(prediction, measurement)
    edges, kappa, zero, (low, high) = (
        result.log_edges, result.log_condition_number, result.mass_at_zero, result.interval)
    regime = prediction.finite_width.regime
    cells: tuple[Cell, ...] = (
        row.init, row.activation, row.depth, row.inputs, row.bias_std, "yes" if row.activate_last else "no", row.blocks,
        row.width,
        _count(measurement.networks, row.draws), row.seed,
        result.verdict, str(regime), result.discrepancy, low, high, result.raw_discrepancy,
        "none" if result.p_value is None else result.p_value, *zero, *(exp_text(edge[1]) for edge in edges),
        *map(exp_text, kappa))
    picture = _picture(result, row)
    return RowResult(row, result.verdict, result.reason, regime, cells, _with_error(kappa, result),
                     _growth(prediction, measurement), picture)


def _count(networks: int, draws: int) -> Cell:
    """Return how many networks were measured, and of how many where some could not be."""
    return networks if networks == draws else f"{networks} of {draws}"


def _with_error(kappa: tuple[float, float], result: Agreement) -> tuple[float, float, float]:
    """Append the standard error over networks of the measured ln condition number."""
    values = result.log_values
    spread = np.array([np.ptp(v[v > -np.inf]) if np.any(v > -np.inf) else 0.0 for v in values])
    return (*kappa, float(np.std(spread, ddof=1)) / math.sqrt(len(spread)) if len(spread) > 1 else 0.0)


def _growth(prediction: Prediction, measurement: Measurement) -> tuple[float, float, float]:
    """Return ln of the predicted and mean measured gradient growth, and the standard error of the latter."""
    return prediction.log_gradient_growth, *growth(measurement)


def _picture(result: Agreement, row: Row) -> str:
    figure = style.figure(5.2, 4.3)
    figure.subplots_adjust(left=0.145, right=0.955, top=0.93, bottom=0.1)
    plotting.agreement(result, figure.add_subplot())
    return style.svg(figure, f"{row}, {row.draws} draws")


def verdicts(results: Iterable[RowResult]) -> dict[str, int]:
    """Return how many rows have each verdict."""
    found = Counter(result.verdict for result in results)
    return {name: found[name] for name in (AGREES, UNDECIDED, DIFFERS)}


def verdicts_text(rows: int, found: Mapping[str, int], failed: int) -> str:
    """Return the count of verdicts as a line."""
    missing = f", {failed} not compared" if failed else ""
    counts = f"{found[AGREES]} agree, {found[UNDECIDED]} undecided, {found[DIFFERS]} differ"
    return f"{rows} row{'s' * (rows != 1)}: {counts}{missing}"


def summary(results: Sequence[RowResult]) -> Table:
    """Return the summary table: a row per (scheme, activation, depth, inputs).

    Biases, blocks and whether the activation follows the last layer are columns where some row has not the usual.
    """
    shown = [i for i, column in enumerate(_COLUMNS)
             if column.key not in _USUAL or any(getattr(r.row, column.key) != _USUAL[column.key] for r in results)]
    return Table(tuple(_COLUMNS[i] for i in shown), tuple(tuple(r.cells[i] for i in shown) for r in results))


def trend(results: Sequence[RowResult], name: str) -> str:
    """Draw condition number and gradient growth against depth, a colour a scheme: law a line, measured a marker."""
    figure = style.figure(5.2, 5.6)
    figure.subplots_adjust(left=0.15, right=0.97, top=0.9, bottom=0.09, hspace=0.16)
    top, bottom = figure.subplots(2, 1, sharex=True)
    depths: dict[str, set[int]] = {}
    for result in results:
        depths.setdefault(result.row.scheme, set()).add(result.row.depth)
    schemes = [scheme for scheme, several in depths.items() if len(several) > 1]
    said = [scheme.split(", ") for scheme in schemes]
    common = [part for part in said[0] if len(said) > 1 and all(part in parts for parts in said)] if said else []
    for i, init in enumerate(schemes):
        mine = sorted((r for r in results if r.row.scheme == init), key=lambda r: r.row.depth)
        # side by side, so that schemes with the same values stay visible
        depth = np.array([r.row.depth for r in mine]) * 1.03 ** (i - (len(schemes) - 1) / 2)
        look = {"color": style.PALETTE[i % 6], "ls": ("-", "--", ":")[i // 6 % 3]}
        label = ", ".join(part for part in said[i] if part not in common) or init
        for ax, values in (top, [r.log_condition_number for r in mine]), (bottom, [r.log_growth for r in mine]):
            predicted, measured, error = np.array(values).T / math.log(10)
            ax.plot(depth, predicted, lw=1.2, label=label, **look)
            ax.errorbar(depth, measured, 2 * error, marker=style.MARKERS[i % 6], ms=4.5, capsize=2, color=look["color"],
                        ls="none")
    for ax in (top, bottom):
        ax.margins(y=0.1)
    top.set_ylabel("log₁₀ condition number\n(of the values s > 0)")
    bottom.set_ylabel("log₁₀ gradient growth\n(squared norm)")
    bottom.set_xscale("log")
    ticks = sorted({result.row.depth for result in results})
    bottom.set_xticks(ticks, [str(tick) for tick in ticks])
    bottom.minorticks_off()
    bottom.set_xlabel("depth (blocks)" if results[0].row.blocks else "depth (weight matrices)")
    row = results[0].row
    about = ", ".join([*common, row.activation])
    figure.suptitle(f"{about}, {row.inputs} inputs, N = {row.width}, {row.draws} networks, seed {row.seed}\n"
                    "lines: theory; markers: mean over networks ± 2 standard errors", fontsize=8)
    top.legend(frameon=False, fontsize=7)
    return style.svg(figure, name)


def _products(study: Products, measured: dict[Row, Measurement]) -> tuple[str, Table]:
    """Return the histograms of products of Gaussian matrices as a picture, and their first three bins."""
    table = products.histograms({row: measured[row] for row in study.rows}, study.bins)
    picture = products.draw(table, study.width, study.draws, study.seed)
    return style.svg(picture, "products"), products.first_bins(table)


def write(study: Study, results: dict[Row, RowResult], measured: dict[Row, Measurement], out: Path,
          diagram: phase.Page | None = None, failed: Mapping[Row, str] | None = None,
          made: Mapping[str, Made] | None = None) -> Table:
    """Write index.html, and each table as .csv, .md and .tex, into a folder; return the summary.

    `failed` rows have a reason instead of a result; `made` are the figures of the sections.
    """
    style.use()
    rows = tuple(row for row in study.rows if row in results)
    ordered = [results[row] for row in rows]
    table = summary(ordered)
    parts = [(f"{activation}, {inputs} inputs", [results[row] for row in rows])
             for (activation, inputs), rows in groups(rows)]
    trends = [(name, trend(part, name)) for name, part in parts if len({r.row.depth for r in part}) > 1]
    drawn = _products(study.products, measured) if study.products else None
    shown, same = table.without_constant(_SAID_ONCE)  # the page is narrower than a file
    environment = Environment(loader=PackageLoader("figures"), autoescape=True, undefined=StrictUndefined)
    page = environment.get_template("report.html").render(
        study=study, table=shown.html([r.anchor for r in ordered]), same=same, parts=parts, trends=trends,
        verdicts=verdicts(ordered), products=drawn, phase=diagram,
        failed=failed or {}, made=made or {}, version=version("rmt"))
    written = {"summary": table} if study.rows or not (diagram or made) else {}
    if diagram:
        written["phase"] = diagram.table
    files = {"index.html": page} | {f"{name}{suffix}": FORMATS[suffix](one) for name, one in written.items()
                                    for suffix in (".csv", ".md", ".tex")}
    if drawn:
        files["products.csv"] = drawn[1].csv()
    for name, text in files.items():
        write_atomically(out / name, text.encode())
    return table
