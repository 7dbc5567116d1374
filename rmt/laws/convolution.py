"""How positive laws combine: the free product, the free power, dilation, compression, all on the master curve."""

from __future__ import annotations

import math
import numbers
import operator
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property, reduce
from typing import Any

from numpy.typing import ArrayLike

from rmt.checks import Number, number, positive
from rmt.laws import rational
from rmt.laws.distribution import Array
from rmt.laws.finite_law import FiniteLaw
from rmt.laws.free_sum import Affine
from rmt.laws.law import RULES, Law
from rmt.laws.located import Local
from rmt.laws.master_curve import MasterCurve
from rmt.laws.named.point_mass import PointMass
from rmt.laws.positive import PositiveLaw
from rmt.laws.rational import log_of
from rmt.text import number_text


@dataclass(frozen=True, eq=False, repr=False)
class FreeProduct(PositiveLaw):
    """scale * a ** j * b ** k ...: free factors, each a law and its power; what `*` and `**` return."""

    factors: tuple[tuple[Law, Number], ...]
    scale: Number = 1

    @cached_property
    def curve(self) -> MasterCurve:
        """The product of the factors' curves (Voiculescu: S multiplies)."""
        curves = [law.curve if power == 1 else law.curve ** Fraction(power) for law, power in self.factors]
        scales = [] if self.scale == 1 else [MasterCurve(Fraction(self.scale))]
        return reduce(operator.mul, [*scales, *curves]).settled()

    @property
    def _dilated(self) -> Law | None:
        """The law, if it is no more than dilated."""
        return self.factors[0][0] if len(self.factors) == 1 and self.factors[0][1] == 1 else None

    def expect(self, f: Callable[[Array], ArrayLike]) -> float:
        """Return E f(X); of a dilation that is an average over the law that it dilates."""
        if self._dilated:
            scale = float(self.scale)
            return self._dilated.expect(lambda x: f(scale * x))
        return super().expect(f)

    @cached_property
    def _log_scale(self) -> float:
        return log_of(Fraction(self.scale))

    def _at(self, t: Array, state: Any = None) -> Local:
        if isinstance(self._dilated, PositiveLaw):
            return self._dilated._at(t - self._log_scale, state)
        return super()._at(t, state)

    @cached_property
    def _bands(self) -> tuple[tuple[float, float], ...]:
        if isinstance(self._dilated, PositiveLaw):
            return tuple((low + self._log_scale, high + self._log_scale) for low, high in self._dilated._bands)
        return super()._bands

    @cached_property
    def _between(self) -> tuple[tuple[tuple[float, float], float], ...]:
        if isinstance(self._dilated, PositiveLaw):
            return tuple(((low + self._log_scale, high + self._log_scale), mass)
                         for (low, high), mass in self._dilated._between)
        return super()._between

    def __repr__(self) -> str:
        names = [(f"({law!r})" if " " in repr(law) else repr(law), power) for law, power in self.factors]
        texts = [name if power == 1 else f"{name} ** {power!r}" for name, power in names]
        return " * ".join(([_factor_text(self.scale)] if self.scale != 1 else []) + texts)


@dataclass(frozen=True, eq=False)
class ChainLaw(PositiveLaw):
    """The law of a chain of rectangular layers, which no product of laws on one space spells."""

    master_curve: MasterCurve

    @property
    def curve(self) -> MasterCurve:
        """The chain's master curve."""
        return self.master_curve

    def __str__(self) -> str:
        return "law of a chain"


@dataclass(frozen=True, eq=False, repr=False)
class PositiveCorner(PositiveLaw):
    """The law of a corner of a positive law: S(w) becomes S(t w)."""

    law: PositiveLaw
    t: Number

    @cached_property
    def curve(self) -> MasterCurve:
        """The curve of t w."""
        return self.law.curve.at(1 / Fraction(self.t))

    def __repr__(self) -> str:
        return Affine.corner_text(self.law, self.t)


def _parts(law: Law) -> tuple[tuple[tuple[Law, Number], ...], Number]:
    if isinstance(law, Affine) and not law.shift:
        factors, scale = _parts(law.law)
        return factors, _times(scale, law.factor)
    if isinstance(law, FreeProduct):
        return law.factors, law.scale
    _ = law.curve  # refuses a law that is not on x >= 0
    return ((law, 1),), 1


def dilate(law: Law, factor: Number) -> PositiveLaw:
    """Return the law of factor * X, factor > 0."""
    factors, scale = _parts(law)
    exact = isinstance(factor, Fraction | int) and not isinstance(factor, bool) and factor > 0  # of any size, in logs
    return FreeProduct(factors, _times(scale, factor if exact else positive("factor", factor)))


def multiply(law: Law, other: Law) -> Law:
    """Return the free product (Voiculescu 1987)."""
    for one, scalar in ((law, other), (other, law)):
        if isinstance(scalar, PointMass) and not isinstance(one, PositiveLaw | FiniteLaw):
            return one * scalar.x  # a sum is only scaled
    (factors, scale), (more, other_scale) = _parts(law), _parts(other)
    merged: dict[Law, Number] = {}
    for factor, exponent in (*factors, *more):
        merged[factor] = merged.get(factor, 0) + exponent
    return FreeProduct(tuple(merged.items()), _times(scale, other_scale))


def power(law: Law, exponent: Number) -> Law:
    """Return the free power, exponent >= 1 (Belinschi and Bercovici 2005)."""
    exponent = number("exponent", exponent, 1)
    if exponent == 1:
        return law
    factors, scale = _parts(law)
    return FreeProduct(tuple((factor, k * exponent) for factor, k in factors), _power(scale, exponent))


def compress(law: PositiveLaw, t: Number) -> PositiveLaw:
    """Return the law of the corner P X P, P a free projection of trace t in (0, 1]."""
    return PositiveCorner(law, number("t", t, 0, open_low=True, high=1))


RULES.update({
    ("*", PositiveLaw, numbers.Real): dilate, ("*", Law, Law): multiply, ("**", Law, object): power,
    ("compress", PositiveLaw, object): compress,
})


def _factor_text(scale: Number) -> str:
    text = number_text(scale)
    return f"({text})" if " * " in text else text


def _power(a: Number, k: Number) -> Number:
    """Return a ** k, exact as a Fraction where a float would leave its range."""
    return _in_range(lambda: a**k, lambda: rational.power(Fraction(a), Fraction(k)))


def _times(a: Number, b: Number) -> Number:
    """Return a * b, exact as a Fraction where a float would leave its range."""
    return _in_range(lambda: a * b, lambda: Fraction(a) * Fraction(b))


def _in_range(quick: Callable[[], Number], exact: Callable[[], Number]) -> Number:
    try:
        found = quick()
    except OverflowError:
        return exact()
    return found if 0 < found < math.inf else exact()
