"""Images with their classes, for training and for testing."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from empirical.cifar10 import cifar10
from empirical.data import Held
from empirical.inputs import digits
from empirical.modules import torch_dtype
from rmt.checks import choice, integer

CLASSES = 10
_PARTS = {"training": slice(360, None), "test": slice(360)}


class Labelled(Protocol):
    """Images of one data set and their classes."""

    @property
    def count(self) -> int:
        """Number of images."""

    @property
    def labels(self) -> NDArray[np.integer]:
        """Their classes, from 0 on."""

    def take(self, rows: slice | NDArray[np.int64]) -> NDArray[np.float64]:
        """Return some images, (images, 3, height, width)."""


@dataclass(frozen=True)
class DigitImages(Held):
    """scikit-learn's digits as colour images (3, size, size): each pixel repeated, three equal colours, standardised.

    `part` is "training" (1437 images) or "test" (360): a fixed split at random, for the digits come writer by writer.
    """

    size: int
    part: str

    @property
    def values(self) -> NDArray[np.float64]:  # type: ignore[override]
        """The images."""
        return _enlarged(self.size, self.part)

    @property
    def labels(self) -> NDArray[np.integer]:
        """The digits 0 to 9."""
        return _targets()[_order()[_PARTS[self.part]]]


def digit_images(size: int = 16, part: str = "training") -> DigitImages:
    """Return the digits as images of `size` x `size`, a multiple of 8."""
    digits()
    pixels = integer("size", size, 8)
    if pixels % 8:
        raise ValueError(f"size must be a multiple of 8, got {size}")
    return DigitImages(pixels, choice("part", part, _PARTS))


@cache
def _enlarged(size: int, part: str) -> NDArray[np.float64]:
    images = digits().values[_order()[_PARTS[part]]].reshape(-1, 1, 8, 8)
    return np.repeat(np.repeat(np.repeat(images, 3, axis=1), size // 8, axis=2), size // 8, axis=3)


@cache
def _targets() -> NDArray[np.int64]:
    from sklearn.datasets import load_digits  # `digits` has said what is missing

    return load_digits().target.astype(np.int64)


@cache
def _order() -> NDArray[np.int64]:
    return np.random.default_rng(0).permutation(digits().count)


@dataclass(frozen=True)
class Images:
    """What a classifier is trained on and tested on; with `augmented`, training images are flipped and shifted."""

    training: Labelled
    test: Labelled
    augmented: bool = False

    def batch(self, count: int, seed: int, device: str = "cpu",
              dtype: str | torch.dtype = "float32") -> tuple[torch.Tensor, torch.Tensor]:
        """Return `count` different training images (all if there are fewer) and their classes, chosen by the seed."""
        rows = np.random.default_rng(seed).permutation(self.training.count)[:count]
        return tensors(self.training, rows, device, dtype)


def images(folder: str | Path | None = None, size: int = 16) -> Images:
    """Return the digits enlarged to `size`, or CIFAR-10 (of 32 x 32 pixels) from a folder with its binary version."""
    if folder is None:
        return Images(digit_images(size, "training"), digit_images(size, "test"))
    return Images(cifar10(folder), cifar10(folder, test=True), augmented=True)


def tensors(source: Labelled, rows: slice | NDArray[np.int64], device: str,
            dtype: str | torch.dtype) -> tuple[torch.Tensor, torch.Tensor]:
    """Return some images and their classes as tensors."""
    return (torch.as_tensor(source.take(rows), dtype=torch_dtype(dtype), device=device),
            torch.as_tensor(source.labels[rows].astype(np.int64), device=device))
