"""What the toolbox refuses, draws, and answers on empty and missing input."""

import math
import subprocess
import sys
from fractions import Fraction

import numpy as np
import pytest
from numpy.testing import assert_array_equal

import rmt
from rmt import Bernoulli, Discrete, Empirical, FussCatalan, MarchenkoPastur, PointMass, Semicircle, SquaredSlope

COIN = Discrete((-1, 1), (0.5, 0.5))
REFUSED = [
    (lambda: Semicircle(0), ("std", "(0, inf)", "0")),
    (lambda: Semicircle(math.nan), ("std", "nan")),
    (lambda: Empirical([]), ("values", "at least one")),
    (lambda: Empirical([1, math.inf]), ("values", "inf")),
    (lambda: Empirical([[1, 2]]), ("values",)),
    (lambda: Semicircle() * MarchenkoPastur(1), ("Semicircle(1)", "x >= 0", "-2")),
    (lambda: MarchenkoPastur(1) * COIN, ("x >= 0", "-1")),
    (lambda: Semicircle() ** 2, ("x >= 0",)),
    (lambda: COIN.spectrum, ("x >= 0",)),
    (lambda: PointMass(0) * MarchenkoPastur(1), ("zero",)),
    (lambda: (Semicircle() + 1) * Bernoulli(0.5), ("x >= 0", "-1")),
    (lambda: MarchenkoPastur(1) ** 0.99, ("exponent", "[1, inf)", "0.99")),
    (lambda: -1 * Semicircle(), ("factor", "(0, inf)", "-1")),
    (lambda: Semicircle() + math.inf, ("shift", "inf")),
    (lambda: COIN.compress(0), ("t", "(0, 1]", "0")),
    (lambda: MarchenkoPastur(1).compress(1.5), ("t", "(0, 1]", "1.5")),
    (lambda: MarchenkoPastur(1).moment(-1), ("moment(-1)", "diverges")),
    (lambda: COIN.interval(1.5), ("confidence", "[0, 1]", "1.5")),
    (lambda: COIN.free_cumulants(0), ("n", ">= 1", "0")),
    (lambda: Semicircle().stieltjes(1.0), ("z", "off the support", "1")),
    (lambda: MarchenkoPastur(1).psi(0.5), ("z", "off the support", "0.5")),
    (lambda: MarchenkoPastur(1).s_transform(-1.0), ("w", "(-1, ", "-1")),
    (lambda: Semicircle().r_transform(2.0), ("w", "(-1, 1)", "2")),
    (lambda: Semicircle().s_transform(0.1), ("x >= 0",)),
    (lambda: SquaredSlope("rleu", 1), ("rleu", "relu")),
    (lambda: SquaredSlope("relu", -1), ("variance", "(0, inf)", "-1")),
]


@pytest.mark.parametrize(("make", "says"), REFUSED, ids=[" ".join(says)[:40] for _, says in REFUSED])
def test_bad_input_is_one_line_with_the_argument_the_value_and_what_is_allowed(make, says):
    with pytest.raises((ValueError, TypeError)) as error:
        make()
    assert "\n" not in str(error.value)
    for part in says:
        assert part in str(error.value)


@pytest.mark.parametrize("other", ["1", None, [1], 1j])
def test_a_law_adds_only_laws_and_numbers(other):
    with pytest.raises(TypeError):
        COIN + other
    with pytest.raises(TypeError):
        other + COIN


@pytest.mark.parametrize("law", [COIN, COIN + Semicircle(), FussCatalan(2), MarchenkoPastur(2) + 1.0], ids=repr)
def test_transforms_of_nothing_are_nothing_and_of_nan_are_nan(law):
    for method in (law.stieltjes, law.psi, law.r_transform):
        assert method(np.zeros((0, 3))).shape == (0, 3)
        values = method(np.array([1e-3j, complex(math.nan, 0), 2e-3j]))
        assert_array_equal(np.isnan(values), [False, True, False])
        assert isinstance(complex(method(1e-3j)), complex)


def test_a_squared_slope_is_the_law_of_its_activation():
    assert SquaredSlope("relu", 3.0) == Bernoulli(Fraction(1, 2))
    assert SquaredSlope("linear") == PointMass(1)
    assert SquaredSlope(rmt.activations.leaky_relu(0.5)).values == (Fraction(1, 4), 1)


@pytest.mark.parametrize("law", [
    MarchenkoPastur(2), COIN + 0.5 * Semicircle(), COIN + COIN, Bernoulli(0.75) ** 2, FussCatalan(50), COIN,
    Empirical(range(1, 30)), PointMass(-2), (Discrete((1, 9), (0.5, 0.5)) * MarchenkoPastur(0.1)).spectrum,
], ids=lambda law: repr(law)[:30])
def test_a_picture_has_a_curve_or_stems_units_and_a_name(law):
    plt = pytest.importorskip("matplotlib.pyplot")
    figure, ax = plt.subplots()
    assert law.plot(ax=ax) is ax
    assert ax.get_xlabel().strip()
    assert "density per unit of" in ax.get_ylabel()
    assert ax.get_title()
    texts = [text.get_text() for text in ax.get_legend().get_texts()]
    assert texts
    assert ("density" in texts) == bool(law.support)
    if 0 < len(law.atoms) <= 6 and set(law.atoms) != {0.0}:
        assert any("atom of mass" in text for text in texts)
    low, high = ax.get_ylim()
    assert low == 0
    assert 0 < high < math.inf
    plt.close(figure)


def test_the_exact_side_loads_sympy_only_when_asked_for():
    code = "import sys, rmt; assert 'sympy' not in sys.modules; rmt.algebraic; assert 'sympy' in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
    with pytest.raises(AttributeError, match="nothing"):
        _ = rmt.nothing
