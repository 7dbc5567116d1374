"""Two monotone changes of variable of a positive law: s = sqrt x, and ln x."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from rmt import plotting
from rmt.checks import integer, positive
from rmt.laws.distribution import Array, Moved
from rmt.laws.located import Local
from rmt.text import short

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    Law: TypeAlias = Any  # which stands above, and calls this


@dataclass(frozen=True, repr=False)
class _View(Moved):
    law: Law

    def _named(self, view: str) -> str:
        text = repr(self.law)
        return f"({text}).{view}" if " " in text else f"{text}.{view}"

    def __str__(self) -> str:
        return short(repr(self))


@dataclass(frozen=True, repr=False)
class Spectrum(_View):
    """The law of singular values s = sqrt(x); the same methods as a law, in s."""

    def __repr__(self) -> str:
        return self._named("spectrum")

    def __mul__(self, factor: object) -> Spectrum:
        """Return the spectrum of factor * J."""
        return (self.law * positive("factor", factor) ** 2).spectrum

    __rmul__ = __mul__

    def __truediv__(self, divisor: object) -> Spectrum:
        """Return the spectrum of J / divisor."""
        return (self.law / positive("divisor", divisor) ** 2).spectrum

    def _t(self, x: Array) -> Array:
        with np.errstate(divide="ignore", invalid="ignore"):
            return self.law._t_of_log(2 * np.log(x))

    def _x(self, t: Array) -> Array:
        return np.exp(self.law._log_x(t) / 2)

    def _log_dx_dt(self, t: Array) -> Array:
        return self.law._log_dx_dt(t) - self.law._log_x(t) / 2 - math.log(2)

    @property
    def atoms(self) -> dict[float, float]:
        """The point masses: {point: mass}."""
        return {math.sqrt(x): mass for x, mass in self.law.atoms.items()}

    @property
    def squared(self) -> Any:
        """The law of x = s^2."""
        return self.law

    @cached_property
    def log(self) -> LogView:
        """The law of ln s given s > 0."""
        return LogView(self.law, 0.5)

    def moment(self, k: int) -> float:
        """Return E s^k; even moments are those of x."""
        k = integer("k", k, 0)
        return self.law.moment(k // 2) if k % 2 == 0 else super().moment(k)

    @property
    def log_edges(self) -> tuple[float, float]:
        """Ln of the least and of the greatest non-zero s the law allows (-inf at a hard edge)."""
        ends = [t for band in self._bands for t in band] + [t for t, _ in self.log._points]
        low, high = self.law._log_x(np.array([min(ends), max(ends)]))
        return float(low) / 2, float(high) / 2

    @property
    def condition_number(self) -> float:
        """Ratio of the edges of the non-zero part; infinite at a hard edge."""
        low, high = self.log_edges
        return math.exp(min(high - low, 709.0)) if low > -math.inf else math.inf

    def log_condition_number_at(self, n: int) -> float:
        """Return ln of `condition_number_at`, which may exceed a float."""
        n = integer("n", n)
        return self.log_edges[1] - float(self.log.ppf(min(0.274 / n, 0.5)))

    def condition_number_at(self, n: int) -> float:
        """Return the typical condition number of n non-zero values: top edge over the .274/n quantile.

        Within .2 in ln of simulated products of 1 to 10 square Gaussian matrices (THEORY 4).
        """
        return math.exp(min(self.log_condition_number_at(n), 709.0))

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw the density of log10 s given s > 0, atoms as stems."""
        return plotting.spectrum(self, ax)

    def quantiles(self, n: int) -> Array:
        """Return the n quantiles at (k - 1/2)/n, descending, zeros included."""
        n = integer("n", n)
        return np.asarray(self.ppf((np.arange(n, 0, -1) - 0.5) / n))


@dataclass(frozen=True, repr=False)
class LogView(_View):
    """The law of power * ln x given x > 0 (power 1, or 1/2 for ln s)."""

    power: float = 1.0

    def __repr__(self) -> str:
        return self._named("log" if self.power == 1 else "spectrum.log")

    @cached_property
    def _given(self) -> float:
        return float(1 - sum(mass for x, mass in self.law._point_masses if x == 0))

    @property
    def _counted(self) -> float:
        """The mass at x = 0 where that is not at t = -inf, so that the law's `lower` has it."""
        pairs = zip(self.law._points, self.law._point_masses, strict=True)
        return sum((mass for (t, mass), (x, _) in pairs if x == 0 and t > -math.inf), 0.0)

    @property
    def _continuous(self) -> float:
        return float(self.law._continuous) / self._given

    @property
    def _points(self) -> tuple[tuple[float, float], ...]:
        pairs = zip(self.law._points, self.law._point_masses, strict=True)
        return tuple((t, mass / self._given) for (t, mass), (x, _) in pairs if x)

    def _local(self, t: Array, state: Any = None) -> Local:
        found, given = self.law._local(t, state), self._given
        return Local(found.log_density - math.log(given), found.state,
                     lambda: ((found.lower - self._counted) / given, found.upper / given))

    def _t(self, x: Array) -> Array:
        with np.errstate(over="ignore"):
            return self.law._t_of_log(x / self.power)

    def _x(self, t: Array) -> Array:
        return self.law._log_x(t) * self.power

    def _log_dx_dt(self, t: Array) -> Array:
        return self.law._log_dx_dt(t) - self.law._log_x(t) + math.log(self.power)
