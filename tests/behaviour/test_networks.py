"""Networks, layers, schemes and activations: what they refuse, in one line, and what kind of value they are."""

import math
import pickle
from dataclasses import FrozenInstanceError
from fractions import Fraction

import numpy as np
import pytest

import rmt
from rmt import Activation, Dense, Network, UnsupportedStructure, activations, mlp, predict, schemes

NOT_FINITE = (math.nan, math.inf, -math.inf)
NOT_REAL = (None, "x", 1j, True, np.True_, [1.0])
NOT_WHOLE = (1.5, 2.0, "5", True, np.True_, None, Fraction(3), *NOT_FINITE)
SQUARE = mlp([3, 3])

# maker, the argument's name, the allowed range as the error says it, refused values
PARAMETERS = (
    (Dense, "width", ">= 1", (0, -3, *NOT_WHOLE)),
    (lambda n: Network(n, []), "input_shape", ">= 1", (0, -3, *NOT_WHOLE)),
    (lambda n: Network((3, n), []), "input_shape", ">= 1", (0, -3, *NOT_WHOLE)),
    (lambda n: mlp([4, n]), "widths[1]", ">= 1", (0, -3, *NOT_WHOLE)),
    (lambda n: mlp([n, 4]), "widths[0]", ">= 1", (0, -3, *NOT_WHOLE)),
    (lambda b: Dense(3, bias_std=b), "bias_std", "[0, inf)", (-1e-9, *NOT_FINITE, *NOT_REAL)),
    (lambda b: mlp([3, 3], bias_std=b), "bias_std", "[0, inf)", (-1, *NOT_FINITE, *NOT_REAL)),
    (schemes.gaussian, "sigma_w", "(0, inf)", (0, -1, *NOT_FINITE, *NOT_REAL)),
    (schemes.xavier_normal, "gain", "(0, inf)", (0, -1, *NOT_FINITE, *NOT_REAL)),
    (schemes.orthogonal, "gain", "(0, inf)", (0, -1, *NOT_FINITE, *NOT_REAL)),
    (schemes.kaiming_normal, "a", "(-inf, inf)", (*NOT_FINITE, *NOT_REAL)),
    (activations.leaky_relu, "slope", "(-inf, inf)", (*NOT_FINITE, *NOT_REAL)),
    (lambda q: predict(SQUARE, input_variance=q), "input_variance", "(0, inf)", (0, -1, *NOT_FINITE, *NOT_REAL)),
    (lambda c: predict(SQUARE, input_correlation=c), "input_correlation", "[-1, 1]",
     (-1.01, 1.01, *NOT_FINITE, *NOT_REAL)),
)
REFUSALS = [(make, name, bounds, value) for make, name, bounds, values in PARAMETERS for value in values]


def refused(make, *args, **kwargs):
    with pytest.raises((TypeError, ValueError)) as error:
        make(*args, **kwargs)
    text = str(error.value)
    assert "\n" not in text
    assert 0 < len(text) < 300
    return text


@pytest.mark.parametrize(("make", "name", "bounds", "value"), REFUSALS, ids=lambda part: repr(part)[:24])
def test_the_error_names_argument_range_and_value(make, name, bounds, value):
    text = refused(make, value)
    assert text.startswith(name)
    assert bounds in text
    assert repr(value) in text


@pytest.mark.parametrize(("make", "value", "says"), [
    (Dense, "kaimin_normal", "did you mean 'kaiming_normal'?"),
    (Dense, "xavier_unifrom", "did you mean 'xavier_uniform'?"),
    (Dense, "ortogonal(gain=2)", "did you mean 'orthogonal'?"),
    (Dense, "zzz", "one of: delta_orthogonal, gaussian, glorot_normal, glorot_uniform, he_normal,"),
    (Dense, "", "unknown init ''"), (Dense, None, "unknown init None"), (Dense, 3, "unknown init 3"),
    (Dense, "orthogonal(", "unknown init 'orthogonal('"), (Dense, "a\nb", "unknown init"),
    (Dense, "__import__('os').getcwd()", "unknown init"),
    (Activation, "rellu", "did you mean 'relu'?"), (Activation, "leaky_rlu(0.2)", "did you mean 'leaky_relu'?"),
    (Activation, "xyzzy", "one of: celu, elu, erf, gelu, hardshrink, hardsigmoid, hardswish, hardtanh, identity"),
    (Activation, None, "unknown activation None"), (Activation, 3, "unknown activation 3"),
    (Activation, "relu(0.2)", "relu takes no arguments"),
    (Activation, "leaky_relu(0.1, 0.2)", "leaky_relu(0.1, 0.2)"), (Activation, "leaky_relu(slop=0.1)", "slop"),
    (Dense, "orthogonal(gain=-1)", "gain must be in (0, inf), got -1"),
    (Dense, "orthogonal(gian=1)", "gian"), (Dense, "orthogonal(gain='1')", "gain must be a real number"),
    (Dense, "kaiming_normal(mode='fanin')", "did you mean 'fan_in'?"),
    (Dense, "kaiming_normal(nonlinearity='rely')", "did you mean 'relu'?"),
    (Dense, "kaiming_normal(mode=1)", "unknown mode 1 (one of: fan_in, fan_out)"),
])
def test_an_unknown_name_is_answered_with_the_nearest(make, value, says):
    assert says in refused(lambda: make(value) if make is Activation else Dense(4, value))


@pytest.mark.parametrize(("make", "says"), [
    (lambda: Network(3, ["relu"]), "layers[0] must be a layer, got 'relu'"),
    (lambda: Network(3, [Dense(3), Dense]), "layers[1] must be a layer"),
    (lambda: Network(3, Dense(3)), "layers"),
    (lambda: Network(3, None), "layers"),
    (lambda: Network((), []), "input_shape"),
    (lambda: Network("33", []), "input_shape"),
    (lambda: Network((2, 3), [Activation("relu"), Dense(3)]), "layers[1]: Dense needs a flat input, got shape (2, 3)"),
    (lambda: mlp([]), "widths"), (lambda: mlp(5), "widths"), (lambda: mlp("345"), "widths"), (lambda: mlp(None), "wid"),
    (lambda: mlp([[3], 3]), "widths[0]"),
    (lambda: predict(5), "network must be an rmt.Network"),
    (lambda: predict([Dense(3)]), "network must be an rmt.Network"),
])
def test_what_is_no_network_is_refused(make, says):
    assert says in refused(make)


@pytest.mark.parametrize("second", ["relu", "leaky_relu(0.2)"])
def test_an_activation_of_what_is_not_gaussian_is_refused_by_name(second):
    with pytest.raises(UnsupportedStructure) as error:
        predict(Network(4, [Dense(4), Activation("relu"), Activation(second), Dense(2)]))
    text = str(error.value)
    assert text.startswith("layers[2]: ")
    assert second.partition("(")[0] in text
    assert "put a Dense layer before it" in text
    assert "\n" not in text


def test_a_linear_activation_changes_nothing_anywhere():
    plain = Network(4, [Dense(4), Activation("relu"), Dense(3)])
    more = Network(4, [Activation("linear"), Dense(4), Activation("relu"), Activation("linear"), Dense(3)])
    assert predict(more).spectrum == predict(plain).spectrum
    assert predict(more).finite_width.regime == predict(plain).finite_width.regime


NAMES = {name: getattr(rmt, name) for name in ("Network", "Dense", "Activation", "schemes", "activations")}
VALUES = [
    mlp([3]), mlp([3, 4, 5]), mlp([784, 500, 10], "leaky_relu(0.2)", "orthogonal(gain=1.5)", 0.5, False),
    Network((3, 8, 8), [Activation("relu")]), Network(7, []), Network(np.int64(7), [Dense(np.int64(3))]),
    mlp([4, 4], "linear", "he_normal"), mlp([4, 4], activations.leaky_relu(-0.5), schemes.xavier_normal(gain=2)),
    Dense(5), Dense(5, "kaiming_normal(a=0.1, mode='fan_out', nonlinearity='tanh')", bias_std=1),
    Dense(5, schemes.gaussian(1e-3)), Activation("leaky_relu"),
    activations.linear, activations.relu, activations.leaky_relu(0.3), schemes.orthogonal(), schemes.kaiming_normal(),
]


@pytest.mark.parametrize("value", VALUES, ids=repr)
def test_it_is_a_value(value):
    """Equal by what it says, hashable, pickled, rebuilt by its repr, before and after use."""
    if isinstance(value, Network):
        predict(value)
    for copy in (eval(repr(value), dict(NAMES)), pickle.loads(pickle.dumps(value))):
        assert copy == value
        assert hash(copy) == hash(value)
        assert repr(copy) == repr(value)
        assert str(copy) == str(value)
    assert value != Network(99, [])


@pytest.mark.parametrize(("value", "field"), [
    (mlp([3, 3]), "layers"), (Dense(3), "width"), (Activation("relu"), "function"), (activations.relu, "slope"),
    (schemes.gaussian(), "gain_squared"), (predict(mlp([3, 3])), "spectrum"),
])
def test_it_cannot_be_changed(value, field):
    with pytest.raises(FrozenInstanceError):
        setattr(value, field, 1)


def test_a_list_given_may_change_later_without_changing_the_network():
    layers, widths = [Dense(3)], [3, 4]
    network, perceptron = Network(3, layers), mlp(widths)
    layers.append(Dense(4))
    widths[1] = 9
    assert (network.n_outputs, perceptron.n_outputs) == (3, 4)


def test_different_networks_differ():
    several = [mlp([3, 3]), mlp([3, 3], "linear"), mlp([3, 3], init="gaussian"), mlp([3, 3], bias_std=1),
               mlp([3, 3], activate_last=False), mlp([3, 4]), mlp([3, 3, 3])]
    assert len(set(several)) == len(several)


def test_a_signal_that_overflows_is_no_silent_nan():
    """2^30 times 1e300 is outside the range of a float; in the middle of the network inf * 0 would be NaN."""
    with pytest.raises((OverflowError, ValueError), match=r"variance|range"):
        predict(mlp([3] * 31, "linear"), 1e300)


def test_the_table_has_a_row_a_layer():
    lines = predict(mlp([30, 20, 10], bias_std=0.5)).table().splitlines()
    assert len(lines) == 5
    assert "Dense 20 kaiming_normal, bias_std=0.5" in lines[1]
    assert lines[2].startswith("relu ")


@pytest.mark.parametrize(("text", "means"), [
    ("relu_", "relu"), ("nn.ReLU", "relu"), ("torch.nn.SiLU", "silu"), ("F.gelu", "gelu"), ("GELU", "gelu"),
    ("leaky_relu_(0.2)", "leaky_relu(0.2)"), ("nn.LeakyReLU(0.2)", "leaky_relu(0.2)"), ("torch.tanh_", "tanh"),
    ("nn.functional.softplus", "softplus")])
def test_torchs_own_names_of_activations_are_understood(text, means):
    assert Activation(text) == Activation(means)
