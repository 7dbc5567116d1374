"""The negative of a law, and with it differences: of a known kind where there is one, else its reflection."""

from __future__ import annotations

import numbers
from collections import defaultdict
from fractions import Fraction

from rmt.checks import Number, number
from rmt.laws.finite_law import FiniteLaw
from rmt.laws.free_sum import Affine, Corner, FreeSum
from rmt.laws.law import RULES, Law
from rmt.laws.named.discrete import Discrete
from rmt.laws.named.empirical import Empirical
from rmt.laws.named.point_mass import PointMass
from rmt.laws.named.semicircle import Semicircle
from rmt.laws.reflection import Reflected


def negative(law: Law, _: object = None) -> Law:
    """Return the law of -X."""
    match law:
        case Reflected(inner):
            return inner
        case Semicircle():
            return law
        case PointMass(x):
            return PointMass(-x)
        case Empirical():
            return Empirical([-x for x in law.values])
        case Discrete():
            return Discrete([-x for x in law.values], law.weights)
        case FiniteLaw():
            return Discrete(*zip(*((-x, mass) for x, mass in law._point_masses), strict=True))
        case FreeSum(terms):
            counts = defaultdict[Law, Number](int)
            for term, n in terms:
                counts[negative(term)] += n
            return FreeSum(tuple(counts.items()))
        case Corner(inner, factor, shift, whole):
            return Corner(negative(inner), factor, -shift, negative(whole))
        case Affine(inner, factor, shift) if not isinstance(turned := negative(inner), Reflected):
            return Affine(turned, factor, -shift)
    return Reflected(law)


def difference(law: Law, other: Law) -> Law:
    """Return the law of X - Y, free."""
    return law + negative(other)


def lowered(law: Law, shift: Number) -> Law:
    """Return the law of X - shift."""
    return law + -number("shift", shift)


def divided(law: Law, divisor: Number) -> Law:
    """Return the law of X / divisor, divisor > 0."""
    c = number("divisor", divisor, 0, open_low=True)
    return law * (1 / c if isinstance(c, float) else Fraction(1) / c)


def shifted(law: Reflected, shift: Number) -> Law:
    """Return the law of -X + shift, as that of -(X - shift)."""
    return negative(law.law + -number("shift", shift))


def dilated(law: Reflected, factor: Number) -> Law:
    """Return the law of factor * -X, as that of -(factor * X)."""
    return negative(law.law * factor)


def corner(law: Reflected, t: Number) -> Law:
    """Return the law of the corner of -X, the negative of that of X."""
    return negative(law.law.compress(t))


RULES.update({
    ("negative", Law, Law): negative, ("-", Law, Law): difference, ("-", Law, numbers.Real): lowered,
    ("/", Law, numbers.Real): divided, ("+", Reflected, numbers.Real): shifted, ("*", Reflected, numbers.Real): dilated,
    ("compress", Reflected, object): corner,
})
