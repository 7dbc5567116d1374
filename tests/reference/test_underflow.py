"""What is too small for a float is named, by layer, or is right all the same; zeros that are true stay zeros."""

import copy
import math
import warnings

import numpy as np
import pytest
import torch
from torch import nn

from empirical import batch_jacobian, inputs, jacobian, log_singular_values, measure
from empirical.batched import run_together
from empirical.diagnose import diagnose
from empirical.modules import ResidualBlock, build
from empirical.task import Task
from empirical.underflow import Underflow
from rmt import Conv2d, Network, mlp
from rmt.networks import layers as L
from rmt.networks.schemes import trunc_normal

SINGLE, DOUBLE = torch.float32, torch.float64
SMALL = trunc_normal(std=0.01)  # normal(0, .01): weights of that size, whatever the width


class Cube(nn.Module):
    """A power: its slope vanishes with the signal."""

    def forward(self, x):
        return 10 * x**3


def deep(depth, activation=nn.ReLU, dtype=SINGLE, width=12, std=0.01):
    torch.manual_seed(depth)
    layers = []
    for _ in range(depth):
        linear = nn.Linear(width, width, bias=False, dtype=dtype)
        nn.init.normal_(linear.weight, 0, std)
        layers += [linear, activation()]
    return nn.Sequential(*layers)


def at(dtype=SINGLE, width=12, samples=2):
    return torch.randn(samples, width, generator=torch.Generator().manual_seed(1), dtype=DOUBLE).to(dtype)


class Whole(nn.Module):
    """Its forward is its own: the module is traced."""

    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, x):
        return self.inner(x)


def place(module, dtype=SINGLE, width=12):
    """The first layer of a chain whose output is under every normal float, by running it."""
    x = at(dtype, width)[:1]
    for name, layer in module.named_children():
        x = layer(x)
        if float(x.detach().abs().max()) < torch.finfo(dtype).tiny:
            return name
    raise AssertionError("nothing underflows")


KINKED = [nn.ReLU, lambda: nn.LeakyReLU(0.3), nn.SELU, nn.PReLU]


def right_in_double(module, x, says="underflows in float32"):
    """A module of single precision is measured as its copy in double, which says where its own forward underflows."""
    with pytest.warns(UserWarning, match=rf"its own forward underflows, and a copy in double .*{says}"):
        found = log_singular_values(module, x)
    np.testing.assert_array_equal(found, log_singular_values(copy.deepcopy(module).double(), x.double()))
    return found


@pytest.mark.parametrize("activation", KINKED, ids=lambda kind: getattr(kind, "__name__", "leaky"))
@pytest.mark.parametrize(("depth", "dtype"), [(40, SINGLE), (250, DOUBLE)], ids=["single", "double"])
@pytest.mark.parametrize("wrap", [lambda module: module, Whole], ids=["chain", "traced"])
def test_the_layer_where_a_signal_underflows_is_named(activation, depth, dtype, wrap):
    module = deep(depth, activation).to(dtype)
    name = place(module, dtype)
    if dtype == SINGLE:
        right_in_double(wrap(module), at(), rf"the output of (inner\.)?{name} underflows in float32")
    else:
        with pytest.raises(Underflow, match=rf"the output of (inner\.)?{name} underflows in float64: .*larger"):
            log_singular_values(wrap(module), at(dtype))
    with pytest.raises(Underflow, match=rf"the output of (inner\.)?{name} underflows in {str(dtype)[6:]}"):
        jacobian(wrap(module), at(dtype))


def test_a_power_whose_slope_vanishes_with_the_signal_is_named():
    """Each layer cubes the signal: three leave the floats of single precision, five those of double."""
    single, double = deep(4, Cube), deep(6, Cube, dtype=DOUBLE)
    right_in_double(single, at(), rf"the output of {place(single)} underflows in float32")
    with pytest.raises(Underflow, match=rf"the output of {place(double, DOUBLE)}\S* underflows in float64"):
        log_singular_values(double, at(DOUBLE))


SMOOTH = [nn.Identity, nn.Tanh, nn.ELU, nn.CELU, nn.Softsign, nn.Hardtanh]


@pytest.mark.parametrize("activation", SMOOTH, ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("wrap", [lambda module: module, Whole], ids=["chain", "traced"])
def test_where_slopes_do_not_depend_on_it_the_logarithms_are_right(activation, wrap):
    """One slope at zero: the values are those of the copy in double precision, in which nothing underflows."""
    module = deep(40, activation)
    assert right_in_double(wrap(module), at())[0, 0] < math.log(1e-45)
    deeper = deep(250, activation, DOUBLE)  # in double precision, too: the chain carries logarithms
    assert log_singular_values(wrap(deeper), at(DOUBLE))[0, 0] < math.log(1e-310)
    with pytest.raises(Underflow, match=r"underflows in float32: .*empirical.log_singular_values"):
        jacobian(wrap(module), at())


def test_biases_behind_linear_layers_bring_a_signal_back():
    linear = [layer for layer in deep(40, nn.Identity) if isinstance(layer, nn.Linear)]
    right_in_double(nn.Sequential(*linear, nn.Linear(12, 9), nn.ReLU()), at())


def dead(dtype):
    module = deep(6, dtype=dtype, std=0.3)
    module[4].bias = nn.Parameter(torch.full((12,), -10.0, dtype=dtype))
    return module


def of_zeros(dtype):
    module = deep(6, dtype=dtype, std=0.3)
    module[4].weight.data.zero_()
    return module


@pytest.mark.parametrize("dtype", [SINGLE, DOUBLE])
@pytest.mark.parametrize("make", [dead, of_zeros])
@pytest.mark.parametrize("wrap", [lambda module: module, Whole], ids=["chain", "traced"])
def test_dead_units_and_weights_of_zero_are_true_zeros(dtype, make, wrap):
    module = wrap(make(dtype))
    assert not jacobian(module, at(dtype)).any()
    assert np.all(log_singular_values(module, at(dtype)) == -np.inf)


def test_of_a_whole_batch_too():
    with pytest.raises(Underflow, match="underflows in float32"):
        batch_jacobian(deep(40), at())
    assert not batch_jacobian(dead(SINGLE), at()).any()


def test_one_sample_that_is_dead_does_not_hide_another():
    module = deep(40)
    x = at()
    x[0] = 0.0
    with pytest.raises(Underflow, match="the output of"):
        jacobian(module, x)
    assert np.all(log_singular_values(module, x[:1]) == -np.inf)


class Squared(nn.Module):
    """Squares a small signal in its forward."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(4, 4, bias=False), nn.Linear(4, 3, bias=False)

    def forward(self, x):
        return self.second(torch.square(1e-30 * self.first(x)))


def test_a_function_that_underflows_is_seen_in_the_jacobian():
    torch.manual_seed(0)
    with pytest.raises(Underflow, match="underflows in float32"):
        jacobian(Squared(), at(width=4))
    module = Squared()
    found = log_singular_values(module, at(width=4))  # behind the square all is linear
    np.testing.assert_allclose(found, log_singular_values(module.double(), at(width=4).double()), atol=1e-4)


class Faint(nn.Module):
    """No signal underflows, the product of slopes does."""

    def forward(self, x):
        return 1 + 1e-25 * torch.sin(1 + 1e-25 * x)


def test_a_product_that_underflows_alone_is_named_as_such():
    with pytest.raises(Underflow, match="the Jacobian underflows in float32, though no signal does"):
        jacobian(Faint(), at())
    assert jacobian(Faint(), at(DOUBLE)).abs().max() > 1e-51


class Blocks(nn.Module):
    """A shortcut around a branch that underflows."""

    def __init__(self):
        super().__init__()
        self.branch = deep(40)

    def forward(self, x):
        return x + self.branch(x)


@pytest.mark.parametrize("module", [
    Blocks(), nn.Sequential(ResidualBlock(deep(40), nn.Sequential(), 1.0), nn.Linear(12, 12)),
    nn.Sequential(nn.Linear(12, 12), ResidualBlock(nn.Sequential(ResidualBlock(deep(40), nn.Sequential(), 1.0)),
                                                   nn.Sequential(), 1.0))], ids=["traced", "built", "nested"])
def test_a_branch_that_vanishes_beside_its_shortcut_does_not_matter(module):
    j = jacobian(module, at())
    assert torch.isfinite(j).all()
    assert j.abs().max() > 0.1
    assert np.isfinite(log_singular_values(module, at())).all()


def test_two_branches_that_vanish_do():
    module = nn.Sequential(ResidualBlock(deep(40), deep(41), 1.0), nn.Linear(12, 12))
    right_in_double(module, at(), r"the output of 0.(branch|shortcut)")
    module = nn.Sequential(ResidualBlock(deep(250), deep(251), 1.0), nn.Linear(12, 12)).double()
    with pytest.raises(Underflow, match=r"the output of 0.(branch|shortcut)"):
        log_singular_values(module, at(DOUBLE))


CONV = Network((2, 6, 6), [part for _ in range(30) for part in (
    L.Activation("relu"), Conv2d(2, 3, padding_mode="circular", init=SMALL))])


@pytest.mark.parametrize(("network", "says"), [
    (mlp([12] * 41, "relu", SMALL), "[0-9]+"), (CONV, "[0-9]+"),
    (mlp([12] * 41, "leaky_relu(0.2)", SMALL), "[0-9]+"), (mlp([12] * 41, "selu", SMALL), "[0-9]+")],
    ids=["relu", "convolution", "leaky", "selu"])
def test_measuring_names_the_layer(network, says):
    with pytest.raises(Underflow, match=rf"the output of {says} underflows in float32"):
        measure(network, draws=2, dtype="float32", progress=False)


def test_measuring_in_double_precision_has_longer():
    network = mlp([12] * 41, "relu", SMALL)
    assert np.isfinite(measure(network, draws=1, progress=False).log_singular_values[0, 0, 0])
    with pytest.raises(Underflow, match="underflows in float64"):
        measure(mlp([12] * 251, "relu", SMALL), draws=1, progress=False)


def test_many_networks_at_once_name_it_too():
    tasks = [Task(mlp([12] * 41, "relu", SMALL), "", inputs.gaussian(), 1, 0, i, "cpu", "float32") for i in range(2)]
    with pytest.raises(Underflow, match="the output of"):
        list(run_together(tasks))
    tasks = [Task(mlp([12] * 41, "tanh", SMALL), "", inputs.gaussian(), 1, 0, i, "cpu", "float32") for i in range(2)]
    for task, answer in run_together(tasks):
        np.testing.assert_allclose(answer.log_singular_values, task.run().log_singular_values, rtol=1e-6)


X = inputs.array(np.random.default_rng(0).standard_normal((5, 12)))


def test_a_copy_in_double_precision_says_that_the_modules_own_forward_underflows(tmp_path):
    """Of a factory; kept with the values, so that it is said again."""
    for _ in range(2):
        with pytest.warns(UserWarning, match=r"copies in float64 .*the output of \d+ underflows in float32"):
            found = measure(lambda: deep(40), draws=2, inputs=X, store=tmp_path, label="deep", progress=False)
    assert "underflows in float32" in found.underflow
    assert np.isfinite(found.log_singular_values[:, 0, 0]).all()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for fine in (lambda: deep(5), lambda: deep(40, dtype=DOUBLE), lambda: dead(SINGLE)):
            assert not measure(fine, draws=1, inputs=X, progress=False).underflow
    with pytest.raises(Underflow, match="underflows in float32"):
        measure(lambda: deep(40), draws=1, inputs=X, dtype="float32", progress=False)


def test_advice_is_given_on_the_copy_and_says_so():
    found = diagnose(deep(40), 12)
    assert any("own forward underflows" in note and "float32" in note for note in found.warnings)
    assert math.isfinite(found.summary["log_largest_s"])
    assert any("shrink" in line for line in found.advice)


def test_the_module_is_left_as_it_was_when_it_raises():
    module = deep(40)
    before = {name: value.clone() for name, value in module.state_dict().items()}
    state = torch.get_rng_state()
    with pytest.raises(Underflow):
        jacobian(module, at())
    right_in_double(module, at())
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())
    assert not any(part._forward_hooks for part in module.modules())


def test_a_built_network_of_kinds_that_do_not_mind_is_measured():
    network = Network(12, [part for _ in range(40) for part in (L.Dense(12, SMALL), L.Activation("tanh"))])
    assert np.isfinite(right_in_double(build(network, 0, dtype="float32"), at())).all()
    assert batch_jacobian(build(mlp([12, 12], "relu"), 0), at(DOUBLE)).any()


def test_a_sample_of_which_a_dropout_keeps_nothing_is_a_true_zero():
    module = nn.Sequential(nn.Linear(4, 5), nn.Dropout(0.95), nn.Linear(5, 4)).double().train()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        found = jacobian(module, at(DOUBLE, 4, 8))
    assert not found.flatten(1).any(1).all()
