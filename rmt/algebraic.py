"""The exact side: the polynomial of a law's Cauchy transform, rational moments, edges in radicals (sympy).

Every parameter is a rational (a float is the binary fraction that it holds), so every transform is algebraic. A free
factor or term D enters through one unknown, u:

    product, v = x g:   x = v/(v - 1) scale prod (1 + w/m)^k prod (u z/(1 + z))^k,   psi_D(1/u) = z = w/m,   w = v - 1
    sum:                x = sum n u - (sum n - 1)/g,                                 G_D(u) = g

The unknowns are eliminated one at a time. u = c(z)/z (z = g in a sum) with a power series c, which says which
irreducible factor is the law's. Either way h(z) = c(z h(z)), h the series of the moments m_1, m_2, ... (product) or
m_0, m_1, ... (sum): one pair of formulas (Lagrange) leads from moments to S and to free cumulants, and back. Edges are
critical points of x(u), g(u) where these are rational, else roots of the discriminant; the numeric support says which.
"""

from __future__ import annotations

import itertools
import math
import numbers
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from fractions import Fraction
from functools import partial
from typing import Any

import mpmath  # type: ignore[import-untyped]
import sympy  # type: ignore[import-untyped]
from sympy import Poly

from rmt.checks import integer
from rmt.laws.convolution import FreeProduct, PositiveCorner
from rmt.laws.errors import ConvergenceError
from rmt.laws.finite_law import FiniteLaw
from rmt.laws.free_sum import Affine, FreeSum
from rmt.laws.law import Law
from rmt.laws.law_psi import LawPsi
from rmt.laws.named.discrete import Discrete
from rmt.laws.named.semicircle import Semicircle
from rmt.laws.positive import PositiveLaw
from rmt.laws.reflection import Reflected

Series = list[Any]  # coefficients: Fractions, or sympy numbers where the mean of a free power is irrational
Powers = list[tuple[Any, Fraction]]  # a product of polynomials or rational functions, each to a rational power
Points = list[tuple[Any, Any]]  # values of a polynomial's two variables on the law's branch

_X, _G, _U, _V, _Y = sympy.symbols("x g u v y")
_TERMS, _DIGITS = 30, 120  # of a series, used at a thousandth of its radius: good to 1e-90
_VANISHES = 1e-70  # size of a polynomial there, relative to its terms
_NEAR = 1e-8  # relative distance of an exact edge from the numeric one
_LARGE = 200  # product of the degrees of a polynomial whose discriminant takes minutes


def polynomial(law: Law, x: Any, g: Any) -> Any:
    """Return the polynomial P, a sympy expression in x and g, with P(x, G(x)) = 0 for G(x) = E 1/(x - X).

    Expanded, irreducible over the rationals, coprime integer coefficients; that of the highest power of g positive.
    """
    x, g = sympy.sympify(x), sympy.sympify(g)
    return sympy.Add(*(c * x**i * g**j for (j, i), c in _relation(_law(law)).terms()))


def moments(law: Law, n: int) -> list[Any]:
    """Return E X, ..., E X^n as exact sympy.Rational, equal to the int or Fraction of the same value.

    Where the mean of a free power is irrational, as of ``Bernoulli(0.5) ** 1.5``, they are expressions with roots.
    """
    return [sympy.sympify(m) for m in _moments(_law(law), integer("n", n))]


def edges(law: Law) -> list[Any]:
    """Return the ends of the continuous part, increasing and exact: true edges, no other root of a discriminant.

    They are sympy numbers: rationals, their roots, quadratic surds, else `CRootOf`. A hard edge is exactly 0.
    """
    ends = [end for band in _law(law).support for end in band]
    size = max(map(abs, ends), default=0.0)
    candidates = [(mpmath.mpf(0), partial(_exact, 0)), *(_candidates(law) if size else ())]
    found = []
    for end in ends:
        value, exact = min(candidates, key=lambda candidate: abs(candidate[0] - end))
        if abs(value - end) > _NEAR * abs(end) + 1e-13 * size:
            raise ConvergenceError(f"{law} has no exact edge near {end!r}; the nearest is {float(value)!r}")
        found.append(exact())
    return found


def _law(law: Any) -> Any:
    """Return a law that is algebraic; raise for anything else."""
    if not isinstance(law, Law):
        raise TypeError(f"law must be a law of rmt such as MarchenkoPastur(1), got {law!r}")
    parts: list[Any] = []
    match law:
        case FreeSum(terms=terms):
            parts = [term for term, _ in terms]
        case Affine(law=inner) | Reflected(law=inner):
            parts = [inner]
        case PositiveLaw() if law.curve.algebraic:
            parts = [_inside(slope) for slope, _, _ in law.curve.slopes]
        case _ if not isinstance(law, FiniteLaw | Semicircle):
            raise TypeError(f"{law} is not algebraic: it has no polynomial, exact moments or exact edges")
    for part in parts:
        _law(part)
    return law


def _inside(slope: Any) -> Any:
    """Return the law whose psi a factor of a master curve is."""
    if isinstance(slope.explicit, LawPsi):
        return slope.explicit.law
    zero = [(0, 1 - slope.mass)] * (slope.mass < 1)
    return Discrete(*zip(*zero, *zip(slope.values, slope.weights, strict=True), strict=True))


# ---- moments, cumulants and S as power series --------------------------------------------------------------


def _moments(law: Any, n: int) -> Series:
    """Return the moments 1..n."""
    match law:
        case FiniteLaw():
            return [sum(p * x**k for x, p in law._point_masses) for k in range(1, n + 1)]
        case PositiveLaw():
            mean, c = _z_over_chi(law, n)
            return [_tidy(mean ** (j + 1) * h) for j, h in enumerate(_direct(c))]
    return _direct(_cumulants(law, n))[1:]


def _cumulants(law: Any, n: int) -> Series:
    """Return 1 and the free cumulants 1..n: the series c of the inverse c(g)/g of G."""
    match law:
        case FreeSum(terms=terms):
            parts = [(Fraction(k), _cumulants(term, n)) for term, k in terms]
            return [Fraction(1), *(_tidy(sum(k * c[j] for k, c in parts)) for j in range(1, n + 1))]
        case Affine(law=inner, factor=factor, shift=shift) | Reflected(law=inner, factor=factor, shift=shift):
            c = [_tidy(Fraction(factor) ** j * a) for j, a in enumerate(_cumulants(inner, n))]
            return [c[0], c[1] + Fraction(shift), *c[2:]]
        case Semicircle(deviation=std):
            return [Fraction(1), Fraction(0), Fraction(std) ** 2, *[Fraction(0)] * n][: n + 1]
    return _inverse([Fraction(1), *_moments(law, n)])


def _z_over_chi(law: Any, n: int, slopes: int | None = None) -> tuple[Any, Series]:
    """Return the mean of a law on x >= 0, and z/chi(z) = (1 + z)/S(z) over it to n terms, with `slopes` slope laws."""
    if not isinstance(law, PositiveLaw):
        mean, *rest = _moments(law, n)
        return mean, _inverse([Fraction(1), *(_tidy(m / mean ** (j + 2)) for j, m in enumerate(rest))])
    mean, factors = _scale(law), [([Fraction(1), 1 / m, *[Fraction(0)] * n][:n], k) for m, k in law.curve.zeros]
    for slope, m, k in law.curve.slopes[:slopes]:
        first, c = _z_over_chi(_inside(slope), n)
        mean *= _exact(first) ** _exact(k)
        factors += [([a / m**j for j, a in enumerate(c)], k), ([Fraction(1), 1 / m, *[Fraction(0)] * n][:n], -k)]
    c = [Fraction(1), *[Fraction(0)] * (n - 1)]
    for b in itertools.starmap(_power, factors):
        c = [_tidy(sum(c[j] * b[i - j] for j in range(i + 1))) for i in range(n)]
    return Fraction(mean.p, mean.q) if mean.is_Rational else mean, c


def _direct(c: Series) -> Series:
    """Return h with h(z) = c(z h(z)): [z^n] h = [z^n] c^(n+1) / (n+1)."""
    return [_power(c[: n + 1], n + 1)[n] / (n + 1) for n in range(len(c))]


def _inverse(h: Series) -> Series:
    """Return c with h(z) = c(z h(z)): [z^n] c = [z^n] h^(1-n) / (1-n)."""
    return [h[n] if n < 2 else _power(h[: n + 1], 1 - n)[n] / (1 - n) for n in range(len(h))]


def _power(a: Series, k: Any) -> Series:
    """Return the series a^k, a[0] = 1 (Euler's recurrence)."""
    b: Series = [Fraction(1)]
    for n in range(1, len(a)):
        b.append(_tidy(sum((k * j - (n - j)) * a[j] * b[n - j] for j in range(1, n + 1) if a[j]) / Fraction(n)))
    return b


def _tidy(x: Any) -> Any:
    return sympy.expand(x) if isinstance(x, sympy.Expr) else x


def _exact(x: Any) -> Any:
    """Return a parameter as a sympy number."""
    return sympy.sympify(Fraction(x) if isinstance(x, float) else x)


def _mp(x: Any) -> Any:
    """Return an exact number at the precision of mpmath."""
    if isinstance(x, numbers.Rational):
        return mpmath.mpf(int(x.numerator)) / int(x.denominator)
    return mpmath.mpf(sympy.N(x, mpmath.mp.dps))


def _scale(law: Any) -> Any:
    """Return the scale of a law's curve exactly: the curve holds its irrational roots as floats."""
    match law:
        case FreeProduct(factors=factors, scale=number):
            scale = Fraction(number)
        case PositiveCorner(law=inner):
            return _scale(inner)
        case _:
            return _exact(law.curve.scale)
    odd = scale.numerator // (scale.numerator & -scale.numerator)
    rounded = odd.bit_length() > 40 and scale.denominator & (scale.denominator - 1) == 0
    if rounded and any(Fraction(k).denominator > 1 for _, k in factors):
        raise ValueError(f"the scale {number!r} may be a rounded root: dilate after the power, by a Fraction")
    return sympy.prod([_scale(factor) ** _exact(k) for factor, k in factors], start=_exact(scale))


def _curve(law: Any) -> tuple[Any, dict[Fraction, Fraction]]:
    """Return x(v) but for the slope laws: a number, and powers of v + a with a as the keys."""
    zeros = law.curve.zeros
    scale = sympy.prod([_exact(m) ** -_exact(k) for m, k in zeros], start=_scale(law))
    return scale, {Fraction(-1): Fraction(-1)} | {m - 1: k for m, k in zeros}


def _order(scale: Any, exponents: Iterable[Fraction]) -> int:
    """Return the least q with x^q rational, x = scale prod p^k."""
    q = math.lcm(*(k.denominator for k in exponents))
    return next(j for j in itertools.count(q, q) if (scale**j).is_Rational)


# ---- the polynomial ----------------------------------------------------------------------------------------


def _relation(law: Any) -> Poly:
    """Return the irreducible polynomial in (g, x)."""
    match law:
        case FiniteLaw():
            nodes = [(Poly(_X - _exact(d), _G, _X), _exact(p)) for d, p in law._point_masses]
            whole = math.prod((node for node, _ in nodes), start=Poly(1, _G, _X))
            return _primitive(sum((-whole.quo(node) * p for node, p in nodes), whole * Poly(_G, _G, _X)))
        case Semicircle(deviation=std):
            return _primitive(Poly(_exact(std) ** 2 * _G**2 - _X * _G + 1, _G, _X))
        case Affine(law=inner, factor=a, shift=b) | Reflected(law=inner, factor=a, shift=b):
            return _primitive(_substitute(_relation(inner), (_exact(a) * _G, 1), (_X - _exact(b), _exact(a)), (_G, _X)))
    return _sum(law.terms) if isinstance(law, FreeSum) else _product(law)


def _sum(terms: tuple[tuple[Any, Any], ...]) -> Poly:
    y = Poly(_Y, _Y, _G)  # x of the terms so far
    for i, (term, n) in enumerate(terms):
        inner = _substitute(_relation(term), (_G, 1), (_U, 1), (_U, _Y, _G))
        old = (_Y - _exact(n) * _U) * _G + _exact(n) - int(i == 0)
        y = _substitute(y, (old, _G), (_G, 1), (_U, _Y, _G))
        y = _eliminate(inner, y, _branch(_cumulants(FreeSum(terms[: i + 1]), _TERMS)))
    return _primitive(_substitute(y, (_X, 1), (_G, 1), (_G, _X)))


def _product(law: Any) -> Poly:
    slopes, (scale, lines) = law.curve.slopes, _curve(law)
    q = _order(scale, (*lines.values(), *(k for *_, k in slopes)))
    up, down = (math.prod(((_V + _exact(a)) ** int(sign * k * q) for a, k in lines.items() if sign * k > 0),
                          start=sympy.Integer(1)) for sign in (1, -1))
    y, points = Poly(down * _Y - up * scale**q, _Y, _V), []  # x^q of the factors so far
    for i, (slope, m, k) in enumerate(slopes):
        z = (_V - 1) / _exact(m)
        inner = _substitute(_relation(_inside(slope)), (1 + z, _U), (_U, 1), (_U, _Y, _V))
        old, new = (1 + z) ** abs(int(k * q)), (_U * z) ** abs(int(k * q))
        y = _substitute(y, (_Y * old, new) if k > 0 else (_Y * new, old), (_V, 1), (_U, _Y, _V))
        mean, c = _z_over_chi(law, _TERMS, i + 1)
        points = [(x, 1 + w) for x, w in _branch([mean * a for a in c])]
        y = _eliminate(inner, y, [(x**q, v) for x, v in points])
    y = _substitute(y, (_X**q, 1), (_X * _G, 1), (_G, _X))
    # Without slopes x^q = r(v), and as q is least r is no power.
    return _irreducible(y, [(v / x, x) for x, v in points]) if points and q > 1 else _primitive(y)


def _substitute(p: Poly, first: tuple[Any, Any], second: tuple[Any, Any], gens: tuple[Any, ...]) -> Poly:
    """Return p with fractions (numerator, denominator) for its two variables, cleared of denominators."""
    (n1, d1), (n2, d2) = ([Poly(part, *gens, domain="QQ") for part in pair] for pair in (first, second))
    i_max, j_max = p.degree_list()
    return sum((n1**i * d1 ** (i_max - i) * n2**j * d2 ** (j_max - j) * c for (i, j), c in p.terms()),
               Poly(0, *gens, domain="QQ"))


def _eliminate(a: Poly, b: Poly, points: Points) -> Poly:
    """Return the law's irreducible factor of the resultant of two irreducible polynomials in the first variable."""
    resultant = a.resultant(b)
    return _primitive(resultant) if 1 in (a.degree(), b.degree()) else _irreducible(resultant, points)


@mpmath.workdps(_DIGITS)
def _irreducible(p: Poly, points: Points) -> Poly:
    """Return the factor of p that vanishes on the law's branch."""
    factors = [f for f, _ in _primitive(p).factor_list()[1]]
    for u, z in points if len(factors) > 1 else ():
        terms = [(f, [int(c) * u**i * z**j for (i, j), c in f.terms()]) for f in factors]
        factors = [f for f, t in terms if abs(mpmath.fsum(t)) < _VANISHES * mpmath.fsum(t, absolute=True)]
    if len(factors) != 1:
        raise ConvergenceError(f"{len(factors)} factors of a polynomial belong to the law")
    return _primitive(factors[0])


@mpmath.workdps(_DIGITS)
def _branch(c: Series) -> Points:
    """Return (c(z)/z, z) at two small z."""
    c = [_mp(a) for a in c]
    steep = max(abs(a / c[0]) ** (mpmath.mpf(1) / j) for j, a in enumerate(c) if j) or 1
    return [(mpmath.polyval(c[::-1], z) / z, z) for z in (part / (1000 * steep) for part in (1, 0.5))]


def _primitive(p: Poly) -> Poly:
    """Return p with coprime integer coefficients, the first positive, and no factor in one variable alone."""
    p = p.clear_denoms(convert=True)[1]
    for gen in p.gens:
        p = Poly(Poly(p.as_expr(), gen).primitive()[1].as_expr(), *p.gens, domain="ZZ").primitive()[1]
    return -p if p.LC() < 0 else p


# ---- edges -------------------------------------------------------------------------------------------------


def _candidates(law: Any) -> Iterator[tuple[Any, Callable[[], Any]]]:
    """Yield each real x where a branch of the Cauchy transform may be singular, and what makes the exact number."""
    curve = _parametrise(law) if isinstance(law, PositiveLaw) else _rational(law)
    if curve is None:
        p = _relation(law)
        if p.degree(_G) * p.degree(_X) > _LARGE:
            raise ValueError(f"the exact edges of {law} are out of reach; `support` has them as floats")
        # one multiplicity at a time, for sympy is slow at the factors of their product
        for part, _ in (*Poly(p.discriminant(), _X).sqf_list()[1], *Poly(p.eject(_X).LC(), _X).sqf_list()[1]):
            yield from ((_mp(root), partial(_exact, root)) for root in part.real_roots())
        return
    scale, powers = _factored(*(curve[:2] if isinstance(law, PositiveLaw) else (1, [(curve[0], Fraction(1))])))
    if sum(k * f.degree() for f, k in powers) == 0:  # x is finite at u = infinity
        limit = sympy.prod([f.LC() ** _exact(k) for f, k in powers], start=scale)
        yield _mp(limit), partial(_exact, limit)
    q = _order(scale, (k for _, k in powers))
    whole = math.prod((f for f, _ in powers), start=Poly(1, _U))
    slope = sum((whole.quo(f) * f.diff() * int(k * q) for f, k in powers), Poly(0, _U))  # of ln x
    for factor, _ in slope.factor_list()[1]:
        for root in factor.real_roots():
            x = _mp(scale**q) * mpmath.fprod(_mp(f.as_expr().subs(_U, root)) ** int(k * q) for f, k in powers)
            if q == 1 or x > 0:
                near = x if q == 1 else mpmath.root(x, q)
                yield near, partial(_critical_value, scale, powers, q, factor, near)


def _critical_value(scale: Any, powers: Powers, q: int, factor: Poly, near: Any) -> Any:
    """Return x at the root of an irreducible factor that makes it nearest to a number."""
    value = Poly(scale**q, _U, domain="QQ")  # x^q modulo the factor
    for f, k in powers:
        for base in [f.rem(factor) if k > 0 else f.invert(factor)] * abs(int(k * q)):
            value = (value * base).rem(factor)
    norm = Poly(factor, _U, _X).resultant(Poly(_X**q - value.as_expr(), _U, _X))
    return min(norm.real_roots(), key=lambda root: abs(_mp(root) - near))


def _parametrise(law: PositiveLaw) -> tuple[Any, Powers, Any] | None:
    """Return x(u), as a number and powers of rational functions, and v(u); None where no one u gives both."""
    v: Any = _U
    powers: Powers = []
    for slope, m, k in law.curve.slopes:
        found = _rational(_inside(slope))
        if found is None or powers:
            return None
        x, g = found
        v, powers = 1 + _exact(m) * (x * g - 1), [(x * (x * g - 1) / (x * g), k)]
    scale, lines = _curve(law)
    return scale, powers + [(v + _exact(a), k) for a, k in lines.items()], v


def _rational(law: Any) -> tuple[Any, Any] | None:
    """Return x(u) and g(u) as rational functions, None where no one u gives both."""
    match law:
        case FiniteLaw():
            return _U, sum(_exact(p) / (_U - _exact(d)) for d, p in law._point_masses)
        case Affine(law=inner, factor=factor, shift=shift) | Reflected(law=inner, factor=factor, shift=shift):
            found = _rational(inner)
            return found and (_exact(factor) * found[0] + _exact(shift), found[1] / _exact(factor))
        case PositiveLaw():
            curve = _parametrise(law)
            if curve is None or _order(curve[0], (k for _, k in curve[1])) > 1:
                return None
            x = sympy.prod([part ** _exact(k) for part, k in curve[1]], start=curve[0])
            return x, curve[2] / x
    terms = [(term, _exact(n), _relation(term)) for term, n in (law.terms if isinstance(law, FreeSum) else ((law, 1),))]
    curved = [(term, n) for term, n, p in terms if p.degree(_X) > 1]
    found = _rational(curved[0][0]) if curved else (sympy.Integer(0), _U)
    if found is None or len(curved) > 1:
        return None
    x, g = found
    x = x * sum(n for _, n in curved) - (sum(n for _, n, _ in terms) - 1) / g
    for _, n, p in terms:
        if p.degree(_X) == 1:
            slope, rest = p.eject(_G).all_coeffs()
            x -= n * (rest / slope).subs(_G, g)
    return x, g


def _factored(scale: Any, parts: Powers) -> tuple[Any, Powers]:
    """Return a number times powers of rational functions of u with distinct irreducible polynomials instead."""
    powers: defaultdict[Poly, Fraction] = defaultdict(Fraction)
    for part, k in parts:
        for side, sign in zip(sympy.fraction(sympy.cancel(part)), (1, -1), strict=True):
            constant, factors = Poly(side, _U, domain="QQ").factor_list()
            scale *= constant ** _exact(sign * k)
            for f, j in factors:
                powers[f] += sign * k * j
    return scale, [(f, k) for f, k in powers.items() if k]
