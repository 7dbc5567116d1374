"""Layers one behind the other: the signal carried through them, and the product of their Jacobians."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rmt.networks.expression import Diagonal, Expression, Identity, Product, Scalar, merged
from rmt.networks.layers import Layer, UnsupportedStructure
from rmt.networks.signal import Signal


@dataclass(frozen=True)
class Step:
    """One layer with the signals before and behind it, and its Jacobian."""

    layer: Layer
    part: Expression
    before: Signal
    after: Signal


def steps(layers: Sequence[Layer], signal: Signal) -> Iterator[Step]:
    """Yield every layer's step; an error names the layer by its place."""
    for i, layer in enumerate(layers):
        try:
            yield (step := _step(layer, signal))
        except (UnsupportedStructure, OverflowError) as error:
            text = str(error)
            raise type(error)(f"layers[{i}]" + ("." if text.startswith("layers[") else ": ") + text) from None
        signal = step.after


def _step(layer: Layer, signal: Signal) -> Step:
    try:
        found = Step(layer, layer.jacobian(signal), signal, layer.forward(signal))
        if math.isfinite(found.after.mean_square):
            return found
    except OverflowError as error:
        if str(error).startswith("layers["):
            raise
    raise OverflowError(f"{layer}: the signal's variance is outside the range of a float")


def every(layers: Sequence[Layer]) -> Iterator[Layer]:
    """Yield all layers, and those inside them."""
    for layer in layers:
        yield layer
        yield from every(layer.inside)


def product(parts: Sequence[Expression]) -> Product:
    """Return the product of parts, the input's first."""
    factors: tuple[Expression, ...] = ()
    for part in parts:
        factors = appended(factors, part)
    return Product(factors)


def appended(factors: tuple[Expression, ...], part: Expression) -> tuple[Expression, ...]:
    """Return the factors with one more behind them: free of those before, or made one with the last.

    Numbers commute and stand before a diagonal, so that two diagonals on one space meet.
    """
    match part:
        case Identity():
            return factors
        case Product(more):
            for one in more:
                factors = appended(factors, one)
            return factors
        case Scalar() if factors:
            return (*factors[:-1], part, factors[-1])
        case Diagonal() if factors and isinstance(factors[-1], Diagonal):
            return (*factors[:-1], merged(factors[-1], part))
    return (*factors, part)
