"""The command line: rmt predict | measure | compare | report | figures | phase | advise.

What commands there are, their options and their help; it loads nothing but click, so that help and errors come at once.
What a command does is loaded when it is called for.
"""

from __future__ import annotations

import errno
import functools
import sys
from collections.abc import Callable
from contextlib import suppress
from importlib import import_module
from typing import Any

import click

from empirical.errors import IncompleteError
from figures import streams
from figures.ending import ended_by_signals
from figures.options import DONE, INCOMPLETE, USAGE, Interrupted, long, needed, network, shared
from rmt import __version__
from rmt.errors import ConvergenceError
from rmt.text import short

_MOST = 2000  # characters of an error: a value of the user's own may have millions
_DRAWS = click.option("--draws", type=int, default=10, show_default=True, help="Number of independent networks.")
_STORE = click.option("--store", help="Folder that keeps every measured network, to go on later.")


class _OneLine(click.Group):
    """A group whose errors are one line on standard error.

    click ends with 1 where a reader has left, which here says that a comparison differs: it never sees such an error.
    """

    def make_context(self, *args: Any, **kwargs: Any) -> click.Context:
        """Read the arguments; --help and --version write here."""
        with streams.told_apart():
            return super().make_context(*args, **kwargs)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command."""
        try:
            with streams.told_apart():
                return super().invoke(ctx)
        except BrokenPipeError as error:  # to a process of our own
            raise Interrupted(f"incomplete: {error}") from error

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
            except ModuleNotFoundError as error:
                _fail(needed(error), USAGE)
            except (ValueError, TypeError, OSError, ArithmeticError, RuntimeError, MemoryError) as error:
                full = getattr(error, "errno", None) == errno.ENOSPC  # of a stream that does not keep what waits
                said = str(error) or type(error).__name__
                _fail(f"incomplete: {said}" if full else said, INCOMPLETE if full else USAGE)
            except streams.Unwritten as error:
                if not error.reason:
                    sys.exit(streams.READER_LEFT)
                _fail(f"incomplete: the output could not be written: {error.reason}", INCOMPLETE)
        sys.exit(status if isinstance(status, int) else DONE)


def _fail(message: str, status: int) -> None:
    with suppress(streams.Unwritten, OSError), streams.told_apart():  # nobody may hear it
        click.echo(f"rmt: {short(' '.join(message.split()), _MOST)}", err=True)
    sys.exit(status)


def _does(module: str) -> Callable[[Callable[..., Any]], Callable[..., int]]:
    """Let the function of a command's name in a module of `figures` do its work, loaded when it is called for."""
    def work_of(command: Callable[..., Any]) -> Callable[..., int]:
        @functools.wraps(command)
        def run(**options: Any) -> int:
            return int(getattr(import_module(f"figures.{module}"), command.__name__)(**options))

        return run

    return work_of


@click.group(cls=_OneLine, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="rmt", message="%(prog)s %(version)s")
def cli() -> None:
    """Predict the singular values of a network's Jacobian from its initialization, measure them, compare.

    Exit status: 0 done (compare: agrees), 1 compare differs, 2 usage error, 3 compare undecided or work incomplete
    (Ctrl-C too; 143 SIGTERM, 129 SIGHUP).
    """


@cli.command(short_help="Predict from the initialization alone.")
@network
@shared
@long
@click.option("--out", help="Draw the spectrum into this file (.svg, .png or .pdf).")
@_does("network_commands")
def predict() -> None:
    """Predict from the initialization alone (no randomness: --seed has no effect).

    The last line is the verdict: vanishing, exploding, ill-conditioned, isometric or balanced, and by which figure.

    Example: rmt predict --widths 784,500x10,10 --activation relu --init kaiming_normal
    """


@cli.command(short_help="Measure random networks.")
@network
@shared
@long
@_DRAWS
@_STORE
@click.option("--out", help="Save the measurement as this .npz file.")
@_does("network_commands")
def measure() -> None:
    """Measure random networks.

    Example: rmt measure --widths 200x6 --draws 20 --seed 1 --out result.npz
    """


@cli.command(short_help="Predict, measure and compare.")
@network
@shared
@long
@_DRAWS
@_STORE
@click.option("--measurement", help="Compare this .npz file (from rmt measure) instead of measuring.")
@click.option("--tolerance", default=0.02, show_default=True, help="Distance that still counts as agreement.")
@click.option("--out", help="Draw the comparison (.svg, .png, .pdf), or write its table (.csv, .md, .tex, .html).")
@_does("network_commands")
def compare() -> None:
    """Predict, measure and compare; exit status 0 agrees, 1 differs, 3 undecided.

    Example: rmt compare --widths 200x3 --activation linear --init xavier_normal --draws 20 --seed 1
    """


@cli.command(short_help="Predict, measure and compare a study: one page.")
@click.argument("study_file")
@click.option("--out", default="out/report", show_default=True, help="Folder of the page and of what was measured.")
@click.option("--seed", type=int, help="Use this seed instead of the study's.")
@click.option("--json", "as_json", is_flag=True, help="Print the summary as JSON.")
@long
@_does("report_command")
def report() -> None:
    """Predict, measure and compare every row of a study; write one page with plots and tables.

    Example: rmt report studies/initialization.toml --out out/report
    """


@cli.command(short_help="Map where deep networks are ordered or chaotic.")
@click.option("--activation", default="tanh", show_default=True, help="Activation, as leaky_relu(0.2).")
@click.option("--sigma-w", default="0.5,3,26", show_default=True, help="Weight scale: from, to, how many.")
@click.option("--bias-std", default="0,1,11", show_default=True, help="Bias: from, to, how many.")
@shared
@click.option("--out", help="Draw the diagram (.svg, .png, .pdf), or write it as a table (.csv, .md, .tex, .html).")
@_does("phase_command")
def phase() -> None:
    """Map where a deep network is ordered, critical or chaotic (no randomness: --seed has no effect).

    sigma_w^2 is the variance of a weight times fan_in. The trainable depth (picture, table and JSON) is 6 xi_c.

    Example: rmt phase --activation tanh --sigma-w 0.5,3,26 --bias-std 0,1,11 --out phase.png
    """


@cli.command(short_help="Say what to change in a model of your own.")
@click.argument("model")
@click.option("--input", "shape", required=True, help="Shape of one input, as 3,32,32.")
@click.option("--samples", type=click.IntRange(1, 1000), default=2, show_default=True, help="Random inputs.")
@click.option("--tokens", type=click.IntRange(1), help="Inputs are whole numbers below this; needs --between.")
@click.option("--between", help="Measure from the input of one submodule to the output of another: NAME,NAME; either "
              "may be empty.")
@click.option("--output", help="Which of several outputs.")
@shared
@click.option("--out", help="Draw what was measured into this file (.svg, .png or .pdf).")
@_does("advise_command")
def advise() -> None:
    """Say what a model of your own is, predict and measure its Jacobian, and what to change.

    MODEL is FILE.py:NAME, a function without arguments that returns a torch module, or a module. The file is run, as
    your own code that it is. Weights are drawn under --seed.

    Example: rmt advise examples/model.py:make_model --input 3,16,16
    """


@cli.command(short_help="Make a figure by its name, or list them.")
@click.argument("name")
@click.option("--out", default="out/figures", show_default=True, help="Folder of the figures and of what was computed.")
@click.option("--size", default="small", show_default=True, help="small (a laptop) or paper (a GPU, CIFAR-10).")
@click.option("--device", default="cpu", show_default=True, help="Where networks are trained and measured.")
@click.option("--data", help="Folder with CIFAR-10's binary version, for --size paper.")
@shared
@_does("figures_command")
def figures() -> None:
    """Make a figure: NAME.svg, NAME.png and NAME.csv in a folder; list: say which there are; all: every one.

    NAME is as `rmt figures list` has it, or its last part: fig8. What is computed is kept in the folder: interrupted,
    the same command goes on from there.

    Example: rmt figures bjorck2018/fig8 --out out/figures
    """
