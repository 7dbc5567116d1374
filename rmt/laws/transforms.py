"""The transforms of a law at any point: Cauchy-Stieltjes, moment transform, S and R."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rmt.laws.errors import ConvergenceError
from rmt.laws.logistic import in_strip
from rmt.laws.master_curve import MasterCurve
from rmt.laws.psi import Psi

if TYPE_CHECKING:
    Law: TypeAlias = Any  # which stands above, and calls this

Array = NDArray[np.float64]
ComplexArray = NDArray[np.complex128]

_SERIES = 24
_STEPS = 24


def _radius(law: Law) -> float:
    return max(abs(end) for end in law._ends)


def _prepared(name: str, value: ArrayLike) -> tuple[ComplexArray, tuple[int, ...], bool]:
    """Return the points, flat, their shape, and whether they were real."""
    points = np.asarray(value)
    if not np.issubdtype(points.dtype, np.number):
        raise TypeError(f"{name} must be numbers, got {value!r}")
    return points.astype(complex).ravel(), points.shape, not np.iscomplexobj(points)


def _cauchy(law: Law, z: ComplexArray) -> tuple[ComplexArray, ComplexArray]:
    """Return G and G' off the axis in either half plane, on it the limit from above; exact 1/z far away."""
    below = z.imag < 0
    upper = np.where(below, z.conj(), z)
    g, slope = np.full(z.size, np.nan, complex), np.full(z.size, np.nan, complex)
    known = np.isfinite(upper)
    if known.any():
        with np.errstate(divide="ignore", invalid="ignore"):
            found = law._cauchy(upper[known])
            g[known], slope[known] = found.g, found.slope
    g[np.isinf(z)] = slope[np.isinf(z)] = 0
    return np.where(below, g.conj(), g), np.where(below, slope.conj(), slope)


def _known(name: str, points: ComplexArray, out: ComplexArray, law: Law) -> ComplexArray:
    """Return the values, or raise where there is none; NaN stays NaN."""
    if (unknown := np.isnan(out) & ~np.isnan(points)).any():
        raise ConvergenceError(f"{name} has no value at {points[unknown][0]:.6g}, for {law}")
    return out


def _finite(name: str, points: ComplexArray) -> None:
    if np.isinf(points).any():
        raise ValueError(f"{name} must be finite, got {points[np.isinf(points)][0]:g}")


def _inside(law: Law, x: Array) -> NDArray[np.bool_]:
    return np.any([(x > a) & (x < b) for a, b in law.support], axis=0) if law.support else np.zeros(x.size, bool)


@np.errstate(all="ignore")
def stieltjes(law: Law, z: ArrayLike) -> Any:
    """Return G(z) = E 1/(z - X); see `Law.stieltjes`."""
    points, shape, real = _prepared("z", z)
    if real and (inside := _inside(law, points.real)).any():
        raise ValueError(f"real z must lie off the support {law.support}, got {points.real[inside][0]:g}; "
                         "z + 0j gives the limit from above")
    g = _cauchy(law, points)[0]
    at = np.isin(points, list(law.atoms))
    g[at] = np.inf
    g = _known("G", points, g, law)
    return (g.real if real else g).reshape(shape)[()]


@np.errstate(all="ignore")
def psi(law: Law, z: ArrayLike) -> Any:
    """Return G(1/z)/z - 1; see `Law.psi`. Near z = 0, where that cancels, the moments."""
    points, shape, real = _prepared("z", z)
    inverse = np.where(points == 0, np.inf, 1 / points)
    if real and (inside := _inside(law, inverse.real)).any():
        raise ValueError(f"real z must keep 1/z off the support {law.support}, got {points.real[inside][0]:g}; "
                         "use complex z")
    out = np.full(points.size, np.nan, complex)
    near = (np.abs(points) < np.inf) & (np.abs(points) * _radius(law) < 0.02)
    k = np.arange(1, 13)
    out[near] = points[near, None] ** k @ np.array([law.moment(int(j)) for j in k])
    far = ~near & np.isfinite(points)
    out[far] = _cauchy(law, inverse[far])[0] / points[far] - 1
    out[far & np.isin(inverse, [x for x in law.atoms if x])] = np.inf
    out[np.isinf(points)] = law.atoms.get(0.0, 0.0) - 1
    out = _known("psi", points, out, law)
    return (out.real if real else out).reshape(shape)[()]


@np.errstate(all="ignore")
def s_transform(law: Law, w: ArrayLike) -> Any:
    """Return S(w); see `Law.s_transform`."""
    points, shape, real = _prepared("w", w)
    _finite("w", points)
    curve = law.curve
    low = -float(curve.mass)
    if real and np.any(points.real <= low):
        raise ValueError(f"w must be in ({low:g}, psi(1/max)), got {points.real[points.real <= low][0]:g}")
    out = np.full(points.size, np.exp(-curve.log_inverse_s(0)[0]), complex)  # 1/mean at w = 0
    out[np.isnan(points)] = np.nan
    off = ~np.isnan(points) & (points != 0)
    out[off] = np.exp(-_log_inverse_s(curve, points[off]))
    out = _known("S", points, out, law)
    return (out.real if real else out).reshape(shape)[()]


def _log_inverse_s(curve: MasterCurve, w: ComplexArray) -> ComplexArray:
    """Return log(1/S) at w != 0 off the cut; the rows of each factor are followed there along a straight ln w."""
    value = curve.log_scale + float(curve.drift) * w
    for m, k in curve.powers:
        value += float(k) * np.log(1 + w / float(m))
    for law, m, k in curve.slopes:
        goal = np.log(np.where(w.imag > 0, w.conj(), w) / -float(m * law.mass))
        goal = goal.real + 1j * np.abs(goal.imag)  # of s = -psi/mass, in the upper half plane
        start = np.minimum(goal.real, math.log(0.5 * float(curve.mass / (m * law.mass))))
        rows = [row.astype(complex) for row in law.real_rows(start - np.log(-np.expm1(start)), 1e-13)]
        for step in np.linspace(0, 1, _STEPS + 1)[1:]:
            log_s = start + step * (goal - start)
            rows = _follow(law, rows, log_s - np.log(1 - np.exp(log_s)))
        log_u = np.log(1 - float(law.mass) * np.exp(goal))
        part = goal + math.log(law.mass) - rows[0] - log_u
        value += float(k) * np.where(w.imag > 0, part.conj(), part)
    return value


def _follow(law: Psi, rows: list[ComplexArray], log_odds: ComplexArray) -> list[ComplexArray]:
    """Return the rows with logit(-psi/mass) = log_odds, from those nearby."""
    for _ in range(60):
        steps, *_ = law.correction(rows, log_odds, np.ones_like(log_odds))
        size = np.max(np.abs(steps), axis=0)
        rows = [in_strip(row + step * np.minimum(1, 0.4 / np.maximum(size, 1e-100)))
                for row, step in zip(rows, steps, strict=True)]
        if np.all(np.abs(steps) <= 1e-14 * (1 + np.abs(rows))):
            return rows
    raise ConvergenceError("S-transform: psi does not reach w")


@np.errstate(all="ignore")
def r_transform(law: Law, w: ArrayLike) -> Any:
    """Return R(w); see `Law.r_transform`."""
    points, shape, real = _prepared("w", w)
    _finite("w", points)
    out = np.full(points.size, np.nan, complex)
    cumulants = law._cumulants(_SERIES)
    near = np.abs(points) * _radius(law) < 0.03
    out[near] = points[near, None] ** np.arange(_SERIES) @ cumulants
    far = ~near & ~np.isnan(points)
    if far.any():
        if real:
            ends = np.nextafter(law._ends, [-np.inf, np.inf])
            low, high = (sign * math.inf if end in law.atoms else float(g.real) for sign, end, g in zip(
                (-1, 1), law._ends, _cauchy(law, ends.astype(complex))[0], strict=True))
            if np.any(outside := (points.real[far] < low) | (points.real[far] > high)):
                raise ValueError(f"w must be in ({low:g}, {high:g}), the values of G outside the support, "
                                 f"got {points.real[far][outside][0]:g}")
        out[far] = law._r_transform_at(points[far])
    out = _known("R", points, out, law)
    return (out.real if real else out).reshape(shape)[()]


def inverse_cauchy(law: Law, g: ComplexArray) -> ComplexArray:
    """Return z with G(z) = g, followed from infinity along g times a factor that rises to one."""
    mean = law.mean()
    factor = 0.03 / (np.abs(g) * _radius(law))
    z = 1 / (factor * g) + mean
    for step in np.linspace(1, 0, _STEPS):
        goal = g * factor**step
        for _ in range(40):
            value, slope = _cauchy(law, z)
            shift = (goal - value) / slope
            shift *= np.minimum(1, 0.5 * np.abs(z - mean) / np.maximum(np.abs(shift), 1e-300))
            z = z + shift
            if np.all(np.abs(shift) <= 1e-14 * np.abs(z)) or np.all(np.abs(goal - value) <= 1e-15 * np.abs(goal)):
                break
        else:
            if not step:
                raise ConvergenceError(f"R-transform: no z with G(z) = {g[np.argmax(np.abs(shift))]:.6g} off the "
                                       f"support of {law}")
    if not np.all(np.isfinite(z)):
        raise ConvergenceError(f"R-transform of {law}: not converged")
    return z
