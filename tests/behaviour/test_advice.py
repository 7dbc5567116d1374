"""Advice is a claim: it is of the part that is measured, it was tried on a copy, and what is broken comes first."""

import math
import re

import pytest
import torch
from torch import nn

from empirical.advice import changed
from empirical.diagnose import diagnose
from rmt import ConvergenceError
from tests.modules import growth


@pytest.fixture(autouse=True)
def random_state():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield


def dense(width, depth, activation, sigma_w, last=None):
    layers = []
    for i in range(depth):
        linear = nn.Linear(width, last if last and i == depth - 1 else width, bias=False)
        nn.init.normal_(linear.weight, std=sigma_w / width**0.5)
        layers += [linear, activation()]
    return nn.Sequential(*(layers[:-1] if last else layers))


def test_layers_are_those_of_the_measured_part():
    """The whole has 12 layers, the part 4."""
    module = dense(40, 12, nn.Tanh, 0.4)
    assert "over 12 layers" in growth(diagnose(module, 40))[0]
    (line,) = growth(diagnose(module, 40, between=("8", "15")))
    assert "over 4 layers" in line
    assert "times as large" not in line
    assert "critical" not in line


class Recurrent(nn.Module):
    def __init__(self, kind):
        super().__init__()
        self.cell, self.head = kind(8, 24, batch_first=True), nn.Linear(24, 5)

    def forward(self, x):
        return self.head(self.cell(x)[0][:, -1])


class Parameters(nn.Module):
    """A layer whose weight is a parameter of its own, and a scale that nobody knows."""

    def __init__(self):
        super().__init__()
        self.weight, self.head = nn.Parameter(torch.randn(30, 30) / 30), nn.Linear(30, 30)

    def forward(self, x):
        return self.head(torch.einsum("oi,bi->bo", self.weight, torch.sinh(x)))


@pytest.mark.parametrize(("make", "shape"), [
    (lambda: Recurrent(nn.LSTM), (20, 8)), (lambda: Recurrent(nn.GRU), (20, 8)), (Parameters, (30,)),
    (lambda: nn.Sequential(nn.Conv2d(3, 8, 3), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(72, 10)), (3, 8, 8))],
    ids=["LSTM", "GRU", "parameters", "max pooling"])
def test_an_obstacle_ends_advice_with_numbers_of_what_to_do(make, shape):
    found = diagnose(make(), shape)
    assert found.obstacle
    for line in found.advice:
        assert not re.search(r"times as large|critical|orthogonal", line)
    if not isinstance(shape, int) and len(shape) == 2:
        assert not any("layers of weights" in line for line in found.advice)


class Pooled(nn.Module):
    def __init__(self, module):
        super().__init__()
        self.module = module

    def forward(self, x):
        return self.module(x).mean(1)


@pytest.mark.parametrize("pool", [
    lambda: (Pooled(nn.Linear(12, 12)), (64, 12)),
    lambda: (nn.Sequential(nn.Conv2d(3, 12, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten()), (3, 8, 8)),
    lambda: (nn.Sequential(nn.Conv2d(3, 12, 1), nn.AvgPool2d(4), nn.AvgPool2d(2), nn.Flatten()), (3, 8, 8))],
    ids=["mean of tokens", "adaptive", "twice"])
def test_what_an_average_does_alone_is_no_vanishing_gradient(pool):
    module, shape = pool()
    for layer in module.modules():
        if isinstance(layer, nn.Linear | nn.Conv2d):
            nn.init.orthogonal_(layer.weight)
    found = diagnose(module, shape)
    assert found.anatomy.averaging == pytest.approx(1 / 64, rel=1e-6)
    assert found.summary["gradient_growth"] < 0.05
    assert not growth(found)


class Guarded(nn.Module):
    """Averages over tokens, and cannot be read; or normalizes by hand."""

    def __init__(self, kept):
        super().__init__()
        self.linear, self.kept = nn.Linear(12, 12), kept

    def forward(self, x):
        if x.sum().item() > 1e9:
            raise ValueError("too large")
        return self.linear(x) - x.mean(1, keepdim=True) if self.kept else self.linear(x).mean(1)


def test_an_average_that_is_not_read_ends_what_is_said_of_growth():
    found = diagnose(Guarded(False), (64, 12))
    assert found.anatomy.averaging is None
    assert re.fullmatch(r"mean \(.*test_advice.py:\d+: return .*\)", found.anatomy.averager)
    assert not growth(found)
    assert diagnose(Guarded(True), (64, 12)).anatomy.averaging == 1


def test_an_average_inside_a_normalization_of_ones_own_is_none():
    class Own(nn.Module):
        def forward(self, x):
            return (x - x.mean(1, keepdim=True)) / x.std(1, keepdim=True)

    assert diagnose(nn.Sequential(nn.Linear(30, 30), Own(), nn.Linear(30, 30)), 30).anatomy.averaging == 1


@pytest.mark.parametrize("activation", [nn.GELU, nn.SiLU])
@pytest.mark.parametrize("depth", [4, 20])
def test_a_critical_point_that_signals_leave_is_not_offered(activation, depth):
    (line,) = growth(diagnose(dense(60, depth, activation, 0.5), 60))
    assert "critical" not in line


@pytest.mark.parametrize(("activation", "sigma_w"), [(nn.ReLU, 0.7), (nn.Tanh, 0.6), (nn.ReLU, 2.4),
                                                     (nn.Identity, 0.8)])
def test_what_is_advised_holds_when_it_is_done(activation, sigma_w):
    module = dense(60, 15, activation, sigma_w)
    (line,) = growth(diagnose(module, 60))
    claimed = float(re.search(r"that factor is ([\d.e+-]+), measured", line)[1])
    found = re.search(r"weights ([\d.]+) times", line)
    rows = {row.name: row.sigma_w for row in diagnose(module, 60).weights}
    if found:
        done = changed(module, lambda name, weight: float(found[1]) * weight)
        assert 0.25 <= float(found[1]) <= 4
    else:
        to = float(re.search(r"critical at sigma_w = ([\d.]+)", line)[1])
        done = changed(module, lambda name, weight: to / rows[name] * weight)
    assert diagnose(done, 60).summary["gradient_growth"] == pytest.approx(claimed, rel=0.05)
    assert abs(math.log(claimed)) < 4


def test_no_weights_are_advised_to_change_by_more_than_four_times():
    (line,) = growth(diagnose(dense(60, 6, nn.Tanh, 0.05), 60))
    assert "with" not in line


def test_orthogonal_weights_are_advised_where_they_help_and_where_they_were_tried():
    (line,) = [line for line in diagnose(dense(60, 20, nn.Identity, 1.0), 60).advice if "deviation" in line]
    assert "orthogonal weights of the same size" in line
    module = dense(60, 20, nn.Identity, 1.0)
    for layer in module[::2]:
        nn.init.orthogonal_(layer.weight)
    assert diagnose(module, 60).advice == ()


NARROW = {
    "ten logits": (lambda: nn.Sequential(nn.Linear(64, 64), nn.Linear(64, 10)), 64),
    "bottleneck": (lambda: nn.Sequential(nn.Linear(64, 6), nn.Tanh(), nn.Linear(6, 64)), 64),
    "layer norm": (lambda: nn.Sequential(nn.Linear(20, 20), nn.LayerNorm(20), nn.Linear(20, 20)), 20),
    "softmax": (lambda: nn.Sequential(nn.Linear(30, 30), nn.Softmax(1), nn.Linear(30, 30)), 30),
    "group norm": (lambda: nn.Sequential(nn.Conv2d(8, 8, 1), nn.GroupNorm(4, 8), nn.Conv2d(8, 8, 1)), (8, 2, 2)),
}


@pytest.mark.parametrize("name", NARROW)
def test_what_the_shape_takes_is_not_lost(name):
    make, shape = NARROW[name]
    found = diagnose(make(), shape)
    assert found.summary["mass_at_zero"] > 0
    assert not any("do not reach" in line for line in found.advice)


def test_what_dead_units_take_is():
    module = nn.Sequential(nn.Linear(60, 60), nn.ReLU(), nn.Linear(60, 60))
    (line,) = [line for line in diagnose(module, 60).advice if "do not reach" in line]
    assert float(line.split(" %")[0]) == pytest.approx(50, abs=15)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second, self.third = nn.Linear(20, 20), nn.Linear(20, 20), nn.Linear(20, 20)

    def forward(self, x):
        return self.third(torch.relu(self.second(torch.relu(self.first(x)))))


class Detached(Net):
    def forward(self, x):
        return self.third(torch.relu(self.second(torch.relu(self.first(x).detach()))))


def all_zero():
    module = Net()
    nn.init.zeros_(module.second.weight)
    return module


def dead():
    module = Net()
    nn.init.constant_(module.second.bias, -100.0)
    return module


class ZeroInit(Net):
    def forward(self, x):
        return x + self.third(torch.tanh(self.first(x)))


def zero_init():
    module = ZeroInit()
    nn.init.zeros_(module.third.weight)
    return module


@pytest.mark.parametrize(("make", "says", "alone"), [
    (all_zero, "second is all zero", True), (dead, "no gradient passes what is behind second", True),
    (Detached, "the signal is detached behind first", True), (zero_init, "third is all zero", False)])
def test_what_is_broken_is_named_first_as_what_it_is(make, says, alone):
    found = diagnose(make(), 20)
    assert says in found.advice[0]
    assert alone == (found.summary["mass_at_zero"] == 1)
    if alone:
        assert len(found.advice) == 1


class Two(Net):
    """Two branches, of which one may be off or detached."""

    def __init__(self, detached):
        super().__init__()
        self.detached = detached

    def forward(self, x):
        h = self.first(x).detach() if self.detached else self.first(x)
        return x + self.second(torch.relu(h))


@pytest.mark.parametrize("detached", [False, True])
def test_a_branch_that_no_gradient_reaches_is_named(detached):
    module = Two(detached)
    if not detached:
        nn.init.constant_(module.first.bias, -100.0)
    assert diagnose(module, 20).advice[0].startswith("at the inputs drawn no gradient reaches first")


def test_a_branch_that_begins_at_zero_blocks_nothing_before_it():
    block = zero_init()
    (line,) = diagnose(nn.Sequential(nn.Linear(20, 20), block), 20).advice[:1]
    assert "adds nothing yet" in line
    assert "no gradient" not in line


class Summed(nn.Module):
    def __init__(self, how):
        super().__init__()
        self.how = how
        self.register_buffer("fixed", torch.full((64, 1), 1 / 64))

    def forward(self, x):
        x = x.flatten(2)
        return {"sum": lambda: x.sum(2) / 8 / 8, "matmul": lambda: (x @ self.fixed)[..., 0],
                "einsum": lambda: torch.einsum("bcp->bc", x) / 64, "logsumexp": lambda: x.logsumexp(2)}[self.how]()


@pytest.mark.parametrize("how", ["sum", "matmul", "einsum", "logsumexp"])
def test_an_average_by_any_other_name(how):
    module = nn.Sequential(nn.Conv2d(3, 12, 1), Summed(how), nn.Linear(12, 12))
    for layer in (module[0], module[2]):
        nn.init.orthogonal_(layer.weight)
    found = diagnose(module, (3, 8, 8))
    assert found.anatomy.averaging == (None if how == "logsumexp" else pytest.approx(1 / 64, rel=1e-5))
    assert not growth(found)


class Branches(nn.Module):
    def __init__(self):
        super().__init__()
        self.short = nn.Linear(20, 20)
        self.long = nn.Sequential(nn.Linear(20, 20), nn.Tanh(), nn.Linear(20, 20), nn.Tanh(), nn.Linear(20, 20))

    def forward(self, x):
        return 1e-3 * (self.short(x) + self.long(x))


def test_layers_are_those_of_the_longest_way():
    found = diagnose(nn.Sequential(nn.Linear(20, 20), Branches()), 20)
    assert found.anatomy.depth == 4
    assert "over 4 layers" in growth(found)[0]


def test_values_that_a_normalization_takes_to_its_eps_are_no_spread():
    module = nn.Sequential(nn.Linear(30, 30), nn.LayerNorm(30, eps=1e-12), nn.Linear(30, 30))
    for layer in module[::2]:
        nn.init.orthogonal_(layer.weight)
    found = diagnose(module, 30)
    assert found.numbers.spread < 0.5
    assert not found.advice


def test_a_law_that_is_not_found_is_an_obstacle(monkeypatch):
    def fails(*_):
        raise ConvergenceError("no root")

    monkeypatch.setattr("empirical.diagnose.compare", fails)
    found = diagnose(Net(), 20)
    assert (found.prediction, found.predicted, found.agreement) == (None, None, None)
    assert "the law is not found: no root" in found.obstacle
    assert found.summary["log_largest_s"] < 0


@pytest.mark.parametrize("make", [lambda: torch.jit.script(nn.Sequential(nn.Linear(8, 8), nn.Tanh())),
                                  lambda: nn.Sequential(torch.jit.script(nn.Linear(8, 8)), nn.Linear(8, 8))])
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_scripted_modules_have_a_diagnosis(make):
    assert diagnose(make(), 8).summary["log_largest_s"] < 1


class Asserted(nn.Module):
    """Read by torch.export alone, with casts, of which it keeps assertions."""

    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(32, 32), nn.Linear(32, 32)

    def forward(self, x):
        y = self.a(x)
        for _ in range(int(x.shape[1]) // 8):
            y = torch.relu(y.to(torch.float32))
        return self.b(y.to(x.dtype))


def test_a_module_that_casts_and_is_exported_is_read_or_an_obstacle():
    found = diagnose(Asserted(), 32)
    assert found.summary["log_largest_s"] < 1
    assert found.prediction is not None or "Asserted" in found.obstacle or "no layer" in found.obstacle
