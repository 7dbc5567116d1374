"""One table, many forms: terminal, CSV, Markdown, LaTeX, HTML."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    import numpy as np

    from rmt.agreement import Agreement

Cell = str | int | float  # a bool is an int
Item = TypeVar("Item")

_LATEX = {c: f"\\{c}" for c in "&%$#_{}"} | {
    "\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
    "²": r"\textsuperscript{2}", "−": r"\textminus{}", "κ": r"$\kappa$", "∞": r"$\infty$",
}


@dataclass(frozen=True)
class Column:
    """A column: its key in CSV and its heading elsewhere."""

    key: str
    title: str


def plain(keys: str, rows: Iterable[Sequence[Cell]]) -> Table:
    """Return a table whose headings are its keys, given in one text."""
    return Table(tuple(Column(key, key.replace("_", " ")) for key in keys.split()), tuple(map(tuple, rows)))


def binned(edges: np.ndarray, *columns: np.ndarray) -> list[tuple[Cell, ...]]:
    """Return a row per bin of a histogram: its left and right edge, and what each column has there."""
    return [*zip(edges[:-1].tolist(), edges[1:].tolist(), *(column.tolist() for column in columns), strict=True)]


@dataclass(frozen=True)
class Table:
    """Columns and rows of cells."""

    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]

    def column(self, key: str) -> list[Cell]:
        """Return the cells of a column."""
        at = [column.key for column in self.columns].index(key)
        return [row[at] for row in self.rows]

    def without_constant(self, keys: Iterable[str]) -> tuple[Table, str]:
        """Return the table without those of some columns that say the same in every row, and what they say."""
        same = [i for i, column in enumerate(self.columns)
                if column.key in keys and len(self.rows) > 1 and len({row[i] for row in self.rows}) == 1]
        said = ", ".join(f"{self.columns[i].title} {show(self.rows[0][i])}" for i in same)
        return Table(_but(self.columns, same), tuple(_but(row, same) for row in self.rows)), said

    def csv(self) -> str:
        """Return comma separated values, numbers in full; text that a spreadsheet would run is quoted with '."""
        buffer = io.StringIO()
        writer = csv.writer(buffer, lineterminator="\n")
        writer.writerow([column.key for column in self.columns])
        writer.writerows([[_raw(cell) for cell in row] for row in self.rows])
        return buffer.getvalue()

    def markdown(self) -> str:
        """Return a pipe table."""
        lines = [[c.title for c in self.columns], ["---"] * len(self.columns), *self._texts()]
        return "".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |\n" for line in lines)

    def latex(self) -> str:
        """Return a tabular environment (booktabs)."""
        def line(cells: Sequence[str]) -> str:
            return " & ".join("".join(_LATEX.get(c, c) for c in cell) for cell in cells) + r" \\" + "\n"

        body = "".join(line(row) for row in self._texts())
        return (f"\\begin{{tabular}}{{{'l' * len(self.columns)}}}\n\\toprule\n{line([c.title for c in self.columns])}"
                f"\\midrule\n{body}\\bottomrule\n\\end{{tabular}}\n")

    def html(self, links: Sequence[str] = ()) -> str:
        """Return a <table>; `links` are the targets of the first cell of each row. Cells have their column's class."""
        head = "".join(f"<th>{escape(column.title)}</th>" for column in self.columns)
        body = []
        for i, row in enumerate(self._texts()):
            texts = [escape(cell) for cell in row]
            if links:
                texts[0] = f'<a href="#{escape(links[i])}">{texts[0]}</a>'
            cells = [f'<td class="{escape(column.key)}{" " + text if column.key == "verdict" else ""}">{text}</td>'
                     for column, text in zip(self.columns, texts, strict=True)]
            body.append(f"<tr>{''.join(cells)}</tr>")
        return f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(body)}</tbody></table>"

    def text(self) -> str:
        """Return aligned columns for a terminal."""
        lines = [[c.title for c in self.columns], *self._texts()]
        widths = [max(len(line[i]) for line in lines) for i in range(len(self.columns))]
        return "".join("  ".join(cell.ljust(n) for cell, n in zip(line, widths, strict=True)).rstrip() + "\n"
                       for line in lines)

    def _texts(self) -> list[list[str]]:
        return [[show(cell) for cell in row] for row in self.rows]


FORMATS = {".csv": Table.csv, ".md": Table.markdown, ".tex": Table.latex, ".html": Table.html}


def _but(items: tuple[Item, ...], left: Sequence[int]) -> tuple[Item, ...]:
    return tuple(item for i, item in enumerate(items) if i not in left)


def agreement(result: Agreement) -> Table:
    """Return a comparison as a table: quantity, predicted, measured, an interval or range, a note."""
    keys = ("quantity", "predicted", "measured", "low", "high", "note")
    return Table(tuple(Column(key, key) for key in keys), tuple(result.rows()))


def show(cell: Cell) -> str:
    """Return a number at three digits, other cells as they are."""
    if not isinstance(cell, float):
        return str(cell)
    return f"{cell:.0f}" if 1000 <= abs(cell) < 1e6 else f"{cell:.3g}"


def _raw(cell: Cell) -> Cell:
    if isinstance(cell, float) and math.isnan(cell):
        return "none"
    return f"'{cell}" if isinstance(cell, str) and cell[:1] in ("=", "+", "-", "@") else cell
