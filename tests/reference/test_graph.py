"""Modules with a forward of their own: read as stages, and their values right at any condition number."""

import math
import re
import warnings
from dataclasses import dataclass

import mpmath
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from numpy.testing import assert_allclose
from torch import nn

import empirical
from empirical import jacobian, log_singular_values
from empirical.graph import Stage, Sum, Untraceable
from empirical.singular_values import measured
from empirical.stages import factors
from empirical.trace import traced


def inputs(*shape, seed=0):
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def seeded(make, seed=0):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return make().double().eval()


class Block(nn.Module):
    def __init__(self, width, activation=F.relu):
        super().__init__()
        self.first, self.second, self.activation = nn.Linear(width, width), nn.Linear(width, width), activation

    def forward(self, x):
        batch, width = x.shape
        y = self.second(self.activation(self.first(x))).view(batch, width)
        return x + 0.5 * y


class ResidualMLP(nn.Module):
    def __init__(self, width, depth, activation=F.relu):
        super().__init__()
        self.blocks = nn.ModuleList([Block(width, activation) for _ in range(depth)])
        self.narrow = nn.Parameter(torch.logspace(0, -2, width))

    def forward(self, x):
        for block in self.blocks:
            x = self.narrow * block(x)
        return x


def exact(module, x, digits=200):
    """Return ln s of a ResidualMLP with tanh at one input, by multiplying it out in many digits."""
    with mpmath.workdps(digits):
        n = len(x)
        product = mpmath.eye(n)
        for block in module.blocks:
            h = block.first(x)
            slopes = mpmath.diag([1 / mpmath.cosh(u) ** 2 for u in h.tolist()])
            first, second = (mpmath.matrix(layer.weight.tolist()) for layer in (block.first, block.second))
            narrow = mpmath.diag(module.narrow.tolist())
            product = narrow * (mpmath.eye(n) + second * slopes * first / 2) * product
            x = module.narrow * block(x[None])[0]
        return np.array(sorted((float(mpmath.log(s)) for s in mpmath.svd_r(product, compute_uv=False)), reverse=True))


def test_thirty_residual_blocks_with_a_forward_of_their_own_against_200_digits():
    module, x = seeded(lambda: ResidualMLP(8, 30, torch.tanh)), inputs(1, 8)
    with torch.no_grad():
        truth = exact(module, x[0])
    assert np.ptp(truth) > 20 * math.log(10)  # where an SVD of the product sees noise
    assert_allclose(log_singular_values(module, x)[0], truth, rtol=0, atol=1e-9)


def branching(x):
    return torch.sin(x) if x.sum() > 0 else torch.tanh(x)


class Uses(nn.Module):
    """A forward of one's own, over two layers."""

    def __init__(self, forward):
        super().__init__()
        self.a, self.b, self.own = nn.Linear(6, 6), nn.Linear(6, 6), forward
        self.register_buffer("seen", torch.zeros(6))

    def forward(self, x, scale=2.0, mask=None, *, turn=False):
        h = self.own(self, x)
        h = h * scale if mask is None else h * mask
        return h.flip(1) if turn else h


class Several(nn.Module):
    """Ways in which people write forward methods."""

    def __init__(self, kind):
        super().__init__()
        self.kind, self.layer, self.other, self.norm = kind, nn.Linear(6, 6), nn.Linear(6, 6), nn.LayerNorm(6)
        self.weight = nn.Parameter(torch.randn(6, 6) / 2)
        self.gru, self.attention = nn.GRU(6, 6, batch_first=True), nn.MultiheadAttention(6, 2, batch_first=True)

    def forward(self, x):
        match self.kind:
            case "in place":
                y = self.layer(x)
                y += x
                return F.relu(y, inplace=True)
            case "read again":  # the second sum reads what relu_ has written
                y = self.layer(x)
                F.relu_(y)
                return y + x
            case "tied":
                return self.layer(torch.tanh(self.layer(x)))
            case "functional":
                return F.linear(F.gelu(F.layer_norm(x, (6,))), self.weight) @ self.weight
            case "gated":
                return F.silu(self.layer(x)) * self.other(x)
            case "nested sums":
                y = self.layer(x)
                return self.norm(x + torch.tanh(y) + self.other(y + x))
            case "two reads":
                y = torch.sin(self.layer(x))
                return self.other(y) + y
            case "no gradient":
                return self.layer(x) + self.other(x).detach()
            case "slices":
                return torch.cat([self.layer(x)[:, :3], self.other(x).flip(1)[:, 3:]], 1)
            case "transposed":
                return self.layer(x).reshape(-1, 2, 3).transpose(1, 2).reshape(-1, 6) / 3
            case "recurrent":
                return self.gru(x.reshape(-1, 2, 3).repeat(1, 1, 2))[0][:, -1]
            case "attention":
                y = x.reshape(-1, 1, 6).repeat(1, 3, 1) * self.weight[:3]
                return (y + self.attention(y, y, y)[0]).mean(1)
            case "fourier":
                return torch.fft.fft(self.layer(x)).real
            case "shapes":
                return self.layer(x) if x.shape[1] == 6 and len(x) > 0 else x
            case "branching":
                return branching(self.layer(x))
        raise AssertionError(self.kind)


KINDS = ["in place", "read again", "tied", "functional", "gated", "nested sums", "two reads", "no gradient", "slices",
         "transposed", "recurrent", "attention", "fourier", "shapes", "branching"]


def autograd(module, x):
    return torch.stack([torch.autograd.functional.jacobian(lambda z: module(z[None])[0].flatten(), row) for row in x])


@pytest.mark.parametrize("kind", KINDS)
def test_jacobian_and_its_values_of_what_people_write(kind):
    module, x = seeded(lambda: Several(kind)), inputs(3, 6)
    truth = autograd(module, x)
    assert_allclose(jacobian(module, x).numpy(), truth.numpy(), rtol=0, atol=1e-10)
    values = np.linalg.svd(truth.numpy(), compute_uv=False)
    assert_allclose(np.exp(log_singular_values(module, x)), values, rtol=0, atol=1e-10)


@pytest.mark.parametrize("kind", KINDS)
def test_only_what_cannot_be_split_is_measured_whole(kind):
    module, x = seeded(lambda: Several(kind)), inputs(1, 6)
    reasons = {"read again": "overwrites", "branching": rf"{re.escape(__file__)}:\d+: .*if x\.sum\(\) > 0",
               "gated": "mul", "slices": "cat"}
    if kind in reasons:
        with pytest.raises(Untraceable, match=reasons[kind]):
            factors(module, x)
    else:
        assert factors(module, x)[0] == 6


def test_a_sum_is_two_branches_of_one_signal():
    path = traced(Block(4), torch.zeros(1, 4)).path(torch.zeros(1, 4))
    assert [type(step) for step in path] == [Sum]
    (shortcut, branch), line = path[0].branches, path[0].where
    assert shortcut == ()
    assert [step.function or step.name for step in branch] == ["first", "relu", "second", "view", "mul"]
    assert "return x + 0.5 * y" in line
    assert f"{__file__}:" in line
    assert isinstance(branch[0], Stage)
    assert isinstance(branch[1].module, nn.ReLU)


def test_a_residual_block_of_ones_own_is_as_accurate_as_the_sequential_one():
    import rmt
    network = rmt.Network(20, [rmt.Residual([rmt.Dense(20, "gaussian"), rmt.Activation("tanh"), rmt.Dense(20)], 0.3),
                               rmt.Dense(20, "gaussian")] * 12)
    module, x = empirical.build(network, 1), inputs(2, 20)

    class Own(nn.Module):
        def __init__(self):
            super().__init__()
            self.parts = module

        def forward(self, x):
            return self.parts(x)

    assert_allclose(log_singular_values(Own(), x), log_singular_values(module, x), rtol=0, atol=1e-11)


def test_a_transformer_encoder_is_split_by_export():
    module = seeded(lambda: nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), 2,
                                                  enable_nested_tensor=False))
    x = inputs(1, 3, 8)
    read = measured(module, x)
    assert read.whole == ""
    values = np.linalg.svd(jacobian(module, x)[0].numpy(), compute_uv=False)
    assert_allclose(np.exp(read.logs[0]), values, rtol=0, atol=1e-10)
    zeros, small = np.isneginf(read.logs[0]), read.logs[0, 18:21]
    assert zeros.sum() == 3  # every LayerNorm takes the mean of three tokens, and all but eps / variance of their scale
    assert_allclose(small, 4 * math.log(1e-5), atol=2)


@dataclass
class Out:
    logits: torch.Tensor
    hidden: torch.Tensor


class Named(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed, self.head = nn.Embedding(9, 4), nn.Linear(4, 2)
        self.body = nn.Sequential(nn.Linear(4, 4), nn.Tanh())

    def forward(self, tokens=None, embeddings=None, scale=None):
        x = self.embed(tokens) if embeddings is None else embeddings
        hidden = self.body(x)
        if scale is not None:
            hidden = hidden * scale
        return Out(logits=self.head(hidden), hidden=hidden)


class OfAMapping(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(4, 3)

    def forward(self, batch):
        return {"out": self.layer(torch.tanh(batch["x"])) + batch["x"][:, :3] * batch["mask"]}


def test_keywords_mappings_and_outputs_in_dataclasses():
    module, x, scale = seeded(Named), inputs(3, 4), inputs(3, 4, seed=1)
    j = jacobian(module, {"embeddings": x, "scale": scale}, output="hidden", wrt="embeddings")
    slopes = 1 - torch.tanh(module.body[0](x)) ** 2
    truth = (scale * slopes)[:, :, None] * module.body[0].weight
    assert_allclose(j.numpy(), truth.detach().numpy(), rtol=0, atol=1e-12)
    got = log_singular_values(module, {"embeddings": x, "scale": scale}, output="hidden", wrt="embeddings")
    assert_allclose(np.exp(got), np.linalg.svd(j.numpy(), compute_uv=False), rtol=0, atol=1e-12)
    logits = jacobian(module, {"embeddings": x}, output="logits")
    plain = truth / scale[:, :, None]
    assert_allclose(logits.numpy(), (module.head.weight @ plain).detach().numpy(), rtol=0, atol=1e-12)
    tokens = {"tokens": torch.tensor([1, 5, 5])[:, None]}
    part = jacobian(module, tokens, between=("body.0", "body.1"))
    assert part.shape == (3, 4, 4)
    assert factors(module, tokens, between=("body.0", "body"))[0] == 4
    with pytest.raises(ValueError, match="wrt must name one of the inputs"):
        jacobian(module, {"embeddings": x, "scale": scale}, output="hidden")
    with pytest.raises(ValueError, match="one batch axis"):
        jacobian(module, {"embeddings": x, "scale": scale[:2]}, output="hidden", wrt="scale")
    with pytest.raises(ValueError, match="real numbers"):
        jacobian(module, tokens, output="hidden")


def test_a_mapping_as_the_only_argument():
    module, x = seeded(OfAMapping), inputs(2, 4)
    mask = torch.tensor([[1, 0, 1], [0, 0, 1]])
    batch = {"x": x, "mask": mask}
    j = jacobian(module, batch, output="out")
    truth = torch.stack([torch.autograd.functional.jacobian(
        lambda z, i=i: module({"x": z[None], "mask": mask[i:i + 1]})["out"][0], x[i]) for i in range(2)])
    assert_allclose(j.numpy(), truth.numpy(), rtol=0, atol=1e-12)
    assert factors(module, batch, output="out")[0] == 4
    read = measured(module, batch, output="out")
    assert_allclose(np.exp(read.logs[:, :3]), np.linalg.svd(truth.numpy(), compute_uv=False), rtol=0, atol=1e-12)


def test_values_of_a_part_as_accurate_as_of_the_whole():
    parts = seeded(lambda: nn.Sequential(*[nn.Sequential(nn.Linear(8, 8), nn.Tanh()) for _ in range(40)]))
    x = inputs(2, 8)
    whole = log_singular_values(parts[10:31], parts[:10](x).detach())
    assert np.ptp(whole) > 36
    assert_allclose(log_singular_values(parts, x, between=("10", "30")), whole, rtol=0, atol=1e-10)


def test_tracing_leaves_no_trace():
    class Keeps(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer, self.last = nn.Linear(3, 3), None

        def forward(self, x):
            self.last = self.layer(x)
            return torch.relu(self.last)

    module = seeded(Keeps)
    for function in (jacobian, factors, log_singular_values):
        function(module, inputs(1, 3))
        assert module.last is None


def test_an_untraceable_module_says_its_line():
    with pytest.raises(Untraceable, match=r"if x\.sum"):
        traced(Several("branching").double(), inputs(1, 6))


def test_random_modules_draw_what_they_would_have():
    module = nn.Sequential(Block(8), nn.Dropout(0.5)).double()
    x = inputs(4, 8)
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        torch.manual_seed(3)
        state = torch.get_rng_state()
        logs = log_singular_values(module, x)
        assert torch.equal(torch.get_rng_state(), state)
    ranks = np.isfinite(logs).sum(1)
    assert 0 < ranks.min() <= ranks.max() < 8
    assert len({tuple(row) for row in logs}) == 4


def test_threads_that_trace_do_not_meet():
    """fx replaces what calls a module while it traces, in the whole process."""
    from concurrent.futures import ThreadPoolExecutor
    modules, x = [seeded(lambda: ResidualMLP(6, 8, torch.tanh), seed) for seed in range(24)], inputs(2, 6)
    alone = [log_singular_values(module, x) for module in modules]
    with ThreadPoolExecutor(4) as pool:
        together = [*pool.map(lambda module: log_singular_values(module, x), modules)]
    np.testing.assert_array_equal(together, alone)


def hooked(module, place):
    place.register_forward_hook(lambda part, args, out: 3 * out)
    return module


def overridden(module, place):
    place.forward = lambda z: 5 * z
    return module


def chained():
    return nn.Sequential(nn.Sequential(nn.Linear(6, 6), nn.Tanh()), nn.Linear(6, 6))


ALTERED = {
    "a hook on the whole": lambda: hooked(module := chained(), module),
    "a hook on a part": lambda: hooked(module := chained(), module[0]),
    "a hook on a leaf": lambda: hooked(module := chained(), module[0][1]),
    "a part's own forward": lambda: overridden(module := chained(), module[0]),
    "a leaf's own forward": lambda: overridden(module := chained(), module[1]),
    "the whole's own forward": lambda: overridden(module := chained(), module),
    "no gradient": lambda: Uses(lambda own, x: own.a(x) + without_gradient(x)),
    "data": lambda: Uses(lambda own, x: own.a(x).data * 1e-4 + own.b(x)),
    "out": lambda: Uses(lambda own, x: torch.tanh(own.a(x)) + own.b(torch.mul(x, 2.0))),
    "a view overwritten": lambda: Uses(lambda own, x: overwritten(own, own.a(x))),
    "defaults": lambda: Uses(lambda own, x: own.a(x)),
    "broadcast": lambda: Uses(lambda own, x: own.a(torch.relu(x.mean(1, keepdim=True) * torch.ones(6)))),
    "one that vanishes": lambda: Uses(lambda own, x: own.a(x).detach()),
}


def without_gradient(x):
    with torch.no_grad():
        return 1e-5 * x


def overwritten(own, h):
    view = h.view(-1, 6)
    twice = view.mul_(2)
    return own.b(h) + twice


@pytest.mark.filterwarnings("ignore:singular values under the resolution")
@pytest.mark.filterwarnings("ignore:the output does not depend on the input")
@pytest.mark.parametrize("name", ALTERED)
def test_what_a_trace_does_not_show_is_not_left_out(name):
    module, x = seeded(ALTERED[name]), inputs(2, 6)
    truth = autograd(module, x)
    assert_allclose(jacobian(module, x).numpy(), truth.numpy(), rtol=0, atol=1e-12)
    logs = log_singular_values(module, x)
    seen = logs > logs.max() - 25
    assert_allclose(np.exp(logs)[seen], np.linalg.svd(truth.numpy(), compute_uv=False)[seen], rtol=1e-9)


def test_a_module_that_changes_its_own_buffers_keeps_them():
    def forward(own, x):
        own.seen = 0.9 * own.seen + x.detach().mean(0)
        own.cache = own.a(x)
        return own.cache

    module, x = seeded(lambda: Uses(forward)), inputs(2, 6)
    module(x)
    seen, cache = module.seen, module.cache
    for function in (jacobian, log_singular_values, factors, empirical.spectral_density):
        function(module, x)
        assert module.seen is seen
        assert module.cache is cache
    assert type(seen) is torch.Tensor


def test_between_in_the_wrong_order_and_all_of_an_input():
    module, x = seeded(chained), inputs(2, 6)
    with pytest.raises(ValueError, match="'0' ends before '1' begins"):
        jacobian(module, x, between=("1", "0"))
    whole = seeded(lambda: Uses(lambda own, x: torch.tanh(own.b(input=own.a(x)))))
    assert jacobian(whole, x, between=("b", "b")).shape == (2, 6, 6)
    several = seeded(lambda: Several("attention"))
    y = inputs(2, 6).reshape(-1, 1, 6).repeat(1, 3, 1) * several.weight[:3].detach()
    truth = torch.autograd.functional.jacobian(lambda z: several.attention(*[z[None]] * 3)[0].flatten(), y[0])
    got = jacobian(several, inputs(2, 6), between=("attention", "attention"), output=0)[0]
    assert_allclose(got.numpy(), truth.flatten(1).numpy(), rtol=0, atol=1e-12)
