"""One band of a law: a coordinate in which it is smooth, and its quantiles.

On a finite band t = lo + (hi - lo) sin^2(theta/2); below a hard edge at t = -inf, t = hi + 1 - cosh(u). Either way a
square-root edge becomes smooth and even, so the trapezoidal rule converges exponentially.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from rmt.laws.band_series import TailSeries, tail_series
from rmt.laws.errors import ConvergenceError
from rmt.laws.located import Local

Array = NDArray[np.float64]


Locate = Callable[..., Local]

NODES = 192
_LEAST = 1e-300  # a tail that is less counts as that
_OWN_DIGITS = 1e-3  # of a tail: below, the series has not enough of them


def nodes(lo: float, hi: float, rate: float, n: int = NODES) -> tuple[Array, Array]:
    """Return n nodes t inside the band, increasing, and dt per node."""
    last = end(lo, rate)
    smooth: Array = np.linspace(last / (2 * n), last - last / (2 * n), n)
    t, slope = place(smooth, lo, hi)
    order = slice(None, None, -1) if math.isinf(lo) else slice(None)
    return t[order], slope[order] * (last / n)


def end(lo: float, rate: float) -> float:
    """Return where the smooth coordinate ends: a hard edge, F ~ e^(rate t), is followed to e^-45 of it."""
    return math.acosh(1 + 45.0 / rate) if math.isinf(lo) else math.pi


def place(smooth: Array, lo: Array | float, hi: Array | float) -> tuple[Array, Array]:
    """Return t and |dt/d(smooth)| at theta or u of bands."""
    hard = np.isinf(lo)
    if not np.any(hard):
        return lo + (hi - lo) * np.sin(smooth / 2) ** 2, (hi - lo) / 2 * np.sin(smooth)
    with np.errstate(invalid="ignore"):
        width, u = np.where(hard, 0.0, hi - lo), np.where(hard, smooth, 0.0)
    base = np.where(hard, hi, lo)
    return (np.where(hard, base + 1 - np.cosh(u), base + width * np.sin(smooth / 2) ** 2),
            np.where(hard, np.sinh(u), width / 2 * np.sin(smooth)))


def _smooth(t: Array, lo: float, hi: float) -> Array:
    """Return theta or u at t."""
    if math.isinf(lo):
        return np.arccosh(1 + hi - t)
    return 2 * np.arcsin(np.sqrt((t - lo) / (hi - lo)))


class Table:
    """Quantiles of one band by Newton steps in the logit, bracketed, from a table of nodes."""

    def __init__(self, local: Locate, lo: float, hi: float, rate: float, mass: float, below: float, above: float,
                 unit: float, rounding: float, *, dear: bool = False) -> None:
        self.dear, self.rounding = dear, rounding
        self.local, self.lo, self.hi, self.mass, self.below, self.above = local, lo, hi, mass, below, above
        self._rate = rate if math.isinf(lo) else 0.0
        self._unit = unit

    def _log_odds(self, t: Array, state: Any = None, goal: Array | float = 0.0) -> tuple[Array, Array, Array, Any]:
        """Return logit of the conditional cdf, its derivative, its rounding next to a goal and the solver's state."""
        found = self.local(t, state)
        lower, upper = (np.clip((tail - rest) / self.mass, _LEAST, 1) for tail, rest in (
            (found.lower, self.below), (found.upper, self.above)))
        # of the greater tail: where one rounds to nothing the other may not; at a hard edge `lower` has its digits
        unit, low, high = self.rounding, np.maximum(lower, expit(goal)), np.maximum(upper, expit(-goal))
        rounding = unit / high + (10 * unit if self._rate else unit / low)
        known = np.minimum(lower, upper) > _LEAST  # else it has no slope
        with np.errstate(over="ignore"):
            slope = np.where(known, np.exp(found.log_density) / self.mass / (lower * upper), 0.0)
        return np.log(lower) - np.log(upper), slope, rounding, found.state

    @cached_property
    def _start(self) -> tuple[Array, Array, Any]:
        t, _ = nodes(self.lo, self.hi, self._rate)
        odds, _, _, state = self._log_odds(t)
        return t, np.maximum.accumulate(odds), state

    @cached_property
    def _series(self) -> TailSeries | None:
        def tails(smooth: Array) -> tuple[Array, Array]:
            found = self.local(place(smooth, self.lo, self.hi)[0])
            return (found.lower - self.below) / self.mass, (found.upper - self.above) / self.mass

        return tail_series(tails, end(self.lo, self._rate), hard=math.isinf(self.lo))

    def tails(self, t: Array) -> tuple[Array, Array]:
        """Return the tails at points of the band; of a dear one from the series, but where one is small."""
        if not self.dear or self._series is None:
            return self.local(t).tails
        lower, upper = self._series.tails(_smooth(t, self.lo, self.hi))
        lower, upper = self.below + self.mass * lower, self.above + self.mass * upper
        small = np.minimum(lower, upper) < _OWN_DIGITS
        if small.any():
            lower[small], upper[small] = self.local(t[small]).tails
        return lower, upper

    def quantile(self, q: Array) -> Array:
        """Return t with conditional cdf q inside the band."""
        out = np.where(q <= 0, self.lo, self.hi)
        open_ = np.flatnonzero((q > 0) & (q < 1))
        if open_.size == 0:
            return out
        if self.dear and self._series is not None:
            smooth = self._series.quantile(q[open_])
            known = ~np.isnan(smooth)
            out[open_[known]] = place(smooth[known], self.lo, self.hi)[0]
            open_ = open_[~known]
            if open_.size == 0:
                return out
        node, odds, states = self._start
        goal = np.log(q[open_]) - np.log1p(-q[open_])
        right = np.searchsorted(odds, goal)
        low = np.r_[self.lo, node][right]
        high = np.r_[node, self.hi][right]
        near = np.clip(right, 0, node.size - 1)
        t = np.interp(goal, odds, node)
        if self._rate:  # below the table the law is the power law of its hard edge
            t = np.where(right == 0, node[0] + (goal - odds[0]) / self._rate, t)
        state = [part[near] for part in states]
        todo = np.arange(open_.size)
        for i in range(100):
            value, slope, rounding, state = self._log_odds(t[todo], state, goal[todo])
            # A law may round more than the estimate: after ten steps what is left may grow, to 1e-10 at the most.
            rounding = rounding * min(4.0 ** max(0, i - 10), 1e5)
            miss = goal[todo] - value
            low[todo] = np.where(miss >= 0, t[todo], low[todo])
            high[todo] = np.where(miss <= 0, t[todo], high[todo])
            with np.errstate(divide="ignore", invalid="ignore"):
                step = miss / slope
            grain = 1e-15 * (self._unit + np.abs(t[todo]))
            done = (np.abs(step) <= grain) | (np.abs(miss) <= rounding) | (high[todo] - low[todo] <= 2 * grain)
            new = t[todo] + step
            lost = ~((new > low[todo]) & (new < high[todo]))
            middle = np.where(np.isinf(low[todo]), high[todo] - 2 * np.abs(step) - 1, (low[todo] + high[todo]) / 2)
            t[todo] = np.where(lost, np.where(done, t[todo], middle), new)
            todo, state = todo[~done], [part[~done] for part in state]
            if todo.size == 0:
                out[open_] = t
                return out
        raise ConvergenceError(f"quantile at {q[open_][todo[0]]!r} did not converge (t = {t[todo[0]]!r})")
