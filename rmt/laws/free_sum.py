"""The free sum, the shift, dilation on the line, and compression."""

from __future__ import annotations

import math
import numbers
import operator
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from rmt.checks import Number, number, positive
from rmt.laws.atoms import combined
from rmt.laws.distribution import Array, BoolArray, Moved
from rmt.laws.errors import ConvergenceError
from rmt.laws.finite_law import FiniteLaw, finite_curve
from rmt.laws.law import RULES, ComplexArray, Law
from rmt.laws.law_psi import LawPsi
from rmt.laws.located import Cauchy
from rmt.laws.master_curve import MasterCurve
from rmt.laws.positive import PositiveLaw
from rmt.laws.reflection import Reflected
from rmt.laws.subordination import Subordination
from rmt.laws.sum_bands import between, pieces
from rmt.laws.sum_gaps import Outside, outside
from rmt.laws.sum_psi import SumPsi


@dataclass(frozen=True, repr=False)
class Affine(Moved, Law):
    """The law of factor * X + shift, in the coordinate of X.

    Attributes
    ----------
    law : Law
        Of X.
    factor : number
        Positive.
    shift : number
        Finite.
    """

    law: Law
    factor: Number
    shift: Number

    @staticmethod
    def corner_text(law: Law, t: Number) -> str:
        """Return how a corner of a law is written."""
        return f"({law!r}).compress({t!r})" if " " in repr(law) else f"{law!r}.compress({t!r})"

    def __repr__(self) -> str:
        text = repr(self.law)
        if self.factor != 1:
            text = f"{self.factor!r} * " + (f"({text})" if " + " in text else text)
        return f"{text} + {self.shift!r}" if self.shift else text

    def expect(self, f: Callable[[Array], ArrayLike]) -> float:
        """Return E f(factor X + shift), as the law of X has it."""
        return self.law.expect(lambda x: f(float(self.factor) * x + float(self.shift)))

    def _t(self, x: Array) -> Array:
        return self.law._t((x - float(self.shift)) / float(self.factor))

    def _x(self, t: Array) -> Array:
        return float(self.factor) * self.law._x(t) + float(self.shift)

    def _x_gap(self, t: float, step: Array) -> Array:
        return float(self.factor) * self.law._x_gap(t, step)

    def _log_dx_dt(self, t: Array) -> Array:
        return self.law._log_dx_dt(t) + math.log(self.factor)

    @cached_property
    def curve(self) -> MasterCurve:
        """Exact where X is only scaled."""
        return _sum_curve(self, super().curve) if self.shift else MasterCurve(Fraction(self.factor)) * self.law.curve

    @property
    def _pieces(self) -> tuple[list[tuple[float, float]], Array]:
        return self.law._pieces

    @cached_property
    def _point_masses(self) -> tuple[tuple[Fraction, Fraction], ...]:
        return tuple((Fraction(self.factor) * x + Fraction(self.shift), mass) for x, mass in self.law._point_masses)

    def _cauchy(self, z: ComplexArray, state: Any = None) -> Cauchy:
        scale = float(self.factor)
        found = self.law._cauchy((z - float(self.shift)) / scale, state)
        return Cauchy(found.g / scale, found.state, lambda: found.slope / scale**2, lambda: found.u + math.log(scale))

    def _branch_from(self, omega: ComplexArray) -> ComplexArray:
        return self.law._branch_from((omega - float(self.shift)) / float(self.factor))

    @property
    def _branch_strip(self) -> float:
        return self.law._branch_strip

    def _branch(self, at: ComplexArray) -> tuple[ComplexArray, ...]:
        return self._moved(self.law._branch(at))

    @property
    def _searched(self) -> bool:
        return self.law._searched

    def _branch_near(self, at: ComplexArray, state: Any) -> tuple[tuple[ComplexArray, ...], Any]:
        found, state = self.law._branch_near(at, state)
        return self._moved(found), state

    def _moved(self, found: tuple[ComplexArray, ...]) -> tuple[ComplexArray, ...]:
        factor, shift = float(self.factor), float(self.shift)
        z, dz, g, dg, h = found
        return factor * z + shift, factor * dz, g / factor, dg / factor, factor * h - shift

    def _on_branch(self, at: ComplexArray) -> BoolArray:
        return self.law._on_branch(at)

    def _branch_potential(self, at: ComplexArray) -> ComplexArray:
        return self.law._branch_potential(at) + math.log(self.factor)

    @property
    def _elementary_r(self) -> bool:
        return self.law._elementary_r

    def _r_transform_at(self, g: ComplexArray) -> ComplexArray:
        return float(self.factor) * self.law._r_transform_at(float(self.factor) * g) + float(self.shift)

    def _r_parts(self, g: ComplexArray) -> tuple[ComplexArray, ComplexArray]:
        factor, shift = float(self.factor), float(self.shift)
        r, slope = self.law._r_parts(factor * g)
        return factor * r + shift, factor**2 * slope

    def _r_potential(self, g: ComplexArray) -> ComplexArray:
        return self.law._r_potential(float(self.factor) * g)

    def _cumulants(self, n: int) -> Array:
        out = self.law._cumulants(n) * float(self.factor) ** np.arange(1, n + 1)
        out[0] += float(self.shift)
        return out


@dataclass(frozen=True, eq=False, repr=False)
class FreeSum(Law):
    """The law of a sum of free variables, `n` free copies of each; what `+` returns. n may be real, in all >= 1.

    Attributes
    ----------
    terms : tuple of (Law, number)
        Laws that are no sums, and how often each is taken.
    """

    terms: tuple[tuple[Law, Number], ...]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, FreeSum) and frozenset(self.terms) == frozenset(other.terms)

    def __hash__(self) -> int:
        return hash(frozenset(self.terms))

    def __repr__(self) -> str:
        texts = []
        for law, n in self.terms:  # n copies of X are n times its corner of relative size 1/n
            texts += [repr(law)] * int(n) if n == int(n) else [f"{n!r} * {Affine.corner_text(law, 1 / Fraction(n))}"]
        return " + ".join(texts)

    @cached_property
    def curve(self) -> MasterCurve:
        """That of its psi, in terms of the curves of its terms if it can be."""
        return _sum_curve(self, super().curve)

    @cached_property
    def _solver(self) -> Subordination:
        return Subordination(self.terms, self._rounding)

    @cached_property
    def _joint(self) -> tuple[MasterCurve, float] | None:
        """The curve of X less the sum of what its terms are at the least, where a term is dear, and that sum."""
        if not any(law._searched for law, _ in self.terms):
            return None
        lows = [law._point_masses[0][0] if isinstance(law, FiniteLaw) else Fraction(0) for law, _ in self.terms]
        total = sum((Fraction(n) * low for low, (_, n) in zip(lows, self.terms, strict=True)), Fraction(0))
        moved = [(law - low, n) if low else (law, n) for low, (law, n) in zip(lows, self.terms, strict=True)]
        curve = _joined(shift_by(self, -total), moved, 0)
        return (curve, float(total)) if curve else None

    def _cauchy(self, z: ComplexArray, state: Any = None) -> Cauchy:
        outside, joined = vars(self).get("_outside"), self._joint
        if not joined:
            return self._solved(z, outside, state)
        curve, low = joined
        own = (z.imag == 0) & (outside.holds(z.real) if outside else False)
        joint = curve.cauchy(z[~own] - low, state and [row[~own] for row in state], quick=True)
        found = ~np.isnan(joint.g)
        if found.all() and not own.any():
            return joint
        own[~own] = ~found
        try:  # in a narrow band the sum's own equations have arcs to start from
            here = self._solved(z[own], outside)
        except ConvergenceError:
            here = curve.cauchy(z[own] - low, None)
        if own.all():
            return replace(here, state=[])
        return Cauchy.put(own, here, curve.cauchy(z[~own] - low, [row[found] for row in joint.state]))

    def _solved(self, z: ComplexArray, outside: Outside | None, state: Any = None) -> Cauchy:
        """Return what `_cauchy` does, by the sum's own equations."""
        solver = self._solver
        solved = solver.follow(z, state, outside) if state else solver.solve(z, outside)
        return Cauchy(solved.g, [solved.g, *solved.at], lambda: solver.slope(solved), lambda: solver.potential(solved))

    def _r_transform_at(self, g: ComplexArray) -> ComplexArray:
        return np.asarray(sum(float(n) * law._r_transform_at(g) for law, n in self.terms))

    def _cumulants(self, n: int) -> Array:
        return np.asarray(sum(float(copies) * law._cumulants(n) for law, copies in self.terms))

    @cached_property
    def _candidates(self) -> tuple[tuple[Fraction, Fraction], ...]:
        """Places where F may vanish, with 1 + sum n_i (mass_i - 1): an atom if positive, an edge perhaps if zero.

        Bercovici and Voiculescu 1998, Theorem 7.4.
        """
        lacking = [[(Fraction(n) * x, Fraction(n) * (1 - mass)) for x, mass in law._point_masses]
                   for law, n in self.terms]
        return combined([(Fraction(0), Fraction(1))], lacking, operator.add)

    @property
    def _point_masses(self) -> tuple[tuple[Fraction, Fraction], ...]:
        return tuple((x, mass) for x, mass in self._candidates if mass > 0)

    @property
    def _unit(self) -> float:
        return self._solver.unit

    @cached_property
    def _rounding(self) -> float:
        return 1e-12 if any(_is_noisy(law) for law, _ in self.terms) else 1e-15

    @cached_property
    def _outside(self) -> Outside:
        """What is outside the support."""
        return outside([(law, float(n)) for law, n in self.terms])

    @cached_property
    def _between(self) -> tuple[tuple[tuple[float, float], float], ...]:
        """The intervals between the gaps, and their masses."""
        return between(self.terms, self._outside.gaps, np.array([float(x) for x, _ in self._candidates]), self._unit)

    @cached_property
    def _bands(self) -> tuple[tuple[float, float], ...]:
        return tuple(band for (low, high), mass in self._between
                     for band in pieces(low, high, mass, self.atoms, self._unit))


@dataclass(frozen=True, repr=False)
class Corner(Affine):
    """The law of a corner: t times the free sum of 1/t copies (Nica and Speicher 1996).

    Attributes
    ----------
    whole : Law
        What it is a corner of.
    """

    whole: Law

    def __repr__(self) -> str:
        return self.corner_text(self.whole, self.factor)


def _terms(law: Law) -> tuple[Iterator[tuple[Law, Number]], Number]:
    """Return a law as free terms that are no sums, and a shift."""
    if isinstance(law, FreeSum):
        return iter(law.terms), 0
    if isinstance(law, Affine):
        inner, shift = _terms(law.law)
        scaled = ((term if law.factor == 1 else term * law.factor, n) for term, n in inner)
        return scaled, law.factor * shift + law.shift
    if isinstance(law, Reflected):
        inner, shift = _terms(law.law)
        return ((-term, n) for term, n in inner), -shift
    points = law._point_masses
    if len(points) == 1 and points[0][1] == 1:
        return iter(()), points[0][0]
    return iter([(law, 1)]), 0


def _sum_curve(law: Law, otherwise: MasterCurve) -> MasterCurve:
    """Return the curve of a sum by those of its terms, where they are laws on x >= 0 and a shift that is; otherwise."""
    found, shift = _terms(law)
    terms = list(found)
    if not terms:  # a number
        return MasterCurve(Fraction(shift))
    if [n for _, n in terms] == [1] and isinstance(terms[0][0], FiniteLaw):
        return finite_curve(law._point_masses)
    return _joined(law, terms, shift) or otherwise


def _joined(law: Law, terms: Iterable[tuple[Law, Number]], shift: Number) -> MasterCurve | None:
    """Return the curve of a law, a shift and terms, by those of the terms; None where one is not on x >= 0."""
    curves, total = [], Fraction(shift)
    for term, n in terms:
        if isinstance(term, FiniteLaw) and (least := term._point_masses[0][0]) < 0:
            term, total = term - least, total + Fraction(n) * least
        try:
            curves.append((term.curve, Fraction(n)))
        except ValueError:  # it is not on x >= 0
            return None
    if total < 0:
        return None
    return MasterCurve(slopes=((SumPsi(LawPsi(law), tuple(curves), total), Fraction(1), Fraction(1)),))


def _is_noisy(law: Law) -> bool:
    """Return whether a term is known to less than rounding: by a contour."""
    if isinstance(law, Affine | Reflected):
        return _is_noisy(law.law)
    try:
        return law.curve.noisy
    except ValueError:  # it has none
        return False


def add(law: Law, other: Law) -> Law:
    """Return the free sum (Voiculescu 1986)."""
    (first, shift), (second, more) = _terms(law), _terms(other)
    counts: dict[Law, Number] = {}
    for term, n in (*first, *second):
        counts[term] = counts.get(term, 0) + n
    if not counts:
        return shift_by(law, more)
    total = tuple(counts.items())
    return shift_by(total[0][0] if len(total) == 1 and total[0][1] == 1 else FreeSum(total), shift + more)


def shift_by(law: Law, shift: Number) -> Law:
    """Return the law of X + shift."""
    return _affine(law, 1, number("shift", shift))


def dilate(law: Law, factor: Number) -> Law:
    """Return the law of factor * X, factor > 0."""
    return _affine(law, positive("factor", factor), 0)


def _affine(law: Law, factor: Number, shift: Number) -> Law:
    if isinstance(law, Affine):
        return _affine(law.law, law.factor * factor, law.shift * factor + shift)
    if factor != 1 and isinstance(law, PositiveLaw):  # which has a scale of its own: one law, one form
        law, factor = law * factor, 1
    return law if factor == 1 and shift == 0 else Affine(law, factor, shift)


def compress(law: Law, t: Number) -> Law:
    """Return the law of the corner P X P, P a free projection of trace t in (0, 1] (Nica and Speicher 1996)."""
    t = number("t", t, 0, open_low=True, high=1)
    if t == 1 or (not law._bands and len(law._point_masses) == 1):
        return law
    inner, shift = _terms(law)
    copies = 1 / Fraction(t)
    return Corner(FreeSum(tuple((term, Fraction(n) * copies) for term, n in inner)), t, shift, law)


RULES.update({
    ("+", Law, Law): add, ("+", Law, numbers.Real): shift_by, ("*", Law, numbers.Real): dilate,
    ("compress", Law, object): compress,
})
