"""One forward and one backward pass at initialization, and what it shows of activations and gradients."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.grad import conv2d_weight

from empirical.kept import Arrays
from empirical.labelled import Images
from empirical.resnet import CifarResNet
from empirical.training import drawn


@dataclass(frozen=True)
class Backward:
    """A `cifar_resnet` in training mode at a minibatch of training images, with the cross entropy as loss.

    Layer k is the k-th convolution with what follows it: its activation is what convolution k + 1 is given. Answer:

    - `log_abs_mean`, `log_std` (layers, 2): mean and standard deviation over a layer's channels of log10 |mean| and of
      log10 std, those over images and pixels; channels that are constant are left out;
    - `output_gradient` (batch, classes): of the loss, the mean over the batch, in the logits;
    - `features` (batch, 64): what the linear layer is given;
    - `gradient`: all entries of the gradient of the middle layer's kernel;
    - `sum_of_abs`, `abs_of_sum` (sampled): for the kernels of the layers `sampled`, means over their entries of
      sum |g| and |sum g|, where the gradient of an entry is the sum of g over images and pixels.
    """

    depth: int
    norm: str
    seed: int
    batch: int
    images: Images
    sampled: tuple[int, ...]
    device: str = "cpu"
    dtype: str = "float32"

    def run(self, partial: Path | None) -> Arrays:
        """Run both passes."""
        module = drawn(self.depth, self.norm, self.seed, self.device, self.dtype)
        x, y = self.images.batch(self.batch, self.seed, self.device, self.dtype)
        moments: list[torch.Tensor] = []  # of a layer (mean or sd over channels, kind)
        features: list[torch.Tensor] = []
        signals = {}

        def see(layer: int, activation: torch.Tensor) -> None:
            mean, variance = channel_moments(activation)
            active = variance > 0
            logs = torch.stack([mean[active].abs().log10(), variance[active].log10() / 2])
            moments.append(torch.stack([logs.mean(1), logs.std(1)]))

        def keep(layer: int, given: torch.Tensor, out: torch.Tensor) -> None:
            out.retain_grad()
            signals[layer] = given.detach(), out

        watch(module, see)
        for layer in self.sampled:
            module.convolutions[layer - 1].register_forward_hook(
                lambda _, given, out, layer=layer: keep(layer, given[0], out))
        module.fc.register_forward_pre_hook(lambda _, given: features.append(given[0].detach()))
        logits = module(x)
        logits.retain_grad()
        F.cross_entropy(logits, y).backward()
        sums = [_sums(module.convolutions[layer - 1], *signals[layer]) for layer in self.sampled]
        of_layers = torch.stack(moments).cpu().numpy()
        middle = module.convolutions[len(module.convolutions) // 2]
        return {"log_abs_mean": of_layers[:, :, 0], "log_std": of_layers[:, :, 1],
                "output_gradient": _array(logits.grad), "features": _array(features[0]),
                "gradient": _array(middle.weight.grad).ravel(),
                "sum_of_abs": np.array([one[0] for one in sums]), "abs_of_sum": np.array([one[1] for one in sums])}


def watch(module: CifarResNet, see: Callable[[int, torch.Tensor], None]) -> None:
    """Call `see` with the number and the activation of every layer, from 1 on, whenever the module runs."""
    for layer, part in enumerate(module.convolutions[1:], 1):
        part.register_forward_pre_hook(lambda _, given, layer=layer: see(layer, given[0]))
    module.features.register_forward_hook(lambda _, __, out: see(len(module.convolutions), out))


def channel_moments(signal: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return mean and variance of each channel of a signal (batch, channels, height, width)."""
    signal = signal.detach()
    return signal.mean((0, 2, 3)), signal.var((0, 2, 3))


def _sums(part: nn.Conv2d, given: torch.Tensor, out: torch.Tensor) -> tuple[float, float]:
    """Return the means over a kernel's entries of sum |g| and |sum g|.

    g, at an image and a pixel, is an input times a gradient: so sum |g| is the kernel's gradient of absolute values.
    """
    gradient, geometry = out.grad, (part.weight.shape, part.stride, part.padding)
    if gradient is None:
        raise RuntimeError("no gradient reached the layer")
    total, parts = (conv2d_weight(a, geometry[0], g, geometry[1], geometry[2])
                    for a, g in ((given, gradient), (given.abs(), gradient.abs())))
    return float(parts.mean()), float(total.abs().mean())


def _array(x: torch.Tensor | None) -> np.ndarray:
    if x is None:
        raise RuntimeError("no gradient reached a layer")
    return x.detach().cpu().numpy()
