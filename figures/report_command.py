"""The command rmt report: every row of a study, one page."""

from __future__ import annotations

import json
import os
from pathlib import Path

import click

from empirical import study as studies
from empirical.files import check_writable
from empirical.progress import progress
from empirical.store import Store
from empirical.workers import workers
from figures import catalogue
from figures.options import DONE, INCOMPLETE, SIZES, Interrupted, records, resumable, start
from figures.terminal import say, table_text
from rmt.checks import choice
from rmt.errors import ConvergenceError


def report(study_file: str, out: str, seed: int | None, as_json: bool, yes: bool) -> int:
    """Predict, measure and compare every row of a study; write one page with plots and tables."""
    study = studies.load(study_file, seed)
    folder = Path(out)
    choice("size", study.size, SIZES)
    for name in study.figures:
        catalogue.full_name(name)
    from empirical.study_estimate import estimated
    from empirical.study_run import run
    from figures import phase as diagrams
    from figures import report as pages
    from figures import tables
    from figures.setting import Setting

    start(study_file, estimated(study.all_rows, folder / "store", os.cpu_count() or 1), yes, folder)
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
        for row, measurement, failures in run(study.all_rows, store, pool):
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
            except (ConvergenceError, ValueError) as error:  # no law, or none of a Jacobian of zero
                failed[row] = str(error)
        setting = Setting(study.seed, study.size, study.device, study.data, folder / "kept", pool)
        made = {name: catalogue.make(name, setting, folder) for name in study.figures}
    if any(row not in measured for row in study.all_rows if row not in study.rows):
        raise Interrupted(f"incomplete: {lost[0]}")
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
        say("\n".join(table_text(table) for table in found.values()), newline=False)
        if diagram:
            say(f"\n{len(diagram.points)} measured points: {diagram.agree} within three standard errors")
        if study.rows:
            say(f"\n{pages.verdicts_text(len(study.rows), pages.verdicts(results.values()), len(failed))}")
    for reason in [*dict.fromkeys(map(str, lost)), *(f"{row}: {reason}" for row, reason in failed.items())]:
        click.echo(f"rmt: incomplete: {reason}", err=True)
    click.echo(f"page: {folder / 'index.html'}", err=True)
    return INCOMPLETE if failed or lost else DONE
