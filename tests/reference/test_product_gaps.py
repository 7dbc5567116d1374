"""All bands of free products, however narrow beside the span: each value is known from a limit or from another way."""

import math
import warnings
from fractions import Fraction

import numpy as np
import pytest
from numpy.testing import assert_allclose

from rmt import (
    Bernoulli,
    Discrete,
    Empirical,
    FussCatalan,
    MarchenkoPastur,
    MultiplicativeBrownian,
    SquaredSlope,
)
from rmt.laws import edges, product_gaps
from rmt.laws.law_psi import LawPsi
from rmt.laws.psi_sides import Factor


def masses(law):
    """Return the masses of the bands and atoms above zero, increasing in place."""
    return [mass for (low, high), mass in zip(*law._pieces, strict=True) if high > -math.inf]


def whole(law):
    """Return the mass that the densities of all bands hold, with the atoms."""
    return law.expect(np.ones_like)


@pytest.mark.parametrize(("law", "expected"), [
    (Discrete((26.9, 26.5, 25.8, 26.1, 25.4), (0.0028, 0.5159, 0.0026, 0.4714, 0.0073))
     * Discrete((520.0, 1000.0, 4.28, 221.0), (0.115, 0.155, 0.14, 0.59)),
     [0.14, 0.0073, 0.0026, 0.0614, 0.41, 0.1059, 0.0028, 0.115, 0.155]),
    (0.0258 * (SquaredSlope("silu", 0.00022) * Discrete((0.0366, 0.726, 0.571), (0.0057, 0.0005, 0.9938))),
     [0.0057, 0.9938, 0.0005]),
    (SquaredSlope("silu", 1.19e-08) * Discrete((0.0, 1.92, 0.458, 1.96, 0.114, 0.00268),
                                               (0.0476, 0.0314, 0.0011, 0.0286, 0.8912, 0.0001))
     * Discrete((760.0, 759.0), (0.4453, 0.5547)), [0.0001, 0.8912, 0.0011, 0.0314, 0.0286]),
    (Bernoulli(0.81) * SquaredSlope("leaky_relu(0.01)", 7.7e-05)
     * Discrete((0.0, 0.0024, 0.00233, 0.00237, 0.00239), (0.0022, 0.0003, 0.0042, 0.5761, 0.4172)),
     [0.0022, 0.0042, 0.3033, 0.0003, 0.1922, 0.0042, 0.3033, 0.0003]),
])
def test_every_band_has_its_mass(law, expected):
    """The values of one factor are far apart: every band is a difference of the factors' masses."""
    assert_allclose(masses(law), expected, rtol=0, atol=1e-10)
    assert_allclose(whole(law), 1, rtol=1e-7)


def test_edges_of_a_band_much_narrower_than_the_span():
    """Gaussian noise of small variance splits no value: the band at d is d (1 +- 2 (t p)^(1/2)) to first order in t."""
    t, p = 1e-8, 1e-3
    law = MarchenkoPastur(t) * Discrete((1, 1000), (p, 1 - p))
    (low, high), _ = law.support
    ends = 1 + np.array([-1, 1]) * 2 * math.sqrt(t * p)
    assert_allclose((low, high), ends, rtol=3 * t)
    assert_allclose(masses(law), [p, 1 - p], atol=1e-12)


@pytest.mark.parametrize("law", [
    Discrete((1, 2), (0.5, 0.5)) * MarchenkoPastur(0.01),
    Discrete((1, 20), (0.5, 0.5)) * MarchenkoPastur(0.1) * Bernoulli(0.8),
    Discrete((0, 1, 20), (0.2, 0.4, 0.4)) * MarchenkoPastur(0.05) ** 3,
    Discrete((0, 1, 20), (0.2, 0.4, 0.4)) ** 2.5 * Bernoulli(0.9),
    Discrete((1, 100), (0.5, 0.5)) * Discrete((1, 10), (0.8, 0.2)),
    SquaredSlope("tanh", 2.0) * Discrete((1, 5000), (0.5, 0.5)),
], ids=str)
def test_known_gaps_are_those_that_a_search_finds(law):
    """The search looks at P(X > x) on a grid; it finds bands that are wide."""
    assert_allclose(law._bands, edges.log_support(law.curve), rtol=0, atol=1e-10)


def test_a_gap_wider_than_a_search_survives():
    """In its middle the root of the curve is not found; the gaps need none there."""
    law = Discrete((1, 5000), (0.5, 0.5)) * (MarchenkoPastur(0.05) + Bernoulli(0.5))
    assert len(law.support) == 2
    assert_allclose(law.cdf(law.support[0][1]), 0.5, atol=1e-12)
    assert_allclose(whole(law), 1, rtol=1e-9)


def test_a_cut_of_w_is_no_gap():
    """At w = -1 all that makes the margin vanishes: a gap was seen from 1.593, where it begins at 1.933."""
    law = Discrete((0, 1, 4), (0.25, 0.5, 0.25)) * MarchenkoPastur(0.5)
    assert_allclose(law.support, [(0.1821096169973, 1.9328863621521), (25 / 12, 7.6350040208505)], rtol=1e-11)
    assert_allclose(whole(law), 1, rtol=1e-9)


def test_sides_next_to_an_atom():
    """A side was looked at where its place is rounded to its end, an atom of the sum: there was a NaN, or no root."""
    factor = Factor(LawPsi(MarchenkoPastur(209.0) + Discrete((336.0, 641.0), (0.006, 0.994))), Fraction(1), 1.0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert all(table.u.size > 9 for table in factor.tables)


def test_the_bottom_of_a_product_of_thin_laws():
    """The least value of slopes is e^-63, where 1 - e of the sum is e^-40 of one: its gap was lost to rounding."""
    law = ((0.00113 * SquaredSlope("sigmoid", 12.3))
           * (FussCatalan(7) + Discrete((0.124, 0.0845, 0.0295, 0.00934), (0.5811, 0.0029, 0.3922, 0.0238))))
    assert 0 < law.support[0][0] < 1e-30
    assert_allclose(law.cdf(law.ppf([0.01, 0.5, 0.99])), [0.01, 0.5, 0.99], rtol=1e-9)
    assert_allclose(law.expect(lambda x: x), law.mean(), rtol=1e-8)


@pytest.mark.parametrize("law", [
    SquaredSlope("selu", 450.0) * Discrete((0.00784, 0.0, 0.0111, 0.0118, 0.00959),
                                           (0.009, 0.0386, 0.0013, 0.0398, 0.9113)),
    SquaredSlope("selu", 450.0) * Discrete((0.7, 1.3), (0.1, 0.9)) + 0.3,
], ids=str)
def test_a_band_that_is_cut_at_an_atom_ends_there(law):
    """The logarithm's exponential was off by a float: P(X < x) and P(X <= x) both were that of the atom."""
    ends = {x for band in law.support for x in band}
    inside = [x for x in law.atoms if law.support[0][0] < x < law.support[-1][1]]
    assert inside
    assert ends.issuperset(inside)


def test_a_shifted_number_is_a_number():
    """Slopes that are flat are a point mass; with a shift it was taken for a sum, which left no gap to a power."""
    law = MarchenkoPastur(2.16) * Bernoulli(0.0226) ** 4
    same = law * (SquaredSlope("hardtanh", 3.24e-05) + 0.00145) ** 2
    assert_allclose(same.support, np.array(law.support) * 1.00145**2, rtol=1e-12)


def test_a_psi_whose_values_are_beyond_floats_in_powers():
    """psi of 1e-40 X at zeta / 1e-40 is that of X."""
    small, law = (LawPsi(scale * MarchenkoPastur(0.5) + scale) for scale in (1e-40, 1.0))
    y = np.arange(-3.0, 12.0, 2.5) + 0.5j
    assert_allclose(small.steepness(y + 40 * math.log(10)), law.steepness(y), rtol=1e-9)
    assert_allclose(small.mean_log([y + 40 * math.log(10)]), law.mean_log([y]), rtol=1e-9)


def test_gaps_are_where_w_is_real():
    """Just outside each edge the root of the curve is real, just inside it is not."""
    law = Discrete((1, 20), (0.5, 0.5)) * MarchenkoPastur(0.1) * Discrete((0, 1, 7), (0.2, 0.3, 0.5))
    for gap in product_gaps.outside(law.curve).gaps:
        for end, side in ((gap.left, 1), (gap.right, -1)):
            if math.isfinite(end):
                inside, outside = law._at(np.array([end - side * 1e-5, end + side * 1e-5])).log_density
                assert inside > -10
                assert outside < -25


def test_many_values_take_little_time():
    """Ten thousand ways to take a gap of each of three laws: nine gaps, as the mass above each says."""
    law = (Discrete((0.311, 1.97, 0.234, 15.9, 19.3, 55.6), (0.0012, 0.0047, 0.0026, 0.0449, 0.9419, 0.0047))
           * Discrete((1.67, 2.04, 3.85, 4.96, 5.36, 7.44), (0.1774, 0.4908, 0.006, 0.0777, 0.2243, 0.0238))
           * Empirical(np.random.default_rng(601).lognormal(0, 1.28, 300)))
    assert len(law._bands) == 8
    assert_allclose(np.sum(masses(law)), 1, rtol=1e-12)


def test_many_values_beside_laws_with_mass_at_zero_take_little_time():
    """Every way to take two gaps of two hundred values was looked at in full: where only one can be taken, too."""
    draw = np.random.default_rng(837)
    law = (Discrete((0.0, 0.0653, 0.514, 9.12), (0.11, 0.06, 0.75, 0.08)) * Empirical(draw.lognormal(0, 0.194, 200))
           * Empirical(draw.lognormal(0, 0.449, 200)) * Bernoulli(0.7))
    assert_allclose(masses(law), [0.62, 0.08], atol=1e-9)


def test_a_margin_does_not_fade_with_the_power():
    """It was taken relative to k, though 1 - e is of order 1/k: each way to take the gaps of many layers was looked at.

    Outside the support of a power of one law, d ln x / d ln w is no difference of larger numbers.
    """
    law = (Discrete((1, 3, 4), (0.4, 0.3, 0.3)) ** 300 * Discrete((1, 2, 5), (0.3, 0.3, 0.4))
           * SquaredSlope("softplus", 400.0) ** 300 * SquaredSlope("softplus", 402.0) ** 300)
    found = product_gaps.Product(law.curve).combinations()
    assert [one.sides[0] for one in found] == [0, len(product_gaps.Product(law.curve).ranges) - 1]
    assert_allclose([one.margin.max() for one in found], 1, rtol=1e-9)


def test_a_sum_that_reaches_down_to_zero_beside_an_atom_there_has_no_lowest_gap():
    """Where its lowest band begins lies below what floats tell from zero, and so with any product of it."""
    law = ((MarchenkoPastur(3.21) * MarchenkoPastur(1.17)) + (Bernoulli(0.054) ** 1.28)) * Discrete(
        (0.329, 535.0), (0.9, 0.1))
    assert law.support[0][0] == 0
    assert len(law.support) == 2
    assert law.expect(np.ones_like) == pytest.approx(1, abs=1e-9)
    assert law.expect(lambda x: x) == pytest.approx(law.mean(), rel=1e-9)
    assert_allclose(law.log.cdf(law.log.ppf([1e-6, 0.01, 0.5])), [1e-6, 0.01, 0.5], rtol=1e-7)


@pytest.mark.parametrize("law", [MultiplicativeBrownian(0.01), MarchenkoPastur(0.001) ** 2], ids=str)
def test_projections_leave_a_gap_below_what_all_of_them_keep(law):
    """.7 of the space is kept by both and .1 by one of the two; as beside two values that are nearly one."""
    found = law * Bernoulli(0.9) * Bernoulli(0.8)
    near = law * Bernoulli(0.9) * Discrete((0, 1 - 1e-10, 1 + 1e-10), (0.2, 0.4, 0.4))
    assert_allclose(masses(found)[-2:], [0.1, 0.7], rtol=1e-9)
    assert_allclose(np.ravel(found.support), np.ravel(near.support), rtol=1e-8)
    (_, low), (high, _) = found.support
    assert found.cdf(low) == found.cdf(0.5 * (low + high)) == pytest.approx(0.3, abs=1e-12)
    assert found.expect(lambda x: x) == pytest.approx(0.72 * law.mean(), rel=1e-9)
