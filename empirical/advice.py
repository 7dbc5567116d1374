"""What to change in a module: every remedy was applied to a copy, and measured there."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import nn

from empirical.copies import copied
from empirical.weights import Weights
from rmt.networks.layers import Activation
from rmt.networks.meanfield import NoFixedPoint, critical_point, fixed_point
from rmt.networks.sequence import every
from rmt.networks.verdict import ALL, GROWTH, SPREAD

if TYPE_CHECKING:
    from empirical.diagnose import Diagnosis

_DEAD = 0.02  # of the directions, beyond those that the shape takes
_TRIES, _BETTER = 4, 3.0  # of a factor; times less in ln: what helps
_SAME = 1e-6  # two variances
_MOST = 4.0  # times, or as many times less: no weights are advised to change by more
_LAYERS = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
_KINDS = {kind.__name__ for kind in _LAYERS} | {"projections"}
Change = Callable[[str, torch.Tensor], torch.Tensor]
Again = Callable[[Change], "Numbers"]


@dataclass(frozen=True)
class Numbers:
    """What advice looks at: ln of the growth of squared gradients, less what averages do, and the spread of ln s."""

    log_growth: float
    spread: float | None

    def grows(self, depth: int) -> bool:
        """Whether squared gradients grow or shrink by more than is no trouble over so many layers."""
        return abs(self.log_growth) > max(GROWTH * depth, ALL)


def advice(found: Diagnosis, again: Again) -> Iterator[str]:
    """Yield what to change, each with the number that it rests on; what is broken comes first.

    `again` measures the module with other weights.
    """
    broken = [*_broken(found)]
    yield from broken
    if broken and found.summary["mass_at_zero"] == 1:
        return
    numbers, depth = found.numbers, max(1, found.anatomy.depth or len(layers_of(found)))
    factor = math.exp(min(numbers.log_growth, 700.0))
    if found.judged and numbers.grows(depth):
        counted = f" over {depth} layer{'s' * (depth > 1)} of weights" if found.anatomy.depth else ""
        apart = [f"{what} ({share:.3g})" for what, share in (
            ("averages over places do", found.anatomy.averaging or 1.0), ("the narrowest place takes", found.kept))
            if share < 1]
        averaged = f", beside what {' and what '.join(apart)}" if apart else ""
        yield (f"squared gradients {'grow' if numbers.log_growth > 0 else 'shrink'} by a factor of {factor:.3g}"
               f"{counted}{averaged}{_scaled(found, again, depth)}")
    dead = _lost(found)
    if dead > _DEAD:
        yield (f"{100 * dead:.0f} % of the directions of the input do not reach the output, beside those that the "
               "narrowest layer and normalizations take: units without a slope, factors of zero or weights of low rank "
               "lose them")
    if numbers.spread is not None and numbers.spread > SPREAD:
        yield (f"ln s has a standard deviation of {numbers.spread:.2g}: along some directions the output changes "
               f"e^{2 * numbers.spread:.0f} times more than along others"
               f"{_made_orthogonal(found, again, numbers.spread)}")


def layers_of(found: Diagnosis) -> list[Weights]:
    """Return the layers of weights of the measured part."""
    used = found.anatomy.parameters
    return [row for row in found.weights if row.kind in _KINDS and (
        found.whole_module or any(name == row.name or name.startswith(f"{row.name}.") for name in used))]


def _broken(found: Diagnosis) -> Iterator[str]:
    if found.anatomy.detached:
        yield (f"the signal is detached behind {found.anatomy.detached}: no gradient passes there, and nothing before "
               "it learns")
    zero = [row.name for row in layers_of(found) if row.entries == "zero"]
    one = len(zero) == 1
    if zero and found.summary["mass_at_zero"] == 1:
        yield (f"{', '.join(zero)} {'is' if one else 'are'} all zero: nothing passes {'it' if one else 'them'}, and "
               "what is before has no gradient, as long as that is so")
    elif zero:
        yield (f"{_few(zero)} {'is' if one else 'are'} all zero: a branch through {'it' if one else 'them'} adds "
               "nothing yet (some are meant to begin so)")
    elif found.anatomy.dead:
        yield (f"at the inputs drawn no gradient passes what is behind {found.anatomy.dead}: there is no slope there "
               "(units that are off, or a function of steps)")
    elif found.anatomy.unreached:
        yield (f"at the inputs drawn no gradient reaches {_few(found.anatomy.unreached)}: what is behind has no slope, "
               "is detached, or does not reach the output")


def _few(names: Sequence[str]) -> str:
    return ", ".join(names if len(names) < 5 else [*names[:3], f"{len(names) - 3} more"])


def _lost(found: Diagnosis) -> float:
    """Return the share of directions that is lost beyond what the shapes take; 0 where that is not known."""
    rank = found.anatomy.rank
    if rank is None or found.unresolved or found.log_singular_values is None:
        return 0.0
    return max(0.0, min(rank, *found.shape) / found.shape[1] - (1 - float(found.summary["mass_at_zero"])))


# ---- remedies, each tried on a copy -------------------------------------------------------------------


def _scaled(found: Diagnosis, again: Again, depth: int) -> str:
    """Return weights of which size end the growth, if some do."""
    rows = {row.name: row for row in layers_of(found) if row.entries != "zero"}
    if found.prediction is None or not found.whole_module or not rows:
        return ""
    sizes = [row.sigma_w for row in rows.values()]
    if (point := _critical(found)) is not None:
        tried = _tried(found, again, {name: point.sigma_w / row.sigma_w for name, row in rows.items()})
        if tried is not None:
            return (f": {point.text}, these weights have {min(sizes):.3g} to {max(sizes):.3g}; with it that factor is "
                    f"{tried:.3g}, measured on a copy")
    log_factor, now = 0.0, found.numbers
    for _ in range(_TRIES):
        log_factor -= now.log_growth / depth / 2
        if not abs(log_factor) <= math.log(_MOST):
            break
        now = again(partial(_times, dict.fromkeys(rows, math.exp(log_factor))))
        if not now.grows(depth):
            return (f": with weights {math.exp(log_factor):.4g} times as large that factor is "
                    f"{math.exp(now.log_growth):.3g}, measured on a copy")
    return ""


def _tried(found: Diagnosis, again: Again, factors: Mapping[str, float]) -> float | None:
    """Return the growth with weights so many times as large; None where that is over the limit, or hardly helps."""
    if not all(1 / _MOST <= times <= _MOST for times in factors.values()):
        return None
    tried = again(partial(_times, factors))
    return math.exp(tried.log_growth) if abs(tried.log_growth) < abs(found.numbers.log_growth) / _BETTER else None


def _times(factors: Mapping[str, float], name: str, weight: torch.Tensor) -> torch.Tensor:
    return weight * factors.get(name, 1.0)


class _Critical(NamedTuple):
    sigma_w: float
    text: str


def _critical(found: Diagnosis) -> _Critical | None:
    """Return where the module's one activation keeps variances and gradients; None where it does not from there on."""
    assert found.description is not None
    functions = {layer.phi for layer in every(found.description.network.layers) if isinstance(layer, Activation)}
    if len(functions) != 1:
        return None
    phi, bias = functions.pop(), math.sqrt(sum(row.bias_std**2 for row in found.weights) / len(found.weights))
    try:
        point = critical_point(phi, bias_std=bias)
        reached = fixed_point(phi, sigma_w=point.sigma_w, bias_std=bias).variance
    except NoFixedPoint:
        return None
    if not math.isclose(reached, point.variance, rel_tol=_SAME, abs_tol=_SAME):
        return None  # it is not stable: signals leave it
    return _Critical(point.sigma_w, f"{phi} with biases of {bias:.2g} is critical at sigma_w = {point.sigma_w:.4g}")


def _made_orthogonal(found: Diagnosis, again: Again, spread: float) -> str:
    """Return what orthogonal weights of the same size do to the spread, if they halve it."""
    rows = {row.name: row for row in layers_of(found) if row.kind == "Linear" and row.entries not in (
        "orthogonal", "zero")}
    if found.prediction is None or not found.whole_module or not rows:
        return ""

    def turned(name: str, weight: torch.Tensor) -> torch.Tensor:
        if name not in rows:
            return weight
        made = nn.init.orthogonal_(torch.empty(weight.shape, dtype=torch.float64),
                                   generator=torch.Generator().manual_seed(0))
        return (made * (weight.double().square().mean() / made.square().mean()).sqrt()).to(weight)

    tried = again(turned)
    if tried.spread is None or tried.spread > spread / 2:
        return ""
    return f"; with orthogonal weights of the same size that deviation is {tried.spread:.2g}, measured on a copy"


def changed(module: nn.Module, change: Change) -> nn.Module:
    """Return a copy whose weights are what a function of their name, as `weights` has it, and value makes of them."""
    twin = copied(module)
    with torch.no_grad():
        for name, value in twin.named_parameters():
            if value.ndim > 1:
                value.copy_(change(name.removesuffix(".weight"), value.detach().clone()))
    return twin
