"""What every law promises. `CHECKS` are functions of a law; each raises where the law breaks its promise."""

import math
import pickle
from fractions import Fraction

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy import stats
from scipy.integrate import cubature

import rmt
from benchmarks import judged
from benchmarks.expressions import parsed
from rmt.laws.discrete_psi import DiscretePsi
from rmt.laws.master_curve import MasterCurve
from rmt.laws.residual_psi import ResidualPsi
from rmt.networks.expression import ChainLaw

# of the repr of a prediction
INSIDE = {part.__name__: part for part in (ChainLaw, MasterCurve, DiscretePsi, ResidualPsi, Fraction)}
NAMES = {name: getattr(rmt, name) for name in rmt.__all__} | INSIDE


def the_sweep_finds_nothing(text):
    """What anyone asks of the law of an expression is right by the sweep's own rules, and none of it raises."""
    report = judged.Report([], [], [])
    law = judged.queries(parsed(text), report)
    judged.independent(parsed(text), law, report)
    assert (report.wrong, report.raised) == ([], [])


def band_levels(law, u):
    """Return one row a band: the probabilities that cut the band's own mass at the fractions u."""
    ends = [(law.cdf(lo), law.cdf(hi) - law.atoms.get(hi, 0.0)) for lo, hi in law.support]
    return np.array([low + (high - low) * np.asarray(u) for low, high in ends]).reshape(-1, len(u))


def total_mass_is_one(law):
    bands = [high - low for low, high in band_levels(law, (0, 1))]
    assert_allclose(math.fsum([*law.atoms.values(), *bands]), 1, rtol=1e-12)
    assert_allclose(law.expect(np.ones_like), 1, rtol=1e-10)
    assert all(0 < mass <= 1 for mass in law.atoms.values())


def is_positive(law):
    """Whether the law is one on x > 0, but for an atom at zero, so that it has a spectrum and a log view."""
    return law.ppf(0) >= 0 and law.atoms.get(0.0) != 1


def the_ends_have_all_the_mass(law):
    low = min([lo for lo, _ in law.support] + list(law.atoms))
    high = max([hi for _, hi in law.support] + list(law.atoms))
    assert low < high or law.atoms == {low: 1}
    room = 1e-12 * (abs(low) + abs(high))
    below, above = low - room, high + room
    assert_array_equal(law.cdf([-math.inf, low - 1, below]), 0)
    assert_array_equal(law.cdf([high, above, math.inf]), 1)
    assert_array_equal(law.pdf([-math.inf, low - 1, below, above, math.inf]), 0)
    assert_array_equal(law.ppf([0, 1]), [low, high])


def bands_begin_where_the_density_does(law):
    """Next to a true end it grows as a root of the distance, or falls as one; inside a gap it is nothing, or noise."""
    for lo, hi in law.support:
        distance = 1e-5 * (hi - lo) * np.array([1, 4])
        for x in (lo + distance, hi - distance):
            near, far = law.pdf(x)
            assert 0.2 * far < near < 5 * far


def the_density_is_the_derivative_of_the_cdf(law):
    """Between quantiles, in ln x of a positive law, by an adaptive rule: bands that almost touch dip sharply."""
    line, given = (law.log, law.sf(0)) if is_positive(law) else (law, 1.0)
    for levels in band_levels(law, (0.03, 0.4, 0.5, 0.6, 0.97)):
        t = line.ppf(1 - (1 - levels) / given)
        for low, high, mass in zip(t[:-1], t[1:], np.diff(levels), strict=True):
            found = cubature(lambda t: line.pdf(t[:, 0]), [low], [high], rtol=1e-8)
            assert found.status == "converged"
            assert_allclose(given * found.estimate, mass, rtol=1e-7)


def ppf_inverts_cdf_off_the_atoms(law):
    for levels in band_levels(law, (1e-3, 0.1, 0.37, 0.5, 0.9, 0.999)):
        x = law.ppf(levels)
        x, levels = x[x != 0], levels[x != 0]  # at depth 200 the .001 quantile is 1e-600
        assert np.all(np.diff(x) > 0)
        assert_allclose(law.cdf(x), levels, rtol=0, atol=2e-12)
        assert_allclose(law.sf(x), 1 - levels, rtol=0, atol=2e-12)
        room = 1e-11 / law.pdf(x)  # what rounding of the probability does to x
        assert np.all(np.abs(law.ppf(law.cdf(x)) - x) <= room)
    for point, mass in law.atoms.items():
        assert law.ppf(law.cdf(point) - mass / 2) == point


def quadrature_meets_the_moments(law):
    scale = math.sqrt(law.moment(2))
    for k in (1, 2, 3, 4):
        expected = law.moment(k) / scale**k
        assert_allclose(law.expect(lambda x, k=k: (x / scale) ** k), expected, rtol=1e-9, atol=1e-10)
    assert law.moment(0) == 1
    assert_allclose(law.mean(), law.moment(1), rtol=1e-13, atol=1e-14 * scale)
    assert_allclose(law.var() / scale**2, 1 - (law.mean() / scale) ** 2, rtol=1e-9, atol=1e-13)
    assert_allclose(law.free_cumulants(2), [law.mean(), law.var()], rtol=1e-9, atol=1e-13 * scale)


def the_views_are_changes_of_variable(law):
    if not is_positive(law):
        for view in ("spectrum", "log"):
            with pytest.raises(ValueError, match="x >= 0"):
                getattr(law, view)
        return
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
    views = (law.spectrum, law.log, law.spectrum.log) if is_positive(law) else ()
    for thing in (law, *views):
        for copy in (eval(repr(thing), NAMES), pickle.loads(pickle.dumps(thing))):
            assert copy == thing
            assert hash(copy) == hash(thing)
            assert repr(copy) == repr(thing)
    assert law != 2 * law
    assert law not in views


def shapes_pass_through(law):
    grid = np.array([[0.25, 0.5, 0.75], [0.1, 0.5, math.nan]])
    of_the_law = [law.pdf, law.logpdf, law.cdf, law.sf, law.ppf]
    of_views = [law.spectrum.pdf, law.log.pdf, law.log.cdf] if is_positive(law) else []
    for method in (*of_the_law, *of_views):
        assert isinstance(method(0.5), float)
        assert np.isnan(method(math.nan))
        assert method([]).shape == (0,)
        assert method(np.zeros((0, 2))).shape == (0, 2)
        out = method(grid)
        assert out.shape == grid.shape
        assert out[1, 1] == out[0, 1]
        assert_array_equal(np.isnan(out), np.isnan(grid))


def samples_follow_the_law(law):
    """Counts below five quantiles of 20000 independent samples, binomial; false alarm rate 1e-6 a law.

    The twin, a quarter of a standard deviation off (of ln x, for laws on x > 0), fails wherever there is a density.
    """
    samples = law.rvs(20000, rng=3)
    assert_array_equal(law.rvs(20000, rng=np.random.default_rng(3)), samples)
    x = np.unique(law.ppf([0.1, 0.3, 0.5, 0.7, 0.9]))
    below = (samples[:, None] <= x).sum(axis=0)

    def fits(candidate):
        low, high = stats.binom.interval(1 - 1e-6 / 5, samples.size, candidate.cdf(x))
        return bool(np.all((below >= low) & (below <= high)))

    assert fits(law)
    if law.support and sum(law.atoms.values()) < 0.5:
        assert not fits(math.exp(0.25 * law.log.std()) * law if is_positive(law) else law + 0.25 * law.std())


CHECKS = (
    total_mass_is_one,
    the_ends_have_all_the_mass,
    bands_begin_where_the_density_does,
    the_density_is_the_derivative_of_the_cdf,
    ppf_inverts_cdf_off_the_atoms,
    quadrature_meets_the_moments,
    the_views_are_changes_of_variable,
    it_is_a_value,
    shapes_pass_through,
    samples_follow_the_law,
)
