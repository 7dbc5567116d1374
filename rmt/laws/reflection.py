"""The law of -X, seen from that of X: its mirror image, z -> -conj z, maps the upper half plane to itself."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike

from rmt.laws.distribution import Array, BoolArray
from rmt.laws.law import ComplexArray, Law
from rmt.laws.located import Cauchy, Local

_SAME = 1e-14  # of a probability
_DEEP = -80.0  # in ln x


@dataclass(frozen=True, repr=False)
class Reflected(Law):
    """The law of -X; what `-` returns of a law whose negative is none of its own kind.

    Attributes
    ----------
    law : Law
        Of X.
    """

    law: Law
    factor: ClassVar[int] = -1
    shift: ClassVar[int] = 0

    def __repr__(self) -> str:
        text = repr(self.law)
        return f"-({text})" if " " in text else f"-{text}"

    # ---- what is read off X itself, with its digits -----------------------------------------------------

    def logpdf(self, x: ArrayLike) -> Any:
        """Natural logarithm of `pdf`; -inf outside the support."""
        return self.law.logpdf(_minus(x))

    def pdf(self, x: ArrayLike) -> Any:
        """Density of the continuous part per unit of the value; it integrates to 1 minus the atoms."""
        return self.law.pdf(_minus(x))

    def cdf(self, x: ArrayLike) -> Any:
        """Return P(X <= x), atoms included."""
        return np.minimum(self.law.sf(_minus(x)) + self._mass_at(x), 1.0)[()]

    def sf(self, x: ArrayLike) -> Any:
        """Return P(X > x)."""
        return np.maximum(self.law.cdf(_minus(x)) - self._mass_at(x), 0.0)[()]

    def _mass_at(self, x: ArrayLike) -> Array:
        values = np.asarray(x, dtype=float)
        return sum((np.where(values == place, mass, 0.0) for place, mass in self.atoms.items()), np.zeros(values.shape))

    def ppf(self, q: ArrayLike) -> Any:
        """Return the smallest x with P(X <= x) >= q, for q in [0, 1]; the left end of the law at q = 0."""
        level = np.asarray(q, dtype=float)
        x = np.where(level < 0.5, self.law.isf(q), self.law.ppf(1 - level))
        intervals, masses = self.law._pieces
        for (low, _), below in zip(intervals[1:], np.cumsum(masses), strict=False):  # the smallest: above the gap
            x = np.where(np.abs(1 - level - below) <= _SAME, self.law._value(low), x)
        return (0.0 - x)[()]

    def expect(self, f: Callable[[Array], ArrayLike]) -> float:
        """Return E f(X), to what `Law.expect` promises."""
        return self.law.expect(lambda x: f(-x))

    def entropy(self) -> float:
        """Return -E ln pdf(X), that of X."""
        return self.law.entropy()

    def _moment(self, k: int) -> float:
        return (-1) ** k * self.law.moment(k)

    def mean(self) -> float:
        """Return E X."""
        return -self.law.mean()

    def var(self) -> float:
        """Return the variance."""
        return self.law.var()

    # ---- where it lives, in x itself -------------------------------------------------------------------

    @cached_property
    def _point_masses(self) -> tuple[tuple[Fraction, Fraction], ...]:
        return tuple((-x, mass) for x, mass in reversed(self.law._point_masses))

    @cached_property
    def _bands(self) -> tuple[tuple[float, float], ...]:
        return tuple((-hi, -lo) for lo, hi in reversed(self.law.support))

    @cached_property
    def _unit(self) -> float:
        return self.law.std()

    @property
    def _dear(self) -> bool:
        return self.law._dear

    @property
    def _rounding(self) -> float:
        return self.law._rounding

    def _local(self, t: Array, state: Any = None) -> Local:
        at = self.law._t(-t)
        at = np.where(np.isneginf(at), _DEEP, at)  # at a hard edge, by rounding
        found = self.law._local(at, state)
        return Local(found.log_density - self.law._log_dx_dt(at), found.state,
                     lambda: (found.upper, found.lower + self.law._at_bottom))

    # ---- the primitive ---------------------------------------------------------------------------------

    def _cauchy(self, z: ComplexArray, state: Any = None) -> Cauchy:
        found = self.law._cauchy(_mirrored(z), state)
        return Cauchy(_mirrored(found.g), found.state, lambda: np.conj(found.slope),
                      lambda: np.conj(found.u) + 1j * math.pi)

    def _branch_from(self, omega: ComplexArray) -> ComplexArray:
        return _mirrored(self.law._branch_from(_mirrored(omega)))

    @property
    def _branch_strip(self) -> float:
        return self.law._branch_strip

    def _branch(self, at: ComplexArray) -> tuple[ComplexArray, ...]:
        return _mirrored_branch(self.law._branch(_mirrored(at)))

    @property
    def _searched(self) -> bool:
        return self.law._searched

    def _branch_near(self, at: ComplexArray, state: Any) -> tuple[tuple[ComplexArray, ...], Any]:
        found, state = self.law._branch_near(_mirrored(at), state)
        return _mirrored_branch(found), state

    def _on_branch(self, at: ComplexArray) -> BoolArray:
        return self.law._on_branch(_mirrored(at))

    def _branch_potential(self, at: ComplexArray) -> ComplexArray:
        return np.conj(self.law._branch_potential(_mirrored(at))) + 1j * math.pi

    @property
    def _elementary_r(self) -> bool:
        return self.law._elementary_r

    def _r_transform_at(self, g: ComplexArray) -> ComplexArray:
        return -self.law._r_transform_at(-g)

    def _r_parts(self, g: ComplexArray) -> tuple[ComplexArray, ComplexArray]:
        r, slope = self.law._r_parts(-g)
        return -r, slope

    def _r_potential(self, g: ComplexArray) -> ComplexArray:
        return self.law._r_potential(-g)

    def _cumulants(self, n: int) -> Array:
        return self.law._cumulants(n) * (-1.0) ** np.arange(1, n + 1)


def _minus(x: ArrayLike) -> Array:
    return -np.asarray(x, dtype=float)


def _mirrored(z: ComplexArray) -> ComplexArray:
    return -np.conj(z)


def _mirrored_branch(found: tuple[ComplexArray, ...]) -> tuple[ComplexArray, ...]:
    z, dz, g, dg, h = found
    return _mirrored(z), np.conj(dz), _mirrored(g), np.conj(dg), _mirrored(h)
