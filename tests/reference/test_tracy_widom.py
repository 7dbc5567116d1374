"""Tracy-Widom laws against Painlevé's equation, published tables and simulated matrices."""

import operator
import pickle

import mpmath
import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.linalg import eigh_tridiagonal

from rmt import MarchenkoPastur
from rmt.finite.tracy_widom import TracyWidom

BETAS = (1, 2, 4)
TABLE = {  # mean, variance, skewness, excess kurtosis: Bornemann (2010), table 7
    1: (-1.206533574582, 1.607781034581, 0.29346452408, 0.1652429384),
    2: (-1.771086807411, 0.8131947928329, 0.224084203610, 0.0934480876),
    4: (-2.306884893241, 0.5177237207726, 0.16550949435, 0.0491951565),
}
S = (6, 3, 1, 0, -1, -2, -3, -4, -5, -6)


@pytest.fixture(scope="module")
def painleve():
    """Return s, F and F' of each beta from q'' = s q + 2 q^3, q ~ Ai, by Taylor's method to 25 digits."""
    with mpmath.workdps(25):
        top = mpmath.mpf(12)  # beyond it q is Ai to 1e-25
        q, slope = mpmath.airyai(top), mpmath.airyai(top, derivative=1)
        tail = mpmath.quad(mpmath.airyai, [top, top + 5, top + 15])
        double = mpmath.quad(lambda s: (s - top) * mpmath.airyai(s) ** 2, [top, top + 5, top + 15])
        start = [q, slope, tail, slope**2 - top * q**2, double]  # q, q' and the integrals of q, q^2, (x - s) q^2
        solution = mpmath.odefun(
            lambda t, y: [-y[1], -((top - t) * y[0] + 2 * y[0] ** 3), y[0], y[0] ** 2, y[3]], 0, start)
        rows = {beta: [] for beta in BETAS}
        for s in S:
            q, _, first, square, double = solution(top - s)
            e, d, even, odd = mpmath.exp(-double / 2), first / 2, mpmath.cosh(first / 2), mpmath.sinh(first / 2)
            rows[1].append((e * mpmath.exp(-d), e * mpmath.exp(-d) * (square + q) / 2))
            rows[2].append((e**2, e**2 * square))
            rows[4].append((e * even, e * (even * square - odd * q) / mpmath.sqrt(2)))
        # P(X > x) in digits of its own
        return {beta: np.array([(f, 1 - f, g) for f, g in row], dtype=float).T for beta, row in rows.items()}


@pytest.mark.parametrize("beta", BETAS)
def test_cdf_and_density_solve_painleve_s_equation(beta, painleve):
    law, x = TracyWidom(beta), np.array(S) / (np.sqrt(2) if beta == 4 else 1)
    cdf, sf, pdf = painleve[beta]
    assert_allclose(law.cdf(x), cdf, rtol=0, atol=2e-13)
    assert_allclose(law.sf(x), sf, rtol=2e-12)
    assert_allclose(law.pdf(x), pdf, rtol=0, atol=2e-13)
    assert_allclose(law.logpdf(x), np.log(pdf), rtol=0, atol=1e-9)


def airy_determinant(s, digits=25, n=36):
    """Return det(1 - K) on (s, inf) of the Airy kernel K(x, y) = (Ai(x) Ai'(y) - Ai'(x) Ai(y)) / (x - y)."""
    with mpmath.workdps(digits):
        node, weight = np.polynomial.legendre.leggauss(n)
        x = [s + 8 * (mpmath.mpf(float(v)) + 1) for v in node]
        w = [mpmath.sqrt(8 * mpmath.mpf(float(v))) for v in weight]
        a, b = [mpmath.airyai(v) for v in x], [mpmath.airyai(v, derivative=1) for v in x]
        return float(mpmath.det(mpmath.matrix(n, n) + mpmath.matrix([
            [(i == j) - w[i] * w[j] * (b[i] ** 2 - x[i] * a[i] ** 2 if i == j else
                                       (a[i] * b[j] - b[i] * a[j]) / (x[i] - x[j])) for j in range(n)]
            for i in range(n)])))


@pytest.mark.parametrize("s", [-4, -2, 0])
def test_two_is_the_determinant_of_the_airy_kernel(s):
    assert TracyWidom(2).cdf(s) == pytest.approx(airy_determinant(s), abs=1e-13)


def test_published_values():
    assert TracyWidom(2).cdf(-2) == pytest.approx(0.41322414250512257485, abs=1e-13)
    assert_allclose(TracyWidom(1).ppf([0.9, 0.95, 0.99]), [0.4501, 0.9793, 2.0234], rtol=0, atol=6e-5)


@pytest.mark.parametrize("beta", BETAS)
def test_moments_are_the_published_ones(beta):
    law = TracyWidom(beta)
    mean, variance, skewness, kurtosis = TABLE[beta]
    assert law.mean() == pytest.approx(mean, abs=2e-12)
    assert law.var() == pytest.approx(variance, abs=2e-12)
    assert law.std() == pytest.approx(variance**0.5, abs=2e-12)
    assert law.moment(2) == pytest.approx(variance + mean**2, abs=1e-11)
    standard = [law.expect(lambda x, k=k: ((x - mean) / variance**0.5) ** k) for k in (0, 3, 4)]
    assert_allclose(standard, [1, skewness, 3 + kurtosis], rtol=0, atol=1e-9)


@pytest.mark.parametrize("s", [11, 15, 19])
def test_the_right_tail_keeps_its_digits(s):
    """P(X > x) is tr B, tr K and (tr K - (tr B)^2) / 2, K = B^2 the Airy kernel, to relative order tr B."""
    with mpmath.workdps(80):
        a, b = mpmath.airyai(s), mpmath.airyai(s, derivative=1)
        first = (mpmath.mpf(1) / 3 - mpmath.airyai(s, derivative=-1)) / 2
        second = (2 * s**2 * a**2 - 2 * s * b**2 - a * b) / 3
        tail = {1: first, 2: second, 4: (second - first**2) / 2}
        for beta, exact in tail.items():
            x = s / np.sqrt(2) if beta == 4 else s
            assert TracyWidom(beta).sf(x) == pytest.approx(float(exact), rel=1e-11, abs=0)


@pytest.mark.parametrize("beta", BETAS)
def test_the_density_is_the_slope_of_the_cdf(beta):
    law, step, x = TracyWidom(beta), 1e-2, np.linspace(-5, 3, 81)
    k = np.arange(1, 5)
    slope = sum(c * (law.cdf(x + i * step) - law.cdf(x - i * step)) for i, c in zip(
        k, (4 / 5, -1 / 5, 4 / 105, -1 / 280), strict=True)) / step
    assert_allclose(law.pdf(x), slope, rtol=0, atol=1e-11)
    assert_allclose(np.exp(law.logpdf(x)), law.pdf(x), rtol=1e-15)


@pytest.mark.parametrize("beta", BETAS)
def test_quantiles_invert_the_cdf(beta):
    law, q = TracyWidom(beta), np.array([1e-10, 1e-4, 0.01, 0.3, 0.5, 0.9, 0.9999, 1 - 1e-10])
    assert_allclose(law.cdf(law.ppf(q)), q, rtol=0, atol=1e-14)
    x = np.linspace(-4, 1, 11)
    assert_allclose(law.ppf(law.cdf(x)), x, rtol=0, atol=1e-10)
    assert law.ppf(0) == -np.inf
    assert law.ppf(1) == np.inf
    assert law.cdf(law.median()) == pytest.approx(0.5, abs=1e-14)
    sample = law.rvs((100, 20), rng=1)
    assert sample.shape == (100, 20)
    assert np.array_equal(sample, law.rvs((100, 20), rng=1))


@pytest.mark.parametrize("beta", BETAS)
def test_the_whole_line_is_answered(beta):
    law = TracyWidom(beta)
    assert law.support == ((-np.inf, np.inf),)
    assert law.atoms == {}
    far = [-np.inf, -1e6, -50, 50, 1e6, np.inf]
    assert_allclose(law.cdf(far), [0, 0, 0, 1, 1, 1], rtol=0, atol=0)
    assert_allclose(law.sf(far), [1, 1, 1, 0, 0, 0], rtol=0, atol=0)
    assert_allclose(law.pdf(far), 0, rtol=0, atol=0)
    x = np.linspace(-15, 25, 2001)
    assert not np.isnan(law.logpdf(x)).any()
    assert np.all(np.diff(law.sf(x)) <= 1e-15)
    for method in (law.pdf, law.logpdf, law.cdf, law.sf, law.ppf):
        assert np.isnan(method(np.nan))
        assert np.shape(method([])) == (0,)
        assert np.ndim(method(0.25)) == 0
        assert method(np.full((2, 3), 0.25)).shape == (2, 3)


def test_it_is_a_value():
    law = TracyWidom(np.int64(2))
    assert repr(law) == "TracyWidom(beta=2)"
    assert law == eval(repr(law)) == pickle.loads(pickle.dumps(law))
    assert len({law, TracyWidom(2), TracyWidom(1)}) == 2


@pytest.mark.parametrize("beta", [0, 3, -1, 1.0, True, "1", None, [1]])
def test_other_betas_are_refused(beta):
    with pytest.raises(ValueError, match="beta must be 1, 2 or 4, got ") as refused:
        TracyWidom(beta)
    assert repr(beta) in str(refused.value)


OPERATIONS = (operator.add, operator.mul, operator.pow)


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("other", [2, 0.5, TracyWidom(2), MarchenkoPastur(1), np.ones(3), np.float64(2)], ids=repr)
def test_it_is_no_free_variable(operation, other):
    law = TracyWidom(1)
    refusal = r"^TracyWidom\(beta=1\) is not the law of a free random variable: it takes no part in \+, \* or \*\*$"
    with pytest.raises(TypeError, match=refusal):
        operation(law, other)
    with pytest.raises(TypeError):  # a law on the left speaks first
        operation(other, law)


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("number", [2, 0.5, np.ones(3), np.float64(2)], ids=repr)
def test_a_number_on_the_left_is_refused_in_the_same_words(operation, number):
    with pytest.raises(TypeError, match="is not the law of a free random variable"):
        operation(number, TracyWidom(1))


@pytest.mark.parametrize("beta", BETAS)
def test_the_largest_eigenvalue_of_a_gaussian_matrix(beta):
    """1500 tridiagonal matrices (Dumitriu and Edelman): a false alarm in 1e4 (Dvoretzky-Kiefer-Wolfowitz).

    .04 of the band is for n = 200: 40000 matrices were .030, .006 and .025 from the law (beta = 1, 2, 4).
    """
    rng, n, draws = np.random.default_rng(beta), 200, 1500
    keep = 80  # the rest of the matrix moves the largest eigenvalue by rounding
    diagonal = rng.normal(0, np.sqrt(2 / beta), (draws, keep))
    off = np.sqrt(rng.chisquare(beta * (n - np.arange(1, keep)), (draws, keep - 1)) / beta)
    largest = np.array([eigh_tridiagonal(d, e, True, "i", (keep - 1, keep - 1))[0]
                        for d, e in zip(diagonal, off, strict=True)])
    x = np.sort(n ** (1 / 6) * (largest - 2 * np.sqrt(n)) * (2 ** (1 / 6) if beta == 4 else 1))
    distance = np.abs(TracyWidom(beta).cdf(x) - (np.arange(draws) + 0.5) / draws).max()
    assert distance < np.sqrt(np.log(2e4) / (2 * draws)) + 0.04
