"""Weights are read as they act: what hooks, parametrizations and the forward itself make of the stored ones."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from numpy.testing import assert_allclose
from torch import nn
from torch.nn.utils import parametrizations, prune

import rmt
from empirical import describe, jacobian, weights
from empirical.diagnose import diagnose
from rmt import schemes

pytestmark = pytest.mark.filterwarnings("ignore:.*weight_norm.*is deprecated:FutureWarning")


@pytest.fixture(autouse=True)
def random_state():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(8)
        yield


def kept(module, x):
    """The matrix that a linear module is, by its outputs."""
    return (module(torch.eye(x.shape[1])) - module(torch.zeros(1, x.shape[1]))).T.detach()


def stale_weight_norm():
    layer = nn.utils.weight_norm(nn.Linear(64, 48))
    layer.weight_g.data.mul_(7.1)
    return layer


def stale_spectral_norm():
    layer = nn.utils.spectral_norm(nn.Linear(64, 48)).eval()
    layer(torch.ones(1, 64))
    layer.weight_orig.data.mul_(torch.linspace(0.1, 3, 48)[:, None])
    return layer


def pruned():
    layer = nn.Linear(64, 48)
    prune.random_unstructured(layer, "weight", 0.4)
    prune.random_unstructured(layer, "bias", 0.5)
    layer.weight_orig.data.mul_(3)
    layer.bias_orig.data.mul_(5)
    return layer


def pruned_twice():
    layer = nn.Linear(64, 48)
    prune.l1_unstructured(layer, "weight", 0.2)
    prune.random_unstructured(layer, "weight", 0.2)
    return layer


COMPUTED = {
    "weight norm by hooks": stale_weight_norm, "spectral norm by hooks": stale_spectral_norm, "pruned": pruned,
    "pruned twice": pruned_twice, "weight norm": lambda: parametrizations.weight_norm(nn.Linear(64, 48)),
    "spectral norm": lambda: parametrizations.spectral_norm(nn.Linear(64, 48)),
    "orthogonal": lambda: parametrizations.orthogonal(nn.Linear(64, 48)),
}


@pytest.mark.parametrize("name", COMPUTED)
@pytest.mark.parametrize("with_input", [False, True])
def test_what_is_computed_before_a_forward_is_read_as_it_acts(name, with_input):
    """Before the next forward, what a hook left in the layer is of the last one."""
    layer = COMPUTED[name]().eval()
    before = {key: value.clone() for key, value in layer.state_dict().items()}
    left = vars(layer).get("weight")
    (row,) = weights(layer, x=torch.randn(3, 64) if with_input else None)
    assert vars(layer).get("weight") is left
    assert all(torch.equal(before[key], value) for key, value in layer.state_dict().items())
    true = kept(layer, torch.empty(1, 64))
    assert (row.name, row.kind, row.shape) == ("weight", "Linear", (48, 64))
    assert row.sigma_w == pytest.approx(float(true.double().square().mean()) ** 0.5 * 8, rel=1e-5)
    assert row.bias_std == pytest.approx(float(layer(torch.zeros(1, 64)).detach().square().mean()) ** 0.5, rel=1e-5)


def test_layers_with_hooks_of_torch_are_described_and_predicted():
    """The first is 7.1 times as large as what is stored; other hooks may do anything."""
    module = nn.Sequential(stale_weight_norm(), nn.Tanh(), nn.utils.weight_norm(nn.Linear(48, 64)))
    network = describe(module, 64)
    sigma_w = [float(layer.scheme.variance(layer_in, layer_out) * layer_in) ** 0.5 for layer, layer_in, layer_out in (
        (network.layers[0], 64, 48), (network.layers[2], 48, 64))]
    assert sigma_w == pytest.approx([7.1 / math.sqrt(3), 1 / math.sqrt(3)], rel=0.05)
    found = diagnose(module, 64)
    assert found.obstacle == ""
    assert [row.name for row in found.weights] == ["0", "2"]
    hooked = nn.Sequential(stale_weight_norm(), nn.Tanh())
    hooked[0].register_forward_hook(lambda part, args, out: 3 * out)
    with pytest.raises(rmt.networks.layers.UnsupportedStructure, match="a module with hooks"):
        describe(hooked, 64)


def test_recurrent_and_embedding_weights_that_are_computed():
    recurrent = nn.utils.weight_norm(nn.LSTM(32, 32), "weight_hh_l0")
    recurrent.weight_hh_l0_g.data.mul_(4)
    names = {row.name: row for row in weights(recurrent)}
    assert set(names) == {"weight_ih_l0", "weight_hh_l0"}
    assert names["weight_hh_l0"].sigma_w == pytest.approx(4 / math.sqrt(3), rel=0.05)
    embedding = nn.utils.spectral_norm(nn.Embedding(30, 20)).eval()
    (row,) = weights(embedding)
    assert (row.name, row.kind) == ("weight", "Embedding")
    assert {row.name for row in weights(parametrizations.weight_norm(nn.GRU(8, 8), "weight_hh_l0"))} == {
        "weight_ih_l0", "weight_hh_l0"}


# ---- what a forward makes of parameters -----------------------------------------------------------------


class EqualisedLinear(nn.Module):
    """Weights of unit variance, divided on the way (Karras et al. 2018)."""

    def __init__(self, inputs, outputs, multiplier=1.0):
        super().__init__()
        self.w = nn.Parameter(torch.randn(outputs, inputs) / multiplier)
        self.b = nn.Parameter(torch.full((outputs,), 2.0))
        self.multiplier = multiplier

    def forward(self, x):
        scale = self.multiplier * self.w.shape[1] ** -0.5
        return F.linear(x, self.w * scale, self.b * self.multiplier)


class EqualisedConv(nn.Module):
    """The same of a convolution."""

    def __init__(self, inputs, outputs):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs, 3, 3))

    def forward(self, x):
        return F.conv2d(x, self.weight * self.weight[0].numel() ** -0.5, padding=1)


def test_an_equalised_learning_rate_has_the_layers_and_the_size_that_it_acts_with():
    module = nn.Sequential(*[part for _ in range(12) for part in (EqualisedLinear(64, 64, 0.01), nn.LeakyReLU(0.2))])
    rows = weights(module, x=torch.randn(4, 64))
    assert [(row.name, row.kind, row.shape) for row in rows] == [(f"{2 * i}.w", "Linear", (64, 64)) for i in range(12)]
    assert all(abs(row.sigma_w - 1) < 5 / math.sqrt(2 * 64 * 64) for row in rows)  # one run in 140000 fails
    assert all(row.bias_std == pytest.approx(0.02) and row.odd == "" for row in rows)
    assert all(row.scheme in (schemes.xavier_normal(), schemes.lecun_normal()) for row in rows)
    assert all(row.sigma_w > 700 for row in weights(module))  # as they are stored
    found = diagnose(module, 64)
    assert found.weights == rows
    assert found.obstacle == ""
    assert found.predicted["gradient_growth"] == pytest.approx(0.52**12, rel=0.05)


def test_convolutions_and_residual_blocks_of_computed_weights():
    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = EqualisedConv(16, 16)

        def forward(self, x):
            return x + 0.5 * self.conv(torch.relu(x))

    module = nn.Sequential(EqualisedConv(8, 16), Block(), Block())
    rows = weights(module, x=torch.randn(2, 8, 5, 5))
    assert [(row.name, row.kind) for row in rows] == [("0", "Conv2d"), ("1.conv", "Conv2d"), ("2.conv", "Conv2d")]
    assert all(row.sigma_w == pytest.approx(1, abs=0.08) for row in rows)
    assert [str(layer.scheme) for layer in describe(module, (8, 5, 5)).layers[:1]] == [str(schemes.lecun_normal())]


class Uses(nn.Module):
    """One matrix of 20 x 30 of its own, used in some way."""

    def __init__(self, use):
        super().__init__()
        self.m, self.use = nn.Parameter(torch.randn(20, 30)), use

    def forward(self, x):
        return self.use(x, self.m)


WAYS = {
    "x @ m": (20, lambda x, m: x @ m), "torch.matmul": (20, lambda x, m: torch.matmul(x, 2 * m)),
    "mm": (20, lambda x, m: torch.mm(x, m)), "x @ m.T": (30, lambda x, m: x @ m.T),
    "m @ x.T": (30, lambda x, m: (m @ x.T).T), "addmm": (20, lambda x, m: torch.addmm(torch.ones(30), x, m)),
    "linear": (30, lambda x, m: F.linear(x, m * 0.1)), "transposed": (20, lambda x, m: F.linear(x, m.t())),
    "einsum": (20, lambda x, m: torch.einsum("bi,io->bo", x, m / 3)),
    "einsum, turned": (30, lambda x, m: torch.einsum("oi, bi -> bo", m, x)),
    "bmm": (20, lambda x, m: torch.bmm(x[:, None], (0.5 * m).expand(len(x), -1, -1))[:, 0]),
    "conv1d": (30, lambda x, m: F.conv1d(x[:, :, None], m[:, :, None] * 0.2)[:, :, 0]),
    "normalized": (30, lambda x, m: F.linear(x, F.normalize(m, dim=1))),
    "standardized": (30, lambda x, m: F.linear(x, (m - m.mean()) / m.std() / 30**0.5)),
    "in place": (30, lambda x, m: F.linear(x, m.clone().mul_(0.3))),
    "dropped to half": (30, lambda x, m: F.linear(x, m.half().float())),
}


@pytest.mark.parametrize("name", WAYS)
def test_a_matrix_has_the_size_and_the_inputs_with_which_it_acts(name):
    """sigma_w^2 is the mean square of the Jacobian's entries times its columns, whatever the call."""
    n_inputs, use = WAYS[name]
    module, x = Uses(use), torch.randn(3, n_inputs)
    (row,) = weights(module, x=x)
    j = jacobian(module, x).double().numpy()[0]
    assert row.name == "m"
    assert row.kind == ("Conv1d" if name == "conv1d" else "Linear")
    assert row.fan_in == n_inputs
    assert row.sigma_w == pytest.approx(math.sqrt(np.mean(j**2) * n_inputs), rel=1e-5)


def test_experts_heads_and_slices_are_rows():
    class Many(nn.Module):
        def __init__(self):
            super().__init__()
            self.qkv, self.heads = nn.Parameter(torch.randn(48, 16)), nn.Parameter(torch.randn(4, 16, 8) / 4)
            self.register_buffer("fixed", torch.randn(12, 16))

        def forward(self, x):
            q, k = (F.linear(x, part / 4) for part in self.qkv.chunk(3)[:2])
            return torch.einsum("bi,hio->bho", q + k, self.heads), F.linear(x, self.fixed)

    rows = weights(Many(), x=torch.randn(5, 16))
    assert [(row.name, row.shape) for row in rows] == [
        ("qkv", (16, 16)), ("qkv (2)", (16, 16)), ("heads", (32, 16)), ("fixed", (12, 16))]
    assert [round(row.sigma_w) for row in rows] == [1, 1, 1, 4]


def test_low_rank_additions_and_unused_layers():
    class Adapted(nn.Module):
        def __init__(self):
            super().__init__()
            self.own, self.unused = nn.Linear(32, 32, bias=False), nn.Linear(5, 5)
            self.a, self.b = nn.Parameter(torch.randn(2, 32)), nn.Parameter(torch.randn(32, 2))

        def forward(self, x):
            return F.linear(x, self.own.weight + self.b @ self.a)

    module = Adapted()
    assert {row.name for row in weights(module)} == {"own", "unused", "a", "b"}
    (row,) = weights(module, x=torch.randn(2, 32))
    true = (module.own.weight + module.b @ module.a).detach().double()
    assert (row.name, row.sigma_w) == ("own", pytest.approx(float(true.square().mean()) ** 0.5 * 32**0.5))


def test_layers_of_torch_and_tied_weights_have_the_rows_that_are_stored():
    class Tied(nn.Module):
        def __init__(self):
            super().__init__()
            self.words = nn.Embedding(11, 8)
            self.layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
            self.recurrent = nn.LSTM(8, 8, batch_first=True)
            self.up = nn.ConvTranspose1d(8, 8, 2, 2, groups=2)
            self.positions = nn.Parameter(torch.randn(5, 8))

        def forward(self, tokens):
            x = self.recurrent(self.layer(self.words(tokens) + self.positions))[0]
            return F.linear(self.up(x.mT).mT, self.words.weight)

    module, tokens = Tied().eval(), torch.randint(11, (2, 5))
    stored, used = weights(module), weights(module, x=tokens)
    assert used == stored
    assert weights(module, x={"tokens": tokens}) == stored
    assert [row.kind for row in used] == ["parameter", "Embedding", "projections", "Linear", "Linear", "Linear",
                                          "LSTM", "LSTM", "ConvTranspose1d"]


def test_wrapped_and_scripted_modules_have_the_rows_of_what_is_inside():
    module = nn.Sequential(nn.Linear(8, 8), nn.Tanh(), nn.Conv1d(8, 8, 1))
    rows = weights(module)
    assert weights(nn.DataParallel(module)) == weights(torch.jit.script(module)) == rows
    module = nn.Sequential(nn.Linear(8, 8), nn.Tanh(), nn.Linear(8, 3))
    x = torch.randn(2, 8)
    assert weights(torch.jit.script(module), x=x) == weights(nn.DataParallel(module), x=x) == weights(module)


def test_reading_what_is_used_leaves_the_module_and_the_random_state():
    module = nn.Sequential(EqualisedLinear(8, 8), nn.BatchNorm1d(8), nn.Dropout(0.5))
    state = {key: value.clone() for key, value in module.state_dict().items()}
    random, modes = torch.get_rng_state(), [part.training for part in module.modules()]
    weights(module, x=torch.randn(4, 8, generator=torch.Generator().manual_seed(1)))
    assert torch.equal(random, torch.get_rng_state())
    assert modes == [part.training for part in module.modules()]
    assert all(torch.equal(state[key], value) for key, value in module.state_dict().items())
    assert not any(part._forward_hooks or part._forward_pre_hooks for part in module.modules())
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        weights(module, x=torch.ones(4, 7))
    with pytest.raises(ValueError, match=r"^x must be finite"):
        weights(module, x=torch.full((4, 8), torch.nan))
    with pytest.raises(ValueError, match=r"x\['x'\] must have a sample"):
        weights(module, x={"x": torch.empty(0, 8)})
    assert_allclose(weights(module, x=torch.ones(1, 8, dtype=torch.float32))[0].bias_std, 2.0)
