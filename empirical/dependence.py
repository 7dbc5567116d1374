"""Where autograd no longer sees what a module's output depends on: detach, no_grad, round, argmax, numpy."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

from empirical import lines

_STEPS = {"round", "floor", "ceil", "trunc", "fix", "sign", "sgn", "heaviside", "floor_divide", "argmax", "argmin"}
_VALUES = {"numpy", "item", "tolist", "__array__", "__float__", "__int__", "__index__"}
_SHOWN = 3  # places that a message names


def tensors(value: Any) -> Iterator[torch.Tensor]:
    """Yield the tensors in arguments or results of a call."""
    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, Mapping):
        for one in value.values():
            yield from tensors(one)
    elif isinstance(value, tuple | list):
        for one in value:
            yield from tensors(one)


class _Watch(TorchFunctionMode):
    """Notes the calls that take something that depends on the input and give something that does not."""

    def __init__(self) -> None:
        super().__init__()
        self.cuts: dict[str, None] = {}
        self.steps: dict[str, None] = {}

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        found = func(*args, **(kwargs or {}))
        name = getattr(func, "__name__", "")
        if any(one.requires_grad for one in tensors((args, kwargs or {}))):
            given = [*tensors(found)]
            if (given and not any(one.requires_grad for one in given)) or name in _VALUES:
                hidden = "" if torch.is_grad_enabled() else " under torch.no_grad"
                self.cuts[f"{name}{hidden}{_at()}"] = None
            elif name.rstrip("_") in _STEPS:
                self.steps[f"{name}{_at()}"] = None
        return found


@contextmanager
def in_torch() -> Iterator[None]:
    """Say what it means that values leave torch inside a module, or that it only takes batches of its own size."""
    try:
        yield
    except AssertionError as error:
        if "Guard failed" not in str(error):
            raise
        raise ValueError(f"the module was exported for inputs of one size ({error}); every sample is taken alone, as "
                         "a batch of one: torch.export.export(..., dynamic_shapes=...) leaves the batch axis free"
                         ) from None
    except RuntimeError as error:
        if "numpy()" not in str(error):
            raise
        raise ValueError(f"{lines.of_error(error) or 'the forward'}: values that leave torch for numpy have no slope "
                         "there: use functions of torch (detach() first makes it zero)") from None


def _at() -> str:
    where = lines.outside()
    return f" ({where})" if where else ""


def cut(run: Callable[[torch.Tensor], torch.Tensor], start: torch.Tensor) -> str:
    """Return why a function of no slope at `start` has none, in words; "" where autograd sees all of it."""
    watch = _Watch()
    with torch.enable_grad(), watch:
        leaf = start.detach().clone().requires_grad_(True)
        end = run(leaf)
    seen = end.requires_grad and torch.autograd.grad(
        end, leaf, torch.ones_like(end), allow_unused=True)[0] is not None
    places = [*(watch.steps if seen else watch.cuts or watch.steps)]
    if seen and not places:
        return ""
    named = "; ".join(places[:_SHOWN])
    if not named:
        with torch.no_grad():
            read = not torch.equal(run(start), run(start + 1))
        named = "a call that has no derivative" if read else "it does not read it"
    return (f"the output does not depend on the input, as autograd sees it: {named}. The Jacobian is zero there; "
            "between= measures what is before it or behind it")
