"""Singular values of a graded matrix diag(e^scales) rows, every one to its last digits, however many decades they span.

A float64 SVD knows a value to rounding over its ratio to the largest. So a few triangular factorizations, of the matrix
and of its transpose in turn, first uncouple rows of different scale (the unshifted QR iteration on singular values:
Mathias and Stewart 1993; each multiplies what couples two of them by the ratio of their values, and keeps the relative
size of every row), then SVDs of overlapping diagonal blocks each give the values near their top. They are checked where
they overlap. Against arithmetic of many digits it is as accurate as one-sided Jacobi (LAPACK's gejsv), at a fifth of
its time.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy.linalg.lapack import dgeqrf

Array = NDArray[np.float64]

RANGE = 300.0  # nats of row scales that one float64 matrix holds, with their squares
_MARGIN = 40.0  # nats over which rows of different scale still mix: relative effect e^-80
_DEEP = 6.5  # nats below its largest value that an SVD is believed: an error of e^6.5 roundings
_BETWEEN = 3.0  # nats over which rows mix once uncoupled
_CUT = 1.0  # nats from the first row left out of a block, from which on a value is compared: e^-8 a round
_STEPS = 4  # factorizations: what couples rows 3 nats apart falls to e^-15, its square counts
_AGREE = 1e-10  # of two blocks on a value
_ROUNDS = 12


def log_singular_values_of_graded(scales: Array, rows: Array) -> Array:
    """Return ln of the singular values of diag(e^scales) rows, descending.

    Parameters
    ----------
    scales : array (k,)
        Natural logs, of any size.
    rows : array (k, n)
        Of length 1 and independent, k <= n.

    Raises
    ------
    ArithmeticError
        If the blocks do not agree on the values that they share.
    """
    if scales.size == 0:
        return scales
    order = np.argsort(-scales, kind="stable")
    scales, lower = scales[order], triangle(rows[order].T).T
    # More decades than a float holds: overlapping windows of rows. Those of larger scale are projected out (lower is
    # triangular), and a value a margin away from a window's ends does not see what lies beyond.
    found, start, done = np.empty_like(scales), 0, 0
    while True:
        stop = int(np.searchsorted(-scales, RANGE - scales[start], side="right"))
        window = np.exp(scales[start:stop] - scales[start])[:, None] * lower[start:stop, start:stop]
        found[done:stop] = _window(window)[done - start :] + scales[start]
        if stop == scales.size:
            return found
        done = int(np.searchsorted(-scales, RANGE - _MARGIN - scales[start]))
        start = int(np.searchsorted(-scales, RANGE - 2 * _MARGIN - scales[start]))


def padded(values: Array, size: int) -> Array:
    """Return the values and as many exact zeros, ln s = -inf, as there are inputs more."""
    return np.concatenate([values, np.full(size - values.size, -np.inf)])


def triangle(a: Array) -> Array:
    """Return R of a QR factorization."""
    packed = dgeqrf(np.asfortranarray(a), lwork=64 * max(1, a.shape[1]))[0]
    return np.asarray(np.triu(packed[: min(a.shape)]))


def _window(lower: Array) -> Array:
    """Return ln of the singular values of a lower triangle whose rows fall in size."""
    for _ in range(_ROUNDS):
        for _ in range(_STEPS // 2):
            lower = triangle(triangle(lower).T).T
        values, agree = _by_blocks(lower)
        if agree:
            return values
    raise ArithmeticError(f"graded matrix: rows of different scale do not uncouple in {_ROUNDS * _STEPS} steps")


def _by_blocks(lower: Array) -> tuple[Array, bool]:
    """Return ln of the singular values, from blocks along the diagonal, and whether the blocks agree."""
    size = np.minimum.accumulate(np.abs(np.diag(lower)))
    if size[-1] == 0:
        raise ArithmeticError("graded matrix: rows are not independent")
    size = np.log(size)
    values, start, done, agree, expected = np.empty_like(size), 0, 0, True, math.nan
    while done < size.size:
        stop = int(np.searchsorted(-size, _DEEP + _BETWEEN - size[start], side="right"))
        block = lower[start:stop, start:stop] * math.exp(-size[start])
        found = np.log(np.linalg.svd(block, compute_uv=False)) + size[start]
        here = found[done - start :]
        agree &= not abs(here[0] - expected) > _AGREE
        count = max(1, int(np.searchsorted(-here, _DEEP - found[0], side="right")))
        values[done : done + count] = here[:count]
        done += count
        if done == size.size:
            break
        # Right, if not to its last digits; but nearer to the cut it stays coupled to the row behind it.
        whole = count < here.size and (stop == size.size or here[count] > size[stop] + _CUT)
        expected = float(here[count]) if whole else math.nan
        start = max(start + 1, int(np.searchsorted(-size, -size[done] - _BETWEEN)))
    return values, agree
