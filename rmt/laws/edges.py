"""The true edges of a free product: where its master curve leaves the real axis.

Outside the support w is real, on v = a + i pi: from w = 0+ at x = inf (a = -inf) through w = inf (a = 0) to
w = -c at the bottom (a = inf), and x falls with a as long as it is outside. So the top edge is the first
turn of x(a) from the left, the bottom edge the first from the right; later turns are not reached. Gaps
between bands can only come from laws with several non-zero values. They are looked for on a grid of ln x,
refined wherever P(X > x) differs across what should be a gap, and wherever the curve dips toward the real axis.
"""

from __future__ import annotations

import math
from fractions import Fraction
from functools import partial

import numpy as np
from scipy.optimize import brentq

from rmt.laws.atoms import candidates
from rmt.laws.band_search import find_bands, polished, turning_point
from rmt.laws.errors import ConvergenceError
from rmt.laws.logistic import sigmoids
from rmt.laws.master_curve import Array, ComplexArray, MasterCurve, log_of

_GRID = np.geomspace(1e-9, 60.0, 400)
_ROUNDING = 1e-11  # in ln x


def log_support(curve: MasterCurve) -> tuple[tuple[float, float], ...]:
    """Return the intervals (ln lo, ln hi) of the continuous part; ln lo = -inf at a hard edge."""
    singular = [(log_of(x), mass) for x, mass in candidates(curve) if mass >= 0]  # where w is infinite
    if sum((mass for _, mass in singular), Fraction(0)) == curve.mass:
        return ()
    top = _first_turn(curve, -_GRID[::-1])
    bottom = -math.inf if curve.order > 1 else _first_turn(curve, _GRID[::-1])
    if singular:  # a turn at rounding level: x is stationary at w = inf
        top = None if top is not None and abs(top - singular[-1][0]) < _ROUNDING else top
        bottom = None if bottom is not None and abs(bottom - singular[0][0]) < _ROUNDING else bottom
    if curve.slopes:
        return _bands(curve, singular[0][0] if bottom is None else bottom, singular[-1][0] if top is None else top)
    if top is None:  # an atom, and the rest of the law below it; or an edge at w = inf
        top = _first_turn(curve, _GRID) if singular[-1][1] else singular[-1][0]
    if bottom is None:
        bottom = singular[0][0] if singular and not singular[0][1] else None
    if top is None or bottom is None:
        raise ConvergenceError(f"no edge found for {curve}")
    return ((bottom, top),)


def _outside(curve: MasterCurve, a: Array) -> tuple[Array, Array]:
    """Return ln x and its derivative at v = a + i pi, on the branches that leave x = inf and x = 0."""
    v: ComplexArray = a + np.complex128(1j * math.pi)
    y: list[ComplexArray] = []
    for law, m, _ in curve.slopes:
        odds = curve.target(law, m, v).real
        s = float(curve.mass / (m * law.mass)) * sigmoids(v)[0].real  # -psi_D / mass
        low, high = law.log_range
        b = law.real_root(odds, np.where(s > 1, -low, -np.inf), np.where(s < 0, -high, np.inf))
        y.append(b + 1j * math.pi * ((s < 0) | (s > 1)))
    log_x, slope = curve.log_x(v, y)
    return log_x.real, slope.real


def _first_turn(curve: MasterCurve, a: Array) -> float | None:
    """Return ln x at the first turn of x met along the grid, None where there is none."""
    slope = _outside(curve, a)[1]
    turns = np.flatnonzero((slope[:-1] < 0) & (slope[1:] >= 0) | (slope[:-1] <= 0) & (slope[1:] > 0))
    if turns.size == 0:
        return None
    ends = sorted(a[turns[0] : turns[0] + 2])
    root = brentq(lambda s: float(_outside(curve, np.array([s]))[1][0]), *ends, xtol=1e-15, rtol=1e-14)
    return float(_outside(curve, np.array([root]))[0][0])


def _bands(curve: MasterCurve, bottom: float, top: float) -> tuple[tuple[float, float], ...]:
    """Split [bottom, top] at its gaps."""
    low = top - 40 * float(curve.order) if math.isinf(bottom) else bottom
    # Where w is infinite without an atom there may be an edge, and a gap as narrow as one likes beside it.
    places = [(log_of(x), mass) for x, mass in candidates(curve)]
    poles, atoms = [x for x, mass in places if mass == 0], [x for x, mass in places if mass > 0]
    near = [pole + side for pole in poles for side in (-1e-6, 1e-6) if low < pole + side < top]
    whole = float(curve.mass) - sum(float(mass) for _, mass in places if mass > 0)
    look, turn_near = partial(_look, curve), partial(_turn_near, curve)
    known = [end for end in (low, top, *poles) if end not in atoms]
    found = find_bands(look, partial(polished, look, turn_near, unit=1.0), low, top, near, known, 1.0, whole,
                       starts_inside=math.isinf(bottom))
    return ((bottom, found[0][1]), *found[1:]) if math.isinf(bottom) else found


def _look(curve: MasterCurve, log_x: Array) -> tuple[Array, Array]:
    """Return how far from real the curve is (a phase; 0 in a gap), and the continuous mass above ln x."""
    v, y = curve.solve(log_x.astype(complex))
    tail = curve.tails(v, y)[1]
    for place, mass in candidates(curve):
        if mass > 0:
            tail = tail - float(mass) * (log_x < log_of(place))
    w, rest = sigmoids(v)  # of w and 1 + w/c: outside, both are real
    return np.maximum(np.abs(w.imag / np.abs(w)), np.abs(rest.imag / np.abs(rest))), tail


def _turn_near(curve: MasterCurve, log_x: float) -> float:
    """Return ln x at the turn of the curve on the real axis next to a point just outside."""
    v, y = curve.solve(np.array([log_x + 0j]))

    def turn(a: float) -> tuple[float, float]:
        nonlocal v, y
        v = np.array([a + 1j * math.pi]) if v[0].imag > 1 else np.array([a + 0j])
        y = curve.follow_slopes(v, y)
        at, slope = curve.log_x(v, y)
        return float(at.real[0]), float(slope.real[0])

    return turning_point(turn, float(v[0].real), float(v[0].real) + 1e-6, 1.0)
