"""A network: an input shape and a list of layers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby

from rmt.checks import Number, integer
from rmt.networks.activations import ActivationFunction
from rmt.networks.layers import Activation, Dense, Layer
from rmt.networks.schemes import Scheme


@dataclass(frozen=True)
class Network:
    """A network at initialization; immutable, and its `repr` says all of it.

    Parameters
    ----------
    input_shape : int or tuple of int
        Shape of one input, channels first.
    layers : sequence of Layer
        In the order in which they act; may be empty.
    """

    input_shape: tuple[int, ...]
    layers: tuple[Layer, ...]

    def __init__(self, input_shape: int | Sequence[int], layers: Sequence[Layer]) -> None:
        shape = tuple(input_shape) if isinstance(input_shape, Sequence) else (input_shape,)
        if not shape:
            raise ValueError(f"input_shape must have at least one entry, got {input_shape!r}")
        if not isinstance(layers, Sequence):
            raise TypeError(f"layers must be a sequence of layers, got {layers!r}")
        object.__setattr__(self, "input_shape", tuple(integer("input_shape", n) for n in shape))
        for i, layer in enumerate(layers):
            if not isinstance(layer, Layer):
                raise TypeError(f"layers[{i}] must be a layer, got {layer!r}")
        object.__setattr__(self, "layers", tuple(layers))
        _ = self.shapes

    def __str__(self) -> str:
        """Widths and what acts between them, repeats counted: "200-200x3, kaiming_normal, relu"."""
        sizes = [math.prod(shape) for shape in self.shapes]
        kept = sizes[:1] + [size for size, layer in zip(sizes[1:], self.layers, strict=True)
                            if layer.mixes]
        runs = [(size, len(list(run))) for size, run in groupby(kept[1:])]
        widths = "-".join([str(kept[0]), *(f"{size}x{count}" if count > 1 else str(size) for size, count in runs)])
        kinds = dict.fromkeys(str(layer).removeprefix(f"Dense {size} ")
                              for size, layer in zip(sizes[1:], self.layers, strict=True))
        return ", ".join([widths, *kinds])

    @cached_property
    def shapes(self) -> tuple[tuple[int, ...], ...]:
        """The shape of the input and after every layer."""
        shapes = [self.input_shape]
        for i, layer in enumerate(self.layers):
            try:
                shapes.append(layer.output_shape(shapes[-1]))
            except ValueError as error:
                raise ValueError(f"layers[{i}]: {error}") from None
        return tuple(shapes)

    @property
    def n_inputs(self) -> int:
        """Entries of one input, the columns of the Jacobian."""
        return math.prod(self.shapes[0])

    @property
    def n_outputs(self) -> int:
        """Entries of one output, the rows of the Jacobian."""
        return math.prod(self.shapes[-1])


def mlp(widths: Sequence[int], activation: str | ActivationFunction = "relu", init: str | Scheme = "kaiming_normal",
        bias_std: Number = 0.0, activate_last: bool = True) -> Network:
    """Return a multilayer perceptron.

    Parameters
    ----------
    widths : sequence of int
        The input's width, then every layer's.
    activation, init, bias_std
        Of every layer.
    activate_last : bool
        Whether the activation follows the last layer too.
    """
    if not isinstance(widths, Sequence) or isinstance(widths, str) or len(widths) < 1:
        raise ValueError(f"widths must list the input's width and every layer's, got {widths!r}")
    widths = [integer(f"widths[{i}]", n) for i, n in enumerate(widths)]
    layers: list[Layer] = []
    for width in widths[1:]:
        layers += [Dense(width, init, bias_std), Activation(activation)]
    return Network(widths[0], layers if activate_last else layers[:-1])
