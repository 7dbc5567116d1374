"""Are measured networks independent? What notices copies, values that were pooled and cut, and networks too alike.

Error bars rest on networks that know nothing of each other. What is sought here is what independent ones never have;
an alarm on them is false in one study of a million at most, for each kind of alarm (`ALARM`).

Draws that networks share only in part (some layers; one network at several inputs that change its slopes) leave no
trace in the values: the layers that differ mix anew, and gaps and smooth statistics are those of independent networks.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy import special

Array = NDArray[np.float64]

ALARM = 1e-6
_SAME = 0.01  # of a network's mean gap: copies are this near, value by value
_LEAST_RANGE, _LEAST_LEVELS, _LEAST_GAPS, _MANY_GAPS = 5, 8, 16, 40  # values of a network that an alarm needs
_MANY_VALUES, _SEVERAL = 60, 4  # values of all networks, and networks, that an alarm about their order needs
_BETWEEN = 0.9  # share of the variance of levels that lies between networks
_TURNS = 0.9  # share of the values that are the same network's as the one a round before
_EVEN = (2.0, 4.0, 6.0)  # frequencies that values dealt out in turn leave without any spread
_FREEDOM = 3.0  # neighbouring second differences of gaps that say as much as one independent number
_ALIKE = 0.3  # mean rank correlation of gaps between networks; of independent ones .13 at most in a thousand studies
_BLOCK = 256  # networks whose correlations are found at once


def dependence(log_values: Array, snap: float) -> str:
    """Return in words why networks do not look independent; "" where nothing is noticed.

    Parameters
    ----------
    log_values : array (networks, inputs, values)
        ln s, -inf for zeros. The first input of each network is looked at.
    snap : float
        Values of one network within this of each other, in ln s, are an atom, which may be the same in all networks.
    """
    rows = [_distinct(row, snap) for row in log_values[:, 0]]
    if names := _named(_same(rows)):
        return f"networks {names} have the same values: copies count once"
    if _cut(rows):
        return "every network has a range of values of its own: pooled and cut?"
    if _dealt(rows) or _regular(rows):
        return "values lie between the others' far too regularly: pooled and dealt out?"
    if names := _named(_related(rows)):
        return f"networks {names} have wide and narrow gaps in the same places: not independent"
    return ""


def _named(pairs: Iterator[tuple[int, int]]) -> str:
    """Return the first pairs as text; "" where there is none."""
    return ", ".join(f"{i} and {j}" for (i, j), _ in zip(pairs, range(3), strict=False))


def _distinct(row: Array, snap: float) -> Array:
    """Return the finite values of a network, increasing, without those that it has several times."""
    values = np.sort(row[row > -np.inf])
    near = np.diff(values) <= snap
    return values[~(np.r_[near, False] | np.r_[False, near])] if values.size else values


def _same(rows: list[Array]) -> Iterator[tuple[int, int]]:
    """Yield pairs of networks whose values are equal, up to a small part of the gaps between them."""
    pairs = max(1.0, len(rows) * (len(rows) - 1) / 2)
    for size in sorted({row.size for row in rows} - {0, 1}):
        members = np.array([i for i, row in enumerate(rows) if row.size == size])
        values = np.array([rows[i] for i in members])
        order = np.argsort(values.mean(axis=1), kind="stable")
        members, values = members[order], values[order]
        # Of independent networks at least every second value is free of the others: the chance that all are as near.
        near = min(_SAME, (ALARM / pairs) ** (2 / size) / 2) * float(np.mean(np.ptp(values, axis=1))) / (size - 1)
        alike = np.abs(np.diff(values, axis=0)).max(axis=1) <= near
        alone = values[np.r_[True, ~alike]]
        ties = np.sum(np.diff(np.sort(alone, axis=0), axis=0) == 0)  # of values that were rounded to a grid
        if ties and pairs * (2 * ties / (alone.size * (len(alone) - 1))) ** (size / 2) > ALARM:
            continue
        yield from sorted((min(pair), max(pair)) for pair, one in zip(pairwise(members.tolist()), alike, strict=True)
                          if one)


def _cut(rows: list[Array]) -> bool:
    """Return whether networks differ in where their values lie by more than values of one network ever do."""
    rows = [row for row in rows if row.size >= _LEAST_RANGE]
    if len(rows) < 2 or sum(row.size for row in rows) < 4 * _LEAST_RANGE:
        return False
    ends = sorted((float(row[0]), float(row[-1])) for row in rows)
    if all(first[1] < second[0] for first, second in pairwise(ends)):
        return True
    levels = _levels(rows)
    within = sum(float(np.sum((u - u.mean()) ** 2)) for u in levels)
    return within < (1 - _BETWEEN) * float(np.sum((np.concatenate(levels) - 0.5) ** 2))


def _levels(rows: list[Array]) -> list[Array]:
    """Return the place of every value among those of all networks, in (0, 1)."""
    pooled = np.sort(np.concatenate(rows))
    return [(np.searchsorted(pooled, row, "left") + np.searchsorted(pooled, row, "right")) / (2 * pooled.size)
            for row in rows]


def _dealt(rows: list[Array]) -> bool:
    """Return whether the values, in order, come from the networks in turn: a round after a value, one of the same."""
    values, networks = np.concatenate(rows), len(rows)
    owner = np.repeat(np.arange(networks), [row.size for row in rows])[np.argsort(values, kind="stable")]
    if networks < 2 or owner.size < max(_MANY_VALUES, 2 * networks):
        return False
    return bool(np.mean(owner[networks:] == owner[:-networks]) > _TURNS)


def _regular(rows: list[Array]) -> bool:
    """Return whether smooth statistics spread less than those of one independent value in every n-th of the levels.

    Of those, n times the mean of cos(j pi u) has a variance of (j pi)^2/24n; of eigenvalues .8 and more.
    """
    sizes = [row.size for row in rows]
    if len(rows) < _SEVERAL or min(sizes) < _LEAST_LEVELS or sum(sizes) < _MANY_VALUES:
        return False
    j = np.array(_EVEN)
    cosines = np.array([np.cos(math.pi * j[:, None] * u).mean(axis=1) * u.size**1.5 for u in _levels(rows)])
    spread = np.sum((cosines - cosines.mean(axis=0)) ** 2 / ((math.pi * j) ** 2 / 24))
    return bool(spread < 2 * special.gammaincinv((len(rows) - 1) * j.size / 2, ALARM))


def _related(rows: list[Array]) -> Iterator[tuple[int, int]]:
    """Yield pairs of networks whose gaps are wide and narrow in the same places, counted from the largest value."""
    size, networks = min(row.size for row in rows) - 1, len(rows)
    if size < _LEAST_GAPS or networks < 2:
        return
    rough = np.log([-np.diff(row[::-1])[:size] for row in rows])
    rough = rough[:, 1:-1] - (rough[:, 2:] + rough[:, :-2]) / 2  # smooth changes of shape are left out
    ranks = _ranks(rough)
    together, freedom = float(np.sum(np.sum(ranks, axis=0) ** 2)) / networks, size / _FREEDOM
    most = max(float(special.chdtri(freedom, ALARM)) / freedom, 1 + _ALIKE * (networks - 1))
    if size >= _MANY_GAPS and together > most:
        yield from pairwise(range(networks))
        return
    ranks = _ranks(rough - rough.mean(axis=0))  # what all networks have, as at an edge, is no relation
    pairs = networks * (networks - 1) / 2
    bound = math.tanh(-float(special.ndtri(ALARM / pairs)) / math.sqrt(max(freedom - 3, 0.1)))
    for i in range(0, networks if networks > 2 else 0, _BLOCK):
        found = np.argwhere(np.triu(ranks[i : i + _BLOCK] @ ranks.T, i + 1) > bound)
        yield from ((i + int(a), int(b)) for a, b in found)


def _ranks(rows: Array) -> Array:
    """Return the rank of every entry in its row, of mean 0 and square sum 1: one wide gap does not weigh much."""
    ranks = np.argsort(np.argsort(rows, axis=1), axis=1) - (rows.shape[1] - 1) / 2
    return np.asarray(ranks / np.linalg.norm(ranks, axis=1, keepdims=True))
