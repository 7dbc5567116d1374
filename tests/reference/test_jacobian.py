"""Jacobians of modules as people write them, against torch's plain autograd."""

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from torch import nn

from empirical import batch_jacobian, build, jacobian
from rmt import mlp


def plain(function, x):
    return torch.autograd.functional.jacobian(function, x)


def inputs(*shape, seed=0):
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def close(got, wanted):
    torch.testing.assert_close(got, wanted, rtol=1e-12, atol=1e-12)


def per_sample(function, x):
    return torch.stack([plain(lambda s: function(s)[0].flatten(), row[None]).flatten(1) for row in x])


NET = build(mlp([4, 6, 5, 3], "tanh"), 0)


@pytest.mark.parametrize(("between", "start", "stop"), [
    (("2", "4"), 2, 5), ((None, "3"), 0, 4), (("3", None), 3, 6), (("1", "1"), 1, 2), ((None, None), 0, 6)])
def test_between_two_submodules(between, start, stop):
    x = inputs(3, 4)
    close(jacobian(NET, x, between=between), per_sample(NET[start:stop], NET[:start](x).detach()))
    assert not any(part._forward_hooks or part._forward_pre_hooks for part in NET.modules())


class Twice(nn.Module):
    """Runs one submodule twice and another never."""

    def __init__(self):
        super().__init__()
        self.again, self.never = nn.Linear(3, 3), nn.Linear(3, 3)

    def forward(self, x):
        return self.again(self.again(x))


@pytest.mark.parametrize(("between", "says"), [
    (("agian", None), "did you mean 'again'"), (("again", None), "'again' runs 2 times"),
    ((None, "never"), "'never' runs 0 times"), ("again", "pair"), ((None,), "pair")])
def test_between_is_checked(between, says):
    module = Twice().double()
    with pytest.raises(ValueError, match=says):
        jacobian(module, inputs(2, 3), between=between)
    assert not module.again._forward_pre_hooks


@dataclass
class Output:
    """Of a module."""

    logits: torch.Tensor
    rest: str = ""


class Many(nn.Module):
    """Returns more than a tensor."""

    def __init__(self, wrap):
        super().__init__()
        self.inner, self.wrap = nn.Linear(3, 2), wrap

    def forward(self, x):
        return self.wrap(self.inner(x))


@pytest.mark.parametrize(("wrap", "output"), [
    (lambda y: {"logits": y, "more": 1}, "logits"), (lambda y: ("first", y), 1), (Output, "logits")])
def test_one_output_of_many_is_picked(wrap, output):
    module, x = Many(wrap).double(), inputs(2, 3)
    close(jacobian(module, x, output=output), module.inner.weight.detach().expand(2, 2, 3))
    with pytest.raises(ValueError, match="say with output="):
        jacobian(module, x)
    with pytest.raises(ValueError, match="is not in what the module returns"):
        jacobian(module, x, output="nothing")


def test_a_batch_normalization_in_training_mode_is_of_the_whole_batch():
    """Every channel projects out the mean and the batch's own direction: two zeros a channel."""
    module, x = nn.Sequential(nn.Linear(4, 5), nn.BatchNorm1d(5)).double().train(), inputs(6, 4)
    with pytest.raises(ValueError, match="batch_jacobian"):
        jacobian(module, x)
    before = {name: value.clone() for name, value in module.state_dict().items()}
    got = batch_jacobian(module, x)
    assert got.shape == (30, 24)
    twin = nn.Sequential(nn.Linear(4, 5), nn.BatchNorm1d(5)).double().train()
    twin.load_state_dict(before)
    close(got, plain(twin, x).reshape(30, 24).detach())
    alone = batch_jacobian(module[1], inputs(6, 5))
    assert int(torch.linalg.matrix_rank(alone, atol=1e-4)) == 5 * (6 - 2)
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())
    assert module.training


def test_independent_samples_are_blocks_of_the_whole_batch():
    x = inputs(3, 4)
    close(batch_jacobian(NET, x), torch.block_diag(*jacobian(NET, x)))


@pytest.mark.parametrize("memory", [2200, 4000, 9000, 10**9])
def test_whatever_the_memory_the_same_rows(memory):
    x = inputs(5, 6)
    module = build(mlp([6, 20, 8], "tanh"), 0)
    torch.testing.assert_close(jacobian(module, x, memory=memory), jacobian(module, x), rtol=0, atol=1e-15)


def test_a_jacobian_that_does_not_fit_is_refused_before_it_is_made():
    with pytest.raises(MemoryError, match=r"5 samples, 8 x 6, takes 1.92e\+03 bytes of 1e\+03"):
        jacobian(build(mlp([6, 8]), 0), inputs(5, 6), memory=1000)
    with pytest.raises(MemoryError, match=r"takes 1\.6e"):
        jacobian(nn.Identity(), torch.zeros(2, 1_000_000, dtype=torch.float64) + 1)


class Recurrent(nn.Module):
    """The last state of a GRU."""

    def __init__(self):
        super().__init__()
        self.gru = nn.GRU(3, 4, batch_first=True)

    def forward(self, x):
        return self.gru(x)[1][0]


def test_what_torch_cannot_batch_goes_sample_by_sample():
    module, x = Recurrent().double(), inputs(2, 5, 3)
    close(jacobian(module, x), per_sample(module, x))


def test_full_precision_is_kept_where_it_was_switched_off():
    module, x = build(mlp([8, 8, 8], "tanh", "gaussian"), 0, dtype="float32"), inputs(2, 8).float()
    exact = jacobian(module, x)
    torch.backends.cudnn.allow_tf32, before = True, torch.backends.cudnn.allow_tf32
    try:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            assert torch.equal(jacobian(module, x), exact)
        assert torch.backends.cudnn.allow_tf32
    finally:
        torch.backends.cudnn.allow_tf32 = before


def test_tokens_are_measured_from_the_embedding_on():
    module = nn.Sequential(nn.Embedding(7, 3), nn.Flatten(), nn.Linear(6, 2), nn.Tanh()).double()
    tokens = torch.tensor([[1, 2], [6, 0]])
    with pytest.raises(ValueError, match=r"int64; from an embedding on, say between="):
        jacobian(module, tokens)
    close(jacobian(module, tokens, between=("1", None)), per_sample(module[1:], module[0](tokens).detach()))


def broken(kind):
    module = build(mlp([4, 6, 3], "tanh"), 0)
    if kind == "weight":
        module[2].weight.data[0, 0] = np.nan
    if kind == "half":
        module.half()
    if kind == "complex":
        module[0].weight = nn.Parameter(torch.ones(6, 4, dtype=torch.complex128))
    if kind == "lazy":
        module = nn.Sequential(nn.LazyLinear(3))
    return module


@pytest.mark.parametrize(("kind", "says"), [
    ("weight", "2.weight has NaN or inf"), ("half", "0.weight is of half"), ("complex", "0.weight is complex"),
    ("lazy", "0.weight has no shape yet")])
def test_a_module_without_a_jacobian_is_refused_by_name(kind, says):
    with pytest.raises(ValueError, match=says):
        jacobian(broken(kind), inputs(2, 4))


class Overflowing(nn.Module):
    """Its second layer leaves the range of a float."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(4, 4), nn.Linear(4, 4)
        self.first.weight.data.fill_(1e30)
        self.second.weight.data.fill_(1e30)

    def forward(self, x):
        return torch.square(self.second(self.first(x)))


def test_an_activation_that_overflows_is_named():
    with pytest.raises(ValueError, match="the output of second is not"):
        jacobian(Overflowing(), inputs(2, 4).float().abs() + 1)
