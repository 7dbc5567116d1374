"""The true edges of a free product: where its master curve leaves the real axis.

Outside the support w is real, on v = a + i pi: from w = 0+ at x = inf (a = -inf) through w = inf (a = 0) to
w = -c at the bottom (a = inf), and x falls with a as long as it is outside. So the top edge is the first
turn of x(a) from the left, the bottom edge the first from the right; later turns are not reached. Where a slope law
has little mass at its end, psi is finite there and may end the branch before it turns: there the law ends thin. Gaps
between bands come from laws with several non-zero values, and from projections. Where psi are explicit all are known
(`product_gaps`). Of others they are looked for on a grid of ln x, refined wherever P(X > x) differs across what should
be a gap, and wherever the curve dips toward the real axis.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from fractions import Fraction
from functools import partial

import numpy as np
from scipy.optimize import brentq

from rmt.laws.atoms import at_place, candidates, positive_atoms
from rmt.laws.band_search import REAL, find_bands, polished, turning_point
from rmt.laws.errors import ConvergenceError
from rmt.laws.gap_runs import Gap
from rmt.laws.logistic import sigmoids
from rmt.laws.master_curve import Array, ComplexArray, MasterCurve
from rmt.laws.rational import log_of

# steps of .4 at most: between zeros of x at -c and at -c (1 + d) there is a turn, and another ln 2 behind it
_GRID = np.unique(np.r_[np.geomspace(1e-9, 60.0, 400), np.arange(5.0, 60.0, 0.4)])
_BESIDE_POLES = 10.0 ** np.arange(-9, 0)
_ROUNDING = 1e-11  # in ln x
_NO_MASS = 1e-12
_BESIDE = 1e-9
_NARROW = 1e-12  # of ln x: nearer to each other two places are the same


def is_known_outside(curve: MasterCurve) -> bool:
    """Return whether all that is outside the support is known: the psi are explicit, and not all is atoms.

    Without slopes, where projections take part: else there is one band, known at once.
    """
    if curve.implicit or not (curve.slopes or any(k < 0 for _, k in curve.powers)):
        return False
    return sum((mass for _, mass in positive_atoms(curve)), Fraction(0)) < curve.mass


def has_gaps(curve: MasterCurve) -> bool:
    """Return whether there may be gaps between the ends, all of which are known."""
    return is_known_outside(curve) and not (curve.slopes and all(law.connected for law, *_ in curve.slopes))


def between_gaps(curve: MasterCurve, gaps: Sequence[Gap]) -> tuple[tuple[tuple[float, float], float], ...]:
    """Return the intervals between all gaps, of ln x, exact where an atom or an edge at a known place is, and masses.

    An atom that stands alone has an interval without length.
    """
    known = np.array([log_of(x) for x, _ in candidates(curve)])
    atoms = [log_of(x) for x, _ in positive_atoms(curve)]

    found = [*gaps]
    if found[0].left > -math.inf:
        found.insert(0, Gap(-math.inf, -math.inf, float(curve.mass)))
    out = []
    for a, b in itertools.pairwise(found):
        low, high = (at_place(x, known, _NARROW * (1 + abs(x))) for x in (a.right, b.left))
        if not low < high and low not in atoms:
            raise ConvergenceError(f"a band near ln x = {low:.6g} with the mass {a.above - b.above:.4g} is too narrow "
                                   "for a float")
        out.append(((low, high), a.above - b.above))
    return tuple(out)


def log_support(curve: MasterCurve) -> tuple[tuple[float, float], ...]:
    """Return the intervals (ln lo, ln hi) of the continuous part; ln lo = -inf at a hard edge.

    Without `has_gaps`, for which they lie `between_gaps`.
    """
    singular = [(log_of(x), mass) for x, mass in candidates(curve)]  # where w is infinite
    if sum((mass for _, mass in singular), Fraction(0)) == curve.mass:
        return ()
    if curve.implicit:
        outside = -math.inf if curve.order > 1 else _beyond(curve, -1), _beyond(curve, 1)
        connected = all(law.connected for law, *_ in curve.slopes)
        return (_band(curve, *outside),) if connected else _bands(curve, *outside, False, False)
    top: float | None
    bottom: float | None
    below = _grid_below(curve)
    top, thin_top = _branch_end(curve, -_GRID[::-1])
    bottom, thin_bottom = (-math.inf, False) if curve.order > 1 else _branch_end(curve, below[::-1])
    if curve.slopes and not singular:  # w is infinite at an end of a slope law
        top, bottom = (float(_outside(curve, np.array([side * _GRID[0]]))[0][0]) if end is None else end
                       for side, end in ((-1, top), (1, bottom)))
    if singular:  # a turn at rounding level: x is stationary at w = inf
        top = None if top is not None and abs(top - singular[-1][0]) < _ROUNDING else top
        bottom = None if bottom is not None and abs(bottom - singular[0][0]) < _ROUNDING else bottom
    if curve.slopes:
        bottom, top = singular[0][0] if bottom is None else bottom, singular[-1][0] if top is None else top
        if all(law.connected for law, *_ in curve.slopes):
            return cut((bottom, top), [x for x, mass in singular if mass > 0])
        return _bands(curve, bottom, top, thin_bottom, thin_top)
    if top is None or bottom is None:
        raise ConvergenceError(f"no edge found for {curve}")
    return ((bottom, top),)


def _grid_below(curve: MasterCurve) -> Array:
    """Return the grid of a > 0, closer next to where a 1 + w/m vanishes: d ln x / da has a pole there."""
    poles = [-math.log1p(-float(curve.mass / m)) for m, _ in curve.zeros if m > curve.mass]
    near = 1 + np.r_[-_BESIDE_POLES, _BESIDE_POLES]
    return np.unique(np.concatenate([_GRID, *(pole * near for pole in poles)]))


def _beyond(curve: MasterCurve, side: int) -> float:
    """Return a point above (side 1) or below the support: outside, with no mass behind it."""
    for step in 2.0 ** np.arange(-2, 12):
        log_x = _inside(curve) + side * step
        phase, above = _look(curve, np.array([log_x]))
        if phase[0] <= REAL and abs(above[0] - (0 if side > 0 else _whole(curve))) < _NO_MASS:
            return log_x
    raise ConvergenceError(f"no end of the support found for {curve}")


def _inside(curve: MasterCurve) -> float:
    """Return ln of the mean given x > 0, which lies between the ends of the support."""
    return float(curve.log_inverse_s(0)[0]) - log_of(curve.mass)


def _band(curve: MasterCurve, below: float, above: float) -> tuple[float, float]:
    """Return the ends of the only band."""
    look, turn_near, inside = partial(_look, curve), partial(_turn_near, curve), _inside(curve)
    low, top = (polished(look, turn_near, end, inside, 1.0) if math.isfinite(end) else end for end in (below, above))
    return low, top


def _whole(curve: MasterCurve) -> float:
    """Return the continuous mass."""
    return float(curve.mass - sum((mass for _, mass in positive_atoms(curve)), Fraction(0)))


def _outside(curve: MasterCurve, a: Array) -> tuple[Array, Array]:
    """Return ln x and its derivative at v = a + i pi, on the branches that leave x = inf and x = 0."""
    v: ComplexArray = a + np.complex128(1j * math.pi)
    y: list[ComplexArray] = []
    for law, m, _ in curve.explicit:
        odds = curve.target(law, m, v).real
        s = float(curve.mass / (m * law.mass)) * sigmoids(v)[0].real  # -psi_D / mass
        low, high = law.log_range
        b = law.real_root(odds, np.where(s > 1, -low, -np.inf), np.where(s < 0, -high, np.inf))
        y.append(b + 1j * math.pi * ((s < 0) | (s > 1)))
    log_x, slope = curve.log_x(v, y)
    return log_x.real, slope.real


def _branch_end(curve: MasterCurve, a: Array) -> tuple[float | None, bool]:
    """Return ln x where the branch along the grid ends, None where it does not, and whether it ends without a turn."""
    ends = np.flatnonzero(_room(curve, a) < 0)
    reached = a[: ends[0]] if ends.size else a
    if a[0] < 0 and all(law.connected for law, *_ in curve.slopes) and curve.slopes:
        reached = np.r_[reached[:-8:8], reached[-8:]]  # dear, and at the top a turn is only narrow next to the end
    slope = _outside(curve, reached)[1]
    turns = np.flatnonzero((slope[:-1] < 0) & (slope[1:] >= 0) | (slope[:-1] <= 0) & (slope[1:] > 0))
    if turns.size:
        between = sorted(reached[turns[0] : turns[0] + 2])
        end = brentq(lambda s: float(_outside(curve, np.array([s]))[1][0]), *between, xtol=1e-15, rtol=1e-14)
    elif ends.size:
        end = brentq(lambda s: float(_room(curve, np.array([s]))[0]), *sorted(a[ends[0] - 1 : ends[0] + 1]), xtol=1e-15)
    else:
        return None, False
    return float(_outside(curve, np.array([end]))[0][0]), not turns.size


def _room(curve: MasterCurve, a: Array) -> Array:
    """Return how far the odds of the slope laws at v = a + i pi are from those at the ends of the laws; < 0: beyond."""
    v, room = a + np.complex128(1j * math.pi), np.full(a.size, 1.0)
    for law, m, _ in curve.explicit:
        bottom, top = law.end_odds
        odds, s = curve.target(law, m, v).real, float(curve.mass / (m * law.mass)) * sigmoids(v)[0].real
        room = np.minimum(room, np.where(s < 0, top - odds, np.where(s > 1, np.minimum(odds - bottom, 1.0), 1.0)))
    return room


def _bands(curve: MasterCurve, bottom: float, top: float, thin_bottom: bool,
           thin_top: bool) -> tuple[tuple[float, float], ...]:
    """Split [bottom, top] at its gaps."""
    low = top - 40 * float(curve.order) if math.isinf(bottom) else bottom
    # Where w is infinite without an atom there may be an edge, and a gap as narrow as one likes beside it.
    places = [(log_of(x), mass) for x, mass in candidates(curve)]
    poles, atoms = [x for x, mass in places if mass == 0], [x for x, mass in places if mass > 0]
    near = [pole + side for pole in poles for side in (-1e-6, 1e-6) if low < pole + side < top]
    pole_places = np.array(poles).reshape(-1, 1)

    def look(log_x: Array) -> tuple[Array, Array]:
        at_pole = np.any(np.abs(log_x - pole_places) < _BESIDE, axis=0)  # where there may be no root
        return _look(curve, log_x + _BESIDE * at_pole)

    turn_near = partial(_turn_near, curve)
    known = [end for end in (low, top, *poles) if end not in atoms]
    found = find_bands(look, partial(polished, look, turn_near, unit=1.0), low, top, near, known, 1.0, _whole(curve),
                       starts_inside=thin_bottom or math.isinf(bottom), ends_inside=thin_top,)
    bands = ((bottom, found[0][1]), *found[1:]) if math.isinf(bottom) else found
    return tuple(part for band in bands for part in cut(band, poles)) if curve.implicit else bands


def cut(band: tuple[float, float], places: list[float]) -> tuple[tuple[float, float], ...]:
    """Cut a band at the places inside it, where the density may diverge."""
    low, top = band
    inner = [x for x in places if low + _ROUNDING < x < top - _ROUNDING]
    return tuple(itertools.pairwise([low, *inner, top]))


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
