"""Layers: each carries a signal forward and says which expression it contributes to the Jacobian."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

from rmt.checks import Number, integer, number
from rmt.networks.activations import ActivationFunction, activation, linear
from rmt.networks.expression import Diagonal, Expression, Gaussian, Haar, Identity
from rmt.networks.schemes import Scheme, scheme
from rmt.networks.signal import Signal


class UnsupportedStructure(ValueError):
    """The theory does not cover this layer here; the message says what to use instead."""


class Layer(ABC):
    """One layer of a network.

    Attributes
    ----------
    mixes : bool
        Whether it has weights that mix entries: it then counts toward the depth.
    """

    mixes: ClassVar[bool] = False

    @abstractmethod
    def output_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Return the shape of the output for an input of this shape; raise where it does not fit."""

    @abstractmethod
    def forward(self, signal: Signal) -> Signal:
        """Return the statistics of the output."""

    @abstractmethod
    def jacobian(self, signal: Signal) -> Expression:
        """Return the layer's Jacobian at this input signal."""

    def active(self, signal: Signal) -> tuple[int, float]:
        """Return the rank of the layer's Jacobian: (n, p) stands for a Binomial(n, p) number."""
        return signal.size, 1.0


@dataclass(frozen=True)
class Dense(Layer):
    """A fully connected layer W x + b, b normal.

    Parameters
    ----------
    width : int
        Number of outputs.
    init : str or Scheme
        How W is drawn.
    bias_std : float
        Standard deviation of a bias.
    """

    mixes: ClassVar[bool] = True
    width: int
    init: str | Scheme = "kaiming_normal"
    bias_std: Number = 0.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "width", integer("width", self.width))
        object.__setattr__(self, "init", scheme(self.init))
        object.__setattr__(self, "bias_std", number("bias_std", self.bias_std, 0))
        if self.bias_std and self.scheme.bias_gain_squared:
            raise ValueError(f"bias_std must be 0 with init={str(self.scheme)!r}, which brings its own bias, "
                             f"got {self.bias_std!r}")

    @property
    def scheme(self) -> Scheme:
        """The scheme, whatever way `init` was given."""
        return scheme(self.init)

    def __str__(self) -> str:
        bias = f", bias_std={float(self.bias_std):g}" if self.bias_std else ""
        return f"Dense {self.width} {self.scheme}{bias}"

    def output_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Return (width,)."""
        if len(shape) != 1:
            raise ValueError(f"Dense needs a flat input, got shape {shape}")
        return (self.width,)

    def forward(self, signal: Signal) -> Signal:
        """Return q = n_in Var(w) E x^2 + bias_std^2 (Poole et al. 2016)."""
        gain = float(self.scheme.variance(signal.size, self.width)) * signal.size
        bias = self.bias_variance(signal.size)
        variance, shared = gain * signal.mean_square + bias, gain * signal.mean_square * signal.correlation + bias
        return Signal((self.width,), 0.0, variance, shared / variance if variance else 1.0, gaussian=True)

    def bias_variance(self, fan_in: int) -> float:
        """Return the variance of a bias."""
        return float(self.bias_std) ** 2 + float(self.scheme.bias_gain_squared) / fan_in

    def jacobian(self, signal: Signal) -> Expression:
        """Return W."""
        if self.scheme.orthogonal:
            return Haar(self.width, signal.size, self.scheme.gain_squared)
        variance = self.scheme.variance(signal.size, self.width)
        return Gaussian(self.width, signal.size, variance, normal=self.scheme.entries == "normal")

    def active(self, signal: Signal) -> tuple[int, float]:
        """W has full rank."""
        return self.width, 1.0


@dataclass(frozen=True)
class Activation(Layer):
    """A pointwise activation function.

    Parameters
    ----------
    function : str or ActivationFunction
        A name of `rmt.activations`, as "leaky_relu(0.2)", or a function.
    """

    function: str | ActivationFunction

    def __post_init__(self) -> None:
        object.__setattr__(self, "function", activation(self.function))

    @property
    def phi(self) -> ActivationFunction:
        """The function, whatever way it was given."""
        return activation(self.function)

    def __str__(self) -> str:
        return str(self.phi)

    def output_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Return the shape unchanged."""
        return shape

    def forward(self, signal: Signal) -> Signal:
        """Return the averages over the Gaussian preactivation."""
        if self.phi == linear:
            return signal
        self._check(signal)
        q = signal.mean_square
        mean, mean_square = self.phi.mean(q), self.phi.cross(q, 1.0)
        correlation = self.phi.cross(q, signal.correlation) / mean_square if mean_square else 1.0
        return Signal(signal.shape, mean, mean_square - mean**2, correlation, gaussian=False)

    def jacobian(self, signal: Signal) -> Expression:
        """Return the diagonal of slopes."""
        if self.phi == linear:
            return Identity()
        self._check(signal)
        return Diagonal(signal.size, self.phi.squared_slope(signal.mean_square))

    def active(self, signal: Signal) -> tuple[int, float]:
        """Return the number of units whose slope is not zero."""
        zero = self.phi.squared_slope(signal.mean_square).atoms.get(0.0, 0.0)
        return signal.size, 1.0 - zero

    def _check(self, signal: Signal) -> None:
        if not signal.gaussian:
            raise UnsupportedStructure(
                f"{self} needs a Gaussian signal, and what reaches it is not: put a Dense layer before it")
