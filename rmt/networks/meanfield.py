"""Mean field of wide fully connected networks at initialization: fixed points, depth scales, the phase diagram.

Poole et al. (2016), Schoenholz et al. (2017), Hayou et al. (2019). A layer u = W phi(u_before) + b, entries of W of
variance sigma_w^2 / fan_in and of b bias_std^2, carries the variance q of an entry to sigma_w^2 E phi(sqrt(q) z)^2 +
bias_std^2, z ~ N(0, 1). At a fixed point q it carries the correlation c of two inputs to (sigma_w^2 E phi(u1) phi(u2)
+ bias_std^2) / q, and multiplies the squared norm of a gradient by chi = sigma_w^2 E phi'(sqrt(q) z)^2.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rmt import plotting
from rmt.checks import Number, number
from rmt.networks import activations
from rmt.networks.activations import ActivationFunction
from rmt.networks.correlation_map import MARGIN, root, stable_correlation

Array = NDArray[np.float64]

LARGEST = 1e5  # of sigma_w and bias_std: their fixed points are then inside the table
_DECADES = ((-12, -4, 8), (-4, 4, 48), (4, 24, 4))  # from, to, how many a decade: dense where phi turns
_ROUNDING = 1e-14  # of F(q) / q - 1
_OFF = 1e-200  # of E phi'^2: below, every unit is off
_CRITICAL = 1e-6  # of chi - 1, in the phase diagram
_BARELY = 1e-30  # the variance that stands for 0+ where phi has a kink at 0
_BLOCK = 2**22  # numbers at a time


class NoFixedPoint(ValueError):
    """The variance has no fixed point here; the message says what happens instead."""


@dataclass(frozen=True)
class FixedPoint:
    """A variance of the preactivation that a layer leaves, and whether a small departure from it dies out.

    Stable is |slope of the map| < 1; at variance 0 with slope 1, whether iteration from above comes down to it (tanh
    at sigma_w = 1 does, like 1/(2 l)). Where every variance is fixed none is stable.
    """

    variance: float
    stable: bool


@dataclass(frozen=True)
class DepthScales:
    """Layers over which a departure from the fixed point falls by e; inf where it does not fall exponentially.

    Of the correlation of two inputs, xi_c = -1 / ln(sigma_w^2 E phi'(u1) phi'(u2)), and of the variance,
    xi_q = -1 / ln|chi + sigma_w^2 E phi'' phi|.
    """

    correlation: float
    variance: float


@dataclass(frozen=True)
class CriticalPoint:
    """A weight scale at which chi = 1 at a fixed point of the variance, and whether that is stable (`FixedPoint`)."""

    sigma_w: float
    variance: float
    stable: bool


@dataclass(frozen=True, eq=False)
class PhaseDiagram:
    """The phases of a grid of initializations; every grid has a row per bias_std, a column per sigma_w.

    variance is that of `fixed_point`, chi and correlation (c*) are taken there. region is "critical" (|chi - 1| <=
    1e-6), "ordered" (chi < 1), "chaotic" or "unbounded": no fixed point. The variance is then inf, chi its limit as the
    variance grows, and the correlation 1, towards which it goes if phi ends up like a leaky ReLU. trainable_depth is
    that of `trainable_depth`, and NaN where the variance is unbounded.
    """

    activation: str
    sigma_w: Array
    bias_std: Array
    variance: Array
    chi: Array
    correlation: Array
    region: NDArray[np.str_]
    trainable_depth: Array

    def plot(self, ax: Any = None) -> Any:
        """Draw the regions and the critical line; return the axes."""
        return plotting.phase_diagram(self, ax)


def fixed_point(activation: str | ActivationFunction, *, sigma_w: Number, bias_std: Number = 0.0) -> FixedPoint:
    """Return the fixed point of the variance that iteration from variance 1 reaches.

    It is the first above 1 if the variance grows at 1, the first below if it falls; 1 itself where it is fixed, as
    everything is for ReLU at sigma_w^2 = 2. Where E phi^2 falls with the variance (no function of
    `rmt.activations` does) iteration may overstep it, or circle around it if it is not stable.

    Parameters
    ----------
    activation : str or activation
        As `rmt.activations` has it, by name too.
    sigma_w : float
        In (0, 1e5]; sigma_w^2 is the variance of a weight times fan_in.
    bias_std : float
        In [0, 1e5].

    Raises
    ------
    NoFixedPoint
        The variance grows without bound.
    """
    phi, w, b = _door(activation, sigma_w, bias_std)
    q = float(_reached(phi, np.array([w]), np.array([b]))[0])
    if q == math.inf:
        last, square, slope, _ = (x[-1] for x in _table(phi))
        settled = abs(last * slope / square - 1) < 0.01
        how = f"by a factor that tends to {w * square / last:.6g}" if settled else "faster than by any factor"
        raise NoFixedPoint(f"{_here(phi, sigma_w, bias_std)}: no fixed point, the variance grows {how} a layer")
    return FixedPoint(q, _stable(phi, w, b, q))


def fixed_points(activation: str | ActivationFunction, *, sigma_w: Number,
                 bias_std: Number = 0.0) -> tuple[FixedPoint, ...]:
    """Return every fixed point of the variance up to 1e24, increasing; () where there is none.

    Two that coincide to rounding, where the map touches the diagonal, are not seen. Where every variance is a fixed
    point, ValueError.
    """
    phi, w, b = _door(activation, sigma_w, bias_std)
    q, sign = (row[0] for row in _scan(phi, np.array([w]), np.array([b])))
    if not sign.any():
        raise ValueError(f"{_here(phi, sigma_w, bias_std)}: every variance is a fixed point (fixed_point gives 1)")
    at = np.flatnonzero(sign)
    change = np.flatnonzero(sign[at[1:]] != sign[at[:-1]])
    found = _variance_root(phi, np.full(change.size, w), np.full(change.size, b), q[at[change]], q[at[change + 1]])
    return tuple(FixedPoint(x, _stable(phi, w, b, x)) for x in [0.0] * int(sign[0] == 0) + found.tolist())


def chi(activation: str | ActivationFunction, *, variance: ArrayLike, sigma_w: Number) -> Any:
    """Return sigma_w^2 E phi'(sqrt(variance) z)^2, by how much a layer multiplies a gradient's squared norm.

    For a number or an array of variances >= 0; at 0 it is the limit from above, the mean of both sides of a kink at 0.
    """
    phi, w, _ = _door(activation, sigma_w, 0.0)
    return (w * _squared_slope(phi, _array("variance", variance, axis=False)))[()]


def correlation_fixed_point(activation: str | ActivationFunction, *, sigma_w: Number, bias_std: Number = 0.0) -> float:
    """Return the stable fixed point c* in [0, 1] of the correlation of two inputs, the variance at its own.

    1 where chi <= 1, and at variance 0 by convention; the one root below 1 where chi > 1.
    """
    phi, w, b = _door(activation, sigma_w, bias_std)
    _check_continuous(phi)
    q = fixed_point(phi, sigma_w=sigma_w, bias_std=bias_std).variance
    return float(_correlation(phi, np.array([w]), np.array([b]), np.array([q]))[0])


def depth_scales(activation: str | ActivationFunction, *, sigma_w: Number, bias_std: Number = 0.0) -> DepthScales:
    """Return how many layers the correlation of two inputs and their variance take to forget the input.

    inf where the slope of the map is 1 to 1e-12, or beyond; 0 where it is 0.
    """
    phi, w, _ = _door(activation, sigma_w, bias_std)
    q = fixed_point(phi, sigma_w=sigma_w, bias_std=bias_std).variance
    c = correlation_fixed_point(phi, sigma_w=sigma_w, bias_std=bias_std)
    return DepthScales(_scale(w * float(phi.slope_cross(max(q, _BARELY), c))),
                       _scale(w * float(_square_growth(phi, np.array(q)))))


def trainable_depth(activation: str | ActivationFunction, *, sigma_w: Number, bias_std: Number = 0.0) -> float:
    """Return 6 xi_c, about the number of layers that still train (Schoenholz et al. 2017); inf at criticality."""
    return 6 * depth_scales(activation, sigma_w=sigma_w, bias_std=bias_std).correlation


def critical_point(activation: str | ActivationFunction, *, bias_std: Number = 0.0) -> CriticalPoint:
    """Return the sigma_w with chi = 1 at a fixed point of the variance.

    Every function of `rmt.activations` has at most one. GELU's is not stable for bias_std^2 < .17292239, SiLU's for
    bias_std^2 < .55514317 (the half-stable points of Roberts, Yaida and Hanin 2022): there, and a little above,
    `fixed_point` at its sigma_w finds another, or none. Of several, where a function of your own has them, it is the
    stable one of least variance. Where every variance is fixed, as for ReLU, the variance is 1.

    NoFixedPoint where there is none: ReLU with a bias, and softplus, whose variance is never fixed where chi = 1.
    """
    phi, _, b = _door(activation, 1.0, bias_std)
    _check_continuous(phi)
    nodes, square, _, squared_slope = (part[_table(phi)[3] > _OFF] for part in _table(phi))
    gap = nodes - square / squared_slope - b  # zero where both hold, as sigma_w^2 = 1 / E phi'^2
    sign = np.where(np.abs(gap) <= _ROUNDING * nodes, 0.0, np.sign(gap))
    at = np.flatnonzero(sign)
    if not at.size:
        return CriticalPoint(1 / math.sqrt(float(_squared_slope(phi, np.ones(())))), 1.0, False)
    change = np.flatnonzero(sign[at[1:]] != sign[at[:-1]])
    q = root(lambda x: x - phi.cross(x, 1.0) / _squared_slope(phi, x) - b, nodes[at[change]], nodes[at[change + 1]])
    found = []
    for x in [0.0] * int(gap[0] == 0) + q.tolist():
        w = 1 / float(_squared_slope(phi, np.array(x)))
        found.append(CriticalPoint(math.sqrt(w), x, _stable(phi, w, b, x)))
    if not found:
        raise NoFixedPoint(f"{phi} at bias_std = {float(bias_std):g}: no critical point, as no variance is fixed "
                           "where chi = 1")
    return min(found, key=lambda point: (not point.stable, point.variance))


def phase_diagram(activation: str | ActivationFunction, sigma_w: ArrayLike, bias_std: ArrayLike) -> PhaseDiagram:
    """Return the phases of every pair of a sigma_w in (0, 1e5] and a bias_std in [0, 1e5], of two sequences."""
    phi = activations.activation(activation)
    _check_continuous(phi)
    axes = _array("sigma_w", sigma_w, open_low=True), _array("bias_std", bias_std)
    bias, weight = (x.ravel() ** 2 for x in np.meshgrid(axes[1], axes[0], indexing="ij"))
    q, rows = np.empty(weight.size), _BLOCK // _table(phi)[0].size
    for i in range(0, q.size, rows):
        q[i : i + rows] = _reached(phi, weight[i : i + rows], bias[i : i + rows])
    bounded = np.isfinite(q)
    growth = weight * _squared_slope(phi, np.where(bounded, q, _table(phi)[0][-1]))
    c = np.ones(q.size)
    c[bounded] = _correlation(phi, weight[bounded], bias[bounded], q[bounded])
    region = np.select([~bounded, np.abs(growth - 1) <= _CRITICAL, growth < 1],
                       ["unbounded", "critical", "ordered"], "chaotic")
    depth = np.full(q.size, math.nan)
    slope = weight[bounded] * phi.slope_cross(np.maximum(q[bounded], _BARELY), c[bounded])
    depth[bounded] = [6 * _scale(x) for x in slope.tolist()]
    shape = axes[1].size, axes[0].size
    return PhaseDiagram(str(phi), *axes, q.reshape(shape), growth.reshape(shape), c.reshape(shape),
                        region.reshape(shape), depth.reshape(shape))


@lru_cache(maxsize=32)
def _table(phi: ActivationFunction) -> tuple[Array, Array, Array, Array]:
    """Return q from 0 on, and there E phi^2, its slope, and E phi'^2: they know no sigma_w and no bias."""
    decades = [np.linspace(low, high, (high - low) * many, endpoint=False) for low, high, many in _DECADES]
    q = np.r_[0.0, 10.0 ** np.r_[*decades, _DECADES[-1][1]]]
    with np.errstate(over="ignore", invalid="ignore"):
        found = [q, phi.cross(q, 1.0), _square_growth(phi, q), _squared_slope(phi, q)]
    finite = np.isfinite(found).all(axis=0)
    end = q.size if finite.all() else int(np.argmin(finite))  # a phi of the user's own may overflow
    if q[end - 1] < 1:
        raise ValueError(f"{phi} must have a finite mean square at variance 1")
    return found[0][:end], found[1][:end], found[2][:end], found[3][:end]


def _square_growth(phi: ActivationFunction, q: Array) -> Array:
    """Return dE phi^2/dq = E phi(u) phi'(u) u / q; at q = 0, where only phi(0) = 0 asks for it, E phi'^2."""
    slope = phi.square_growth(np.where(q > 0, q, 1.0))
    return np.where(q > 0, slope, _squared_slope(phi, np.zeros(())))


def _squared_slope(phi: ActivationFunction, q: Array) -> Array:
    return np.asarray(phi.slope_cross(np.maximum(q, _BARELY), 1.0))


def _scan(phi: ActivationFunction, w: Array, b: Array) -> tuple[Array, Array]:
    """Return variances, and the sign of F(q) - q there, 0 to rounding: a row per pair (w, b).

    Between the table's variances stand others: where F(q) - q turns back towards 0, or an unused one of sign 0.
    """
    nodes, square, growth, _ = _table(phi)

    def sign_of(q: Array, square: Array, w: Array, b: Array) -> Array:
        excess = w * square + b - q
        return np.where(np.abs(excess) <= _ROUNDING * q, 0.0, np.sign(excess))

    q, sign = np.empty((w.size, 2 * nodes.size - 1)), np.zeros((w.size, 2 * nodes.size - 1))
    q[:, ::2], q[:, 1::2] = nodes, (nodes[1:] + nodes[:-1]) / 2
    sign[:, ::2] = here = sign_of(nodes, square, w[:, None], b[:, None])
    slope = w[:, None] * growth - 1
    noise = MARGIN * (1 + w[:, None] / np.sqrt(np.maximum(nodes, _BARELY)))
    away = here * np.where(np.abs(slope) > noise, slope, 0.0)  # from 0, as q grows
    row, j = np.nonzero((here[:, 1:] == here[:, :-1]) & (away[:, :-1] < 0) & (away[:, 1:] > 0))
    if row.size:
        turn = root(lambda x, v: v * _square_growth(phi, x) - 1, nodes[j], nodes[j + 1], w[row])
        q[row, 2 * j + 1], sign[row, 2 * j + 1] = turn, sign_of(turn, phi.cross(turn, 1.0), w[row], b[row])
    return q, sign


def _reached(phi: ActivationFunction, w: Array, b: Array) -> Array:
    """Return the fixed point that iteration from q = 1 reaches, inf where there is none; w = sigma_w^2, b its bias."""
    q, sign = _scan(phi, w, b)
    one = 2 * int(np.argmin(np.abs(_table(phi)[0] - 1)))
    found = np.ones(w.size)
    for up, direction in ((1.0, slice(one, None)), (-1.0, slice(one, None, -1))):
        rows = np.flatnonzero(sign[:, one] == up)
        x, s = q[rows, direction], up * sign[rows, direction]
        place, end = np.arange(x.shape[1]), (s < 0).argmax(axis=1)
        start = np.where((s > 0) & (place < end[:, None]), place, 0).max(axis=1)
        hit = np.flatnonzero(end)
        found[rows] = math.inf if up > 0 else 0.0
        found[rows[hit]] = _variance_root(phi, w[rows[hit]], b[rows[hit]], x[hit, start[hit]], x[hit, end[hit]])
    return found


def _variance_root(phi: ActivationFunction, w: Array, b: Array, low: Array, high: Array) -> Array:
    return root(lambda q, v, d: v * phi.cross(q, 1.0) + d - q, low, high, w, b)


def _stable(phi: ActivationFunction, w: float, b: float, q: float) -> bool:
    slope = abs(w * float(_square_growth(phi, np.array(q))))
    if q == 0 and abs(slope - 1) <= MARGIN:  # the first variances where it moves decide
        sign = _scan(phi, np.array([w]), np.array([b]))[1][0]
        return bool(sign[np.argmax(sign != 0)] < 0)
    return slope < 1 - MARGIN


def _correlation(phi: ActivationFunction, w: Array, b: Array, q: Array) -> Array:
    return stable_correlation(phi, w, b, q, _squared_slope(phi, q))


def _scale(slope: float) -> float:
    return math.inf if abs(slope) >= 1 - MARGIN else -1 / math.log(abs(slope)) if slope else 0.0


def _check_continuous(phi: ActivationFunction) -> None:
    """Raise where phi jumps: inputs next to each other then part at once, whatever chi is."""
    if jumps := phi.jumps:
        raise ValueError(f"activation must be continuous here, and {phi} jumps at {jumps[0][0]:g}: any two inputs that "
                         "differ part there, however near, so that chi = 1 is no border of chaos (`chi` and "
                         "`fixed_point` know it)")


def _door(activation: str | ActivationFunction, sigma_w: Number,
          bias_std: Number) -> tuple[ActivationFunction, float, float]:
    """Return the function, sigma_w^2 and bias_std^2."""
    phi = activations.activation(activation)
    w = float(number("sigma_w", sigma_w, 0, open_low=True, high=LARGEST))
    return phi, w**2, float(number("bias_std", bias_std, 0, high=LARGEST)) ** 2


def _here(phi: ActivationFunction, sigma_w: Number, bias_std: Number) -> str:
    return f"{phi} at sigma_w = {float(sigma_w):g}, bias_std = {float(bias_std):g}"


def _array(name: str, values: ArrayLike, *, open_low: bool = False, axis: bool = True) -> Array:
    """Return an array of floats inside the range, of one dimension for an axis of a diagram."""
    array = np.asarray(values)
    if not array.size or (axis and array.ndim != 1):
        raise ValueError(f"{name} must be a sequence of at least one number, got an array of shape {array.shape}")
    high = LARGEST if axis else math.inf
    return np.array([float(number(name, x, 0, open_low=open_low, high=high)) for x in array.ravel().tolist()]
                    ).reshape(array.shape)
