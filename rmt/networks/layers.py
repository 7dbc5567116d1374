"""Layers: each carries a signal forward and says which expression it contributes to the Jacobian."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import lru_cache
from typing import ClassVar

import numpy as np

from rmt.checks import Number, integer, number
from rmt.laws.finite_law import FiniteLaw
from rmt.laws.law import Law
from rmt.laws.named.discrete import Discrete
from rmt.networks.activations import ActivationFunction, activation, linear
from rmt.networks.expression import Diagonal, Expression, Gaussian, Haar, Identity, Scalar
from rmt.networks.schemes import Scheme, checked_bias, scheme
from rmt.networks.signal import Array, Border, Signal

_SPREAD = 0.005  # of a share of active units: less is not worth a warning


@lru_cache(maxsize=256)
def _squared_slope(phi: ActivationFunction, variance: float) -> Law:
    with np.errstate(over="ignore"):  # of u^2, say, in a slope that is then zero
        return phi.squared_slope(variance)


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

    @property
    def inside(self) -> tuple[Layer, ...]:
        """The layers that it is made of."""
        return ()

    def output_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Return the shape of the output for an input of this shape; raise where it does not fit."""
        return shape

    @abstractmethod
    def forward(self, signal: Signal) -> Signal:
        """Return the statistics of the output."""

    @abstractmethod
    def jacobian(self, signal: Signal) -> Expression:
        """Return the layer's Jacobian at this input signal."""

    @property
    def scale_free(self) -> bool:
        """Whether its Jacobian is the same at any scale of the signal (but for the stream that slopes are of)."""
        return False

    def evaluated(self) -> Layer:
        """Return the layer that it is in evaluation mode."""
        return self

    def trained(self) -> Layer:
        """Return the layer that it is in training mode, or raise."""
        return self

    def warnings(self, signal: Signal) -> Iterator[tuple[str, float]]:
        """Yield what the theory leaves out of this layer at this input signal: a text, and the number it says ({})."""
        yield from ()

    @property
    def padded(self) -> bool:
        """Whether it sees zeros beyond a border."""
        return any(layer.padded for layer in self.inside)

    def border(self, border: Border, before: Signal, after: Signal) -> Border:
        """Return what is left behind the layer of what there is before it."""
        return border


class Weighted(Layer):
    """A layer of random weights, drawn as `init` says, and of normal biases of standard deviation `bias_std`."""

    mixes: ClassVar[bool] = True
    init: str | Scheme
    bias_std: Number

    def __post_init__(self) -> None:
        object.__setattr__(self, "init", scheme(self.init))
        object.__setattr__(self, "bias_std", checked_bias(self.scheme, self.bias_std))

    def border(self, border: Border, before: Signal, after: Signal) -> Border:
        """Return what an average over the entries that each output sees leaves."""
        square, gain = (self.seen(part) for part in border)
        share = float(self.gain(before.shape)) * before.mean_square / after.mean_square if after.mean_square else 1.0
        return Border(share * square + 1 - share, gain)

    def seen(self, profile: Array) -> Array:
        """Return the average of a profile over positions that each output sees: over all."""
        return np.full((), profile.mean())

    @property
    def scheme(self) -> Scheme:
        """The scheme, whatever way `init` was given."""
        return scheme(self.init)

    @property
    def scale_free(self) -> bool:
        """Without biases."""
        return not self.bias_std and not self.scheme.bias_gain_squared

    @property
    def _text(self) -> str:
        return f"{self.scheme}" + (f", bias_std={float(self.bias_std):g}" if self.bias_std else "")

    @abstractmethod
    def fans(self, shape: tuple[int, ...]) -> tuple[int, int]:
        """Return fan_in, the number of weights of one output, and fan_out as torch counts it."""

    @abstractmethod
    def gain(self, shape: tuple[int, ...]) -> Fraction:
        """Return the variance of an output entry over the mean square of an input entry, without the bias."""

    def forward(self, signal: Signal) -> Signal:
        """Return q = gain E x^2 + E b^2 (Poole et al. 2016)."""
        shape, gain, bias = _carried(self, signal.shape)
        variance, shared = gain * signal.mean_square + bias, gain * signal.mean_square * signal.correlation + bias
        return Signal(shape, 0.0, variance, shared / variance if variance else 1.0,
                      gaussian=True, stream=variance)

    def bias_variance(self, fan_in: int) -> float:
        """Return the variance of a bias."""
        return float(self.bias_std) ** 2 + float(self.scheme.bias_gain_squared) / fan_in

    def warnings(self, signal: Signal) -> Iterator[tuple[str, float]]:
        """Sparse weights: how many are left."""
        rows = self.output_shape(signal.shape)[0]
        if self.scheme.entries == "sparse" and (left := rows - self.scheme.zeros(rows)) < rows:
            yield f"{self} has {left} non-zero entries a column; the law is that of many", 0.0


@lru_cache(maxsize=1024)
def _carried(layer: Weighted, shape: tuple[int, ...]) -> tuple[tuple[int, ...], float, float]:
    """Return a layer's output shape, gain and bias variance."""
    return layer.output_shape(shape), float(layer.gain(shape)), layer.bias_variance(layer.fans(shape)[0])


@dataclass(frozen=True)
class Dense(Weighted):
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

    width: int
    init: str | Scheme = "kaiming_normal"
    bias_std: Number = 0.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "width", integer("width", self.width))
        super().__post_init__()
        if self.scheme.entries == "delta":
            raise ValueError(f"init must not be {str(self.scheme)!r}, which is for convolutions: use orthogonal")

    def __str__(self) -> str:
        return f"Dense {self.width} {self._text}"

    def output_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Return (width,)."""
        if len(shape) != 1:
            raise ValueError(f"Dense needs a flat input, got shape {shape}: put Flatten() before it")
        return (self.width,)

    def fans(self, shape: tuple[int, ...]) -> tuple[int, int]:
        """Return columns and rows."""
        return shape[0], self.width

    def gain(self, shape: tuple[int, ...]) -> Fraction:
        """Return n_in Var(w)."""
        return self.scheme.variance(shape[0], self.width) * shape[0]

    def jacobian(self, signal: Signal) -> Expression:
        """Return W."""
        if self.scheme.orthogonal:
            return Haar(self.width, signal.size, self.scheme.gain_squared)
        variance = self.scheme.variance(signal.size, self.width)
        return Gaussian(self.width, signal.size, variance, normal=self.scheme.entries == "normal")


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

    @property
    def scale_free(self) -> bool:
        """Where slopes depend on signs alone."""
        return self.phi.by_sign

    def forward(self, signal: Signal) -> Signal:
        """Return the averages over the Gaussian preactivation."""
        if self.phi == linear:
            return signal
        self._check(signal)
        q = signal.mean_square
        with np.errstate(over="ignore", invalid="ignore"):
            mean, mean_square = float(self.phi.mean(q)), float(self.phi.cross(q, 1.0))
        if not math.isfinite(mean_square):
            raise OverflowError(f"{self}: the signal's variance behind it is outside the range of a float")
        correlation = float(self.phi.cross(q, signal.correlation)) / mean_square if mean_square else 1.0
        return Signal(signal.shape, mean, mean_square - mean**2, min(correlation, 1.0), gaussian=False)

    def jacobian(self, signal: Signal) -> Expression:
        """Return the diagonal of slopes."""
        if self.phi == linear:
            return Identity()
        self._check(signal)
        return Diagonal(signal.size, self._slopes(signal), (self.phi, signal.mean_square, signal.stream))

    def border(self, border: Border, before: Signal, after: Signal) -> Border:
        """Return the averages at the variance of each position."""
        q = before.mean_square
        if self.phi == linear or not q:
            return border
        square, gain = (part(q * border.square, 1.0) / part(q, 1.0) for part in (self.phi.cross, self.phi.slope_cross))
        return Border(square, border.gain * gain)

    def warnings(self, signal: Signal) -> Iterator[tuple[str, float]]:
        """Few channels: the share of active units, which the law takes for granted, differs from network to network.

        Positions of one channel share its weights: their signs have the covariance arcsin(rho) / 2 pi.
        """
        if len(signal.shape) == 3 and self.phi.by_sign and self.phi != linear and signal.gaussian:
            channels, positions = signal.shape[0], signal.shape[1] * signal.shape[2]
            shared = math.asin(min(1.0, max(0.0, signal.correlation))) / (2 * math.pi)
            spread = math.sqrt((shared + (0.25 - shared) / positions) / channels)
            if spread > _SPREAD:
                yield (f"{self} on {channels} channels: the share of active units is .5 with a standard deviation of "
                       "{:.3f} from network to network; the law is that of many channels", spread)

    def _slopes(self, signal: Signal) -> Law:
        """Return the law of the squared slopes; layers that have settled on one variance are one factor, many times."""
        if not signal.mean_square and not np.any(self.phi.slope(np.array([-5e-324, 5e-324]))):
            raise OverflowError(f"{self}: the signal's variance is under every float, and the slope at 0 is zero")
        found = _squared_slope(self.phi, 1.0 if self.phi.by_sign else float(f"{signal.mean_square:.12e}"))
        if isinstance(found, FiniteLaw) and not found.mean():
            raise UnsupportedStructure(f"{self}: at a variance of {signal.mean_square:.3g} every unit is off, "
                                       "its slope 0, and the Jacobian is zero: use larger weights or inputs")
        return found

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

    @property
    def scale_free(self) -> bool:
        """Always."""
        return True

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

    def forward(self, signal: Signal) -> Signal:
        """Return E x as it was and E x^2/(1 - p); two inputs have masks of their own."""
        kept, square = 1 - float(self.p), signal.mean_square
        return replace(signal, variance=square / kept - signal.mean**2, correlation=kept * signal.correlation,
                       gaussian=signal.gaussian and kept == 1)

    def jacobian(self, signal: Signal) -> Expression:
        """Return the mask over 1 - p."""
        kept = 1 - Fraction(self.p)
        return Diagonal(signal.size, Discrete((0, 1 / kept**2), (1 - kept, kept))) if kept < 1 else Identity()

    def evaluated(self) -> Layer:
        """Return the identity."""
        return Scale(1)


@dataclass(frozen=True)
class Flatten(Layer):
    """The entries in one row, channels first."""

    def __str__(self) -> str:
        return "Flatten"

    def output_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Return (size,)."""
        return (math.prod(shape),)

    def forward(self, signal: Signal) -> Signal:
        """Return the signal in its new shape."""
        return replace(signal, shape=(signal.size,))

    def jacobian(self, signal: Signal) -> Expression:
        """Return the identity."""
        return Identity()
