"""The noise of SGD: how far a minibatch's gradient is from that of all images."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from empirical.kept import Arrays
from empirical.labelled import Images
from empirical.training import drawn


@dataclass(frozen=True)
class GradientNoise:
    """Mean of |g_B - g|^2 over minibatches B of one split of `count` images, g the gradient of all of them.

    At initialization, without batch normalization (with it an image alone has no gradient). The answer is `noise`, one
    value a batch size; for batch size 1 it is C = E |g_i - g|^2, and C / B bounds that of B (drawn without replacement
    it is (C / B) (count - B) / (count - 1)).
    """

    depth: int
    seed: int
    count: int
    batch_sizes: tuple[int, ...]
    images: Images
    device: str = "cpu"
    dtype: str = "float32"

    def run(self, partial: Path | None) -> Arrays:
        """Take the gradient of every minibatch."""
        module = drawn(self.depth, "none", self.seed, self.device, self.dtype)
        x, y = self.images.batch(self.count, self.seed, self.device, self.dtype)
        if len(x) < self.count or not all(1 <= size <= self.count for size in self.batch_sizes):
            raise ValueError(f"batch_sizes must be from 1 to count, of {len(x)} images, got {self.batch_sizes} "
                             f"and {self.count}")
        parameters = [*module.parameters()]

        def gradient(part: slice) -> torch.Tensor:
            found = torch.autograd.grad(F.cross_entropy(module(x[part]), y[part]), parameters)
            return torch.cat([value.flatten() for value in found]).double()

        whole = gradient(slice(None))
        noise = [np.mean([float((gradient(slice(i, i + size)) - whole).square().sum())
                          for i in range(0, len(x) - size + 1, size)]) for size in self.batch_sizes]
        return {"noise": np.array(noise)}
