"""The differential entropy -E ln pdf, whose integrand has logarithms at the ends: the double exponential rule."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from rmt.laws.errors import ConvergenceError

if TYPE_CHECKING:
    Distribution: TypeAlias = Any  # which stands above, and calls this

_TAIL = 50.0  # a hard edge is followed to e^-50 of its mass
_REACH = 4.0  # of the rule: further out its weights are under 1e-36
_SETTLED, _ENOUGH = 1e-11, 1e-6  # what more points may change at best, and at all: next to an infinite end t rounds
_HALVINGS = 6


def entropy(law: Distribution) -> float:
    """Return the entropy of a law without atoms, in nats; see `Distribution.entropy`."""
    total = 0.0
    for lo, hi in law._bands:
        total += _of_band(law, lo if math.isfinite(lo) else hi - _TAIL / law._rate, hi)
    return total


def _of_band(law: Distribution, lo: float, hi: float) -> float:
    """Return the integral of -f ln pdf over a band, halving the step of the rule until it settles."""
    last, change = math.nan, math.inf
    for halving in range(_HALVINGS):
        step = 0.25 / 2**halving
        v = np.arange(-_REACH, _REACH + step / 2, step)
        below, above = (1 / (1 + np.exp(sign * math.pi * np.sinh(v))) for sign in (-1, 1))
        t = np.where(v < 0, lo + (hi - lo) * below, hi - (hi - lo) * above)
        weight = (hi - lo) * step * math.pi * np.cosh(v) * below * above
        inside = (t > lo) & (t < hi)
        log_f = law._local(t[inside]).log_density
        with np.errstate(invalid="ignore"):
            terms = np.exp(log_f) * (law._log_dx_dt(t[inside]) - log_f)
        total = float(np.where(np.isneginf(log_f), 0.0, terms) @ weight[inside])
        change, last = abs(total - last), total
        if change <= _SETTLED * (1 + abs(total)):
            break
    if not change <= _ENOUGH * (1 + abs(last)):
        raise ConvergenceError(f"entropy of {law} did not settle (about {last:.9g})")
    return last
