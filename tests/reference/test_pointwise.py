"""Activations under other names, read by their values; what does not act entry by entry is not taken for one."""

import math
import pickle

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import empirical
import rmt


class Net(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.first, self.last, self.function = nn.Linear(30, 30), nn.Linear(30, 30), function

    def forward(self, x):
        return self.last(self.function(self.first(x)))


def between(function):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return [str(layer) for layer in empirical.describe(Net(function), 30).layers[1:-1]]


READ = {
    "relu": [nn.Threshold(0, 0), lambda x: x.clamp(min=0), lambda x: torch.clamp_min(x, 0.0), lambda x: x.clamp_(min=0),
             lambda x: torch.maximum(x, torch.tensor(0.0)), lambda x: torch.maximum(x, torch.zeros_like(x)),
             lambda x: torch.max(x, torch.zeros(1)), lambda x: x * (x > 0), lambda x: x * (x > 0).float(),
             lambda x: torch.where(x < 0, torch.zeros_like(x), x), lambda x: (x + x.abs()) / 2, F.relu_],
    "leaky_relu(0.25)": [nn.PReLU(), nn.PReLU(30), lambda x: torch.where(x > 0, x, 0.25 * x),
                         nn.LeakyReLU(0.25, inplace=True), lambda x: F.leaky_relu(x, 0.25, inplace=True),
                         lambda x: F.leaky_relu_(x, 0.25), lambda x: torch.maximum(x, 0.25 * x)],
    "elu": [nn.CELU(), F.celu, lambda x: torch.where(x > 0, x, torch.expm1(x.clamp(max=0)))],
    "elu(0.5)": [nn.ELU(0.5), lambda x: F.elu(x, 0.5)],
    "celu(0.5)": [nn.CELU(0.5)],
    "silu": [lambda x: x * torch.sigmoid(x), lambda x: x / (1 + torch.exp(-x)), F.silu],
    "silu(1.702)": [lambda x: x * torch.sigmoid(1.702 * x)],
    "gelu": [lambda x: 0.5 * x * (1 + torch.erf(x / math.sqrt(2))),
             lambda x: x * 0.5 * (1.0 + torch.erf(x * 0.70710678)),
             lambda x: 0.5 * x * (1 + torch.tanh(0.7978845608 * (x + 0.044715 * x * x * x))), nn.GELU("tanh"),
             lambda x: 0.5 * x * (1 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * torch.pow(x, 3))))],
    "softplus": [lambda x: torch.log(1 + torch.exp(x)), lambda x: torch.logaddexp(x, torch.zeros(1)), nn.Softplus()],
    "softplus(5)": [nn.Softplus(5)],
    "hardtanh(-2, 3)": [nn.Hardtanh(-2, 3), lambda x: x.clamp(-2, 3)],
    "relu6": [nn.ReLU6(), F.relu6, lambda x: x.clip(0, 6), nn.Hardtanh(0, 6)],
    "hardswish": [nn.Hardswish(), lambda x: x * F.relu6(x + 3) / 6],
    "hardsigmoid": [nn.Hardsigmoid(), lambda x: F.relu6(x + 3) / 6],
    "mish": [nn.Mish(), lambda x: x * torch.tanh(F.softplus(x))],
    "softsign": [nn.Softsign(), lambda x: x / (1 + x.abs())],
    "logsigmoid": [nn.LogSigmoid(), F.logsigmoid], "tanhshrink": [lambda x: x - torch.tanh(x), nn.Tanhshrink()],
    "softshrink(0.2)": [nn.Softshrink(0.2)], "hardshrink(0.3)": [nn.Hardshrink(0.3)],
    "relu_squared": [lambda x: F.relu(x) ** 2, lambda x: torch.relu(x).square()],
    "threshold(0.1, 0.2)": [nn.Threshold(0.1, 0.2)], "tanh(0.5)": [lambda x: 2 * torch.sigmoid(x) - 1],
    "leaky_relu(-1.0)": [torch.abs],
}


@pytest.mark.parametrize("name", READ)
def test_an_activation_under_another_name_is_read(name):
    for function in READ[name]:
        assert between(function) == [name]


@pytest.mark.parametrize(("function", "layers"), [
    (lambda x: torch.sin(30 * x), ["Scale 30", "sin"]),
    (lambda x: F.leaky_relu(x, 0.2) * 2, ["leaky_relu(0.2)", "Scale 2"]),
    (lambda x: 1.7159 * torch.tanh(2 / 3 * x), ["Scale 0.666667", "tanh", "Scale 1.7159"]),
    (lambda x: x + F.relu(x), ["leaky_relu(0.5)", "Scale 2"]), (lambda x: -x, ["Scale -1"]),
])
def test_numbers_before_and_behind_are_scales(function, layers):
    assert between(function) == layers


@pytest.mark.parametrize(("function", "name"), [
    (lambda x: x * torch.sin(x), "sin_mul"), (lambda x: torch.tanh(torch.tanh(x)), "tanh_tanh"), (torch.atan, "atan"),
    (lambda x: x + torch.sin(x) ** 2, "add"), (lambda x: x**3, "pow"),
    (lambda x: x * torch.tanh(torch.exp(x)), "exp_tanh_mul"),
])
def test_what_has_no_name_is_a_function_of_its_own(function, name):
    module = Net(function).double()
    network = empirical.describe(module, 30)
    assert str(network.layers[1]) == name
    phi = network.layers[1].phi
    u = torch.linspace(-3, 3, 31, dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(function(u).sum(), u)
    assert phi.slope(u.detach().numpy()) == pytest.approx(slope.numpy(), rel=1e-9, abs=1e-11)
    assert rmt.predict(network).spectrum.mean() > 0
    again = empirical.describe(empirical.build(network, 1), 30)
    assert again.layers[1].phi.value(u.detach().numpy()) == pytest.approx(phi.value(u.detach().numpy()))


@pytest.mark.parametrize("function", [
    lambda x: torch.softmax(x, -1), lambda x: x * torch.softmax(x, -1), lambda x: x / x.norm(), lambda x: x * x.mean(),
    lambda x: x + torch.arange(30.0), lambda x: x * torch.arange(30.0), lambda x: F.dropout(x, 0.5),
    lambda x: x.flip(1), lambda x: x * torch.sigmoid(x.roll(1, 1)), torch.log, lambda x: torch.cumsum(x, 1),
])
def test_what_looks_at_other_entries_is_no_activation(function):
    with pytest.raises(rmt.UnsupportedStructure):
        between(function)


def test_a_function_that_was_read_is_measured_and_stored_here_and_refused_elsewhere_in_words(tmp_path):
    network = empirical.describe(Net(lambda x: x * torch.sin(x)), 30)
    first, again = (empirical.measure(network, draws=2, store=tmp_path, progress=False) for _ in range(2))
    assert (first.log_singular_values == again.log_singular_values).all()
    assert len([*tmp_path.rglob("*.npz")]) == 2
    with pytest.raises(TypeError, match=r"give it a name there, by empirical\.register"):
        pickle.dumps(network)


def test_it_is_read_on_images_and_by_export_too():
    class Image(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(3, 4, 3, padding=1)

        def forward(self, x):
            assert x.shape[1] == 3, "what torch.fx cannot follow"
            x = self.conv(x)
            return torch.where(x > 0, x, 0.1 * x)

    assert str(empirical.describe(Image(), (3, 8, 8)).layers[1]) == "leaky_relu(0.1)"


@pytest.mark.parametrize("function", [
    lambda x: x.detach() * torch.sigmoid(x), lambda x: torch.relu(x.detach()),
    lambda x: x + (torch.round(x) - x).detach(), lambda x: torch.relu(x) + torch.tanh(x.detach())],
    ids=["a gate alone", "all", "straight through", "half"])
def test_what_autograd_does_not_see_is_no_activation(function):
    class Own(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = torch.nn.Linear(20, 20), torch.nn.Linear(20, 20)

        def forward(self, x):
            return self.b(function(self.a(x)))

    with pytest.raises(rmt.UnsupportedStructure):
        empirical.describe(Own(), 20)
