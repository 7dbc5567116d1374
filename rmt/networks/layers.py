"""Layers: each carries a signal forward and says which expression it contributes to the Jacobian."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import ClassVar

from rmt.checks import Number, integer, number
from rmt.laws.law import Law
from rmt.laws.named.discrete import Discrete
from rmt.networks.activations import ActivationFunction, activation, linear
from rmt.networks.expression import Diagonal, Expression, Gaussian, Haar, Identity, Scalar
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

    def evaluated(self) -> Layer:
        """Return the layer that it is in evaluation mode."""
        return self


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
        mean, mean_square = float(self.phi.mean(q)), float(self.phi.cross(q, 1.0))
        correlation = float(self.phi.cross(q, signal.correlation)) / mean_square if mean_square else 1.0
        return Signal(signal.shape, mean, mean_square - mean**2, correlation, gaussian=False)

    def jacobian(self, signal: Signal) -> Expression:
        """Return the diagonal of slopes."""
        if self.phi == linear:
            return Identity()
        self._check(signal)
        return Diagonal(signal.size, self._slopes(signal))

    def active(self, signal: Signal) -> tuple[int, float]:
        """Return the number of units whose slope is not zero."""
        return signal.size, 1.0 - self._slopes(signal).atoms.get(0.0, 0.0)

    def _slopes(self, signal: Signal) -> Law:
        """Return the law of the squared slopes; layers that have settled on one variance are one factor, many times."""
        return self.phi.squared_slope(float(f"{signal.mean_square:.12e}"))

    def _check(self, signal: Signal) -> None:
        if not signal.gaussian:
            raise UnsupportedStructure(
                f"{self} needs a Gaussian signal, and what reaches it is not: put a Dense layer before it")


@dataclass(frozen=True)
class Scale(Layer):
    """Multiplication by a number.

    Parameters
    ----------
    a : float
        Not zero.
    """

    a: Number

    def __post_init__(self) -> None:
        if number("a", self.a) == 0:
            raise ValueError(f"a must not be 0, got {self.a!r}")

    def __str__(self) -> str:
        return f"Scale {float(self.a):g}"

    def output_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Return the shape unchanged."""
        return shape

    def forward(self, signal: Signal) -> Signal:
        """Return a times the signal."""
        return replace(signal, mean=float(self.a) * signal.mean, variance=float(self.a) ** 2 * signal.variance)

    def jacobian(self, signal: Signal) -> Expression:
        """Return a."""
        return Scalar(Fraction(self.a))


@dataclass(frozen=True)
class Dropout(Layer):
    """Zeroes entries with probability p and divides the others by 1 - p, in training only.

    Parameters
    ----------
    p : float
        In [0, 1).
    """

    p: Number

    def __post_init__(self) -> None:
        number("p", self.p, 0, high=1, open_high=True)

    def __str__(self) -> str:
        return f"Dropout {float(self.p):g}"

    def output_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Return the shape unchanged."""
        return shape

    def forward(self, signal: Signal) -> Signal:
        """Return E x as it was and E x^2/(1 - p); two inputs have masks of their own."""
        kept, square = 1 - float(self.p), signal.mean_square
        return replace(signal, variance=square / kept - signal.mean**2, correlation=kept * signal.correlation,
                       gaussian=signal.gaussian and kept == 1)

    def jacobian(self, signal: Signal) -> Expression:
        """Return the mask over 1 - p."""
        kept = 1 - Fraction(self.p)
        return Diagonal(signal.size, Discrete((0, 1 / kept**2), (1 - kept, kept))) if kept < 1 else Identity()

    def active(self, signal: Signal) -> tuple[int, float]:
        """Return the number of entries kept."""
        return signal.size, 1 - float(self.p)

    def evaluated(self) -> Layer:
        """Return the identity."""
        return Scale(1)
