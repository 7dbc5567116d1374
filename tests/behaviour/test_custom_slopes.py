"""Slopes of one's own: of real arrays only, found from the value, checked; modules of one's own that are registered."""

import math
import sys

import numpy as np
import pytest
import scipy.stats
import torch
from click.testing import CliRunner
from scipy import special
from torch import nn

import empirical
import rmt
from empirical import registry
from figures.cli import cli
from rmt import MarchenkoPastur, SquaredSlope, activations

custom = activations.custom


def by_torch(function):
    return lambda u: function(torch.as_tensor(np.array(u))).numpy()


FOUND = {
    "a slope of real arrays only": (lambda: custom("own", lambda u: np.logaddexp(0, u), special.expit), "softplus"),
    "one that is a product": (lambda: custom("own", lambda u: u * special.expit(u), lambda u: special.expit(u) * (
        1 + u * special.expit(-u))), "silu"),
    "of scipy's normal distribution": (lambda: custom("own", lambda u: u * scipy.stats.norm.cdf(u)), "gelu"),
    "none, of a value with |u|": (lambda: custom("own", lambda u: u / (1 + np.abs(u))), "softsign"),
    "none, of a where": (lambda: custom("own", lambda u: np.where(u > 0, u, np.expm1(np.minimum(u, 0)))), "elu"),
    "none, kinks given": (lambda: custom("own", lambda u: u * np.clip(u + 3, 0, 6) / 6, kinks=(-3, 3)), "hardswish"),
    "none, written out": (lambda: custom("own", lambda u: 0.5 * u * (1 + special.erf(u / math.sqrt(2)))), "gelu"),
    "a torch function": (lambda: custom("own", by_torch(nn.functional.mish), torch=nn.functional.mish), "mish"),
    "an assignment by mask": (lambda: custom("own", masked), "leaky_relu(0.1)"),
}


def masked(u):
    out = u.copy()
    out[u < 0] = 0.1 * out[u < 0]
    return out


@pytest.mark.parametrize("name", FOUND)
@pytest.mark.parametrize("q", [0.5, *(pytest.param(q, marks=pytest.mark.slow) for q in (1e-3, 3.0))])
def test_a_slope_that_is_found_has_the_law_of_the_known_one(name, q):
    make, known = FOUND[name]
    ours, theirs = (MarchenkoPastur(1) * SquaredSlope(phi, q) for phi in (make(), known))
    p = np.array([0.55, 0.7, 0.9])
    np.testing.assert_allclose(theirs.cdf(ours.ppf(p)), p, atol=1e-9)


@pytest.mark.parametrize(("make", "slope", "kinks"), [
    (lambda: custom("tanhexp", lambda u: u * np.tanh(np.exp(np.minimum(u, 20)))), None, ()),
    (lambda: custom("tanhexp", by_torch(lambda x: x * torch.tanh(torch.exp(x))),
                    torch=lambda x: x * torch.tanh(torch.exp(x))), None, ()),
    (lambda: custom("bump", lambda u: np.exp(-(u**2))), lambda u: -2 * u * np.exp(-(u**2)), ()),
    (lambda: custom("bent", lambda u: np.where(u < 0.7, np.sin(u), math.sin(0.7) + 2 * (u - 0.7))),
     lambda u: np.where(u < 0.7, np.cos(u), 2.0), (0.7,)),
    (lambda: custom("erfs", by_torch(lambda x: torch.erf(x) + 0.5 * x), torch=lambda x: torch.erf(x) + 0.5 * x),
     lambda u: 2 / math.sqrt(math.pi) * np.exp(-(u**2)) + 0.5, ()),
    (lambda: custom("plain", np.vectorize(lambda x: math.atan(x) + 0.1 * x)), lambda u: 1 / (1 + u**2) + 0.1, ()),
    (lambda: custom("sinc", np.sinc), lambda u: (np.cos(np.pi * u) - np.sinc(u)) / u, ()),
    (lambda: custom("even", np.vectorize(lambda x: math.log1p(x * x))), lambda u: 2 * u / (1 + u**2), ()),
], ids=["jets", "torch", "bump", "a kink", "torch, real only", "differences", "many turns", "no slope at zero"])
def test_what_has_no_name_has_its_own_slope(make, slope, kinks):
    phi, u = make(), np.linspace(-3.03, 2.97, 61)
    exact = slope if slope is not None else lambda u: np.tanh(np.exp(u)) + u * np.exp(u) / np.cosh(np.exp(u)) ** 2
    np.testing.assert_allclose(phi.slope(u), exact(u), rtol=1e-9, atol=1e-11)
    assert phi.kinks == pytest.approx(kinks)
    law = SquaredSlope(phi, 0.8)
    assert law.mean() == pytest.approx(float(phi.slope_cross(0.8, 1.0)), rel=1e-8)
    product = MarchenkoPastur(1) * law
    assert product.cdf(product.ppf(0.4)) == pytest.approx(0.4, abs=1e-8)


def test_a_wrong_slope_is_named_with_its_place_and_both_values():
    with pytest.raises(ValueError, match=r"at u = -4\.03 it is 0\.000315827, not 0\.0174639"):
        custom("own", lambda u: np.logaddexp(0, u), lambda u: special.expit(2 * u))


def test_a_slope_that_is_not_found_is_not_called_the_users():
    with pytest.raises(ValueError, match=r"slope of 'own' is not found: at u = -4\.03 .* give slope=, and where value"):
        custom("own", np.floor)


def test_a_slope_without_digits_is_refused_where_they_are_asked_for():
    phi = custom("own", np.vectorize(lambda x: math.atan(x) + math.tanh(x) if x > 0 else math.tanh(x)), kinks=(0,))
    with pytest.raises(rmt.ConvergenceError, match="found numerically, to 1e-10 of its size"):
        SquaredSlope(phi, 400.0)


def test_what_turns_too_often_is_refused_in_words():
    with pytest.raises(rmt.ConvergenceError, match="does it oscillate"):
        _ = SquaredSlope(custom("waves", lambda u: u + 0.9 * np.sin(u)), 1e4).support


# ---- modules of one's own ----------------------------------------------------------------------------------


class Swirl(nn.Module):
    def forward(self, x):
        return x * torch.sin(x)


class Mixing(nn.Module):
    """Weights that are no Linear's."""

    def __init__(self):
        super().__init__()
        self.w = nn.Parameter(torch.randn(30, 30) / 30**0.5)

    def forward(self, x):
        return torch.einsum("ij,bj->bi", self.w, x)


SWIRL = custom("swirl", lambda u: u * np.sin(u), torch=Swirl)


@pytest.fixture
def registered():
    before = dict(registry._registered)
    yield
    registry._registered.clear()
    registry._registered.update(before)


def test_modules_and_functions_of_ones_own_are_described():
    module = nn.Sequential(nn.Linear(30, 30), Swirl(), nn.Linear(30, 30))
    assert empirical.describe(module, 30, custom={Swirl: SWIRL}).layers[1] == rmt.Activation(SWIRL)
    assert str(empirical.describe(module, 30).layers[1]) == "sin_mul"  # by its values, without a name of its own
    called = Called(lambda x: x * torch.sin(x))
    assert empirical.describe(called, 30, custom={torch.sin: SWIRL}).layers[1] == rmt.Activation(SWIRL)
    mixed = nn.Sequential(Mixing(), nn.Tanh())
    found = empirical.describe(mixed, 30, custom={Mixing: lambda module, shape: rmt.Dense(len(module.w), "gaussian")})
    assert str(found) == "30-30, gaussian(sigma_w=1), tanh"
    with pytest.raises(rmt.UnsupportedStructure, match="einsum"):
        empirical.describe(mixed, 30)
    with pytest.raises(rmt.UnsupportedStructure, match=r"makes \(30,\) of its input, what it looks like makes \(7,\)"):
        empirical.describe(mixed, 30, custom={Mixing: rmt.Dense(7)})


class Called(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.first, self.last, self.function = nn.Linear(30, 30), nn.Linear(30, 30), function

    def forward(self, x):
        return self.last(self.function(self.first(x)))


def test_a_registration_holds_for_all_calls(registered):
    @empirical.register(Swirl)
    def _(module, shape):
        return [rmt.Activation(SWIRL), rmt.Scale(1.0)]

    layers = empirical.describe(nn.Sequential(nn.Linear(30, 30), Swirl()), 30).layers
    assert layers[1:] == (rmt.Activation(SWIRL), rmt.Scale(1.0))
    x = torch.randn(2, 30)
    assert empirical.log_singular_values(nn.Sequential(nn.Linear(30, 30), Swirl()), x).shape == (2, 30)


@pytest.mark.parametrize(("kind", "reader", "words"), [
    (Swirl, 3, "reader must be"), ("Swirl", SWIRL, "kind must be"), (Swirl, nn.Tanh(), "reader must be"),
    (torch.sin, rmt.Scale(2), "reader of a function must be an activation"),
])
def test_what_cannot_be_registered_is_refused(kind, reader, words):
    with pytest.raises(TypeError, match=words):
        empirical.register(kind, reader)
    with pytest.raises(TypeError, match=words):
        empirical.describe(nn.Linear(3, 3), 3, custom={kind: reader})


def test_a_users_file_registers_its_own_for_advise(tmp_path, registered, monkeypatch):
    monkeypatch.setattr(sys, "path", list(sys.path))
    (tmp_path / "model.py").write_text("""
import numpy as np, torch, empirical, rmt
from torch import nn

class Whirl(nn.Module):
    def forward(self, x):
        return x * torch.sin(x)

empirical.register(Whirl, rmt.activations.custom("whirl", lambda u: u * np.sin(u), torch=Whirl))

def make():
    return nn.Sequential(nn.Linear(20, 20), Whirl(), nn.Linear(20, 20))
""")
    ran = CliRunner().invoke(cli, ["advise", f"{tmp_path / 'model.py'}:make", "--input", "20"])
    assert ran.exit_code == 0, ran.output
    assert "network: 20-20x2, (torch_default, whirl)-torch_default" in ran.output or "whirl" in ran.output
    assert "no prediction" not in ran.output


def test_a_torch_form_that_is_another_function_is_refused():
    with pytest.raises(ValueError, match=r"torch of 'k12' must be the same function as value: at u = .* it is"):
        activations.custom("k12", np.tanh, torch=torch.sin)


def test_a_slope_that_is_wrong_where_wide_layers_reach_is_refused():
    with pytest.raises(ValueError, match=r"slope of 'w3' must be the derivative of value: at u = 7\.2 it is 1, not"):
        activations.custom("w3", lambda u: np.where(np.real(u) > 7, 7 + 0 * u, u), lambda u: np.ones_like(u))
