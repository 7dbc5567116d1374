"""Normalizations at initialization: each multiplies by a number, and centres."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import ClassVar

from rmt.checks import Number, number, positive
from rmt.networks.expression import Expression, Scalar
from rmt.networks.layers import Layer, UnsupportedStructure
from rmt.networks.signal import Border, Signal

_ALL = 1e-12  # of the variance that inputs do not share: less is rounding


class _Normalization(Layer):
    """What divides by a scale that it measures."""

    def border(self, border: Border, before: Signal, after: Signal) -> Border:
        """Return what is left over the measured scale, which is an average over positions."""
        scale = border.square.mean()
        return Border(border.square / scale, border.gain / scale)


@dataclass(frozen=True)
class BatchNorm(_Normalization):
    """Batch normalization in evaluation mode, with the statistics of many inputs; (x - mean)/sqrt(var + eps) weight.

    A channel's variance over inputs is q (1 - rho), rho the correlation of two inputs; the mean over inputs, of
    variance q rho over channels, is taken off.

    Parameters
    ----------
    weight : number
        gamma, the same for every channel, not 0.
    eps : number
        Added to the variance.
    """

    weight: Number = 1.0
    eps: Number = 1e-5

    def __post_init__(self) -> None:
        if number("weight", self.weight) == 0:
            raise ValueError(f"weight must not be 0, got {self.weight!r}; a branch that is off is Residual(scale=0)")
        number("eps", self.eps, 0)

    def __str__(self) -> str:
        return "BatchNorm" + (f" weight={float(self.weight):g}" if self.weight != 1 else "")

    def forward(self, signal: Signal) -> Signal:
        """Return variance weight^2 var/(var + eps), mean 0; what two inputs share is gone."""
        a = float(self.weight) / math.sqrt(self._variance(signal) + float(self.eps))
        return replace(signal, mean=0.0, variance=a**2 * self._variance(signal), correlation=0.0,
                       stream=signal.stream * (1 - signal.correlation))

    def jacobian(self, signal: Signal) -> Expression:
        """Return weight/sqrt(var + eps)."""
        return Scalar(Fraction(float(self.weight) / math.sqrt(self._variance(signal) + float(self.eps))))

    def trained(self) -> Layer:
        """Refuse: the batch's statistics couple its samples."""
        raise UnsupportedStructure(f"{self} in training mode makes every sample depend on the batch: use training=False"
                                   ", or rmt.batchnorm.gradient_growth(activation, batch) for how gradients grow")

    def _variance(self, signal: Signal) -> float:
        """Return the variance of a channel over inputs."""
        if not signal.gaussian:
            raise UnsupportedStructure(f"{self} behind an activation: channels differ in their variance over inputs; "
                                       "put it between the layer of weights and the activation")
        if 1 - signal.correlation < _ALL:
            raise UnsupportedStructure(f"{self}: inputs of correlation {signal.correlation:.12g} leave it no variance")
        return signal.mean_square * (1 - signal.correlation)


class _OverEntries(_Normalization):
    """A normalization by the statistics of one input's own entries."""

    eps: Number
    lost: ClassVar[int]  # directions that its Jacobian sends to zero

    def __post_init__(self) -> None:
        number("eps", self.eps, 0)

    def jacobian(self, signal: Signal) -> Expression:
        """Return 1/sqrt(variance + eps): all of it but the directions that are lost."""
        return Scalar(Fraction(1 / math.sqrt(positive("variance", self._variance(signal) + float(self.eps)))))

    def _variance(self, signal: Signal) -> float:
        raise NotImplementedError

    def warnings(self, signal: Signal) -> Iterator[tuple[str, float]]:
        """Yield the rank that is left out."""
        yield (f"{self} on {signal.size} entries takes {self.lost} of their directions out, which the law keeps: "
               "the cdf may be off by {:.2g} a layer", self.lost / signal.size)


@dataclass(frozen=True)
class LayerNorm(_OverEntries):
    """(x - mean)/sqrt(var + eps), both over the entries of one input.

    Parameters
    ----------
    eps : number
        Added to the variance.
    """

    lost: ClassVar[int] = 2
    eps: Number = 1e-5

    def __str__(self) -> str:
        return "LayerNorm"

    def forward(self, signal: Signal) -> Signal:
        """Return mean 0 and variance var/(var + eps)."""
        shared = signal.mean_square * signal.correlation - signal.mean**2
        correlation = shared / signal.variance if signal.variance else 1.0
        variance = signal.variance / (signal.variance + float(self.eps)) if signal.variance else 0.0
        return replace(signal, mean=0.0, variance=variance, correlation=correlation)

    def _variance(self, signal: Signal) -> float:
        return signal.variance


@dataclass(frozen=True)
class RMSNorm(_OverEntries):
    """x/sqrt(mean of squares + eps), over the entries of one input.

    Parameters
    ----------
    eps : number
        Added to the mean square.
    """

    lost: ClassVar[int] = 1
    eps: Number = 1e-5

    def __str__(self) -> str:
        return "RMSNorm"

    def forward(self, signal: Signal) -> Signal:
        """Return the signal over its root mean square."""
        a = 1 / (signal.mean_square + float(self.eps)) if signal.mean_square else 0.0
        return replace(signal, mean=math.sqrt(a) * signal.mean, variance=a * signal.variance)

    def _variance(self, signal: Signal) -> float:
        return signal.mean_square
