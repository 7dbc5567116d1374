"""The distance between a law and a measurement against brute force, and its interval against the truth."""

import math
from fractions import Fraction
from types import SimpleNamespace

import numpy as np
import pytest
from measured import rigid
from numpy.testing import assert_allclose

from rmt import Bernoulli, Discrete, FussCatalan, MarchenkoPastur, PointMass, compare, mlp, predict

THREE = Discrete((1, 4, 9), (0.25, 0.5, 0.25))
LAWS = (FussCatalan(1), FussCatalan(3), MarchenkoPastur(2), Bernoulli(0.5), PointMass(4), THREE,
        Bernoulli(0.75) ** 2, 4 * Bernoulli(0.75) * Bernoulli(0.5))


def brute_force(law, values):
    """Sup over t of |measured - predicted| for the values given s > 0, at, just before and just after everything."""
    log_law, alive = law.spectrum.log, np.sort(values[values > -np.inf])
    places = np.array([*alive, *log_law.atoms, *np.linspace(-3, 3, 101)])
    t = np.concatenate([places, places - 1e-7, places + 1e-7])
    measured = np.mean(alive[None, :] <= t[:, None] + 1e-8, axis=1)
    predicted = log_law.cdf(t + 1e-12)  # e^t of an atom may be rounded to below it
    return np.max(np.abs(measured - predicted))


@pytest.mark.parametrize("law", LAWS, ids=repr)
@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 1, 4), (2, 3, 5), (3, 1, 12)])
def test_the_discrepancy_is_the_sup_over_every_place(law, shape):
    """Values of the law, values elsewhere, its atoms, ties and zeros, in every mixture."""
    for seed in range(12):
        rng = np.random.default_rng(seed)
        of_the_law = law.spectrum.log.ppf(rng.random(shape))
        atoms = rng.choice([*law.spectrum.log.atoms, 0.0], shape)
        values = np.choose(rng.integers(0, 4, shape), [of_the_law, rng.normal(size=shape), atoms, -np.inf])
        values.flat[0] = 0.25  # not all zero
        assert compare(law, values).raw_discrepancy == pytest.approx(brute_force(law, values), abs=2e-6)


def test_the_discrepancy_of_one_value_by_hand():
    """The quarter circle has cdf (s sqrt(4 - s^2)/2 + 2 arcsin(s/2)) / pi: at s = 1, (sqrt(3)/2 + pi/3)/pi."""
    expected = (math.sqrt(3) / 2 + math.pi / 3) / math.pi
    assert compare(FussCatalan(1), [[[0.0]]]).discrepancy == pytest.approx(expected, rel=1e-10)
    assert compare(FussCatalan(1), [[[0.0, -np.inf]]]).discrepancy == pytest.approx(expected, rel=1e-10)
    assert compare(PointMass(1), [[[0.0, 0.1, 0.2, 0.3]]]).discrepancy == 0.75
    assert compare(Bernoulli(0.5), [[[0.0, 0.1, -np.inf]]]).discrepancy == 0.5


@pytest.mark.parametrize("law", [PointMass(4), Bernoulli(Fraction(1, 3)), THREE, Bernoulli(0.75) ** 2], ids=repr)
def test_values_next_to_an_atom_are_on_it(law):
    """Within 1e-8 in ln s, on both sides; at 1e-6 they are not."""
    place = max(law.spectrum.log.atoms)
    values = np.full((3, 1, 20), place)
    near = values + np.random.default_rng(0).uniform(-9e-9, 9e-9, values.shape)
    on = compare(law, values).discrepancy
    assert compare(law, near).discrepancy == pytest.approx(on, abs=1e-12)
    assert compare(law, values - 1e-6).discrepancy >= max(on, law.spectrum.log.atoms[place]) - 1e-12


def test_the_wasserstein_distance_of_a_dilation_is_its_logarithm():
    law = FussCatalan(2)
    exact = law.spectrum.log.ppf((np.arange(300) + 0.5) / 300).reshape(3, 1, 100)
    assert compare(law, exact).wasserstein == pytest.approx(0, abs=1e-9)
    assert compare(4 * law, exact).wasserstein == pytest.approx(math.log(2), rel=1e-9)
    assert compare(law, np.concatenate([exact, np.full_like(exact, -np.inf)], axis=2)).wasserstein < 1e-9


def test_ends_and_condition_numbers_are_means_over_networks():
    values = np.log([[[1, 2, 4]], [[1, 3, 12]]])
    result = compare(4 * FussCatalan(1), values)
    assert_allclose(result.log_edges[1], (0, np.log([4, 12]).mean()), atol=1e-15)
    assert result.log_edges[0] == (-np.inf, pytest.approx(math.log(4)))
    assert result.log_condition_number[1] == pytest.approx(np.log([4, 12]).mean())
    assert result.log_condition_number[0] == result.spectrum.log_condition_number_at(3)


def test_the_interval_covers_the_true_distance():
    """300 measurements of 12 networks x 25 independent values of (.5, .3, .2), compared with (.25, .5, .25): the
    true distance is .25. Of a 95 % bootstrap interval over 12 networks 88 to 98 % cover (binomial error 1.3 %)."""
    rng, covered = np.random.default_rng(5), []
    for _ in range(300):
        values = rng.choice(np.log([1.0, 2.0, 3.0]), p=[0.5, 0.3, 0.2], size=(12, 1, 25))
        low, high = compare(THREE, values).interval
        covered.append(low <= 0.25 <= high)
    assert 0.88 <= np.mean(covered) <= 0.98


def test_the_error_is_across_networks_not_values():
    """Inputs that repeat a network's values say nothing new: the interval stays as wide."""
    rng = np.random.default_rng(1)
    values = rng.choice(np.log([1.0, 2.0, 3.0]), p=[0.5, 0.3, 0.2], size=(8, 1, 25))
    once, often = compare(THREE, values), compare(THREE, np.repeat(values, 9, axis=1))
    assert_allclose(often.interval, once.interval, rtol=1e-12)
    assert often.discrepancy == pytest.approx(once.discrepancy, rel=1e-12)


@pytest.mark.parametrize("share", [0.1, 0.4, 0.9])
def test_values_at_the_resolution_are_no_discrepancy(share):
    """A plain SVD puts what it cannot see at its resolution: those values are only known to be that small."""
    law, n = FussCatalan(8), 200
    values, resolution = rigid(law, 6, n), float(law.spectrum.log.ppf(share))
    clipped = np.maximum(values, resolution)

    def measured(array):
        return SimpleNamespace(log_singular_values=array, resolution=np.full(array.shape[:2], resolution))

    assert compare(law, clipped).discrepancy > share - 2 / n
    assert compare(law, measured(clipped)).discrepancy < 2 / n
    assert compare(law, measured(clipped)).discrepancy <= compare(law, values).discrepancy + 1e-12
    assert compare(4 * law, measured(clipped)).discrepancy > 0.4 * compare(4 * law, values).discrepancy
    lost = np.where(values > resolution, values, values - 1)  # under it: only the count matters
    assert compare(law, measured(lost)).discrepancy == pytest.approx(compare(law, measured(clipped)).discrepancy)


def test_a_resolution_of_each_network_its_own():
    """The coarsest counts."""
    law = FussCatalan(4)
    values = rigid(law, 3, 100)
    resolution = law.spectrum.log.ppf(np.array([[0.1], [0.3], [0.05]]))
    clipped = np.maximum(values, resolution[..., None])
    found = compare(law, SimpleNamespace(log_singular_values=clipped, resolution=resolution)).discrepancy
    assert found < 0.02


def test_the_predicted_mass_at_zero_is_the_laws_and_its_range_the_finite_networks():
    prediction = predict(mlp([200] * 11))
    result = compare(prediction, np.zeros((10, 1, 200)))
    assert result.mass_at_zero == (0.5, 0)
    low, high = result.mass_range
    assert 0.5 < low < 0.554 < high < 0.58
    assert (low, high) == prediction.finite_width.rank.mass_range(10)


def test_counts_beyond_single_precision(monkeypatch):
    """With few whole numbers in single precision, it is double precision that is used."""
    values = np.log(np.random.default_rng(0).random((6, 1, 50)))
    plain = compare(FussCatalan(1), values).interval
    monkeypatch.setattr("rmt.cdf_distance._WHOLE", 1)
    assert_allclose(compare(FussCatalan(1), values).interval, plain, atol=1e-7)
