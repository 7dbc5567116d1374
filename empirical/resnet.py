"""The CIFAR ResNet of He et al. (2016, section 4.2), normalized everywhere, nowhere, or after its last layer."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from rmt.checks import choice, integer

VARIANTS = ("every", "last", "none")


class Block(nn.Module):
    """relu(f(x) + shortcut(x)), f two 3 x 3 convolutions.

    A shortcut to more channels takes every other pixel and adds channels of zeros (their option A: no parameters).
    """

    def __init__(self, inputs: int, channels: int, stride: int, normalized: bool) -> None:
        super().__init__()
        self.conv1, self.norm1 = _convolution(inputs, channels, stride, normalized)
        self.conv2, self.norm2 = _convolution(channels, channels, 1, normalized)
        self.stride, self.added = stride, channels - inputs

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return (batch, channels, height / stride, width / stride)."""
        out = self.norm2(self.conv2(F.relu(self.norm1(self.conv1(x)))))
        if self.added:
            x = F.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, self.added // 2, self.added // 2))
        return F.relu(out + x)


class CifarResNet(nn.Module):
    """A stem of 16 channels, three stages of n blocks at 16, 32 and 64, the mean over the image, a linear layer.

    `features` is all but the mean and the linear layer; `convolutions` are the 6n + 1 in order.
    """

    def __init__(self, depth: int, norm: str, classes: int) -> None:
        super().__init__()
        normalized = norm == "every"
        stem, stem_norm = _convolution(3, 16, 1, normalized)
        layers: list[nn.Module] = [stem, stem_norm, nn.ReLU()]
        before = 16
        for stage, channels in enumerate((16, 32, 64)):
            for i in range((depth - 2) // 6):
                layers.append(Block(before, channels, 2 if stage and i == 0 else 1, normalized))
                before = channels
        self.features = nn.Sequential(*layers)
        self.fc = nn.Linear(64, classes)
        self.last = nn.BatchNorm1d(classes) if norm == "last" else nn.Identity()
        for part in self.modules():
            if isinstance(part, nn.Conv2d):
                nn.init.xavier_normal_(part.weight)
                if part.bias is not None:
                    nn.init.zeros_(part.bias)

    @property
    def convolutions(self) -> list[nn.Conv2d]:
        """The convolutions, from the stem on: number i is layer i + 1."""
        return [part for part in self.modules() if isinstance(part, nn.Conv2d)]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the logits (batch, classes) of images (batch, 3, height, width)."""
        return self.last(self.fc(self.features(x).mean((2, 3))))


def cifar_resnet(depth: int, norm: str = "every", classes: int = 10) -> CifarResNet:
    """Return a ResNet of `depth` = 6n + 2 layers with weights; ResNet-20 has 269,722 parameters, ResNet-110 1,727,962.

    Parameters
    ----------
    depth : int
        6n + 2: the stem, 6n convolutions in blocks, the linear layer.
    norm : str
        Batch normalization after "every" convolution, of the logits alone ("last"), or "none". Convolutions that none
        follows have biases.
    classes : int
        Outputs.

    Convolutions are Xavier normal (variance 2 / (fan_in + fan_out), Glorot and Bengio 2010) with biases zero,
    the linear layer is torch's default; both are drawn from torch's global random state.
    """
    depth = integer("depth", depth, 8)
    if depth % 6 != 2:
        raise ValueError(f"depth must be 6 n + 2 (8, 14, 20, ...), got {depth}")
    return CifarResNet(depth, choice("norm", norm, VARIANTS), integer("classes", classes))


def _convolution(inputs: int, channels: int, stride: int, normalized: bool) -> tuple[nn.Conv2d, nn.Module]:
    return (nn.Conv2d(inputs, channels, 3, stride, padding=1, bias=not normalized),
            nn.BatchNorm2d(channels) if normalized else nn.Identity())
