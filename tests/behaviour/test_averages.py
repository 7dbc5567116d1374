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
