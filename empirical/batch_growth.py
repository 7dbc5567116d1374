"""How a gradient grows on its way back through layers, of a whole batch: normalizations in training mode couple it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from empirical.kept import Arrays
from empirical.modules import build
from rmt.networks.layers import Activation
from rmt.networks.network import Network


@dataclass(frozen=True)
class BatchGrowth:
    """The squared norm of a random gradient of a batch, layer by layer back from the output of a network.

    The answer is `log_growth` (layers): ln of its ratio to that at the output, behind one layer, two, ... A layer ends
    where `network` has an activation; its weights and the batch, of Gaussian inputs, are the seed's.
    """

    network: Network
    batch: int
    seed: int
    device: str = "cpu"
    dtype: str = "float64"

    def run(self, partial: Path | None) -> Arrays:
        """Go back once."""
        if not isinstance(self.network.layers[-1], Activation):
            raise ValueError(f"network must end in an activation, got {self.network}")
        module = build(self.network, self.seed, self.device, self.dtype).train()
        rng = np.random.default_rng(self.seed)
        first = next(module.parameters())
        signals = [torch.as_tensor(rng.standard_normal((self.batch, *self.network.input_shape))).to(first)]
        signals[0].requires_grad_()
        x = signals[0]
        for layer, part in zip(self.network.layers, module, strict=True):
            x = part(x)
            if isinstance(layer, Activation):
                signals.append(x)
        gradient = torch.as_tensor(rng.standard_normal(tuple(x.shape))).to(first)
        found = torch.autograd.grad(x, signals[:-1], gradient)
        squares = np.array([float(g.double().square().sum()) for g in reversed(found)])
        return {"log_growth": np.log(squares / float(gradient.double().square().sum()))}
