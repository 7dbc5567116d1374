"""The spectrum without the Jacobian, against the singular values of the Jacobian."""

import time
from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import nn

from empirical import jacobian, matrix_free
from empirical.matrix_free import spectral_density


def inputs(*shape, seed=0):
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def made(build, seed=0):
    """Return a module with weights of its own seed, in double precision."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return build().double()


def dense(n_inputs, n_hidden, n_outputs, activation=nn.Tanh):
    return lambda: nn.Sequential(nn.Linear(n_inputs, n_hidden), activation(), nn.Linear(n_hidden, n_outputs))


def log_values(j):
    """Return ln of the n_inputs singular values of one Jacobian, ascending, under the resolution at it."""
    values = np.linalg.svd(j.double().numpy(), compute_uv=False)
    resolution = max(j.shape) * torch.finfo(j.dtype).eps * values.max()
    with np.errstate(divide="ignore"):
        logs = np.log(np.maximum(np.append(values, np.zeros(max(0, j.shape[1] - len(values)))), resolution))
    logs[len(values):] = -np.inf
    return np.sort(logs)


def cdf(logs, at):
    return np.searchsorted(logs, at, side="right") / len(logs)


def exact_cdf(module, x, at, **options):
    return np.mean([cdf(log_values(j), at) for j in jacobian(module, x, **options)], axis=0)


class Matrix(nn.Module):
    """Multiplies with a matrix that is given."""

    def __init__(self, matrix):
        super().__init__()
        self.register_buffer("matrix", torch.as_tensor(matrix))

    def forward(self, x):
        return x @ self.matrix.T


class Recurrent(nn.Module):
    """The last state of a GRU."""

    def __init__(self):
        super().__init__()
        self.gru = nn.GRU(3, 8, batch_first=True)

    def forward(self, x):
        return self.gru(x)[1][0]


class Attention(nn.Module):
    """Attention of a sequence to itself."""

    def __init__(self):
        super().__init__()
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)

    def forward(self, x):
        return self.attention(x, x, x, need_weights=False)[0]


class Reads(torch.autograd.Function):
    """An exponential whose derivative reads a number, which vmap refuses."""

    @staticmethod
    def forward(x):
        return x.exp()

    @staticmethod
    def setup_context(ctx, inputs, output):
        ctx.save_for_backward(output)

    @staticmethod
    def backward(ctx, slope):
        slope.sum().detach().item()
        return slope * ctx.saved_tensors[0]


class Unbatched(nn.Module):
    """An exponential that torch cannot batch."""

    def forward(self, x):
        return Reads.apply(x)


class InPlace(nn.Module):
    """Writes to its input."""

    def forward(self, x):
        return torch.relu_(x) * 2


WHOLE = {  # module, input shape: all of the space is seen, so there is no error
    "square": (dense(20, 30, 20), (20,)),
    "more outputs": (dense(12, 30, 25), (12,)),
    "more inputs": (dense(25, 30, 12), (25,)),
    "linear": (lambda: nn.Linear(15, 15), (15,)),
    "relu, zeros": (lambda: nn.Sequential(nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 16), nn.ReLU()), (16,)),
    "identity": (nn.Identity, (9,)),
    "scalar": (lambda: nn.Linear(1, 1), (1,)),
    "one output": (lambda: nn.Linear(7, 1), (7,)),
    "zero": (lambda: nn.Sequential(nn.Linear(6, 4), nn.Threshold(1e9, 0.0)), (6,)),
    "convolution": (lambda: nn.Sequential(nn.Conv2d(2, 3, 3, padding=1), nn.BatchNorm2d(3, track_running_stats=True),
                                          nn.GELU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(12, 9)), (2, 4, 4)),
    "attention": (Attention, (4, 8)),
    "encoder": (lambda: nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), (4, 8)),
    "recurrent": (Recurrent, (5, 3)),
    "unbatched": (Unbatched, (10,)),
    "in place": (InPlace, (10,)),
}


@pytest.mark.parametrize("name", WHOLE)
def test_with_as_many_probes_as_values_it_is_exact(name):
    build, shape = WHOLE[name]
    module, x = made(build), inputs(2, *shape)
    if name == "convolution":
        module(inputs(20, *shape))
    found = spectral_density(module.eval(), x, probes=1000, steps=1000)
    # eight decimals: the encoder's layer normalizations leave values of 1e-10, where rounding mixes neighbours
    np.testing.assert_allclose(found.cdf, exact_cdf(module, x, found.grid), rtol=0, atol=1e-8)
    assert (found.probe_se == 0).all()
    assert found.cdf_se.max() < 1e-12
    logs = np.concatenate([log_values(j)[-found.probes:] for j in jacobian(module, x)])
    for extreme, value in zip(found.extremes, (logs.max(), logs.min()), strict=True):
        assert extreme.converged == (value > found.resolution or value == -np.inf)
        assert extreme.log_value == pytest.approx(value, abs=1e-9)
    assert np.isfinite(found.grid).all()
    assert np.isfinite(found.density).all()
    assert np.isfinite(found.density_se).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_few_probes_in_either_precision_are_within_their_error(dtype):
    module, x = made(dense(60, 90, 50)).to(dtype), inputs(3, 60).to(dtype)
    found = spectral_density(module, x, steps=20)
    off = np.abs(found.cdf - exact_cdf(module, x, found.grid))
    assert (off <= 3 * found.cdf_se).all()
    assert 0 < off.max() < 0.05
    assert found.resolution == pytest.approx(
        np.log(60 * torch.finfo(dtype).eps) + found.extremes.largest.log_value, abs=1e-3)
    assert (found.n_inputs, found.probes, found.steps, found.seed, found.network_se) == (60, 8, 20, 0, None)
    assert found.cdf[0] == pytest.approx(10 / 60, abs=0.01)  # zeros by shape
    assert found.cdf[-1] == pytest.approx(1)


def test_the_error_of_the_probes_is_what_seeds_scatter():
    module, x = Matrix(np.diag(np.repeat([1.0, 2.0, 3.0, 4.0], 10))), inputs(1, 40)
    at = np.log([1.5, 2.5, 3.5])
    runs = [spectral_density(module, x, probes=4, steps=8, seed=seed, grid=at) for seed in range(50)]
    ratio = np.std([run.cdf for run in runs], axis=0) / runs[0].probe_se
    assert np.all((0.7 < ratio) & (ratio < 1.3)), ratio


@pytest.mark.parametrize("values", [
    np.repeat([0.0, 0.1, 1.0], [40, 50, 60]), np.append(np.linspace(0.5, 1.5, 149), 1000.0),
    np.append(np.zeros(20), np.geomspace(1e-3, 1, 130)), np.geomspace(1e-9, 1, 150)],
    ids=["atoms", "outlier", "zeros under an edge", "nine decades"])
@pytest.mark.parametrize("steps", [2, 12, 40])
def test_what_the_steps_do_not_see_is_in_the_error(values, steps):
    turn, back = (torch.linalg.qr(inputs(150, 150, seed=seed))[0].numpy() for seed in (1, 2))
    module, x = Matrix((turn * values) @ back), inputs(1, 150)
    logs = np.sort(log_values(jacobian(module, x)[0]))
    at = np.linspace(-22, logs.max() + 0.1, 301)
    at = at[np.min(np.abs(at[:, None] - logs), axis=1) > 1e-6]
    for seed in range(2):
        found = spectral_density(module, x, steps=steps, seed=seed, grid=at)
        assert (np.abs(found.cdf - cdf(logs, at)) <= 3.5 * found.cdf_se).all()
        assert (np.diff(found.cdf) > -1e-12).all()
        assert found.cdf_se.max() < 1


def test_the_bottom_of_a_hard_edge_is_said_to_be_unknown_and_the_top_known():
    module, x = made(lambda: nn.Sequential(*[nn.Linear(300, 300, bias=False) for _ in range(4)])), inputs(1, 300)
    found, logs = spectral_density(module, x), log_values(jacobian(module, x)[0])
    assert found.extremes.largest.converged
    assert found.extremes.largest.log_value == pytest.approx(logs[-1], abs=1e-6)
    assert not found.extremes.smallest.converged
    assert found.extremes.smallest.log_value > logs[0]
    off = np.abs(found.cdf - cdf(logs, found.grid))
    assert (off <= 3 * found.cdf_se).all()


def test_twelve_decades_seen_whole():
    """Where a basis loses its orthogonality, values appear above the largest."""
    turn, back = (torch.linalg.qr(inputs(60, 60, seed=seed))[0].numpy() for seed in (1, 2))
    module = Matrix((turn * np.logspace(0, -12, 60)) @ back)
    for probes in (8, 60):
        largest, smallest = spectral_density(module, inputs(1, 60), probes=probes, steps=60).extremes
        assert largest.log_value == pytest.approx(0, abs=1e-9)
        assert smallest.log_value == pytest.approx(-12 * np.log(10), abs=1e-3)


def test_density_is_of_ln_s_and_within_its_error():
    module, x = made(dense(120, 200, 150)), inputs(2, 120)
    found = spectral_density(module, x)
    half = found.smoothing / 2
    exact = (exact_cdf(module, x, found.grid + half) - exact_cdf(module, x, found.grid - half)) / found.smoothing
    assert (np.abs(found.density - exact) <= 3 * found.density_se).all()
    assert np.trapezoid(found.density, found.grid) == pytest.approx(1, abs=0.02)


def test_dropout_is_drawn_once():
    module = made(lambda: nn.Sequential(nn.Linear(12, 20), nn.Dropout(0.5), nn.Tanh(), nn.Linear(20, 12)))
    x = inputs(1, 12)
    torch.manual_seed(3)
    found = spectral_density(module.train(), x, probes=12)
    torch.manual_seed(3)
    module(x)  # it runs once to find where it begins
    j = torch.autograd.functional.jacobian(lambda at: module(at[None])[0], x[0])
    np.testing.assert_allclose(found.cdf, cdf(log_values(j), found.grid), atol=1e-12)


class Two(nn.Module):
    """Takes tokens and numbers by name, returns a mapping."""

    def __init__(self):
        super().__init__()
        self.embedding, self.body = nn.Embedding(5, 6), nn.Linear(6, 4)

    def forward(self, numbers, tokens):
        return {"logits": self.body(torch.tanh(numbers * self.embedding(tokens))), "more": numbers}


def test_a_part_one_output_of_many_and_named_inputs_as_of_jacobian():
    module, x = made(lambda: nn.Sequential(dense(8, 9, 10)(), nn.Tanh(), nn.Linear(10, 7))), inputs(2, 8)
    for between in (("0.2", "1"), ("1", None), (None, "0")):
        found = spectral_density(module, x, probes=50, between=between)
        np.testing.assert_allclose(found.cdf, exact_cdf(module, x, found.grid, between=between), atol=1e-12)
        assert found.n_inputs == {"0.2": 9, "1": 10, None: 8}[between[0]]
    two, named = made(Two), {"numbers": inputs(2, 6), "tokens": torch.tensor([1, 4])}
    found = spectral_density(two, named, probes=50, output="logits")
    np.testing.assert_allclose(found.cdf, exact_cdf(two, named, found.grid, output="logits"), atol=1e-12)
    tokens = nn.Sequential(nn.Embedding(5, 6), nn.Tanh(), nn.Flatten(), nn.Linear(12, 3)).double()
    found = spectral_density(tokens, torch.tensor([[1, 2], [0, 4]]), probes=50, between=("1", None))
    assert found.n_inputs == 12


def test_scatter_of_networks_is_apart_from_the_noise_of_probes():
    networks = [made(dense(30, 30, 30), seed) for seed in range(5)]
    for network, scale in zip(networks, (0.5, 1, 1.5, 2, 4), strict=True):
        network[2].weight.data *= scale
    x, at = inputs(2, 30), np.linspace(-4, 1, 60)
    found = spectral_density(networks, x, grid=at)
    exact = np.array([exact_cdf(network, x, at) for network in networks])
    assert np.array_equal(found.grid, at)
    assert (np.abs(found.cdf - exact.mean(0)) <= 3 * np.hypot(found.probe_se, 0.01)).all()
    scatter = exact.std(0, ddof=1) / np.sqrt(len(networks))
    middle = (exact.mean(0) > 0.2) & (exact.mean(0) < 0.8)
    np.testing.assert_allclose(found.network_se[middle], scatter[middle], rtol=0.2)
    assert (found.cdf_se**2 >= found.probe_se**2 + found.network_se**2 - 1e-15).all()
    single = spectral_density(networks[1], x, grid=at)
    alike = spectral_density([networks[1]] * 4, x, grid=at)  # the same network: only probes differ
    assert single.network_se is None
    assert np.median(alike.network_se) <= np.median(alike.probe_se)
    np.testing.assert_allclose(alike.probe_se[middle], single.probe_se[middle] / 2, rtol=0.2)


def test_everything_is_left_as_it_was_and_the_seed_decides():
    module = made(lambda: nn.Sequential(nn.Linear(9, 9), nn.BatchNorm1d(9), nn.Dropout(0.3), nn.Tanh()))
    x = inputs(2, 9)
    module(inputs(20, 9))
    module.eval()[2].train()
    module[0].weight.grad = torch.ones_like(module[0].weight)
    before, random = {name: value.clone() for name, value in module.state_dict().items()}, torch.get_rng_state()
    first = spectral_density(module, x, probes=3, seed=5)
    again, other = spectral_density(module, x, probes=3, seed=5), spectral_density(module, x, probes=3, seed=6)
    assert np.array_equal(first.cdf, again.cdf)
    assert np.array_equal(first.density_se, again.density_se)
    assert first.extremes == again.extremes
    assert not np.array_equal(first.cdf, other.cdf)
    assert torch.equal(random, torch.get_rng_state())
    assert torch.equal(x, inputs(2, 9))
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())
    assert [part.training for part in module] == [False, False, True, False]
    assert torch.equal(module[0].weight.grad, torch.ones_like(module[0].weight))
    assert all(value.requires_grad and not value._backward_hooks for value in module.parameters())
    assert not any(part._forward_hooks or part._forward_pre_hooks for part in module.modules())


def test_probes_that_do_not_fit_together_go_a_few_at_a_time(monkeypatch):
    module, x = made(dense(30, 30, 30)), inputs(1, 30)
    together = spectral_density(module, x, steps=10)
    monkeypatch.setattr(matrix_free, "memory_limit", lambda device: 3 * 8 * 11 * 60)
    np.testing.assert_allclose(spectral_density(module, x, steps=10).cdf, together.cdf, atol=1e-12)
    monkeypatch.setattr(matrix_free, "memory_limit", lambda device: 1000.0)
    with pytest.raises(MemoryError, match=r"10 steps of 30 \+ 30 numbers take 5\.28e\+03 bytes of 1e\+03"):
        spectral_density(module, x, steps=10)


@pytest.mark.parametrize(("options", "error", "says"), [
    ({"probes": 0}, ValueError, "probes must be a whole number >= 1, got 0"),
    ({"probes": 2.5}, TypeError, "probes must be a whole number >= 1, got 2.5"),
    ({"steps": 1}, ValueError, "steps must be a whole number >= 2, got 1"),
    ({"seed": -1}, ValueError, "seed must be a whole number >= 0, got -1"),
    ({"grid": [1, 1]}, ValueError, r"grid must be finite, ascending values of ln s, got \[1, 1\]"),
    ({"grid": [0, np.inf]}, ValueError, "grid must be finite"),
    ({"grid": [[0.0]]}, ValueError, "grid must be finite"),
    ({"between": ("0", "nothing")}, ValueError, "nothing"),
    ({"output": 7}, ValueError, None)])
def test_bad_arguments_are_refused_by_name(options, error, says):
    with pytest.raises(error, match=says):
        spectral_density(made(dense(4, 5, 3)), inputs(2, 4), **options)


def test_bad_modules_and_inputs_are_refused():
    module, x = made(dense(4, 5, 3)), inputs(2, 4)
    for none in ([], [module, "module"]):
        with pytest.raises(TypeError, match="module must be an"):
            spectral_density(none, x)
    with pytest.raises(ValueError, match=r"one shape \(outputs, inputs\), got \[\(3, 4\), \(6, 4\)\]"):
        spectral_density([module, made(dense(4, 5, 6))], x)
    with pytest.raises(ValueError, match=r"x must have a sample at least, and entries, got shape \(0, 4\)"):
        spectral_density(module, x[:0])
    with pytest.raises(ValueError, match="x must be a tensor"):
        spectral_density(module, x[0])
    with pytest.raises(ValueError, match="BatchNorm in training mode"):
        spectral_density(nn.Sequential(module, nn.BatchNorm1d(3)).double().train(), x)
    with pytest.raises(ValueError, match="a product with the Jacobian is not finite"):
        spectral_density(Matrix(np.full((4, 4), np.nan)), x)


@pytest.mark.gpu
def test_on_a_device_it_is_the_same():
    module, x = made(dense(60, 90, 50)), inputs(2, 60)
    here = spectral_density(module, x, steps=20)
    there = spectral_density(module.cuda(), x.cuda(), steps=20)
    np.testing.assert_allclose(there.cdf, here.cdf, rtol=0, atol=1e-8)
    np.testing.assert_allclose(there.extremes.largest.log_value, here.extremes.largest.log_value, atol=1e-9)


def test_a_module_that_cannot_be_differentiated_twice_is_refused():
    with pytest.raises(ValueError, match="J v needs a derivative that can be differentiated"):
        spectral_density(nn.Sequential(nn.Linear(4, 4), nn.Hardsigmoid()).double(), inputs(1, 4))


CHANNELS = [3, *[16] * 7, 4]


def convolutions(activation):
    layers = []
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        for fan_in, fan_out in pairwise(CHANNELS):
            layers += [nn.Conv2d(fan_in, fan_out, 3, padding=1), activation()]
            nn.init.kaiming_normal_(layers[-2].weight, nonlinearity="relu" if activation is nn.ReLU else "linear")
            nn.init.zeros_(layers[-2].bias)
        return nn.Sequential(*layers[:-1], nn.Flatten()), torch.randn(1, 3, 32, 32)


@pytest.fixture(scope="module", params=[nn.Tanh, nn.ReLU], ids=["tanh", "relu"])
def convolutional(request):
    """Return an eight-layer network on 3 x 32 x 32, its input, all its ln s and the seconds that they took."""
    module, x = convolutions(request.param)
    start = time.perf_counter()
    logs = log_values(jacobian(module, x)[0])
    return module, x, logs, time.perf_counter() - start


@pytest.mark.slow
def test_a_convolutional_network_within_its_error_at_a_tenth_of_the_cost(convolutional):
    module, x, logs, dense_seconds = convolutional
    spectral_density(module, x, steps=2)  # what torch loads once
    seconds, distances, largest, within_two = [], [], [], []
    for seed in range(20):
        start = time.perf_counter()
        found = spectral_density(module, x, seed=seed)
        seconds.append(time.perf_counter() - start)
        off = np.abs(found.cdf - cdf(logs, found.grid))
        distances.append(off.max())
        largest.append(np.max(off / found.cdf_se))
        within_two.append(np.mean(off <= 2 * found.cdf_se))
        assert found.extremes.largest.converged
        assert found.extremes.largest.log_value == pytest.approx(logs[-1], abs=1e-4)
    print(f"\nsup distance {np.median(distances):.4f} (at most {max(distances):.4f}); within 3 errors in "
          f"{np.sum(np.array(largest) <= 3)} of 20; within 2 at {np.mean(within_two):.3f} of points; "
          f"{np.median(seconds):.2f} s, dense {dense_seconds:.1f} s")
    assert max(distances) < 0.015
    assert np.sum(np.array(largest) <= 3) >= 19
    assert np.mean(within_two) > 0.94
