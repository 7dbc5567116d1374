"""The weights of a module as they act: as they are stored, as hooks make them, and as one forward really used them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import nn
from torch.nn.utils import parametrize, prune
from torch.nn.utils.spectral_norm import SpectralNorm
from torch.nn.utils.weight_norm import WeightNorm
from torch.overrides import TorchFunctionMode

from empirical.calls import Batch, entry, ran
from empirical.dependence import tensors
from empirical.jacobian import as_found
from empirical.unwrapped import scripted

_LAYERS = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
_KINDS = {kind.__name__: kind for kind in (*_LAYERS, nn.Embedding, nn.GRU, nn.LSTM, nn.RNN)}
_HOOKS = (WeightNorm, SpectralNorm, prune.BasePruningMethod)
_PARAMETER = "parameter"


@dataclass(frozen=True, eq=False)
class Used:
    """A weight and the bias beside it.

    Attributes
    ----------
    name, kind : str
        Of the layer (or parameter), and its type as torch's documentation names it.
    weight, bias : tensor, and tensor or None
        As torch stores those of its own layers: outputs first, but for transposed convolutions.
    transposed : (int, int) or None
        Groups, and the product of strides, of a transposed convolution.
    """

    name: str
    kind: str
    weight: torch.Tensor
    bias: torch.Tensor | None
    transposed: tuple[int, int] | None = None


def computed(layer: nn.Module) -> dict[str, torch.Tensor]:
    """Return the tensors of a layer that hooks or parametrizations make of its parameters, as they are in a forward.

    What a hook has left in the layer is of the last forward, and stale once a parameter has changed.
    """
    found: dict[str, torch.Tensor] = {}
    for hook in layer._forward_pre_hooks.values():
        if isinstance(hook, WeightNorm):
            found[hook.name] = hook.compute_weight(layer)
        elif isinstance(hook, SpectralNorm):
            found[hook.name] = hook.compute_weight(layer, do_power_iteration=False)
        elif isinstance(hook, prune.BasePruningMethod):
            found[hook._tensor_name] = hook.apply_mask(layer)
    for name in cast(nn.ModuleDict, layer.parametrizations) if parametrize.is_parametrized(layer) else ():
        found[name] = getattr(layer, name)
    return found


def sources(layer: nn.Module) -> dict[str, str]:
    """Return the parameters of a layer from which others are computed, with the names of those."""
    found: dict[str, str] = {}
    for hook in layer._forward_pre_hooks.values():
        if isinstance(hook, WeightNorm):
            found |= {f"{hook.name}_g": hook.name, f"{hook.name}_v": hook.name}
        elif isinstance(hook, SpectralNorm):
            found[f"{hook.name}_orig"] = hook.name
        elif isinstance(hook, prune.BasePruningMethod):
            found[f"{hook._tensor_name}_orig"] = hook._tensor_name
    return found


def only_computes(module: nn.Module) -> bool:
    """Whether a module does what its class says, with weights that hooks of torch's own make before."""
    return not module._forward_hooks and "forward" not in vars(module) and type(
        module).__call__ is nn.Module.__call__ and all(
            isinstance(hook, _HOOKS) for hook in module._forward_pre_hooks.values())


def stored(module: nn.Module) -> Iterator[Used]:
    """Yield the weights of a module as its parameters, hooks and parametrizations have them, each once.

    Linear layers, convolutions, attention's packed projections, and every other parameter of two axes or more.
    """
    seen: dict[int, torch.Tensor] = {}  # held: what is computed anew would give its address away
    for name, layer in module.named_modules():
        if isinstance(layer, parametrize.ParametrizationList):
            continue  # what is behind the weights, not they
        made, hidden = computed(layer), sources(layer)
        own = [key for key, value in layer.named_parameters(recurse=False) if value.ndim == 2 and key not in hidden]
        own += [key for key, value in made.items() if value.ndim == 2]
        if _type(layer) in {kind.__name__ for kind in _LAYERS} or isinstance(layer, _LAYERS):
            own = ["weight"]
        for key in own:
            value = made[key] if key in made else cast(torch.Tensor, getattr(layer, key))
            if id(value) not in seen:
                seen[id(value)] = value
                other = key.replace("weight", "bias")
                bias = (made[other] if other in made else getattr(layer, other, None)) if "weight" in key else None
                bias = bias if isinstance(bias, torch.Tensor) else None
                yield Used(_shown(name, key), _kind(layer, key), value, bias, _transposed(layer))


def _shown(name: str, key: str) -> str:
    return name if key == "weight" and name else f"{name}.{key}".removeprefix(".")


def _type(layer: nn.Module) -> str:
    return str(getattr(layer, "original_name", type(layer).__name__))  # the former of TorchScript


def _kind(layer: nn.Module, key: str) -> str:
    if key == "in_proj_weight":
        return "projections"  # packed: query, key and value
    if _type(layer) in _KINDS:
        return _type(layer)
    return next((name for name, kind in _KINDS.items() if isinstance(layer, kind)), _PARAMETER)


def _transposed(layer: nn.Module) -> tuple[int, int] | None:
    return (layer.groups, math.prod(layer.stride)) if isinstance(layer, nn.modules.conv._ConvTransposeNd) else None


# ---- what one forward used ------------------------------------------------------------------------------


def used(module: nn.Module, x: Batch) -> tuple[Used, ...]:
    """Return the weights that act on what depends on x, as the forward has them.

    Those of torch's layers stay as they are stored; what is computed from parameters on the way, and parameters that
    act through a function (linear, convolutions, matrix products, einsum), are as that function takes them. What does
    not run is left out.
    """
    own = [*stored(module)]
    watch = _Watch(module, [*tensors(x)])
    with as_found(module, entry(x, next(iter(x)) if isinstance(x, Mapping) else None)[1]), watch:
        ran(module, x)
    through = {watch.shown[name] for use in watch.uses for name in use.names}
    whole: dict[str, list[torch.Tensor]] = {}
    for use in watch.uses:
        if use.whole:
            whole.setdefault(use.used.name, []).append(use.used.weight)
    found: list[tuple[int, Used]] = []
    for i, one in enumerate(own):
        stands = one.kind != _PARAMETER and any(_same(one.weight, other) for other in whole.get(one.name, ()))
        if (stands or one.name not in through) and (one.name in watch.seen or scripted(module)):
            found.append((i, one))
    places, known = {one.name: i for i, one in enumerate(own)}, {one.name: one.weight for _, one in found}
    for use in watch.uses:
        one = use.used
        if one.name not in known or not (use.whole or _same(one.weight, known[one.name])):
            found.append((places.get(one.name, len(own)), one))
            known |= {one.name: one.weight} if use.whole else {}
    return tuple(_numbered([one for _, one in sorted(found, key=lambda pair: pair[0])]))


def _same(one: torch.Tensor, other: torch.Tensor) -> bool:
    return one.shape == other.shape and bool(torch.equal(one, other))


def _numbered(found: list[Used]) -> Iterator[Used]:
    """Yield the weights, those of one parameter that is used in several ways with numbers."""
    times: dict[str, int] = {}
    for one in found:
        times[one.name] = times.get(one.name, 0) + 1
        yield one if times[one.name] == 1 else Used(
            f"{one.name} ({times[one.name]})", one.kind, one.weight, one.bias, one.transposed)


@dataclass(frozen=True, eq=False)
class _Use:
    """A weight that was used, the names of what it was computed from, and whether it is all of one of them as it is."""

    used: Used
    names: frozenset[str]
    whole: bool


class _Watch(TorchFunctionMode):
    """Follows what comes of the inputs and of the module's own tensors, and notes where the two meet as weights."""

    def __init__(self, module: nn.Module, inputs: list[torch.Tensor]) -> None:
        super().__init__()
        self.signals: dict[int, torch.Tensor] = {id(value): value for value in inputs}  # held: an id is of what lives
        self.own: dict[int, tuple[torch.Tensor, frozenset[str]]] = {}
        self.sizes: dict[str, tuple[bool, int]] = {}  # of a parameter or not, and how many numbers
        self.storages: set[int] = set()
        self.shown: dict[str, str] = {}
        self.seen: set[str] = set()
        self.uses: list[_Use] = []
        for name, layer in module.named_modules():
            hidden = sources(layer)
            attributes = {key: value for key, value in vars(layer).items() if isinstance(value, torch.Tensor)}
            for key, value in (*attributes.items(), *layer._buffers.items(), *layer._parameters.items()):
                if value is not None and key not in hidden.values():
                    whole = f"{name}.{key}".removeprefix(".")
                    self.own.setdefault(id(value), (value, frozenset((whole,))))
                    self.sizes[whole] = isinstance(value, nn.Parameter), value.numel()
                    self.storages.add(value.untyped_storage().data_ptr())
                    outer, _, inner = whole.partition("parametrizations.")
                    self.shown[whole] = _shown(outer.removesuffix("."), inner.partition(".")[0]) if inner else _shown(
                        name, hidden.get(key, key))

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        given = [*tensors((args, kwargs))]
        origins = [self.own[id(value)][1] for value in given if id(value) in self.own]
        names = frozenset().union(*origins)
        self.seen.update(self.shown[name] for name in names)
        name = getattr(func, "__name__", "")
        copied = id(given[0]) in self.signals if given and name == "clone" else False  # x is cloned before it is run
        meets = any(id(value) in self.signals for value in given)
        if meets and not copied and (use := _USES.get(name)) is not None:
            self._note(use, args, kwargs)
        found = func(*args, **kwargs)
        for value in tensors(found):
            if meets:
                self.signals[id(value)] = value
                self.own.pop(id(value), None)
            elif names and id(value) not in self.own:
                self.own[id(value)] = (value, names)
        return found

    def _note(self, use: Callable[..., _Weight | None], args: Any, kwargs: Any) -> None:
        try:
            met = use(self, *args, **kwargs)
        except (TypeError, ValueError, IndexError, RuntimeError):  # called in a way that is not known here
            return
        if met is None or met.source.ndim < 2:
            return
        names = self.own[id(met.source)][1]
        base = max(names, key=self.sizes.__getitem__)
        one = Used(self.shown[base], met.kind, met.weight.detach().clone(), met.bias, met.transposed)
        if not any(one.name == use.used.name and _same(one.weight, use.used.weight) for use in self.uses):
            place = met.source.untyped_storage().data_ptr()
            self.uses.append(_Use(one, names, place in self.storages and met.source.numel() == self.sizes[base][1]))

    def is_weight(self, value: Any) -> bool:
        """Whether a tensor comes of the module's own alone."""
        return isinstance(value, torch.Tensor) and id(value) in self.own and id(value) not in self.signals


@dataclass(frozen=True, eq=False)
class _Weight:
    """A tensor that is used, and what it is, outputs first."""

    source: torch.Tensor
    weight: torch.Tensor
    kind: str = "Linear"
    bias: torch.Tensor | None = None
    transposed: tuple[int, int] | None = None


def _linear(watch: _Watch, input: torch.Tensor, weight: torch.Tensor, bias: Any = None) -> _Weight | None:
    return _Weight(weight, weight, bias=bias) if watch.is_weight(weight) else None


def _convolution(kind: str) -> Callable[..., _Weight | None]:
    def use(watch: _Watch, input: torch.Tensor, weight: torch.Tensor, bias: Any = None, *_: Any,
            **__: Any) -> _Weight | None:
        return _Weight(weight, weight, kind, bias) if watch.is_weight(weight) else None

    return use


def _transposed_convolution(kind: str, axes: int) -> Callable[..., _Weight | None]:
    def use(watch: _Watch, input: torch.Tensor, weight: torch.Tensor, bias: Any = None, stride: Any = 1,
            padding: Any = 0, output_padding: Any = 0, groups: int = 1, dilation: Any = 1) -> _Weight | None:
        steps = math.prod(stride) if isinstance(stride, tuple | list) and len(stride) > 1 else (
            stride[0] if isinstance(stride, tuple | list) else stride) ** axes
        return _Weight(weight, weight, kind, bias, (groups, steps)) if watch.is_weight(weight) else None

    return use


def _product(watch: _Watch, left: Any, right: Any, bias: Any = None) -> _Weight | None:
    """Return the weight of a matrix product: columns are its outputs on the right of a signal, rows on its left."""
    if watch.is_weight(right) and right.ndim > 1:
        turned = right.mT
        return _Weight(right, turned.reshape(-1, turned.shape[-1]), bias=bias)
    if watch.is_weight(left) and left.ndim > 1:
        return _Weight(left, left.reshape(-1, left.shape[-1]), bias=bias)
    return None


def _added_product(watch: _Watch, bias: Any, left: Any, right: Any, **_: Any) -> _Weight | None:
    return _product(watch, left, right, bias if watch.is_weight(bias) else None)


def _embedding(watch: _Watch, input: torch.Tensor, weight: torch.Tensor, *_: Any, **__: Any) -> _Weight | None:
    return _Weight(weight, weight, "Embedding") if watch.is_weight(weight) else None


def _einsum(watch: _Watch, equation: str, *operands: Any) -> _Weight | None:
    """Return the weight of a sum over letters: those that the result does not have are its inputs."""
    given = [*tensors(operands)]
    terms, _, result = equation.replace(" ", "").partition("->")
    found = [(letters, value) for letters, value in zip(terms.split(","), given, strict=True) if watch.is_weight(value)]
    if len(given) != 2 or len(found) != 1 or not result or "." in found[0][0]:
        return None
    letters, value = found[0]
    outputs = [i for i, letter in enumerate(letters) if letter in result]
    inputs = [i for i, letter in enumerate(letters) if letter not in result]
    turned = value.permute(*outputs, *inputs)
    return _Weight(value, turned.reshape(math.prod(turned.shape[: len(outputs)]), -1)) if inputs else None


_USES: dict[str, Callable[..., _Weight | None]] = {
    "linear": _linear, "embedding": _embedding, "einsum": _einsum, "addmm": _added_product, "baddbmm": _added_product,
    **dict.fromkeys(("matmul", "mm", "bmm", "mv", "__matmul__"), _product),
    "__rmatmul__": lambda watch, right, left: _product(watch, left, right),
    **{f"conv{n}d": _convolution(f"Conv{n}d") for n in (1, 2, 3)},
    **{f"conv_transpose{n}d": _transposed_convolution(f"ConvTranspose{n}d", n) for n in (1, 2, 3)},
}
