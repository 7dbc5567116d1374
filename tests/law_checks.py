"""What every law promises. `CHECKS` are functions of a law; each raises where the law breaks its promise."""

import math
import pickle
from fractions import Fraction

import numpy as np
from numpy.testing import assert_allclose, assert_array_equal
from scipy.integrate import cubature

import rmt
from rmt.laws.discrete_psi import DiscretePsi
from rmt.laws.master_curve import MasterCurve
from rmt.networks.expression import ChainLaw

INSIDE = {part.__name__: part for part in (ChainLaw, MasterCurve, DiscretePsi, Fraction)}  # the repr of a prediction
NAMES = {name: getattr(rmt, name) for name in rmt.__all__} | INSIDE


def band_levels(law, u):
    """Return one row a band: the probabilities that cut the band's own mass at the fractions u."""
    ends = [(law.cdf(lo), law.cdf(hi) - law.atoms.get(hi, 0.0)) for lo, hi in law.support]
    return np.array([low + (high - low) * np.asarray(u) for low, high in ends]).reshape(-1, len(u))


def total_mass_is_one(law):
    bands = [high - low for low, high in band_levels(law, (0, 1))]
    assert_allclose(math.fsum([*law.atoms.values(), *bands]), 1, rtol=1e-12)
    assert_allclose(law.expect(np.ones_like), 1, rtol=1e-10)
    assert all(0 < mass <= 1 for mass in law.atoms.values())


def the_ends_have_all_the_mass(law):
    low = min([lo for lo, _ in law.support] + list(law.atoms))
    high = max([hi for _, hi in law.support] + list(law.atoms))
    assert low >= 0
    below, above = low - 1e-12 * (low or 1), high * (1 + 1e-12)
    assert_array_equal(law.cdf([-math.inf, -1, below]), 0)
    assert_array_equal(law.cdf([high, above, math.inf]), 1)
    assert_array_equal(law.pdf([-math.inf, -1, below, above, math.inf]), 0)
    assert_array_equal(law.ppf([0, 1]), [low, high])


def the_density_is_the_derivative_of_the_cdf(law):
    """In ln x between quantiles, by an adaptive rule: the density of two bands that almost touch dips sharply."""
    log, given = law.log, law.sf(0)
    for levels in band_levels(law, (0.03, 0.4, 0.5, 0.6, 0.97)):
        t = log.ppf(1 - (1 - levels) / given)
        for low, high, mass in zip(t[:-1], t[1:], np.diff(levels), strict=True):
            found = cubature(lambda t: log.pdf(t[:, 0]), [low], [high], rtol=1e-8)
            assert found.status == "converged"
            assert_allclose(given * found.estimate, mass, rtol=1e-7)


def ppf_inverts_cdf_off_the_atoms(law):
    for levels in band_levels(law, (1e-3, 0.1, 0.37, 0.5, 0.9, 0.999)):
        x = law.ppf(levels)
        x, levels = x[x > 0], levels[x > 0]  # at depth 200 the .001 quantile is 1e-600
        assert np.all(np.diff(x) > 0)
        assert_allclose(law.cdf(x), levels, rtol=0, atol=2e-12)
        assert_allclose(law.sf(x), 1 - levels, rtol=0, atol=2e-12)
        room = 1e-11 / (x * law.pdf(x))  # what rounding of the probability does to ln x
        assert np.all(np.abs(np.log(law.ppf(law.cdf(x)) / x)) <= room)
    for point, mass in law.atoms.items():
        assert law.ppf(law.cdf(point) - mass / 2) == point


def quadrature_meets_the_moments(law):
    scale = law.mean()
    for k in (1, 3):
        assert_allclose(law.expect(lambda x, k=k: (x / scale) ** k), law.moment(k) / scale**k, rtol=1e-9)
    assert law.moment(0) == 1
    assert_allclose(law.var() / scale**2, law.moment(2) / scale**2 - 1, rtol=1e-9, atol=1e-13)


def the_views_are_changes_of_variable(law):
    s, log = law.spectrum, law.log
    levels = band_levels(law, (0.05, 0.5, 0.95)).ravel()
    x, given = law.ppf(levels), law.sf(0)
    assert_allclose(s.ppf(levels), np.sqrt(x), rtol=1e-9)
    assert_allclose(s.cdf(np.sqrt(x)), law.cdf(x), atol=1e-12)
    assert_allclose(s.logpdf(np.sqrt(x)), law.logpdf(x) + np.log(2 * np.sqrt(x)), rtol=1e-9, atol=1e-8)
    assert_allclose(log.cdf(np.log(x)), (law.cdf(x) - law.cdf(0)) / given, atol=1e-12)
    assert_allclose(log.logpdf(np.log(x)), law.logpdf(x) + np.log(x / given), rtol=1e-9, atol=1e-8)
    assert_allclose(s.log.logpdf(np.log(x) / 2), log.logpdf(np.log(x)) + np.log(2), rtol=1e-9, atol=1e-8)
    assert_allclose(s.moment(2), law.mean(), rtol=1e-12)
    assert_allclose(np.square(s.support), law.support, rtol=1e-13)
    assert_allclose(list(s.atoms), np.sqrt(list(law.atoms)), rtol=1e-15)
    assert s.squared == law
    assert 1 <= s.condition_number <= math.inf


def it_is_a_value(law):
    """Equal by what it says, hashable, pickled (before and after use), rebuilt by its repr."""
    law.ppf(0.5)
    for thing in (law, law.spectrum, law.log, law.spectrum.log):
        for copy in (eval(repr(thing), NAMES), pickle.loads(pickle.dumps(thing))):
            assert copy == thing
            assert hash(copy) == hash(thing)
            assert repr(copy) == repr(thing)
    assert law != 2 * law
    assert law != law.spectrum


def shapes_pass_through(law):
    grid = np.array([[0.25, 0.5, 0.75], [0.1, 0.5, math.nan]])
    of_the_law = [law.pdf, law.logpdf, law.cdf, law.sf, law.ppf]
    for method in (*of_the_law, law.spectrum.pdf, law.log.pdf, law.log.cdf):
        assert isinstance(method(0.5), float)
        assert np.isnan(method(math.nan))
        assert method([]).shape == (0,)
        assert method(np.zeros((0, 2))).shape == (0, 2)
        out = method(grid)
        assert out.shape == grid.shape
        assert out[1, 1] == out[0, 1]
        assert_array_equal(np.isnan(out), np.isnan(grid))


CHECKS = (
    total_mass_is_one,
    the_ends_have_all_the_mass,
    the_density_is_the_derivative_of_the_cdf,
    ppf_inverts_cdf_off_the_atoms,
    quadrature_meets_the_moments,
    the_views_are_changes_of_variable,
    it_is_a_value,
    shapes_pass_through,
)
