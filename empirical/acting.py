"""The weights of a module as they act: as they are stored, as hooks make them, and as one forward really used them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import nn
from torch.nn.utils import parametrize, prune
from torch.nn.utils.spectral_norm import SpectralNorm
from torch.nn.utils.weight_norm import WeightNorm
from torch.overrides import TorchFunctionMode

from empirical.as_found import as_found
from empirical.calls import Batch, entry, ran
from empirical.dependence import tensors
from empirical.unwrapped import is_script
from empirical.uses import USES, Met

_LAYERS = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
_KINDS = {kind.__name__: kind for kind in (*_LAYERS, nn.Embedding, nn.GRU, nn.LSTM, nn.RNN)}
_HOOKS = (WeightNorm, SpectralNorm, prune.BasePruningMethod)
_PARAMETER = "parameter"
_OF_VALUES = {"tensor", "as_tensor", "asarray", "scalar_tensor"}  # which may be a signal's
_OPERANDS = ("input", "mat1", "batch1", "mat", "other", "mat2", "batch2", "vec", "a", "b")  # by keyword, in order


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

    Linear layers, convolutions, attention's packed projections, and every other parameter of two axes. Those that a
    hook of another kind makes at every forward are not known here: the last one may be of other parameters.
    """
    seen: dict[int, torch.Tensor] = {}  # held: what is computed anew would give its address away
    for name, layer in module.named_modules():
        if isinstance(layer, parametrize.ParametrizationList):
            continue  # what is behind the weights, not they
        made, hidden = computed(layer), sources(layer)
        own = [key for key, value in layer.named_parameters(recurse=False) if value.ndim == 2 and key not in hidden]
        own += [key for key, value in made.items() if value.ndim == 2]
        if _type(layer) in {kind.__name__ for kind in _LAYERS} or isinstance(layer, _LAYERS):
            own = ["weight"] if "weight" in {**made, **layer._parameters, **layer._buffers} else []
        for key in own:
            value = made[key] if key in made else cast(torch.Tensor, getattr(layer, key))
            if id(value) not in seen:
                seen[id(value)] = value
                other = key.replace("weight", "bias")
                bias = (made[other] if other in made else getattr(layer, other, None)) if "weight" in key else None
                bias = bias if isinstance(bias, torch.Tensor) else None
                yield Used(_shown(name, key), _kind(layer, key), value, bias, _transposed(layer))


def made_by_hooks(module: nn.Module) -> Iterator[str]:
    """Yield the layers whose weights are made by a hook of one's own, at every forward."""
    for name, layer in module.named_modules():
        if isinstance(layer, _LAYERS) and "weight" not in {**computed(layer), **layer._parameters, **layer._buffers}:
            yield name


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

    What linear layers, convolutions, matrix products and the like take is read there: as it is stored, or as it was
    computed on the way. What another function takes is read as it is stored if it was, else left out, as is what does
    not run.
    """
    own = [*stored(module)]
    watch = _Watch(module, [*tensors(x)])
    with as_found(module, entry(x, next(iter(x)) if isinstance(x, Mapping) else None)[1]), watch:
        ran(module, x)
    through = {watch.shown[name] for use in watch.uses for name in use.names}
    moved = {watch.shown[name] for name in watch.moved}
    whole: dict[str, list[torch.Tensor]] = {}
    for use in watch.uses:
        if use.whole:
            whole.setdefault(use.used.name, []).append(use.used.weight)
    inside = {name for name, part in module.named_modules() if is_script(part)}  # whose forward is not seen
    found: list[Used] = []
    for one in own:
        stands = one.kind != _PARAMETER and any(_same(one.weight, other) for other in whole.get(one.name, ()))
        met = any(_is(one.weight, value) for value in watch.met.get(one.name, ())) or (
            one.name in inside and one.kind != _PARAMETER)
        if (stands or (met and one.name not in through)) and one.name not in moved:
            found.append(one)
    known = {one.name: one.weight for one in found}
    for use in watch.uses:
        one = use.used
        if one.name not in known or not (use.whole or _same(one.weight, known[one.name])):
            found.append(one)
            known |= {one.name: one.weight} if use.whole else {}
    places = {name: i for i, name in enumerate(dict.fromkeys(watch.shown.values()))}
    return tuple(_numbered(sorted(found, key=lambda one: places[one.name])))


def _is(one: torch.Tensor, other: torch.Tensor) -> bool:
    return _place(one) == _place(other) or _same(one, other)


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
    """Follows what comes of the inputs and of the module's own tensors, and notes where the two meet.

    A tensor of which nothing was seen (of numpy, say) is taken as one that comes of the inputs.
    """

    def __init__(self, module: nn.Module, inputs: list[torch.Tensor]) -> None:
        super().__init__()
        self.signals: dict[int, torch.Tensor] = {id(value): value for value in inputs}  # held: an id is of what lives
        self.constants: dict[int, torch.Tensor] = {}
        self.own: dict[int, tuple[torch.Tensor, frozenset[str]]] = {}
        self.sizes: dict[str, tuple[bool, int]] = {}  # of a parameter or not, and how many numbers
        self.storages: set[int] = set()
        self.shown: dict[str, str] = {}
        self.written: set[int] = set()  # storages that a signal was put into
        self.met: dict[str, list[torch.Tensor]] = {}  # with signals, by the name that is shown
        self.behind: dict[int, frozenset[str]] = {}  # of signals: what acted on them since the last layer
        self.moved: frozenset[str] = frozenset()  # of which a signal made a weight
        self.uses: list[_Use] = []
        behind = {*made_by_hooks(module)}
        for name, layer in module.named_modules():
            hidden = sources(layer)
            if name in behind:
                hidden |= {key: "weight" for key in layer._parameters if key.startswith("weight")}
            attributes = {key: value for key, value in vars(layer).items() if isinstance(value, torch.Tensor)}
            for key, value in (*layer._parameters.items(), *layer._buffers.items(), *attributes.items()):
                if value is not None and key not in hidden.values():
                    whole = f"{name}.{key}".removeprefix(".")
                    self.own.setdefault(id(value), (value, frozenset((whole,))))
                    self.sizes[whole] = isinstance(value, nn.Parameter), value.numel()
                    self.storages.add(_place(value))
                    outer, _, inner = whole.partition("parametrizations.")
                    self.shown[whole] = _shown(outer.removesuffix("."), inner.partition(".")[0]) if inner else _shown(
                        name, hidden.get(key, key))

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        given = [*tensors((args, kwargs))]
        own = [value for value in given if self.is_weight(value)]
        names = frozenset().union(*(self.own[id(value)][1] for value in own))
        meets, name = any(map(self._is_signal, given)), getattr(func, "__name__", "")
        found = func(*args, **kwargs)
        if meets:
            use = None if name == "clone" and id(given[0]) in self.signals else USES.get(name)  # x is cloned first
            noted = use is not None and self._note(use, args, kwargs)
            behind = frozenset().union(*(self.behind.get(id(value), frozenset()) for value in given))
            if use is not None and not noted:  # a weight that the signal has a part in
                self.moved |= behind
            carried = frozenset() if noted else behind.union(*(self.own[id(value)][1] for value in own))
            for value in () if noted or name == "clone" else own:
                for whole in self.own[id(value)][1]:
                    self.met.setdefault(self.shown[whole], []).append(value)
            changed = given[:1] if name == "__setitem__" or (name.endswith("_") and not name.endswith("__")) else []
            for value in (*changed, *tensors(kwargs.get("out"))):
                self.written.add(_place(value))
                self.signals[id(value)] = value
            for value in tensors(found):
                self.signals[id(value)] = value
                self.behind[id(value)] = carried
                self.own.pop(id(value), None)
        for value in () if meets else tensors(found):
            if names:
                self.own.setdefault(id(value), (value, names))
            elif name not in _OF_VALUES:
                self.constants.setdefault(id(value), value)
        return found

    def _note(self, use: Callable[..., Iterable[Met]], args: Any, kwargs: Any) -> bool:
        """Note the weights of a call; return whether there are any."""
        operands = [kwargs[key] for key in _OPERANDS if key in kwargs]
        others = {key: value for key, value in kwargs.items() if key not in _OPERANDS}
        try:
            found = [met for met in use(self.is_weight, *args, *operands, **others)
                     if met.source.ndim > 1 and met.source.is_floating_point()]
        except (TypeError, ValueError, IndexError, RuntimeError):  # called in a way that is not known here
            return False
        for met in found:
            names = self.own[id(met.source)][1]
            base = max((name for name in self.sizes if name in names), key=self.sizes.__getitem__)
            one = Used(self.shown[base], met.kind, met.weight.detach().clone(), met.bias, met.transposed)
            if not any(one.name == use.used.name and _same(one.weight, use.used.weight) for use in self.uses):
                whole = _place(met.source) in self.storages and met.source.numel() == self.sizes[base][1]
                self.uses.append(_Use(one, names, whole and met.as_it_is))
        return bool(found)

    def _is_signal(self, value: torch.Tensor) -> bool:
        known = id(value) in self.own or id(value) in self.constants
        return id(value) in self.signals or not known or _place(value) in self.written

    def is_weight(self, value: Any) -> bool:
        """Whether a tensor comes of the module's own alone."""
        return isinstance(value, torch.Tensor) and id(value) in self.own and not self._is_signal(value)


def _place(value: torch.Tensor) -> int:
    """Return where the numbers of a tensor are."""
    return value.untyped_storage().data_ptr() if value.layout == torch.strided else id(value)
