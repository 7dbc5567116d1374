"""isf, entropy, densities at the ends of bands, and transforms at special points."""

import math
import warnings

import numpy as np
import pytest
from numpy.testing import assert_allclose

from rmt import (
    Bernoulli,
    ConvergenceError,
    Discrete,
    FussCatalan,
    MarchenkoPastur,
    MultiplicativeBrownian,
    PointMass,
    Semicircle,
    TracyWidom,
)
from tests.law_checks import NAMES

COIN = Discrete((-1, 1), (0.5, 0.5))
THREE = Discrete((0, 1, 4), (0.25, 0.5, 0.25))
PI = math.pi


@pytest.mark.parametrize("law", [
    MarchenkoPastur(1), FussCatalan(3), Semicircle(2), MarchenkoPastur(0.5) + COIN, -MarchenkoPastur(1), TracyWidom(2),
    MarchenkoPastur(0.5).spectrum, FussCatalan(3).log, MarchenkoPastur(1) * Bernoulli(0.5)], ids=str)
def test_isf_inverts_sf_with_the_digits_that_sf_has(law):
    q = np.array([[1e-9, 1e-6, 1e-4], [0.01, 0.1, 0.4]])
    assert_allclose(law.sf(law.isf(q)), q, rtol=1e-6)
    assert_allclose(law.isf(q[1]), law.ppf(1 - q[1]), rtol=1e-12)
    assert law.isf(0) == law.ppf(1)
    assert law.isf(1) == law.ppf(0)
    assert isinstance(law.isf(0.5), float)
    assert np.isnan(law.isf(math.nan))
    assert law.isf(1e-20) <= law.ppf(1)
    with pytest.raises(ValueError, match=r"q must be in \[0, 1\], got -0.1"):
        law.isf([0.5, -0.1])


def test_isf_of_atoms():
    assert THREE.isf([0, 0.2, 0.3, 0.5, 0.8, 1]).tolist() == [4, 4, 1, 1, 0, 0]
    assert COIN.isf(1e-9) == 1


@pytest.mark.parametrize(("law", "entropy"), [
    (Semicircle(), math.log(2 * PI) - 0.5),
    (3 * Semicircle(2) + 5.0, math.log(12 * PI) - 0.5),
    (MarchenkoPastur(1).spectrum, math.log(PI) - 0.5),  # a quarter of a circle
    (COIN + COIN, math.log(PI)),  # the arcsine law on [-2, 2]: ln(pi (b - a)/4)
    (MarchenkoPastur(1), math.log(PI) - 0.5 + math.log(2) - 0.5),  # that of s, and ln 2 + E ln s
    (TracyWidom(2), -TracyWidom(2).expect(TracyWidom(2).logpdf))], ids=str)
def test_entropy(law, entropy):
    assert law.entropy() == pytest.approx(entropy, rel=1e-9 if law.pdf(law.ppf(1)) < 1 else 1e-6)


def test_entropy_moves_as_it_must():
    law = THREE + MarchenkoPastur(0.5)
    assert (law + 3.0).entropy() == pytest.approx(law.entropy(), rel=1e-9)
    assert (2.5 * law).entropy() == pytest.approx(law.entropy() + math.log(2.5), rel=1e-9)
    assert (-law).entropy() == pytest.approx(law.entropy(), rel=1e-9)
    deep = FussCatalan(30)
    assert deep.log.entropy() == pytest.approx(deep.entropy() - deep.log.mean(), rel=1e-9)


@pytest.mark.parametrize("law", [Bernoulli(0.5), MarchenkoPastur(2), PointMass(3), THREE.spectrum, -THREE], ids=str)
def test_a_law_with_atoms_has_no_entropy(law):
    with pytest.raises(ValueError, match="entropy needs a law without atoms"):
        law.entropy()
    assert MarchenkoPastur(2).log.entropy() < 3  # given x > 0 it has none


INF = math.inf


@pytest.mark.parametrize(("law", "x", "density"), [
    (MarchenkoPastur(1), 0, INF), (MarchenkoPastur(1), 4, 0), (MarchenkoPastur(0.5), 0, 0), (MarchenkoPastur(2), 0, 0),
    (FussCatalan(1), 0, INF), (FussCatalan(7), 0, INF), (2.5 * FussCatalan(2), 0, INF), (FussCatalan(2) + 1.0, 1, INF),
    (-MarchenkoPastur(1), 0, INF), (2 - MarchenkoPastur(1), 2, INF),
    (COIN + COIN, -2, INF), (COIN + COIN, 2, INF), (Bernoulli(0.5) * Bernoulli(0.5), 1, INF), (Semicircle(), 2, 0),
    (MultiplicativeBrownian(1), MultiplicativeBrownian(1).support[0][0], 0),
    (MarchenkoPastur(1).spectrum, 0, 2 / PI), (FussCatalan(1).spectrum, 0, 2 / PI),
    ((4 * MarchenkoPastur(1)).spectrum, 0, 1 / PI), (FussCatalan(2).spectrum, 0, INF), (FussCatalan(1).log, -INF, 0),
    ((FussCatalan(1) + 1.0).spectrum, 1, INF)], ids=str)
def test_the_density_at_an_end_is_its_limit(law, x, density):
    for where in (x, np.array([x, x])):
        assert_allclose(law.pdf(where), density, rtol=1e-9)
        with np.errstate(divide="ignore"):
            assert_allclose(law.logpdf(where), np.log(density), rtol=1e-9)
    fresh = eval(repr(law), dict(NAMES))
    assert_allclose(fresh.logpdf(float(x)), math.log(density) if density else -INF, rtol=1e-9)


SILENT = [MarchenkoPastur(1), MarchenkoPastur(2), FussCatalan(3), Bernoulli(0.5), THREE, Semicircle(), COIN,
          PointMass(3), PointMass(0), MarchenkoPastur(1) * Bernoulli(0.5), Bernoulli(0.75) * Bernoulli(0.75),
          COIN + COIN, MarchenkoPastur(2) + 1.0, -FussCatalan(2), 1e-60 * FussCatalan(50)]


SLOW = (FussCatalan(3), -FussCatalan(2), Bernoulli(0.75) * Bernoulli(0.75), COIN + COIN)  # seconds each


@pytest.mark.parametrize("law", [pytest.param(law, marks=pytest.mark.slow) if law in SLOW else law for law in SILENT],
                         ids=str)
def test_no_method_warns_and_none_returns_nan(law):
    """At zero, infinity, huge and tiny numbers, atoms, ends, and next to them; a ValueError is an answer."""
    ends = [float(x) for band in law.support for x in band] + [*law.atoms]
    points = [0.0, 1.0, -1.0, INF, -INF, 1e300, -1e300, 1e-300, *ends]
    points += [*np.nextafter(ends, INF), *np.nextafter(ends, -INF)]
    inverse = [1 / x for x in points if x and abs(x) > 1e-300]
    few = [0.0, 1.0, INF, 1e300, *ends]
    few += [complex(x, y) for x in few if math.isfinite(x) for y in (0.0, -1e-3)]
    asked = {"stieltjes": [*points, *few], "psi": [*few, *inverse], "s_transform": few, "r_transform": few,
             "pdf": points, "logpdf": points, "cdf": points, "sf": points, "isf": [0, 1, 0.5, 1e-300]}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for name, values in asked.items():
            for value in values:
                try:
                    found = getattr(law, name)(value)
                except (ValueError, ConvergenceError):
                    continue
                assert not np.isnan(found), (name, value)


def test_transforms_at_infinity_and_at_atoms_are_their_limits():
    assert THREE.psi(math.inf) == -0.75
    assert MarchenkoPastur(0.5).psi(-math.inf) == -1
    assert THREE.psi(0.25) == math.inf
    assert THREE.stieltjes(4.0) == math.inf
    for transform in (MarchenkoPastur(1).s_transform, MarchenkoPastur(1).r_transform):
        with pytest.raises(ValueError, match="w must be"):
            transform(math.inf)
    assert (Bernoulli(0.75) * Bernoulli(0.75)).r_transform(0.03) == pytest.approx(0.5625 + 0.03 * 0.2109, rel=1e-2)
