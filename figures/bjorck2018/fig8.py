"""Figure 8: the exact law of the squared singular values of products of Gaussian matrices."""

from __future__ import annotations

import math

import numpy as np
from matplotlib.figure import Figure

from figures import style
from figures.setting import Setting
from figures.tables import Table, plain
from rmt.laws.named.fuss_catalan import FussCatalan

TITLE = "density of J^T J for products of Gaussian matrices, exact"
PAPER = "The density of the eigenvalues of J^T J of one to several matrices (Theorem 1): the more matrices, the " \
        "heavier the tail and the more mass near zero."
MATRICES, LOWEST = (1, 2, 3, 5, 10), 1e-4


def table(setting: Setting) -> Table:
    """Return the density of x = s^2 from LOWEST to the upper edge; there is no randomness."""
    rows = []
    for m in MATRICES:
        low, high = math.log(LOWEST), FussCatalan(m).log.support[0][1]
        x = np.exp(low + (high - low) * np.sin(np.linspace(0, np.pi / 2, 201)) ** 2)[:-1]
        rows += [(m, *pair) for pair in zip(x.tolist(), FussCatalan(m).pdf(x).tolist(), strict=True)]
    return plain("matrices x density", rows)


def draw(table: Table, setting: Setting) -> Figure:
    """Draw the densities over x, both in logs."""
    figure = style.figure(5.2, 3.8)
    ax = figure.add_subplot()
    figure.subplots_adjust(left=0.12, right=0.97, top=0.88, bottom=0.13)
    matrices, x, density = (np.array(table.column(key)) for key in ("matrices", "x", "density"))
    for m, color in zip(MATRICES, style.PALETTE, strict=False):
        mine = matrices == m
        ax.loglog(x[mine], density[mine], color=color, label=f"{m} matri{'x' if m == 1 else 'ces'}")
    ax.set_xlabel("x = s², eigenvalue of JᵀJ")
    ax.set_ylabel("density per unit of x")
    ax.set_ylim(1e-3, None)
    ax.legend(frameon=False)
    ax.set_title("exact law (N → ∞) of a product of square Gaussian matrices, entries of variance 1/N\n"
                 "(no randomness; it goes on to the left, down to 0)", fontsize=7.5)
    return figure


def reading(table: Table) -> str:
    """Say how the upper edge grows."""
    edges = {m: max(x for k, x in zip(table.column("matrices"), table.column("x"), strict=True) if k == m)
             for m in MATRICES}
    return (f"The largest x drawn grows from {edges[1]:.3g} with one matrix to {edges[10]:.3g} with ten "
            f"((L + 1)^(L + 1) / L^L in the limit), while the mass moves to zero.")
