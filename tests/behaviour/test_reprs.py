"""A repr rebuilds the law and stays short at any depth; a text for people is shorter still."""

import pickle
import sys
from fractions import Fraction

import numpy as np
import pytest
from click.testing import CliRunner

import rmt
from figures.cli import cli
from rmt.laws.rational import shortened
from rmt.networks.schemes import trunc_normal
from rmt.text import number_text, short
from tests.law_checks import NAMES


def is_rebuilt(law):
    for copy in (eval(repr(law), dict(NAMES)), pickle.loads(pickle.dumps(law))):
        assert copy == law
        assert hash(copy) == hash(law)
        assert repr(copy) == repr(law)


@pytest.mark.parametrize("law", [
    (rmt.MarchenkoPastur(1) + 0.1) / 7, -rmt.Semicircle() / 3, rmt.SquaredSlope("leaky_relu(.1)", 0.3),
    rmt.MarchenkoPastur(1).compress(1 / 3), (rmt.MarchenkoPastur(1) + 0.1) * 0.3, rmt.FussCatalan(3) / 3,
    rmt.Discrete([1 / 3, 2], [0.5, 0.5]) / 3 + rmt.Semicircle(0.1)], ids=str)
def test_the_names_of_rmt_are_enough(law):
    """Fractions were of a package that had to be imported, too."""
    copy = eval(repr(law), {name: getattr(rmt, name) for name in rmt.__all__})
    assert copy == law
    assert repr(copy) == repr(law)


def different(depth):
    """Layers of different widths and of weights of different variance, no factor of which cancels another."""
    return rmt.Network(100, [rmt.Dense(50 + i % 7, rmt.schemes.gaussian(1 + 0.0003 * i)) for i in range(depth)])


def blocks(depth):
    """One residual block whose branch is deep, behind many numbers."""
    inner = [rmt.Dense(30, "gaussian(sigma_w=1.05)") for _ in range(depth)]
    return rmt.Network(30, [*[rmt.Scale(1.01)] * depth, rmt.Residual(inner, 0.3)])


DEEP = {
    "linear": rmt.mlp([20] * 141, "linear", "gaussian(sigma_w=1.05)"),
    "truncated": rmt.mlp([50] * 201, "relu", trunc_normal(std=0.02)),
    "equal": rmt.mlp([20] * 1001, "linear", "gaussian(sigma_w=1.05)"), "two hundred": different(200),
    "thousand": different(1000), "blocks": blocks(150),
    "numbers": rmt.Network(20, [*[rmt.Scale(1.05)] * 1000, rmt.Dense(20)]),
}


@pytest.mark.parametrize("name", DEEP)
def test_a_deep_prediction_has_a_short_repr_that_rebuilds_it(name):
    prediction = rmt.predict(DEEP[name])
    for view in (prediction.spectrum, prediction.spectrum.squared, prediction.spectrum.log):
        is_rebuilt(view)
        assert len(repr(view)) < 2000
        assert len(str(view)) <= 201
    assert len(repr(prediction)) < len(repr(DEEP[name])) + 3000 * (len(DEEP[name].layers) + 1)


def test_different_slopes_cost_a_few_words_each():
    layers = [part for i in range(200) for part in (rmt.Dense(40), rmt.Activation(f"leaky_relu({0.1 + 0.001 * i})"))]
    spectrum = rmt.predict(rmt.Network(40, layers)).spectrum
    is_rebuilt(spectrum)
    assert len(repr(spectrum)) < 250 * 200


def test_what_is_shortened_is_the_same_law():
    """77 digits are left; the law has 16."""
    network = different(60)
    parts = [rmt.predict(rmt.Network(shape, [layer])).spectrum.squared.curve.scale for shape, layer in zip(
        [n for n, in network.shapes], network.layers, strict=False)]
    exact, curve = np.prod([*map(Fraction, parts)]), rmt.predict(network).spectrum.squared.curve
    assert exact != curve.scale
    assert abs(curve.scale / exact - 1) < Fraction(2) ** -250
    shallow = rmt.predict(different(5)).spectrum.squared.curve.scale
    assert shallow == np.prod([*map(Fraction, parts[:5])])


def test_comparing_makes_no_repr(monkeypatch):
    prediction = rmt.predict(DEEP["linear"])
    monkeypatch.setattr(type(prediction), "__repr__", lambda self: pytest.fail("made a repr"))
    logs = prediction.spectrum.log.ppf((np.arange(20, 0, -1) - 0.5) / 20)
    agreement = rmt.compare(prediction, np.tile(logs, (3, 1, 1)) + 1e-3 * np.arange(3)[:, None, None])
    assert agreement.label == prediction.label
    assert len(rmt.compare(rmt.Empirical(np.linspace(1, 2, 999)), np.zeros((2, 1, 9))).label) <= 201


def test_a_deep_network_is_compared_on_the_command_line():
    done = CliRunner().invoke(cli, ["compare", "--widths", "20x140", "--activation", "linear", "--init",
                                    "gaussian(sigma_w=1.05)", "--draws", "4"])
    assert done.exit_code in (0, 1, 3), done.exception
    assert "verdict" in done.stdout


@pytest.mark.parametrize("law", [
    (3 * rmt.MarchenkoPastur(1)) ** 20000, (1.05 * rmt.MarchenkoPastur(1)) ** 20000,
    (0.5 * rmt.Bernoulli(0.5)) ** 5000.5, (Fraction(21, 20) * rmt.FussCatalan(2)) ** 3000,
    7 * (2.0 * rmt.Bernoulli(0.5)) ** 20000, 2.5 * (3 * rmt.Bernoulli(0.5)) ** 9000], ids=lambda law: str(law)[-30:])
def test_numbers_of_any_size_are_written_and_rebuilt(law):
    is_rebuilt(law)
    assert law.log.ppf(0.9) != 0


@pytest.mark.parametrize("x", [
    3, -7, 2.5, Fraction(1, 3), 10**599, 3**20000, -(3**20000), Fraction(3**9000, 2**70001), Fraction(5, 3**9000),
    Fraction(2) ** -90000, -Fraction(7**4000, 5), Fraction(2**100001 * 3, 7**5000)], ids=lambda x: type(x).__name__)
def test_every_number_is_rebuilt_by_its_text(x):
    limit = sys.get_int_max_str_digits()
    text = number_text(x)
    found = eval(text, {"Fraction": Fraction})
    assert found == x
    assert type(found) is type(x)
    assert sys.get_int_max_str_digits() == limit
    if isinstance(x, float) or (abs(Fraction(x).numerator) < 10**50 and Fraction(x).denominator < 10**50):
        assert text == repr(x)


def test_shortening_keeps_small_fractions_and_77_digits_of_others():
    assert shortened(Fraction(10, 7)) == Fraction(10, 7)
    for x in (Fraction(21, 20) ** 3000, Fraction(3) ** -9000, Fraction(1 << 9000) + 1):
        assert abs(shortened(x) / x - 1) < Fraction(2) ** -255
        assert len(number_text(shortened(x))) < 200


def test_a_law_of_many_values_says_how_many_and_where():
    values = np.random.default_rng(1).standard_normal(2000).tolist()
    for law in (rmt.Empirical(values), rmt.Discrete(values, [1 / 2000] * 2000), 2 * rmt.Empirical(values) + 1.0):
        assert f"<2000 numbers from {min(values)!r} to {max(values)!r}>" in repr(law)
        assert len(repr(law)) < 200
        with pytest.raises(SyntaxError):  # it rebuilds no law, and no other one
            eval(repr(law), dict(NAMES))
    is_rebuilt(rmt.Empirical(values[:24]))
    with pytest.raises(ValueError, match="x >= 0") as refused:
        _ = law.spectrum
    assert len(str(refused.value)) < 400
    few = rmt.Discrete((1, 2), (0.5, 0.5))
    assert str(few) == repr(few)


def test_the_middle_is_left_out():
    assert short("abc" * 66) == "abc" * 66
    assert short("a" * 500 + "b" * 500) == "a" * 133 + " … " + "b" * 50


@pytest.mark.parametrize("law", [
    (rmt.MarchenkoPastur(1) + 0.1) * 0.3, 0.3 * (2.5 * rmt.FussCatalan(3) + 0.7), (rmt.MarchenkoPastur(0.5) + 0.1) / 3,
    -((rmt.MarchenkoPastur(1) + 0.1) * 0.3), ((rmt.Semicircle() + 0.1) * 0.3 + 0.1) * 7,
    0.3 * ((rmt.MarchenkoPastur(1) + rmt.Semicircle()) + 0.1), ((rmt.Bernoulli(0.3) + 0.1) * 0.7 + 0.2) * 0.9,
    ((rmt.SquaredSlope("tanh", 1.0) + 0.1) * 0.3) * rmt.MarchenkoPastur(1), 0.3 * (rmt.FussCatalan(2) ** 1.5 + 0.1)],
    ids=repr)
def test_shifts_and_dilations_of_each_other_are_rebuilt(law):
    is_rebuilt(law)
