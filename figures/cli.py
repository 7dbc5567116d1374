"""The command line: rmt predict | measure | compare | report | figures | phase | advise."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from empirical import study as studies
from empirical import study_size
from empirical.estimate import prediction as prediction_estimate
from empirical.files import check_writable
from empirical.measure import IncompleteError, estimated
from empirical.measure import measure as measure_networks
from empirical.measurement import Measurement
from empirical.progress import progress
from empirical.store import Store
from empirical.workers import workers
from figures import catalogue, style, tables
from figures import phase as diagrams
from figures import report as pages
from figures.advise_command import advise
from figures.ending import ended_by_signals
from figures.figures_command import figures
from figures.options import (
    DIFFERENT,
    DONE,
    INCOMPLETE,
    PICTURES,
    USAGE,
    Interrupted,
    check_out,
    json_number,
    long,
    records,
    resumable,
    save,
    save_table,
    shared,
    start,
)
from figures.phase_command import phase
from figures.setting import SIZES, Setting
from figures.tables import FORMATS
from rmt.agreement import AGREES, DIFFERS, compare
from rmt.checks import choice, number
from rmt.laws.errors import ConvergenceError
from rmt.networks.finite_width import FiniteWidth
from rmt.networks.network import Network, mlp
from rmt.networks.predict import Prediction
from rmt.networks.predict import predict as predict_network
from rmt.text import exp_text

_DRAWS = click.IntRange(1, studies.LIMITS["draws"])


class _OneLine(click.Group):
    """A group whose errors are one line on standard error."""

    def main(self, *args: Any, **kwargs: Any) -> Any:
        """Run; exit with 2 for bad input, 3 for work that is incomplete, 128 and its number for a signal."""
        with ended_by_signals(whole=not args and "args" not in kwargs) as ending:  # not a test's
            try:
                status = super().main(*args, **{**kwargs, "standalone_mode": False})
            except (click.Abort, KeyboardInterrupt):  # the former is a RuntimeError
                _fail("interrupted", ending.status)
            except click.exceptions.NoArgsIsHelpError as error:
                click.echo(error.format_message(), err=True)
                sys.exit(USAGE)
            except click.ClickException as error:
                _fail(error.format_message(), ending.status if isinstance(error, Interrupted) else USAGE)
            except (ConvergenceError, IncompleteError) as error:
                _fail(f"incomplete: {error}", INCOMPLETE)
            except (ValueError, TypeError, OSError, ArithmeticError, RuntimeError, MemoryError,
                    ModuleNotFoundError) as error:
                _fail(str(error), USAGE)
        sys.exit(status if isinstance(status, int) else DONE)


def _fail(message: str, status: int) -> None:
    click.echo(f"rmt: {' '.join(message.split())}", err=True)
    sys.exit(status)


def widths(text: str) -> list[int]:
    """Read "784,500x10,10": input 784, ten layers of 500, one of 10; "200x6": input 200 and six layers of 200."""
    out: list[int] = []
    for part in text.split(","):
        match = re.fullmatch(r"0*([1-9]\d{0,5})(?:x0*([1-9]\d{0,4}))?", part.strip(), re.ASCII)
        if match is None:
            raise ValueError(f"widths must look like 784,500x10,10 with whole numbers from 1 to 999999, got {text!r}")
        out += [int(match[1])] * int(match[2] or 1)
    if len(out) > studies.LIMITS["depth"]:
        raise ValueError(f"widths must be at most {studies.LIMITS['depth']} layers, got {len(out)}")
    return [out[0], *out] if "x" in text and "," not in text else out


def _network(f: Callable[..., Any]) -> Callable[..., Any]:
    for option in (
        click.option("--bias-std", type=float, default=0.0, show_default=True, help="Standard deviation of a bias."),
        click.option("--init", default="kaiming_normal", show_default=True, help="Scheme, as gaussian(sigma_w=1.5)."),
        click.option("--activation", default="relu", show_default=True, help="Activation, as leaky_relu(0.2)."),
        click.option("--widths", "width_text", required=True, help="Input and layers, as 784,500x10,10."),
        click.option("--inputs", type=str, default="gaussian", show_default=True, help="gaussian or digits."),
    ):
        f = option(f)
    return f


def _describe(width_text: str, activation: str, init: str, bias_std: float, inputs: str) -> tuple[Network, Any]:
    source = studies.INPUTS[choice("inputs", inputs, studies.INPUTS)]()
    network = mlp(widths(width_text), activation, init, bias_std)
    source.check(network.input_shape)
    return network, source


def _start(network: Network, source: Any, draws: int, seed: int, store: str | None, out: str | None,
           yes: bool) -> None:
    """Say what measuring will take, and ask if that is long."""
    saved = out is not None and Path(out).suffix == ".npz"
    takes = estimated(network, draws=draws, inputs=source, seed=seed, store=store, saved=saved)
    start(f"measuring {draws} networks {network}", takes, yes, Path(out).absolute().parent if out and saved else None)


def _predicted(network: Network, source: Any) -> Prediction:
    return predict_network(network, source.mean_square, source.correlation)


def _summary(prediction: Prediction) -> dict[str, Any]:
    spectrum = prediction.spectrum
    n = prediction.network.n_inputs
    finite = prediction.finite_width
    values = {"log_largest_s": finite.log_largest, "log_of_geometric_mean_s": finite.mean_log}
    bands = {f"{name}_of_one_network": [value.band()[0], value.median, value.band()[1]]
             for name, value in values.items() if value is not None}
    return {
        "regime": finite.regime.name, "depth_times_beta_over_2": finite.regime.ratio,
        "distance_of_one_network": _distance(finite),
        "mean_x": spectrum.squared.mean(), "gradient_growth": prediction.gradient_growth,
        "mass_at_zero": spectrum.atoms.get(0.0, 0.0),
        "mass_at_zero_at_this_width": finite.rank.mass_at_zero,
        "log_largest_s": spectrum.log_edges[1], "log_smallest_s": json_number(spectrum.log_edges[0]),
        f"log_condition_number_at_{n}_values": spectrum.log_condition_number_at(n),
        "log_condition_number_of_one_network": finite.log_condition_number, **bands,
        "warnings": list(prediction.warnings),
    }


def _distance(finite: FiniteWidth) -> float | None:
    try:
        return finite.distance
    except ConvergenceError as error:
        click.echo(f"rmt: distance of one network: {error}", err=True)
        return None


def _text(key: str, value: Any) -> str:
    """Return a value of the summary for a terminal; a band as its median with its ends."""
    if key.startswith("log_") and isinstance(value, list):
        low, median, high = map(exp_text, value)
        return f"{median} (90 %: {low} to {high})"
    if key.startswith("log_"):
        return exp_text(float(value))
    return f"{value:.6g}" if isinstance(value, float) else "none" if value in ([], None) else str(value)


@click.group(cls=_OneLine)
def cli() -> None:
    """Predict the singular values of a network's Jacobian from its initialization, measure them, compare.

    Exit status: 0 done (compare: agrees), 1 compare differs, 2 usage error, 3 compare undecided or work incomplete
    (Ctrl-C too; 143 SIGTERM, 129 SIGHUP).
    """


@cli.command()
@_network
@shared
@long
@click.option("--out", help="Draw the spectrum into this file (.svg, .png or .pdf).")
def predict(width_text: str, activation: str, init: str, bias_std: float, inputs: str, seed: int, as_json: bool,
            yes: bool, out: str | None) -> int:
    """Predict from the initialization alone (no randomness: --seed has no effect).

    Example: rmt predict --widths 784,500x10,10 --activation relu --init kaiming_normal
    """
    check_out(out, PICTURES)
    network, source = _describe(width_text, activation, init, bias_std, inputs)
    start(f"predicting {network}", prediction_estimate(network), yes)
    prediction = _predicted(network, source)
    summary = _summary(prediction)
    if as_json:
        layers = [vars(row) for row in prediction.layers]
        click.echo(json.dumps({**summary, "layers": layers}, indent=2))
    else:
        click.echo(prediction.table() + "\n")
        for key, value in summary.items():
            name = key.removeprefix("log_").removeprefix("of_").replace("_", " ")
            click.echo(f"{name:40} {_text(key, value)}")
    if out:
        style.use()
        save(prediction.spectrum.plot(), out)
    return DONE


@cli.command()
@_network
@shared
@long
@click.option("--draws", type=_DRAWS, default=10, show_default=True, help="Number of independent networks.")
@click.option("--store", help="Folder that keeps every measured network, to go on later.")
@click.option("--out", help="Save the measurement as this .npz file.")
def measure(width_text: str, activation: str, init: str, bias_std: float, inputs: str, seed: int, as_json: bool,
            yes: bool, draws: int, store: str | None, out: str | None) -> int:
    """Measure random networks.

    Example: rmt measure --widths 200x6 --draws 20 --seed 1 --out result.npz
    """
    check_out(out, (".npz",))
    network, source = _describe(width_text, activation, init, bias_std, inputs)
    _start(network, source, draws, seed, store, out, yes)
    with resumable(store):
        result = measure_networks(network, draws=draws, inputs=source, seed=seed, store=store)
    if out:
        result.save(out)
    if as_json:
        click.echo(json.dumps([{key: json_number(x) for key, x in row.items()} for row in result.records()], indent=2))
    else:
        click.echo(result.table())
    return DONE


def _loaded(path: str, source: Any) -> Measurement:
    """Return the measurement of a file, of these inputs; of which network is up to `compare`."""
    found = Measurement.load(path)
    if found.inputs != repr(source):
        raise ValueError(f"{path}: --inputs must be what the file was measured with, {found.inputs}, got {source!r}")
    return found


@cli.command(name="compare")
@_network
@shared
@long
@click.option("--draws", type=_DRAWS, default=10, show_default=True, help="Number of independent networks.")
@click.option("--store", help="Folder that keeps every measured network, to go on later.")
@click.option("--measurement", help="Compare this .npz file (from rmt measure) instead of measuring.")
@click.option("--tolerance", default=0.02, show_default=True, help="Distance that still counts as agreement.")
@click.option("--out", help="Draw the comparison (.svg, .png, .pdf), or write its table (.csv, .md, .tex, .html).")
def compare_command(width_text: str, activation: str, init: str, bias_std: float, inputs: str, seed: int, as_json: bool,
                    yes: bool, draws: int, store: str | None, measurement: str | None, tolerance: float,
                    out: str | None) -> int:
    """Predict, measure and compare; exit status 0 agrees, 1 differs, 3 undecided.

    Example: rmt compare --widths 200x3 --activation linear --init xavier_normal --draws 20 --seed 1
    """
    check_out(out, (*PICTURES, *FORMATS))
    number("tolerance", tolerance, 0, open_low=True, high=1, open_high=True)
    network, source = _describe(width_text, activation, init, bias_std, inputs)
    if not measurement:
        _start(network, source, draws, seed, store, None, yes)
    start(f"predicting {network}", prediction_estimate(network), yes)
    with resumable(store):
        measured = _loaded(measurement, source) if measurement else measure_networks(
            network, draws=draws, inputs=source, seed=seed, store=store)
    result = compare(_predicted(network, source), measured, tolerance)
    if as_json:
        click.echo(json.dumps({"verdict": result.verdict, "reason": result.reason, "discrepancy": result.discrepancy,
                               "interval": result.interval, "raw_discrepancy": result.raw_discrepancy,
                               "dependence": result.dependence, "p_value": result.p_value,
                               "zscores": [json_number(float(z)) for z in result.zscores],
                               "mass_at_zero": result.mass_at_zero, "wasserstein": result.wasserstein}, indent=2))
    else:
        click.echo(result.table())
    if out and Path(out).suffix in FORMATS:
        save_table(tables.agreement(result), out)
    elif out:
        style.use()
        save(result.plot(), out)
    return {AGREES: DONE, DIFFERS: DIFFERENT}.get(result.verdict, INCOMPLETE)


@cli.command()
@click.argument("study_file")
@click.option("--out", default="out/report", show_default=True, help="Folder of the page and of what was measured.")
@click.option("--seed", type=int, help="Use this seed instead of the study's.")
@click.option("--json", "as_json", is_flag=True, help="Print the summary as JSON.")
@long
def report(study_file: str, out: str, seed: int | None, as_json: bool, yes: bool) -> int:
    """Predict, measure and compare every row of a study; write one page with plots and tables.

    Example: rmt report studies/initialization.toml --out out/report
    """
    study = studies.load(study_file, seed)
    folder = Path(out)
    choice("size", study.size, SIZES)
    for name in study.figures:
        catalogue.entry(name)
    start(study_file, study_size.estimated(study.all_rows, folder / "store", os.cpu_count() or 1), yes, folder)
    check_writable(folder, "--out")
    grown: list[float] = []
    with resumable(folder), workers() as pool:  # networks of rows in store, what figures need in kept
        if study.phase:
            futures = [pool.submit(diagrams.predicted, row) for row in study.phase.rows]
            grown = [future.result() for future in progress(futures, len(futures), "predicting")]
        store = Store(folder / "store")
        if other := store.other(task.question for row in study.all_rows for task in row.tasks()):
            click.echo(f"rmt: {other}", err=True)
        measured, drawn, results, failed, lost = {}, {}, {}, {}, []
        for row, measurement, failures in studies.run(study.all_rows, store, pool):
            lost += failures
            if measurement is None:
                failed[row] = "none of its networks could be measured"
                continue
            measured[row] = measurement
            if row in study.rows:
                drawn[row] = pool.submit(pages.row_result, row, measurement)
        for row, future in progress(drawn.items(), len(drawn), "comparing and drawing"):
            try:
                results[row] = future.result()
            except ConvergenceError as error:
                failed[row] = str(error)
        setting = Setting(study.seed, study.size, study.device, study.data, folder / "kept", pool)
        made = {name: catalogue.make(name, setting, folder) for name in study.figures}
    if any(row not in measured for row in study.all_rows if row not in study.rows):
        _fail(f"incomplete: {lost[0]}", INCOMPLETE)
    diagram = diagrams.page(study.phase, grown, measured) if study.phase else None
    summary = pages.write(study, results, measured, folder, diagram, failed, made)
    found = {"rows": summary} if study.rows or not (diagram or made) else {}
    if diagram:
        found["phase"] = diagram.table
    if made:
        found["figures"] = tables.plain("figure reading", [(name, one.reading) for name, one in made.items()])
    if as_json:
        content = {name: records(table) for name, table in found.items()}
        click.echo(json.dumps(content if diagram or made else content["rows"], indent=2))
    else:
        click.echo("\n".join(table.text() for table in found.values()), nl=False)
    for reason in [*dict.fromkeys(map(str, lost)), *(f"{row}: {reason}" for row, reason in failed.items())]:
        click.echo(f"rmt: incomplete: {reason}", err=True)
    click.echo(f"page: {folder / 'index.html'}", err=True)
    return INCOMPLETE if failed or lost else DONE


cli.add_command(phase)
cli.add_command(advise)
cli.add_command(figures)
