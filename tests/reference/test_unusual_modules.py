"""Modules as people wrap, checkpoint, script and write them: measured as plain autograd has them."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from torch import nn

from empirical import (
    describe,
    jacobian,
    log_singular_values,
    spectral_density,
)
from empirical.diagnose import diagnose
from empirical.unwrapped import as_written
from tests.modules import MEASURED, Again, Checkpointed, N, Own, autograd, chain, inputs, linear, made

pytestmark = pytest.mark.filterwarnings("ignore:.*weight_norm.*is deprecated:FutureWarning")


@pytest.mark.parametrize("name", MEASURED)
def test_measured_as_plain_autograd_has_it(name, capfd):
    module, x = made(MEASURED[name]), inputs()
    truth = autograd(module, x)
    found = jacobian(module, x)
    assert found.shape == truth.shape
    assert_allclose(found.numpy(), truth.numpy(), rtol=0, atol=1e-12)
    singular = np.linalg.svd(truth.numpy(), compute_uv=False)
    logs = log_singular_values(module, x)
    assert_allclose(np.exp(logs[:, : singular.shape[1]]), singular, rtol=1e-9, atol=1e-12)
    assert np.all(np.isneginf(logs[:, singular.shape[1] :]))
    if name == "a checkpoint of one's own":  # its way back is no function of the gradient to torch
        with pytest.raises(ValueError, match=r"a derivative that can be differentiated.* \(empirical.jacobian"):
            spectral_density(module, x[:1])
        return
    ends = spectral_density(module, x[:1], probes=N, steps=N).extremes
    assert ends.largest.log_value == pytest.approx(np.log(singular[0, 0]), abs=1e-9)
    assert all(parameter.grad is None for parameter in module.parameters())
    assert capfd.readouterr() == ("", "")


DESCRIBED = ["checkpoint, reentrant", "checkpointed residual, not reentrant", "segments, reentrant",
             "a checkpointed part", "DataParallel", "DataParallel of a checkpoint", "DataParallel inside", "averaged",
             "hook-based norms"]


@pytest.mark.parametrize("name", DESCRIBED)
def test_what_stands_around_layers_does_not_hide_them(name):
    module = made(MEASURED[name])
    found = diagnose(module, N)
    assert found.obstacle == ""
    layers = sum(isinstance(part, nn.Linear) for part in module.modules())
    assert len([row for row in found.weights if row.kind == "Linear"]) == layers
    assert found.description.network == describe(module, N)


def test_a_compiled_module_is_measured_as_written():
    """Nothing is compiled for it: that would need a compiler."""
    x = inputs()
    plain = made(chain)
    compiled, inside = torch.compile(plain), nn.Sequential(plain, torch.compile(plain))
    assert torch.equal(jacobian(compiled, x), jacobian(plain, x))
    assert_allclose(jacobian(inside, x).numpy(), jacobian(nn.Sequential(plain, plain), x).numpy(), atol=1e-13)
    assert describe(compiled, N) == describe(plain, N)


def test_names_of_parts_are_those_of_the_wrapper():
    module, x = made(lambda: nn.DataParallel(nn.Sequential(chain(), chain()))), inputs()
    truth = jacobian(module.module, x, between=("0.2", "1"))
    assert torch.equal(jacobian(module, x, between=("module.0.2", "module.1")), truth)
    assert torch.equal(jacobian(module, x, between=("module", None)), jacobian(module.module, x, between=(None, None)))
    assert_allclose(log_singular_values(module, x, between=("module.0.2", "module.1")),
                    np.log(np.linalg.svd(truth.numpy(), compute_uv=False)), rtol=1e-9)


def test_threads_that_measure_put_checkpoints_and_compilation_back_together():
    """The first to enter may be the first to leave."""
    own, stance = torch.utils.checkpoint.CheckpointFunction, torch._dynamo.eval_frame._stance.stance
    first, second = as_written(), as_written()
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    assert torch.utils.checkpoint.CheckpointFunction is not own
    second.__exit__(None, None, None)
    modules, x = [made(lambda i=i: Checkpointed(i % 2 == 0)) for i in range(8)], inputs()
    with ThreadPoolExecutor(4) as threads:
        found = [*threads.map(lambda module: jacobian(module, x), modules)]
    assert_allclose(found[0].numpy(), autograd(modules[0], x).numpy(), atol=1e-12)
    assert torch.utils.checkpoint.CheckpointFunction is own
    assert torch._dynamo.eval_frame._stance.stance == stance == "default"


def test_checkpoints_work_as_before_behind_a_measurement_and_while_it_raises():
    own = torch.utils.checkpoint.CheckpointFunction
    module, x = made(lambda: Checkpointed(True)), inputs()
    log_singular_values(module, x)
    with pytest.raises(ValueError, match="finite"):
        jacobian(module, x * torch.inf)
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        jacobian(module, inputs()[:, :3])
    assert torch.utils.checkpoint.CheckpointFunction is own
    module(x.requires_grad_(True)).sum().backward()
    assert all(parameter.grad.any() for parameter in module.parameters())


def test_gradients_that_were_there_are_kept():
    """A checkpoint of one's own adds to them on the way back."""
    module, x = made(lambda: Own(lambda own, x: own.b(Again.apply(x, own.a)))), inputs()
    module(x.clone().requires_grad_(True)).sum().backward()
    before = [parameter.grad for parameter in module.parameters()]
    values = [gradient.clone() for gradient in before]
    jacobian(module, x)
    assert all(parameter.grad is gradient for parameter, gradient in zip(module.parameters(), before, strict=True))
    assert all(map(torch.equal, before, values))


EYE = torch.eye(N, dtype=torch.float64)


def near_one(h):
    return EYE + 0.3 * h[:, :, None] * h[:, None, :]


BATCHED_WRONG_BY_TORCH = {  # some by what it has for several samples, some for several rows
    "distances": lambda h, w: torch.exp(-torch.cdist(h, w) ** 2 / 40),
    "distances, p = 1": lambda h, w: torch.cdist(h, w, p=1),
    "solve": lambda h, w: torch.linalg.solve(w + 4 * EYE, h.mT).mT,
    "solve of the signal": lambda h, w: torch.linalg.solve(near_one(h), h[:, :, None])[:, :, 0],
    "solve of ones": lambda h, w: torch.linalg.solve(near_one(h), torch.ones_like(EYE[0])),
    "slogdet": lambda h, w: h * torch.linalg.slogdet(near_one(h))[1][:, None],
    "logdet": lambda h, w: h * torch.logdet(near_one(h))[:, None],
    "det": lambda h, w: h * torch.linalg.det(near_one(h))[:, None],
    "LU": lambda h, w: torch.linalg.lu_solve(*torch.linalg.lu_factor(near_one(h)), h[:, :, None])[:, :, 0],
}


@pytest.mark.parametrize("name", BATCHED_WRONG_BY_TORCH)
def test_what_torch_batches_is_held_to_what_it_does_not(name):
    """Up to 10^5 times the truth before, and not at the first sample; at more samples than are held one by one, too."""
    function = BATCHED_WRONG_BY_TORCH[name]
    module, x = made(lambda: Own(lambda own, x: function(own.a(x), own.b.weight))), inputs(11)
    truth = autograd(module, x)
    assert_allclose(jacobian(module, x).numpy(), truth.numpy(), rtol=1e-12, atol=1e-13)
    singular = np.linalg.svd(truth.numpy(), compute_uv=False)
    assert_allclose(np.exp(log_singular_values(module, x)), singular, rtol=1e-9, atol=1e-13)
    if "distances" in name:
        with pytest.raises(ValueError, match=r"a derivative that can be differentiated.* \(empirical.jacobian"):
            spectral_density(module, x[:1])
        return
    ends = spectral_density(module, x[1:2], probes=N, steps=N).extremes
    assert ends.largest.log_value == pytest.approx(np.log(singular[1, 0]), abs=1e-9)


def test_rows_of_a_stage_are_held_to_one_product():
    """A chain whose values an SVD does not see: its distances are a stage, and their rows are not batched."""
    distances = Own(lambda own, x: torch.cdist(own.a(x), own.b.weight))
    module, x = made(lambda: nn.Sequential(linear(), linear(), distances)), inputs()
    scales = 4 * np.log(10) * np.arange(N)
    with torch.no_grad():
        module[0].weight.copy_(torch.diag(torch.from_numpy(np.exp(-scales))))
        module[1].weight.copy_(EYE)
    volume = np.linalg.slogdet(autograd(distances, module[:2](x).detach()).numpy())[1] - scales.sum()
    assert_allclose(log_singular_values(module, x).sum(1), volume, rtol=0, atol=1e-9)
