"""What gives fewer entries without weights: an average, divided out or named, or a choice, which is neither."""

import re

import pytest
import torch
from torch import nn

from empirical.diagnose import diagnose
from tests.modules import growth


@pytest.fixture(autouse=True)
def random_state():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield


class Through(nn.Module):
    """Layers with something between them that gives fewer entries, and has no weights."""

    def __init__(self, between, depth=8):
        super().__init__()
        self.layers, self.between = nn.ModuleList(nn.Linear(24, 48) for _ in range(depth)), between

    def forward(self, x):
        for layer in self.layers:
            x = self.between(layer(x))
        return x


def gated(h):
    a, b = h.chunk(2, 1)
    return a * torch.sigmoid(b)


PICKS = {
    "glu": nn.functional.glu, "chunk and gate": gated, "largest of pairs": lambda h: h.unflatten(1, (24, 2)).amax(2),
    "cropped": lambda h: nn.functional.pad(h, (-12, -12)), "half": lambda h: torch.tanh(h[:, :24]),
}


@pytest.mark.parametrize("name", PICKS)
def test_what_picks_or_gates_is_no_average_and_hides_no_vanishing_gradient(name):
    """It was "the module averages over places", and a growth of 1.7e-13 was not said."""
    found = diagnose(Through(PICKS[name]), 24)
    assert found.anatomy.averaging == 1
    assert found.anatomy.averager == ""
    (line,) = growth(found)
    assert line.startswith("squared gradients shrink by a factor of ")
    assert "over 8 layers" in line or name == "chunk and gate"
    assert "average" not in line


class AttentionPool(nn.Module):
    """A mean over places with weights of the signal's own."""

    def __init__(self):
        super().__init__()
        self.score, self.head = nn.Linear(8, 1), nn.Linear(8, 4)

    def forward(self, x):
        weights = self.score(x).softmax(1)
        return self.head((weights * x).sum(1))


def test_an_average_that_is_not_known_is_named_with_its_line():
    found = diagnose(AttentionPool(), (10, 8))
    assert found.anatomy.averaging is None
    assert re.fullmatch(r"softmax in softmax \(.*test_averages.py:\d+: weights = self.score\(x\).softmax\(1\)\)",
                        found.anatomy.averager)
    assert not growth(found)


class Asked(nn.Module):
    """The same by torch's own attention, with a query that is learned."""

    def __init__(self):
        super().__init__()
        self.query, self.attention = nn.Parameter(torch.randn(1, 1, 8)), nn.MultiheadAttention(8, 2, batch_first=True)

    def forward(self, x):
        return self.attention(self.query.expand(len(x), -1, -1), x, x, need_weights=False)[0][:, 0]


class Pooled(nn.Module):
    """A transformer that normalizes last, over tokens."""

    def __init__(self, pool):
        super().__init__()
        layer = nn.TransformerEncoderLayer(16, 2, 32, dropout=0.0, batch_first=True)
        self.encoder, self.head = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False), nn.Linear(16, 16)
        self.pool = pool

    def forward(self, x):
        return self.head(self.pool(self.encoder(x)))


@pytest.mark.filterwarnings("ignore:enable_nested_tensor")
def test_tokens_are_averaged_or_picked():
    """A mean of what was normalized is nothing, to rounding, and was no linear function of it."""
    for seed in range(3):
        torch.manual_seed(seed)
        found = diagnose(Pooled(lambda x: x.mean(1)), (6, 16))
        assert found.anatomy.averaging == pytest.approx(1 / 6, rel=1e-5)
        assert not growth(found)
    picked = diagnose(Pooled(lambda x: x[:, 0]), (6, 16))
    assert (picked.anatomy.averaging, picked.anatomy.rank, picked.anatomy.removed) == (1, 16, 0)
    assert picked.numbers.spread > 0
    asked = diagnose(Asked(), (6, 8)).anatomy
    assert asked.averaging is None
    assert asked.averager.startswith("scaled_dot_product_attention in ")


class Small(nn.Module):
    """A mean, and a factor that is none."""

    def __init__(self, factor):
        super().__init__()
        self.layer, self.factor, self.head = nn.Linear(8, 8), factor, nn.Linear(8, 8)

    def forward(self, x):
        return self.head((torch.tanh(self.layer(x)) * self.factor).mean(1))


@pytest.mark.parametrize("factor", [0.01, nn.Parameter(torch.tensor(0.01))], ids=["a number", "a parameter"])
def test_a_factor_beside_an_average_is_no_average(factor):
    found = diagnose(Small(factor), (6, 8))
    assert found.anatomy.averaging == pytest.approx(1 / 6, rel=1e-5)
    (line,) = growth(found)
    assert "what averages over places do (0.167)" in line
    assert float(re.search(r"by a factor of (\S+)", line)[1]) == pytest.approx(
        found.summary["gradient_growth"] * 6, rel=0.01)


class Beside(nn.Module):
    """Two layers side by side, one of which autograd does not see."""

    def __init__(self):
        super().__init__()
        self.seen, self.unseen, self.last = nn.Linear(20, 20), nn.Linear(20, 20), nn.Linear(40, 20)

    def forward(self, x):
        with torch.no_grad():
            hidden = torch.tanh(self.unseen(x))
        return self.last(torch.cat([torch.tanh(self.seen(x)), hidden], 1))


def test_a_layer_without_gradients_beside_a_living_path_is_named():
    found = diagnose(Beside(), 20)
    assert found.anatomy.unreached == ("unseen",)
    assert found.advice[0].startswith("at the inputs drawn no gradient reaches unseen: ")
