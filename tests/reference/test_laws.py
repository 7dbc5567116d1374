"""Laws against what is known exactly."""

import math
from fractions import Fraction

import mpmath
import numpy as np
import pytest
from mpmath import cot, log, sin
from numpy.testing import assert_allclose
from scipy.optimize import brentq

from rmt import Bernoulli, ConvergenceError, Discrete, FussCatalan, MarchenkoPastur

DEPTHS = (1, 2, 5, 10, 50)


def log_x(depth, g):
    """Return ln x and its derivative at the angle f = (pi - g)/(depth + 1) of THEORY 2; g -> 0: hard edge."""
    n, f = depth + 1, (mpmath.pi - g) / (depth + 1)
    value = n * log(sin(g)) - log(sin(f)) - depth * log(sin(depth * f))
    return value, n * cot(g) + (cot(f) + depth**2 * cot(depth * f)) / n


def angle(depth, g, goal):
    """Return the angle with ln x = goal, from one nearby, by Newton."""
    for _ in range(8):
        value, slope = log_x(depth, g)
        g += (goal - value) / slope
    assert abs(log_x(depth, g)[0] - goal) < mpmath.mpf(10) ** -40
    return g


def parametric(depth, g, view=mpmath.exp, back=log):
    """Return a double x near the angle g, and ln(x rho(x)) at exactly that double."""
    with mpmath.workdps(50):
        g = mpmath.mpf(g)
        x = float(view(log_x(depth, g)[0]))
        g = angle(depth, g, back(mpmath.mpf(x)))
        f = (mpmath.pi - g) / (depth + 1)
        return x, float(log(sin(g) * sin(f) / (mpmath.pi * sin(depth * f))))


@pytest.mark.parametrize("depth", DEPTHS)
def test_fuss_catalan_density_equals_its_parametric_form(depth):
    hard = (10 ** (-80 / (depth + 1)), 1e-5, 1e-3, 0.03)  # the first is at x ~ 1e-80
    soft = (3.1, 3.13, 3.14)
    points = [parametric(depth, g) for g in (*hard, 0.3, 1, 2, 2.7, *soft)]
    x, log_density = np.array(points).T
    for law in (FussCatalan(depth), MarchenkoPastur(1) ** depth):
        assert_allclose(law.logpdf(x), log_density - np.log(x), rtol=0, atol=1e-9)
        assert_allclose(law.pdf(x), np.exp(log_density) / x, rtol=1e-9)


@pytest.mark.parametrize("depth", [*DEPTHS, 500])
@pytest.mark.parametrize("g", [1e-12, 1e-6, 1e-3, 0.1, 1])
def test_the_lower_tail_at_a_hard_edge_has_its_own_digits(depth, g):
    """P(X <= x) = 1 - Im(Phi(w) - w ln x)/pi at w = e^(i (pi - g)) sin f / sin(L f), conjugated, to 80 digits."""
    view = FussCatalan(depth).log
    t, _ = parametric(depth, g, view=lambda t: t, back=lambda t: t)
    with mpmath.workdps(80):
        g = angle(depth, mpmath.mpf(g), mpmath.mpf(t))
        f = (mpmath.pi - g) / (depth + 1)
        log_w, log_one = (log(sin(a) / sin(depth * f)) + 1j * b for a, b in ((f, mpmath.pi - g), (g, f)))
        w = mpmath.exp(log_w)
        phi = (depth + 1) * ((1 + w) * log_one - w) - w * log_w + w
        level = float(1 - mpmath.im(phi - w * mpmath.mpf(t)) / mpmath.pi)
    assert_allclose(view.cdf(t), level, rtol=1e-12)
    assert_allclose(view.ppf(level), t, rtol=1e-14, atol=(depth + 1) * 1e-13)
    if level < 1e-9:  # what is left of one would not do
        assert abs((1 - view.sf(t)) / level - 1) > 1e-9


@pytest.mark.parametrize("law", [
    FussCatalan(3), FussCatalan(200), MarchenkoPastur(0.5) * MarchenkoPastur(1), MarchenkoPastur(2) ** 2,
    MarchenkoPastur(1) * Discrete((1, 3), (0.5, 0.5)),
    MarchenkoPastur(0.25) * Discrete((0, 1, 3), (0.2, 0.5, 0.3)) ** 2,
], ids=repr)
def test_quantiles_near_a_hard_edge_have_their_levels_digits(law):
    levels = np.array([1e-250, 1e-100, 1e-30, 1e-14, 1e-6])
    assert_allclose(law.log.cdf(law.log.ppf(levels)), levels, rtol=1e-11)


def test_fifty_layers_have_a_density_at_1e_minus_82():
    g = brentq(lambda g: float(log_x(50, g)[0]) + 82 * math.log(10), 1e-6, 0.1)
    x, log_density = parametric(50, g)
    assert x == pytest.approx(1e-82, rel=1e-6)
    assert_allclose(FussCatalan(50).pdf(x), math.exp(log_density) / x, rtol=1e-9)


@pytest.mark.parametrize("g", [1e-6, 1e-4, 0.01, 0.3, 2, 3.1])
def test_five_hundred_layers_in_the_log_view(g):
    t, log_density = parametric(500, g, view=lambda t: t, back=lambda t: t)
    view = FussCatalan(500).log
    assert_allclose(view.logpdf(t), log_density, rtol=0, atol=1e-9)
    assert_allclose(view.ppf(view.cdf(t)), t, rtol=1e-9, atol=1e-6)


@pytest.mark.parametrize("depth", [1, 50, 500])
def test_the_mean_logarithm_adds_over_layers(depth):
    """E ln X = -int_{-1}^0 ln S(w) dw, which is -1 a layer."""
    assert FussCatalan(depth).log.mean() == pytest.approx(-depth, rel=1e-9)


@pytest.mark.parametrize("depth", [1, 2, 3, 5, 10, 50, 500])
def test_fuss_catalan_moments_and_top_edge(depth):
    law = FussCatalan(depth)
    for k in range(1, 21):
        assert law.moment(k) == pytest.approx(math.comb((depth + 1) * k, k) / (depth * k + 1), rel=1e-11)
    assert law.var() == pytest.approx(depth, rel=1e-13)
    assert law.support[0][0] == 0
    assert law.support[0][1] == pytest.approx((1 + 1 / depth) ** depth * (depth + 1), rel=1e-13)


@pytest.mark.parametrize("ratio", [0.01, 0.25, 0.5, 1, 2, 4, 100])
def test_marchenko_pastur_closed_form(ratio):
    law, (low, high) = MarchenkoPastur(ratio), ((1 - math.sqrt(ratio)) ** 2, (1 + math.sqrt(ratio)) ** 2)
    x = low + (high - low) * np.array([1e-4, 0.01, 0.2, 0.5, 0.8, 0.99, 1 - 1e-4])
    assert_allclose(law.pdf(x), np.sqrt((x - low) * (high - x)) / (2 * math.pi * ratio * x), rtol=1e-9)
    assert_allclose(law.support, [(low, high)], rtol=1e-13, atol=0)
    assert law.atoms == ({0.0: 1 - 1 / ratio} if ratio > 1 else {})
    narayana = [math.comb(20, j) * math.comb(20, j + 1) * Fraction(ratio) ** j / 20 for j in range(20)]
    assert law.moment(20) == pytest.approx(float(sum(narayana)), rel=1e-11)


def test_quarter_circle_of_one_square_matrix():
    s = np.array([1e-9, 0.1, 1, 1.9, 1.999])
    assert_allclose(FussCatalan(1).spectrum.pdf(s), np.sqrt(4 - s**2) / math.pi, rtol=1e-10)
    exact = (s * np.sqrt(4 - s**2) / 2 + 2 * np.arcsin(s / 2)) / math.pi
    assert_allclose(FussCatalan(1).spectrum.cdf(s), exact, atol=1e-14)
    assert FussCatalan(1).spectrum.moment(1) == pytest.approx(8 / (3 * math.pi), rel=1e-10)


BINS = [(1, (255, 255, 254)), (3, (2135, 825, 609)), (5, (3795, 887, 595))]


@pytest.mark.parametrize(("depth", "counts"), BINS)
def test_first_bins_of_the_published_histograms(depth, counts):
    """Bjorck et al. 2018, Figure 7: 50 equal bins of 10 x 1000 singular values."""
    spectrum = FussCatalan(depth).spectrum
    edges = np.linspace(0, spectrum.support[0][1], 51)
    assert tuple(np.rint(1e4 * np.diff(spectrum.cdf(edges))[:3])) == counts


def test_support_of_a_rectangular_chain():
    """Zeros of the discriminant that the curve reaches (THEORY 1); the cubic has spurious ones."""
    law = MarchenkoPastur(0.5) * MarchenkoPastur(0.25)
    assert_allclose(law.support, [(0.05593557, 3.74669022)], rtol=0, atol=5e-9)


def test_edge_and_atom_of_a_chain_with_a_mask():
    law = MarchenkoPastur(0.5) * MarchenkoPastur(2) * Bernoulli(0.5)
    assert law.atoms == {0.0: 0.5}
    assert_allclose(law.support, [(0, (9 + 6 * math.sqrt(3)) / 4)], rtol=1e-13)


PROJECTIONS = [(0.75, 0.75), (0.5, 0.5), (0.25, 0.5), (0.75, 0.5), (0.1, 0.2), (0.9, 0.3)]


@pytest.mark.parametrize(("p", "q"), PROJECTIONS)
def test_product_of_two_projections(p, q):
    """Two random subspaces, the Jacobi law: Voiculescu, Dykema and Nica 1992, example 3.6.7."""
    law, half = Bernoulli(p) * Bernoulli(q), 2 * math.sqrt(p * q * (1 - p) * (1 - q))
    low, high = p + q - 2 * p * q - half, p + q - 2 * p * q + half
    assert_allclose(law.support, [(low, high)], rtol=1e-13, atol=1e-16)
    atoms = {0.0: 1 - min(p, q), 1.0: max(0.0, p + q - 1)}
    assert law.atoms == pytest.approx({x: mass for x, mass in atoms.items() if mass > 1e-12}, abs=1e-15)
    x = low + (high - low) * np.array([0.001, 0.1, 0.5, 0.9, 0.999])
    assert_allclose(law.pdf(x), np.sqrt((x - low) * (high - x)) / (2 * math.pi * x * (1 - x)), rtol=1e-9)


def test_moments_of_a_product_of_two_discrete_laws():
    """Sum over non-crossing partitions: free cumulants of one, moments of the complement (Nica, Speicher)."""
    first = Discrete((0, 1, 3), (Fraction(1, 5), Fraction(1, 2), Fraction(3, 10)))
    second = Discrete((Fraction(1, 2), 2), (Fraction(1, 3), Fraction(2, 3)))
    a, b = (
        [sum(p * Fraction(x) ** k for x, p in zip(law.values, law.weights, strict=True)) for k in range(5)]
        for law in (first, second)
    )
    k1, k2, k3 = a[1], a[2] - a[1] ** 2, a[3] - 3 * a[2] * a[1] + 2 * a[1] ** 3
    k4 = a[4] - 4 * a[3] * a[1] - 2 * a[2] ** 2 + 10 * a[2] * a[1] ** 2 - 5 * a[1] ** 4
    exact = (
        k1 * b[1],
        k2 * b[1] ** 2 + k1**2 * b[2],
        k3 * b[1] ** 3 + 3 * k2 * k1 * b[2] * b[1] + k1**3 * b[3],
        k4 * b[1] ** 4 + (4 * k3 * k1 + 2 * k2**2) * b[2] * b[1] ** 2
        + k2 * k1**2 * (4 * b[3] * b[1] + 2 * b[2] ** 2)
        + k1**4 * b[4],
    )
    law = first * second
    assert [law.moment(k) for k in range(1, 5)] == pytest.approx([float(m) for m in exact], rel=1e-13)


def test_a_gap_of_two_thousandths_is_seen():
    law = FussCatalan(1) * Discrete((0, 0.3, 1, 5), [Fraction(k, 14) for k in (3, 5, 1, 5)])
    assert len(law.support) == 2


def test_an_expectation_takes_kinks_and_jumps():
    law = MarchenkoPastur(1) ** 5
    above = law.sf(1)
    assert_allclose(law.expect(lambda x: x > 1), above, rtol=1e-9)
    assert_allclose(law.expect(lambda x: np.where(x > 1, 2, -1)), 3 * above - 1, rtol=1e-9)


@pytest.mark.parametrize("power", [-1, -1 / 6, -0.16])
def test_an_expectation_that_may_be_infinite_is_refused(power):
    """E X^p of MP(1)^5 is infinite at p <= -1/6: the density falls as x^(-5/6) toward the hard edge."""
    with pytest.raises(ConvergenceError, match="it may be infinite"):
        (MarchenkoPastur(1) ** 5).expect(lambda x: x**power)


@pytest.mark.parametrize("ratio", [1e-10, 1e-8, 1e8, 1e10])
def test_extreme_ratios_lose_digits_slowly(ratio):
    """The band is 4 ratio^(1/2) or its inverse wide in ln x, so rounding of ln x alone costs 1e-15 / width^2."""
    law = MarchenkoPastur(ratio)
    lost = 1e-15 / (math.log(law.support[0][1] / law.support[0][0])) ** 2
    assert_allclose(law.expect(lambda x: x), law.mean(), rtol=2 * lost)
    levels = np.array([1e-3, 0.1, 0.5, 0.9, 0.999])
    assert_allclose(law.log.cdf(law.log.ppf(levels)), levels, rtol=0, atol=1e-9)
