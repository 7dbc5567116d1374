"""Averages over one band of a law: Gauss-Legendre panels, halved where the density or the averaged function needs it.

In the smooth coordinate of `bands` square-root edges are analytic. Panels are halved until the last Legendre
coefficients vanish: those for the density alone are found once, and what they hold must be the mass of the band.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.polynomial import legendre
from numpy.typing import NDArray

from rmt.laws import bands
from rmt.laws.errors import ConvergenceError

Array = NDArray[np.float64]
Values = Callable[[Array], Array]

_N, _PANELS = 16, 8
_NODE, _WEIGHT = legendre.leggauss(_N)
_COEFFICIENTS = legendre.legvander(_NODE, _N - 1).T * _WEIGHT * (np.arange(_N)[:, None] + 0.5)
_LEVELS, _MOST = 60, 4000  # halvings, panels
_DENSITY, _AVERAGE = 1e-11, 1e-10  # errors allowed, of the mass and of E |f|
_GRAIN = 4e-15  # some units of rounding
_NARROW, _MOST_NOISE = 1e-15, 1e-6  # over width^2: a master curve's noise in a band narrow in ln x, at the most
_OF_NOISE = 1e-2  # of the law's noise: what it may come to over a panel
_LOST_NEAR = 0.3  # relative error of a density that is not known
_NOTHING = 1e-30  # of the mass: f need not be finite there
_LOST = 1e-8  # of the mass: a density that holds less or more is wrong


@dataclass(frozen=True, eq=False)
class Panels:
    """Panels of one band: ends (panels, 2) in the smooth coordinate, at their nodes (panels, 16) density and state."""

    ends: Array
    density: Array
    state: list[NDArray[Any]]

    @property
    def smooth(self) -> Array:
        """The nodes."""
        return _nodes(self.ends)

    @property
    def lengths(self) -> Array:
        """The weights of the nodes."""
        return np.diff(self.ends) / 2 * _WEIGHT

    def part(self, chosen: Any) -> Panels:
        """Return some of them."""
        return Panels(self.ends[chosen], self.density[chosen], [row[chosen] for row in self.state])

    def joined(self, other: Panels) -> Panels:
        """Return both."""
        return Panels(np.r_[self.ends, other.ends], np.r_[self.density, other.density],
                      [np.r_[a, b] for a, b in zip(self.state, other.state, strict=True)])


@dataclass(frozen=True, eq=False)
class Band:
    """A band [lo, hi] of a distribution, and the panels that know its density.

    Attributes
    ----------
    local : function
        What the distribution is at t.
    lo, hi, rate : float
        The band, and how it begins at a hard edge.
    mass : float
        What the density must hold.
    noise, grain : float
        Relative errors: of the density, and of t in units of the band, which moves it by as much of its greatest value.
    panels : Panels
        On which the density is known.
    """

    local: bands.Locate
    lo: float
    hi: float
    rate: float
    mass: float
    noise: float
    grain: float
    panels: Panels

    @staticmethod
    def of(local: bands.Locate, lo: float, hi: float, rate: float, unit: float, mass: float, noise: float) -> Band:
        """Return a band with panels on which its density is resolved; raise `ConvergenceError` if there are none."""
        if math.isinf(lo):
            return Band._known(local, lo, hi, rate, mass, noise, 0.0)
        width = (hi - lo) / (unit + max(abs(lo), abs(hi)))
        grain = _GRAIN / width
        try:
            return Band._known(local, lo, hi, rate, mass, noise, grain)
        except ConvergenceError:
            return Band._known(local, lo, hi, rate, mass, noise, grain + min(_NARROW / width**2, _MOST_NOISE))

    @staticmethod
    def _known(local: bands.Locate, lo: float, hi: float, rate: float, mass: float, noise: float, grain: float) -> Band:
        count = round(min(max(_PANELS * math.sqrt(mass), 2), _PANELS))  # what a band holds says if it is not enough
        ends = np.linspace(0, bands.end(lo, rate), count + 1)
        start = Panels(np.stack([ends[:-1], ends[1:]], axis=1), np.empty((0, _N)), [])
        empty = Band(local, lo, hi, rate, mass, noise, grain, start)
        allowed = max(_DENSITY * mass, _OF_NOISE * noise)  # next to an atom the error of G is not one of the density
        found = empty._settled(empty._at(start.ends, None), lambda panels: panels.density, allowed, "density")
        found = empty._with_ends(found)
        total = float((found.density * found.lengths).sum())
        if not abs(total - mass) <= max(_LOST, noise, grain) * mass + 1e-9:
            raise ConvergenceError(f"the density between {lo!r} and {hi!r} holds {total!r}, not {mass!r}")
        return Band(local, lo, hi, rate, mass, noise, grain, found)

    def _rounding(self, panels: Panels) -> Array:
        """Return the relative error that the rounding of t leaves of a power of the distance from an end."""
        if math.isinf(self.lo):
            return np.zeros(len(panels.ends))
        t = bands.place(panels.smooth.ravel(), self.lo, self.hi)[0].reshape(panels.density.shape)
        nearest = np.minimum(t - self.lo, self.hi - t).min(axis=1)
        return self.grain * (self.hi - self.lo) / np.maximum(nearest, 1e-300)

    def _unresolved(self, panels: Panels) -> NDArray[np.bool_]:
        """Return which panels lie at an end of the band, where that is all of the density."""
        return self._at_end(panels) & (self._rounding(panels) > _LOST_NEAR)

    def _at_end(self, panels: Panels) -> NDArray[np.bool_]:
        """Return which panels touch an end of the band."""
        return (panels.ends[:, 0] == 0) | (panels.ends[:, 1] == bands.end(self.lo, self.rate))

    def _with_ends(self, panels: Panels) -> Panels:
        """Return the panels with the mass that lies within the rounding of an end: next to an atom, it may be much."""
        near = self._unresolved(panels)
        held = (panels.density * panels.lengths).sum(axis=1)
        missing = self.mass - float(held[~near].sum())
        if not near.any() or missing < 0:
            return panels
        share = held[near] / held[near].sum() if held[near].sum() > 0 else np.full(near.sum(), 1 / near.sum())
        density = panels.density.copy()
        density[near] = (missing * share)[:, None] / np.diff(panels.ends[near])
        return Panels(panels.ends, density, panels.state)

    def integral(self, f: Values) -> float:
        """Return the integral of f(t) times the density; raise `ConvergenceError` where it does not settle."""
        def average(panels: Panels) -> Array:
            t = bands.place(panels.smooth.ravel(), self.lo, self.hi)[0]
            value = np.asarray(f(t), dtype=float).reshape(panels.density.shape)
            counts = panels.density * panels.lengths > _NOTHING * self.mass
            return np.multiply(value, panels.density, out=np.zeros(value.shape), where=counts)

        size = float((np.abs(average(self.panels)) * self.panels.lengths).sum())
        if not math.isfinite(size):
            raise ConvergenceError(f"expectation did not settle (about {size!r}): f must be finite on the band")
        if math.isinf(self.lo):
            self._check_bottom(average, size)
        panels = self._settled(self.panels, average, _AVERAGE * size, "expectation")
        return float((average(panels) * panels.lengths).sum())

    def _check_bottom(self, average: Callable[[Panels], Array], size: float) -> None:
        """Raise where what is left below a hard edge's last node counts."""
        last = self.panels.part([int(self.panels.ends[:, 1].argmax())])
        slope = bands.place(last.smooth.ravel(), self.lo, self.hi)[1]
        per_t = np.abs(average(last).ravel() / slope)[-1]
        if per_t > _AVERAGE * size * self.rate:
            t = float(bands.place(last.smooth.ravel(), self.lo, self.hi)[0][-1])
            raise ConvergenceError(f"expectation rests on values below exp({t:.0f}): it may be infinite")

    def _at(self, ends: Array, near: Panels | None) -> Panels:
        """Return panels; the density from the states nearby, if there are any."""
        smooth = _nodes(ends).ravel()
        t, slope = bands.place(smooth, self.lo, self.hi)
        state = None
        if near is not None and near.state:
            known = near.smooth.ravel()
            order = np.argsort(known)
            nearest = order[np.clip(np.searchsorted(known, smooth, sorter=order), 0, known.size - 1)]
            state = [row.ravel()[nearest] for row in near.state]
        found = self.local(t, state)
        shape = (len(ends), _N)
        return Panels(ends, (np.exp(found.log_density) * slope).reshape(shape),
                      [row.reshape(shape) for row in found.state or []])

    def _settled(self, panels: Panels, values: Callable[[Panels], Array], allowed: float, what: str) -> Panels:
        """Return the panels halved until the values on each are a polynomial."""
        done: Panels | None = None
        greatest = 0.0
        for _ in range(_LEVELS):
            found = values(panels)
            if not np.all(np.isfinite(found)):
                raise ConvergenceError(f"{what} did not settle: it must be finite and piecewise smooth on the band")
            last = np.abs(found @ _COEFFICIENTS[-2:].T).max(axis=1)
            width = np.diff(panels.ends)[:, 0]
            most = np.abs(found).max(axis=1)
            greatest = max(greatest, float(most.max()))
            good = (last * width <= allowed) | (last <= self.noise * most) | (last <= self.grain * greatest)
            good |= (last <= self._rounding(panels) * most) & ~self._at_end(panels) | self._unresolved(panels)
            done = panels.part(good) if done is None else done.joined(panels.part(good))
            if good.all():
                return done
            if len(done.ends) + 2 * np.sum(~good) > _MOST:
                break
            wide = panels.part(~good)
            middle = wide.ends.mean(axis=1)
            ends = np.concatenate([np.c_[wide.ends[:, 0], middle], np.c_[middle, wide.ends[:, 1]]])
            panels = self._at(ends, wide)
        raise ConvergenceError(f"{what} did not settle: it must be finite and piecewise smooth on the band")


def _nodes(ends: Array) -> Array:
    """Return the Gauss-Legendre nodes of panels, (panels, 16)."""
    return ends[:, :1] + np.diff(ends) * (1 + _NODE) / 2
