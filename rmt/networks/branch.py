"""What a residual branch is told by name, its norm and its scale: checked without loading a law."""

from __future__ import annotations

from collections.abc import Callable

from rmt.checks import Number, choice, number

NORMS = ("none", "batch", "layer", "rms")
SCALES: dict[str, Callable[[int], float]] = {"1/sqrt(L)": lambda depth: depth**-0.5, "1/L": lambda depth: 1 / depth}


def branch_scale(scale: Number | str, depth: int) -> Number:
    """Return the scale of a branch, given as a number, "1/sqrt(L)" or "1/L"."""
    return SCALES[choice("scale", scale, SCALES)](depth) if isinstance(scale, str) else number("scale", scale)
