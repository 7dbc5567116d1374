"""Bad input is refused at the door; laws do not change; importing the laws stays light."""

import math
import subprocess
import sys
from dataclasses import FrozenInstanceError
from fractions import Fraction

import numpy as np
import pytest

from rmt import Bernoulli, Discrete, FussCatalan, MarchenkoPastur, PointMass

LAW = FussCatalan(3)
NOT_REAL = ("1", None, 1j, True, np.True_, [1.0])
NOT_FINITE = (math.nan, math.inf, -math.inf)

# maker, the argument's name, the allowed range as the error says it, refused values
PARAMETERS = (
    (MarchenkoPastur, "ratio", "(0, inf)", (0, -1, Fraction(-1, 2), *NOT_FINITE, *NOT_REAL)),
    (FussCatalan, "depth", ">= 1", (0, -3, 1.5, 2.0, *NOT_FINITE, *NOT_REAL)),
    (Bernoulli, "p", "(0, 1]", (0, -0.5, 1.5, *NOT_FINITE, *NOT_REAL)),
    (PointMass, "x", "(-inf, inf)", (*NOT_FINITE, *NOT_REAL)),
    (lambda x: Discrete((1, x), (0.5, 0.5)), "values", "(-inf, inf)", (*NOT_FINITE, *NOT_REAL)),
    (lambda p: Discrete((1, 2), (1, p)), "weights", "(0, inf)", (0, -1, *NOT_FINITE, *NOT_REAL)),
    (lambda k: LAW**k, "exponent", "[1, inf)", (0.5, 0, -1, *NOT_FINITE, *NOT_REAL)),
    (lambda a: a * LAW, "factor", "(0, inf)", (0, -2.0, *NOT_FINITE, True)),
    (lambda a: LAW.spectrum * a, "factor", "(0, inf)", (0, -2.0, *NOT_FINITE, True)),
    (LAW.ppf, "q", "[0, 1]", (-1e-9, 1.0001, math.inf, [0.5, 2])),
    (LAW.moment, "k", "whole number", (1.5, 2.0, math.nan, True, "2")),
    (LAW.spectrum.moment, "k", ">= 0", (-1, 1.5, True)),
    (LAW.spectrum.quantiles, "n", ">= 1", (0, -1, 1.5, True)),
    (LAW.spectrum.condition_number_at, "n", ">= 1", (0, 1.5, True)),
)
REFUSALS = [(make, name, bounds, value) for make, name, bounds, values in PARAMETERS for value in values]


@pytest.mark.parametrize(("make", "name", "bounds", "value"), REFUSALS, ids=lambda part: repr(part)[:24])
def test_the_error_names_argument_range_and_value(make, name, bounds, value):
    with pytest.raises((TypeError, ValueError)) as error:
        make(value)
    text = str(error.value)
    assert text.startswith(name)
    assert bounds in text
    assert repr(value) in text or name == "q"  # of an array of levels the first bad one is shown


@pytest.mark.parametrize(("values", "weights", "says"), [
    ((1, 2), (0.5, 0.4), "weights must sum to 1"),
    ((1, 1), (0.5, 0.5), "values must be distinct"),
    ((1, 2), (1,), "one per weight"),
    ((), (), "values must be"),
])
def test_a_discrete_law_needs_distinct_values_and_all_the_mass(values, weights, says):
    with pytest.raises(ValueError, match=says):
        Discrete(values, weights)


@pytest.mark.parametrize("other", ["2", None, [2], 1j])
def test_a_law_multiplies_only_laws_and_numbers(other):
    with pytest.raises(TypeError):
        LAW * other
    with pytest.raises(TypeError):
        other * LAW


@pytest.mark.parametrize(("law", "field"), [
    (MarchenkoPastur(2), "ratio"), (FussCatalan(2), "depth"), (Bernoulli(0.5), "p"), (PointMass(2), "x"),
    (Discrete((1, 2), (0.5, 0.5)), "values"), (2 * LAW, "factors"), (LAW.spectrum, "law"), (LAW.log, "law"),
])
def test_a_law_cannot_be_changed(law, field):
    before = hash(law)
    with pytest.raises(FrozenInstanceError):
        setattr(law, field, 3)
    with pytest.raises(FrozenInstanceError):
        delattr(law, field)
    assert hash(law) == before


def test_what_a_law_returns_can_be_changed_without_changing_the_law():
    law = Bernoulli(0.75) ** 2
    law.atoms.clear()
    x = law.ppf([0.3, 0.4])
    x[:] = 0
    assert law.atoms == {0.0: 0.25, 1.0: 0.5}
    assert np.all(law.ppf([0.3, 0.4]) > 0)


def test_arguments_are_left_as_they_were():
    values, weights, x = [3, 1], [0.5, 0.5], np.array([0.5, math.nan, -1])
    law = Discrete(values, weights) * LAW
    before = x.copy()
    law.cdf(x), law.pdf(x)
    assert (values, weights) == ([3, 1], [0.5, 0.5])
    np.testing.assert_array_equal(x, before)


def test_equal_laws_have_one_hash_however_they_are_spelt():
    spellings = {
        FussCatalan(3), FussCatalan(1) * FussCatalan(2), MarchenkoPastur(1) ** 3, MarchenkoPastur(1.0) ** 3.0,
        PointMass(1) * FussCatalan(3), Bernoulli(1) * FussCatalan(3), 2 * FussCatalan(3) * Fraction(1, 2),
    }
    assert len(spellings) == 1
    assert FussCatalan(3) != FussCatalan(4)
    assert FussCatalan(3) != 3


@pytest.mark.parametrize("law", [Bernoulli(Fraction(1, 11)), PointMass(4)], ids=repr)
def test_a_scale_outside_the_range_of_a_float_is_kept_in_logs(law):
    deep = law**348.5 * LAW
    assert deep.log.median() == pytest.approx((law**8.5 * LAW * law**340).log.median(), rel=1e-9)


def test_a_moment_outside_the_range_of_a_float_is_no_silent_nan():
    with pytest.raises(OverflowError):
        FussCatalan(5).moment(400)


def test_importing_rmt_loads_no_heavy_library():
    code = ("import sys, rmt; rmt.FussCatalan(3).ppf(.5);"
            "print(sorted({'torch', 'matplotlib', 'sympy', 'sklearn', 'pandas'} & set(sys.modules)))")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


SAMPLED = (FussCatalan(2), 3 * Bernoulli(0.75) ** 2, MarchenkoPastur(2).spectrum)


@pytest.mark.parametrize("law", SAMPLED, ids=repr)
def test_samples_repeat_with_the_seed_and_average_to_the_mean(law):
    n = 4000
    x = law.rvs(n, rng=5)
    np.testing.assert_array_equal(x, law.rvs(n, rng=np.random.default_rng(5)))
    assert not np.array_equal(x, law.rvs(n, rng=6))
    assert abs(x.mean() - law.mean()) < 5 * law.std() / math.sqrt(n)  # false alarm 6e-7
    for point, mass in law.atoms.items():
        assert abs(np.mean(x == point) - mass) < 5 * math.sqrt(mass * (1 - mass) / n)
    assert law.rvs((2, 3), rng=1).shape == (2, 3)


def test_sampling_needs_a_stated_source_of_randomness():
    with pytest.raises(TypeError, match="rng"):
        LAW.rvs(3)
