"""The command rmt figures."""

from __future__ import annotations

import json
from contextlib import nullcontext
from pathlib import Path

import click

from empirical.files import check_writable
from empirical.workers import workers
from figures import catalogue
from figures.options import DONE, SIZES, records, resumable
from figures.tables import plain
from figures.terminal import say
from rmt.checks import choice, integer


def figures(name: str, out: str, size: str, device: str, data: str | None, seed: int, as_json: bool) -> int:
    """Make a figure, or all; list: say which there are."""
    if name == "list":
        return _list(as_json)
    wanted = catalogue.names() if name == "all" else [catalogue.full_name(name)]
    choice("size", size, SIZES)
    integer("seed", seed, 0)
    from empirical.measure import check_device
    from figures.setting import Setting

    check_device(device)
    folder = Path(out)
    check_writable(folder, "--out")
    with resumable(folder / "kept"), workers() if device == "cpu" else nullcontext() as pool:
        setting = Setting(seed, size, device, data, folder / "kept", pool)
        for one in wanted:
            made = catalogue.make(one, setting, folder)
            if as_json:
                click.echo(json.dumps({"name": one, "reading": made.reading, "rows": records(made.table)}))
            else:
                say(f"{one}: {made.reading}")
                click.echo(f"written: {folder / one}.svg, .png, .csv", err=True)
    return DONE


def _list(as_json: bool) -> int:
    entries = [catalogue.entry(name) for name in catalogue.names()]
    if as_json:
        click.echo(json.dumps([{"name": entry.name, "title": entry.title} for entry in entries], indent=2))
    else:
        say(plain("name what_it_shows", [(entry.name, entry.title) for entry in entries]).text(), newline=False)
    return DONE
