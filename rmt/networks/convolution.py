"""Convolutions over (channels, height, width).

A Gaussian kernel of k taps on a circle acts as independent entries would: one matrix M (channels out x taps * channels
in) on every position's patch, and the patches of all positions hold every entry k times. As channels grow, nets with
any pointwise activation follow the law of fully connected ones with the same variance a layer (THEORY 2).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import NoReturn

import numpy as np

from rmt.checks import Number, choice, integer
from rmt.networks.expression import Expression, Gaussian, Haar, Product
from rmt.networks.layers import Layer, UnsupportedStructure, Weighted
from rmt.networks.schemes import Scheme
from rmt.networks.signal import Array, Signal

_FEW = 16  # channels a group, under which a kernel is no large random matrix


@dataclass(frozen=True)
class Conv2d(Weighted):
    """A convolution, as torch's, b normal.

    Parameters
    ----------
    channels : int
        Channels of the output.
    kernel_size : int or (int, int)
        Height and width of the kernel.
    stride : int
        More than 1 only with padding 0 and as large as the kernel (patches), if it is to be predicted.
    padding : "same" or int
        0, or half the kernel: the predicted ones.
    padding_mode : str
        "zeros" (predicted as "circular", with a warning that says what the border does) or "circular".
    groups : int
        Of channels that see only each other.
    init : str or Scheme
        How the kernel is drawn.
    bias_std : float
        Standard deviation of a bias.
    """

    channels: int
    kernel_size: int | tuple[int, int]
    stride: int = 1
    padding: str | int = "same"
    padding_mode: str = "zeros"
    groups: int = 1
    init: str | Scheme = "kaiming_normal"
    bias_std: Number = 0.0

    def __post_init__(self) -> None:
        for name in ("channels", "stride", "groups"):
            object.__setattr__(self, name, integer(name, getattr(self, name)))
        sizes = self.kernel_size if isinstance(self.kernel_size, Sequence) else (self.kernel_size,) * 2
        if len(sizes) != 2:
            raise ValueError(f"kernel_size must be a whole number >= 1 or two of them, got {self.kernel_size!r}")
        height, width = (integer("kernel_size", size) for size in sizes)
        object.__setattr__(self, "kernel_size", height if height == width else (height, width))
        if isinstance(self.padding, str):
            choice("padding", self.padding, ("same",))
            if self.stride > 1:
                raise ValueError(f"stride must be 1 with padding='same', got {self.stride}")
        else:
            integer("padding", self.padding, 0)
        choice("padding_mode", self.padding_mode, ("zeros", "circular", "reflect", "replicate"))
        if self.channels % self.groups:
            raise ValueError(f"channels must be a multiple of groups, got {self.channels} and {self.groups}")
        super().__post_init__()
        if self.scheme.entries == "sparse":
            raise ValueError(f"init must not be {str(self.scheme)!r}, which torch has for matrices alone")

    @property
    def kernel(self) -> tuple[int, int]:
        """Height and width of the kernel."""
        return (self.kernel_size,) * 2 if isinstance(self.kernel_size, int) else self.kernel_size

    @property
    def taps(self) -> int:
        """Weights of an output entry in one channel of the input."""
        return math.prod(self.kernel)

    def __str__(self) -> str:
        kernel = "x".join(map(str, self.kernel))
        extra = [f"stride {self.stride}"] * (self.stride > 1) + [f"padding {self.padding}"] * (self.padding != "same")
        extra += [self.padding_mode] * self._pads + [f"{self.groups} groups"] * (self.groups > 1)
        return " ".join([f"Conv2d {self.channels} {kernel}", *extra, self._text])

    @property
    def _pads(self) -> bool:
        return self.padding not in (0, "same") or (self.padding == "same" and self.taps > 1)

    def output_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Return (channels, height, width)."""
        if len(shape) != 3:
            raise ValueError(f"Conv2d needs an input (channels, height, width), got shape {shape}")
        if shape[0] % self.groups:
            raise ValueError(f"groups must divide the {shape[0]} channels of the input, got {self.groups}")
        if self.scheme.entries == "delta" and self.channels < shape[0]:
            raise ValueError(f"channels must be at least the input's {shape[0]} with init={str(self.scheme)!r}, "
                             f"got {self.channels}")
        circle = self._pads and self.padding_mode == "circular"
        if circle and any(k > n for k, n in zip(self.kernel, shape[1:], strict=True)):
            raise ValueError(f"kernel_size must be at most the input's {shape[1:]} on a circle, got {self.kernel_size}")
        if self.padding == "same":
            return (self.channels, *shape[1:])
        reach = 2 * int(self.padding)
        sizes = [(n + reach - k) // self.stride + 1 for n, k in zip(shape[1:], self.kernel, strict=True)]
        if min(sizes) < 1:
            raise ValueError(f"kernel_size must fit the padded input {shape[1:]}, got {self.kernel_size}")
        return (self.channels, *sizes)

    def fans(self, shape: tuple[int, ...]) -> tuple[int, int]:
        """Return fan_in and fan_out, which torch counts over all groups."""
        return shape[0] // self.groups * self.taps, self.channels * self.taps

    def gain(self, shape: tuple[int, ...]) -> Fraction:
        """Return the sum of the mean squares of the weights of one output."""
        fan_in, fan_out = self.fans(shape)
        if self.scheme.entries == "delta":
            return self.scheme.gain_squared * Fraction(shape[0], self.channels)
        return self.scheme.variance(fan_in, self.channels if self.scheme.orthogonal else fan_out) * fan_in

    def forward(self, signal: Signal) -> Signal:
        """Return the mean field of a layer with as many weights an output."""
        self._check(signal.shape)
        return super().forward(signal)

    def jacobian(self, signal: Signal) -> Expression:
        """Return the patches of every position, and the matrix that acts on each."""
        self._check(signal.shape)
        fan_in, _ = self.fans(signal.shape)
        rows, columns = math.prod(self.output_shape(signal.shape)), signal.size
        positions = rows // self.channels
        if self.scheme.entries == "delta":
            return Haar(rows, columns, self.scheme.gain_squared, self.groups, positions)
        overlap = 1 if self.stride > 1 else self.taps  # patches that hold an entry
        if self.scheme.orthogonal:
            turned = Haar(rows, overlap * columns, self.scheme.gain_squared, self.groups, positions)
            return Product((Haar(overlap * columns, columns, Fraction(overlap)), turned)) if overlap > 1 else turned
        spread = Fraction(1, positions) + Fraction(1, fan_in) * (1 - Fraction(1, positions))
        return Gaussian(rows, columns, self.gain(signal.shape) / columns, normal=False,
                        freedom=self.channels / spread)

    def _check(self, shape: tuple[int, ...]) -> None:
        """Refuse what no law here describes."""
        if self._pads and self.padding_mode not in ("zeros", "circular"):
            raise UnsupportedStructure(f"{self}: its padding repeats entries of the border; use "
                                       "padding_mode='circular' (or 'zeros', whose border effect is known)")
        same = self.padding == "same" or (all(k == 2 * int(self.padding) + 1 for k in self.kernel) and self.stride == 1)
        patches = self.padding == 0 and self.stride > 1 and self.kernel == (self.stride,) * 2 and not any(
            n % self.stride for n in shape[1:])
        if not same and not patches:
            what = "stride with padding" if self._pads else "patches that overlap, or leave out entries of the border"
            raise UnsupportedStructure(f"{self}: {what}: entries are not seen equally often; use stride 1 with "
                                       "padding='same', or stride=kernel_size with padding=0 that divides the input")
        if self.scheme.orthogonal and self.groups > 1 and self.channels > self.fans(shape)[0]:
            raise UnsupportedStructure(f"{self}: columns are orthogonal only across groups; use groups=1 or "
                                       "independent entries")

    @property
    def padded(self) -> bool:
        """Whether zeros beyond the border are seen."""
        return self._pads and self.padding_mode == "zeros" and self.scheme.entries != "delta"

    def seen(self, profile: Array) -> Array:
        """Return the average over each patch."""
        height, width = profile.shape
        if self.stride > 1:
            return np.asarray(profile.reshape(height // self.stride, self.stride, width // self.stride, self.stride)
                              .mean((1, 3)))
        if self.scheme.entries == "delta":
            return profile
        circle = self.padding_mode == "circular"
        high, wide = (_patches(k, n, circle) for k, n in zip(self.kernel, profile.shape, strict=True))
        return np.asarray(high @ profile @ wide.T)

    def warnings(self, signal: Signal) -> Iterator[tuple[str, float]]:
        """Yield what is left out where a group has few channels."""
        few = min(signal.shape[0], self.channels) // self.groups
        if few < _FEW:
            yield f"{self}: {few} channels a group are few; the law is that of many", 0.0
        yield from super().warnings(signal)


def _patches(k: int, n: int, circle: bool) -> Array:
    """Return the average over k neighbours, zeros beyond the ends or on a circle: (n, n)."""
    taps = np.arange(k) - (k - 1) // 2  # torch puts the odd one behind
    place = np.arange(n)[:, None] + taps
    weight = np.full(place.shape, 1 / k) if circle else ((place >= 0) & (place < n)) / k
    found = np.zeros((n, n))
    np.add.at(found, (np.arange(n)[:, None], place % n), weight)
    return found


@dataclass(frozen=True)
class AvgPool2d(Layer):
    """The average over squares that do not overlap. It can be built and measured, but is not predicted.

    Parameters
    ----------
    kernel_size : int
        Side of a square; must divide height and width.
    """

    kernel_size: int

    def __post_init__(self) -> None:
        integer("kernel_size", self.kernel_size)

    def __str__(self) -> str:
        return f"AvgPool2d {self.kernel_size}"

    def output_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Return (channels, height / kernel_size, width / kernel_size)."""
        if len(shape) != 3 or any(n % self.kernel_size for n in shape[1:]):
            raise ValueError(f"AvgPool2d needs (channels, height, width) that {self.kernel_size} divides, got {shape}")
        return (shape[0], *(n // self.kernel_size for n in shape[1:]))

    def forward(self, signal: Signal) -> NoReturn:
        """Refuse."""
        raise UnsupportedStructure(
            f"{self} averages neighbours that share their weights, which no free product describes: use Flatten, or "
            "a Conv2d with stride=kernel_size and padding=0")

    def jacobian(self, signal: Signal) -> NoReturn:
        """Refuse."""
        self.forward(signal)
