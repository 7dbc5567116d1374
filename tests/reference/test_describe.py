"""A module described predicts its own Jacobian; what is no layer of rmt is named with the line that calls it."""

import re
import warnings

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

import rmt
from empirical import build, log_singular_values
from empirical.describe import describe, described
from rmt import Activation, BatchNorm, Conv2d, Dense, Dropout, Flatten, LayerNorm, Residual, RMSNorm, Scale, schemes
from rmt.networks.layers import UnsupportedStructure


@pytest.fixture(autouse=True)
def random_state():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(2)
        yield


class MLP(nn.Module):
    def __init__(self, width, depth, activation, draw):
        super().__init__()
        self.layers, self.activation = nn.ModuleList([nn.Linear(width, width) for _ in range(depth)]), activation
        for layer in self.layers:
            draw(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(self, x):
        for layer in self.layers:
            x = self.activation(layer(x))
        return x


class PreActivation(nn.Module):
    """Two layers behind norm and ReLU, and a shortcut."""

    def __init__(self, width, scale=1.0):
        super().__init__()
        self.norms, self.scale = nn.ModuleList([nn.LayerNorm(width) for _ in range(2)]), scale
        self.layers = nn.ModuleList([nn.Linear(width, width, bias=False) for _ in range(2)])
        for layer in self.layers:
            nn.init.kaiming_normal_(layer.weight)

    def forward(self, x):
        y = x
        for norm, layer in zip(self.norms, self.layers, strict=True):
            y = layer(F.relu(norm(y)))
        return x + self.scale * y


def sigma(w):
    nn.init.normal_(w, 0, 1.3 / w.shape[1] ** 0.5)


NETS = {
    "tanh": lambda: MLP(400, 8, torch.tanh, nn.init.xavier_normal_),
    "gelu": lambda: MLP(400, 8, F.gelu, nn.init.kaiming_uniform_),
    "linear": lambda: MLP(400, 8, lambda x: 1.0 * x, sigma),
    "torch's default": lambda: nn.Sequential(*[part for _ in range(8) for part in (nn.Linear(400, 400), nn.Tanh())]),
    "pre-activation": lambda: nn.Sequential(*[PreActivation(400) for _ in range(4)]),
}


@pytest.mark.parametrize("name", ["tanh", *(pytest.param(name, marks=pytest.mark.slow) for name in [*NETS][1:])])
def test_it_predicts_its_own_jacobian(name):
    """Medians of five networks, of which one scatters from .006 to .022."""
    distances = []
    for seed in range(5):
        torch.manual_seed(seed)
        module = NETS[name]().double()
        x = torch.randn(1, 400, dtype=torch.float64)
        law = rmt.predict(describe(module, 400)).spectrum
        distances.append(rmt.compare(law, log_singular_values(module, x)[None]).discrepancy)
    assert np.median(distances) < 0.02


def test_weights_three_percent_larger_are_described_as_such():
    module = MLP(400, 2, torch.tanh, nn.init.xavier_normal_)
    with torch.no_grad():
        for layer in module.layers:
            layer.weight *= 1.03
    found = [layer.scheme for layer in describe(module, 400).layers if layer.mixes]
    assert [scheme.gain_squared for scheme in found] == pytest.approx([1.03**2] * 2, rel=0.015)


ROUND = {
    "mlp": rmt.mlp([12, 30, 30, 10], "gelu", "xavier_uniform"),
    "torch default": rmt.mlp([12, 30, 10], "tanh", "torch_default"),
    "orthogonal": rmt.mlp([12, 30, 30], "tanh", "orthogonal"),
    "activations": rmt.Network(20, [layer for name in ("relu", "leaky_relu(0.2)", "elu", "selu", "gelu", "silu", "tanh",
                                                       "erf", "hardtanh", "sigmoid", "softplus")
                                    for layer in (Dense(20, "xavier_normal"), Activation(name))]),
    "images": rmt.Network((4, 8, 8), [
        Conv2d(16, 3, padding_mode="circular"), BatchNorm(), Activation("relu"), Conv2d(16, (1, 3), groups=2),
        Conv2d(32, 2, stride=2, padding=0), LayerNorm(), RMSNorm(1e-6), Flatten(), Dropout(0.25), Dense(10)]),
    "residual": rmt.Network(30, [Residual([LayerNorm(), Dense(30), Activation("relu"), Dense(30)], 0.5)] * 3),
    "nested": rmt.Network(30, [Residual([Dense(30), Residual([Activation("tanh"), Dense(30)], 0.5)], 0.25,
                                        shortcut=[Scale(0.5)])]),
    "projected": rmt.Network(30, [Residual([Dense(20), Activation("relu"), Dense(20)], shortcut=[Dense(20)])]),
    "off": rmt.Network(30, [Residual([Dense(30), Activation("relu"), Dense(30)], 0.0)]),
}


@pytest.mark.parametrize("name", ROUND)
def test_what_was_built_is_described(name):
    network = ROUND[name]
    assert repr(describe(build(network, 1), network.input_shape)) == repr(network)


class Written(nn.Module):
    """A forward of functional calls."""

    def __init__(self, last):
        super().__init__()
        self.convolution, self.norm, self.head = nn.Conv2d(3, 20, 3, padding=1), nn.BatchNorm2d(20), nn.Linear(20, 5)
        self.gain, self.weight = nn.Parameter(torch.full((20,), 0.125)), nn.Parameter(torch.randn(7, 5))
        self.last = last
        nn.init.orthogonal_(self.weight)

    def forward(self, x):
        x = F.leaky_relu(self.norm(self.convolution(x)), 0.1)
        x = F.dropout(x, 0.2, self.training).mean((2, 3))
        x = self.gain * F.layer_norm(x, (20,))
        return self.last(F.linear(F.hardtanh(self.head(x)), self.weight).view(-1, 7))


def test_functional_calls_are_layers():
    found = describe(Written(lambda x: x / 2), (3, 8, 8))
    torch_default = schemes.torch_default()
    assert found.layers == (
        Conv2d(20, 3, init=torch_default), BatchNorm(), Activation("leaky_relu(0.1)"), Dropout(0.2),
        rmt.AvgPool2d(8), Flatten(), LayerNorm(), Scale(0.125), Dense(5, torch_default), Activation("hardtanh"),
        Dense(7, "orthogonal"), Scale(0.5))


REFUSED = {
    "a Fourier transform": (lambda x: torch.fft.fft(x).real, "fft_fft", "torch.fft.fft"),
    "a gate": (lambda x: x * torch.sigmoid(x.flip(1)), "flip", "x.flip"),
    "a softmax": (lambda x: torch.softmax(x, 1), "softmax", "torch.softmax"),
    "a place": (lambda x: x + torch.arange(7), "add", "torch.arange"),
    "order": (lambda x: x.flip(1), "flip", "x.flip"),
    "zero": (lambda x: 0 * x, "mul", "0 \\* x"),
    "a branch on data": (lambda x: x if x.sum() > 0 else -x, "sum", "if x.sum"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_layer_is_named_with_its_line_and_still_measured(name):
    last, node, code = REFUSED[name]
    module, x = Written(last).double().eval(), torch.randn(1, 3, 8, 8, dtype=torch.float64)
    with pytest.raises(UnsupportedStructure, match=rf"{re.escape(__file__)}:\d+: .*{code}") as error:
        describe(module, (3, 8, 8))
    assert node in str(error.value)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert log_singular_values(module, x).shape == (1, 192)


def test_modules_that_are_no_layer_are_named():
    uneven = nn.PReLU(4)  # a slope a channel
    uneven.weight.data = torch.linspace(0.1, 0.4, 4)
    refused = {"MaxPool2d": nn.MaxPool2d(2), "GroupNorm of 2 groups": nn.GroupNorm(2, 4), "PReLU": uneven,
               "dilation": nn.Conv2d(4, 4, 3, dilation=2), "last axis": nn.Linear(8, 8)}
    for what, part in refused.items():
        with pytest.raises(UnsupportedStructure, match=rf"1: .*{re.escape(what)}"):
            describe(nn.Sequential(nn.Conv2d(4, 4, 3, padding=1), part), (4, 8, 8))


def test_a_module_is_left_as_it_was():
    module = nn.Sequential(nn.Linear(6, 6), nn.BatchNorm1d(6), nn.Dropout(0.5), nn.Linear(6, 6)).train()
    module[2].eval()
    before = {name: value.clone() for name, value in module.state_dict().items()}
    state = torch.get_rng_state()
    found = describe(module, 6)
    assert found.layers[1:3] == (BatchNorm(), Dropout(0.5))
    assert [part.training for part in module] == [True, True, False, True]
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())
    assert torch.equal(torch.get_rng_state(), state)


def test_a_trained_checkpoint_is_described_with_a_warning():
    from sklearn.datasets import load_digits
    x, y = (torch.as_tensor(part) for part in load_digits(return_X_y=True))
    x = (x / 8 - 1).float()
    module = nn.Sequential(nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, 10))
    assert len(describe(module, 64).layers) == 3  # as drawn: no warning, which would be an error here
    optimizer = torch.optim.Adam(module.parameters(), 0.01)
    for _ in range(60):
        optimizer.zero_grad()
        F.cross_entropy(module(x), y).backward()
        optimizer.step()
    with pytest.warns(UserWarning, match=r"0 \(.*\) are no longer random"):
        network = describe(module, 64)
    assert float(network.layers[0].scheme.gain_squared) == pytest.approx(
        64 * float(module[0].weight.detach().square().mean()), rel=1e-4)
    rmt.predict(network)


def test_weights_used_twice_and_uneven_norms_are_said():
    layer = nn.Linear(50, 50)
    with pytest.warns(UserWarning, match="0: weights that are used more than once"):
        describe(nn.Sequential(layer, nn.Tanh(), layer), 50)
    norm = nn.LayerNorm(50)
    norm.weight.data = torch.linspace(0.5, 1.5, 50)
    with pytest.warns(UserWarning, match=r"1 \(0\.28\): weights of a normalization"):
        found = describe(nn.Sequential(nn.Linear(50, 50), norm), 50)
    assert float(found.layers[-1].a) == pytest.approx(float(norm.weight.detach().square().mean()) ** 0.5, rel=1e-5)


def test_what_its_trace_does_not_show_is_refused():
    module = nn.Sequential(nn.Linear(6, 6), nn.Tanh())
    module.register_forward_hook(lambda part, args, out: 10 * out)
    with pytest.raises(UnsupportedStructure, match="does something that its trace does not show"):
        describe(module, 6)
    module = nn.Sequential(nn.Linear(6, 6), nn.Tanh())
    module[1].forward = lambda z: 2 * z
    with pytest.raises(UnsupportedStructure, match=r"1: .*hooks"):
        describe(module, 6)


def test_weights_that_are_computed_have_rows_of_their_own():
    norm = nn.utils.parametrizations.weight_norm
    module = nn.Sequential(*[norm(nn.Linear(50, 50, bias=False)) for _ in range(6)])
    found = described(module, 50)
    assert [row.name for row in found.weights] == [str(i) for i in range(6)]
    assert len(found.network.layers) == 6
    assert found.warnings == ()
    tied = Written(lambda x: x)
    tied.last = lambda x, weight=tied.weight: F.linear(x, weight.t())
    with pytest.warns(UserWarning, match="used more than once"):
        describe(tied, (3, 8, 8))


def test_layers_that_only_look_like_ones_of_rmt_are_refused():
    image = [nn.Conv2d(8, 8, 3, padding=1)]
    for part, shape in ((nn.AvgPool2d(2, divisor_override=1), (8, 8, 8)), (Own(lambda x: x.mean((1, 2))), (8, 8, 8)),
                        (Own(lambda x: F.dropout(x, 0.5)), (8, 8, 8))):
        with pytest.raises(UnsupportedStructure):
            describe(nn.Sequential(*image, part), shape)
    with pytest.raises(UnsupportedStructure, match="mul"):
        describe(nn.Sequential(Own(lambda x: x * torch.ones(50)), nn.Linear(50, 50)), 1)


class Own(nn.Module):
    """A function as a module."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x, more=None):
        return self.function(x) if more is None else x


def test_permutations_and_biases_of_one_sign_are_said():
    eye = nn.Linear(20, 20, bias=False)
    nn.init.eye_(eye.weight)
    with pytest.warns(UserWarning, match=r"0 \(a permutation\)"):
        describe(nn.Sequential(eye), 20)
    linear, norm = nn.Linear(40, 40), nn.LayerNorm(40)
    linear.bias.data.fill_(2.0)
    norm.bias.data.normal_()
    with pytest.warns(UserWarning, match="0, 1: biases with a mean of their own"):
        describe(nn.Sequential(linear, norm), 40)


def test_modules_without_values_are_refused_by_name():
    for make, what in ((lambda: nn.Linear(3, 3, device="meta"), "weight is on the meta device"),
                       (lambda: nn.LazyLinear(3), "weight has no shape yet"),
                       (lambda: nn.Linear(3, 3).half(), "half precision"),
                       (lambda: nn.Linear(3, 3, dtype=torch.complex64), "weight is complex")):
        with pytest.raises(ValueError, match=what):
            describe(make(), 3)


def test_layers_know_where_they_were_read():
    found = described(nn.Sequential(PreActivation(20, 0.5), nn.Linear(20, 5)), 20)
    assert [type(part.layer) for part in found.parts] == [Residual, Dense]
    assert "return x + self.scale * y" in found.parts[0].where
    assert found.parts[1].name == "1"
    assert [row.name for row in found.weights] == ["0.layers.0", "0.layers.1", "1"]


def test_bad_arguments():
    with pytest.raises(TypeError, match="module must be"):
        describe(rmt.mlp([3, 3]), 3)
    with pytest.raises(ValueError, match="input_shape must be a whole number >= 1, got 0"):
        describe(nn.Linear(3, 3), (0,))
    with pytest.raises(ValueError, match=r"input_shape \(4,\) does not fit the module"):
        describe(nn.Linear(3, 3), 4)


@pytest.mark.gpu
def test_a_module_on_a_device_is_described_where_it_is():
    module = PreActivation(100).cuda()
    assert describe(module, 100) == describe(module.cpu(), 100)


class Draws(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.linear, self.function = nn.Linear(20, 20), function

    def forward(self, x):
        return self.function(self.linear(x))


@pytest.mark.parametrize(("function", "says"), [
    (lambda x: x + torch.randn_like(x), "draws random numbers on its way"),
    (lambda x: torch.nn.functional.dropout(x, 0.5, True), "dropout|draws random numbers"),
    (torch.sqrt, "is not finite at a random input")], ids=["noise", "dropout", "square root"])
def test_why_a_trace_is_not_the_module_is_said(function, says):
    with pytest.raises(UnsupportedStructure, match=says):
        describe(Draws(function), 20)
