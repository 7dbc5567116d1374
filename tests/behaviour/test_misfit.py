"""A model that does not run on what is given: the line of its own file, the submodule, the option that it lacks."""

import pytest
import torch
from click.testing import CliRunner
from torch import nn

from empirical.misfit import misfit
from figures.cli import cli

MODEL = '''import torch
from torch import nn

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3)
        self.head = nn.Linear(8 * 14 * 14, 10)

    def forward(self, x):
        x = torch.relu(self.conv(x))
        x = x.flatten(1)
        return self.head(x)

class Sum(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(12, 7), nn.Linear(12, 8)

    def forward(self, x):
        left, right = self.a(x), self.b(x)
        return left + right

class Two(nn.Module):
    def forward(self, x, y):
        return x + y

class GPT(nn.Module):
    def __init__(self):
        super().__init__()
        self.token, self.place = nn.Embedding(50, 16), nn.Embedding(8, 16)
        self.block = nn.Sequential(nn.LayerNorm(16), nn.Linear(16, 16))
        self.head = nn.Linear(16, 50)

    def forward(self, index):
        x = self.token(index) + self.place(torch.arange(index.shape[1]))
        return self.head(self.block(x))

class Lookup(nn.Module):
    def __init__(self):
        super().__init__()
        self.table, self.head = nn.Parameter(torch.randn(50, 16)), nn.Linear(16, 5)

    def forward(self, index):
        return self.head(self.table[index])

class OneHot(nn.Module):
    def __init__(self):
        super().__init__()
        self.head = nn.Linear(50, 5)

    def forward(self, index):
        return self.head(nn.functional.one_hot(index, 50).float())

def sequential():
    return nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(100, 10))
'''


@pytest.fixture
def advise(tmp_path):
    """A function that runs `rmt advise` on a model of the file above and returns the one line of its error."""
    file = tmp_path / "mine.py"
    file.write_text(MODEL)

    def run(name, *arguments):
        result = CliRunner().invoke(cli, ["advise", f"{file}:{name}", *arguments])
        assert (result.exit_code, result.stdout) == (2, ""), result.output
        assert result.stderr.count("\n") == 1
        assert str(file) in result.stderr
        return result.stderr

    return run


@pytest.mark.parametrize(("name", "shape", "line", "says"), [
    ("Net", "3,20,20", "return self.head(x)",
     "in head: Linear(in_features=1568, out_features=10, bias=True) of"),
    ("Net", "1,16,16", "x = torch.relu(self.conv(x))", "in conv: Conv2d"),
    ("Sum", "12", "return left + right", "size of"),
    ("Sum", "13", "left, right = self.a(x), self.b(x)", "in a: Linear"), ("Two", "4", "", "missing 1 required"),
    ("sequential", "3,16,16", "nn.Flatten(), nn.Linear(100, 10))", "in 3: Linear"),
])
def test_a_wrong_shape_names_the_line_and_the_submodule(name, shape, line, says, advise):
    said = advise(name, "--input", shape)
    assert "does not fit the module" in said
    assert says in said
    if line:
        number = MODEL.splitlines().index(next(text for text in MODEL.splitlines() if text.endswith(line))) + 1
        assert f"mine.py:{number}: " in said
        assert line in said


@pytest.mark.parametrize(("name", "count", "behind"), [("GPT", "50", "block"), ("Lookup", "N", "head"),
                                                       ("OneHot", "N", "head")])
def test_a_model_of_whole_numbers_names_tokens_and_what_is_behind_the_embedding(name, count, behind, advise):
    said = advise(name, "--input", "8")
    assert f"--tokens {count}" in said
    assert f"--between {behind}," in said
    assert f"--between {behind}," in advise(name, "--input", "8", "--tokens", "50")


def test_what_it_advises_is_accepted(tmp_path):
    (tmp_path / "mine.py").write_text(MODEL)
    command = ["advise", f"{tmp_path / 'mine.py'}:GPT", "--input", "8", "--tokens", "50", "--between", "block,"]
    assert CliRunner().invoke(cli, command).exit_code == 0


def test_tokens_that_the_embedding_lacks_and_places_that_it_lacks_are_told_apart(advise):
    many = advise("GPT", "--input", "8", "--tokens", "500", "--between", "block,")
    assert "tokens must be at most 50, got 500" in many
    said = advise("GPT", "--input", "9", "--tokens", "50", "--between", "block,")
    assert "in place: Embedding(8, 16)" in said
    assert "tokens must be" not in said


def test_a_module_that_runs_has_no_misfit_and_is_left_as_it_was():
    module = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3), nn.Dropout(0.5)).train()
    before, state = {key: value.clone() for key, value in module.state_dict().items()}, torch.get_rng_state()
    assert misfit(module, (3,)) is None
    assert misfit(module, (4,)).reason.startswith("an input of shape (4,) does not fit the module: ")
    assert all(torch.equal(value, before[key]) for key, value in module.state_dict().items())
    assert all(part.training for part in module.modules())
    assert torch.equal(torch.get_rng_state(), state)
    assert not any(part._forward_hooks or part._forward_pre_hooks for part in module.modules())
