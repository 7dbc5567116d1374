"""The neural tangent kernel of a network: its top eigenvalue, and the largest learning rate that trains."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse.linalg import LinearOperator, eigsh
from torch import nn

from empirical.checks import check_inputs
from empirical.kept import Arrays
from empirical.labelled import CLASSES, Images, tensors
from empirical.training import drawn, sgd, step

LEARNED = 0.5  # of the loss of a guess, ln(classes)
LOST = 1e3  # times the first loss: divergence, as Bjorck et al. have it
_LAST = 10  # minibatches whose mean loss counts
_TOLERANCE = 1e-3  # of an eigenvalue


def top_eigenvalue(module: nn.Module, x: torch.Tensor) -> float:
    """Return the largest eigenvalue of the tangent kernel over the batch size.

    The kernel, (batch * outputs)^2, is the product of the Jacobian of all outputs in all parameters with its transpose;
    of the whole batch, so that normalizations in training mode couple its samples. For the loss |f - y|^2 / (2 batch),
    gradient descent with small moves is stable below 2 over this (Lanczos on products with the Jacobian; a thousandth).

    Parameters
    ----------
    module : torch.nn.Module
        As it is, and left so.
    x : tensor (batch, *input_shape)
    """
    check_inputs(x)
    state = {name: value.detach() for name, value in module.named_parameters()}
    buffers = dict(module.named_buffers())

    def outputs(parameters: dict[str, torch.Tensor]) -> torch.Tensor:
        own = {name: value.clone() for name, value in buffers.items()}  # statistics are written to
        return torch.func.functional_call(module, {**parameters, **own}, (x,)).flatten()

    flat, pulled = torch.func.vjp(outputs, state)[:2]

    def product(v: NDArray[np.float64]) -> NDArray[np.float64]:
        direction = pulled(torch.as_tensor(v.ravel(), dtype=flat.dtype, device=flat.device))[0]
        return torch.func.jvp(outputs, (state,), (direction,))[1].double().cpu().numpy()

    n = flat.numel()
    start = np.random.default_rng(0).standard_normal(n)
    first = product(start)
    if n == 1 or not first.any():  # which Lanczos does not take
        return float(first[0] / start[0]) / len(x)
    kernel = LinearOperator((n, n), matvec=product, dtype=np.float64)
    return float(eigsh(kernel, 1, which="LA", tol=_TOLERANCE, v0=start, return_eigenvectors=False)[0]) / len(x)


@dataclass(frozen=True)
class LargestLearningRate:
    """The largest learning rate of a grid with which a `cifar_resnet` trains, from the top down.

    It trains if, within `steps` minibatches of SGD with momentum at that constant rate, the mean loss of ten in a row
    falls under half of ln(classes), a guess's; a loss that is not finite, or over a thousand times the first, ends it.
    The answer has `learning_rate` (0 if none of the grid trains) and `predicted`, 2 over the top eigenvalue of the
    tangent kernel at initialization on one minibatch: the bound for small moves of squared error without momentum.
    """

    depth: int
    norm: str
    seed: int
    grid: tuple[float, ...]
    steps: int
    batch: int
    images: Images
    device: str = "cpu"
    dtype: str = "float32"

    def run(self, partial: Path | None) -> Arrays:
        """Try learning rates from the largest on."""
        module = drawn(self.depth, self.norm, self.seed, self.device, self.dtype)
        x, _ = self.images.batch(self.batch, self.seed, self.device, self.dtype)
        top = top_eigenvalue(module, x)
        predicted = 2 / top if top else math.inf
        largest = next((rate for rate in sorted(self.grid, reverse=True) if self.trains(rate)), 0.0)
        return {"learning_rate": np.array(largest), "predicted": np.array(predicted)}

    def trains(self, learning_rate: float) -> bool:
        """Return whether it trains with this learning rate."""
        module = drawn(self.depth, self.norm, self.seed, self.device, self.dtype)
        optimizer, rng = sgd(module, learning_rate), np.random.default_rng(self.seed)
        losses: list[float] = []
        for _ in range(self.steps):
            rows = rng.choice(self.images.training.count, self.batch, replace=False)
            losses.append(step(module, optimizer, *tensors(self.images.training, rows, self.device, self.dtype))[1])
            if not losses[-1] < LOST * losses[0]:
                return False
            if len(losses) >= _LAST and np.mean(losses[-_LAST:]) < LEARNED * math.log(CLASSES):
                return True
        return False
