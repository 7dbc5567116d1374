"""The tangent kernel's top eigenvalue against dense Jacobians, and the search for the largest learning rate."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from empirical import tangent_kernel
from empirical.labelled import CLASSES, images
from empirical.tangent_kernel import LEARNED, LOST, LargestLearningRate, top_eigenvalue
from empirical.training import drawn

SPLIT = images(size=8)
X = SPLIT.batch(4, 0, dtype=torch.float64)[0]


def dense(module, x):
    """The same from the Jacobian of all outputs, row by row."""
    outputs, parameters = module(x).flatten(), [*module.parameters()]
    rows = [torch.cat([g.flatten() for g in torch.autograd.grad(value, parameters, retain_graph=True)])
            for value in outputs]
    j = torch.stack(rows).numpy()
    return np.linalg.eigvalsh(j @ j.T)[-1] / len(x)


@pytest.mark.parametrize("norm", ["none", "every", "last"])
def test_it_is_that_of_the_dense_jacobian_of_the_whole_batch(norm):
    """In training mode, in which samples are coupled; to the promised thousandth."""
    assert top_eigenvalue(drawn(8, norm, 0, dtype="float64"), X) == pytest.approx(
        dense(drawn(8, norm, 0, dtype="float64"), X), rel=1e-3)


def test_the_mode_of_the_module_counts():
    module = drawn(8, "every", 0, dtype="float64")
    of_training = top_eigenvalue(module, X)
    assert top_eigenvalue(module.eval(), X) == pytest.approx(dense(module, X), rel=1e-3)
    assert top_eigenvalue(module, X) != pytest.approx(of_training, rel=0.1)


def test_single_precision_is_enough():
    single = top_eigenvalue(drawn(8, "every", 0), X.float())
    assert single == pytest.approx(dense(drawn(8, "every", 0, dtype="float64"), X), rel=2e-3)


def test_it_is_the_squared_norm_of_the_jacobian_of_torch_func():
    module = nn.Sequential(nn.Linear(3, 7), nn.BatchNorm1d(7, track_running_stats=False), nn.Tanh(), nn.Linear(7, 2))
    module, x = module.double(), torch.as_tensor(np.random.default_rng(0).standard_normal((6, 3)))
    state = {name: value.detach() for name, value in module.named_parameters()}
    found = torch.func.jacrev(lambda state: torch.func.functional_call(module, state, (x,)).flatten())(state)
    j = torch.cat([part.reshape(12, -1) for part in found.values()], 1)
    assert top_eigenvalue(module, x) == pytest.approx(float(torch.linalg.matrix_norm(j, 2)) ** 2 / 6, rel=1e-3)


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("outputs", [1, 3])
def test_of_a_linear_layer_it_is_the_inputs_own(outputs, bias):
    """f = W x has the kernel X X^T for every output; a bias is one more input, 1."""
    x = np.random.default_rng(0).standard_normal((9, 5))
    full = np.column_stack([x, np.ones(9)]) if bias else x
    found = top_eigenvalue(nn.Linear(5, outputs, bias).double(), torch.as_tensor(x))
    assert found == pytest.approx(np.linalg.norm(full, 2) ** 2 / 9, rel=1e-3)


def test_a_kernel_of_one_entry_is_that_entry():
    found = top_eigenvalue(nn.Linear(5, 1).double(), torch.full((1, 5), 2.0, dtype=torch.float64))
    assert found == pytest.approx(21, rel=1e-12)


def test_a_kernel_of_zeros_has_the_eigenvalue_zero():
    assert top_eigenvalue(nn.Linear(5, 2, bias=False), torch.zeros(3, 5)) == 0


@pytest.mark.parametrize(("factor", "stable"), [(1.98, True), (2.02, False)])
def test_gradient_descent_is_stable_below_two_over_it(factor, stable):
    """Of |f - y|^2 / (2 batch), f linear, 300 steps."""
    rng = np.random.default_rng(0)
    x, y = torch.as_tensor(rng.standard_normal((9, 5))), torch.as_tensor(rng.standard_normal((9, 3)))
    module = nn.Linear(5, 3, bias=False).double()
    optimizer, losses = torch.optim.SGD(module.parameters(), factor / top_eigenvalue(module, x)), []
    for _ in range(300):
        optimizer.zero_grad()
        loss = (module(x) - y).square().sum() / 18
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert (losses[-1] < losses[0]) == stable


@pytest.mark.parametrize("training", [True, False])
def test_the_module_is_left_as_it_is(training):
    module = drawn(8, "every", 0, dtype="float64").train(training)
    module.last.training = not training
    module.fc.bias.requires_grad_(False)
    module.fc.weight.grad = grad = torch.ones_like(module.fc.weight)
    before = {name: value.clone() for name, value in module.state_dict().items()}
    modes, flags = ([getattr(part, name) for part in parts] for parts, name in (
        ([*module.modules()], "training"), ([*module.parameters()], "requires_grad")))
    x, random = X.clone(), torch.get_rng_state()
    top_eigenvalue(module, x)
    assert before.keys() == module.state_dict().keys()
    assert all(torch.equal(before[name], value) for name, value in module.state_dict().items())
    assert modes == [part.training for part in module.modules()]
    assert flags == [value.requires_grad for value in module.parameters()]
    assert module.fc.weight.grad is grad
    assert torch.equal(grad, torch.ones_like(grad))
    assert all(value.grad is None for name, value in module.named_parameters() if name != "fc.weight")
    assert not any(part._forward_hooks or part._forward_pre_hooks for part in module.modules())
    assert torch.equal(x, X)
    assert torch.equal(random, torch.get_rng_state())


# ---- the largest learning rate ---------------------------------------------------------------------------------------


def job(norm="every", grid=(0.1,), steps=60, batch=32, **options):
    return LargestLearningRate(8, norm, 0, grid, steps, batch, SPLIT, **options)


@pytest.mark.parametrize(("most", "tried", "largest"), [
    (0.3, [3.0, 1.0, 0.3], 0.3), (9.0, [3.0], 3.0), (0.0, [3.0, 1.0, 0.3, 0.1], 0.0)])
def test_rates_are_tried_from_the_largest_on_and_none_is_skipped(monkeypatch, most, tried, largest):
    seen, of = [], []
    monkeypatch.setattr(LargestLearningRate, "trains", lambda self, rate: seen.append(rate) or rate <= most)
    monkeypatch.setattr(tangent_kernel, "top_eigenvalue", lambda *arguments: of.append(arguments) or 8.0)
    found = job(grid=(0.3, 3.0, 0.1, 1.0), batch=4, dtype="float64").run(None)
    assert seen == tried
    assert found["learning_rate"] == largest
    assert found["predicted"] == 0.25
    (module, x), = of
    assert torch.equal(x, X)
    assert module.training
    assert all(torch.equal(value, drawn(8, "every", 0, dtype="float64").state_dict()[name])
               for name, value in module.state_dict().items())


@pytest.mark.parametrize("norm", ["every", "none"])
def test_a_moderate_rate_trains_and_a_huge_one_does_not(norm):
    assert job(norm).trains(0.1)
    assert not job(norm).trains(1e6)
    assert not job(norm, steps=9).trains(0.1)  # ten losses are a mean


ENOUGH = LEARNED * math.log(CLASSES)


@pytest.mark.parametrize(("losses", "trains", "used"), [
    ([3.0] * 5 + [ENOUGH - 1e-6] * 12, True, 15), ([3.0] * 5 + [ENOUGH + 1e-6] * 12, False, 17),
    ([0.1] * 12, True, 10), ([0.1] * 9, False, 9),
    ([2.0, 0.999 * LOST * 2.0] + [0.1] * 15, True, 12), ([2.0, 1.001 * LOST * 2.0] + [0.1] * 15, False, 2),
    ([2.0, math.nan] + [0.1] * 15, False, 2), ([math.nan] + [0.1] * 15, False, 1), ([2.0, math.inf], False, 2)])
def test_ten_losses_in_a_row_decide_and_a_lost_one_ends_it(monkeypatch, losses, trains, used):
    left = iter(losses)
    monkeypatch.setattr(tangent_kernel, "step", lambda module, optimizer, x, y: (None, next(left)))
    assert job(steps=len(losses)).trains(0.1) == trains
    assert len(losses) - len([*left]) == used


def test_minibatches_are_drawn_at_random_without_repeats_and_the_rate_is_constant(monkeypatch):
    seen = []

    def watched(module, optimizer, x, y):
        seen.append((x.clone(), optimizer.param_groups[0]["lr"]))
        return None, 3.0

    monkeypatch.setattr(tangent_kernel, "step", watched)
    assert not job(steps=12).trains(0.25)
    assert {rate for _, rate in seen} == {0.25}
    batches = [{one.numpy().tobytes() for one in x} for x, _ in seen]
    assert {len(batch) for batch in batches} == {32}
    assert len(set.union(*batches)) > 300
