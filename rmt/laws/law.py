"""A law of free probability: what its log-potential says of it, and how laws combine.

The one primitive is U(z) = E log(z - X) in the upper half plane, with its derivatives G = U' (the Cauchy transform)
and G'. On the axis, z = x + i0, P(X > x) = Im U / pi and the density is -Im G / pi.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable
from fractions import Fraction
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rmt import plotting
from rmt.checks import Number, integer
from rmt.laws import asymptotics, bands, series, transforms
from rmt.laws.asymptotics import Edge
from rmt.laws.distribution import Array, Distribution
from rmt.laws.errors import ConvergenceError
from rmt.laws.law_psi import LawPsi
from rmt.laws.located import Cauchy, Local
from rmt.laws.master_curve import MasterCurve
from rmt.laws.rational import as_float
from rmt.laws.views import LogView, Spectrum
from rmt.text import short

if TYPE_CHECKING:
    from matplotlib.axes import Axes

ComplexArray = NDArray[np.complex128]

_FEW = 8
_FAR = 1e300  # a coordinate ln x of what is not zero lies above -_FAR
_CLEAR = 5.0  # |ln| of a density, in units of the law's scale, that no edge or atom is near

# How laws combine, a table (operation, type of each operand) -> rule, filled by `convolution` and `free_sum`.
RULES: dict[tuple[str, type, type], Callable[[Any, Any], Law]] = {}


class Law(Distribution):
    """The law of a random variable of free probability; `*` is the FREE product, `+` the FREE sum.

    ``a * b`` is the free multiplicative convolution, ``a ** k`` its power (real k >= 1), both of positive laws;
    ``a + b`` the free additive convolution; ``2.5 * a`` the law of 2.5 X, ``a + 1.0`` that of X + 1, ``-a`` that of -X
    (``a - b``, ``1 - a``, ``a / 2`` are what they say), and ``a.compress(t)`` that of a corner of t N rows and columns.
    """

    __array_ufunc__ = None  # an array times a law is refused, not spread over the array

    def __str__(self) -> str:
        """The `repr`, which rebuilds the law, shortened where it is long: for messages and pictures."""
        return short(repr(self))

    # ---- the primitive --------------------------------------------------------------------------------

    @abstractmethod
    def _cauchy(self, z: ComplexArray, state: Any = None) -> Cauchy:
        """Return G, G' and U at z in the closed upper half plane, and a state from which a nearby z is quicker."""

    def _branch_from(self, omega: ComplexArray) -> ComplexArray:
        """Return the parameter of `_branch` at omega."""
        return omega

    @property
    def _branch_strip(self) -> float:
        """The largest imaginary part of the parameter."""
        return math.inf

    def _branch(self, at: ComplexArray) -> tuple[ComplexArray, ...]:
        """Return z, dz, G, dG and h = 1/G - z along a parameter that needs no root: by itself z."""
        found = self._cauchy(at)
        return at, np.ones_like(at), found.g, found.slope, 1 / found.g - at

    @property
    def _searched(self) -> bool:
        """Whether the parameter is z for want of a better, and each point a search for a root."""
        return False

    def _branch_near(self, at: ComplexArray, state: Any) -> tuple[tuple[ComplexArray, ...], Any]:
        """Return what `_branch` does from the state of nearby points, if there is one, and the state."""
        return self._branch(at), None

    def _on_branch(self, at: ComplexArray) -> NDArray[np.bool_]:
        """Return where the parameter is that of a z in the closed upper half plane, not of one on another sheet."""
        return np.ones(at.shape, dtype=bool)

    def _branch_potential(self, at: ComplexArray) -> ComplexArray:
        """Return U along that parameter."""
        return self._cauchy(at).u

    @property
    def _elementary_r(self) -> bool:
        """Whether `_r_parts` is there."""
        return False

    def _r_parts(self, g: ComplexArray) -> tuple[ComplexArray, ComplexArray]:
        """Return R(g) and R'(g), where R is elementary."""
        raise NotImplementedError

    def _r_potential(self, g: ComplexArray) -> ComplexArray:
        """Return V(g) = g R - int_0^g R = U - ln(1/g), where R is elementary."""
        raise NotImplementedError

    def _r_transform_at(self, g: ComplexArray) -> ComplexArray:
        """Return R(g), g not near zero, in either half plane."""
        return self._r_parts(g)[0] if self._elementary_r else transforms.inverse_cauchy(self, g) - 1 / g

    @abstractmethod
    def _cumulants(self, n: int) -> Array:
        """Return the free cumulants 1..n."""

    @cached_property
    def curve(self) -> MasterCurve:
        """The master curve of a law on x >= 0, which products are made of; a ValueError for any other."""
        low = float(self.ppf(0.0))
        if low < 0 or self.atoms.get(0.0) == 1.0:
            raise ValueError(f"a free product needs laws on x >= 0 other than zero itself, got {self}, "
                             f"which starts at {low:.6g}")
        return MasterCurve(slopes=((LawPsi(self), Fraction(1), Fraction(1)),))

    def _positive(self) -> Law:
        """Return this law, which must be one on x >= 0."""
        _ = self.curve
        return self

    # ---- where it lives; the coordinate on the line is x itself -----------------------------------------

    @property
    @abstractmethod
    def _point_masses(self) -> tuple[tuple[Fraction, Fraction], ...]:
        """The atoms (x, mass), increasing, exact where the parameters are."""

    @property
    def atoms(self) -> dict[float, float]:
        """The point masses: {point: mass}; a point above every float is inf."""
        return {as_float(x): float(mass) for x, mass in self._point_masses}

    @property
    def _continuous(self) -> float:
        return float(1 - sum((mass for _, mass in self._point_masses), Fraction(0)))

    @property
    def _between(self) -> tuple[tuple[tuple[float, float], float], ...]:
        """The intervals between all gaps and their masses, where gaps are known; else nothing."""
        return ()

    @cached_property
    def _pieces(self) -> tuple[list[tuple[float, float]], Array]:
        """Bands and atoms in order, and the probability of each: where gaps are known they say what lies between."""
        known = dict(self._between)
        if not known or any(band not in known for band in self._bands):  # or one is cut at an atom
            return super()._pieces
        masses = {(t, t): mass for t, mass in self._points}
        for band in self._bands:
            masses[band] = known[band] - sum(m for t, m in self._points if (t, t) not in known
                                             and max(band[0], -_FAR) <= t <= band[1])
        intervals = sorted(masses)
        return intervals, np.array([masses[piece] for piece in intervals])

    @property
    def _ends(self) -> tuple[float, float]:
        """The least and the greatest value."""
        points = [*self.atoms, *(x for band in self.support for x in band)]
        return min(points), max(points)

    @property
    def _points(self) -> tuple[tuple[float, float], ...]:
        return tuple(self.atoms.items())

    @cached_property
    def _exact(self) -> dict[float, float]:
        """The atoms by their coordinates, unless two are one float."""
        points, masses = self._points, self._point_masses
        if len(points) != len(masses):
            return {}
        return {t: as_float(x) for (t, _), (x, _) in zip(points, masses, strict=True)}

    def _value(self, t: float) -> float:
        return self._exact[t] if t in self._exact else super()._value(t)

    @property
    def _rate(self) -> float:
        return 1.0

    def _t(self, x: Array) -> Array:
        return x

    def _x(self, t: Array) -> Array:
        return t

    def _log_dx_dt(self, t: Array) -> Array:
        return np.zeros_like(t)

    def _x_gap(self, t: float, step: Array) -> Array:
        """Return x(t + step) - x(t), without cancellation."""
        return step

    def _t_of_log(self, log_x: Array) -> Array:
        """Coordinate of e^(log_x)."""
        with np.errstate(over="ignore"):
            return self._t(np.exp(log_x))

    def _log_x(self, t: Array) -> Array:
        """Ln x at a coordinate."""
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.log(self._x(t))

    def _local(self, t: Array, state: Any = None) -> Local:
        if state is None and t.size > 2 * bands.NODES and (found := self._from_nodes(t)) is not None:
            return found
        return self._at(t, state)

    def _at(self, t: Array, state: Any = None) -> Local:
        """Return what `_local` does, solved anew or from the state of nearby points."""
        found = self._cauchy(t.astype(complex), state)

        def tails() -> tuple[Array, Array]:
            upper = found.u.imag / math.pi
            return 1 - upper, upper

        with np.errstate(divide="ignore"):
            return Local(np.log(np.maximum(-found.g.imag, 0.0)) - math.log(math.pi), found.state, tails)

    def logpdf(self, x: ArrayLike) -> Any:
        """Natural logarithm of `pdf`; -inf outside the support."""
        if np.size(x) <= _FEW and "_bands" not in vars(self) and (found := self._clear(x)) is not None:
            return found
        return super().logpdf(x)

    def _clear(self, x: ArrayLike) -> Any:
        """Return the log density at points that are clear of every edge and atom, which need no search; else None."""
        values = np.asarray(x, dtype=float)
        t = self._t(values.ravel())
        with np.errstate(invalid="ignore"):  # both at -inf
            near = [np.abs(t - place) <= 1e-6 * (self._unit + np.abs(t)) for place, _ in self._points]
        if not (values.size and np.isfinite(t).all()) or np.any(near):
            return None
        try:
            with np.errstate(all="ignore"):
                log_density = self._local(t).log_density
                clear = np.abs(log_density + np.log(self._unit)) < _CLEAR
        except ConvergenceError:
            return None
        return (log_density - self._log_dx_dt(t)).reshape(values.shape)[()] if clear.all() else None

    @cached_property
    def _nodes(self) -> tuple[Array, Array, Any]:
        """Points over all bands, P(X > x) and the root at each: from them the root anywhere is a few steps."""
        n = bands.NODES // min(len(self._bands), 8)
        t = np.concatenate([bands.nodes(*band, self._rate, n)[0] for band in self._bands])
        found = self._at(t)
        return t, found.upper, found.state

    def _from_nodes(self, t: Array) -> Local | None:
        """Follow the root from the nearest nodes; None unless every P(X > x) lies between its neighbours'."""
        node, tail, state = self._nodes
        if not state:
            return None
        right = np.searchsorted(node, t)
        try:
            found = self._at(t, [root[np.minimum(right, node.size - 1)] for root in state])
        except ConvergenceError:
            return None
        between = (found.upper < np.r_[1.0, tail][right] + 1e-9) & (found.upper > np.r_[tail, 0.0][right] - 1e-9)
        return found if between.all() else None

    # ---- averages -------------------------------------------------------------------------------------

    def moment(self, k: int) -> float:
        """Return E X^k, by the free cumulants for k >= 0; k < 0 needs a law on x > 0 that stays away from zero."""
        k = integer("k", k, None)
        if k >= 0:
            return self._moment(k)
        if (low := self._ends[0]) <= 0:
            raise ValueError(f"moment({k}) diverges or has no sign: the law of {self} reaches down to {low:.6g}")
        return self.expect(lambda x: x**k)

    def _moment(self, k: int) -> float:
        return float(series.moments_of_cumulants(self._cumulants(k))[-1]) if k else 1.0

    def mean(self) -> float:
        """Return E X."""
        return float(self._cumulants(1)[0])

    def var(self) -> float:
        """Return the variance, which adds over free terms."""
        return float(self._cumulants(2)[1])

    # ---- transforms -----------------------------------------------------------------------------------

    def stieltjes(self, z: ArrayLike) -> Any:
        """Return the Cauchy-Stieltjes transform G(z) = E 1/(z - X), ~ 1/z at infinity.

        Complex z: on the axis the limit from above. Real z must lie off the support, and gives a real number.
        """
        return transforms.stieltjes(self, z)

    def psi(self, z: ArrayLike) -> Any:
        """Return the moment transform psi(z) = E X z / (1 - X z) = sum of m_k z^k; z as for `stieltjes`, 1/z."""
        return transforms.psi(self, z)

    def s_transform(self, w: ArrayLike) -> Any:
        """Return S(w) = (1 + w)/w psi^-1(w) of a law on x >= 0; it multiplies under `*` (Voiculescu 1987).

        Real w lies in (-P(X > 0), psi(1/max)); complex w anywhere psi reaches.
        """
        return transforms.s_transform(self, w)

    def r_transform(self, w: ArrayLike) -> Any:
        """Return R(w) = G^-1(w) - 1/w = sum of k_n w^(n-1); it adds under `+` (Voiculescu 1986).

        Real w lies between G at the law's two ends; complex w anywhere G reaches.
        """
        return transforms.r_transform(self, w)

    def free_cumulants(self, n: int) -> Array:
        """Return the free cumulants k_1..k_n; they add under `+` (Speicher 1994)."""
        return self._cumulants(integer("n", n))

    # ---- views and combinations -----------------------------------------------------------------------

    @cached_property
    def spectrum(self) -> Spectrum:
        """The law of the singular value s = sqrt(x), for a law on x >= 0."""
        return Spectrum(self._positive())

    @cached_property
    def log(self) -> LogView:
        """The law of ln x given x > 0, for a law on x >= 0."""
        return LogView(self._positive())

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw the density, of log10 x given x > 0 for a law on x >= 0; atoms as labelled stems."""
        return plotting.law(self, ax)

    @property
    def hard_edge(self) -> Edge:
        """How the density begins at x = 0: pdf ~ prefactor x^exponent; a ValueError where it does not reach it."""
        return asymptotics.hard_edge(self.curve)

    @property
    def soft_edges(self) -> tuple[Edge, ...]:
        """How the density ends at every end of a band but a hard edge, pdf ~ prefactor |x - place|^(+-1/2)."""
        return asymptotics.soft_edges(self)

    def compress(self, t: Number) -> Law:
        """Return the law of a corner, P X P with P a free projection of trace t in (0, 1]: R(w) becomes R(t w)."""
        return self._combine("compress", t)

    def __mul__(self, other: object) -> Law:
        """Return the FREE product, or the dilation by a positive number."""
        return self._combine("*", other)

    __rmul__ = __mul__

    def __pow__(self, exponent: Number) -> Law:
        """Return the FREE power, `exponent` >= 1."""
        return self._combine("**", exponent)

    def __add__(self, other: object) -> Law:
        """Return the FREE sum, or the shift by a number."""
        return self._combine("+", other)

    __radd__ = __add__

    def __neg__(self) -> Law:
        """Return the law of -X."""
        return self._combine("negative", self)

    def __sub__(self, other: object) -> Law:
        """Return the law of the FREE difference, or the shift by minus a number."""
        return self._combine("-", other)

    def __rsub__(self, other: object) -> Law:
        """Return the law of a number minus X."""
        return (-self)._combine("+", other)

    def __truediv__(self, divisor: object) -> Law:
        """Return the law of X over a positive number."""
        return self._combine("/", divisor)

    def _combine(self, operation: str, other: object) -> Law:
        for kind in type(self).__mro__:  # the most special rule of the left operand
            for (name, left, right), rule in RULES.items():
                if name == operation and kind is left and isinstance(other, right):
                    return rule(self, other)
        return NotImplemented
