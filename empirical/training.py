"""Training a CIFAR ResNet as He et al. (2016) do: SGD with momentum, the learning rate divided by ten twice."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from threading import Lock

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from empirical import kept
from empirical.kept import Arrays
from empirical.labelled import CLASSES, Images, Labelled, tensors
from empirical.modules import torch_dtype
from empirical.resnet import CifarResNet, cifar_resnet

MOMENTUM, WEIGHT_DECAY = 0.9, 1e-4
_drawing = Lock()  # weights come from torch's one global state
_AT_ONCE = 500  # images, in evaluation mode
_SHIFT = 4  # pixels


@dataclass(frozen=True)
class Training:
    """One network to train.

    The answer has `train_accuracy` (of the minibatches as they come) and `test_accuracy`, one value an epoch. A network
    whose loss or parameters are no longer finite has diverged: it knows nothing, and counts 1 / classes from then on.

    Attributes
    ----------
    depth, norm : int, str
        Of the `cifar_resnet`.
    learning_rate : float
        Divided by 10 after a half, and after three quarters, of the epochs (from four epochs on).
    seed : int
        Decides weights and the order of images.
    epochs, batch : int
        Passes through the images, and images a step (a last smaller batch is left out).
    images : Images
        The data.
    device, dtype : str
        Where, and in which precision.
    """

    depth: int
    norm: str
    learning_rate: float
    seed: int
    epochs: int
    batch: int
    images: Images
    device: str = "cpu"
    dtype: str = "float32"

    def run(self, partial: Path | None) -> Arrays:
        """Train; after each epoch, keep weights and optimizer in the file `partial`."""
        module = drawn(self.depth, self.norm, self.seed, self.device, self.dtype)
        optimizer = sgd(module, self.learning_rate)
        train, test = [], []
        state = kept.read(partial, kept.question(self)) if partial else None
        if state is not None:
            train, test = state["train_accuracy"].tolist(), state["test_accuracy"].tolist()
            _put(module, optimizer, state)
        for epoch in range(len(train), self.epochs):
            right = self._epoch(module, optimizer, epoch)
            if right is None:
                break
            train.append(right)
            test.append(accuracy(module, self.images.test, self.device))
            if partial:
                kept.write(partial, kept.question(self), {"train_accuracy": np.array(train),
                                                          "test_accuracy": np.array(test), **_taken(module, optimizer)})
        guess = [1 / CLASSES] * (self.epochs - len(train))
        return {"train_accuracy": np.array(train + guess), "test_accuracy": np.array(test + guess)}

    def _epoch(self, module: CifarResNet, optimizer: torch.optim.SGD, epoch: int) -> float | None:
        """Train for one epoch and return the accuracy on its images; None if it diverges."""
        for group in optimizer.param_groups:
            group["lr"] = self.learning_rate * 0.1 ** ((2 * epoch >= self.epochs) + (4 * epoch >= 3 * self.epochs))
        rng = np.random.default_rng([self.seed, epoch])
        data, right, seen = self.images.training, 0, 0
        order = rng.permutation(data.count)
        module.train()
        for start in range(0, max(1, len(order) - self.batch + 1), self.batch):
            x, y = tensors(data, order[start : start + self.batch], self.device, self.dtype)
            if self.images.augmented:
                x = augmented(x, rng)
            logits, loss = step(module, optimizer, x, y)
            if not math.isfinite(loss):
                return None
            right, seen = right + int((logits.argmax(1) == y).sum()), seen + len(y)
        finite = all(bool(torch.isfinite(value).all()) for value in module.parameters())
        return right / seen if finite else None


def drawn(depth: int, norm: str, seed: int, device: str = "cpu", dtype: str = "float32") -> CifarResNet:
    """Return a `cifar_resnet` in training mode whose weights the seed decides; torch's random state is left alone."""
    with _drawing, torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        return cifar_resnet(depth, norm).to(device=device, dtype=torch_dtype(dtype)).train()


def sgd(module: nn.Module, learning_rate: float) -> torch.optim.SGD:
    """Return the optimizer of the study."""
    return torch.optim.SGD(module.parameters(), learning_rate, momentum=MOMENTUM, weight_decay=WEIGHT_DECAY)


def step(module: nn.Module, optimizer: torch.optim.Optimizer, x: torch.Tensor,
         y: torch.Tensor) -> tuple[torch.Tensor, float]:
    """Take one step on a minibatch; return the logits and the loss before it."""
    optimizer.zero_grad()
    logits = module(x)
    loss = F.cross_entropy(logits, y)
    loss.backward()
    optimizer.step()
    return logits.detach(), loss.item()


def accuracy(module: nn.Module, data: Labelled, device: str) -> float:
    """Return the share of images whose class has the largest logit; the module is put in evaluation mode."""
    module.eval()
    dtype, right = next(module.parameters()).dtype, 0
    with torch.no_grad():
        for start in range(0, data.count, _AT_ONCE):
            x, y = tensors(data, slice(start, start + _AT_ONCE), device, dtype)
            right += int((module(x).argmax(1) == y).sum())
    return right / data.count


def augmented(x: torch.Tensor, rng: np.random.Generator) -> torch.Tensor:
    """Return images, each flipped or not and shifted by up to four pixels, zeros behind it (He et al. 2016)."""
    flipped = torch.as_tensor(rng.random(len(x)) < 0.5, device=x.device)
    x = torch.where(flipped[:, None, None, None], x.flip(3), x)
    padded, size = F.pad(x, (_SHIFT,) * 4), x.shape[2:]
    top, left = torch.as_tensor(rng.integers(0, 2 * _SHIFT + 1, (2, len(x))), device=x.device)
    rows = top[:, None] + torch.arange(size[0], device=x.device)
    columns = left[:, None] + torch.arange(size[1], device=x.device)
    image = torch.arange(len(x), device=x.device)[:, None, None]
    return padded.permute(0, 2, 3, 1)[image, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)


def _taken(module: nn.Module, optimizer: torch.optim.SGD) -> Arrays:
    """Return weights, statistics and momenta as arrays."""
    momenta = {f"momentum.{i}": optimizer.state[p]["momentum_buffer"] for i, p in enumerate(module.parameters())}
    state = {f"state.{name}": value for name, value in module.state_dict().items()}
    return {name: value.detach().cpu().numpy() for name, value in (state | momenta).items()}


def _put(module: nn.Module, optimizer: torch.optim.SGD, state: Arrays) -> None:
    """Put back what `_taken` has returned."""
    module.load_state_dict({name.removeprefix("state."): torch.as_tensor(value) for name, value in state.items()
                            if name.startswith("state.")})
    for i, parameter in enumerate(module.parameters()):
        optimizer.state[parameter]["momentum_buffer"] = torch.as_tensor(state[f"momentum.{i}"]).to(parameter.device)
