"""Every method a user of scipy.stats expects, from three primitives.

A distribution says where its bands and atoms lie on a coordinate t that rises with the value, and gives
P(X > x) and the log density per t inside a band. For a law with log-potential U(z) = E log(z - X) these are
P(X > x) = Im U / pi and -Im U' / pi at z = x + i0. A view (s = sqrt x, ln x) changes only the coordinate maps.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rmt.checks import integer
from rmt.laws import bands, ends, upper_tail
from rmt.laws.entropy import entropy
from rmt.laws.located import Local
from rmt.laws.panels import Bands

Array = NDArray[np.float64]
BoolArray = NDArray[np.bool_]

_BELOW = 1e-7  # of the band, or of the unit of t: how near below an atom inside a band its mass is looked at
_FEW = 8  # bands
_FAR = 1e100  # below -_FAR the tail of a hard edge has no density that a float holds


class Distribution(ABC):
    """A probability distribution on the line with a continuous part and atoms; immutable."""

    # ---- the primitives -------------------------------------------------------------------------------

    @property
    @abstractmethod
    def _bands(self) -> tuple[tuple[float, float], ...]:
        """The intervals of t that carry the continuous part, increasing; the first may start at -inf."""

    @property
    @abstractmethod
    def _points(self) -> tuple[tuple[float, float], ...]:
        """The atoms (t, mass), increasing."""

    @property
    @abstractmethod
    def _rate(self) -> float:
        """At a hard edge, t = -inf: the rate of F ~ e^(rate t)."""

    @property
    def _unit(self) -> float:
        """Scale of t: what counts as no distance is relative to it."""
        return 1.0

    @property
    def _dear(self) -> bool:
        """Whether a point costs much."""
        return False

    @property
    def _by_series(self) -> bool:
        """Whether tails are read off a series of every band: of a dear law with few of them."""
        return self._dear and len(self._bands) <= _FEW

    @property
    def _rounding(self) -> float:
        """Of a tail."""
        return 1e-15

    @abstractmethod
    def _local(self, t: Array, state: Any = None) -> Local:
        """Return what the distribution is at t inside a band, or P(T > t) in a gap, from the state of nearby points."""

    @abstractmethod
    def _t(self, x: Array) -> Array:
        """Coordinate of a value (NaN where x cannot be a value, below all of them)."""

    @abstractmethod
    def _x(self, t: Array) -> Array:
        """Value at a coordinate."""

    @abstractmethod
    def _log_dx_dt(self, t: Array) -> Array:
        """Return ln dx/dt."""

    def _value(self, t: float) -> float:
        """Value at an atom or edge."""
        return float(self._x(np.array([t]))[0])

    # ---- where it lives -------------------------------------------------------------------------------

    @property
    def support(self) -> tuple[tuple[float, float], ...]:
        """The intervals (lo, hi) of the continuous part, increasing."""
        return tuple((self._value(lo), self._value(hi)) for lo, hi in self._bands)

    @property
    def atoms(self) -> dict[float, float]:
        """The point masses: {point: mass}."""
        return {self._value(t): mass for t, mass in self._points}

    @cached_property
    def _pieces(self) -> tuple[list[tuple[float, float]], Array]:
        """Bands and atoms in order of t, as intervals, and the probability of each."""
        intervals = sorted([*self._bands, *((t, t) for t, _ in self._points)])
        atoms = {(t, t): mass for t, mass in self._points}
        masses = [atoms.get(piece, 0.0) for piece in intervals]
        found, last = 0.0, max(self._bands, default=None)
        for i, piece in enumerate(intervals):
            if piece == last:
                masses[i] = self._continuous - found
            elif piece not in atoms:  # another band follows: P(T <= t) in the gap before it
                # not the middle: there G may vanish by symmetry, and with it the digits of a subordination
                gap, weights = np.array([0.53 * piece[1] + 0.47 * intervals[i + 1][0]]), np.ones(1)
                if piece[1] == intervals[i + 1][0]:  # an atom inside a band: P(T < t) from below, extrapolated
                    gap = piece[1] - _BELOW * min(self._unit, piece[1] - piece[0]) * np.array([1.0, 2.0, 3.0])
                    weights = np.array([3.0, -3.0, 1.0])
                masses[i] = max(float(self._local(gap).lower @ weights) + self._at_bottom - sum(masses[:i]), 0.0)
                found += masses[i]
        return intervals, np.array(masses)

    @property
    def _continuous(self) -> float:
        """The mass of the continuous part."""
        return 1.0 - sum(mass for _, mass in self._points)

    @property
    def _at_bottom(self) -> float:
        """The mass at t = -inf."""
        return sum((mass for t, mass in self._points if t == -math.inf), 0.0)

    @property
    def _beside(self) -> tuple[Array, Array]:
        """P(-inf < T < t) at the left end of every piece, P(T > t) at its right end."""
        masses = self._pieces[1]
        return np.cumsum(np.r_[-self._at_bottom, masses[:-1]]), np.cumsum(np.r_[0.0, masses[:0:-1]])[::-1]

    # ---- densities and tails --------------------------------------------------------------------------

    def logpdf(self, x: ArrayLike) -> Any:
        """Natural logarithm of `pdf`; -inf outside the support, inf at an end where the density diverges."""
        t, shape = self._coordinates(x)
        out = np.where(np.isnan(np.asarray(x, dtype=float).ravel()), np.nan, -np.inf)
        inside = self._inside(t)
        if inside.any():
            out[inside] = self._local(t[inside]).log_density - self._log_dx_dt(t[inside])
        for band in self._bands:
            for end, side in zip(band, (1, -1), strict=True):
                if (here := t == end).any() and math.isfinite(self._value(end)):
                    out[here] = np.maximum(out[here], ends.log_density(self, end, side, band[1] - band[0]))
        return out.reshape(shape)[()]

    def pdf(self, x: ArrayLike) -> Any:
        """Density of the continuous part per unit of the value; it integrates to 1 minus the atoms."""
        with np.errstate(over="ignore"):
            return np.exp(self.logpdf(x))

    def sf(self, x: ArrayLike) -> Any:
        """Return P(X > x), near the top end with its own digits."""
        above = np.cumsum(self._pieces[1][::-1])[::-1]
        return self._tail(x, np.r_[1.0, above[1:], 0.0], lambda _, upper: upper)

    def cdf(self, x: ArrayLike) -> Any:
        """Return P(X <= x), atoms included; near a hard edge without an atom with its own digits."""
        def inside(lower: Array, upper: Array) -> Array:  # by the smaller tail, which has its own digits
            return np.where(upper < lower, 1 - upper, self._at_bottom + lower)

        below = np.cumsum(self._pieces[1])
        return self._tail(x, np.r_[0.0, below[:-1], 1.0], inside)

    def _tail(self, x: ArrayLike, passed: Array, inside: Callable[[Array, Array], Array]) -> Any:
        """Return the probability by how many pieces x has passed, and inside a band."""
        t, shape = self._coordinates(x)
        passed, tops = np.clip(passed, 0, 1), [hi for _, hi in self._pieces[0]]
        count = np.where(np.isnan(t), 0, np.searchsorted(tops, t, "right"))  # NaN: below every value
        ends = passed[count], passed[np.minimum(count + 1, passed.size - 1)]
        out = ends[0].copy()
        for (lo, hi), table in self._tables.items() if self._by_series else ():
            within = (t > max(lo, -_FAR)) & (t < hi)
            if within.any():
                out[within] = inside(*table.tails(t[within]))
        within = self._inside(t)
        if within.any() and not self._by_series:
            out[within] = inside(*self._local(t[within]).tails)
        out = np.clip(out, np.minimum(*ends), np.maximum(*ends))
        out[np.isnan(np.asarray(x, dtype=float).ravel())] = np.nan
        return out.reshape(shape)[()]

    def _coordinates(self, x: ArrayLike) -> tuple[Array, tuple[int, ...]]:
        values = np.asarray(x, dtype=float)
        t = self._t(values.ravel())
        for end in (end for band in self._bands for end in band if end > -math.inf):
            at = np.abs(t - end) <= 1e-15 * (self._unit + abs(end))  # rounding steps over no end
            if math.isfinite(x_end := self._value(end)):
                at |= np.abs(values.ravel() - x_end) <= 4e-16 * abs(x_end)
            t = np.where(at, end, t)
        for (place, _), x_place in zip(self._points, self.atoms, strict=True):
            t = np.where(np.abs(values.ravel() - x_place) <= 4e-16 * abs(x_place), place, t)
        return t, values.shape

    def _inside(self, t: Array) -> BoolArray:
        inside = np.zeros(t.size, dtype=bool)
        for lo, hi in self._bands:
            inside |= (t > max(lo, -_FAR)) & (t < hi)
        return inside

    # ---- quantiles and samples ------------------------------------------------------------------------

    def ppf(self, q: ArrayLike) -> Any:
        """Return the smallest x with P(X <= x) >= q, for q in [0, 1]; the left end of the law at q = 0."""
        t = self._quantile(q)
        x = np.asarray(self._x(t))
        for (place, _), value in zip(self._points, self.atoms, strict=True):
            x = np.where(t == place, value, x)
        return x[()]

    def _quantile(self, q: ArrayLike) -> Array:
        """Coordinate of the quantile."""
        level = np.asarray(q, dtype=float)
        if np.any((level < 0) | (level > 1)):
            raise ValueError(f"q must be in [0, 1], got {level[(level < 0) | (level > 1)].flat[0]!r}")
        intervals, masses = self._pieces
        ends = np.minimum(np.cumsum(masses), 1)
        piece = np.minimum(np.searchsorted(ends + 1e-14, level.ravel()), len(intervals) - 1)
        t = np.full(level.size, np.nan)
        known = ~np.isnan(level.ravel())
        for i, (lo, hi) in enumerate(intervals):
            here = known & (piece == i)
            if lo == hi:
                t[here] = lo
            elif here.any():
                part = (level.ravel()[here] - (ends[i - 1] if i else 0.0)) / max(masses[i], 1e-300)
                part[level.ravel()[here] >= ends[i]] = 1
                t[here] = self._tables[lo, hi].quantile(np.clip(part, 0, 1))
        return t.reshape(level.shape)

    @cached_property
    def _tables(self) -> dict[tuple[float, float], bands.Table]:
        """For every band the table that quantiles start from."""
        intervals, masses = self._pieces
        below, above = self._beside
        return {(lo, hi): bands.Table(self._local, lo, hi, self._rate, mass, before, after, self._unit,
                                     self._rounding, dear=self._by_series)
                for (lo, hi), mass, before, after in zip(
                    intervals, masses, below, above, strict=True) if lo != hi}

    def isf(self, q: ArrayLike) -> Any:
        """Return x with P(X > x) = q, `ppf(1 - q)`; of a small q with the digits that `sf` has near the top end."""
        return upper_tail.isf(self, q)

    def median(self) -> float:
        """Return the median."""
        return float(self.ppf(0.5))

    def interval(self, confidence: ArrayLike) -> tuple[Any, Any]:
        """Return the ends of the central interval of that probability, in [0, 1]."""
        level = np.asarray(confidence, dtype=float)
        if np.any((level < 0) | (level > 1)):
            raise ValueError(f"confidence must be in [0, 1], got {level[(level < 0) | (level > 1)].flat[0]!r}")
        return self.ppf((1 - level) / 2), self.ppf((1 + level) / 2)

    def rvs(self, size: int | tuple[int, ...] = 1, *, rng: np.random.Generator | int) -> Array:
        """Return independent samples (eigenvalues of one matrix are not independent); rng: Generator or seed."""
        return np.asarray(self.ppf(np.random.default_rng(rng).random(size)))

    # ---- averages -------------------------------------------------------------------------------------

    def expect(self, f: Callable[[Array], ArrayLike]) -> float:
        """Return E f(X): atoms, and panels of a coordinate that is smooth at the edges.

        `f` takes an array of values; kinks and jumps of f inside a band cost time, not accuracy. The error is
        1e-10 of E |f(X)|, of a law of smooth slopes 1e-9, more in a band narrower than 1e-4 of its place; a
        `ConvergenceError` is raised where that is not reached.
        """
        values = np.array([self._value(t) for t, _ in self._points])
        total = float(np.asarray(f(values)) @ np.array([mass for _, mass in self._points])) if values.size else 0.0
        return total + (self._averaged.integral(lambda t: np.asarray(f(self._x(t)))) if self._averaged else 0.0)

    @cached_property
    def _averaged(self) -> Bands | None:
        """The bands and their densities, once known; None where there are none."""
        intervals, masses = self._pieces
        below, above = self._beside
        chosen = [i for i, (lo, hi) in enumerate(intervals) if lo != hi and masses[i] > 0]
        if not chosen:
            return None
        return Bands.of(self._local, np.array([intervals[i] for i in chosen]), self._rate, self._unit,
                        np.stack([below, masses, above], axis=1)[chosen], 1e3 * self._rounding)

    def moment(self, k: int) -> float:
        """Return E X^k, k = 0, 1, 2, ..."""
        k = integer("k", k, 0)
        return self.expect(lambda x: x**k)

    def mean(self) -> float:
        """Return E X."""
        return self.moment(1)

    def var(self) -> float:
        """Return the variance."""
        centre = self.mean()
        return self.expect(lambda x: (x - centre) ** 2)

    def entropy(self) -> float:
        """Return the differential entropy -E ln pdf(X), in nats; a law with atoms has none: a ValueError.

        To 1e-9, or 1e-6 where the density diverges at an end other than x = 0.
        """
        if self._points:
            raise ValueError(f"entropy needs a law without atoms, got {self} with a mass of "
                             f"{sum(mass for _, mass in self._points):.4g} in {len(self._points)} of them")
        return entropy(self)

    def std(self) -> float:
        """Return the standard deviation."""
        return math.sqrt(self.var())


class Moved(Distribution):
    """A change of variable of `law`: it keeps the law's coordinate t, and with it bands, atoms and probabilities."""

    law: Any

    @property
    def _bands(self) -> tuple[tuple[float, float], ...]:
        return tuple(self.law._bands)

    @property
    def _points(self) -> tuple[tuple[float, float], ...]:
        return tuple(self.law._points)

    @property
    def _rate(self) -> float:
        return float(self.law._rate)

    @property
    def _unit(self) -> float:
        return float(self.law._unit)

    @property
    def _dear(self) -> bool:
        return bool(self.law._dear)

    @property
    def _rounding(self) -> float:
        return float(self.law._rounding)

    def _local(self, t: Array, state: Any = None) -> Local:
        return self.law._local(t, state)
