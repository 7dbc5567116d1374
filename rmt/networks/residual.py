"""Residual blocks x -> shortcut(x) + scale * branch(x)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import lru_cache

from rmt.checks import Number, number
from rmt.networks.expression import Block, Diagonal, Expression, Identity, Product, Scalar, mixes
from rmt.networks.layers import Layer, UnsupportedStructure
from rmt.networks.sequence import Step, product, steps
from rmt.networks.signal import Border, Signal


@lru_cache(maxsize=64)
def _steps(layers: tuple[Layer, ...], signal: Signal) -> tuple[Step, ...]:
    """Return the steps through a branch, which a block asks for several times in a row."""
    return tuple(steps(layers, signal))


@dataclass(frozen=True, init=False)
class Residual(Layer):
    """x -> shortcut(x) + scale * branch(x); blocks nest.

    Parameters
    ----------
    layers : sequence of Layer
        The branch, with a layer of weights in it; its output has the shape of its input.
    scale : float
        Of the branch; 0 leaves the shortcut alone (its training then begins at the identity).
    shortcut : sequence of Layer
        The identity if empty; to be predicted, only layers that multiply by a number.
    """

    layers: tuple[Layer, ...]
    scale: Number
    shortcut: tuple[Layer, ...]

    def __init__(self, layers: Sequence[Layer], scale: Number = 1.0, shortcut: Sequence[Layer] = ()) -> None:
        for name, value in (("layers", layers), ("shortcut", shortcut)):
            if not isinstance(value, Sequence) or not all(isinstance(layer, Layer) for layer in value):
                raise TypeError(f"{name} must be a sequence of layers, got {value!r}")
            object.__setattr__(self, name, tuple(value))
        if not layers:
            raise ValueError("layers must not be empty: a residual block needs a branch")
        object.__setattr__(self, "scale", number("scale", scale))

    @property
    def inside(self) -> tuple[Layer, ...]:
        """The layers of branch and shortcut."""
        return (*self.layers, *self.shortcut)

    @property
    def mixes(self) -> bool:  # type: ignore[override]
        """Whether there are weights inside."""
        return any(layer.mixes for layer in self.inside)

    def __str__(self) -> str:
        kinds = ", ".join(dict.fromkeys(str(layer) for layer in self.layers))
        scale = f" scale={float(self.scale):g}" if self.scale != 1 else ""
        shortcut = f" shortcut=({', '.join(map(str, self.shortcut))})" if self.shortcut else ""
        return f"Residual({kinds}){scale}{shortcut}"

    def output_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Return the shape that branch and shortcut share."""
        found = []
        for name, layers in (("layers", self.layers), ("shortcut", self.shortcut)):
            end = shape
            for i, layer in enumerate(layers):
                try:
                    end = layer.output_shape(end)
                except ValueError as error:
                    raise ValueError(f"Residual: {name}[{i}]: {error}") from None
            found.append(end)
        if found[0] != found[1]:
            raise ValueError(f"Residual: the branch ends in shape {found[0]}, the shortcut in {found[1]}")
        return found[0]

    def forward(self, signal: Signal) -> Signal:
        """Return the sum of two independent signals: the branch's weights have mean zero."""
        through = signal
        for layer in self.layers:
            through = layer.forward(through)
        a, b = self._shortcut(signal), float(self.scale)
        mean = a * signal.mean + b * through.mean
        variance = a**2 * signal.variance + b**2 * through.variance
        shared = (a**2 * signal.mean_square * signal.correlation + b**2 * through.mean_square * through.correlation
                  + 2 * a * b * signal.mean * through.mean)
        square = mean**2 + variance
        grown = variance / (a**2 * signal.variance) if signal.variance else 1.0
        return replace(signal, mean=mean, variance=variance, correlation=min(shared / square, 1.0) if square else 1.0,
                       gaussian=signal.gaussian and (through.gaussian or b == 0), stream=signal.stream * grown)

    def jacobian(self, signal: Signal) -> Expression:
        """Return the shortcut's number and the branch."""
        branch = product([step.part for step in _steps(self.layers, signal)])
        first = next((part for part in branch.factors if not isinstance(part, Scalar)), None)
        branch = Product(tuple(replace(part, seen=None) if isinstance(part, Diagonal) and part is not first else part
                               for part in branch.factors))  # only what begins the branch is on the stream
        shortcut, scale = Fraction(self._shortcut(signal)), Fraction(self.scale)
        if not scale:
            return Scalar(shortcut) if shortcut != 1 else Identity()
        if not mixes(branch):
            raise UnsupportedStructure(f"{self}: a branch without weights is not free of the shortcut; put a Dense or "
                                       "Conv2d layer into it")
        return Block(signal.size, shortcut, product([branch, Scalar(scale)]))

    def _shortcut(self, signal: Signal) -> float:
        """Return the number by which the shortcut multiplies."""
        a = 1.0
        for step in steps(self.shortcut, signal):
            match step.part:
                case Identity():
                    pass
                case Scalar(factor):
                    a *= float(factor)
                case _:
                    raise UnsupportedStructure(f"{self}: a shortcut with {step.layer} is not covered; use one that "
                                               "multiplies by a number (Scale), or a chain without shortcut there")
        if a == 0:
            raise UnsupportedStructure(f"{self}: a shortcut of 0 is no shortcut; use the branch alone")
        return a

    @property
    def scale_free(self) -> bool:
        """Where all inside is."""
        return all(layer.scale_free for layer in self.inside)

    def evaluated(self) -> Layer:
        """Return the block of the layers in evaluation mode."""
        return self._of([layer.evaluated() for layer in self.layers], [layer.evaluated() for layer in self.shortcut])

    def trained(self) -> Layer:
        """Return the block of the layers in training mode."""
        return self._of([layer.trained() for layer in self.layers], [layer.trained() for layer in self.shortcut])

    def _of(self, layers: list[Layer], shortcut: list[Layer]) -> Residual:
        """Return the block of other layers; itself if they are its own."""
        same = all(new is old for new, old in zip((*layers, *shortcut), self.inside, strict=True))
        return self if same else Residual(layers, self.scale, shortcut)

    def warnings(self, signal: Signal) -> Iterator[tuple[str, float]]:
        """Yield those of the branch."""
        for step in _steps(self.layers, signal):
            yield from step.layer.warnings(step.before)

    def border(self, border: Border, before: Signal, after: Signal) -> Border:
        """Return the shortcut's and the branch's, each by its share of the mean square."""
        part = self.jacobian(before)
        if not isinstance(part, Block):
            return border
        through, square = border, 0.0
        for step in _steps(self.layers, before):
            through, square = step.layer.border(through, step.before, step.after), step.after.mean_square
        share = float(self.scale) ** 2 * square / after.mean_square if after.mean_square else 0.0
        return Border((1 - share) * border.square + share * through.square,
                      (1 - part.share) * border.gain + part.share * through.gain)
