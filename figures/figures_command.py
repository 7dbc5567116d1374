"""The command rmt figures."""

from __future__ import annotations

import json
from contextlib import nullcontext
from pathlib import Path

import click

from empirical.files import check_writable
from empirical.measure import check_device
from empirical.workers import workers
from figures import catalogue
from figures.options import DONE, records, resumable, shared
from figures.setting import SIZES, Setting
from figures.tables import plain
from rmt.checks import choice, integer


@click.command()
@click.argument("name")
@click.option("--out", default="out/figures", show_default=True, help="Folder of the figures and of what was computed.")
@click.option("--size", default="small", show_default=True, help="small (a laptop) or paper (a GPU, CIFAR-10).")
@click.option("--device", default="cpu", show_default=True, help="Where networks are trained and measured.")
@click.option("--data", help="Folder with CIFAR-10's binary version, for --size paper.")
@shared
def figures(name: str, out: str, size: str, device: str, data: str | None, seed: int, as_json: bool) -> int:
    """Make a figure: NAME.svg, NAME.png and NAME.csv in a folder; list: say which there are; all: every one.

    What is computed is kept in the folder: interrupted, the same command goes on from there.

    Example: rmt figures bjorck2018/fig8 --out out/figures
    """
    if name == "list":
        return _list(as_json)
    wanted = catalogue.names() if name == "all" else [catalogue.entry(name).name]
    choice("size", size, SIZES)
    integer("seed", seed, 0)
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
                click.echo(f"{one}: {made.reading}")
                click.echo(f"written: {folder / one}.svg, .png, .csv", err=True)
    return DONE


def _list(as_json: bool) -> int:
    entries = [catalogue.entry(name) for name in catalogue.names()]
    if as_json:
        click.echo(json.dumps([{"name": entry.name, "title": entry.title} for entry in entries], indent=2))
    else:
        click.echo(plain("name what_it_shows", [(entry.name, entry.title) for entry in entries]).text(), nl=False)
    return DONE
