"""What the commands share: exit statuses, options, and where pictures and tables go."""

from __future__ import annotations

import io
import math
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from empirical.files import check_writable, write_atomically
from figures.ending import said
from figures.tables import FORMATS, Cell, Table

if TYPE_CHECKING:
    from empirical.estimate import Estimate

DONE, DIFFERENT, USAGE, INCOMPLETE = 0, 1, 2, 3
PICTURES = (".svg", ".png", ".pdf")
SIZES = ("small", "paper")  # of a figure


_EXTRAS = {"torch": "torch", "psutil": "torch", "sklearn": "data", "pandas": "data", "matplotlib": "figures",
           "rich": "figures", "jinja2": "figures", "distributed": "cluster"}


class Interrupted(click.ClickException):
    """Ctrl-C or a signal like it, with how to go on."""


@contextmanager
def resumable(store: str | Path | None) -> Iterator[None]:
    """Say on Ctrl-C how many results are stored and how to go on."""

    def words() -> str:
        if store is None:
            return "interrupted: nothing is stored; --store FOLDER keeps what is measured"
        count = len(list(Path(store).rglob("*.npz")))
        return f"interrupted: {count} results are stored in {store}; the same command goes on"

    with said(words):
        try:
            yield
        except KeyboardInterrupt:
            raise Interrupted(words()) from None


def needed(error: ModuleNotFoundError) -> str:
    """Return what is missing, and the extra to install."""
    top = (error.name or "").partition(".")[0]
    if "pip install" in str(error) or not top:
        return str(error)
    return f"this needs {top}: pip install 'rmt[{_EXTRAS.get(top, 'all')}]'"


def network(f: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that describe a multilayer perceptron and its inputs."""
    for option in (
        click.option("--activate-last/--no-activate-last", default=True, show_default=True,
                     help="Whether the activation follows the last layer too; a classifier's does not."),
        click.option("--bias-std", type=float, default=0.0, show_default=True, help="Standard deviation of a bias."),
        click.option("--init", default="kaiming_normal", show_default=True, help="Scheme, as gaussian(sigma_w=1.5)."),
        click.option("--activation", default="relu", show_default=True, help="Activation, as leaky_relu(0.2)."),
        click.option("--widths", "width_text", required=True, help="Input and layers, as 784,500x10,10."),
        click.option("--inputs", type=str, default="gaussian", show_default=True, help="gaussian or digits."),
    ):
        f = option(f)
    return f


def shared(f: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that every command has: --json and --seed."""
    f = click.option("--json", "as_json", is_flag=True, help="Print JSON.")(f)
    return click.option("--seed", type=int, default=0, show_default=True, help="Decides weights and inputs.")(f)


def long(f: Callable[..., Any]) -> Callable[..., Any]:
    """Add the option --yes to a command that may take long."""
    return click.option("--yes", is_flag=True, help="Start work that takes long without asking.")(f)


def start(what: str, estimate: Estimate, yes: bool, folder: Path | None = None) -> None:
    """Say what work will take, and ask, if that is long; refuse what does not fit into memory, or on the folder's disk.

    Without a terminal to ask on, long work is an error that names --yes.
    """
    from empirical.estimate import check_fits

    check_fits(what, estimate, folder)
    if not estimate.long:
        return
    if not yes:
        if not _terminal():
            raise ValueError(f"{what} takes {estimate}: --yes starts it")
        if not click.confirm(f"{what} takes {estimate}. Start?", err=True):
            raise ValueError("not started")
    click.echo(f"rmt: {estimate}", err=True)


def _terminal() -> bool:
    return sys.stdin.isatty() and sys.stderr.isatty()


def check_out(out: str | None, suffixes: tuple[str, ...]) -> None:
    """Refuse a file that could not be written, before any work is done for it."""
    if out and Path(out).suffix not in suffixes:
        raise ValueError(f"--out must end in {', '.join(suffixes)}, got {out!r}")
    if out and not Path(out).absolute().parent.is_dir():
        raise ValueError(f"--out {out}: no such folder")
    if out and Path(out).suffix in PICTURES and find_spec("matplotlib") is None:
        raise ModuleNotFoundError("", name="matplotlib")
    if out and Path(out).is_dir():
        raise ValueError(f"--out {out} is a folder")
    if out:
        check_writable(Path(out).absolute().parent, f"--out {out}:")


def save(ax: Any, out: str | None) -> None:
    """Write the picture that an axes is of into a file, if one is given."""
    if out:
        from figures.titles import fit

        content = io.BytesIO()
        fit(ax.figure).savefig(content, dpi=160, format=Path(out).suffix[1:])
        write_atomically(Path(out), content.getvalue())
        click.echo(f"picture: {out}", err=True)


def save_table(table: Table, out: str) -> None:
    """Write a table in the form that the file's name asks for."""
    write_atomically(Path(out), FORMATS[Path(out).suffix](table).encode())
    click.echo(f"table: {out}", err=True)


def records(table: Table) -> list[dict[str, Cell | None]]:
    """Return the rows of a table as JSON has them."""
    keys = [column.key for column in table.columns]
    return [dict(zip(keys, map(json_number, row), strict=True)) for row in table.rows]


def json_number(x: Cell | None) -> Cell | None:
    """Return a value as strict JSON has it: text for a number that is not finite, null for none."""
    return x if not isinstance(x, float) or math.isfinite(x) else "none" if math.isnan(x) else str(x)
