"""What calls of torch take as a weight: outputs first, and in which size it acts."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch

from empirical.dependence import tensors

IsWeight = Callable[[Any], bool]  # whether a tensor comes of the module's own alone


@dataclass(frozen=True, eq=False)
class Met:
    """A tensor that is used, and what it is, outputs first."""

    source: torch.Tensor
    weight: torch.Tensor
    kind: str = "Linear"
    bias: torch.Tensor | None = None
    transposed: tuple[int, int] | None = None
    as_it_is: bool = True  # but for the order of its entries


def _linear(is_weight: IsWeight, input: torch.Tensor, weight: torch.Tensor, bias: Any = None) -> Iterator[Met]:
    if is_weight(weight):
        yield Met(weight, weight, bias=bias)


def _convolution(kind: str) -> Callable[..., Iterator[Met]]:
    def use(is_weight: IsWeight, input: torch.Tensor, weight: torch.Tensor, bias: Any = None, *_: Any,
            **__: Any) -> Iterator[Met]:
        if is_weight(weight):
            yield Met(weight, weight, kind, bias)

    return use


def _transposed_convolution(kind: str, axes: int) -> Callable[..., Iterator[Met]]:
    def use(is_weight: IsWeight, input: torch.Tensor, weight: torch.Tensor, bias: Any = None, stride: Any = 1,
            padding: Any = 0, output_padding: Any = 0, groups: int = 1, dilation: Any = 1) -> Iterator[Met]:
        steps = math.prod(stride) if isinstance(stride, tuple | list) and len(stride) > 1 else (
            stride[0] if isinstance(stride, tuple | list) else stride) ** axes
        if is_weight(weight):
            yield Met(weight, weight, kind, bias, (groups, steps))

    return use


def _product(is_weight: IsWeight, left: Any, right: Any, bias: Any = None, times: float = 1) -> Iterator[Met]:
    """Yield the weight of a matrix product: columns are its outputs on the right of a signal, rows on its left."""
    for weight in (right, left):
        if is_weight(weight) and weight.ndim > 1:
            turned = weight.mT if weight is right else weight
            yield Met(weight, times * turned.reshape(-1, turned.shape[-1]), bias=bias, as_it_is=times == 1)
            return


def _added_product(is_weight: IsWeight, bias: Any, left: Any, right: Any, *, beta: float = 1,
                   alpha: float = 1) -> Iterator[Met]:
    yield from _product(is_weight, left, right, beta * bias if is_weight(bias) else None, alpha)


def _chained_product(is_weight: IsWeight, matrices: Any, **_: Any) -> Iterator[Met]:
    signal = next(i for i, one in enumerate(matrices) if not is_weight(one))
    for i, one in enumerate(matrices):
        yield from _product(is_weight, None, one) if i > signal else _product(is_weight, one, None)


def _embedding(is_weight: IsWeight, input: torch.Tensor, weight: torch.Tensor, *_: Any, **__: Any) -> Iterator[Met]:
    if is_weight(weight):
        yield Met(weight, weight, "Embedding")


def _tensordot(is_weight: IsWeight, a: torch.Tensor, b: torch.Tensor, dims: Any = 2, **_: Any) -> Iterator[Met]:
    """Yield the weight of a sum over axes: those are its inputs."""
    axes = (range(a.ndim - dims, a.ndim), range(dims)) if isinstance(dims, int) else dims
    for weight, summed in zip((a, b), axes, strict=True):
        if is_weight(weight):
            inputs = [axis % weight.ndim for axis in summed]
            yield _summed(weight, [axis for axis in range(weight.ndim) if axis not in inputs], inputs)


def _einsum(is_weight: IsWeight, equation: str, *operands: Any) -> Iterator[Met]:
    """Yield the weight of a sum over letters: those that the result does not have are its inputs."""
    given = [*tensors(operands)]
    terms, arrow, result = equation.replace(" ", "").partition("->")
    result = result if arrow else "".join(sorted(one for one in terms if one != "," and terms.count(one) == 1))
    found = [(letters, value) for letters, value in zip(terms.split(","), given, strict=True) if is_weight(value)]
    if len(given) != 2 or len(found) != 1 or not result or "." in found[0][0]:
        return
    letters, value = found[0]
    inputs = [i for i, letter in enumerate(letters) if letter not in result]
    if inputs:
        yield _summed(value, [i for i, letter in enumerate(letters) if letter in result], inputs)


def _summed(weight: torch.Tensor, outputs: list[int], inputs: list[int]) -> Met:
    turned = weight.permute(*outputs, *inputs)
    return Met(weight, turned.reshape(math.prod(turned.shape[: len(outputs)]), -1))


USES: dict[str, Callable[..., Iterator[Met]]] = {
    "linear": _linear, "embedding": _embedding, "einsum": _einsum, "tensordot": _tensordot,
    "linalg_multi_dot": _chained_product,
    **dict.fromkeys(("addmm", "baddbmm", "addmv"), _added_product),
    **dict.fromkeys(("matmul", "mm", "bmm", "mv", "__matmul__", "linalg_matmul"), _product),
    "__rmatmul__": lambda is_weight, right, left: _product(is_weight, left, right),
    **{f"conv{n}d": _convolution(f"Conv{n}d") for n in (1, 2, 3)},
    **{f"conv_transpose{n}d": _transposed_convolution(f"ConvTranspose{n}d", n) for n in (1, 2, 3)},
}
