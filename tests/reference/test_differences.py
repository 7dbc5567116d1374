"""Negatives and differences of laws against matrices, their own mirror images, and exact polynomials."""

import math
from fractions import Fraction

import numpy as np
import pytest
import sympy
from numpy.testing import assert_allclose

import rmt
from rmt import Bernoulli, Discrete, Empirical, FussCatalan, MarchenkoPastur, PointMass, Semicircle
from rmt.laws.reflection import Reflected
from tests.law_checks import CHECKS, NAMES

COIN = Discrete((-1, 1), (0.5, 0.5))
THREE = Discrete((0, 1, 4), (0.25, 0.5, 0.25))
REFLECTED = [
    -FussCatalan(2), -(MarchenkoPastur(1) * Bernoulli(0.5)), 3.0 - MarchenkoPastur(2), THREE - FussCatalan(2),
    MarchenkoPastur(1) - MarchenkoPastur(0.5), (10 - MarchenkoPastur(1)) * MarchenkoPastur(0.5),
    (MarchenkoPastur(0.5) - 2 * MarchenkoPastur(0.3)).compress(0.5),
]


@pytest.mark.parametrize("law", REFLECTED, ids=str)
@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_they_promise_what_every_law_does(law, check):
    check(law)


def wishart(rng, n, ratio):
    w = rng.standard_normal((round(n / ratio), n)) / math.sqrt(round(n / ratio))
    return w.T @ w


N = 800


@pytest.mark.parametrize(("law", "draw"), [
    (-MarchenkoPastur(0.5), lambda rng: -wishart(rng, N, 0.5)),
    (1 - MarchenkoPastur(0.5), lambda rng: np.eye(N) - wishart(rng, N, 0.5)),
    (MarchenkoPastur(1) - MarchenkoPastur(0.25), lambda rng: wishart(rng, N, 1) - wishart(rng, N, 0.25)),
    (MarchenkoPastur(1) - MarchenkoPastur(1), lambda rng: wishart(rng, N, 1) - wishart(rng, N, 1)),
    (THREE - MarchenkoPastur(1), lambda rng: np.diag(np.repeat([0.0, 1, 1, 4], N // 4)) - wishart(rng, N, 1)),
    (MarchenkoPastur(1) / 4 - THREE / 2.0,
     lambda rng: wishart(rng, N, 1) / 4 - np.diag(np.repeat([0, 0.5, 0.5, 2], N // 4))),
], ids=lambda it: "matrices" if callable(it) else str(it))
def test_the_cdf_is_that_of_matrices(law, draw):
    """Rigid eigenvalues: their cdf is within a few n-ths of the law's (seen: .004)."""
    values = np.sort(np.linalg.eigvalsh(draw(np.random.default_rng(5))))
    assert_allclose(law.cdf(values), (np.arange(N) + 0.5) / N, atol=0.01)


PLAIN = [MarchenkoPastur(0.5), FussCatalan(3), THREE * MarchenkoPastur(0.5), MarchenkoPastur(1) + COIN,
         2.0 * MarchenkoPastur(3) + -1.5, Bernoulli(0.75) * Bernoulli(0.75), Empirical((1, 2, 5)), PointMass(3), COIN,
         Semicircle(2) + 1.0, (MarchenkoPastur(1) + COIN).compress(0.4)]


@pytest.mark.parametrize("law", PLAIN, ids=str)
def test_a_negative_is_the_mirror_image(law):
    turned = -law
    assert -turned == law
    assert turned == eval(repr(turned), dict(NAMES))
    if law.support:
        assert_allclose(turned.support, [(-hi, -lo) for lo, hi in reversed(law.support)], rtol=1e-14, atol=1e-14)
    assert turned.atoms == {-x: mass for x, mass in reversed(law.atoms.items())}
    levels = np.array([0.03, 0.27, 0.61, 0.97])
    x = law.ppf(levels)
    inside = np.min(np.abs(x[:, None] - np.array([*law.atoms, np.inf])), axis=1) > 1e-9
    assert_allclose(turned.cdf(-x)[inside], 1 - law.cdf(x)[inside], atol=1e-12)
    assert_allclose(turned.pdf(-x), law.pdf(x), rtol=1e-9, atol=1e-12)
    assert_allclose(turned.free_cumulants(4), law.free_cumulants(4) * [-1, 1, -1, 1], rtol=1e-12, atol=1e-13)
    z = np.array([0.3 + 0.2j, -2 + 1e-3j, 7.0 - 1j])
    assert_allclose(turned.stieltjes(z), -law.stieltjes(-z), rtol=1e-9)
    assert_allclose(turned.r_transform(0.03), -law.r_transform(-0.03), rtol=1e-10)


def test_both_tails_and_deep_quantiles_keep_their_digits():
    law, turned = FussCatalan(20), -FussCatalan(20)
    for q in (1e-3, 0.3, 0.7, 0.999):
        assert_allclose(turned.ppf(q), -law.ppf(1 - q), rtol=1e-10)
    assert turned.sf(-1e-20) == pytest.approx(law.cdf(1e-20), rel=1e-12)


def test_signs_meet():
    a, b = MarchenkoPastur(1), FussCatalan(2)
    assert a - b == -(b - a)
    assert (a - b) + (b - 1.5) == (a - b) + b - 1.5
    assert a - 0.3 == a + -0.3
    assert 1 - (1 - a) == a + 0.0 == a
    assert 2 * (-a) == -(2 * a)
    assert (-a) / 2 == -(a / 2) == -(Fraction(1, 2) * a)
    assert -(-a).compress(0.5) == a.compress(0.5)
    assert (1 - a) - b == 1 - (a + b)
    assert isinstance((-a) - 2, Reflected)
    assert (a / 2).mean() == 0.5
    assert (a.spectrum / 2) == 0.5 * a.spectrum
    assert (COIN - COIN) == COIN + COIN


@pytest.mark.parametrize(("make", "error", "says"), [
    (lambda a: a / 0, ValueError, ("divisor", "(0, inf)", "0")),
    (lambda a: a / math.nan, ValueError, ("divisor", "nan")),
    (lambda a: a - math.inf, ValueError, ("shift", "inf")), (lambda a: a / a, TypeError, ("/",)),
    (lambda a: a - "b", TypeError, ("-",)), (lambda a: a - rmt.TracyWidom(2), TypeError, ("TracyWidom",)),
    (lambda a: -rmt.TracyWidom(2), TypeError, ("TracyWidom",)),
    (lambda a: rmt.TracyWidom(2) / 2, TypeError, ("TracyWidom",)),
    (lambda a: (-a) * a, ValueError, ("x >= 0",)), (lambda a: (-a).spectrum, ValueError, ("x >= 0",))])
def test_what_has_no_sense_is_refused_in_words(make, error, says):
    with pytest.raises(error) as refused:
        make(MarchenkoPastur(1))
    assert all(word in str(refused.value) for word in says)


def test_the_exact_side_knows_them():
    x, g = sympy.symbols("x g")
    law = MarchenkoPastur(1) - Bernoulli(Fraction(1, 2))
    p = rmt.algebraic.polynomial(law, x, g)
    z = 0.3 + 0.4j
    assert abs(complex(p.subs({x: z, g: complex(law.stieltjes(z))}))) < 1e-10
    assert rmt.algebraic.moments(1 - MarchenkoPastur(1), 3) == [0, 1, -1]
    assert_allclose([float(edge) for edge in rmt.algebraic.edges(law)], [x for band in law.support for x in band])
