"""The law of |1 + A|^2: closed forms, the free sum on the line, and what many small blocks add up to."""

import math
from fractions import Fraction

import numpy as np
import pytest
from cases import block
from numpy.testing import assert_allclose
from scipy.optimize import brentq

from rmt import Bernoulli, Discrete, MarchenkoPastur, MultiplicativeBrownian, PointMass, Semicircle, SquaredSlope
from rmt.laws.convolution import ChainLaw
from rmt.laws.master_curve import MasterCurve
from rmt.laws.residual_psi import ResidualPsi, residual_block
from rmt.laws.stream_psi import StreamPsi

COIN = Discrete((-1, 1), (Fraction(1, 2), Fraction(1, 2)))
LEVELS = np.array([1e-6, 0.01, 0.1, 0.3, 0.5, 0.7, 0.9, 0.99, 1 - 1e-6])


@pytest.mark.parametrize("variance", [Fraction(1, 10**6), Fraction(1, 4), Fraction(99, 100), 1, Fraction(101, 100), 9])
def test_one_plus_gaussian(variance):
    """x = (1 + p)(1 + sigma^2 p)^2 / p and psi = p + sigma^2 p (1 + p): a cubic, its roots by numpy."""
    law, s2 = block(variance * MarchenkoPastur(1)), float(variance)
    x = law.ppf(LEVELS[1:])
    for point, density in zip(x, law.pdf(x), strict=True):
        p = np.roots([s2**2, 2 * s2 + s2**2, 1 + 2 * s2 - point, 1])  # (1 + p)(1 + s2 p)^2 - x p
        p = p[np.argmin(p.imag)]
        assert density == pytest.approx(-(p + s2 * p * (1 + p)).imag / (math.pi * point), rel=1e-6)
    assert_allclose(law.mean(), 1 + s2, rtol=1e-14)
    assert_allclose(law.moment(2), 1 + 4 * s2 + 2 * s2**2, rtol=1e-13)


def test_borderline_and_hard_edges():
    """With sigma = 1 it is (1 + p)^3 / p: top 27/4, F ~ x^(2/3); above, F ~ x^(1/2); below, no hard edge."""
    law = block(MarchenkoPastur(1))
    assert law.support[0] == pytest.approx((0, 6.75), rel=1e-14)
    assert law.hard_edge.exponent == pytest.approx(-1 / 3)
    assert law.cdf(1e-15) / law.cdf(1e-12) == pytest.approx(1e-2, rel=1e-4)
    assert block(2 * MarchenkoPastur(1)).hard_edge.exponent == -0.5
    assert block(Fraction(1, 2) * MarchenkoPastur(1)).support[0][0] > 0.01


@pytest.mark.parametrize("gain", [Fraction(1, 3), Fraction(999, 1000), 1, 3])
def test_one_plus_haar(gain):
    """|1 + a e^(i theta)|^2, theta uniform."""
    law, a = block(PointMass(gain**2)), float(gain)
    levels = np.array([1e-4, *LEVELS[1:-1], 1 - 1e-4])  # nearer to its edges the density, infinite there, is noise
    angle = math.pi * levels
    x = 1 + a**2 - 2 * a * np.cos(angle)
    assert_allclose(law.cdf(x), levels, atol=1e-9)
    assert_allclose(law.pdf(x), 1 / (2 * math.pi * a * np.sin(angle)), rtol=1e-5)
    assert_allclose(np.ravel(law.support), [(1 - a) ** 2, (1 + a) ** 2], atol=1e-14)


@pytest.mark.parametrize(("branch", "line"), [
    (Fraction(1, 4) * MarchenkoPastur(1), Semicircle(0.5)),
    (3 * MarchenkoPastur(1), Semicircle(math.sqrt(3))),
    (Discrete((1, Fraction(1, 4)), (Fraction(1, 2), Fraction(1, 2))),
     Discrete((-1, -0.5, 0.5, 1), (Fraction(1, 4),) * 4)),
    (Bernoulli(Fraction(3, 4)), Discrete((-1, 0, 1), (Fraction(3, 8), Fraction(1, 4), Fraction(3, 8)))),
], ids=repr)
def test_the_free_sum_on_the_line(branch, line):
    """Haagerup and Larsen 2000, by the solver of sums: P(|1 + A|^2 <= x) = P(-sqrt x <= the sum <= sqrt x)."""
    law, total = block(branch), COIN + line
    x = law.ppf(LEVELS[1:-1])
    s = np.sqrt(x)
    assert_allclose(law.cdf(x), total.cdf(s) - total.cdf(-s), atol=1e-9)
    assert_allclose(law.pdf(x), total.pdf(s) / s, rtol=1e-6)
    assert_allclose([law.moment(k) for k in (1, 2, 3)], [total.moment(2 * k) for k in (1, 2, 3)], rtol=1e-12)
    ends = np.array([end for band in total.support for end in band if end > 1e-12])
    assert_allclose([end for band in law.support for end in band if end > 1e-12], ends**2, rtol=1e-7)


def test_an_atom_where_the_branch_loses_more_than_half():
    law = block(MarchenkoPastur(1) * Bernoulli(Fraction(1, 4)) * MarchenkoPastur(1))
    assert law.atoms == {1.0: 0.5}
    assert law.cdf(1) - law.cdf(1 - 1e-9) == pytest.approx(0.5, abs=1e-9)


def test_many_small_blocks():
    """THEORY 2: c = .25, edges 4.234 and .2362; exact in the limit law, to 1e-3 from 2000 blocks."""
    limit = MultiplicativeBrownian(Fraction(1, 4))
    assert limit.edges == pytest.approx((0.23618327637050734, 4.23400003322535), rel=1e-14)
    assert limit.support[0] == pytest.approx(limit.edges, rel=1e-12)
    assert limit.mean() == pytest.approx(math.exp(0.25), rel=1e-14)
    assert limit.s_transform(0.3) == pytest.approx(math.exp(-0.25 * 1.6), rel=1e-13)
    blocks = block(Fraction(1, 8000) * MarchenkoPastur(1)) ** 2000
    assert blocks.support[0] == pytest.approx((0.2362, 4.234), abs=1e-3)
    x = limit.ppf(LEVELS)
    assert_allclose(blocks.cdf(x), LEVELS, atol=2e-4)
    assert np.max(np.abs(MultiplicativeBrownian(Fraction(1, 4) * Fraction(103, 100) ** 2).cdf(x) - LEVELS)) > 2e-3
    for variance in (1e-6, 2, 30):
        law = MultiplicativeBrownian(variance)
        assert law.support[0] == pytest.approx(law.edges, rel=1e-10)


def test_a_smooth_branch_by_its_symmetrised_law():
    """A W tanh W branch, against the two points of subordination on the imaginary axis, one unknown there."""
    branch = MarchenkoPastur(1) * SquaredSlope("tanh", 1.0) * MarchenkoPastur(1)
    law = block(branch)
    for height in (0.05, 1.0, 4.0):  # z = i height, so z^2 = -height^2; the omega are imaginary too

        def differ(one, height=height):
            g_one = one / (one**2 + 1)
            other = height + 1 / g_one - one
            return g_one + other * branch.stieltjes(-(other**2))

        one = brentq(differ, height, height + 2, xtol=1e-13)
        assert -height * law.stieltjes(-(height**2)) == pytest.approx(one / (one**2 + 1), rel=1e-9)


def test_a_nested_block_has_the_moments_of_its_matrix():
    """E tr of (1 + W(1 + V))^T (...) to order 2, W and V Gaussian of variance 1/2, by hand.

    A = W(1 + V): E A^T A = 1/2 (1 + 1/2) = 3/4, m_2 = s^2 (m_2' + m_1'^2) with m' of |1 + V|^2; then 1 + A.
    """
    inner = block(Fraction(1, 2) * MarchenkoPastur(1))
    outer = block(Fraction(1, 2) * MarchenkoPastur(1) * inner)
    m1, m2 = inner.moment(1), inner.moment(2)
    a1, a2 = m1 / 2, (m2 + m1**2) / 4
    assert outer.moment(1) == pytest.approx(1 + a1)
    assert outer.moment(2) == pytest.approx(1 + 4 * a1 + a2)


def test_the_fixed_numbers_of_a_block():
    """The ring of eigenvalues decides the order of x = 0; S of the block at any w is its curve's."""
    psi = ResidualPsi((4 * MarchenkoPastur(1)).curve)
    assert psi.order == 1
    assert psi.radii == pytest.approx((-math.inf, math.log(4)))
    assert ResidualPsi(PointMass(9).curve).order == 0
    law = block(Fraction(1, 2) * MarchenkoPastur(1))
    p = 0.2
    w = p + p * (1 + p) / 2
    assert law.s_transform(w) == pytest.approx((1 + w) / w * p / ((1 + p) * (1 + p / 2) ** 2), rel=1e-10)
    w = complex(-0.4, 0.3)
    assert law.s_transform(w) == pytest.approx(law.s_transform(w.conjugate()).conjugate())
    assert ChainLaw(law.curve) == law


def test_a_stream_of_channels_all_alike_is_a_free_product_of_blocks():
    """Two solvers: the port equations over channels, and a root per block."""
    branches = ((Fraction(1, 2) * MarchenkoPastur(1)).curve, (Fraction(3, 10) * MarchenkoPastur(1)).curve,
                (MarchenkoPastur(1) * SquaredSlope("tanh", 1.0) * Fraction(1, 5) * MarchenkoPastur(1)).curve)
    psi = StreamPsi(branches, ((1.0,) * 5,), (1.0,))
    stream = ChainLaw(MasterCurve(slopes=((psi, Fraction(1), Fraction(1)),)))
    product = ChainLaw(MasterCurve.product(map(residual_block, branches)))
    assert_allclose([stream.moment(k) for k in (1, 2, 3, 4)], [product.moment(k) for k in (1, 2, 3, 4)], rtol=1e-12)
    assert_allclose(stream.support, product.support, rtol=1e-8)
    x = product.ppf(LEVELS[1:-1])
    assert_allclose(stream.cdf(x), LEVELS[1:-1], atol=1e-10)
    assert_allclose(stream.pdf(x), product.pdf(x), rtol=1e-7)


def test_one_mask_on_a_stream_is_free_and_two_are_not():
    """By moments: 1 + W D; then two such, with one mask (simulated at N = 1500: E X^2 = 12.54) or two of their own."""
    half, gain = ((1.0, 0.0, 1.0), (1.0, 1.0, 1.0)), (MarchenkoPastur(1)).curve
    one = StreamPsi((gain,), half, (0.5, 0.5))
    masked = block(Bernoulli(Fraction(1, 2)) * MarchenkoPastur(1))
    assert_allclose(one.moments(3), [masked.moment(k) for k in (1, 2, 3)], rtol=1e-12)
    same = StreamPsi((gain, gain), ((1.0, 0.0, 0.0, 1.0), (1.0, 1.0, 1.0, 1.0)), (0.5, 0.5)).moments(2)
    several = StreamPsi((gain, gain), tuple((1.0, a, b, 1.0) for a in (0.0, 1.0) for b in (0.0, 1.0)), (0.25,) * 4)
    free = (masked * masked).moment(2)
    assert several.moments(2) == pytest.approx([2.25, free])  # two independent masks are free enough
    assert same == pytest.approx([2.25, 12.5625])
    assert free == pytest.approx(11.8125)
