"""Titles that stay inside the picture: wrapped to the room that they have, and room made for their lines."""

from __future__ import annotations

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.transforms import Bbox

from rmt.plotting import wrap

_EDGE = 0.04  # inches around a title
_TURNS = 6  # of wrapping and making room: one changes the other
_MOVED = 0.5  # pixels: less is no move


def fit(figure: Figure) -> Figure:
    """Wrap all titles, and move apart what their lines would meet; twice is as once.

    A title of axes has the width between the middles of the gaps to the axes beside it that have titles too.
    """
    for _ in range(_TURNS):
        for ax in figure.axes:
            if ax.get_title():
                wrap(ax.title, _room(ax))
        if (whole := _suptitle(figure)) is not None:
            wrap(whole, figure.bbox.width - 2 * _EDGE * figure.dpi)
        if not _apart(figure):
            break
    return figure


def _suptitle(figure: Figure) -> Text | None:
    text = figure.get_suptitle()
    return next((one for one in figure.texts if text and one.get_text() == text), None)


def _room(ax: Axes) -> float:
    """Return the width that a title over the middle of axes may have."""
    figure = ax.get_figure(root=True)
    assert figure is not None
    edge, box = _EDGE * figure.dpi, ax.get_window_extent()
    low, high = edge, figure.bbox.width - edge
    for other in (one.get_window_extent() for one in figure.axes if one is not ax and one.get_title()):
        if other.y0 < box.y1 and box.y0 < other.y1:
            low = max(low, (other.x1 + box.x0 + edge) / 2) if other.x1 <= box.x0 else low
            high = min(high, (box.x1 + other.x0 - edge) / 2) if other.x0 >= box.x1 else high
    middle = (box.x0 + box.x1) / 2
    return 2 * min(middle - low, high - middle)


def _apart(figure: Figure) -> bool:
    """Move down what stands under the title of all, and apart what meets; return whether anything moved."""
    ceiling, lowered = _lowered(figure)
    gap, pars = _EDGE * figure.dpi / 2, figure.subplotpars
    width, height = figure.bbox.width, figure.bbox.height
    boxes = [(ax, _outer(ax), ax.get_window_extent()) for ax in figure.axes if ax.get_visible()]
    if not boxes:
        return lowered
    outer = Bbox.union([box for ax, box, _ in boxes if ax.get_subplotspec() is not None] or [figure.bbox])
    rows = [(_top(ax, box) + gap - under.y0, above.height) for ax, box, own in boxes for _, under, above in boxes
            if above.y0 > own.y1 and above.x0 < own.x1 and own.x0 < above.x1]
    into, tall = max(rows, default=(0.0, 1.0))
    wanted = {"top": pars.top - max(0.0, outer.y1 - ceiling) / height,
              "left": pars.left + max(0.0, gap - outer.x0) / width,
              "right": pars.right - max(0.0, outer.x1 + gap - width) / width,
              "bottom": pars.bottom + max(0.0, gap - outer.y0) / height, "hspace": pars.hspace + max(0.0, into) / tall}
    if all(abs(value - getattr(pars, side)) * height < _MOVED for side, value in wanted.items()):
        return lowered
    figure.subplots_adjust(**wanted)
    return True


def _lowered(figure: Figure) -> tuple[float, bool]:
    """Put the title of all inside, legends at the top under it; return the height that is left, and if any moved."""
    height, gap, moved = figure.bbox.height, _EDGE * figure.dpi / 2, False
    ceiling = height - gap
    if (whole := _suptitle(figure)) is not None:
        if (over := whole.get_window_extent().y1 - ceiling) > _MOVED:
            whole.set_y(whole.get_position()[1] - over / height)
            moved = True
        ceiling = whole.get_window_extent().y0 - gap
    for legend in (one for one in figure.legends if one.get_window_extent().y0 > height / 2):
        if (over := legend.get_window_extent().y1 - ceiling) > _MOVED:
            anchor = legend.get_bbox_to_anchor().transformed(figure.transFigure.inverted())
            place = (anchor.x0, anchor.y0 - over / height, anchor.width, anchor.height)
            legend.set_bbox_to_anchor(place, figure.transFigure)
            moved = True
        ceiling = min(ceiling, legend.get_window_extent().y0 - gap)
    return ceiling, moved


def _top(ax: Axes, outer: Bbox) -> float:
    return float(ax.title.get_window_extent().y1) if ax.get_title() else float(outer.y0)


def _outer(ax: Axes) -> Bbox:
    """Return the box of axes with all that belongs to them; this also puts their title where it belongs."""
    box = ax.get_tightbbox()
    return ax.get_window_extent() if box is None else box
