"""Averages over the bands of a law: Gauss-Legendre panels, halved where the density or the averaged function needs it.

In the smooth coordinate of `bands` square-root edges are analytic. Panels are halved until the last Legendre
coefficients vanish, and where the tails at its ends say that one holds another mass, which no node saw. Those for the
density alone are found once, of all bands at once, and what they hold must be the mass of their band.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.polynomial import legendre
from numpy.typing import NDArray

from rmt.laws import bands
from rmt.laws.errors import ConvergenceError
from rmt.laws.located import Local

Array = NDArray[np.float64]
IntArray = NDArray[np.intp]
BoolArray = NDArray[np.bool_]
Values = Callable[[Array], Array]

_N, _PANELS = 16, 8
_NODE, _WEIGHT = legendre.leggauss(_N)
_COEFFICIENTS = legendre.legvander(_NODE, _N - 1).T * _WEIGHT * (np.arange(_N)[:, None] + 0.5)
_LEVELS, _MOST = 60, 4000  # halvings, panels of a band
_BLOCK = 2**12  # points at a time
_DENSITY, _AVERAGE = 1e-11, 1e-10  # errors allowed, of the mass and of E |f|
_GRAIN = 4e-15  # some units of rounding
_NARROW, _MOST_NOISE = 1e-15, 1e-6  # over width^2: a master curve's noise in a band narrow in ln x, at the most
_HARMLESS, _ROUGH = 1e-11, 0.1  # an error times the width of a band, in units; and an error, at the most
_OF_NOISE = 1e-2  # of the law's noise: what it may come to over a panel
_LOST_NEAR = 0.3  # relative error of a density that is not known
_LITTLE = 1e-6  # of a band: so near to an end a function is what it is there
_NOTHING = 1e-30  # of the mass: f need not be finite there
_UNSEEN = 32  # panels of a band that may hold what no node saw: more say that the tails are no better known
_LOST = 1e-8  # of the mass: a density that holds less or more is wrong


@dataclass(frozen=True, eq=False)
class Panels:
    """Panels: of which band, ends (panels, 2) in its smooth coordinate, density and state at nodes (panels, 16)."""

    band: IntArray
    ends: Array
    density: Array
    state: list[NDArray[Any]]

    @property
    def smooth(self) -> Array:
        """The nodes."""
        return self.ends[:, :1] + np.diff(self.ends) * (1 + _NODE) / 2

    @property
    def lengths(self) -> Array:
        """The weights of the nodes."""
        return np.diff(self.ends) / 2 * _WEIGHT

    @property
    def held(self) -> Array:
        """The mass that every panel holds."""
        return np.asarray((self.density * self.lengths).sum(axis=1))

    def part(self, chosen: Any) -> Panels:
        """Return some of them."""
        return Panels(self.band[chosen], self.ends[chosen], self.density[chosen], [row[chosen] for row in self.state])

    def joined(self, other: Panels) -> Panels:
        """Return both; states where both have them."""
        both = zip(self.state, other.state, strict=True) if len(self.state) == len(other.state) else ()
        return Panels(np.r_[self.band, other.band], np.r_[self.ends, other.ends], np.r_[self.density, other.density],
                      [np.r_[a, b] for a, b in both])

    def halved(self) -> tuple[IntArray, Array]:
        """Return the bands and ends of their halves."""
        middle = self.ends.mean(axis=1)
        return np.r_[self.band, self.band], np.r_[np.c_[self.ends[:, 0], middle], np.c_[middle, self.ends[:, 1]]]


@dataclass(frozen=True, eq=False)
class Bands:
    """Bands [low, high] of a distribution, and the panels that know its density.

    Attributes
    ----------
    local : function
        What the distribution is at t.
    low, high : arrays
        The bands; the first may begin at -inf, a hard edge.
    rate : float
        How it begins there.
    mass, below, above : arrays
        What the density of each must hold, P(-inf < T <= low) and P(T > high).
    noise, grain : float, array
        Relative errors: of the density, and of t in units of the band, which moves it by as much of its greatest value.
    rough : array
        Relative errors of the density that are harmless: over a narrow band no function changes by more.
    panels : Panels
        On which the density is known.
    """

    local: bands.Locate
    low: Array
    high: Array
    rate: float
    mass: Array
    below: Array
    above: Array
    noise: float
    grain: Array
    rough: Array
    panels: Panels

    @staticmethod
    def of(local: bands.Locate, ends: Array, rate: float, unit: float, masses: Array, noise: float) -> Bands:
        """Return bands (n, 2) with panels on which their density is resolved; `ConvergenceError` if there are none.

        `masses` (n, 3) are those below, of and above each.
        """
        low, high = ends.T
        below, mass, above = masses.T
        hard, start = np.isinf(low), np.where(np.isinf(low), high - 1, low)
        width = (high - start) / (unit + np.maximum(np.abs(start), np.abs(high)))
        grain, rough = np.where(hard, 0.0, np.array([[_GRAIN], [_HARMLESS]]) / width)
        empty = Panels(np.empty(0, dtype=np.intp), np.empty((0, 2)), np.empty((0, _N)), [])
        found = Bands(local, low, high, rate, mass, below, above, noise, grain, np.minimum(rough, _ROUGH), empty)
        panels, lost = found._resolved(np.arange(low.size))
        if lost:
            more = np.where(hard, 0.0, np.minimum(_NARROW / width**2, _MOST_NOISE))
            found = replace(found, grain=np.where(np.isin(np.arange(low.size), list(lost)), grain + more, grain))
            again, lost = found._resolved(np.array(list(lost)))
            panels = panels.joined(again)
        if lost:
            raise ConvergenceError(next(iter(lost.values())))
        share = np.bincount(panels.band, panels.held, low.size) / mass
        share = np.where(np.maximum(found.grain, found.rough) > _LOST, share, 1.0)[panels.band]
        return replace(found, panels=replace(panels, density=panels.density / share[:, None]))

    def _resolved(self, chosen: IntArray) -> tuple[Panels, dict[int, str]]:
        """Return panels of some bands, and of those where the density is not resolved, why."""
        count = np.clip(np.round(_PANELS * np.sqrt(self.mass[chosen])), 2, _PANELS).astype(int)
        band = np.repeat(chosen, count)
        step = np.concatenate([np.arange(n) / n for n in count])
        width = self._ends[band]
        start = self._at(band, np.c_[step * width, (step + 1 / np.repeat(count, count)) * width], None)
        # next to an atom, G's error is not its own
        allowed = np.maximum(np.maximum(_DENSITY, self.rough) * self.mass, _OF_NOISE * self.noise)
        found, lost = self._settled(start, lambda panels: panels.density, allowed, "density")
        found, more = self._holding(found, allowed)
        found = self._with_tails(found)
        lost |= more
        total = np.bincount(found.band, found.held, self.low.size)
        room = np.maximum(self._room, _LOST * self.mass) + 1e-9
        for i in chosen[~(np.abs(total - self.mass) <= room)[chosen]].tolist():
            lost.setdefault(i, f"the density between {float(self.low[i])!r} and {float(self.high[i])!r} holds "
                               f"{float(total[i])!r}, not {float(self.mass[i])!r}")
        return found.part(~np.isin(found.band, list(lost))), lost

    @property
    def _ends(self) -> Array:
        """Where the smooth coordinate of every band ends."""
        return np.where(np.isinf(self.low), bands.end(-math.inf, self.rate), math.pi)

    @property
    def _room(self) -> Array:
        """How far the mass of a panel may be off."""
        return np.maximum(np.maximum(_AVERAGE, self.noise), np.maximum(self.grain, self.rough)) * self.mass

    def _holding(self, panels: Panels, allowed: Array) -> tuple[Panels, dict[int, str]]:
        """Return the panels, halved where the tails at the ends of one say that it holds another mass."""
        room, done, lost = self._room, panels.part([]), dict[int, str]()
        for _ in range(_LEVELS):
            off = np.abs(panels.held - self._between(panels, panels))
            missed = (off > room[panels.band]) & ~self._unresolved(panels)
            missed &= np.bincount(panels.band[missed], minlength=room.size)[panels.band] <= _UNSEEN
            done = done.joined(panels.part(~missed))
            if not missed.any():
                break
            wide = panels.part(missed)
            panels, more = self._settled(self._at(*wide.halved(), wide), lambda panels: panels.density, allowed,
                                         "density")
            lost |= more
            change = np.bincount(panels.band, panels.held, room.size) - np.bincount(wide.band, wide.held, room.size)
            idle = (np.abs(change) < room / 2)[panels.band]  # halving finds nothing: what all hold together decides
            done, panels = done.joined(panels.part(idle)), panels.part(~idle)
        return done, lost

    def _between(self, panels: Panels, near: Panels) -> Array:
        """Return the mass between the ends of panels, by the smaller tail, from the states of those nearby."""
        band, smooth = np.repeat(panels.band, 2), panels.ends.ravel()
        deep = np.isinf(self.low[band])
        at_low, at_high = np.where(deep, smooth == self._ends[band], smooth == 0), np.where(
            deep, smooth == 0, smooth == self._ends[band])
        lower = self.below[band] + np.where(at_high, self.mass[band], 0.0)
        upper = self.above[band] + np.where(at_low, self.mass[band], 0.0)
        if (inner := ~(at_low | at_high)).any():
            t = bands.place(smooth[inner], self.low[band[inner]], self.high[band[inner]])[0]
            lower[inner], upper[inner] = self._located(t, _nearest(band[inner], smooth[inner], near)).tails
        less = (lower < upper).reshape(-1, 2).all(axis=1)
        lower, upper = (np.diff(tail.reshape(-1, 2))[:, 0] for tail in (lower, upper))
        return np.abs(np.where(less, lower, upper))

    def _rounding(self, panels: Panels) -> Array:
        """Return the relative error that the rounding of t leaves of a power of the distance from an end."""
        low, high = (end[panels.band] for end in (self.low, self.high))
        t = self._places(panels)[0]
        nearest = np.minimum(t - low[:, None], high[:, None] - t).min(axis=1)
        with np.errstate(invalid="ignore"):
            found = self.grain[panels.band] * (high - low) / np.maximum(nearest, 1e-300)
        return np.where(np.isinf(low), 0.0, found)

    def _widths(self, panels: Panels) -> Array:
        """Return the lengths of panels in t."""
        low, high = (end[panels.band, None] for end in (self.low, self.high))
        return np.abs(np.diff(bands.place(panels.ends, low, high)[0])[:, 0])

    def _places(self, panels: Panels) -> tuple[Array, Array]:
        """Return t and dt/d(smooth) at the nodes."""
        return bands.place(panels.smooth, self.low[panels.band, None], self.high[panels.band, None])

    def _unresolved(self, panels: Panels) -> BoolArray:
        """Return which panels have no density for rounding: at an end of the band, and where they are as small."""
        band = panels.band
        with np.errstate(invalid="ignore", divide="ignore"):
            share = self.grain[band] * (self.high - self.low)[band] / self._widths(panels)
        small = ~np.isinf(self.low[band]) & (share > _LOST_NEAR)
        return small | (self._at_end(panels) & (self._rounding(panels) > _LOST_NEAR))

    def _at_end(self, panels: Panels) -> BoolArray:
        """Return which panels touch an end of their band."""
        return (panels.ends[:, 0] == 0) | (panels.ends[:, 1] == self._ends[panels.band])

    def _with_tails(self, panels: Panels) -> Panels:
        """Return the panels with masses as the tails have them within rounding of an end, where it may be much.

        And in what is little of the band at an end, where the density that G has there holds another.
        """
        low, high = self.low[panels.band], self.high[panels.band]
        little = self._widths(panels) < _LITTLE * np.where(np.isinf(low), 1.0, high - low)
        unresolved = self._unresolved(panels)
        chosen = np.flatnonzero(unresolved | (self._at_end(panels) & little))
        if not chosen.size:
            return panels
        some, density = panels.part(chosen), panels.density.copy()
        between = self._between(some, panels)
        known = ~unresolved[chosen] & (np.abs(some.held - between) <= self._room[some.band])
        density[chosen] = np.where(known[:, None], some.density, between[:, None] / np.diff(some.ends))
        return replace(panels, density=density)

    def integral(self, f: Values) -> float:
        """Return the integral of f(t) times the density; raise `ConvergenceError` where it does not settle."""
        def average(panels: Panels) -> tuple[Array, BoolArray]:
            value = np.asarray(f(self._places(panels)[0].ravel()), dtype=float).reshape(panels.density.shape)
            counts = panels.density * panels.lengths > _NOTHING * self.mass[panels.band, None]
            return np.where(counts, value, 0.0), counts

        def varying(panels: Panels) -> Array:  # what f does over a panel, whose mass is known, decides
            value, counts = average(panels)
            middle = value.sum(axis=1, keepdims=True) / np.maximum(counts.sum(axis=1, keepdims=True), 1)
            return np.where(counts, value - middle, 0.0) * panels.density

        found = average(self.panels)[0] * self.panels.density
        size = np.bincount(self.panels.band, (np.abs(found) * self.panels.lengths).sum(axis=1), self.low.size)
        if not np.isfinite(size).all():
            raise ConvergenceError(f"expectation did not settle (about {size.sum()!r}): f must be finite on the band")
        self._check_bottom(found, size)
        panels, lost = self._settled(self.panels, varying, _AVERAGE * size, "expectation", keep=True)
        if lost:
            raise ConvergenceError(next(iter(lost.values())))
        return float((average(panels)[0] * panels.density * panels.lengths).sum())

    def _check_bottom(self, found: Array, size: NDArray[Any]) -> None:
        """Raise where what is left below a hard edge's last node counts."""
        for band in np.flatnonzero(np.isinf(self.low)).tolist():
            last = int(np.where(self.panels.band == band, self.panels.ends[:, 1], -1.0).argmax())
            t, slope = self._places(self.panels.part([last]))
            if np.abs(found[last] / slope[0])[-1] > _AVERAGE * size[band] * self.rate:
                raise ConvergenceError(f"expectation rests on values below exp({t[0, -1]:.0f}): it may be infinite")

    def _at(self, band: IntArray, ends: Array, near: Panels | None) -> Panels:
        """Return panels; the density from the states nearby, if there are any."""
        panels = Panels(band, ends, np.empty((len(ends), _N)), [])
        t, slope = self._places(panels)
        found = self._located(t.ravel(), _nearest(np.repeat(band, _N), panels.smooth.ravel(), near))
        return Panels(band, ends, np.exp(found.log_density).reshape(t.shape) * slope,
                      [row.reshape(t.shape) for row in found.state or []])

    def _located(self, t: Array, state: list[NDArray[Any]] | None) -> Local:
        """Return what the distribution is, a block of points at a time."""
        if t.size <= _BLOCK:
            return self.local(t, state)
        parts = [self.local(t[i : i + _BLOCK], state and [row[i : i + _BLOCK] for row in state])
                 for i in range(0, t.size, _BLOCK)]
        rows = [part.state or [] for part in parts]
        known = zip(*rows, strict=True) if len({len(each) for each in rows}) == 1 else ()

        def tails() -> tuple[Array, Array]:
            return np.concatenate([part.lower for part in parts]), np.concatenate([part.upper for part in parts])

        return Local(np.concatenate([part.log_density for part in parts]), [np.concatenate(each) for each in known],
                     tails)

    def _settled(self, panels: Panels, values: Callable[[Panels], Array], allowed: NDArray[Any],
                 what: str, *, keep: bool = False) -> tuple[Panels, dict[int, str]]:
        """Return the panels halved until the values on each are a polynomial, and the bands where they are not.

        To `keep` the mass of a panel, in both of its halves together.
        """
        done, lost = panels.part([]), dict[int, str]()
        greatest = np.zeros(self.low.size)
        why = f"{what} did not settle: it must be finite and piecewise smooth on the band"
        for _ in range(_LEVELS):
            found, band = values(panels), panels.band
            with np.errstate(invalid="ignore"):
                last = np.abs(found @ _COEFFICIENTS[-2:].T).max(axis=1)
            most = np.abs(found).max(axis=1, initial=0.0)
            np.maximum.at(greatest, band, most)
            good = (last * np.diff(panels.ends)[:, 0] <= allowed[band]) | (last <= self.noise * most)
            good |= last <= self.grain[band] * greatest[band]
            good |= (last <= self._rounding(panels) * most) & ~self._at_end(panels) | self._unresolved(panels)
            finite = np.isfinite(found).all(axis=1)
            done = done.joined(panels.part(good & finite))
            count = np.bincount(np.r_[done.band, band[~good], band[~good]], minlength=self.low.size)
            lost |= dict.fromkeys([*band[~finite].tolist(), *np.flatnonzero(count > _MOST).tolist()], why)
            wide = panels.part(~good & ~np.isin(band, list(lost)))
            if not wide.band.size:
                return done, lost
            panels = self._at(*wide.halved(), wide)
            if keep:
                total = panels.held.reshape(2, -1).sum(axis=0)
                share = np.divide(wide.held, total, out=np.ones(total.size), where=total > 0)
                panels = replace(panels, density=panels.density * np.r_[share, share][:, None])
        return done, lost | dict.fromkeys(panels.band.tolist(), why)


def _nearest(band: IntArray, smooth: Array, near: Panels | None) -> list[NDArray[Any]] | None:
    """Return the states of the nearest nodes, if there are any."""
    if near is None or not near.state:
        return None
    room = 1e3  # more than any smooth coordinate
    known = (room * near.band[:, None] + near.smooth).ravel()
    order = np.argsort(known)
    nearest = order[np.clip(np.searchsorted(known, room * band + smooth, sorter=order), 0, known.size - 1)]
    return [row.ravel()[nearest] for row in near.state]
