"""Sums over the nodes of a contour, at many points: what lies far from a point on either side is one number."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from rmt.laws.batches import batches
from rmt.laws.logistic import sigmoid_sums, softplus

Array = NDArray[np.float64]
ComplexArray = NDArray[np.complex128]

_WIDE = 40.0  # |y + ln X| beyond which the sigmoid is an exponential: e^-80 is left
_TOGETHER = 20.0  # Re y of points with one window


class ContourSums:
    """Sums of W f(y + ln X) for sigmoids and softplus, f an exponential, a constant or linear far out."""

    def __init__(self, log_x: ComplexArray, weights: ComplexArray) -> None:
        order = np.argsort(log_x.real, kind="stable")
        self._log_x, self._weights = log_x[order], weights[order]
        self._place = self._log_x.real
        turned = self._weights * np.exp(1j * self._log_x.imag)
        back = self._weights * np.exp(-1j * self._log_x.imag)
        self._below = _running(turned, self._place)
        self._above = _running(back[::-1], -self._place[::-1])[::-1]
        self._count = np.r_[0, np.cumsum(self._weights)]
        self._count_above = np.r_[np.cumsum(self._weights[::-1])[::-1], 0]
        self._log_above = np.r_[np.cumsum((self._weights * self._log_x)[::-1])[::-1], 0]

    @property
    def shrinks(self) -> bool:
        """Whether a window is much less than all nodes."""
        return bool(self._place[-1] - self._place[0] > 6 * _WIDE)

    def sigmoids(self, y: ComplexArray) -> tuple[ComplexArray, ComplexArray, ComplexArray]:
        """Return the sums of sigmoid(-t), sigmoid(t) and their product, t = y + ln X."""
        down, up, both = np.empty((3, y.size), dtype=complex)
        for part, near, log_x, weights, low, high in self._windows(y):
            low_tail, high_tail = self._tails(y[part], low, high)
            down[part], up[part], both[part] = sigmoid_sums(near, log_x, np.exp(log_x), weights)
            down[part] += self._count[low] - low_tail + high_tail
            up[part] += self._count_above[high] - high_tail + low_tail
            both[part] += low_tail + high_tail
        return down, up, both

    def softplus(self, y: ComplexArray) -> ComplexArray:
        """Return the sum of log(1 + e^t)."""
        out = np.empty(y.size, dtype=complex)
        for part, near, log_x, weights, low, high in self._windows(y):
            low_tail, high_tail = self._tails(y[part], low, high)
            linear = y[part] * self._count_above[high] + self._log_above[high]
            out[part] = softplus(near[:, None] + log_x) @ weights + low_tail + high_tail + linear
        return out

    def _windows(self, y: ComplexArray) -> Iterator[tuple[NDArray[np.intp], ComplexArray, ComplexArray, ComplexArray,
                                                          int, int]]:
        """Yield points that are near each other, y and ln X less and plus one number, W, and where the nodes lie."""
        order = np.argsort(y.real, kind="stable")
        place, i = y.real[order], 0
        while i < y.size:
            end = int(np.searchsorted(place, place[i] + _TOGETHER, side="right"))
            low, high = np.searchsorted(self._place, [-place[end - 1] - _WIDE, -place[i] + _WIDE]).tolist()
            for batch in batches(end - i, high - low):
                part = order[i:end][batch]
                yield (part, y[part] - place[i], self._log_x[low:high] + place[i], self._weights[low:high], low, high)
            i = end

    def _tails(self, y: ComplexArray, low: int, high: int) -> tuple[ComplexArray, ComplexArray]:
        """Return the sums of W e^t below a window and of W e^-t above it."""
        below, above = np.zeros((2, y.size), dtype=complex)
        with np.errstate(under="ignore"):
            if low > 0:
                below = self._below[low] * np.exp(y + self._place[low - 1])
            if high < self._place.size:
                above = self._above[high] * np.exp(-y - self._place[high])
        return below, above


def _running(terms: ComplexArray, place: Array) -> ComplexArray:
    """Return the sums of the first j terms times e^(place - the last of their places), j = 0, 1, ..."""
    out, total = np.zeros(terms.size + 1, dtype=complex), 0j
    for j, (term, factor) in enumerate(zip(terms.tolist(), np.exp(-np.diff(place, prepend=place[0])).tolist(),
                                           strict=True)):
        total = total * factor + term
        out[j + 1] = total
    return out
