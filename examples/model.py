"""A model of your own, for `rmt advise examples/model.py:make_model --input 3,16,16`."""

import torch.nn.functional as F
from torch import nn


class Block(nn.Module):
    """x + W relu(norm(W relu(norm(x)))), of convolutions."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norms = nn.ModuleList([nn.BatchNorm2d(channels) for _ in range(2)])
        self.layers = nn.ModuleList([nn.Conv2d(channels, channels, 3, padding=1, bias=False) for _ in range(2)])

    def forward(self, x):
        """Return the stream and what the branch adds to it."""
        y = x
        for norm, layer in zip(self.norms, self.layers, strict=True):
            y = layer(F.relu(norm(y)))
        return x + y


class Net(nn.Module):
    """A stem, two residual blocks, a head."""

    def __init__(self, channels: int = 32, classes: int = 10) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, channels, 3, padding=1)
        self.blocks = nn.Sequential(*[Block(channels) for _ in range(2)])
        self.head = nn.Linear(channels * 256, classes)

    def forward(self, x):
        """Return the logits of images of 16 x 16."""
        return self.head(F.relu(self.blocks(self.stem(x))).flatten(1))


def make_model() -> nn.Module:
    """Return the model, weights as torch draws them."""
    return Net()
