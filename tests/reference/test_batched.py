"""Many networks at once give the values of each alone."""

import numpy as np
import pytest
import torch

from empirical import measure
from empirical.batched import _chained, run_together
from empirical.inputs import gaussian
from empirical.task import Task
from rmt import mlp

NETWORKS = {
    "linear": mlp([20] * 9, "linear", "gaussian"),
    "deep": mlp([30] * 61, "linear", "gaussian"),
    "relu": mlp([16] * 13),
    "rectangular": mlp([12, 30, 8, 20, 15]),
    "tanh": mlp([16] * 13, "tanh", "gaussian(sigma_w=1.5)", bias_std=0.1),
    "saturated": mlp([16] * 20, "tanh", "gaussian(sigma_w=3)"),
    "no last activation": mlp([10] * 5, activate_last=False),
    "nothing alive": mlp([4] * 20),
    "width 1": mlp([1] * 5, "tanh"),
}


def tasks(network, inputs, count=5, device="cpu"):
    return [Task(network, "net", gaussian(), inputs, 0, index, device, "float64") for index in range(count)]


def same(got, wanted):
    np.testing.assert_array_equal(got == -np.inf, wanted == -np.inf)  # the same rank
    finite = wanted > -np.inf
    np.testing.assert_allclose(got[finite], wanted[finite], rtol=0, atol=1e-9)


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("inputs", [1, 3])
def test_together_they_have_the_values_they_have_alone(name, inputs):
    found = dict(run_together(tasks(NETWORKS[name], inputs), at_once=2))
    for task in tasks(NETWORKS[name], inputs):
        same(found[task].log_singular_values, task.run().log_singular_values)
        assert found[task].n_outputs == task.run().n_outputs


def test_a_saturated_network_is_left_to_the_chain_of_its_own():
    modules, inputs = zip(*(task.drawn()[:2] for task in tasks(NETWORKS["saturated"], 1, 12)), strict=True)
    held = _chained(modules, torch.stack(inputs))[2]
    assert 0 < held.sum() < 12


def test_measure_takes_them_together_on_a_device_and_stores_each(tmp_path):
    options = {"draws": 4, "store": tmp_path, "progress": False}
    together = measure(NETWORKS["relu"], device="cpu:0", **options)  # a device that is not the plain "cpu"
    assert len(list(tmp_path.glob("*.npz"))) == 4
    same(together.log_singular_values, measure(NETWORKS["relu"], draws=4, progress=False).log_singular_values)
    more = measure(NETWORKS["relu"], device="cpu:0", **{**options, "draws": 6})
    np.testing.assert_array_equal(more.log_singular_values[:4], together.log_singular_values)


@pytest.mark.gpu
@pytest.mark.parametrize("name", NETWORKS)
def test_a_gpu_gives_the_values_of_the_cpu(name):
    got = measure(NETWORKS[name], draws=20, device="cuda", progress=False)
    same(got.log_singular_values, measure(NETWORKS[name], draws=20, progress=False).log_singular_values)
