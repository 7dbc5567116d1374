"""The gaps of free sums: no band is lost, every mass is known, edges meet an independent computation."""

import math
from dataclasses import replace

import mpmath
import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.optimize import brentq

from rmt import (
    Bernoulli,
    Discrete,
    FussCatalan,
    MarchenkoPastur,
    MultiplicativeBrownian,
    PointMass,
    Semicircle,
    SquaredSlope,
)
from rmt.laws.gap_runs import held


def lower_edge(terms):
    """The lower end of a sum of discrete laws, in 40 digits: the greatest z(G) over G < 0 along the lowest omegas."""
    with mpmath.workdps(40):
        laws = [[(mpmath.mpf(x.numerator) / x.denominator, mpmath.mpf(p.numerator) / p.denominator)
                 for x, p in law._point_masses] for law in terms]

        def omega(law, g):
            low, high = law[0][0] - mpmath.mpf(10) ** 8, law[0][0]
            for _ in range(160):
                middle = (low + high) / 2
                above = mpmath.fsum(p / (middle - x) for x, p in law) > g  # G falls on the way up to the lowest value
                low, high = (middle, high) if above else (low, middle)
            return low

        def z(log_g):
            g = -mpmath.exp(log_g)
            return mpmath.fsum(omega(law, g) for law in laws) - (len(laws) - 1) / g

        grid = [mpmath.mpf(k) / 2 for k in range(-20, 50)]
        values = [z(log_g) for log_g in grid]
        top = next(i for i in range(1, len(grid)) if values[i + 1] < values[i])  # the first, from G = 0-
        low, high = grid[top - 1], grid[top + 1]
        for _ in range(60):  # z is stationary there: half the digits of the place are all of the value's
            left, right = low + (high - low) / 3, high - (high - low) / 3
            low, high = (left, high) if z(left) < z(right) else (low, right)
        return float(z((low + high) / 2))


@pytest.mark.parametrize("terms", [
    (Discrete((-1, 0, 3), (0.2, 0.5, 0.3)), Discrete((-1, 1, 10), (0.3, 0.3, 0.4)), Bernoulli(0.9)),
    (Discrete((0.001, 1), (0.5, 0.5)), Discrete((0, 1e-6, 0.01), (0.3, 0.3, 0.4))),
    (Discrete((0, 1), (0.6, 0.4)), Discrete((0, 5), (0.3, 0.7))),
], ids=str)
def test_an_edge_meets_forty_digits(terms):
    total = sum(terms[1:], terms[0])
    assert_allclose(total.support[0][0], lower_edge(terms), rtol=1e-12)


def test_a_gap_holds_its_own_nodes():
    places, gap = np.array([0.0, 1.0, 2.0, 3.0, 4.0]), np.array([0, 0, 0, 1, 1])
    assert held(places, gap, np.array([0.0, 0.5, 1.0, 2.0, 2.5, 3.0, 3.5])).tolist() == [
        False, True, True, False, False, False, True]  # an end is an edge


def test_no_band_is_lost_against_a_wide_span():
    """Its bands near zero are a hundred thousandth of the span of its values; the third was missing."""
    law = (Discrete((0.0068, -0.0126), (0.66, 0.34))
           + Discrete((0, 0.0048, 0.0072, 562), (0.596, 0.154, 0.005, 0.245)))
    assert len(law.support) == 4
    assert 0.0076 < law.support[1][0] < 0.0077
    assert 0.0113 < law.support[1][1] < 0.0114
    ends = [end for band in law.support for end in band]
    assert_allclose(law.cdf(ends), [0, 0.34, 0.596, 0.75, 0.75, 0.755, 0.755, 1], atol=1e-12)
    assert_allclose(law.expect(lambda x: x), law.mean(), rtol=1e-10)


@pytest.mark.parametrize("span", [10.0, 1e3, 1e6])
def test_bands_have_the_mass_of_the_atoms_they_come_from(span):
    """Far apart, a small law is seen once around every atom of a wide one, and its own atoms within that."""
    small, wide = Discrete((-0.5, 0.0, 0.4), (0.3, 0.2, 0.5)), Discrete((-span, 0.3 * span, span), (0.125, 0.625, 0.25))
    law = small + wide
    pieces = sorted([*law.support, *((x, x) for x in law.atoms)])
    for place, mass in zip(wide.values, wide.weights, strict=True):
        held = sum(law.cdf(hi) - (law.cdf(lo) if lo < hi else law.cdf(lo) - law.atoms[lo])
                   for lo, hi in pieces if abs(lo - place) < 0.5 * span / 2)
        assert_allclose(held, mass, atol=1e-12)
    assert_allclose(law.atoms[0.3 * span + 0.4], 0.125, atol=1e-14)
    assert_allclose(law.ppf(law.cdf(0.0)), max(end for piece in pieces for end in piece if end < 0), rtol=1e-12)


def test_a_tiny_mass_far_out_is_where_it_belongs():
    """The bulk of a Marchenko-Pastur law of ratio 8260 is one part in 8260; its edges were .6 off."""
    law = MarchenkoPastur(8260.0) + Bernoulli(0.5)
    (low, high), root = law.support[1], math.sqrt(8260)
    assert_allclose([low, high], [(root - 1) ** 2 + 0.5, (root + 1) ** 2 + 0.5], atol=0.01)
    assert_allclose([law.expect(np.ones_like), law.expect(lambda x: x)], [1, 1.5], rtol=1e-10)


def test_bands_that_touch_are_one():
    assert len((Semicircle(1) + Discrete((-1, 1), (0.5, 0.5))).support) == 1
    assert len((Semicircle(0.999) + Discrete((-1, 1), (0.5, 0.5))).support) == 2


def test_a_gap_is_none_where_a_side_passes_zero():
    """A positive law's own parameter has no bound at x = 0: a gap was seen at 5.3177, inside the bulk."""
    law = (MultiplicativeBrownian(0.0722) + Discrete((0.158, 0.729, 0.0527, 0.0), (0.14, 0.645, 0.05, 0.165))
           + Discrete((0.0, 3.96), (0.0023, 0.9977)))
    assert all(not low < x < high for (_, low), (high, _) in zip(law.support, law.support[1:], strict=False)
               for x in (5.0, 5.3177327, 5.6))
    assert law.pdf(5.3177327) > 0.3
    assert_allclose(law.expect(np.ones_like), 1, rtol=1e-9)


def test_a_shifted_law_knows_its_atoms():
    """612.3 - 623 is not -10.7 in floats."""
    law = Discrete((-10.7, 1), (0.5, 0.5)) + 623
    assert (law.cdf(612.3), law.sf(612.3)) == (0.5, 0.5)
    law = PointMass(0.0178) + PointMass(13.99)
    (place,) = law.atoms
    assert (law.cdf(place), law.cdf(np.nextafter(place, 0) - 1e-9)) == (1, 0)


@pytest.mark.parametrize(("law", "mean"), [
    ((FussCatalan(2) + Bernoulli(0.5)) * MarchenkoPastur(1), 1.5),
    (FussCatalan(2) * Discrete((1, 2), (0.5, 0.5)) + Discrete((-1, 2), (0.5, 0.5)), 2.0),
    (SquaredSlope("gelu", 1.0) + Bernoulli(0.5), None),
    (Discrete((-0.2, 118, -1.6, -1.34), (0.0027, 0.0006, 0.0041, 0.9926)) + FussCatalan(11), None),
], ids=str)
def test_sums_as_factors_and_products_as_terms(law, mean):
    assert_allclose(law.mean(), law.mean() if mean is None else mean, rtol=1e-12)
    size = law.expect(np.abs)
    assert_allclose([law.expect(np.ones_like), law.expect(lambda x: x)], [1, law.mean()], atol=1e-9 * size)
    levels = np.array([0.25, 0.5, 0.9])
    assert_allclose(law.cdf(law.ppf(levels)), np.maximum(levels, law.cdf(law.ppf(levels))), atol=1e-9)


def test_what_a_density_does_not_hold_is_an_error(monkeypatch):
    """An expectation rests on the band's mass: where the density holds another, it raises."""
    from rmt.laws import panels

    law = Semicircle() + Bernoulli(0.5)
    real = type(law)._at
    monkeypatch.setattr(type(law), "_at", lambda self, t, state=None: replace(
        found := real(self, t, state), log_density=found.log_density + 1e-3))
    with pytest.raises(panels.ConvergenceError, match="holds"):
        law.expect(np.ones_like)


def test_past_a_zero_of_g_in_a_gap_every_omega_keeps_to_its_side():
    """One omega is infinite there, the other stays in its gap: G is straight through zero, its slope does not jump."""
    law = Discrete((0.0, 0.00276, 0.0206, 0.00475, 0.0127, 0.001), (0.9647, 0.0008, 0.0152, 0.0079, 0.0083, 0.0031)
                   ) + Bernoulli(0.0631)
    _ = law.support
    zero = brentq(lambda x: law.stieltjes(x), 0.9, 0.97, xtol=1e-15)
    step = np.r_[-(10.0 ** -np.arange(6, 13, 0.25)), 10.0 ** -np.arange(6, 13, 0.25)]
    found = law._cauchy(zero + step + 0j)
    assert_allclose(found.slope, found.slope[0], rtol=1e-4)
    assert_allclose(found.g.real, found.slope[0].real * step, rtol=1e-4, atol=1e-8)
