"""Every activation by name: torch's own values, exact averages and laws at any variance, and networks."""

import math
import pickle
import time

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from click.testing import CliRunner

import empirical
import rmt
from empirical.modules import function_of
from empirical.study import load
from figures.cli import cli
from rmt import MarchenkoPastur, SquaredSlope, activations, meanfield
from rmt.networks.gaussian_average import average

TORCH = {
    "relu6": F.relu6, "mish": F.mish, "hardswish": F.hardswish, "hardsigmoid": F.hardsigmoid, "softsign": F.softsign,
    "logsigmoid": F.logsigmoid, "tanhshrink": F.tanhshrink, "softshrink": F.softshrink,
    "softshrink(2)": lambda x: F.softshrink(x, 2.0), "hardshrink": F.hardshrink,
    "hardshrink(0.3)": lambda x: F.hardshrink(x, 0.3), "sin": torch.sin, "sin(30)": lambda x: torch.sin(30 * x),
    "relu_squared": lambda x: F.relu(x) ** 2, "tanh(3)": lambda x: torch.tanh(3 * x), "elu(2)": lambda x: F.elu(x, 2.0),
    "elu(0.5)": lambda x: F.elu(x, 0.5), "softplus(5)": lambda x: torch.logaddexp(5 * x, 0 * x) / 5,
    "hardtanh(-2, 1)": lambda x: F.hardtanh(x, -2.0, 1.0), "celu(0.3)": lambda x: F.elu(x / 0.3) * 0.3,
    "threshold(0.1, 0.5)": lambda x: F.threshold(x, 0.1, 0.5), "silu(1.702)": lambda x: x * torch.sigmoid(1.702 * x),
    "prelu": lambda x: F.prelu(x, x.new_tensor([0.25])),
}
DEAD = {name for name in TORCH if name.startswith(("softshrink", "hardshrink", "threshold"))}  # at a small variance
VARIANCES = (1e-6, 1e-3, 0.03, 0.57, 3.0, 18.4, 40.0, 1e3)


@pytest.mark.parametrize("name", TORCH)
def test_values_and_slopes_are_torchs(name):
    phi = activations.activation(name)
    u = np.r_[np.linspace(-12.03, 11.97, 801), -(10 ** np.linspace(-6.03, 2.5, 60)), 10 ** np.linspace(-6.03, 2.5, 60)]
    leaf = torch.as_tensor(u).requires_grad_(True)
    out = TORCH[name](leaf)
    (slope,) = torch.autograd.grad(out.sum(), leaf)
    np.testing.assert_allclose(phi.value(u), out.detach().numpy(), rtol=1e-12, atol=1e-12)
    off = np.min(np.abs(u[:, None] - np.array([*phi.kinks, np.inf])), axis=1) > 1e-6
    rounded = 1e-7 if name == "hardsigmoid" else 1e-12  # torch has 1/6 in single precision
    np.testing.assert_allclose(phi.slope(u)[off], slope.numpy()[off], rtol=rounded,
                               atol=1e-12 * np.abs(slope.numpy()).max())
    near = u[off]
    turned = phi.slope(near + 1e-8j)
    np.testing.assert_allclose(turned.real, phi.slope(near), rtol=1e-9, atol=1e-11 * np.abs(slope.numpy()).max())


@pytest.mark.parametrize("name", TORCH)
def test_it_is_its_text_its_repr_and_what_torch_builds(name):
    phi = activations.activation(name)
    assert activations.activation(str(phi)) == phi
    assert eval(repr(phi)) == phi
    assert pickle.loads(pickle.dumps(phi)) == phi
    network = rmt.Network(20, [rmt.Dense(20), rmt.Activation(name), rmt.Dense(20)])
    module = empirical.build(network, 1)
    assert str(empirical.describe(module, 20)) == str(network)
    x = torch.randn(1, 20, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    exact = torch.linalg.svdvals(empirical.jacobian(module, x))[0].log().numpy()
    found = empirical.log_singular_values(module, x)[0]
    ranked = exact > exact[0] - 25  # further down a plain SVD has no digits
    np.testing.assert_allclose(found[ranked], exact[ranked], atol=1e-9)
    saturated = torch.linspace(-30, 30, 41, dtype=torch.float64)
    np.testing.assert_allclose(function_of(phi)(saturated).numpy(), phi.value(saturated.numpy()), rtol=1e-7, atol=1e-8)


QUICK = {"relu6", "softsign", "tanhshrink", "softshrink", "relu_squared", "threshold(1, 0)", "hardtanh(-0.001, 0.001)"}


@pytest.mark.parametrize("name", [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow)
                                  for name in (*TORCH, "threshold(1, 0)", "tanh(0.01)", "hardtanh(-0.001, 0.001)")])
def test_its_law_has_the_moments_of_its_slope_at_any_variance(name):
    phi = activations.activation(name)
    for q in VARIANCES:
        law, mean = SquaredSlope(name, q), float(phi.slope_cross(q, 1.0))
        if mean < 1e-18:  # beyond nine standard deviations
            assert law.mean() < 1e-18
            continue
        assert law.mean() == pytest.approx(mean, rel=1e-9)
        if not name.startswith("sin"):  # whose period is no length of about 1
            square = float(average(lambda u: phi.slope(u) ** 2, 0.0, math.sqrt(q), phi.kinks))
            assert mean == pytest.approx(square, rel=1e-10)
        product = MarchenkoPastur(1) * law
        place = product.ppf(1 - (1 - law.atoms.get(0.0, 0.0)) / 3)
        assert product.sf(place) == pytest.approx((1 - law.atoms.get(0.0, 0.0)) / 3, rel=1e-8)


@pytest.mark.parametrize("frequency", [1, 30, 1000.0])
def test_the_sine_is_exact_at_every_frequency(frequency):
    """E sin^2, E cos^2 by mpmath's formula; at large variance cos^2 of a uniform angle: the arcsine law."""
    start = time.process_time()
    phi = activations.sin(frequency)
    for q in (1e-4, 0.3, 20.0, 900.0):
        s = q * frequency**2
        assert phi.cross(q, 1.0) == pytest.approx(-math.expm1(-2 * s) / 2, rel=1e-12)
        assert phi.slope_cross(q, 1.0) == pytest.approx(frequency**2 * (1 + math.exp(-2 * s)) / 2, rel=1e-12)
        assert phi.square_growth(q) == pytest.approx(frequency**2 * math.exp(-2 * s), rel=1e-12)
        law = SquaredSlope(phi, q)
        assert law.mean() == pytest.approx(phi.slope_cross(q, 1.0), rel=1e-10)
        if s > 50:
            p = np.array([0.1, 0.3, 0.5, 0.99])
            np.testing.assert_allclose(law.cdf(frequency**2 * np.sin(math.pi * p / 2) ** 2), p, rtol=1e-10)
    assert time.process_time() - start < 10


def test_both_forms_of_the_sines_law_meet():
    """A contour below variance 18.5, the arcsine law above: the same to 1e-12."""
    below, above = SquaredSlope("sin", 18.49), SquaredSlope("sin", 18.51)
    x = np.array([1e-4, 0.2, 0.5, 0.9, 0.9999])
    np.testing.assert_allclose(below.cdf(x), above.cdf(x), rtol=1e-12)


def test_parameters_that_make_a_known_function():
    a = activations
    assert a.elu(1) is a.elu
    assert a.tanh(1) is a.tanh
    assert a.celu(1) is a.elu
    assert a.threshold(0, 0) is a.relu
    assert a.hardtanh(0, 6) is a.relu6
    assert a.softshrink(0) is a.linear
    assert a.elu(2)(1) is a.elu
    assert (str(a.sin(30)), str(a.hardtanh(-1, 2)), str(a.elu)) == ("sin(30)", "hardtanh(-1, 2)", "elu")


@pytest.mark.parametrize(("text", "words"), [
    ("tanh(0)", r"alpha must be in \(0, inf\)"), ("sin(-1)", "frequency must be"),
    ("hardtanh(1, -1)", "min_val must be"),
    ("softshrink(-1)", "lambd must be"), ("celu(0)", "alpha must be"), ("tanh(1, 2)", "tanh"), ("mihs", "'mish'"),
    ("relu(2)", "takes no arguments"), ("swosh", "swish"),
])
def test_what_is_no_activation_is_refused(text, words):
    with pytest.raises(ValueError, match=words):
        activations.activation(text)


def test_no_other_function_is_suggested():
    for unknown in ("glu", "swiglu(2)", "Softmax", "maxout", "ush"):
        with pytest.raises(ValueError, match=r"one of:|no fixed function of one entry") as caught:
            activations.activation(unknown)
        assert "did you mean" not in str(caught.value)


@pytest.mark.parametrize("name", [
    "mish", "relu6", *(pytest.param(name, marks=pytest.mark.slow) for name in (
        "hardswish", "softsign", "tanhshrink", "sin", "sin(30)",
        "logsigmoid", "softshrink(0.2)", "hardshrink(0.3)", "relu_squared", "tanh(3)", "elu(2)", "hardtanh(-2, 1)",
        "celu(0.3)", "threshold(0.1, 0.5)", "hardsigmoid", "softplus(5)"))])
def test_a_prediction_agrees_with_networks(name):
    """One layer of 300 and a second matrix, six networks: right laws leave .002 to .03 (|x|^2 differs by 8 %).

    A law that is 30 % off in s leaves .05.
    """
    network = rmt.Network(300, [rmt.Dense(300, "gaussian(1.2)"), rmt.Activation(name), rmt.Dense(300, "orthogonal")])
    measured = empirical.measure(network, draws=6, seed=3, progress=False)
    found = rmt.compare(rmt.predict(network), measured)
    assert found.discrepancy < 0.035
    assert rmt.compare(found.spectrum, found.log_values + 0.3).discrepancy > 0.04


@pytest.mark.parametrize("name", [name for name in TORCH if name not in DEAD])
def test_signals_are_those_of_mean_field(name):
    """A million preactivations of variance .8: mean and mean square within five standard errors (6e-7)."""
    phi, q = activations.activation(name), 0.8
    value = phi.value(math.sqrt(q) * np.random.default_rng(4).standard_normal(10**6))
    for found, exact in ((value, phi.mean(q)), (value**2, phi.cross(q, 1.0))):
        assert abs(found.mean() - float(exact)) < 5 * found.std() / 1000


def test_a_variance_that_lies_in_a_jump_is_right():
    """dE phi^2/dq of functions that jump: by differences of E phi^2."""
    for name in ("hardshrink", "threshold(0.1, 0.5)", "softshrink", "mish", "tanh(3)"):
        phi, q, h = activations.activation(name), 0.4, 1e-5
        slope = (phi.cross(q + h, 1.0) - phi.cross(q - h, 1.0)) / (2 * h)
        assert float(phi.square_growth(q)) == pytest.approx(slope, rel=1e-7)
    with pytest.raises(ValueError, match=r"hardshrink jumps at -0\.5"):
        meanfield.correlation_fixed_point("hardshrink", sigma_w=1.0, bias_std=0.3)
    with pytest.raises(meanfield.NoFixedPoint, match="no critical point"):  # every unit is off at a small variance
        meanfield.critical_point("softshrink")
    assert meanfield.critical_point("softshrink", bias_std=0.1).sigma_w > 5
    assert meanfield.critical_point("sin(30)", bias_std=0.2).sigma_w == pytest.approx(2**0.5 / 30, rel=1e-9)


def test_dead_units_are_said_in_words():
    with pytest.raises(rmt.UnsupportedStructure, match=r"softshrink: at a variance of .* every unit is off"):
        rmt.predict(rmt.mlp([50] * 3, "softshrink", "normal(0.01)"))


@pytest.mark.parametrize("name", ["mish", "sin(30)", "softshrink(0.2)", "hardtanh(-2,1)", "relu_squared"])
def test_the_command_line_takes_the_names(name):
    ran = CliRunner().invoke(cli, ["predict", "--widths", "50x3", "--activation", name, "--init", "kaiming_normal_"])
    assert ran.exit_code == 0, ran.output
    assert str(activations.activation(name)) in ran.output


def test_a_study_takes_torchs_own_names(tmp_path):
    (tmp_path / "study.toml").write_text("""
seed = 1
draws = 2
[[rows]]
init = ["nn.init.kaiming_normal_", "normal_(0, 0.1)"]
activation = ["mish", "sin(30)"]
depth = 2
width = 20
""")
    inits = [str(row.network.layers[0].scheme) for row in load(tmp_path / "study.toml").rows]
    assert sorted({*inits}) == ["kaiming_normal", "normal(std=0.1)"]
