"""Figure 7: singular values of products of Gaussian matrices."""

from __future__ import annotations

from matplotlib.figure import Figure

from empirical.study import Products
from figures import products
from figures.setting import Setting
from figures.tables import Table

TITLE = "singular values of 1, 3 and 5 Gaussian matrices, measured and by the exact law"
PAPER = ("The more matrices, the closer to zero most singular values of their product and the larger the largest. "
         "Theory: the first three of 50 bins hold 255, 255, 254 of 10000 values of one matrix, 2135, 825, 609 of "
         "three, 3795, 887, 595 of five.")


def _study(setting: Setting) -> Products:
    return Products((1, 3, 5), 1000, 10, 50, setting.seed)


def table(setting: Setting) -> Table:
    """Return the histograms and what the law expects."""
    study = _study(setting)
    return products.histograms({row: setting.measure(row.network, study.draws) for row in study.rows}, study.bins)


def draw(table: Table, setting: Setting) -> Figure:
    """Draw the histograms."""
    study = _study(setting)
    return products.draw(table, study.width, study.draws, study.seed)


def reading(table: Table) -> str:
    """Say what is in the first three bins."""
    found: dict[object, list[str]] = {}
    for m, *_, predicted, counted in products.first_bins(table).rows:
        found.setdefault(m, []).append(f"{counted} ({predicted:.0f})")
    text = "; ".join(f"{m} matri{'x' if m == 1 else 'ces'}: {', '.join(bins)}" for m, bins in found.items())
    return f"First three bins, measured (and by the law): {text}."
