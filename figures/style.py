"""One look for every picture, and how a picture becomes text in a page."""

from __future__ import annotations

import hashlib
import io
import re

import matplotlib
from matplotlib.figure import Figure

from figures.titles import fit

# Colour-blind safe (Okabe and Ito), readable on white.
PALETTE = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00")
MARKERS = ("o", "s", "^", "D", "v", "P")


def use() -> None:
    """Draw without a screen, text as paths (a page needs no font), the same bytes for the same picture."""
    matplotlib.use("svg")
    matplotlib.rcParams.update({
        "svg.fonttype": "path", "font.size": 9, "axes.spines.top": False, "axes.spines.right": False,
        "axes.titlesize": 9, "legend.fontsize": 8,
    })


def figure(width: float, height: float) -> Figure:
    """Return a figure of this size in inches."""
    return Figure(figsize=(width, height))


def content(picture: Figure, suffix: str, name: str) -> bytes:
    """Return a figure as the content of a file, "svg" or "png": the same bytes for the same picture and name.

    Its titles are fitted into it.
    """
    fit(picture)
    buffer = io.BytesIO()
    metadata = {"Date": None, "Creator": None, "Format": None, "Type": None} if suffix == "svg" else {"Software": None}
    with matplotlib.rc_context({"svg.hashsalt": name}):
        picture.savefig(buffer, format=suffix, dpi=160, metadata=metadata)
    return buffer.getvalue()


def svg(picture: Figure, name: str) -> str:
    """Return a figure as an <svg> element; `name` keeps its ids apart from those of other pictures on a page."""
    return element(content(picture, "svg", name).decode(), name)


def element(text: str, name: str) -> str:
    """Return the <svg> element of an SVG file, its ids made the picture's own by `name`."""
    start = text.index("<svg")
    opening, rest = text[start:].split(">", 1)
    box = opening[opening.index("viewBox"):].split('"')[1]
    own = "p" + hashlib.sha256(name.encode()).hexdigest()[:8] + "-"
    rest = re.sub(r'(\bid="|href="#|url\(#)', rf"\1{own}", rest)
    return f'<svg role="img" viewBox="{box}" xmlns="http://www.w3.org/2000/svg" ' \
           f'xmlns:xlink="http://www.w3.org/1999/xlink">{rest}'
