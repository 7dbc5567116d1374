"""The exact side against identities of the literature, and against the numeric laws."""

import math
from fractions import Fraction

import pytest
import sympy
from numpy.testing import assert_allclose

from rmt import (
    Bernoulli,
    Discrete,
    FussCatalan,
    MarchenkoPastur,
    MultiplicativeBrownian,
    PointMass,
    Semicircle,
    SquaredSlope,
    algebraic,
    mlp,
    predict,
)

X, G = sympy.symbols("x g")
HALF, QUARTER = Fraction(1, 2), Fraction(1, 4)
COIN = Discrete((-1, 1), (HALF, HALF))
THREE = Discrete((0, 1, 4), (QUARTER, HALF, QUARTER))

LAWS = [
    MarchenkoPastur(0.5) * MarchenkoPastur(2) * Bernoulli(0.5),
    MarchenkoPastur(HALF) * MarchenkoPastur(QUARTER),
    MarchenkoPastur(0.3),
    FussCatalan(50),
    1e-60 * FussCatalan(50),
    (2 * MarchenkoPastur(1) * Bernoulli(HALF)) ** 30,
    MarchenkoPastur(2) ** 2.5,
    Bernoulli(0.5) ** 1.5,
    Bernoulli(0.75) * Bernoulli(0.75),
    PointMass(4) ** 1.5 * MarchenkoPastur(1),
    PointMass(2) ** 1.5 * MarchenkoPastur(1),
    Discrete((1, 4), (HALF, HALF)) * MarchenkoPastur(HALF),
    Discrete((1, 2), (HALF, HALF)) ** 1.5,
    THREE**2,
    THREE * Discrete((1, 3), (HALF, HALF)),
    THREE * Discrete((1, 3), (HALF, HALF)) * MarchenkoPastur(HALF),
    (THREE * MarchenkoPastur(1)).compress(HALF),
    predict(mlp([10, 100, 10], "leaky_relu(.5)", "orthogonal")).spectrum.squared,
    2.5 * Semicircle(1) + 1.0,
    Semicircle(1) + COIN,
    Semicircle(1) + MarchenkoPastur(1),
    Bernoulli(HALF) + Bernoulli(QUARTER),
    COIN.compress(Fraction(2, 5)),
    (MarchenkoPastur(1) + 1) * MarchenkoPastur(HALF),
]


@pytest.mark.parametrize(("law", "expected"), [
    (PointMass(Fraction(3, 2)), 2 * G * X - 3 * G - 2),
    (Semicircle(2), 4 * G**2 - G * X + 1),
    (MarchenkoPastur(1), X * G**2 - X * G + 1),
    (MarchenkoPastur(2), 2 * X * G**2 - (X + 1) * G + 1),
    (FussCatalan(3), X**3 * G**4 - X * G + 1),
    (FussCatalan(50), X**50 * G**51 - X * G + 1),
    (MarchenkoPastur(1) ** 4.5, X**9 * G**11 - (X * G - 1) ** 2),
    (PointMass(4) ** 1.5 * MarchenkoPastur(1), 8 * X * G**2 - X * G + 1),
    (Bernoulli(HALF) + Bernoulli(HALF), G**2 * X * (X - 2) - 1),  # the arcsine law
    (Bernoulli(HALF) * Bernoulli(HALF), (2 * X * G - 1) ** 2 * X - (2 * X * G - 1) ** 2 - X),
    (MarchenkoPastur(1) + Semicircle(1), G**3 - (X + 1) * G**2 + X * G - 1),  # K = g + 1/(1 - g) + 1/g
])
def test_the_polynomial(law, expected):
    assert algebraic.polynomial(law, X, G) == sympy.expand(expected)


@pytest.mark.parametrize("law", LAWS, ids=repr)
def test_the_polynomial_vanishes_at_the_cauchy_transform_and_is_irreducible(law):
    p = sympy.Poly(algebraic.polynomial(law, X, G), X, G)
    assert all(c.is_Integer for c in p.coeffs())
    assert p.primitive()[0] == 1
    if p.total_degree() < 20:
        factors = p.factor_list()[1]
        assert len(factors) == 1
        assert factors[0][1] == 1
    # At 1000 times the top of the law 25 moments give G to 1e-75; the polynomial is relative to its terms.
    x = 1000 * sympy.Rational(Fraction(max([*law.atoms, *(abs(end) for band in law.support for end in band)])))
    moments = [1, *algebraic.moments(law, 24)]
    g = sympy.N(sum(m / x ** (k + 1) for k, m in enumerate(moments)), 100)
    terms = [c * x**i * g**j for (i, j), c in p.terms()]
    assert abs(sum(terms)) < 1e-60 * sum(abs(term) for term in terms)


def test_x_and_g_may_be_any_expression():
    z = sympy.Symbol("z")
    assert algebraic.polynomial(Semicircle(1), z + 1 / z, z).equals(0)  # the branch G(z + 1/z) = z
    assert algebraic.polynomial(MarchenkoPastur(1), 4, HALF) == 0  # the top edge


@pytest.mark.parametrize("depth", [1, 3, 50])
def test_fuss_catalan(depth):
    law = FussCatalan(depth)
    assert algebraic.moments(law, 12) == [
        Fraction(math.comb((depth + 1) * k, k), depth * k + 1) for k in range(1, 13)]
    assert algebraic.edges(law) == [0, Fraction((depth + 1) ** (depth + 1), depth**depth)]


@pytest.mark.parametrize("law", [
    MarchenkoPastur(HALF) * MarchenkoPastur(2) * Bernoulli(HALF),
    MarchenkoPastur(HALF) * MarchenkoPastur(QUARTER),
    MarchenkoPastur(3) * MarchenkoPastur(Fraction(1, 5)) * MarchenkoPastur(1),
    (MarchenkoPastur(1) * Bernoulli(HALF)) ** 3,
    Bernoulli(Fraction(3, 4)) * Bernoulli(Fraction(3, 4)),
    Bernoulli(QUARTER) * Bernoulli(HALF) * MarchenkoPastur(HALF),
    3 * Bernoulli(Fraction(9, 10)) * MarchenkoPastur(4),
    THREE * MarchenkoPastur(HALF),
    THREE * Bernoulli(Fraction(2, 3)),
    THREE * Discrete((1, 3), (HALF, HALF)),
    Discrete((1, 3), (HALF, HALF)) * MarchenkoPastur(2) * MarchenkoPastur(HALF),
    Discrete((QUARTER, 1), (HALF, HALF)) ** 2 * MarchenkoPastur(QUARTER) * Bernoulli(HALF),
], ids=repr)
def test_rectangular_and_atomic_products_have_exact_moments_to_order_8(law):
    """By Lagrange inversion in floats and by quadrature of the density, against exact rationals."""
    for k, exact in enumerate(algebraic.moments(law, 8), start=1):
        assert exact.is_Rational
        assert_allclose([law.moment(k), law.expect(lambda x, k=k: x**k)], float(exact), rtol=1e-11)


def test_moments_are_exact_rationals():
    found = algebraic.moments(MarchenkoPastur(Fraction(1, 3)), 3)
    assert found == [1, Fraction(4, 3), Fraction(19, 9)]  # 1, 1 + c, 1 + 3 c + c^2
    assert all(isinstance(m, sympy.Rational) for m in found)
    assert algebraic.moments(Semicircle(HALF), 6) == [0, QUARTER, 0, Fraction(1, 8), 0, Fraction(5, 64)]
    assert algebraic.moments(2 * (Bernoulli(HALF) + Bernoulli(HALF)), 4) == [2, 6, 20, 70]  # the arcsine law
    # m_k = [w^(k-1)] (1 + w)^(5.5 k) / k
    for k, m in enumerate(algebraic.moments(MarchenkoPastur(1) ** 4.5, 8), start=1):
        assert m == sympy.binomial(sympy.Rational(11 * k, 2), k - 1) / k
    assert algebraic.moments(Bernoulli(0.5) ** 1.5, 1) == [sympy.sqrt(2) / 4]


@pytest.mark.parametrize("law", LAWS, ids=repr)
def test_moments_equal_the_numeric_ones(law):
    exact = algebraic.moments(law, 6)
    assert_allclose([float(m) for m in exact], [law.moment(k) for k in range(1, 7)], rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize(("law", "expected"), [
    (MarchenkoPastur(HALF), [Fraction(3, 2) - sympy.sqrt(2), Fraction(3, 2) + sympy.sqrt(2)]),
    (MarchenkoPastur(4), [1, 9]),
    (MarchenkoPastur(0.5) * MarchenkoPastur(2) * Bernoulli(0.5), [0, (9 + 6 * sympy.sqrt(3)) / 4]),
    (MarchenkoPastur(1) ** 4.5, [0, 161051 * sympy.sqrt(11) / 39366]),
    (Bernoulli(0.75) * Bernoulli(0.75), [0, Fraction(3, 4)]),
    (Bernoulli(HALF) * Bernoulli(HALF), [0, 1]),  # w is infinite at the top
    (THREE**2, [0, (78 - 30 * sympy.sqrt(5)) / 11, 1, (78 + 30 * sympy.sqrt(5)) / 11]),
    (Semicircle(3) + 1, [-5, 7]),
    (Bernoulli(HALF) + Bernoulli(HALF), [0, 2]),
    (Semicircle(1) + COIN, [-3 * sympy.sqrt(3) / 2, 3 * sympy.sqrt(3) / 2]),
    (FussCatalan(2) + FussCatalan(2), [(71 - 17 * sympy.sqrt(17)) / 16, (71 + 17 * sympy.sqrt(17)) / 16]),
    (THREE, []),
])
def test_edges_in_radicals(law, expected):
    found = algebraic.edges(law)
    assert len(found) == len(expected)
    assert all(sympy.simplify(a - sympy.nsimplify(b)) == 0 for a, b in zip(found, expected, strict=True))
    assert not any(end.has(sympy.CRootOf) for end in found)


def test_edges_of_higher_degree_are_roots_of_a_polynomial():
    found = algebraic.edges(MarchenkoPastur(HALF) * MarchenkoPastur(QUARTER))
    assert_allclose([float(end) for end in found], [0.05593557, 3.74669022], rtol=1e-7)
    assert all(isinstance(end, sympy.CRootOf) for end in found)
    assert {end.poly.as_expr(end.poly.gen) for end in found} == {
        sympy.expand(512 * end.poly.gen**3 - 1904 * end.poly.gen**2 - 56 * end.poly.gen + 9) for end in found}


@pytest.mark.parametrize("law", LAWS, ids=repr)
def test_edges_equal_the_numeric_support(law):
    numeric = [end for band in law.support for end in band]
    assert_allclose([float(end) for end in algebraic.edges(law)], numeric, rtol=1e-9, atol=1e-12 * max(numeric))
    assert sorted(numeric) == numeric


def test_what_is_refused():
    with pytest.raises(TypeError, match=r"n must be a whole number >= 1, got 2\.5"):
        algebraic.moments(MarchenkoPastur(1), 2.5)
    with pytest.raises(ValueError, match="n must be a whole number >= 1, got 0"):
        algebraic.moments(MarchenkoPastur(1), 0)
    for call in (lambda law: algebraic.polynomial(law, X, G), lambda law: algebraic.moments(law, 2), algebraic.edges):
        with pytest.raises(TypeError, match="law must be a law of rmt such as"):
            call(3)
        with pytest.raises(TypeError, match="law must be a law of rmt such as"):
            call(MarchenkoPastur(1).spectrum)
        with pytest.raises(ValueError, match="may be a rounded root"):
            call((2 * MarchenkoPastur(1)) ** 1.5)
    for law in (MultiplicativeBrownian(1), SquaredSlope("tanh", 1.0) * MarchenkoPastur(1)):
        with pytest.raises(TypeError, match="is not algebraic"):
            algebraic.moments(law, 2)
