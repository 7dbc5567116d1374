"""The input-output Jacobian of a torch module."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import partial
from typing import Any, cast

import torch
from torch import nn

from empirical import dependence, sequential, underflow
from empirical.afresh import afresh, unseen
from empirical.as_found import as_found
from empirical.calls import Batch, arguments, each, entry, ran
from empirical.checks import check
from empirical.cut import Between, Run, part, picked
from empirical.differentiated import Function, by_columns, by_rows, tall
from empirical.underflow import Underflow
from empirical.unwrapped import is_script, opened, scripted

Output = str | int | None

_WORKING = 8  # numbers in flight for a row of the Jacobian and an entry of the largest activation
_NEAR = 2**19  # numbers in flight that a processor has at hand: more rows at once are slower
_SHARE = 0.5  # of the free memory


def jacobian(module: nn.Module, x: Batch, between: Between | None = None, output: Output = None,
             memory: float | None = None, wrt: str | None = None) -> torch.Tensor:
    """Return the Jacobian of every sample, (batch, outputs, inputs), in the module's precision, detached.

    Parameters
    ----------
    module : torch.nn.Module
        Taken exactly as it is; neither its parameters, gradients, buffers nor mode change. Wrappers (DataParallel,
        averaged and compiled modules) are opened, checkpoints left out, TorchScript is differentiated as it is.
    x : tensor (batch, *input_shape), or mapping of names to such
        Inputs on the module's device, in single or double precision. Names are the keywords of the module's forward;
        if it has none of those, it is called with the mapping.
    between : pair of names
        From the input of one submodule to the output of another, as `module.named_modules()` names them (None: the
        module's own input or output). Each must run once.
    output : str or int
        Which output, where the module returns a mapping, a tuple or an object with attributes.
    memory : float
        Bytes it may take, half of what is free if not given; rows in flight are cut to fit.
    wrt : str
        Which of several named inputs; the only one of real numbers if not given.

    Raises
    ------
    ValueError
        If x has no batch axis, is not finite or of half precision, or if samples depend on each other through BatchNorm
        in training mode (`batch_jacobian` is of the whole batch). Every sample is taken alone, as a batch of one.
    Underflow
        If it is too small for the module's precision (zeros that are true, as of dead units, are no error); its message
        names the layer. `log_singular_values` has logarithms.
    MemoryError
        If the Jacobian itself is larger than `memory`; nothing was allocated.

    Warns
    -----
    UserWarning
        If all of a Jacobian is zero because autograd does not see that the output depends on x (detach, no_grad, round,
        numpy); it names the line.
    """
    return formed(module, x, between, output, memory, wrt, beyond=False)


def formed(module: nn.Module, x: Batch, between: Between | None = None, output: Output = None,
           memory: float | None = None, wrt: str | None = None, beyond: bool = True,
           warned: bool = False) -> torch.Tensor:
    """Return what `jacobian` does.

    With `beyond` also where it leaves the range of floats, at either end; `warned` without warnings of cuts.
    """
    module, between = opened(module, between)
    check(module, x, wrt, whole=between is None or between[0] is None)
    key, signals = entry(x, wrt)
    with as_found(module, signals), part(module, between, wrt) as through, dependence.in_torch():
        run = detached(module)

        def one(sample: Batch, start: torch.Tensor) -> torch.Tensor:
            return picked(through(run, each(sample, _alone), start[None])[1], output).flatten()

        samples = each(x, torch.Tensor.detach)
        rows, starts = None, signals.detach()
        if key is None and between is None and output is None:
            rows = _forward(module, samples, memory)
        if rows is None:
            starts = starts if between is None else torch.cat(
                [through(run, each(samples, lambda value, i=i: value[i : i + 1]), None)[0].detach().clone()
                 for i in range(len(signals))])
            rows = _rows(one, samples, starts, module, memory)
        if not warned:
            _warn_of_a_cut(rows, one, samples, starts)
        if beyond:
            return rows
        _finite(rows, module, x)
        for i in torch.nonzero(rows.abs().amax((1, 2)) < underflow.smallest(rows.dtype)).flatten():
            sample = each(samples, lambda value, i=int(i): value[i])
            _not_vanished(rows[i], module, each(sample, _alone), partial(one, sample), starts[i])
    return rows


def cut_of(module: nn.Module, x: Batch, between: Between | None = None, output: Output = None,
           wrt: str | None = None) -> str:
    """Return where autograd loses sight of the input, at the first sample; "" where the slopes are seen."""
    module, between = opened(module, between)
    sample, signals = each(x, lambda value: value[:1].detach()), entry(x, wrt)[1]
    with as_found(module, signals), part(module, between, wrt) as through:
        run = detached(module)
        start = through(run, sample, None)[0].detach()
        return dependence.cut(lambda leaf: picked(through(run, sample, leaf)[1], output), start)


def _warn_of_a_cut(rows: torch.Tensor, one: Function, samples: Batch, starts: torch.Tensor) -> None:
    """Warn where all of a Jacobian is zero because autograd does not see what the output depends on."""
    zero = torch.nonzero(~rows.flatten(1).any(1)).flatten().tolist()
    if rows.numel() and zero:
        sample = each(samples, lambda value: value[zero[0]])
        if said := dependence.cut(partial(one, sample), starts[zero[0]]):
            warnings.warn(said, stacklevel=4)


def _not_vanished(row: torch.Tensor, module: nn.Module, sample: Batch,
                  one: Callable[[torch.Tensor], torch.Tensor], start: torch.Tensor) -> None:
    """Raise if a Jacobian of next to nothing is so by underflow, of a signal or of its own product."""
    with as_found(module, start):
        said = underflow.in_forward(module, sample)
    drawn = random_state(start.device)
    reached = _reaches_when_scaled(one, start) and torch.equal(drawn, random_state(start.device))  # else other masks
    if said or row.any() or reached:
        said = said or f"the Jacobian underflows in {str(row.dtype).removeprefix('torch.')}, though no signal does"
        double = "module.double(), " if row.dtype == torch.float32 else ""
        raise Underflow(f"{said}: use {double}larger weights or inputs, or empirical.log_singular_values, "
                        "which has logarithms")


def _reaches_when_scaled(one: Callable[[torch.Tensor], torch.Tensor], start: torch.Tensor) -> bool:
    """Return whether a product that is zero is none from a direction that is near the largest number."""
    with torch.enable_grad():
        leaf = start.clone().requires_grad_(True)
        out = one(leaf)
        if not out.requires_grad:
            return False
        direction = torch.linspace(1, 2, out.numel(), dtype=out.dtype, device=out.device)
        (pulled,) = torch.autograd.grad(out, leaf, direction / underflow.smallest(out.dtype) / 16, allow_unused=True,
                                        materialize_grads=True)
    return bool(pulled.any())


def _alone(value: torch.Tensor) -> torch.Tensor:
    return value[None]


def _forward(module: nn.Module, x: torch.Tensor, memory: float | None) -> torch.Tensor | None:
    """Return the Jacobian of a chain of matrices and diagonals, from its input on; None of anything else."""
    widest = max((part.out_features for part in module.modules() if isinstance(part, nn.Linear)), default=1)
    if not sequential.begins_with_matrix(module):
        widest = max(widest, x[0].numel())
    return sequential.product(module, x) if 3 * widest * x.nbytes <= memory_limit(x.device, memory) else None


def batch_jacobian(module: nn.Module, x: torch.Tensor, output: Output = None,
                   memory: float | None = None) -> torch.Tensor:
    """Return the Jacobian of the whole batch at once, (batch * outputs, batch * inputs), sample by sample.

    For modules whose samples depend on each other, as with batch normalization in training mode. Arguments and errors
    are those of `jacobian`.
    """
    module, _ = opened(module)
    check(module, x, mixing=True)
    with as_found(module, x), dependence.in_torch():
        run = detached(module)

        def whole(_: Batch, flat: torch.Tensor) -> torch.Tensor:
            return picked(run(flat.reshape(x.shape)), output).flatten()

        flat = x.detach().reshape(1, -1)
        rows = _finite(_rows(whole, flat, flat, module, memory), module, x)
        _warn_of_a_cut(rows, whole, flat, flat)
        row = rows[0]
        if row.numel() and row.abs().max() < underflow.smallest(row.dtype):
            _not_vanished(row, module, x, partial(whole, x), flat[0])
    return row


def detached(module: nn.Module) -> Run:
    """Return the module as a function of its inputs alone; they and buffers are copied, for it may work in place."""
    if scripted(module):
        return partial(ran, module)

    def run(x: Batch) -> Any:
        afresh(module)
        with unseen():
            state = {name: value.detach() for name, value in module.named_parameters()}
            state |= {name: value.detach().clone() for name, value in module.named_buffers()}
        args, named = arguments(module, each(x, torch.clone))
        return torch.func.functional_call(module, state, args, named)

    return run


def _rows(one: Function, samples: Batch, starts: torch.Tensor, module: nn.Module,
          memory: float | None) -> torch.Tensor:
    """Return the Jacobian of `one` in its second argument, (batch, outputs, inputs), as many rows at once as fit."""
    drawn = random_state(starts.device)
    n_outputs, largest = _sizes(one, each(samples, lambda value: value[0]), starts[0], module)
    random = not torch.equal(drawn, random_state(starts.device))
    size, n_inputs = starts.element_size(), starts[0].numel()
    limit = memory_limit(starts.device, memory)
    needed = len(starts) * n_outputs * n_inputs * size
    if needed > limit:
        raise MemoryError(f"the Jacobian of {len(starts)} samples, {n_outputs} x {n_inputs}, takes {needed:.3g} bytes "
                          f"of {limit:.3g} (memory=): fewer samples, a part of the module with between=, or "
                          "empirical.spectral_density, which forms none")
    at_once = max(1, int((limit - needed) / (_WORKING * size * max(largest, n_inputs))))
    near = max(1, _NEAR // max(largest, n_inputs))
    group, chunk = max(1, min(at_once, near) // n_outputs), min(at_once, near, n_outputs)
    if tall(n_outputs, n_inputs):
        columns = [by_columns(partial(one, each(samples, lambda value, i=i: value[i])), start,
                              max(1, min(at_once // 2, near // 4))) for i, start in enumerate(starts)]
        if all(matrix is not None for matrix in columns):
            return torch.stack(cast(list[torch.Tensor], columns))
    if group >= len(starts):
        return by_rows(one, samples, starts, chunk, random).flatten(2)
    found = starts.new_empty(len(starts), n_outputs, n_inputs)
    for i in range(0, len(starts), group):
        some = each(samples, lambda value, i=i: value[i : i + group])
        found[i : i + group] = by_rows(one, some, starts[i : i + group], chunk, random).flatten(2)
    return found


def _sizes(one: Function, sample: Batch, start: torch.Tensor, module: nn.Module) -> tuple[int, int]:
    """Return the number of outputs, and of entries of the largest activation that is kept for the way back."""
    weights = {_address(value) for value in module.parameters()}
    kept = [0]

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        kept.append(0 if _address(tensor) in weights else tensor.numel())
        return tensor

    with torch.enable_grad():
        leaf = start.clone().requires_grad_(True)
        try:
            with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
                n_outputs = one(sample, leaf).numel()
        except RuntimeError:  # torch.func inside the module takes no such hooks; raised again if it is of its own
            n_outputs = one(sample, leaf).numel()
    return n_outputs, max(n_outputs, *kept)


def _address(value: torch.Tensor) -> int:
    return value.data_ptr() if value.layout == torch.strided else 0


def random_state(device: torch.device) -> torch.Tensor:
    """Return torch's random states, from which a module on that device may draw."""
    host = torch.get_rng_state()
    return torch.cat([host, torch.cuda.get_rng_state(device)]) if device.type == "cuda" else host


def memory_limit(device: torch.device, memory: float | None = None) -> float:
    """Return the bytes that may be taken on a device: those given, or half of what is free."""
    if memory is not None:
        return float(memory)
    if device.type == "cuda":
        return _SHARE * torch.cuda.mem_get_info(device)[0]
    import psutil  # only here

    return float(_SHARE * psutil.virtual_memory().available)


def _finite(rows: torch.Tensor, module: nn.Module, x: Batch) -> torch.Tensor:
    """Return the rows, or raise with the name of what is first not finite."""
    if torch.isfinite(rows).all():
        return rows
    for name, value in (*module.named_parameters(), *module.named_buffers()):
        if not torch.isfinite(value).all():
            raise ValueError(f"the Jacobian is not finite: {name} has NaN or inf")
    broken: list[str] = []

    def see(child: nn.Module, _: Any, y: Any) -> None:
        if isinstance(y, torch.Tensor) and not torch.isfinite(y).all():
            broken.append(names[child])

    names = {child: name for name, child in module.named_modules()
             if not [*child.children()] and not is_script(child)}
    hooks = [child.register_forward_hook(see) for child in names]
    try:
        with as_found(module, entry(x)[1]):
            ran(module, each(x, torch.Tensor.detach))
    finally:
        for hook in hooks:
            hook.remove()
    raise ValueError("the Jacobian is not finite: " + (
        f"the output of {broken[0] or 'the module'} is not" if broken else "a slope is not"))
