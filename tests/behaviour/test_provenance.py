"""A measurement of another network, or of other inputs, is refused with both named; what has no name is compared."""

import re

import numpy as np
import pytest
from click.testing import CliRunner
from torch import nn

import empirical
from empirical.measurement import Measurement
from figures.cli import cli
from rmt import Dense, Network, Residual, compare, mlp, predict, schemes

TANH = mlp([20] * 3, "tanh", "xavier_normal")


def measured(network, **options):
    return empirical.measure(network, draws=3, seed=1, progress=False, **options)


@pytest.fixture(scope="module")
def found():
    return measured(TANH)


@pytest.mark.parametrize(("other", "says"), [
    (mlp([20] * 3, "tanh", schemes.gaussian(1.2)), r"gaussian\(sigma_w=1.2\).*got one of .*xavier_normal"),
    (mlp([20] * 4, "tanh", "xavier_normal"), "tanh"), (mlp([20] * 3, "relu", "xavier_normal"), "relu.*tanh"),
    (mlp([20] * 3, "tanh", "xavier_normal", bias_std=0.5), "bias_std=0.5"),
    (mlp([20] * 60, "tanh", "xavier_normal"), "tanh"),
    (mlp([30, 20, 20], "tanh", "xavier_normal"), r"\(30,\).*\(20,\)"),
])
def test_a_measurement_of_another_network_is_refused_with_both_named(found, other, says):
    with pytest.raises(ValueError, match=f"of the network that is predicted, .*{says}") as error:
        compare(predict(other), found)
    assert len(str(error.value)) < 600
    assert "\n" not in str(error.value)


def test_what_has_no_name_is_compared(found):
    other = predict(mlp([20] * 3, "tanh", schemes.gaussian(1.2)))
    compare(other.spectrum, found)
    compare(other.spectrum.squared, found)
    compare(other, found.log_singular_values)
    data = empirical.inputs.array(np.eye(20))
    labelled = empirical.measure(lambda: nn.Linear(20, 20), draws=3, inputs=data, label="my: Network", progress=False)
    assert labelled.network is None
    compare(other, labelled)


def test_the_same_network_however_it_was_written(found, tmp_path):
    found.save(tmp_path / "found.npz")
    compare(predict(TANH), Measurement.load(tmp_path / "found.npz"))
    compare(predict(mlp([20, 20, 20], "tanh", schemes.xavier_normal(1.0), bias_std=0)), found)
    named = measured(TANH, label="a name: of two parts")
    assert named.network == found.network == repr(TANH)
    compare(predict(TANH), named)
    with pytest.raises(ValueError, match=r"relu.*tanh"):
        compare(predict(mlp([20] * 3, "relu", "xavier_normal")), named)
    block = Network(20, [Residual([Dense(20, "orthogonal")], scale=0.5)])
    compare(predict(block), measured(block))


def test_inputs_of_another_variance_matter_where_slopes_know_of_them(found):
    assert found.input_variance == 1
    with pytest.raises(ValueError, match=r"predicted, 0\.25, got 1: predict\(network, input_variance=1\)"):
        compare(predict(TANH, input_variance=0.25), found)
    compare(predict(TANH, input_variance=0.25), measured(TANH, inputs=empirical.inputs.gaussian(0.25)))
    relu = mlp([20] * 3)
    compare(predict(relu, input_variance=0.25), measured(relu))
    data = measured(TANH, inputs=empirical.inputs.array(np.eye(20)))
    assert data.input_variance is None
    compare(predict(TANH, input_variance=0.05), data)


def test_the_command_refuses_the_measurement_of_another_network(tmp_path):
    path = str(tmp_path / "found.npz")
    measured(mlp([8] * 3)).save(path)
    run = CliRunner().invoke
    same = ["compare", "--widths", "8,8,8", "--measurement", path]
    assert run(cli, same).exit_code in (0, 1, 3)
    for other, says in (
            (["--activation", "tanh"], "tanh"), (["--init", "orthogonal"], "orthogonal"),
            (["--inputs", "digits", "--widths", "64,8"], r"measured with, Gaussian\(variance=1.0\), got digits")):
        result = run(cli, [*same, *other])
        assert result.exit_code == 2
        assert re.search(says, result.stderr)
