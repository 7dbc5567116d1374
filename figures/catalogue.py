"""Every figure by its name: a module of `bjorck2018` or `gallery` that computes one table and draws it."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from typing import TYPE_CHECKING

from empirical.files import write_atomically
from figures.tables import Table
from rmt.checks import choice

if TYPE_CHECKING:  # names are known before anything that draws or measures is loaded
    from matplotlib.figure import Figure

    from figures.setting import Setting

COLLECTIONS = ("bjorck2018", "gallery")


@dataclass(frozen=True)
class Entry:
    """One figure.

    Attributes
    ----------
    name, title : str
        As "bjorck2018/fig1", and what it shows.
    table : callable
        From a setting to the table of every number in the picture.
    draw : callable
        From that table and the setting to the picture.
    reading : callable
        From that table to a sentence or two that say what it shows, with its numbers.
    paper : str
        What the paper reported there; empty in the gallery.
    """

    name: str
    title: str
    table: Callable[[Setting], Table]
    draw: Callable[[Table, Setting], Figure]
    reading: Callable[[Table], str]
    paper: str


@dataclass(frozen=True)
class Made:
    """A figure that was made."""

    entry: Entry
    table: Table
    svg: str

    @property
    def reading(self) -> str:
        """What it shows, with its numbers."""
        return self.entry.reading(self.table)


def names() -> list[str]:
    """Return the names of all figures."""
    found = [f"{collection}/{module.name.replace('_', '-')}" for collection in COLLECTIONS
             for module in iter_modules(import_module(f"figures.{collection}").__path__)]
    return sorted(found, key=lambda name: [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", name)])


def full_name(name: str) -> str:
    """Return the name of a figure that is given as it is listed, or by its last part where only one figure has that."""
    known = names()
    asked = name.strip().lower().replace("_", "-")
    if asked in known:
        return asked
    ends = [one for one in known if one.rpartition("/")[2] == asked]
    if len(ends) > 1:
        raise ValueError(f"figure {name!r} may be {' or '.join(map(repr, ends))}: give the whole name")
    return ends[0] if ends else _nearest(name, asked, known)


def _nearest(name: str, asked: str, known: list[str]) -> str:
    """Raise, with the nearest name: by its last part where the name has no other."""
    by_end = {one.rpartition("/")[2]: one for one in known}
    near = difflib.get_close_matches(asked, by_end, n=1) if "/" not in asked else []
    if near:
        raise ValueError(f"unknown figure {name!r}; did you mean {by_end[near[0]]!r}?")
    return choice("figure", name, known)


def entry(name: str) -> Entry:
    """Return the figure of a name."""
    known = full_name(name)
    module = import_module(f"figures.{known.replace('/', '.').replace('-', '_')}")
    return Entry(known, module.TITLE, module.table, module.draw, module.reading, getattr(module, "PAPER", ""))


def make(name: str, setting: Setting, out: Path) -> Made:
    """Compute and draw a figure; write out/NAME.svg, .png and .csv (every number in the picture)."""
    from figures import style

    one = entry(name)
    name = one.name
    table = one.table(setting)
    style.use()
    picture = one.draw(table, setting)
    (out / name).parent.mkdir(parents=True, exist_ok=True)
    write_atomically(out / f"{name}.csv", table.csv().encode())
    files = {suffix: style.content(picture, suffix, name) for suffix in ("svg", "png")}
    for suffix, content in files.items():
        write_atomically(out / f"{name}.{suffix}", content)
    return Made(one, table, style.element(files["svg"].decode(), name))
