"""Text on a terminal: no line is longer than it is wide. What goes to a file or a pipe keeps a row a line."""

from __future__ import annotations

import os
import re
import shutil
import sys
import textwrap

import click

from figures.tables import Table

_NARROW = 24  # letters beside a hanging indent, at least
_BELOW = 4  # spaces before what stands below its line


def width() -> int | None:
    """Return the columns of the terminal, or those that COLUMNS asks for; None where there is neither."""
    if os.environ.get("COLUMNS", "").isdecimal() or (sys.stdout is not None and sys.stdout.isatty()):
        return max(20, shutil.get_terminal_size().columns)
    return None


def say(text: str, newline: bool = True) -> None:
    """Write text to standard output, folded to the terminal."""
    click.echo(fitted(text, width()), nl=newline)


def fitted(text: str, columns: int | None) -> str:
    """Return text whose lines have at most so many columns; a table's last column hangs where it begins."""
    if columns is None:
        return text
    return "\n".join(part for line in text.split("\n") for part in _folded(line, columns))


def _folded(line: str, columns: int) -> list[str]:
    if len(line) <= columns:
        return [line]
    gaps = [gap.end() for gap in re.finditer(r"\S {2,}", line)]
    last = gaps[-1] if gaps else 0
    if 0 < last <= columns - _NARROW:  # the last column hangs where it begins
        first, hang = line[:last], last
    elif 0 < last < columns:  # it stands below the others
        return [line[:last].rstrip(), *_wrapped(line[last:], columns, " " * _BELOW, _BELOW)]
    else:
        first, hang = "", len(line) - len(line.lstrip()) + 2
    return _wrapped(line[len(first):], columns, first, hang)


def _wrapped(text: str, columns: int, first: str, hang: int) -> list[str]:
    return textwrap.wrap(text, columns, initial_indent=first, subsequent_indent=" " * hang, break_on_hyphens=False)


def table_text(table: Table) -> str:
    """Return a table for the terminal: where it is wider, its columns below each other, each part with the first."""
    columns = width()
    if columns is None or max(map(len, table.text().splitlines())) <= columns:
        return table.text()
    return "\n".join(fitted(part.text(), columns) for part in _parts(table, columns))


def _parts(table: Table, columns: int) -> list[Table]:
    """Split a table into parts that fit, as far as a single column does."""
    parts: list[Table] = []
    taken = [0]
    for i in range(1, len(table.columns)):
        wider = _of(table, [*taken, i])
        if len(taken) > 1 and max(map(len, wider.text().splitlines())) > columns:
            parts.append(_of(table, taken))
            taken = [0]
        taken.append(i)
    return [*parts, _of(table, taken)]


def _of(table: Table, taken: list[int]) -> Table:
    return Table(tuple(table.columns[i] for i in taken), tuple(tuple(row[i] for i in taken) for row in table.rows))
