"""Integrals of a law's density by a rule of its own: halved panels between the ends of a band, smooth at both."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

Array = np.ndarray

_NODE, _WEIGHT = np.polynomial.legendre.leggauss(12)
_DEEPEST = 30  # halvings of a panel
_MOST = 20_000  # evaluations of a density
_LOOSE = 1e-5  # of the mass, what may be unsettled
_PEAK = 1e-7  # of the mass, what a panel may lack that looks settled
WIDE = 100.0  # ends of a positive band further apart than that: the logarithm is its coordinate
_LEVELS = np.array([1e-7, 1e-5, 1e-3, 0.01])  # of quantiles, from either side, at which panels begin
_BOTTOM = 1e-11  # what may lie between zero and where a hard edge is cut


class Unsettled(ArithmeticError):
    """The rule did not settle."""


def adaptive(f: Callable[[Array], Array], cuts: Array, tolerance: float,
             below: Callable[[Array], Array]) -> tuple[Array, float]:
    """Return the integral of each row of f, by panels that are halved until both halves give what the whole gave.

    And by how much they may be off: what was not settled when it cost too much. The first row is a density, `below`
    what it integrates to: a panel is halved where the two differ, too, for a peak may lie between nodes.
    """
    low, high = cuts[:-1], cuts[1:]
    whole, total, spent = _panels(f, low, high), 0.0, 0
    for _ in range(_DEEPEST):
        middle = (low + high) / 2
        left, right = _panels(f, low, middle), _panels(f, middle, high)
        spent += 2 * low.size * _NODE.size
        miss = np.max(np.abs(whole - left - right), axis=0)
        bad = (miss > tolerance) | (np.abs((left + right)[0] - (below(high) - below(low))) > _PEAK)
        total = total + (left + right)[:, ~bad].sum(axis=1)
        if not bad.any():
            return np.asarray(total), 0.0
        low, high = np.r_[low[bad], middle[bad]], np.r_[middle[bad], high[bad]]
        whole = np.concatenate([left[:, bad], right[:, bad]], axis=1)
        if spent > _MOST:
            break
    missing = float(miss[bad].sum())
    if not missing <= _LOOSE:
        raise Unsettled(f"quadrature of the density is unsettled by {missing:.1e}")
    return np.asarray(total + whole.sum(axis=1)), missing


def _panels(f: Callable[[Array], Array], low: Array, high: Array) -> Array:
    """Return the integrals of each row over each panel, (rows, panels)."""
    half = (high - low) / 2
    at = ((high + low) / 2)[:, None] + half[:, None] * _NODE
    values = f(at.ravel())
    return (values.reshape(values.shape[0], *at.shape) @ _WEIGHT) * half


def _place(angle: Array, low: float, high: float) -> Array:
    """Return the place at an angle from 0 to pi, from whichever end is nearer."""
    return np.where(angle < math.pi / 2, low + (high - low) * np.sin(angle / 2) ** 2,
                    high - (high - low) * np.cos(angle / 2) ** 2)


class Measure:
    """A law as nodes and weights: its bands by panels, its atoms; integrals are of a list of functions at once."""

    def __init__(self, law: object) -> None:
        self.law = law
        self.atoms: dict[float, float] = law.atoms  # type: ignore[attr-defined]
        self.bands: Sequence[tuple[float, float]] = law.support  # type: ignore[attr-defined]

    def band(self, low: float, high: float, functions: Callable[[Array], Array],
             tolerance: float = 1e-8) -> tuple[Array, float]:
        """Return the integrals over a band of one and of the functions, and by how much they may be off.

        In ln x where the band is wide.
        """
        levels = np.r_[_LEVELS, 0.2, 0.5, 0.8, 1 - _LEVELS[::-1]]
        ends = np.array([float(self.law.cdf(low)), float(self.law.cdf(high)) - self.atoms.get(high, 0.0)])
        if low >= 0 and high > WIDE * low:
            return self._logarithmic(low, high, ends, functions, tolerance)
        half, middle = (high - low) / 2, (high + low) / 2

        def rows(angle: Array) -> Array:
            x = _place(angle, low, high)
            density = self.law.pdf(np.clip(x, low, high)) * half * np.sin(angle)
            density[~np.isfinite(density)] = 0.0  # x was rounded to an end where it is infinite
            return density * np.concatenate([np.ones((1, x.size)), functions(x)])

        inside = self.law.ppf(ends[0] + (ends[1] - ends[0]) * levels)
        cuts = np.arccos(np.clip((middle - inside) / half, -1, 1))
        return adaptive(rows, np.unique(np.r_[0.0, cuts, math.pi]), tolerance,
                        lambda angle: self.law.cdf(_place(angle, low, high)))

    def _logarithmic(self, low: float, high: float, ends: Array, functions: Callable[[Array], Array],
                     tolerance: float) -> tuple[Array, float]:
        """In ln x, by the law of ln x where x itself would underflow."""
        zero = self.atoms.get(0.0, 0.0)
        top, bottom = math.log(high), math.log(low) if low > 0 else -math.inf
        deep = 0 < low < 1e-290 or (low == 0 and self.law.ppf(ends[0] + _BOTTOM) < 1e-290)
        cut = 0.0
        if deep:
            view = self.law.log
            bottom = view.support[0][0]

            def density(t: Array) -> Array:
                return (1 - zero) * view.pdf(t)

            def below(t: Array) -> Array:
                return (1 - zero) * view.cdf(t)

            def place(q: Array) -> Array:
                return view.ppf(np.clip((q - zero) / (1 - zero), 0, 1))
        else:
            def density(t: Array) -> Array:
                x = np.exp(t)
                return self.law.pdf(x) * x

            def below(t: Array) -> Array:
                return self.law.cdf(np.exp(t))

            def place(q: Array) -> Array:
                return np.log(self.law.ppf(q))
        if bottom == -math.inf:
            cut = _BOTTOM
            bottom = float(place(np.array([ends[0] + cut]))[0])
        levels = np.r_[1e-9, _LEVELS, 0.2, 0.5, 0.8, 1 - _LEVELS[::-1]]
        half, middle = (top - bottom) / 2, (top + bottom) / 2

        def rows(angle: Array) -> Array:
            t = _place(angle, bottom, top)
            with np.errstate(over="ignore", under="ignore"):
                found = density(t)
                found = np.where(np.isfinite(found), found, 0.0) * half * np.sin(angle)
                return found * np.concatenate([np.ones((1, t.size)), functions(np.exp(t))])

        cuts = np.arccos(np.clip((middle - place(ends[0] + (ends[1] - ends[0]) * levels)) / half, -1, 1))
        found, missing = adaptive(rows, np.unique(np.r_[0.0, cuts, math.pi]), tolerance,
                                  lambda angle: below(_place(angle, bottom, top)))
        found = found + cut * np.concatenate([np.ones((1, 1)), functions(np.zeros(1))])[:, 0]
        return found, missing
