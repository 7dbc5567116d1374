"""Activations of the user's own, Scale and Dropout: what they do, and what is said of what they cannot be."""

import math
import pickle

import numpy as np
import pytest
import torch

import empirical
from rmt import (
    Activation,
    ConvergenceError,
    Dense,
    Dropout,
    MarchenkoPastur,
    Network,
    Scale,
    SquaredSlope,
    UnsupportedStructure,
    activations,
    compare,
    mlp,
    predict,
    schemes,
)

custom = activations.custom


def sine():
    return custom("sine", np.sin, np.cos, torch=torch.sin)


def softsign():
    return custom("softsign", lambda u: u / (1 + np.where(u.real > 0, u, -u)),
                  lambda u: (1 + np.where(u.real > 0, u, -u)) ** -2, kinks=(0.0,), torch=torch.nn.Softsign)


@pytest.mark.parametrize("phi", [sine(), softsign(), custom("steep", lambda u: np.tanh(3 * u),
                                                            lambda u: 3 / np.cosh(3 * u) ** 2,
                                                            torch=lambda u: torch.tanh(3 * u))], ids=str)
def test_an_activation_of_ones_own_is_predicted_and_measured(phi):
    network = mlp([200] * 4, phi, schemes.gaussian(1.2), bias_std=0.1)
    measured = empirical.measure(network, draws=6, seed=2, progress=False)
    assert compare(predict(network, input_variance=1.0), measured).discrepancy < 0.03
    q = 0.7
    assert SquaredSlope(phi, q).mean() == pytest.approx(float(phi.slope_cross(q, 1.0)), rel=1e-9)
    assert repr(phi) == f"activations.custom({phi.name!r}, ...)"


def test_sine_has_its_exact_averages():
    phi, q = sine(), 1.3
    assert phi.cross(q, 1.0) == pytest.approx((1 - math.exp(-2 * q)) / 2, rel=1e-12)
    assert phi.cross(q, 0.4) == pytest.approx(math.exp(-q) * math.sinh(q * 0.4), rel=1e-12)
    assert phi.slope_cross(q, 1.0) == pytest.approx((1 + math.exp(-2 * q)) / 2, rel=1e-12)


def test_a_piecewise_linear_function_has_atoms():
    phi = custom("three", lambda u: np.where(u < -1, 0.5 * u - 0.5, np.where(u < 2, u, 3 * u - 4)),
                 lambda u: np.where(u.real < -1, 0.5, np.where(u.real < 2, 1.0, 3.0)), kinks=(-1, 2))
    law = SquaredSlope(phi, 2.0)
    below, above = 0.5 * math.erfc(0.5), 0.5 * math.erfc(1.0)
    assert law.atoms == {0.25: pytest.approx(below), 1.0: pytest.approx(1 - below - above), 9.0: pytest.approx(above)}


@pytest.mark.parametrize(("arguments", "error", "words"), [
    (("tanh", np.tanh, lambda u: 1 / np.cosh(u) ** 2), ValueError, "name must be a word that no function"),
    (("", np.sin, np.cos), ValueError, "name must be"),
    ((7, np.sin, np.cos), ValueError, "name must be"),
    (("mine", 3.0, np.cos), TypeError, "value must be a function of an array, got 3.0"),
    (("mine", np.sin, "cos"), TypeError, "slope must be a function"),
    (("mine", np.sin, np.sin), ValueError, "must be the derivative of value: at u = -4.03"),
    (("mine", np.abs, np.sign), ValueError, "derivative|analytic"),
    (("mine", np.sqrt, lambda u: 0.5 / np.sqrt(u)), ValueError, "value of 'mine' must be finite"),
    (("mine", lambda u: u / (1 + np.abs(u)), lambda u: (1 + np.abs(u)) ** -2.0, (0,)), ValueError,
     "analytic between kinks"),
    (("mine", lambda u: np.zeros(3), np.cos), ValueError, "value of 'mine' must be finite and of the shape"),
    (("mine", np.sin, np.cos, (math.nan,)), ValueError, r"kinks\[0\] must be"),
    (("leaky_relu(0.2)", np.sin, np.cos), ValueError, "name must be a word"),
    (("mine", math.tanh, lambda u: 1 - math.tanh(u) ** 2), ValueError, "value of 'mine' must take real arrays"),
    (("mine", np.sin, np.cos, 0), TypeError, "kinks must be a sequence"),
    (("mine", np.sin, np.cos, [k / 20 for k in range(-100, 100)]), ValueError, "kinks must be further than .1 apart"),
    (("mine", np.sin, np.cos, (), "torch.sin"), TypeError, "torch must be a torch module or a function"),
])
def test_what_cannot_be_an_activation_is_refused(arguments, error, words):
    with pytest.raises(error, match=words):
        custom(*arguments)


def test_a_kink_that_is_not_named_is_found_out():
    phi = activations.Pointwise("bent", lambda u: np.maximum(u, 0.3 * u), lambda u: 0.3 + 0.7 / (1 + np.exp(-u**3)))
    bent = activations.Pointwise("bent", phi.function, lambda u: np.where(u.real > 0.5, np.exp(-u), 1 + 0 * u))
    with pytest.raises(ConvergenceError, match="name it in kinks="):
        _ = SquaredSlope(bent, 1.0).support


def test_building_without_a_torch_function_says_what_is_missing():
    network = mlp([5, 5], custom("mine", np.sin, np.cos))
    assert predict(network).spectrum.median() > 0
    with pytest.raises(ValueError, match="give custom"):
        empirical.build(network, 0)


@pytest.mark.parametrize(("make", "error", "words"), [
    (lambda: Scale(0), ValueError, "a must not be 0"),
    (lambda: Scale(math.inf), ValueError, "a must be in"),
    (lambda: Scale("2"), TypeError, "a must be a real number"),
    (lambda: Dropout(1), ValueError, r"p must be in \[0, 1\)"),
    (lambda: Dropout(-0.1), ValueError, r"p must be in \[0, 1\)"),
    (lambda: predict(Network(4, [Dense(4), Dropout(0.5), Activation("tanh")]), training=True), UnsupportedStructure,
     r"layers\[2\]: tanh needs a Gaussian signal"),
    (lambda: SquaredSlope("tanh", 0), ValueError, "variance must be in"),
    (lambda: SquaredSlope("tahn"), ValueError, "did you mean 'tanh'"),
])
def test_errors_name_the_argument(make, error, words):
    with pytest.raises(error, match=words):
        make()


def test_dropout_acts_in_training_only():
    network = Network(6, [Dense(6), Activation("gelu"), Dropout(0.5), Scale(2), Dense(6)])
    plain = Network(6, [Dense(6), Activation("gelu"), Scale(2), Dense(6)])
    assert predict(network).spectrum.squared == predict(plain).spectrum.squared
    assert predict(network).spectrum.atoms == {}
    assert predict(network, training=True).spectrum.atoms == {0.0: 0.5}
    assert [row.layer for row in predict(network).layers][2:4] == ["Dropout 0.5", "Scale 2"]
    module = empirical.build(network, 3)
    assert isinstance(module[2], torch.nn.Dropout)
    x = torch.randn(2, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    found = empirical.log_singular_values(module, x)
    exact = np.log(torch.linalg.svdvals(empirical.jacobian(module, x)).numpy())
    np.testing.assert_allclose(found, exact, rtol=1e-9)
    assert pickle.loads(pickle.dumps(network)) == network


def test_an_identity_between_two_diagonals_keeps_neither_free():
    def atoms(*layers):
        return predict(Network(20, [Dense(20), *layers]), training=True).spectrum.atoms

    relu, half = Activation("relu"), Dropout(0.5)
    assert atoms(relu, half) == atoms(relu, Dropout(0), half) == atoms(relu, Scale(2), half) == {0.0: 0.75}
    assert atoms(Activation("tanh"), Activation("linear"), half) == {0.0: 0.5}


def test_a_dropout_in_training_is_one_mask_for_signal_and_jacobian():
    """All but the kept units are exact zeros, the others 1/(1 - p)."""
    network = Network(40, [Dense(40, "orthogonal"), Dropout(0.5)])
    module = empirical.build(network, 1).train()
    x = torch.randn(1, 40, dtype=torch.float64, generator=torch.Generator().manual_seed(9))
    values = np.exp(empirical.log_singular_values(module, x))[0]
    kept = int(np.sum(values > 0))
    assert 8 <= kept <= 32
    np.testing.assert_allclose(values[:kept], 2.0, rtol=1e-12)


def test_slopes_that_vanish():
    """At a kink, in the middle of an even slope, on half the line; to a higher whole power too, to no other."""
    half = custom("half", lambda u: np.where(u > 0, u * u, 0.0), lambda u: np.where(u.real > 0, 2 * u, 0 * u), (0,))
    law = SquaredSlope(half, 1.3)
    assert law.atoms == {0.0: pytest.approx(0.5)}
    assert law.mean() == pytest.approx(2 * 1.3, rel=1e-9)  # E 4 u^2 over half the line
    bump = SquaredSlope(custom("bump", lambda u: np.exp(-u * u), lambda u: -2 * u * np.exp(-u * u)), 0.3)
    assert bump.atoms == {}
    assert bump.support[0][0] == 0
    assert bump.mean() == pytest.approx(4 * 0.3 * (1 + 4 * 0.3) ** -1.5, rel=1e-9)
    cube = SquaredSlope(custom("cube", lambda u: u**3, lambda u: 3 * u**2), 1.0)
    assert cube.mean() == pytest.approx(27, rel=1e-12)
    assert (MarchenkoPastur(1) * cube).cdf((MarchenkoPastur(1) * cube).ppf(0.3)) == pytest.approx(0.3, abs=1e-9)
    half_power = custom("half_power", lambda u: np.where(u > 0, np.abs(u) ** 1.5, 0.0), lambda u: np.where(
        u.real > 0, 1.5 * np.sqrt(np.where(u.real > 0, u, 1)), 0 * u), (0,))
    with pytest.raises(ConvergenceError, match="vanish like a power"):
        _ = (MarchenkoPastur(1) * SquaredSlope(half_power, 1.0)).support


def test_arguments_by_name_are_words_and_arithmetic_of_numbers():
    """The name that was given was suggested for what has arithmetic in its arguments."""
    assert mlp([4, 4], init="kaiming_uniform_(a=5**.5)") == mlp([4, 4], init=f"kaiming_uniform(a={5**0.5!r})")
    assert mlp([4, 4], init="gaussian(-(1 - 3)/2 + .5*1)") == mlp([4, 4], init="gaussian(1.5)")
    assert mlp([4, 4], "prelu(1/4)") == mlp([4, 4], "prelu(0.25)")
    assert mlp([4, 4], init="trunc_normal(std=-(-.02))") == mlp([4, 4], init="trunc_normal(std=.02)")
    for text in ("gaussian(sigma_w=1, sigma_w=2)",
                 "gaussian(1/0)", "gaussian(x)", "gaussian(nan)", "gaussian(9**9**9)", "gaussian(2 + 'a')"):
        with pytest.raises(ValueError, match=r"^init 'gaussian\(.*arguments must be words in quotes, numbers, or arith"
                           if "'" not in text else "arguments must be words in quotes, numbers, or arithmetic"):
            mlp([4, 4], init=text)
