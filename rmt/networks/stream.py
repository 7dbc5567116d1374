"""The slopes that residual blocks have on one stream: of a Gaussian process along the depth, alike in every channel."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from rmt.networks.activations import ActivationFunction

Array = NDArray[np.float64]
Seen = tuple[ActivationFunction, float, float]  # a function, the variance of its argument, that of the stream there

_POINTS = 1024  # half of them the negatives of the others


def joint_slopes(seen: Sequence[Seen]) -> tuple[tuple[tuple[float, ...], ...], tuple[float, ...]]:
    """Return kinds of channels, each the squared slopes of every function, and their probabilities.

    The stream grows by independent increments, so that arguments l < m have the correlation sqrt(tau_l / tau_m), tau
    the stream's variance. The points are a lattice (Roberts 2018) in the principal directions of the arguments.
    """
    tau = np.maximum.accumulate([stream for *_, stream in seen])
    values, vectors = np.linalg.eigh(np.sqrt(np.minimum.outer(tau, tau) / np.maximum.outer(tau, tau)))
    n = len(seen)
    root = 2.0
    for _ in range(100):
        root = (1 + root) ** (1 / (n + 1))
    lattice = (0.5 + np.outer(np.arange(1, _POINTS // 2 + 1), root ** -np.arange(1.0, n + 1))) % 1
    normal = ndtri(lattice) * np.sqrt(np.maximum(values[::-1], 0.0)) @ vectors[:, ::-1].T
    ranks = np.r_[normal, -normal].argsort(axis=0).argsort(axis=0)
    exact = ndtri((ranks + 0.5) / len(ranks))  # each argument normal as far as so many points can be
    arguments = exact * np.sqrt([variance for _, variance, _ in seen])
    squares = np.array([np.real(phi.slope(u)) ** 2 for (phi, *_), u in zip(seen, arguments.T, strict=True)]).T
    kinds, counts = np.unique(squares, axis=0, return_counts=True)
    return tuple(map(tuple, kinds.tolist())), tuple((counts / math.fsum(counts)).tolist())
