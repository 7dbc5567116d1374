"""Free sums, corners, transforms and edges against what is known exactly."""

import math
from fractions import Fraction

import numpy as np
import pytest
from numpy.testing import assert_allclose

from rmt import Bernoulli, Discrete, Empirical, FussCatalan, MarchenkoPastur, PointMass, Semicircle

COIN = Discrete((-1, 1), (0.5, 0.5))


def test_coin_plus_coin_is_the_arcsine_law():
    law, x = COIN + COIN, np.array([-1.999, -1, -1e-9, 0, 0.3, 1.9999])
    assert law.support == ((-2, 2),)
    assert law.atoms == {}
    assert_allclose(law.pdf(x), 1 / (math.pi * np.sqrt((2 - x) * (2 + x))), rtol=1e-11)
    assert_allclose(law.cdf(x), 0.5 + np.arcsin(x / 2) / math.pi, atol=1e-14)
    assert_allclose(law.ppf([0.01, 0.5, 0.8]), [-2 * math.cos(math.pi * q) for q in (0.01, 0.5, 0.8)], atol=1e-13)


@pytest.mark.parametrize(("p", "q"), [(0.5, 0.5), (0.75, 0.75), (0.7, 0.6), (0.2, 0.9)])
def test_atoms_of_a_sum_of_projections(p, q):
    """Bercovici and Voiculescu 1998: an atom at a + b of mass p_a + p_b - 1."""
    places = {0: 1 - p + 1 - q - 1, 2: p + q - 1}
    places[1] = max(p + 1 - q - 1, 1 - p + q - 1)
    law = Bernoulli(p) + Bernoulli(q)
    expected = {float(x): mass for x, mass in sorted(places.items()) if mass > 1e-12}
    assert_allclose(list(law.atoms), list(expected), rtol=0)
    assert_allclose(list(law.atoms.values()), list(expected.values()), atol=1e-15)


def test_edges_of_sums():
    root = math.sqrt(8)
    assert_allclose((Semicircle() + COIN).support, [(-1.5 * math.sqrt(3), 1.5 * math.sqrt(3))], rtol=1e-13)
    assert_allclose((MarchenkoPastur(1) + MarchenkoPastur(1)).support, [(3 - root, 3 + root)], rtol=1e-12)
    half = math.sqrt(0.75)
    assert_allclose((Bernoulli(0.75) + Bernoulli(0.75)).support, [(1 - half, 1 + half)], rtol=1e-12)


@pytest.mark.parametrize("gap", [1e-2, 1e-4, 1e-6])
def test_two_bands_part_where_the_semicircle_is_narrower_than_the_coin(gap):
    """z = omega + std^2 G(omega), G = omega/(omega^2 - 1) of the coin; the edges are where dz/d omega = 0."""
    std = 1 - gap
    support = (std * Semicircle() + COIN).support
    assert len(support) == 2
    s2 = std**2
    roots = np.sqrt(np.roots([1, -2 - s2, 1 - s2]))
    edges = np.sort(np.abs(roots + s2 * roots / (roots**2 - 1)))
    assert_allclose(support[1], edges, rtol=0, atol=1e-9)


@pytest.mark.parametrize("std", [Fraction(1, 2), 1, 3.5])
def test_semicircle(std):
    law = Semicircle(std)
    assert law.support == ((-2 * std, 2 * std),)
    catalan = [math.comb(2 * k, k) // (k + 1) * float(std) ** (2 * k) for k in range(1, 8)]
    assert_allclose([law.moment(2 * k) for k in range(1, 8)], catalan, rtol=1e-12)
    assert law.moment(5) == 0
    x = np.linspace(-1.99, 1.99, 7) * float(std)
    assert_allclose(law._at(x).upper, law.sf(x), atol=1e-15)  # the log-potential against the closed form
    assert_allclose(np.exp(law._at(x).log_density), law.pdf(x), rtol=1e-13)
    z = np.array([3, -4, 2.5, 1e8]) * float(std)
    assert_allclose(law.stieltjes(z), 2 / (z + np.sign(z) * np.sqrt(z**2 - 4 * float(std) ** 2)), rtol=1e-14)


@pytest.mark.parametrize("ratio", [1e-3, 0.5, 0.999, 1, 1.001, 2, 50])
def test_marchenko_pastur_of_the_curve_and_of_its_closed_form(ratio):
    law = MarchenkoPastur(ratio)
    (low, high), = law._bands
    t = np.linspace(max(low, -30), high, 40)[1:-1]
    found = law._at(t)
    assert_allclose(law.sf(np.exp(t)), found.upper, atol=1e-13)
    assert_allclose(law.pdf(np.exp(t)), np.exp(found.log_density - t), rtol=1e-11)


SAME = {
    "stable": (Semicircle(3) + Semicircle(4), 5 * Semicircle()),
    "Poisson": (MarchenkoPastur(1) + MarchenkoPastur(1), 2 * MarchenkoPastur(0.5)),
    "corner of a Poisson law": ((MarchenkoPastur(0.5) + PointMass(0)).compress(0.5), MarchenkoPastur(0.25)),
    "corner by sums": ((MarchenkoPastur(1) + 1.0).compress(0.5), MarchenkoPastur(0.5) + 1.0),
    "shift": (Semicircle() + PointMass(2), Semicircle() + 2),
    "distribute": (2 * (Semicircle() + 0.5 * COIN) + 1, 2 * Semicircle() + Discrete((0, 2), (0.5, 0.5))),
    "product with a shifted sum": ((Semicircle() + 3) * PointMass(2), 2 * Semicircle() + 6),
    "two routes of a product": ((Bernoulli(0.5) + 0) * MarchenkoPastur(0.5), Bernoulli(0.5) * MarchenkoPastur(0.5)),
    "empirical": (Empirical((-1, 1, -1, 1)) + Semicircle(), COIN + Semicircle()),
}


@pytest.mark.parametrize("name", SAME)
def test_two_spellings_have_one_law(name):
    one, other = SAME[name]
    q = np.array([0.02, 0.3, 0.5, 0.71, 0.98])
    assert_allclose(one.ppf(q), other.ppf(q), rtol=1e-9, atol=1e-11)
    x = other.ppf(q)[[0, -1]]
    assert_allclose(one.pdf(x), other.pdf(x), rtol=1e-8)
    assert_allclose(one.support, other.support, rtol=1e-9, atol=1e-12)
    assert_allclose(one.free_cumulants(6), other.free_cumulants(6), rtol=1e-11, atol=1e-12)


def test_a_corner_of_a_projection_by_sums_and_by_the_curve():
    """P Q P compressed by P: one route is the free sum, the other S(t w) (Nica and Speicher 1996)."""
    by_sums, on_the_curve = Bernoulli(0.5).compress(0.7), (Bernoulli(0.5) * PointMass(2)).compress(0.7) * 0.5
    q = np.array([0.3, 0.4, 0.5, 0.6, 0.7])
    assert_allclose(by_sums.ppf(q), on_the_curve.ppf(q), rtol=1e-10)
    assert_allclose(list(by_sums.atoms.values()), list(on_the_curve.atoms.values()), rtol=1e-14)


def test_a_real_free_power_has_the_moments_it_must():
    """MP(1)^s: the Raney numbers m_k = s'/(k p + ...): C((s+1)k, k)/(sk + 1) at real s."""
    law, s = MarchenkoPastur(1) ** 4.5, 4.5
    for k in range(1, 9):
        raney = math.exp(math.lgamma((s + 1) * k + 1) - math.lgamma(k + 1) - math.lgamma(s * k + 1)) / (s * k + 1)
        assert law.moment(k) == pytest.approx(raney, rel=1e-12)


@pytest.mark.parametrize("law", [
    FussCatalan(1), FussCatalan(4), MarchenkoPastur(0.3) * MarchenkoPastur(0.5), MarchenkoPastur(1) ** 2.5,
    MarchenkoPastur(1) * Discrete((1, 3), (0.5, 0.5)), MarchenkoPastur(0.25) * Discrete((0, 1, 3), (0.2, 0.5, 0.3)),
    Semicircle() + 0.5 * COIN, COIN + COIN, FussCatalan(2) + Semicircle(), MarchenkoPastur(1) + 1.0,
], ids=repr)
def test_densities_begin_at_edges_as_their_asymptotics_say(law):
    for edge in law.soft_edges:
        distance = 1e-7 * (1 + abs(edge.place))
        x = edge.place + edge.side * distance
        assert law.pdf(x) == pytest.approx(edge.prefactor * abs(x - edge.place) ** edge.exponent, rel=3e-4)
        assert not law.pdf(edge.place - edge.side * distance) or law.support[0][0] < edge.place < law.support[-1][1]
        assert edge.pdf(edge.place - edge.side) == 0
    hard = [low for low, _ in law.support if low == 0]
    if hard and law.ppf(0) == 0 and law.curve.order > 1:
        edge, x = law.hard_edge, 1e-60
        assert law.pdf(x) == pytest.approx(edge.pdf(x), rel=1e-6)


@pytest.mark.parametrize("depth", [1, 2, 10, 50])
def test_the_hard_edge_of_square_layers(depth):
    """sin(pi/(L+1))/pi x^(-L/(L+1)) (THEORY 2), and with it every quantile near zero."""
    edge = FussCatalan(depth).hard_edge
    assert edge.exponent == pytest.approx(-depth / (depth + 1), rel=1e-15)
    assert edge.prefactor == pytest.approx(math.sin(math.pi / (depth + 1)) / math.pi, rel=1e-13)


def test_a_soft_edge_of_marchenko_pastur():
    for edge in MarchenkoPastur(0.25).soft_edges:
        slope = math.sqrt(2.25 - 0.25) / (2 * math.pi * 0.25 * edge.place)
        assert (edge.exponent, edge.prefactor) == (0.5, pytest.approx(slope, rel=1e-10))


def test_what_has_no_edge_of_a_kind_says_so():
    with pytest.raises(ValueError, match="no hard edge"):
        _ = MarchenkoPastur(0.5).hard_edge
    with pytest.raises(ValueError, match="x >= 0"):
        _ = Semicircle().hard_edge
    assert COIN.soft_edges == ()


# ---- transforms -------------------------------------------------------------------------------------

W = np.array([-0.3, -0.01, 0.0, 1e-9, 0.05])
COMPLEX = np.array([0.1 + 0.1j, -0.2 - 0.3j, 0.3j])


@pytest.mark.parametrize(("law", "s"), [
    (MarchenkoPastur(0.5), lambda w: 1 / (1 + 0.5 * w)),
    (FussCatalan(3), lambda w: (1 + w) ** -3.0),
    (Bernoulli(0.5), lambda w: (1 + w) / (0.5 + w)),
    (PointMass(4), lambda w: 0.25 + 0 * w),
    (2 * MarchenkoPastur(2), lambda w: 0.5 / (1 + 2 * w)),
    (MarchenkoPastur(2).compress(0.25), lambda w: 1 / (1 + 0.5 * w)),
    # 3 (1 + w) z^2 - 2 (1 + 2 w) z + w = 0 for z = psi^-1(w)
    (Discrete((1, 3), (0.5, 0.5)), lambda w: (1 + w) / (1 + 2 * w + np.sqrt((1 + 2 * w) ** 2 - 3 * w * (1 + w)))),
])
def test_s_transforms(law, s):
    assert_allclose(law.s_transform(W), s(W), rtol=1e-13)
    assert_allclose(law.s_transform(COMPLEX), s(COMPLEX), rtol=1e-12)
    assert law.s_transform(0.0) == pytest.approx(1 / law.mean(), rel=1e-14)


@pytest.mark.parametrize(("law", "r"), [
    (Semicircle(2), lambda g: 4 * g),
    (MarchenkoPastur(0.5), lambda g: 1 / (1 - 0.5 * g)),
    (PointMass(3), lambda g: 3 + 0 * g),
    (COIN, lambda g: 2 * g / (1 + np.sqrt(1 + 4 * g**2))),
    (COIN + Semicircle(), lambda g: 2 * g / (1 + np.sqrt(1 + 4 * g**2)) + g),
    (0.5 * COIN + 1.0, lambda g: 1 + 0.5 * g / (1 + np.sqrt(1 + g**2))),
])
def test_r_transforms(law, r):
    assert_allclose(law.r_transform(W), r(W), rtol=1e-13, atol=1e-14)
    assert_allclose(law.r_transform(COMPLEX), r(COMPLEX), rtol=1e-12)


@pytest.mark.parametrize("law", [FussCatalan(2), MarchenkoPastur(0.5), COIN + Semicircle(), Bernoulli(0.3) + 1.0],
                         ids=repr)
def test_transforms_are_averages(law):
    for z in (3 + 1j, -2 + 0.5j, 0.3 - 2j):
        real = law.expect(lambda x, z=z: (1 / (z - x)).real)
        imag = law.expect(lambda x, z=z: (1 / (z - x)).imag)
        assert law.stieltjes(z) == pytest.approx(real + 1j * imag, rel=1e-9)
        assert law.psi(1 / z) == pytest.approx(z * law.stieltjes(z) - 1, rel=1e-9)
    for z in (0.001, -0.001):
        series = sum(law.moment(k) * z**k for k in range(1, 12))
        assert law.psi(z) == pytest.approx(series, rel=1e-12)
    assert law.psi(0.0) == 0
    assert law.stieltjes(math.inf) == 0


def test_cumulants_are_known():
    assert_allclose(MarchenkoPastur(0.5).free_cumulants(5), 0.5 ** np.arange(5), rtol=1e-13)
    assert_allclose(COIN.free_cumulants(6), [0, 1, 0, -1, 0, 2], atol=1e-13)
    assert_allclose((FussCatalan(2) + Semicircle()).free_cumulants(4), [1, 3, 5, 14], rtol=1e-13)


def test_negative_moments():
    assert MarchenkoPastur(0.5).moment(-1) == pytest.approx(2, rel=1e-10)
    assert MarchenkoPastur(0.25).moment(-2) == pytest.approx(1 / 0.75**3, rel=1e-10)
    for law in (MarchenkoPastur(1), MarchenkoPastur(2), Semicircle(), COIN):
        with pytest.raises(ValueError, match=r"moment\(-1\)"):
            law.moment(-1)
