"""Weights that the forward computes, or takes in another way: shown as they acted, or not at all."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from empirical import describe, weights
from empirical.diagnose import diagnose


@pytest.fixture(autouse=True)
def random_state():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(8)
        yield



class Acts(nn.Module):
    """Two parameters and a function of them and the input."""

    def __init__(self, act):
        super().__init__()
        self.w, self.v = (nn.Parameter(torch.randn(40, 40)) for _ in range(2))
        self.stack, self.act = nn.Parameter(torch.randn(3, 40, 40)), act

    def forward(self, x):
        return self.act(self, x)


class FromNumpy(nn.Linear):
    """A layer whose weight leaves torch on its way."""

    def forward(self, x):
        return F.linear(x, torch.from_numpy(self.weight.detach().numpy() * 4), self.bias)


def stacked(own, x):
    for w in own.stack:
        x = torch.tanh(x @ (w / 2))
    return x


def filled(h):
    found = torch.zeros(len(h), 40)
    found[:, :20] = h[:, :20]
    found[:, 20:].copy_(h[:, 20:])
    return found


ACTS = {  # times that the stored weight is, by name
    "addmm": (lambda own, x: torch.addmm(torch.zeros(40), x, own.w, alpha=3.0), {"w": 3}),
    "addmv": (lambda own, x: torch.addmv(torch.zeros(40), own.w * 2, x[0], alpha=3.0, beta=2.0), {"w": 6}),
    "tensordot": (lambda own, x: torch.tensordot(x, own.w * 2, 1), {"w": 2}),
    "tensordot of axes": (lambda own, x: torch.tensordot(own.w * 2, x, ([1], [1])).T, {"w": 2}),
    "multi_dot": (lambda own, x: torch.linalg.multi_dot([x, own.w * 4, own.v]), {"w": 4, "v": 1}),
    "linalg.matmul": (lambda own, x: torch.linalg.matmul(x, own.w * 4), {"w": 4}),
    "a stack": (stacked, {"stack": 0.5, "stack (2)": 0.5, "stack (3)": 0.5}),
    "stored, in another function": (lambda own, x: (x[:, None, :] * own.w).sum(-1), {"w": 1}),
    "computed, for another function": (lambda own, x: (x[:, None, :] * (own.w * 4)).sum(-1), {}),
    "computed, for distances": (lambda own, x: torch.cdist(x, own.w * 4), {}),
    "two signals": (lambda own, x: F.bilinear(x, x, own.stack * 2), {}),
    "modulated by the signal": (lambda own, x: F.linear(x, own.w * (10 + 0 * x.mean())) @ own.v, {"v": 1}),
    "modulated, shifted": (lambda own, x: F.linear(x, own.w + 10 * x.std()), {}),
    "modulated, einsum": (lambda own, x: torch.einsum("bi,boi->bo", x, own.w * (10 + 0 * x[:, None])), {}),
    "by keyword": (lambda own, x: torch.matmul(x, other=own.w * 3), {"w": 3}),
    "by keywords": (lambda own, x: torch.addmm(input=torch.zeros(40), mat1=x, mat2=own.w * 3), {"w": 3}),
    "einsum without a result": (lambda own, x: torch.einsum("bi,ij", x, own.w * 3), {"w": 3}),
    "in place": (lambda own, x: torch.zeros(len(x), 40).add_(x @ own.w) @ own.v, {"w": 1, "v": 1}),
    "put into zeros": (lambda own, x: filled(x @ own.w) @ own.v, {"w": 1, "v": 1}),
    "out=": (lambda own, x: torch.mul(x.detach(), 2, out=torch.zeros(len(x), 40)) @ own.v, {"v": 1}),
    "as values": (lambda own, x: torch.tensor(x.tolist()) @ own.v, {"v": 1}),
    "added to the signal": (lambda own, x: torch.tanh(x + own.w[:2]) @ own.v, {"w": 1, "v": 1}),
    "complex": (lambda own, x: (x.to(torch.complex64) @ torch.complex(own.w, own.v)).abs(), {}),
    "on constants alone": (lambda own, x: x + F.linear(torch.ones(1, 40), own.w), {}),
}


@pytest.mark.parametrize("name", ACTS)
def test_the_weight_that_acted_is_shown_or_none(name):
    """The stored one was, where the forward had used another."""
    act, times = ACTS[name]
    found = {row.name: row.sigma_w for row in weights(Acts(act), torch.randn(2, 40))}
    assert found == pytest.approx({key: 40**0.5 * value for key, value in times.items()}, rel=0.06)


def test_weights_behind_numpy_and_in_compiled_code_are_left_out():
    assert weights(FromNumpy(40, 40), torch.randn(2, 40)) == ()
    traced = torch.jit.trace(Acts(lambda own, x: F.linear(x, own.w * 0.1)), torch.randn(2, 40))
    assert weights(traced, torch.randn(2, 40)) == ()


class Cached(nn.Module):
    """Keys that are kept in a buffer are signals, and no weights."""

    def __init__(self):
        super().__init__()
        self.query, self.key = nn.Linear(40, 40), nn.Linear(40, 40)
        self.register_buffer("cache", torch.zeros(8, 6, 40))

    def forward(self, x):
        self.cache[: len(x)] = self.key(x)
        keys = self.cache[: len(x)]
        return torch.softmax(self.query(x) @ keys.mT, -1) @ keys


def test_a_buffer_that_a_signal_was_put_into_is_no_weight():
    assert [row.name for row in weights(Cached(), torch.randn(2, 6, 40))] == ["query", "key"]


class Bayesian(nn.Module):
    def __init__(self):
        super().__init__()
        self.mu, self.rho = nn.Parameter(torch.randn(40, 40)), nn.Parameter(torch.randn(40, 40))

    def forward(self, x):
        return F.linear(x, self.mu + F.softplus(self.rho))


def test_a_weight_of_two_parameters_has_the_name_of_the_first():
    """It was that of the one or the other, by the seed of Python's hashes."""
    assert [row.name for row in weights(Bayesian(), torch.randn(2, 40))] == ["mu"]


class EqualizedRate:
    """As a hook, which makes the weight anew before every forward."""

    def __call__(self, layer, _):
        layer.weight = layer.weight_orig * (2 / layer.in_features) ** 0.5


def test_weights_that_a_hook_of_ones_own_makes_are_read_with_inputs_before_and_after_they_exist():
    """They raised AttributeError before the first forward, and were those of the last one after it."""
    layer = nn.Linear(40, 40)
    del layer._parameters["weight"]
    layer.weight_orig = nn.Parameter(torch.randn(40, 40))
    layer.register_forward_pre_hook(EqualizedRate())
    module, x = nn.Sequential(layer, nn.ReLU(), nn.Linear(40, 40)), torch.randn(2, 40)
    for _ in range(2):
        layer.weight_orig.data.mul_(2)
        size = float(layer.weight_orig.detach().square().mean().sqrt())
        assert [row.sigma_w for row in weights(module, x)] == pytest.approx([2**0.5 * size, 3**-0.5], rel=0.05)
        with pytest.raises(ValueError, match=r"^0: the weight is made by a hook at every forward: with inputs"):
            weights(module)
        module(x)
    found = diagnose(module, 40)
    assert [row.name for row in found.weights] == ["0", "2"]


class WeightDrop(nn.Module):
    """As in AWD-LSTM: the matrix of a recurrent layer is made anew at every forward."""

    def __init__(self):
        super().__init__()
        self.inner = nn.LSTM(6, 8, batch_first=True)
        raw = self.inner.weight_hh_l0
        del self.inner._parameters["weight_hh_l0"]
        self.inner.register_parameter("weight_hh_l0_raw", nn.Parameter(raw.data))

    def forward(self, x):
        self.inner.weight_hh_l0 = F.dropout(self.inner.weight_hh_l0_raw, 0.5, self.training)
        return self.inner(x)[0]


def test_a_dropped_recurrent_matrix():
    module, x = WeightDrop(), torch.randn(2, 5, 6)
    for rows in (weights(module), weights(module, x), diagnose(module, (5, 6)).weights):
        assert {row.name for row in rows} >= {"inner.weight_ih_l0"}
        assert all(row.sigma_w == pytest.approx(8**-0.5 / 3**0.5 * row.fan_in**0.5, rel=0.15) for row in rows)


class Keywords(nn.Module):
    """A call by the names of torch's arguments."""

    def __init__(self):
        super().__init__()
        self.w = nn.Parameter(torch.randn(40, 40) / 40**0.5)

    def forward(self, x):
        return F.relu(input=F.linear(input=x, weight=self.w * 2**0.5))


def test_a_call_by_keywords_is_the_same_layer():
    assert str(describe(Keywords(), 40)) == "40-40, kaiming_normal, relu"
