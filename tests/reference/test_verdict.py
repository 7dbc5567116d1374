"""The verdict of a prediction, against networks whose end is known without it, and its limits."""

import json
import math
from types import SimpleNamespace

import pytest
from click.testing import CliRunner

import rmt
from figures.cli import cli
from rmt.networks import verdict as limits
from rmt.networks import zoo

NETWORKS = [
    # E phi'^2 of ReLU is 1/2: Xavier's variance 1/fan_in halves a gradient a layer, sigma_w = 2 doubles it
    (rmt.mlp([100] * 11, "relu", "xavier_normal"), "vanishing", 0.5**10),
    (rmt.mlp([100] * 21, "relu", "gaussian(sigma_w=2)"), "exploding", 2.0**20),
    (rmt.mlp([100] * 200, "relu", "gaussian(sigma_w=3)"), "exploding", 4.5**199),
    (rmt.mlp([50] * 30, "linear", "orthogonal"), "isometric", 1.0),
    (rmt.mlp([50] * 30, "linear", "orthogonal(gain=1.1)"), "exploding", 1.1**58),
    (rmt.mlp([784, 100, 10], "linear", "orthogonal"), "isometric", 1.0),  # what the shape takes is no loss
    (rmt.mlp([50], "relu"), "isometric", 1.0),  # no layer at all
    (rmt.mlp([200] * 31), "ill-conditioned", 1.0),  # He's variance: gradients stay, directions do not
    (rmt.mlp([50] * 51, "linear", "lecun_normal"), "ill-conditioned", 1.0),
    (rmt.mlp([200, 200], "linear", "lecun_normal"), "balanced", 1.0),
    (rmt.mlp([200, 200], "relu"), "balanced", 1.0),  # half the directions are lost: no isometry
    (rmt.mlp([200, 200], "leaky_relu(0.9)", "orthogonal"), "isometric", (1 + 0.81) / 2),
    (zoo.residual_mlp(4, 50, scale=0.1), "isometric", None),
    (rmt.mlp([100, 100, 10], activate_last=False), "balanced", 2.0),
]


@pytest.mark.parametrize(("network", "word", "growth"), NETWORKS, ids=lambda part: str(part)[:40])
def test_the_word_and_the_growth(network, word, growth):
    prediction = rmt.predict(network)
    found = prediction.verdict
    assert found.word == word
    assert str(found).startswith(f"{word}: ")
    assert "nan" not in str(found)
    if growth is not None:
        assert found.log_growth == pytest.approx(math.log(growth), abs=1e-9)
        assert found.growth_per_layer == pytest.approx(growth ** (1 / found.depth), rel=1e-9)


def test_the_depth_counts_weights_inside_blocks():
    assert rmt.predict(zoo.residual_mlp(4, 50, scale="1/L")).verdict.depth == 8
    assert rmt.predict(zoo.residual_mlp(4, 50, scale="1/L", inputs=20)).verdict.depth == 9


@pytest.mark.parametrize(("depth", "inside", "outside"), [(1, 9.9, 10.1), (100, math.exp(9.9), math.exp(10.1))])
def test_the_limits_of_growth_are_a_tenth_a_layer_and_ten_in_all(depth, inside, outside):
    for growth, words in ((inside, ("isometric", "balanced", "ill-conditioned")), (outside, ("exploding",)),
                          (1 / inside, ("balanced", "ill-conditioned")), (1 / outside, ("vanishing",))):
        gain = growth ** (0.5 / depth)
        assert rmt.predict(rmt.mlp([20] * (depth + 1), "linear", f"orthogonal({gain!r})")).verdict.word in words


def test_the_limit_of_the_spread_is_two():
    """ln s of n Gaussian layers spreads more and more; the word turns at 2."""
    found = [rmt.predict(rmt.mlp([100] * (n + 1), "linear", "lecun_normal")).verdict for n in range(1, 9)]
    assert [one.word for one in found] == ["ill-conditioned" if one.log_spread > limits.SPREAD else "balanced"
                                           for one in found]
    assert {one.word for one in found} == {"ill-conditioned", "balanced"}
    spreads = [one.log_spread for one in found]
    assert spreads == sorted(spreads)


def test_the_spread_is_that_of_the_law():
    spectrum = rmt.predict(rmt.mlp([100] * 4, "tanh", "xavier_normal")).spectrum
    assert rmt.predict(rmt.mlp([100] * 4, "tanh", "xavier_normal")).verdict.log_spread == pytest.approx(
        spectrum.log.std(), rel=0.03)


def test_what_reaches_nothing_vanishes():
    half = rmt.Discrete((0, 1), (0.5, 0.5)).spectrum
    assert limits.verdict(half, 0.0, 1, 10, 10).word == "balanced"
    assert limits.verdict(half, 0.0, 1, 10, 5).word == "isometric"  # the shape takes as much
    nothing = limits.verdict(SimpleNamespace(atoms={0.0: 1.0}), -math.inf, 3, 10, 10)
    assert (nothing.word, nothing.growth_per_layer) == ("vanishing", 0.0)


def test_the_command_ends_in_the_verdict():
    arguments = ["predict", "--widths", "100x20", "--init", "xavier_normal"]
    shown = CliRunner().invoke(cli, arguments).stdout.rstrip().splitlines()[-1]
    verdict = rmt.predict(rmt.mlp([100] * 21, "relu", "xavier_normal")).verdict
    assert shown == f"verdict: {verdict}"
    assert shown.startswith("verdict: vanishing: squared gradients shrink by a factor of 9.54e-7 over 20 layers")
    content = json.loads(CliRunner().invoke(cli, [*arguments, "--json"]).stdout)
    assert (content["verdict"], content["verdict_reason"]) == (verdict.word, verdict.reason)
    assert content["gradient_growth_per_layer"] == pytest.approx(0.5)
    assert content["std_of_ln_s"] == verdict.log_spread
    assert content["log_condition_number_at_50_values"] == verdict.log_condition_number  # the other 50 are zero


def test_the_last_activation_can_be_left_off():
    arguments = ["predict", "--widths", "50x2,10", "--json"]
    on, off = (json.loads(CliRunner().invoke(cli, [*arguments, option]).stdout)
               for option in ("--activate-last", "--no-activate-last"))
    assert [row["layer"] for row in on["layers"]][-1] == "relu"
    assert [row["layer"] for row in off["layers"]] == [row["layer"] for row in on["layers"]][:-1]
    assert on["gradient_growth"] == pytest.approx(1.0)
    assert off["gradient_growth"] == pytest.approx(2.0)
    assert json.loads(CliRunner().invoke(cli, arguments).stdout) == on


@pytest.mark.parametrize("widths", [[10, 1000], [32, 784], [1000, 10], [100, 5, 100], [10, 300, 300]])
def test_an_isometry_on_what_the_shape_keeps_is_isometric(widths):
    found = rmt.predict(rmt.mlp(widths, "linear", "orthogonal")).verdict
    assert found.word == "isometric"
    assert abs(found.log_growth) < 1e-9
