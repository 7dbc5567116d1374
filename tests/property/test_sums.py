"""The algebra of free sums on random laws, and random expressions against random matrices."""

import math
from fractions import Fraction

import numpy as np
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from scipy import stats

from rmt import Bernoulli, Discrete, MarchenkoPastur, PointMass, Semicircle

positive = st.fractions(Fraction(1, 8), 8, max_denominator=8)
shifts = st.fractions(-3, 3, max_denominator=4)
chances = st.fractions(Fraction(1, 10), Fraction(9, 10), max_denominator=20)
terms = st.one_of(
    st.builds(Semicircle, positive),
    st.builds(MarchenkoPastur, positive),
    st.builds(Bernoulli, chances),
    st.builds(lambda x, d, p: Discrete((x, x + d), (p, 1 - p)), shifts, positive, chances),
    st.builds(lambda a, b: MarchenkoPastur(a) * Bernoulli(b), positive, chances),
)
examples = settings(deadline=None, derandomize=True, max_examples=25, phases=[Phase.explicit, Phase.generate])
Q = np.array([0.1, 0.5, 0.83])


@examples
@given(terms, terms, terms)
def test_the_sum_commutes_and_associates(a, b, c):
    assert a + b == b + a
    assert (a + b) + c == a + (b + c)
    assert hash((a + b) + c) == hash(c + (b + a))


@examples
@given(terms, terms, shifts, positive)
def test_cumulants_add_and_scale(a, b, shift, factor):
    n = np.arange(1, 7)
    total = a.free_cumulants(6) + b.free_cumulants(6)
    assert_allclose((a + b).free_cumulants(6), total, rtol=1e-10, atol=1e-10 * np.abs(total).max())
    moved = float(factor) ** n * total + float(shift) * (n == 1)
    assert_allclose((factor * (a + b) + shift).free_cumulants(6), moved, rtol=1e-9, atol=1e-10 * np.abs(moved).max())
    half = (a + b).compress(Fraction(1, 2))
    assert_allclose(half.free_cumulants(6), 0.5 ** (n - 1) * total, rtol=1e-10, atol=1e-10 * np.abs(total).max())


@settings(examples, max_examples=12)
@given(terms, terms, shifts, positive)
def test_a_sum_has_the_mass_the_mean_and_the_quantiles_of_its_law(a, b, shift, factor):
    law = a + b
    assert_allclose(law.expect(np.ones_like), 1, rtol=1e-9)
    assert_allclose(law.expect(lambda x: x), law.mean(), rtol=1e-9, atol=1e-9 * law.std())
    assert_allclose(law.expect(lambda x: (x - law.mean()) ** 2), law.var(), rtol=1e-8)
    x = law.ppf(Q)
    moved = factor * law + shift
    assert_allclose(moved.ppf(Q), float(factor) * x + float(shift), rtol=1e-12, atol=1e-11 * law.std())
    assert_allclose(moved.pdf(float(factor) * x + float(shift)), law.pdf(x) / float(factor), rtol=1e-6, atol=1e-9)


@examples
@given(terms, terms, st.floats(-0.9, 0.9), st.floats(0.05, 0.9))
def test_r_adds_and_g_inverts_it(a, b, angle, size):
    """At complex g small enough for both: |g| under a sixth of one over the larger norm (Voiculescu 1986)."""
    norm = max(max(abs(x) for x in (*law.atoms, *np.ravel(law.support))) for law in (a, b))
    g = size / (12 * norm) * np.exp(1j * angle)
    r = a.r_transform(g) + b.r_transform(g)
    assert_allclose((a + b).r_transform(g), r, rtol=1e-10)
    assert_allclose((a + b).stieltjes(r + 1 / g), g, rtol=1e-9)


factors = st.one_of(st.builds(MarchenkoPastur, positive), st.builds(Bernoulli, chances),
                    st.builds(lambda x, y, p: Discrete((x, x + y), (p, 1 - p)), positive, positive, chances))


@examples
@given(factors, factors, st.floats(-0.95, -0.05), st.floats(-0.5, 0.5))
def test_s_multiplies(a, b, real, imag):
    mass = min(1 - law.atoms.get(0.0, 0.0) for law in (a, b))
    for w in (real * mass, (real + 1j * imag) * mass):
        assert_allclose((a * b).s_transform(w), a.s_transform(w) * b.s_transform(w), rtol=1e-11)
        assert_allclose((PointMass(2) * a).s_transform(w), a.s_transform(w) / 2, rtol=1e-11)


# ---- random expressions against random matrices -------------------------------------------------------
# Complex matrices of 400, rotated against each other, have no bias at order 1/N; the statistics are the means over a
# matrix of cos(j pi F(x)), j = 1..3, Student over independent matrices (see test_laws.py). False alarm rate 1e-6 a
# statistic, 3e-5 for all. The twin has a standard deviation 3 % too large.

N, MATRICES, FALSE_ALARM = 400, 8, 1e-6


def wishart(rng, ratio):
    a = rng.standard_normal((round(N / ratio), N, 2)) @ (1, 1j)
    return a.conj().T @ a / (2 * round(N / ratio))


def rotated(rng, values):
    q, _ = np.linalg.qr(rng.standard_normal((N, N, 2)) @ (1, 1j))
    return (q * values) @ q.conj().T


def gaussian(rng, std):
    a = rng.standard_normal((N, N, 2)) @ (1, 1j)
    return std * (a + a.conj().T) / math.sqrt(4 * N)


def spread(values, weights):
    return np.repeat(np.array(values, float), np.diff(np.rint(N * np.cumsum([0, *map(float, weights)]))).astype(int))


fifths = st.sampled_from([Fraction(k, 5) for k in (1, 2, 3, 4)])
smooth = st.one_of(
    st.sampled_from([Fraction(1, 4), Fraction(1, 2), Fraction(1), Fraction(2)]).map(
        lambda c: (MarchenkoPastur(c), lambda rng: wishart(rng, float(c)))),
    st.sampled_from([Fraction(1, 2), 1, 2]).map(lambda s: (Semicircle(s) + 3 * s, lambda rng: gaussian(
        rng, float(s)) + 3 * float(s) * np.eye(N))),
)
finite = st.one_of(
    st.tuples(positive, positive, fifths).map(lambda t: Discrete((t[0], t[0] + t[1]), (t[2], 1 - t[2]))),
    fifths.map(Bernoulli),
).map(lambda law: (law, lambda rng: rotated(rng, spread(law.values, law.weights))))


@settings(examples, max_examples=10)
@given(smooth, st.one_of(smooth, finite), st.booleans())
def test_a_random_expression_is_the_law_of_its_matrices(one, other, plus):
    (a, draw_a), (b, draw_b) = one, other
    law = a + b if plus else a * b
    rng = np.random.default_rng(5)

    def values():
        x, y = draw_a(rng), draw_b(rng)
        if plus:
            return np.linalg.eigvalsh(x + y)
        lower = np.linalg.cholesky(x + 1e-13 * np.eye(N))  # x = l l^*: the eigenvalues of l^* y l are those of x y
        return np.linalg.eigvalsh(lower.conj().T @ y @ lower)

    found = np.array([values() for _ in range(MATRICES)])
    threshold = stats.t.isf(FALSE_ALARM / 2, MATRICES - 1)

    def fits(candidate):
        points = np.array(list(candidate.atoms))
        at = np.abs(found[..., None] - points) < 1e-7
        rest = ~at.any(axis=-1)
        below = (found[..., None] > points) @ np.array(list(candidate.atoms.values()))
        u = (candidate.cdf(found) - below) / (1 - sum(candidate.atoms.values()))
        cosines = [(np.cos(j * math.pi * u) * rest).sum(1) / rest.sum(1) for j in (1, 2, 3)]
        return np.all(np.abs(stats.ttest_1samp(np.array(cosines), 0, axis=1).statistic) < threshold)

    assert fits(law)
    assert not fits(1.03 * law + -0.03 * law.mean())
