"""How laws combine: the free product, the free power, dilation."""

from __future__ import annotations

import numbers
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property

from rmt.checks import Number, number, positive
from rmt.laws.law import RULES
from rmt.laws.master_curve import MasterCurve
from rmt.laws.positive import PositiveLaw


@dataclass(frozen=True, eq=False, repr=False)
class FreeProduct(PositiveLaw):
    """scale * a ** j * b ** k ...: free factors, each a law and its power; what `*` and `**` return."""

    factors: tuple[tuple[PositiveLaw, Number], ...]
    scale: Number = 1

    @cached_property
    def curve(self) -> MasterCurve:
        """The product of the factors' curves (Voiculescu: S multiplies)."""
        curve = MasterCurve(Fraction(self.scale))
        for law, power in self.factors:
            curve = curve * law.curve ** Fraction(power)
        return curve

    def __repr__(self) -> str:
        texts = [repr(law) if power == 1 else f"{law!r} ** {power!r}" for law, power in self.factors]
        return " * ".join(([repr(self.scale)] if self.scale != 1 else []) + texts)


@dataclass(frozen=True, eq=False)
class ChainLaw(PositiveLaw):
    """The law of a chain of rectangular layers, which no product of laws on one space spells."""

    master_curve: MasterCurve

    @property
    def curve(self) -> MasterCurve:
        """The chain's master curve."""
        return self.master_curve


def _parts(law: PositiveLaw) -> tuple[tuple[tuple[PositiveLaw, Number], ...], Number]:
    return (law.factors, law.scale) if isinstance(law, FreeProduct) else (((law, 1),), 1)


def dilate(law: PositiveLaw, factor: Number) -> PositiveLaw:
    """Return the law of factor * X, factor > 0."""
    factors, scale = _parts(law)
    return FreeProduct(factors, _times(scale, positive("factor", factor)))


def multiply(law: PositiveLaw, other: PositiveLaw) -> PositiveLaw:
    """Return the free product (Voiculescu 1987)."""
    (factors, scale), (more, other_scale) = _parts(law), _parts(other)
    merged: dict[PositiveLaw, Number] = {}
    for factor, exponent in (*factors, *more):
        merged[factor] = merged.get(factor, 0) + exponent
    return FreeProduct(tuple(merged.items()), _times(scale, other_scale))


def power(law: PositiveLaw, exponent: Number) -> PositiveLaw:
    """Return the free power, exponent >= 1 (Belinschi and Bercovici 2005)."""
    exponent = number("exponent", exponent, 1)
    factors, scale = _parts(law)
    return FreeProduct(tuple((factor, k * exponent) for factor, k in factors), _times(scale**exponent, 1))


RULES[("*", PositiveLaw, PositiveLaw)] = multiply
RULES[("*", PositiveLaw, numbers.Real)] = dilate
RULES[("**", PositiveLaw, object)] = power


def _times(a: Number, b: Number) -> Number:
    """Return a * b, exact as a Fraction where a float would leave its range."""
    product = a * b
    return product if product and abs(product) != float("inf") else Fraction(a) * Fraction(b)
