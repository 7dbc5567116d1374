"""Measuring: the same seed gives the same bits everywhere; bad input is refused."""

import math
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from torch import nn

from empirical import Measurement, build, jacobian, log_singular_values, measure
from empirical.inputs import array, digits, gaussian
from empirical.workers import workers
from rmt import compare, mlp, predict

NET = mlp([6] * 4, bias_std=0.1)


def values(net=NET, **options):
    return measure(net, **{"draws": 3, "progress": False, **options}).log_singular_values


def inputs(*shape):
    return torch.linspace(-1.3, 1.7, math.prod(shape), dtype=torch.float64).reshape(shape)


def test_the_same_seed_gives_the_same_bits_on_any_executor():
    alone = values(draws=6, seed=5, inputs=digits(), net=mlp([64, 9, 9]))
    with workers(2) as processes, ThreadPoolExecutor(3) as threads:
        for executor in (processes, threads):
            found = values(draws=6, seed=5, inputs=digits(), net=mlp([64, 9, 9]), executor=executor)
            np.testing.assert_array_equal(found, alone)
    assert not np.array_equal(values(seed=5), values(seed=6))


def test_more_draws_extend_the_same_sequence():
    few, more = values(draws=2), values(draws=5)
    np.testing.assert_array_equal(more[:2], few)
    assert len(np.unique(more[:, 0, 0])) == 5  # five different networks


def test_weights_do_not_depend_on_dtype_or_global_state():
    first = [p.detach() for p in build(NET, 7).parameters()]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(99)
        second = [p.detach() for p in build(NET, 7).parameters()]
    single = [p.detach() for p in build(NET, 7, dtype="float32").parameters()]
    for a, b, c in zip(first, second, single, strict=True):
        assert torch.equal(a, b)
        assert c.dtype == torch.float32
        assert torch.equal(a.float(), c)
    assert not torch.equal(first[0], next(build(NET, 8).parameters()))


@pytest.mark.parametrize(("init", "mean_square"), [
    ("gaussian(sigma_w=1.5)", 2.25 / 40), ("xavier_normal", 2 / 100), ("xavier_normal(gain=2)", 8 / 100),
    ("kaiming_normal", 2 / 40), ("kaiming_normal(mode='fan_out')", 2 / 60), ("orthogonal", 1 / 60),
])
def test_weights_have_the_variance_of_the_scheme(init, mean_square):
    """Normal: 24000 entries, so the mean square is within 5 sigma = 4.6 % but for one run in 2 million."""
    drawn = [build(mlp([40, 60], "linear", init, bias_std=0.5), seed)[0] for seed in range(10)]
    w, b = np.array([d.weight.tolist() for d in drawn]), np.array([d.bias.tolist() for d in drawn])
    assert np.mean(w**2) == pytest.approx(mean_square, rel=1e-12 if init == "orthogonal" else 5 * math.sqrt(2 / w.size))
    assert abs(w.mean()) < 5 * math.sqrt(mean_square / w.size)
    assert np.mean(b**2) == pytest.approx(0.25, rel=5 * math.sqrt(2 / b.size))


def nan_weight():
    module = build(mlp([4, 4]), 0)
    module[0].weight.data[0, 0] = math.nan
    return module


@pytest.mark.parametrize("function", [jacobian, log_singular_values])
@pytest.mark.parametrize(("module", "x", "says"), [
    (lambda: build(mlp([4, 4]), 0), inputs(2, 4) * math.nan, "x must be finite"),
    (lambda: build(mlp([4, 4]), 0), inputs(2, 4) * math.inf, "x must be finite"),
    (lambda: build(mlp([4, 4]), 0), inputs(4), "batch"),
    (lambda: build(mlp([4, 4]), 0), inputs(2, 5), "shape"),
    (lambda: build(mlp([4, 4]), 0), torch.ones(2, 4, dtype=torch.long), "int64"),
    (lambda: build(mlp([4, 4]), 0), torch.ones(2, 4, dtype=torch.complex128), "complex128"),
    (lambda: build(mlp([4, 4]), 0), np.ones((2, 4)), "ndarray"),
    (lambda: nn.Sequential(nn.BatchNorm1d(4)).double(), inputs(2, 4), "0: BatchNorm in training mode"),
    (nan_weight, inputs(2, 4), "finite|NaN"),
])
def test_bad_input_is_refused_by_name(function, module, x, says):
    with pytest.raises((ValueError, RuntimeError), match=says):
        function(module(), x)


@pytest.mark.parametrize(("options", "says"), [
    ({"draws": 0}, "draws"), ({"draws": 2.5}, "draws"), ({"seed": -1}, "seed"), ({"inputs_per_network": 0}, "inputs_p"),
    ({"dtype": "float16"}, "dtype"), ({"inputs": "digits"}, "inputs"), ({"inputs": digits()}, "shape"),
    ({"net": 3}, "source"), ({"net": lambda: nn.Linear(2, 2), "store": "x"}, "label"),
    ({"net": mlp([64, 3]), "inputs": digits(), "inputs_per_network": 1798}, "1797"),
])
def test_bad_arguments_of_measure_are_refused_by_name(options, says):
    with pytest.raises((ValueError, TypeError), match=says):
        values(**options)


def test_the_digits_are_standardised_as_the_theory_needs_them():
    source = digits()
    assert source.values.shape == (1797, 64)
    np.testing.assert_allclose(np.mean(source.values**2, axis=1), 1, rtol=1e-12)
    assert source.mean_square == pytest.approx(1, rel=1e-12)
    unit = source.values / 8
    pairs = (unit @ unit.T)[~np.eye(1797, dtype=bool)]
    assert source.correlation == pytest.approx(pairs.mean(), rel=1e-9)
    assert source.correlation == pytest.approx(0.48, abs=0.005)


@pytest.mark.parametrize("x", [[1, 2], [[1, 2]], [[1, math.nan], [1, 2]], [[0, 0], [1, 2]], [["a"], ["b"]], 3])
def test_inputs_that_are_no_array_of_samples_are_refused(x):
    with pytest.raises(ValueError, match=r"x must|could not convert"):
        array(x)
    with pytest.raises(ValueError, match="variance"):
        gaussian(0)


def test_an_isometry_measured_in_single_precision_agrees():
    network = mlp([40] * 31, "linear", "orthogonal")
    assert compare(predict(network), measure(network, draws=3, dtype="float32", progress=False)).verdict == "agrees"


def test_a_measurement_survives_a_file_and_joins_only_its_like(tmp_path):
    first, second = (measure(NET, draws=2, seed=seed, inputs_per_network=2, progress=False) for seed in (0, 1))
    first.save(tmp_path / "m.npz")
    loaded = Measurement.load(tmp_path / "m.npz")
    for name in Measurement.__dataclass_fields__:
        np.testing.assert_array_equal(getattr(loaded, name), getattr(first, name))
    both = loaded + second
    assert both.log_singular_values.shape == (4, 2, 6)
    np.testing.assert_array_equal(both.log_singular_values[2:], second.log_singular_values)
    other = measure(mlp([6] * 4, "linear"), draws=1, inputs_per_network=2, progress=False)
    for different in (other, measure(NET, draws=1, inputs_per_network=2, inputs=gaussian(2), progress=False),
                      measure(NET, draws=1, progress=False)):
        with pytest.raises(ValueError, match="different"):
            first + different
    with pytest.raises(ValueError, match="networks in common"):
        first + measure(NET, draws=3, inputs_per_network=2, progress=False)
    with pytest.raises(TypeError):
        first + 1
