"""What one large step along the gradient does: to the loss, and to the channels of a network."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from empirical.backward import channel_moments, watch
from empirical.kept import Arrays
from empirical.labelled import Images
from empirical.resnet import CifarResNet
from empirical.training import drawn

DIVERGED = 1e3  # relative loss


@dataclass(frozen=True)
class RelativeLoss:
    """The loss on a minibatch after one step along its own gradient, over the loss before it.

    Weights are those of initialization, normalizations in training mode. The answer is `relative_loss`, one value a
    step of `steps`: inf where the network leaves the range of a float.
    """

    depth: int
    norm: str
    seed: int
    minibatch: int
    batch: int
    images: Images
    steps: tuple[float, ...]
    device: str = "cpu"
    dtype: str = "float32"

    def run(self, partial: Path | None) -> Arrays:
        """Take every step from the same weights."""
        _, loss = self.start()
        before, after = loss(0.0), np.array([loss(step) for step in self.steps])
        return {"relative_loss": np.where(np.isfinite(after), after / before, np.inf)}

    def start(self) -> tuple[CifarResNet, Callable[[float], float]]:
        """Return the network, and its loss after a step from where it began."""
        module = drawn(self.depth, self.norm, self.seed, self.device, self.dtype)
        needed = self.batch * (self.minibatch + 1)
        x, y = self.images.batch(needed, self.seed, self.device, self.dtype)
        if len(x) < needed:
            raise ValueError(f"minibatch {self.minibatch} of {self.batch} needs {needed} images, there are {len(x)}")
        x, y = x[-self.batch :], y[-self.batch :]
        parameters = [*module.parameters()]
        gradients = torch.autograd.grad(F.cross_entropy(module(x), y), parameters)
        begin = [(value, value.detach().clone(), g) for value, g in zip(parameters, gradients, strict=True)]

        def loss(step: float) -> float:
            with torch.no_grad():
                for value, start, gradient in begin:
                    value.copy_(start - step * gradient)
                return F.cross_entropy(module(x), y).item()

        return module, loss


@dataclass(frozen=True)
class MomentsAlongStep:
    """Channel means and variances along the smallest step of `start.steps` after which the loss has diverged.

    The answer has `step` and `moments` (fractions, layers, channels, 2), mean and variance, NaN where a layer has fewer
    channels; layers and their activations are those of `empirical.backward`.
    """

    start: RelativeLoss
    layers: tuple[int, ...]
    fractions: tuple[float, ...]

    def run(self, partial: Path | None) -> Arrays:
        """Find the step and walk along it."""
        module, loss = self.start.start()
        limit, steps = DIVERGED * loss(0.0), sorted(self.start.steps)
        step = next((step for step in steps if not loss(step) < limit), None)
        if step is None:
            raise ValueError(f"one of steps must diverge (relative loss {DIVERGED:g}), got {steps[-1]:g} at most")
        seen: dict[int, torch.Tensor] = {}

        def see(layer: int, activation: torch.Tensor) -> None:
            seen[layer] = torch.stack(channel_moments(activation), 1)

        watch(module, see)
        found = np.full((len(self.fractions), len(self.layers), 64, 2), np.nan)
        for i, fraction in enumerate(self.fractions):
            loss(fraction * step)
            for j, layer in enumerate(self.layers):
                found[i, j, : len(seen[layer])] = seen[layer].cpu().numpy()
        return {"step": np.array(step), "moments": found}
