"""Layers one behind the other: the signal carried through them, and the product of their Jacobians."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby

from rmt.networks.expression import (
    Diagonal,
    Expression,
    Identity,
    Product,
    Scalar,
    begins_with_slopes,
    merged,
)
from rmt.networks.layers import Layer, UnsupportedStructure
from rmt.networks.signal import Signal


@dataclass(frozen=True)
class Step:
    """One layer with the signals before and behind it, its Jacobian, and whether that is for a signal of any scale."""

    layer: Layer
    part: Expression
    before: Signal
    after: Signal
    scale_free: bool


def steps(layers: Sequence[Layer], signal: Signal) -> Iterator[Step]:
    """Yield every layer's step; an error names the layer by its place."""
    step: Step | None = None
    for i, layer in enumerate(layers):
        try:
            step = _step(layer, signal) if step is None else _again(step, layer, signal) or _step(layer, signal)
            yield step
        except (UnsupportedStructure, OverflowError) as error:
            text = str(error)
            raise type(error)(f"layers[{i}]" + ("." if text.startswith("layers[") else ": ") + text) from None
        signal = step.after


def _again(last: Step, layer: Layer, signal: Signal) -> Step | None:
    """Return the step of a layer that is the last one once more, at another scale of the signal; None if it is not."""
    before, part = last.before, last.part
    if not last.scale_free or (layer is not last.layer and layer != last.layer):
        return None
    if len(signal.shape) > 1 or (before.shape, before.gaussian) != (signal.shape, signal.gaussian):
        return None
    if before.mean == signal.mean == 0 and before.correlation == signal.correlation and before.variance:
        grown = signal.variance / before.variance
        after = replace(last.after, variance=grown * last.after.variance, mean=math.sqrt(grown) * last.after.mean,
                        stream=last.after.stream * signal.stream / before.stream)
    else:
        after = layer.forward(signal)
    return Step(layer, part, signal, after, True) if math.isfinite(after.mean_square) else None


def _step(layer: Layer, signal: Signal) -> Step:
    try:
        part = layer.jacobian(signal)
        found = Step(layer, part, signal, layer.forward(signal), layer.scale_free and not begins_with_slopes(part))
        if math.isfinite(found.after.mean_square):
            return found
    except OverflowError as error:
        if str(error).startswith("layers["):
            raise
    raise OverflowError(f"{layer}: the signal's variance is outside the range of a float")


def every(layers: Sequence[Layer]) -> Iterator[Layer]:
    """Yield all layers, and those inside them; equal neighbours, of which there may be thousands, once."""
    for layer, _ in groupby(layers):
        yield layer
        yield from every(layer.inside)


def product(parts: Sequence[Expression]) -> Product:
    """Return the product of parts, the input's first."""
    factors: list[Expression] = []
    for part in parts:
        append(factors, part)
    return Product(tuple(factors))


def append(factors: list[Expression], part: Expression) -> None:
    """Put one more behind the factors: free of those before, or made one with the last.

    Numbers commute and stand before a diagonal, so that two diagonals on one space meet.
    """
    match part:
        case Identity():
            pass
        case Product(more):
            for one in more:
                append(factors, one)
        case Scalar() if factors:
            factors.insert(-1, part)
        case Diagonal() if factors and isinstance(factors[-1], Diagonal):
            factors[-1] = merged(factors[-1], part)
        case _:
            factors.append(part)
