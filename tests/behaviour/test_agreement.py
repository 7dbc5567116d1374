"""What `compare` says of right laws, wrong laws, and measurements that are no measurements."""

import math
import tracemalloc
from types import SimpleNamespace

import matplotlib as mpl
import numpy as np
import pytest
from measured import jacobians, rigid, with_zeros

from rmt import Bernoulli, FussCatalan, Network, PointMass, compare, mlp, predict
from rmt.finite import Chain
from rmt.laws.errors import ConvergenceError

mpl.use("Agg")

LAW = FussCatalan(2)
VALUES = rigid(LAW, 10, 200)
ZEROS = np.full((3, 1, 5), -np.inf)
DEGENERATE = {  # law, measurement
    "one network": (LAW, VALUES[:1]),
    "one value": (LAW, np.zeros((3, 1, 1))),
    "one network of one value": (LAW, np.zeros((1, 1, 1))),
    "identical networks": (LAW, np.repeat(VALUES[:1], 4, axis=0)),
    "all values equal": (LAW, np.zeros((4, 2, 6))),
    "an atom": (PointMass(1), np.zeros((3, 1, 5))),
    "an atom missed": (PointMass(1), np.ones((3, 1, 5))),
    "an atom and zeros": (Bernoulli(0.5), np.tile([0, 0, -np.inf, -np.inf], (3, 1, 1))),
    "all zero": (LAW, ZEROS),
    "all zero, an atom expected": (Bernoulli(0.5), ZEROS),
    "all zero, one network": (LAW, ZEROS[:1]),
    "some networks all zero": (Bernoulli(0.5), np.concatenate([ZEROS, np.zeros((2, 1, 5))])),
    "astronomic values": (LAW, VALUES * 1e3),
    "no layers": (predict(Network(5, [])), np.zeros((3, 1, 5))),
    "dead relu of width one": (predict(mlp([5, 1, 5])), ZEROS),
}


# ---- verdicts ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("law", [LAW, LAW.spectrum])
def test_the_true_law_agrees_however_it_is_given(law):
    result = compare(law, VALUES)
    assert result.verdict == "agrees"
    low, high = result.interval
    assert 0 <= low <= result.discrepancy <= high + 0.002
    assert high < 0.01
    assert result.discrepancy == compare(LAW, VALUES).discrepancy


@pytest.mark.parametrize(("factor", "word"), [(2, r"ln s\^2"), (1 / math.log(10), "log10 s")])
def test_values_of_another_kind_are_pointed_out(factor, word):
    with pytest.warns(UserWarning, match=word):
        assert compare(LAW, VALUES * factor).verdict == "differs"


def test_wrong_weights_are_no_mistake_of_kind(recwarn):
    compare(FussCatalan(2) * 4, VALUES)
    compare(FussCatalan(3), VALUES)
    assert not recwarn


@pytest.mark.parametrize(("law", "values"), [
    (PointMass(1), np.full((4, 2, 9), 1e-15)), (PointMass(4), np.full((4, 1, 9), math.log(2))),
    (Bernoulli(0.5), np.tile([0, -1e-12, -np.inf, -np.inf], (3, 1, 1))),
    (FussCatalan(60), rigid(FussCatalan(60), 5, 300)),
])
def test_atoms_zeros_and_deep_networks_agree(law, values):
    assert compare(law, values).verdict == "agrees"


@pytest.mark.parametrize(("sigma", "tolerance"), [(1.1, 0.02), (1 / 1.1, 0.02), (1.03, 0.005), (1 / 1.03, 0.005)])
def test_weights_of_another_size_differ(sigma, tolerance):
    """s scales with sigma^2 in two layers: the cdf moves by up to .036 at 10 %, .012 at 3 %."""
    result = compare(sigma**4 * LAW, rigid(LAW, 40, 400), tolerance)
    assert result.verdict == "differs"
    assert f"over {tolerance:g} + 1/n" in result.reason
    assert result.interval[0] > tolerance + 1 / 400


def test_on_both_sides_of_the_tolerance_is_undecided():
    shifted = 1.03**4 * LAW
    low, high = compare(shifted, VALUES).interval
    assert low < high
    assert compare(shifted, VALUES, (low + high) / 2).verdict == "undecided"
    assert compare(shifted, VALUES, low - 0.002).verdict == "undecided"  # within 1/n, the bias of a right law
    assert compare(shifted, VALUES, low - 0.006).verdict == "differs"
    assert compare(shifted, VALUES, high + 1e-6).verdict == "agrees"


@pytest.mark.parametrize("law", [LAW, 4 * LAW])
def test_one_network_is_undecided(law):
    result = compare(law, VALUES[:1])
    assert (result.verdict, result.interval) == ("undecided", (0, 1))
    assert result.discrepancy == pytest.approx(0.005 if law == LAW else 0.23, rel=0.3)
    assert result.reason == "one network has no error bar"


@pytest.mark.parametrize("wrong", [np.exp, lambda t: t[..., ::2] * 0])
def test_plain_values_and_constants_differ(wrong):
    assert compare(LAW, wrong(VALUES)).verdict == "differs"


RELU = predict(mlp([200] * 4))
COUNTS = np.random.default_rng(2).binomial(200, 0.5, (10, 3)).min(axis=1)


@pytest.mark.parametrize(("lost", "inside"), [(0, True), (8, False), (-8, False)])
def test_the_mass_at_zero_must_be_that_of_finite_networks(lost, inside):
    """Ranks are the least of three Binomial(200, 1/2) numbers, not 100 each; 4 % too many or too few differ."""
    rows = [with_zeros(rigid(RELU.spectrum.squared, 1, rank - lost, seed), [200 - rank + lost])[0]
            for seed, rank in enumerate(COUNTS)]
    result = compare(RELU, np.array(rows))
    low, high = result.mass_range
    assert (low <= result.mass_at_zero[1] <= high) == inside
    assert inside or result.verdict == "differs"
    assert result.reason.startswith("mass at zero") != inside  # inside, p sees that the values are those of the law


def test_a_bare_law_allows_the_networks_own_spread_of_zeros():
    half = Bernoulli(0.5) * FussCatalan(1)
    spread = [20 + k for k in (-3, 2, 0, 4, -2, -1)]
    rows = [with_zeros(rigid(half, 1, 40 - k, k), [k])[0] for k in spread]
    assert "mass at zero" not in compare(half, np.array(rows)).reason
    assert compare(half, rigid(half, 6, 40)).verdict == "differs"  # no zeros at all
    assert compare(LAW, np.concatenate([VALUES, np.full((10, 1, 20), -np.inf)], axis=2)).verdict == "differs"


# ---- bad input --------------------------------------------------------------------------------------------

SHAPE = r"\(networks, inputs, n_inputs\)"


@pytest.mark.parametrize(("law", "values", "tolerance", "says"), [
    (LAW, VALUES[0], 0.02, SHAPE + r".*got shape \(1, 200\)"), (LAW, VALUES[0, 0], 0.02, SHAPE),
    (LAW, VALUES[None], 0.02, SHAPE), (LAW, 1.0, 0.02, SHAPE), (LAW, None, 0.02, SHAPE), (LAW, [], 0.02, SHAPE),
    (LAW, VALUES[:0], 0.02, SHAPE), (LAW, VALUES[:, :, :0], 0.02, SHAPE),
    (LAW, "values", 0.02, SHAPE), (LAW, [[[1.0], [2.0, 3.0]]], 0.02, SHAPE), (LAW, VALUES + 0j, 0.02, "complex"),
    (LAW, VALUES.astype(str), 0.02, "real numbers"), (LAW, VALUES.astype(object), 0.02, "real numbers"),
    (LAW, np.where(VALUES < -5, np.nan, VALUES), 0.02, "NaN"), (LAW, -ZEROS, 0.02, r"\+inf"),
    (RELU, VALUES[:, :, :100], 0.02, r"100 values an input, the prediction 200: .*inputs, 200\), got"),
    (RELU, VALUES[0], 0.02, r"inputs, 200\), got shape"),
    (3, VALUES, 0.02, "prediction must be a Prediction, a law of x or a Spectrum, got 3"),
    ("FussCatalan(2)", VALUES, 0.02, "prediction must be"), (mlp([200, 200]), VALUES, 0.02, "prediction must be"),
    (LAW.log, VALUES, 0.02, "prediction must be"),
    *((LAW, VALUES, bad, r"tolerance must be .*\(0, 1\)") for bad in (0, 1, -0.1, math.nan, math.inf, "x", True, None)),
    (LAW, SimpleNamespace(log_singular_values=VALUES, resolution=np.zeros(3)), 0.02, "resolution"),
])
def test_what_cannot_be_compared_is_refused_in_one_line(law, values, tolerance, says):
    with pytest.raises((TypeError, ValueError), match=says) as error:
        compare(law, values, tolerance)
    assert "\n" not in str(error.value)


def test_the_measurement_is_left_as_it_was():
    values = np.array([[[0.0, 1e-9, -np.inf]]] * 3)
    before = values.copy()
    compare(PointMass(1), values).table()
    np.testing.assert_array_equal(values, before)


def test_zeros_alone_that_theory_expects_are_undecided():
    """Four hundred layers of two units: nothing is left of any network, and there is nothing else to compare."""
    result = compare(predict(mlp([2] * 401)), np.full((5, 1, 2), -np.inf))
    assert result.verdict == "undecided"
    assert "every value is zero" in result.reason
    assert compare(RELU, np.full((5, 1, 200), -np.inf)).verdict == "differs"


def test_values_that_pair_have_a_p_value():
    """Two orthogonal leaky layers: s s' is one constant for pairs, so odd frequencies say the same of every network."""
    rng, prediction = np.random.default_rng(4), predict(mlp([60] * 3, "leaky_relu(0.2)", "orthogonal"))
    values = np.log(np.linalg.svd(jacobians(rng, [60] * 3, 12, 1.0, 0.2, 0.0, True), compute_uv=False))[:, None, :]
    assert 0.001 < compare(prediction, values).p_value < 0.999
    assert compare(prediction, values + 0.1).p_value < 1e-4


def test_many_networks_take_memory_in_proportion():
    """As one would need 2000 x 40000 numbers, 640 MB: here well under 100."""
    values = np.log(np.random.default_rng(0).random((2000, 1, 20)))
    tracemalloc.start()
    try:
        compare(FussCatalan(1), values).interval  # noqa: B018
        assert tracemalloc.get_traced_memory()[1] < 1e8
    finally:
        tracemalloc.stop()


def test_a_mean_that_does_not_converge_is_said_and_not_part_of_the_verdict(monkeypatch):
    monkeypatch.setattr(Chain, "mean_cosines", lambda *args: (_ for _ in ()).throw(ConvergenceError("no root at 1")))
    result = compare(RELU, rigid(RELU.spectrum.squared, 12, 200))
    with pytest.warns(UserWarning, match="law at infinite width: .*no root at 1"):
        assert "law at infinite width" in result.table()
    assert not result.decisive


def test_what_this_width_does_is_said_of_a_law_that_differs():
    """Five ReLU layers of 100 are .1 from the law, as their width has it: differs, and p has no objection."""
    rng, widths = np.random.default_rng(3), [100] * 6
    s = np.linalg.svd(jacobians(rng, widths, 30, math.sqrt(2), 0.0), compute_uv=False)
    result = compare(predict(mlp(widths)), np.log(s, where=s > 1e-9, out=np.full(s.shape, -np.inf))[:, None, :])
    assert result.verdict == "differs"
    assert "what this width does, p = 0." in result.reason


# ---- what is shown ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", DEGENERATE)
def test_every_number_of_the_table_is_defined(name):
    result = compare(*DEGENERATE[name])
    text = result.table()
    assert "nan" not in text.lower()
    assert result.verdict in ("agrees", "differs", "undecided")
    assert 0 <= result.interval[0] <= result.interval[1] <= 1
    assert 0 <= result.discrepancy <= 1
    assert result.wasserstein >= 0
    assert "\n\n" not in text


@pytest.mark.parametrize("name", DEGENERATE)
def test_every_picture_is_drawn_on_the_axes_given(name, monkeypatch, tmp_path):
    from matplotlib import pyplot as plt

    monkeypatch.setattr(plt, "show", lambda *args, **kwargs: pytest.fail("show was called"))
    figure, ax = plt.subplots()
    result = compare(*DEGENERATE[name])
    assert result.plot(ax=ax) is ax
    assert len(figure.axes) == 2
    figure.savefig(tmp_path / "picture.svg")
    assert "density per" in ax.get_ylabel()
    assert "mass at zero" in ax.get_title()
    plt.close(figure)


@pytest.mark.parametrize("picture", [lambda: compare(LAW, VALUES).plot(), lambda: LAW.spectrum.plot(),
                                     lambda: Bernoulli(0.5).spectrum.plot(), lambda: PointMass(3).spectrum.plot()])
def test_without_axes_a_figure_is_made(picture, tmp_path):
    from matplotlib import pyplot as plt

    figure = picture().figure
    figure.savefig(tmp_path / "picture.png")
    plt.close(figure)
