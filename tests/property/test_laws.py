"""The algebra of laws on random laws, and the theory against random matrices."""

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from law_checks import band_levels
from numpy.testing import assert_allclose
from scipy import stats

from rmt import Bernoulli, Discrete, FussCatalan, MarchenkoPastur, PointMass, mlp, predict

ratios = st.fractions(Fraction(1, 100), 100, max_denominator=100)
chances = st.fractions(Fraction(1, 20), 1, max_denominator=20)
smooth = st.one_of(
    st.builds(MarchenkoPastur, ratios),
    st.builds(FussCatalan, st.integers(1, 60)),
    st.builds(Bernoulli, chances),
    st.builds(PointMass, ratios),
)
discrete = st.builds(lambda x, y, p: Discrete((x, x + y), (p / 2, 1 - p / 2)), ratios, ratios, chances)
laws = st.one_of(smooth, discrete)
examples = settings(deadline=None, derandomize=True, max_examples=25)


def moments(law):
    return [law.moment(k) for k in range(1, 6)]


@examples
@given(laws, laws, laws)
def test_the_product_commutes_and_associates(a, b, c):
    assert a * b == b * a
    assert (a * b) * c == a * (b * c)
    assert hash((a * b) * c) == hash(c * (b * a))
    assert_allclose(moments((a * b) * c), moments(c * (b * a)), rtol=1e-12)


@examples
@given(laws, st.floats(1, 4), st.floats(1, 4))
def test_powers_add_and_multiply(law, j, k):
    assert law**2 * law**3 == law**5
    assert law * law == law**2
    assert law**1 == law
    assert_allclose(moments(law**j * law**k), moments(law ** (j + k)), rtol=1e-11)
    assert_allclose(moments((law**j) ** k), moments(law ** (j * k)), rtol=1e-11)


@examples
@given(laws, laws)
def test_means_multiply_and_relative_variances_add(a, b):
    def relative(law):
        return law.var() / law.mean() ** 2

    assert_allclose((a * b).mean(), a.mean() * b.mean(), rtol=1e-13)
    assert_allclose(relative(a * b), relative(a) + relative(b), rtol=1e-12, atol=1e-14)
    assert_allclose(relative(a**3.5), 3.5 * relative(a), rtol=1e-12, atol=1e-14)


@examples
@given(smooth, smooth, ratios)
def test_a_dilation_scales(a, b, factor):
    law, scale = a * b, float(factor)
    scaled = factor * law
    assert scaled == law * factor == law * PointMass(factor)
    assert_allclose(moments(scaled), moments(law) * scale ** np.arange(1, 6), rtol=1e-12)
    assert_allclose(scaled.support, np.multiply(law.support, scale), rtol=1e-12)
    assert_allclose(list(scaled.atoms), np.multiply(list(law.atoms), scale), rtol=1e-15)
    if law.support:
        x = law.ppf((law.cdf(law.support[0][0]) + 1 - sum(law.atoms.values()) / 2) / 2)
        if any(low < x < high for low, high in law.support):
            assert_allclose(scaled.pdf(scale * x), law.pdf(x) / scale, rtol=1e-9)
            assert_allclose(scaled.cdf(scale * x), law.cdf(x), rtol=1e-11)


chains = st.lists(st.integers(1, 300), min_size=2, max_size=5)
inits = st.sampled_from(["gaussian", "orthogonal"])


@settings(examples, max_examples=12)
@given(chains, st.floats(1e-3, 0.95), inits)
def test_a_leaky_chain_of_any_widths_has_one_law(widths, slope, init):
    """Two bands a layer that touch, almost touch or part: the mass is 1, quantiles invert, the mean is exact."""
    law = predict(mlp(widths, f"leaky_relu({slope})", init)).spectrum.squared
    assert_allclose(law.expect(np.ones_like), 1, rtol=1e-9)
    assert_allclose(law.expect(lambda x: x), law.mean(), rtol=1e-9)
    levels = band_levels(law, (0.01, 0.3, 0.5, 0.7, 0.99)).ravel()
    assert_allclose(law.cdf(law.ppf(levels)), levels, rtol=0, atol=1e-11)


@examples
@given(smooth, smooth)
def test_the_order_of_factors_does_not_move_the_edges(a, b):
    one, other = a * b, PointMass(2) * b * a * PointMass(Fraction(1, 2))
    assert one == other
    assert one.support == other.support


# ---- against random matrices ------------------------------------------------------------------------
# Eigenvalues of one matrix repel, so a Kolmogorov-Smirnov p-value is wrong by orders of magnitude:
# independent are the matrices. A statistic of one matrix is the mean of cos(j pi F(x)), j = 1..3, over the
# continuous part; the fraction at each atom is exact. Complex Gaussian matrices have no bias at order 1/N
# (THEORY 4).

N, MATRICES = 300, 10
FALSE_ALARM = 1e-6  # of a statistic, two-sided, Student over matrices: 2e-5 for all 3 x 7 of them


def gaussian(rng, m, n=N):
    return (rng.standard_normal((m, n)) + 1j * rng.standard_normal((m, n))) / math.sqrt(2 * m)


def projection(rng, p, n=N):
    q, _ = np.linalg.qr(gaussian(rng, n)[:, : round(p * n)])
    return q @ q.conj().T


def halves(low, high):
    return np.repeat([low, high], N // 2)


SIMULATIONS = {
    MarchenkoPastur(0.5): lambda rng: gaussian(rng, 2 * N),
    MarchenkoPastur(2): lambda rng: gaussian(rng, N // 2),
    FussCatalan(3): lambda rng: gaussian(rng, N) @ gaussian(rng, N) @ gaussian(rng, N),
    MarchenkoPastur(0.5) * Bernoulli(0.5): lambda rng: gaussian(rng, 2 * N) * halves(0, 1),
    Bernoulli(0.75) * Bernoulli(0.75): lambda rng: projection(rng, 0.75) @ projection(rng, 0.75),
    Discrete((1, 9), (0.5, 0.5)) * MarchenkoPastur(1): lambda rng: gaussian(rng, N) * halves(1, 3),
    Discrete((1, 16), (0.5, 0.5)) * MarchenkoPastur(0.1): lambda rng: gaussian(rng, 10 * N) * halves(1, 4),
}


def statistics(law, x):
    """Return a row a matrix: mean cos(j pi U), U the rank in the continuous part; the share at each atom."""
    points = np.array(list(law.atoms))
    at = np.abs(x[..., None] - points) < 1e-8
    rest = ~at.any(axis=-1)
    below = (x[..., None] > points) @ np.array(list(law.atoms.values()))
    u = (law.cdf(x) - below) / (1 - sum(law.atoms.values()))
    cosines = [(np.cos(j * math.pi * u) * rest).sum(axis=1) / rest.sum(axis=1) for j in (1, 2, 3)]
    return np.array(cosines), at.mean(axis=1)


@pytest.mark.parametrize("law", SIMULATIONS, ids=repr)
def test_random_matrices_follow_the_law_and_not_one_of_sigma_three_percent_off(law):
    rng = np.random.default_rng(7)
    matrices = (SIMULATIONS[law](rng) for _ in range(MATRICES))
    values = np.array([np.linalg.eigvalsh(a.conj().T @ a) for a in matrices])
    threshold = stats.t.isf(FALSE_ALARM / 2, MATRICES - 1)

    def verdict(candidate):
        cosines, atoms = statistics(candidate, values)
        z = stats.ttest_1samp(cosines, 0, axis=1).statistic
        return np.all(np.abs(z) < threshold) and np.allclose(atoms, list(candidate.atoms.values()))

    assert verdict(law)
    assert not verdict(1.06 * law)
