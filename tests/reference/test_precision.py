"""Modules of single precision are measured as their copies in double: exact weights, no rounded slopes."""

import copy
import math

import numpy as np
import pytest
import torch
from torch import nn

import rmt
from empirical import jacobian, log_singular_values, spectral_density
from empirical.differentiated import tall
from empirical.precision import in_double, rounding
from empirical.zoo import ZOO


@pytest.fixture(autouse=True)
def random_state():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield


def by_svd(module, x):
    """ln s of the Jacobian that autograd forms of the copy in double."""
    double = copy.deepcopy(module).double()
    rows = [torch.autograd.functional.jacobian(lambda at: double(at[None])[0], one).flatten(1) for one in x.double()]
    return np.array([np.log(np.linalg.svd(row.reshape(-1, x[0].numel()).numpy(), compute_uv=False)) for row in rows])


class Kept(nn.Module):
    """A mask that is no buffer, a tensor that a hook computes, one weight in two places."""

    def __init__(self):
        super().__init__()
        self.one, self.two = nn.Linear(12, 12), nn.Linear(12, 12)
        self.two.weight = self.one.weight
        self.mask = torch.rand(12) + 0.5
        self.normed = torch.nn.utils.weight_norm(nn.Linear(12, 12))

    def forward(self, x):
        return self.normed(self.mask * torch.tanh(self.two(torch.tanh(self.one(x)))))


SINGLE = {
    "chain": lambda: nn.Sequential(nn.Linear(12, 12), nn.SiLU(), nn.Linear(12, 12)),
    "convolution": lambda: nn.Sequential(nn.Unflatten(1, (3, 2, 2)), nn.Conv2d(3, 5, 3, padding=1), nn.GELU(),
                                         nn.GroupNorm(5, 5), nn.Flatten(), nn.Linear(20, 9)),
    "kept": Kept,
    "spectral norm": lambda: nn.Sequential(torch.nn.utils.parametrizations.spectral_norm(nn.Linear(12, 12)), nn.Tanh()),
}


@pytest.mark.filterwarnings("ignore:.*weight_norm.*:FutureWarning")
@pytest.mark.parametrize("name", SINGLE)
def test_they_are_those_of_double_precision(name):
    module, x = SINGLE[name]().eval(), torch.randn(2, 12)
    before = {key: value.clone() for key, value in module.state_dict().items()}
    expected = by_svd(module, x) if name != "kept" else None
    found = log_singular_values(module, x)
    if expected is not None:
        np.testing.assert_allclose(found[:, : expected.shape[1]], expected, atol=1e-9)
    twin, twice = in_double(module, x)
    np.testing.assert_array_equal(found, log_singular_values(twin, twice))
    assert twice.dtype == next(iter(twin.parameters())).dtype == torch.float64
    assert all(torch.equal(value, before[key]) for key, value in module.state_dict().items())
    j = jacobian(twin, twice)
    assert float((jacobian(module, x).double() - j).norm()) < 1e-5 * float(j.norm())
    assert {value.data_ptr() for value in twin.parameters()}.isdisjoint(value.data_ptr() for value in
                                                                         module.parameters())


@pytest.mark.parametrize("name", ["resnet18", "vit", "transformer_encoder"])
@pytest.mark.filterwarnings("ignore:.*BatchNorm without statistics:UserWarning")
@pytest.mark.filterwarnings("ignore:singular values under the resolution:UserWarning")
def test_models_of_the_zoo(name):
    make, shape = ZOO[name]
    module, x = make().eval(), torch.randn(1, *shape)
    expected = by_svd(module, x)
    found = log_singular_values(module, x, seconds=0)[:, : expected.shape[1]]
    clear = expected > expected.max() + math.log(1e-5)
    np.testing.assert_allclose(found[clear], expected[clear], atol=1e-8)


def test_ten_orthogonal_layers_are_at_the_atom():
    layers = [torch.nn.utils.parametrizations.orthogonal(nn.Linear(40, 40, bias=False)) for _ in range(10)]
    module = nn.Sequential(*layers)
    logs = log_singular_values(module, torch.randn(1, 40))
    assert np.max(np.abs(logs)) < 1e-5  # as far as single precision is orthogonal
    drawn = nn.Sequential(*[nn.Linear(40, 40, bias=False) for _ in range(10)])
    for layer in drawn:
        layer.weight.data = torch.linalg.qr(torch.randn(40, 40, dtype=torch.float64))[0].float()
    single = log_singular_values(drawn, torch.randn(1, 40))
    assert np.max(np.abs(single)) < 1e-6
    assert rmt.compare(rmt.PointMass(1.0), single[None]).discrepancy < 1


class Rounds(nn.Module):
    """Goes through single precision whatever it is given."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(6, 6)

    def forward(self, x):
        return self.linear(torch.tanh(x).float())


class Mixed(nn.Module):
    """Adds constants in single precision, which are exact."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(6, 6)

    def forward(self, x):
        return self.linear(x + torch.arange(6).float() / 6)


class Deep(nn.Module):
    """Rounds its signal to single precision between its layers, as normalizations of language models do."""

    def __init__(self, depth, casts):
        super().__init__()
        self.layers, self.casts = nn.ModuleList(nn.Linear(60, 60) for _ in range(depth)), casts

    def forward(self, x):
        for layer in self.layers:
            x = torch.tanh(layer(x).float()).to(x.dtype) if self.casts else torch.tanh(layer(x))
        return x


@pytest.mark.parametrize(("depth", "guarded"), [(3, False), (20, False), (20, True)])
def test_one_that_rounds_its_signal_is_known_to_those_digits(depth, guarded):
    """The chain is right to rounding in single; an SVD puts what is under n units of that at it, and says so."""
    torch.manual_seed(0)
    module, x = Deep(depth, True).double(), torch.randn(1, 60, dtype=torch.float64)
    plain = Deep(depth, False).double()
    plain.load_state_dict(module.state_dict())
    exact = log_singular_values(plain, x)
    assert rounding(module, x) == torch.finfo(torch.float32).eps
    assert rounding(plain, x) == torch.finfo(torch.float64).eps
    if guarded:
        with pytest.warns(UserWarning, match="resolution"):
            found = log_singular_values(module, x, seconds=0)
        clear = exact > exact.max() + math.log(1e-3)
        np.testing.assert_allclose(found[clear], exact[clear], atol=1e-2)
        assert np.all(found > exact.max() - 13)
    else:
        np.testing.assert_allclose(log_singular_values(module, x), exact, atol=1e-4)


def test_a_module_that_does_not_run_in_double_has_no_copy_and_constants_do_not_matter():
    x = torch.randn(2, 6)
    assert in_double(Rounds(), x) is None
    assert np.isfinite(log_singular_values(Rounds(), x)).all()
    assert in_double(Mixed(), x) is not None
    assert rounding(*in_double(Mixed(), x)) == torch.finfo(torch.float64).eps
    assert in_double(nn.Linear(6, 6).double(), x.double()) is None
    assert in_double(nn.Linear(6, 6).half(), x) is None
    assert in_double(nn.Tanh(), x) is not None


class Generator(nn.Module):
    """A tall Jacobian, with what has no batched derivative in it."""

    def __init__(self, recurrent):
        super().__init__()
        self.first = nn.GRU(4, 9, batch_first=True) if recurrent else nn.Linear(4, 9)
        self.last = nn.Linear(9, 60)

    def forward(self, x):
        h = self.first(x[:, None])[0][:, -1] if isinstance(self.first, nn.GRU) else torch.relu(self.first(x))
        return self.last(h)


@pytest.mark.parametrize("recurrent", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_tall_jacobian_by_its_columns_is_that_by_its_rows(recurrent, dtype):
    module, x = Generator(recurrent).to(dtype), torch.randn(3, 4, dtype=dtype)
    assert tall(60, 4)
    expected = torch.stack([torch.autograd.functional.jacobian(lambda at: module(at[None])[0], one) for one in x])
    torch.testing.assert_close(jacobian(module, x), expected, rtol=1e-4 if dtype == torch.float32 else 1e-12, atol=0)


def test_dropout_is_the_same_in_every_column():
    module = nn.Sequential(nn.Linear(4, 50, bias=False), nn.Dropout(0.5)).double().train()
    j = jacobian(module, torch.randn(1, 4, dtype=torch.float64))[0]
    kept = (j != 0).any(1)
    assert 0 < int(kept.sum()) < 50
    torch.testing.assert_close(j[kept], 2 * module[0].weight.detach()[kept])


def test_single_precision_loses_no_end_of_many_values():
    """A resolution of eps times the 43,200 values is .5 %: closer ones were taken for copies of the lowest."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        module, x = nn.Sequential(*[nn.Conv2d(3, 3, 3, padding=1) for _ in range(3)]), torch.randn(1, 3, 120, 120)
    at = np.linspace(-4, 0, 101)
    one, two = (spectral_density(*pair, probes=2, steps=40, grid=at) for pair in ((module, x), in_double(module, x)))
    np.testing.assert_allclose(one.cdf, two.cdf, rtol=0, atol=1e-5)
    np.testing.assert_allclose([end.log_value for end in one.extremes], [end.log_value for end in two.extremes],
                               rtol=0, atol=1e-5)
    assert one.resolution == pytest.approx(one.extremes.largest.log_value + np.log(10 * 2**-23 * 43_200**0.5), abs=1e-9)
