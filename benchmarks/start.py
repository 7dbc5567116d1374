"""How long the command takes to answer, over the start of python with numpy and the parts of scipy that rmt uses."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from benchmarks.timing import ratio

REFERENCE = "import numpy, scipy.special, scipy.linalg, scipy.optimize, scipy.interpolate"
COMMAND = "from figures import main; main()"
HELP = ("--help", "--version", *(f"{name} --help" for name in (
    "predict", "measure", "compare", "report", "figures", "phase", "advise")))
WRONG = ("nonsense", "predict --widhts 9", "predict --widths 9x", "predict --widths 9x2 --init xavier_norml",
         "compare --widths 9x2 --activation rellu", "measure --widths 9x2 --inputs digits",
         "measure --widths 9x2 --draws 0", "figures fig77", "phase --activation tahn", "report {study}",
         "report none.toml", "advise none.py:make --input 3")
STUDY = '[[rows]]\ninit = "xavier_norml"\nactivation = "relu"\ndepth = 1\nwidth = 9\n'
RUNS = 7


def python(code: str, *arguments: str) -> None:
    """Run code in a fresh interpreter, whatever its exit status."""
    subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True)


def slowest(commands: tuple[str, ...], folder: Path) -> tuple[float, str]:
    """Return the largest ratio of some commands, best of seven runs each, and of which command it is."""
    study = folder / "start-up.toml"
    study.parent.mkdir(exist_ok=True)
    study.write_text(STUDY)
    found = ((ratio(lambda command=command: python(COMMAND, *command.format(study=study).split()),
                    lambda: python(REFERENCE), RUNS), command) for command in commands)
    return max(found)


def rows() -> Iterator[tuple[str, float, float, float]]:
    """Yield the rows of the page: what is started, the ratio, its limit and goal."""
    folder = Path("out")
    for name, commands in (("help", HELP), ("an error", WRONG)):
        largest, command = slowest(commands, folder)
        yield (f"rmt until {name} is shown, against numpy and the scipy it uses; slowest of {len(commands)}: {command}",
               largest, 1.3, 1.0)
    yield ("import rmt and a first name of it, against the same",
           ratio(lambda: python("import rmt; rmt.Network"), lambda: python(REFERENCE), RUNS), 1.5, 1.2)


if __name__ == "__main__":
    for row in rows():
        print(*row, sep="; ")
