"""Products with a sum as a factor, sums with a product as a term, and laws that are very narrow."""

import math

import mpmath as mp
import numpy as np
import pytest
from numpy.testing import assert_allclose

import rmt
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
from rmt.laws.logistic import exponential, logistic, sigmoids
from rmt.laws.sum_psi import SumPsi
from tests.law_checks import the_sweep_finds_nothing

LEVELS = np.linspace(0.01, 0.99, 25)


def same(law, other, rtol=1e-11):
    assert_allclose(law.ppf(LEVELS), other.ppf(LEVELS), rtol=rtol)
    assert_allclose(law.support, other.support, rtol=rtol)
    assert_allclose(law.pdf(other.ppf(LEVELS)), other.pdf(other.ppf(LEVELS)), rtol=1e-9)


@pytest.mark.parametrize("factor", [FussCatalan(2), Bernoulli(0.6), Discrete((1, 3), (0.5, 0.5)), MarchenkoPastur(0.2)],
                         ids=repr)
def test_a_sum_with_a_closed_form_is_that_law_as_a_factor(factor):
    """Two free Poisson laws of rate 1/2 and jump 2 add up to one of rate 1: (MP(2) + MP(2)) is 2 MP(1)."""
    two = MarchenkoPastur(2) + MarchenkoPastur(2)
    assert isinstance(two.curve.slopes[0][0], SumPsi)
    same(two * factor, 2 * MarchenkoPastur(1) * factor)


def test_a_shift_that_is_taken_back_is_none():
    law = MarchenkoPastur(0.5) + 3
    same((law + (-2)) * FussCatalan(1), (MarchenkoPastur(0.5) + 1) * FussCatalan(1), rtol=1e-12)
    same((Discrete((-1, 2), (0.5, 0.5)) + 2) * MarchenkoPastur(1), Discrete((1, 4), (0.5, 0.5)) * MarchenkoPastur(1))


def test_a_power_of_a_sum_composes():
    law = FussCatalan(2) + Bernoulli(0.5)
    same((law**1.5) ** 2, law**3)
    assert_allclose((law**3).mean(), law.mean() ** 3, rtol=1e-13)


@pytest.mark.parametrize("law", [
    (MultiplicativeBrownian(0.4) + Bernoulli(0.35)) * MarchenkoPastur(3),
    (Semicircle(0.1) + 1) * (MarchenkoPastur(0.5) + Bernoulli(0.5)),
    (MarchenkoPastur(7220.0) + 27.8) * (Bernoulli(0.0173) + 340.0),
    FussCatalan(2) * Discrete((1, 2), (0.5, 0.5)) + MarchenkoPastur(1) * Bernoulli(0.5),
    SquaredSlope("silu", 1e-6) * Bernoulli(0.7) + Discrete((0.0, 2.5, -9.5), (0.2, 0.1, 0.7)),
], ids=str)
def test_mass_and_moments_and_quantiles(law):
    assert_allclose(law.expect(np.ones_like), 1, atol=2e-9)
    assert_allclose(law.expect(lambda x: x), law.mean(), rtol=1e-8)
    root = math.sqrt(law.var())
    assert_allclose(law.expect(lambda x: (x - law.mean()) ** 2 / root**2), 1, rtol=1e-7)
    inside = [q for q in LEVELS if not any(abs(law.ppf(q) - atom) < 1e-9 * root for atom in law.atoms)]
    assert_allclose(law.cdf(law.ppf(inside)), inside, atol=1e-8)


# each of these raised, lost mass or took over a minute
FOUND = (
    "(SquaredSlope('silu', 1.69e-05) + Discrete((0.0731, 7.91, 0.00273, 12.4, 0.001), "
    "(0.11, 0.045, 0.615, 0.175, 0.055))) ** 1.06",
    "(Discrete((0.0, 0.502, 0.31, 0.00101, 0.0298), (0.0171, 0.1457, 0.0528, 0.7843, 0.0001)) "
    "+ SquaredSlope('elu', 0.00311) + Bernoulli(0.819)) ** 6.28",
    "(MultiplicativeBrownian(0.326) + MarchenkoPastur(1460.0)) ** 12",
    "(SquaredSlope('silu', 6.26e-08) * Discrete((0.0, 0.542), (0.1943, 0.8057))) "
    "+ Discrete((0.0, 2.63, 2.5, -9.56, -8.84), (0.185, 0.095, 0.085, 0.015, 0.62))",
    "Discrete((0.0528, 0.0689, 0.0873, 0.0878, 0.215, 0.038), (0.0003, 0.5362, 0.452, 0.0056, 0.0043, 0.0016)) "
    "* SquaredSlope('sigmoid', 6.39e-09)",
    "Bernoulli(0.19) * SquaredSlope('sigmoid', 9.39e-08)",
    "SquaredSlope('silu', 1.29e-12) * Bernoulli(0.119)",
    "0.0358 * SquaredSlope('elu', 2.32e-06)",
    "SquaredSlope('selu', 0.0213) + Bernoulli(0.48)",
    "Discrete((0.0, 0.00124), (0.69, 0.31)) + FussCatalan(16)",
    "MultiplicativeBrownian(0.214).compress(0.58) "
    "+ (Discrete((0.0, 540.0, 541.0, 542.0), (0.17, 0.125, 0.41, 0.295)) * Discrete((0.0745, 33.5), (0.9994, 0.0006)))",
    "Discrete((-4.96e-06, 3.85e-07, -2.48e-06, 5.54e-05, -0.000178), (0.0003, 0.0052, 0.0167, 0.0001, 0.9777)) "
    "+ Discrete((-7.92, -7.89), (0.0001, 0.9999))",
    "(Discrete((195.0, 201.0, 120.0, 58.9, 91.7), (0.15, 0.265, 0.135, 0.16, 0.29)) * FussCatalan(10)) "
    "+ Discrete((0.0365, 0.046, 0.015), (0.0124, 0.0011, 0.9865))",
    "(0.00187 * Discrete((0.0, -21.5, 21.3, 22.3, 23.9, 24.4), (0.295, 0.1, 0.245, 0.25, 0.025, 0.085))) "
    "+ Discrete((0.00326, 0.00251, 0.00292, 0.00253, 0.00282), (0.0613, 0.003, 0.0004, 0.0371, 0.8982))",
    "0.00298 * ((FussCatalan(11) + MarchenkoPastur(2800.0)) * (Bernoulli(0.53) * MultiplicativeBrownian(0.013)))",
    "(Discrete((0.0185, 0.0, 0.0176), (0.06, 0.01, 0.93)) + SquaredSlope('elu', 2.84e-11)) "
    "+ (MultiplicativeBrownian(1.02) * Discrete((104.0, 370.0, 244.0, 357.0), (0.0419, 0.4621, 0.493, 0.003)))",
    "(SquaredSlope('silu', 762.0) * Discrete((0.0, 0.00439, 0.00458), (0.0464, 0.0472, 0.9064))) "
    "+ (Discrete((0.0, 40.1, 42.7, 60.1, 17.1, 28.1), (0.025, 0.155, 0.415, 0.08, 0.07, 0.255)) ** 20)",
)


@pytest.mark.parametrize("text", FOUND)
def test_what_the_sweep_found(text):
    the_sweep_finds_nothing(text)


def test_a_dear_sum_is_the_same_by_both_its_equations():
    law = FussCatalan(2) * Discrete((1, 2), (0.5, 0.5)) + Discrete((-3, 0.5), (0.4, 0.6))
    low, high = law.support[0][0], law.support[-1][1]
    z = (low + (high - low) * np.linspace(0.01, 0.99, 9)).astype(complex)
    joint, own = law._cauchy(z), law._solved(z, law._outside)
    for one, other in ((joint.g, own.g), (joint.slope, own.slope), (joint.u, own.u)):
        assert_allclose(one, other, rtol=1e-9)


def test_a_band_that_holds_mass_stays_or_is_named():
    """Narrower than rounding at a place, but at zero every float is a place of its own."""
    narrow = MarchenkoPastur(1) * 1e-16
    law = narrow + Bernoulli(0.3) * (MarchenkoPastur(0.01) + 1)
    assert law.support[0][1] < 1e-14
    assert law.support[1][0] > 0.1
    assert_allclose(law.cdf(law.support[0][1]), 0.7, atol=1e-9)
    assert 0 < law.ppf(0.1) < law.ppf(0.3) < law.ppf(0.6) < law.support[0][1]
    with pytest.raises(rmt.ConvergenceError, match=r"do not tell apart .* a mass of 0\.3"):
        _ = (narrow + Bernoulli(0.3)).support


def test_the_negative_axis_of_a_sum_of_terms_of_different_orders():
    """The table of one term ends where that of the other goes on by hundreds: Newton was left to walk there."""
    psi = (FussCatalan(12) + MultiplicativeBrownian(0.35) * Bernoulli(0.5)).curve.slopes[0][0]
    odds = np.array([-45.0, 0.0, 20.0, 45.0])
    rows = [row.astype(complex) for row in psi.real_rows(odds, 1e-13)]
    steps = psi.correction(rows, odds.astype(complex), np.ones(odds.size, complex))[0]
    assert_allclose(np.array(rows) + steps, rows, rtol=1e-12)


@pytest.mark.parametrize("distance", [1e-3, 1e-7, 1e-12])
def test_the_logistic_function_next_to_its_pole(distance):
    v = 1j * math.pi + distance * np.exp(1j * np.linspace(-3, -0.1, 7))
    with mp.workdps(40):
        exact = [1 / (1 + mp.exp(-mp.mpc(a.real, mp.mpf(a.imag) - mp.mpf(math.pi) + mp.pi))) for a in v]
    for found in (sigmoids(v)[0], logistic(v).s):
        assert_allclose(found, np.array(exact, dtype=complex), rtol=1e-14)
    assert exponential(np.array([2 + 1j * math.pi])).imag == 0


def test_a_narrow_law_has_the_law_of_its_slopes():
    """sigmoid'(u)^2 = (1 - u^2 / 2 + ...) / 16 at a small variance: 1 - 16 X over it is half a chi-squared."""
    variance = 1e-6
    law = SquaredSlope("sigmoid", variance) * PointMass(16)
    x = (1 - law.ppf(LEVELS)) * 2 / variance
    assert_allclose(np.sqrt(x), np.sqrt(np.quantile(np.random.default_rng(0).normal(size=400_000) ** 2, 1 - LEVELS)),
                    atol=0.02)


@pytest.mark.parametrize(("p", "t"), [(0.76, 1.02), (0.5, 1.01), (0.9, 1.3), (0.2, 1.001)])
def test_a_power_of_a_projection_has_its_atoms_and_its_band(p, t):
    """Its turn lies next to the pole w = -1. The mass at 1 is 1 - t (1 - p) (Bercovici and Voiculescu 1998)."""
    law = Bernoulli(p) ** t
    assert_allclose(law.atoms[max(law.atoms)], 1 - t * (1 - p), rtol=1e-12)
    assert_allclose([law.expect(np.ones_like), law.expect(lambda x: x)], [1, p**t], rtol=1e-9)
