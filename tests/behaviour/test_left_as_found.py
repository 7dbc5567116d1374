"""Measuring leaves what it found: the module, its input, the random state and the thread counts."""

import contextlib
import copy
import random
import subprocess
import sys
from collections import OrderedDict, deque
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from torch import nn

from empirical import (
    batch_jacobian,
    build,
    describe,
    jacobian,
    log_singular_values,
    measure,
    spectral_density,
    weights,
)
from empirical.diagnose import diagnose
from empirical.inputs import array
from rmt import mlp
from rmt.networks.layers import UnsupportedStructure


def inputs():
    return torch.linspace(-1.3, 1.7, 12, dtype=torch.float64).reshape(3, 4)


class Own(nn.Module):
    """A forward of one's own, of one part."""

    def __init__(self, part, forward):
        super().__init__()
        self.part, self.own = part, forward

    def forward(self, x):
        return self.own(self.part, x)


def zoo():
    spectral = nn.utils.parametrizations.spectral_norm
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(2)
        mixed = nn.Sequential(nn.Linear(4, 5), nn.BatchNorm1d(5), nn.Sequential(nn.Tanh(), nn.Linear(5, 4))).double()
        mixed.train()
        mixed(inputs())
        mixed[1].eval()
        mixed[0].weight.grad = torch.ones_like(mixed[0].weight)
        return {
            "mixed modes": mixed,
            "raises": nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4)).double(),
            "wrong shape": nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(4, 4)).double(),
            "in place": nn.Sequential(nn.ReLU(inplace=True), nn.Linear(4, 4)).double(),
            "dropout": nn.Sequential(nn.Linear(4, 5), nn.Dropout(0.5), nn.Linear(5, 4)).double(),
            "residual": Own(nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.ReLU(inplace=True), nn.Linear(4, 4)),
                            lambda part, x: torch.relu(x + part(x))).double().eval(),
            "tied": Own(nn.Linear(4, 4), lambda part, x: part(torch.tanh(part(x)))).double(),
            "transformer": Own(nn.TransformerEncoderLayer(2, 1, 4, batch_first=True),
                               lambda part, x: part(x.reshape(-1, 2, 2)).flatten(1)).double().eval(),
            "recurrent": Own(nn.GRU(2, 3, batch_first=True), lambda part, x: part(x.reshape(-1, 2, 2))[0]).double(),
            "layer norm": nn.Sequential(nn.Sequential(nn.Linear(4, 6), nn.LayerNorm(6)), nn.Linear(6, 4)).double(),
            "keeps": Own(nn.Linear(4, 4), lambda part, x: setattr(part, "last", part(x)) or part.last).double(),
            "spectral norm": nn.Sequential(spectral(nn.Linear(4, 5)), nn.Tanh()).double(),
        }


def describing(module, x):
    return describe(module, 4)


def diagnosing(module, x):
    return diagnose(module, 4)


@pytest.mark.filterwarnings("ignore:.*without statistics|.*resolution of a float64|.*used more than once")
@pytest.mark.parametrize("function", [jacobian, log_singular_values, spectral_density, describing, diagnosing])
@pytest.mark.parametrize("name", zoo())
def test_the_module_the_input_and_the_random_state_are_left_as_they_were(name, function):
    module, x = zoo()[name], inputs()
    before = {key: value.clone() for key, value in module.state_dict().items()}
    modes, grads = [m.training for m in module.modules()], [p.grad for p in module.parameters()]
    copies = [None if g is None else g.clone() for g in grads]
    flags = [p.requires_grad for p in module.parameters()]
    random, numpy_random, threads = torch.get_rng_state(), np.random.get_state()[1].copy(), torch.get_num_threads()  # noqa: NPY002
    try:
        function(module, x)
    except UnsupportedStructure:
        assert function is describing
    except (ValueError, RuntimeError):
        assert name in ("raises", "wrong shape")
    assert torch.equal(x, inputs())
    assert all(torch.equal(before[key], value) for key, value in module.state_dict().items())
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in module.modules())
    assert modes == [m.training for m in module.modules()]
    assert flags == [p.requires_grad for p in module.parameters()]
    for p, grad, content in zip(module.parameters(), grads, copies, strict=True):
        assert p.grad is grad
        assert grad is None or torch.equal(grad, content)
    assert torch.equal(random, torch.get_rng_state())
    assert np.array_equal(numpy_random, np.random.get_state()[1])  # noqa: NPY002
    assert threads == torch.get_num_threads()


# ---- what a forward writes: put back before every forward, and at the end ---------------------------------


class Writes(nn.Module):
    """What a forward keeps of itself in every way that modules do, each of which acts on the next one."""

    def __init__(self, write):
        super().__init__()
        self.part, self.write = nn.Linear(4, 4), write
        self.scale = nn.Parameter(torch.ones(4))
        self.register_buffer("count", torch.ones(()))
        self.plain, self.number, self.past, self.by_name = torch.ones(()), 1.0, [], {}
        self.array, self.noise = np.ones(()), torch.Generator().manual_seed(1)
        self.last, self.ordered = deque([torch.ones(())]), OrderedDict(z=1.0)
        self.object, self.unlisted = SimpleNamespace(n=1, seen=[]), [nn.Linear(1, 1, bias=False)]
        self.draws, self.other = np.random.default_rng(1), random.Random(1)

    def forward(self, x):
        return self.part(x) * self.write(self, x.detach())


def initialized(own, new):
    """As ActNorm, by its first batch."""
    if own.count == 1:
        new(own)
        own.count += 1
    return own.scale


def in_place(own, x):
    own.count += 1
    return own.count.clone()


def replaced(own, x):
    own.count = own.count + x.abs().mean()
    return own.count


def plain(own, x):
    own.plain.add_(1.0)
    return own.plain.clone()


def number(own, x):
    own.number += 1
    return own.number


def past(own, x):
    own.past.append(x.abs().mean())
    own.by_name[len(own.by_name)] = len(own.past)
    return sum(own.past) * len(own.by_name)


def array_of_numpy(own, x):
    own.array += 1
    return float(own.array)


def parameter(own, x):
    with torch.no_grad():
        own.scale.mul_(1 + x.abs().mean())
    return own.scale.clone()


def copied(own, x):
    with torch.no_grad():
        return initialized(own, lambda own: own.scale.copy_(1 / x.abs().mean(0)))


def data(own, x):
    def new(own):
        own.scale.data = 1 / x.abs().mean(0)

    return initialized(own, new)


def data_copied(own, x):
    return initialized(own, lambda own: own.scale.data.copy_(1 / x.abs().mean(0)))


def noise(own, x):
    return 1 + torch.rand(4, generator=own.noise, dtype=torch.float64)


def ordered(own, x):
    own.ordered["z"] += 1
    own.last[0].add_(1.0)
    own.last.append(own.ordered["z"])
    return float(own.last[0]) * len(own.last) * own.ordered["z"]


def an_object(own, x):
    own.object.n += 1
    own.object.seen.append(own.object.n)
    return own.object.n * len(own.object.seen)


def drawn(own, x):
    return 1 + own.draws.random() + own.other.random()


def an_unlisted_module(own, x):
    with torch.no_grad():
        own.unlisted[0].weight.mul_(1.5)
    return float(own.unlisted[0].weight.detach())


def frozen(own, x):
    own.part.requires_grad_(False)
    return 1.0


WRITES = [ordered, an_object, drawn, an_unlisted_module, frozen,
          in_place, replaced, plain, number, past, array_of_numpy, parameter, copied, data, data_copied, noise]


def kept(module):
    return [*(value.clone() for value in module.state_dict().values()), module.plain.clone(), module.number,
            [*module.past], {**module.by_name}, float(module.array), module.noise.get_state(), float(module.last[0]),
            len(module.last), {**module.ordered}, module.object.n, [*module.object.seen],
            module.draws.bit_generator.state, module.other.getstate(), module.unlisted[0].weight.clone(),
            [p.requires_grad for p in module.parameters()]]


def equal(one, other):
    return torch.equal(one, other) if isinstance(one, torch.Tensor) else one == other


@pytest.mark.filterwarnings("ignore:.*resolution of a float64")
@pytest.mark.parametrize("write", WRITES)
def test_every_sample_is_taken_from_the_module_as_given_which_is_left_so(write):
    """J was 2, 3 and 4 times the truth at successive samples; parameters that a forward wrote to stayed as it left."""
    torch.manual_seed(0)
    module, x = Writes(write).double(), inputs()
    before, attributes = kept(module), {name: id(value) for name, value in vars(module).items()}
    truth = torch.stack([torch.autograd.functional.jacobian(copy.deepcopy(module), x[i : i + 1])[0, :, 0]
                         for i in range(len(x))])
    singular = np.log(np.linalg.svd(truth.numpy(), compute_uv=False))
    assert_allclose(jacobian(module, x).numpy(), truth.numpy(), rtol=1e-12)
    assert_allclose(log_singular_values(module, x), singular, rtol=1e-9)
    assert_allclose(log_singular_values(module, x, between=("part", None)).shape, (3, 4))
    for i in range(2):
        ends = spectral_density(module, x[i : i + 1], probes=4, steps=4).extremes
        assert ends.largest.log_value == pytest.approx(singular[i, 0], abs=1e-9)
    weights(module, x=x)
    diagnosing(module, x)
    batch_jacobian(module, x)
    with contextlib.suppress(UnsupportedStructure):
        describing(module, x)
    assert all(map(equal, kept(module), before))
    assert {name: id(value) for name, value in vars(module).items()} == attributes


def bad():
    raise ArithmeticError("mine")


def test_building_and_measuring_leave_the_random_state_and_torch_threads():
    kept = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        random, numpy_random = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
        build(mlp([4, 4], bias_std=0.1), 0)
        measure(mlp([4, 4]), draws=3, progress=False)
        with pytest.raises(ArithmeticError, match="mine"):
            measure(bad, draws=3, inputs=array(np.eye(3)), progress=False)
        assert torch.equal(random, torch.get_rng_state())
        assert np.array_equal(numpy_random, np.random.get_state()[1])  # noqa: NPY002
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(kept)


THREADS = """
import sys
from concurrent.futures import ThreadPoolExecutor
import torch
from threadpoolctl import threadpool_info
from empirical import measure
from rmt import mlp
from rmt.networks.layers import UnsupportedStructure
counts = lambda: sorted((p["filepath"], p["num_threads"]) for p in threadpool_info()) + [torch.get_num_threads()]
before = counts()
with ThreadPoolExecutor(int(sys.argv[1])) as pool:
    measure(mlp([6] * 4), draws=40, executor=pool, progress=False)
assert counts() == before, f"{before} became {counts()}"
"""


@pytest.mark.parametrize("threads", [1, 4])
def test_tasks_in_threads_put_the_blas_thread_counts_back(threads):
    """In a process of its own: the tests run with one BLAS thread."""
    done = subprocess.run([sys.executable, "-c", THREADS, str(threads)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr.splitlines()[-1]
