"""The root of a master curve at x: Newton in v and the rows of every factor, from the negative axis if need be.

Rows are what a factor needs beside v: the first is its y, zeta = -e^y; a residual block has more (`residual_psi`).
Every y lies on the strip 0 <= Im <= pi.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from rmt.laws.errors import ConvergenceError
from rmt.laws.logistic import in_strip, logistic, sigmoids
from rmt.laws.nearest import nearest
from rmt.laws.one_factor import gaussian_root, slope_root
from rmt.laws.psi import Array, ComplexArray

MasterCurve: TypeAlias = Any  # which stands above, and calls this

BoolArray = NDArray[np.bool_]
Root = tuple[ComplexArray, list[ComplexArray]]  # v and the rows

# Angles of x: steps of at most .4 while the root moves, then down to the axis, where an edge may be near.
_ANGLES = (*np.linspace(math.pi, 0.4, 8)[1:], *(0.4 / 4.0 ** np.arange(1, 22)), 0.0)
_SMALL_STEPS = (*np.linspace(math.pi, 0.1, 41)[1:], *(0.1 / 1.5 ** np.arange(1, 69)), 0.0)
_SMALLEST = (*np.linspace(math.pi, 0.1, 161)[1:], *(0.1 / 1.1 ** np.arange(1, 294)), 0.0)
_MANY, _EVERY = 64, 8  # of so many points without a root nearby one in some is followed first
_SMALL = 1e-6  # no residual of rounding is larger
_STILL = 1e-3  # rows that still move are no solution, however little y lacks
_THIN, _NOISE = 1e-3, 1e-12  # Im v that noise might be, and that of ln x by a contour,
_CLEAR = 1e-5  # and how far from i pi, at an atom: nearer, v moves ln x by less
_ON_AXIS = 1e-9  # Im of what rounding leaves of rows that are real
_NO_ANGLE = 1e-9  # of x, over which a root may be taken for that at x,
_MOVED, _NO_MASS = 1e-3, 1e-12  # and by how much v, and a tail, may change
_REAL = 1e-7  # Im v of a root inside a band, at least: nearer to an edge it is not told from a real one


def solve(curve: MasterCurve, log_x: ComplexArray, *, quick: bool = False) -> Root:
    """Return v and the rows of every factor at ln x; see `MasterCurve.solve`."""
    otherwise = _unknown if quick else _turned
    if curve.one_gaussian and np.all(np.abs(log_x.real - curve.log_scale) < 600):
        return gaussian_root(log_x - curve.log_scale, float(curve.powers[0][0])), []
    if curve.alone:
        v, y = slope_root(log_x - curve.log_scale, curve.alone)
        return v, [y]
    deepest = min((law.deepest for law, *_ in curve.slopes), default=math.inf)
    if deepest == math.inf:
        return newton_or(otherwise, curve, log_x, *_guess(curve, log_x))
    v_table, log_table, rows = curve.axis_table
    below = np.maximum(np.interp(deepest, v_table, log_table) - log_x.real, 0.0)  # there all are straight lines
    root, inner = newton_or(otherwise, curve, log_x + below, *_guess(curve, log_x + below))
    step = below / float(curve.order)
    return root + step, [row + step * (table[-1] - table[-2]) / (v_table[-1] - v_table[-2])
                         for row, table in zip(inner, rows, strict=True)]


def newton_or(otherwise: Callable[[MasterCurve, ComplexArray], Root], curve: MasterCurve, log_x: ComplexArray,
              v: ComplexArray, y: list[ComplexArray]) -> Root:
    """Return the root at ln x by Newton from (v, y) or from the nearest root, and otherwise where neither is proved."""
    v, y, done = _tried(curve, log_x, v, y)
    for every in (_EVERY, 1) if done.size > _MANY and otherwise is _turned else (1,):
        if done.any() and not done.all():
            left, found = np.flatnonzero(~done), np.flatnonzero(done)
            near = found[nearest(log_x[left], log_x[found])]
            v[left], rows, done[left] = _tried(curve, log_x[left], v[near], [row[near] for row in y])
            _put(y, left, rows)
        if (some := np.flatnonzero(~done)[::every]).size:  # then the others start from those
            v[some], rows = otherwise(curve, log_x[some])
            _put(y, some, rows)
            done[some] = True
    return v, y


def _put(y: list[ComplexArray], at: NDArray[np.intp], rows: list[ComplexArray]) -> None:
    """Overwrite rows at some of the points."""
    for row, part in zip(y, rows, strict=True):
        row[at] = part


def _tried(curve: MasterCurve, log_x: ComplexArray, v: ComplexArray,
           y: list[ComplexArray]) -> tuple[ComplexArray, list[ComplexArray], BoolArray]:
    """Return Newton's end from (v, y), and where it is proved to be the root."""
    v, y, done = _newton(curve, log_x, v, y, np.zeros(v.size))
    return v, y, done & _proved(curve, log_x, v, y)


def follow_slopes(curve: MasterCurve, v: ComplexArray, y: list[ComplexArray]) -> list[ComplexArray]:
    """Return the rows at v, from those at a nearby v."""
    at, last = logistic(v), math.inf
    for _ in range(30):
        steps = [step for correction in curve.system(at, y)[2] for step in correction.shift]
        y = _kept(curve, y, steps)
        size = max((float(np.max(np.abs(step) / (1 + np.abs(y_l)))) for step, y_l in zip(steps, y, strict=True)),
                   default=0.0)
        if size <= 1e-13 or last / 2 < size <= 1e-9:  # down to rounding, which many factors raise
            return y
        last = size
    raise ConvergenceError("master curve: the slope laws do not follow the curve")


def _guess(curve: MasterCurve, log_x: ComplexArray) -> Root:
    """Return v and y right at both ends of x and not far between, from the negative axis.

    Im v falls from pi to pi / order with x; Re v moves as for one zero of that order, to second order in the turn.
    """
    v, y, rates = _negative_axis(curve, log_x.real)
    order, turn = max(float(curve.order), 2.0), math.pi - log_x.imag
    u = 1 / (1 + np.exp(-np.maximum(v.real, -50)))
    share = (1 - u) / (1 - u + (1 + order) * u)
    move = 1j * turn * (1 / order + (1 - 1 / order) * share)
    move += turn**2 / 2 * (order - 1) * u * (1 - u) / (1 + (order - 1) * u) ** 3
    return v + move, _kept(curve, y, [rate * move for rate in rates])


@np.errstate(all="ignore")  # what is no root may be anything
def _proved(curve: MasterCurve, log_x: ComplexArray, v: ComplexArray, y: list[ComplexArray]) -> BoolArray:
    """Return where a solution is certainly the root.

    The y inside the strip that are turned at least as far as x are unique (Belinschi and Bercovici 2007), and
    so is v inside the strip without them. A real solution is the root if x + i0 moves it into the strip, and on the
    negative axis.
    """
    on_axis = (log_x.imag == math.pi) & np.all([np.abs(row.imag) < _ON_AXIS for row in (v, *y)], axis=0)
    turned = (math.pi - v.imag) / _from_infinity(v)
    inside = np.minimum(v.imag, turned) > _REAL
    for (y_l, *inner), (law, *_) in zip(curve.rows(y), curve.slopes, strict=True):
        inside &= y_l.imag + log_x.imag <= math.pi + 1e-9
        inside &= law.valid(inner)
    nearly, off = _REAL if curve.noisy else 1e-14, np.minimum(v.imag, math.pi - v.imag)
    thin = inside & (off < _THIN) & (_from_infinity(v) > _CLEAR)
    if curve.noisy and thin.any():  # noise over the slope may be that far off the axis
        slope = curve.system(logistic(v[thin]), [row[thin] for row in y])[1]
        inside[thin] = off[thin] * np.abs(slope) > _NOISE
    inside |= on_axis
    real = turned <= nearly
    if not real.any():
        return inside
    _, slope, corrections = curve.system(logistic(v), y)
    real &= (slope.real < 0) & _still(corrections)
    for correction, rows in zip(corrections, curve.rows(y), strict=True):
        real &= (math.pi - rows[0].imag <= nearly) & (correction.gain[0].real / slope.real <= -1 + 1e-9)
        for row, gain in zip(rows[1:], correction.gain[1:], strict=True):  # of a stream some have no such proof
            real &= (math.pi - np.abs(row.imag) <= nearly) & (row.imag * gain.real / slope.real <= 0)
    return inside | real


def _still(corrections: list[Any]) -> BoolArray:
    """Return where no row but the first of each factor moves."""
    shifts = [np.abs(shift) for correction in corrections for shift in correction.shift[1:]]
    return np.asarray(np.all(np.less(shifts, _STILL), axis=0))


def _from_infinity(v: ComplexArray) -> Array:
    """Return how far v is from i pi, where w is infinite: at the most 1."""
    return np.clip(np.abs(v - 1j * math.pi), 1e-300, 1.0)


@np.errstate(all="ignore")
def _turned(curve: MasterCurve, log_x: ComplexArray) -> Root:
    """Return the root at ln x, followed from the negative axis; raise if it is lost."""
    v, y, _ = _negative_axis(curve, log_x.real)
    last, todo = np.full(log_x.size, math.pi), np.arange(log_x.size)
    for angles in (_ANGLES, _SMALL_STEPS, _SMALLEST):
        at, rows, last, kept = _along(curve, log_x[todo], angles, v[todo], [row[todo] for row in y], last)
        v[todo] = at
        _put(y, todo, rows)
        if angles is _ANGLES and len(rows) > len(curve.slopes):  # from a step too far rows may end at their strips
            kept &= _still(curve.system(logistic(at), rows)[2])
        if kept.all():
            return v, y
        # in small steps, from where the root was last proved, or anew
        sure = (_proved(curve, log_x[todo] + 1j * last, at, rows) & (last > 0))[~kept]
        todo, last = todo[~kept], np.where(sure, last[~kept], math.pi)
        anew = todo[~sure]
        v[anew], rows, _ = _negative_axis(curve, log_x[anew].real)
        _put(y, anew, rows)
    raise ConvergenceError(f"master curve: no root at ln x = {log_x[todo][0]:.6g}")


def _unknown(curve: MasterCurve, log_x: ComplexArray) -> Root:
    """Return NaN: no root is followed."""
    return np.full(log_x.size, np.nan, dtype=complex), [np.full(log_x.size, np.nan, dtype=complex)
                                                        for law, *_ in curve.slopes for _ in range(law.rows)]


def _along(curve: MasterCurve, log_x: ComplexArray, angles: Sequence[float], v: ComplexArray, y: list[ComplexArray],
           last: Array) -> tuple[ComplexArray, list[ComplexArray], Array, BoolArray]:
    """Return the root at ln x, followed over angles from (v, y) at the last, there; and where it was not lost."""
    kept, moved, least = np.ones(log_x.size, dtype=bool), np.full(log_x.size, np.inf), log_x.imag.min(initial=math.pi)
    for turn in (*(a for a in angles if a > least), least):
        behind = np.maximum(turn - log_x.imag, 0.0)
        on = np.flatnonzero(kept & (behind < last))
        if not on.size:
            continue
        behind = behind[on]
        at, rows, done = _newton(curve, log_x[on] + 1j * behind, v[on], [row[on] for row in y], 1e-3 * behind)
        kept[on] = done | _there(curve, v[on], last[on], moved[on])
        new = on[done]
        moved[new], last[new] = np.abs(at[done] - v[new]), behind[done]
        v[new] = at[done]
        _put(y, new, [row[done] for row in rows])
    return v, y, last, kept


def _there(curve: MasterCurve, v: ComplexArray, angle: Array, moved: Array) -> BoolArray:
    """Return where the root at an angle from x, to which v moved, is that at x as far as x itself is known.

    w is hardly another there. Tails are stationary in w: they change by no more than the angle times that of w.
    """
    s, rest = sigmoids(v)
    with np.errstate(over="ignore"):
        change = float(curve.mass) * np.abs(s * rest) * moved * angle
    return (angle < _NO_ANGLE) & (moved < _MOVED * _from_infinity(v)) & (change < _NO_MASS)


@np.errstate(all="ignore")  # where it strays there is no root, and it says so
def _newton(curve: MasterCurve, target: ComplexArray, v: ComplexArray, y: list[ComplexArray],
            loose: Array) -> tuple[ComplexArray, list[ComplexArray], BoolArray]:
    """Return a solution at ln x = target near (v, y), and where there is: Newton in both, the y eliminated."""
    tolerance = 1e-15 * (curve.rounding + np.abs(target))  # of the target and of the sum over a deep product
    ends, done = [v.copy(), *(y_l.copy() for y_l in y)], np.zeros(target.size, dtype=bool)
    todo, last = np.arange(target.size), np.full(target.size, np.inf)
    for i in range(40):
        value, derivative, corrections = curve.system(logistic(v), y)
        miss = sum((part.k * part.shift[0] for part in corrections), target - value)
        off = sum((np.abs(part.shift[0]) for part in corrections), np.abs(miss))
        step = miss / derivative
        size, reach = np.abs(step), np.maximum(0.4, 0.5 * (np.abs(v.real) - 8))  # far from |v| ~ 1 nearly linear
        if (far := size > reach).any():
            step[far] *= reach[far] / size[far]
        steps = [shift + gain * step for correction in corrections
                 for shift, gain in zip(correction.shift, correction.gain, strict=True)]
        v, y = in_strip(v + step), _kept(curve, y, steps)
        whole = sum((np.abs(move) for move in steps), size)
        settled = (whole <= 1e-15 * (1 + np.abs(v))) | (off <= loose)
        if (off < _SMALL).any():
            # y is only known to its rounding over the slope of the logit, and to that of v times its gain
            rounding = sum((1e-15 * (1 + k) * ((8 + np.abs(v) + noise * share) / np.abs(slope) + np.abs(v * gain[0]))
                            for (k, _, gain, slope, share), noise in zip(corrections, curve.noises, strict=True)),
                           tolerance)
            # next to an edge a residual that is rounding leaves a step that is not: it goes on while it shrinks
            settled |= (off <= rounding) & (whole >= 0.5 * last)
        if i:  # the error that a quadratic convergence leaves: w turns over a length of |v - i pi|
            settled |= whole**2 * np.maximum(whole / last**2, 1 / _from_infinity(v)) <= 1e-16
        if settled.any():
            for end, part in zip(ends, (v, *y), strict=True):
                end[todo] = part
            done[todo] = settled
            left = ~settled
            todo, v, y = todo[left], v[left], [y_l[left] for y_l in y]
            target, tolerance, loose, whole = target[left], tolerance[left], loose[left], whole[left]
            if todo.size == 0:
                break
        last = whole
    for end, part in zip(ends, (v, *y), strict=True):
        end[todo] = part
    return ends[0], ends[1:], done


def _kept(curve: MasterCurve, y: list[ComplexArray], steps: list[ComplexArray]) -> list[ComplexArray]:
    """Return the rows after a step, every y in its strip and every other row in its own."""
    moved = [row + step for row, step in zip(y, steps, strict=True)]
    for first, *others in curve.rows(moved):
        in_strip(first)
        for row in others:
            row.imag = np.minimum(np.maximum(row.imag, -math.pi), math.pi)
    return moved


def _negative_axis(curve: MasterCurve, log_x: Array) -> tuple[ComplexArray, list[ComplexArray], list[Array]]:
    """Return the unique real root at -|x|, near enough for Newton, and how fast the rows move with v.

    Ln |x| falls from inf to -inf with v. Beyond the table it and the rows are straight lines.
    """
    v_table, log_table, rows = curve.axis_table
    v = np.interp(-log_x, -log_table, v_table)
    left, right = np.maximum(log_x - log_table[0], 0), np.maximum(log_table[-1] - log_x, 0)
    v = v - left + right / float(curve.order)
    rates = [np.gradient(row, v_table) for row in rows]
    y = [np.interp(v, v_table, row) + np.minimum(v - v_table[0], 0) + np.maximum(v - v_table[-1], 0) * rate[-1]
         for row, rate in zip(rows, rates, strict=True)]
    return v.astype(complex), [row.astype(complex) for row in y], [np.interp(v, v_table, rate) for rate in rates]
