"""The spectrum of a Jacobian too large to form, from products with it alone, with error bars."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import nn

from empirical.as_found import as_found
from empirical.calls import Batch, each, entry
from empirical.checks import check
from empirical.cut import Between, Part, part, picked
from empirical.dependence import in_torch
from empirical.differentiated import alike, direction_at
from empirical.jacobian import Output, cut_of, detached, memory_limit
from empirical.unwrapped import opened
from rmt import plotting
from rmt.checks import integer

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Array = NDArray[np.float64]
Product = Callable[[torch.Tensor], torch.Tensor]  # of vectors in rows

_POINTS = 201  # of the grid
_CONVERGED = 1e-3  # of s: the largest residual of a Ritz value that is called converged
_ISOLATED = 0.01  # of the distance to its neighbours: the residual of a Ritz value that is one value of s
_ADJOINT = 0.1  # sqrt(eps), relative: how far <u, J v> and <J^T u, v> may be apart
_ONCE = "J v needs a derivative that can be differentiated, and torch has none of this module"
_TINY = float(np.finfo(np.float64).tiny)
_ROUNDING = 10.0  # eps: closer values are copies of one; times sqrt(n): shorter vectors than the longest are noise


class Extreme(NamedTuple):
    """An end of a spectrum: ln s of a Ritz value, and whether its residual says there is a value within .1 % of s.

    None has converged where some lie at the resolution: they may be zero.
    """

    log_value: float
    converged: bool


class Extremes(NamedTuple):
    """Of the min(n_inputs, n_outputs) singular values that are not zero by shape, of all networks and inputs."""

    largest: Extreme
    smallest: Extreme


@dataclass(frozen=True)
class SpectralDensity:
    """What `spectral_density` found; errors are one standard deviation, arrays are along `grid`, ascending ln s.

    `cdf` is the share of the n_inputs values up to exp(grid), zeros included, averaged over inputs and networks;
    `cdf_se`^2 the sum of `probe_se`^2 (random probes), `network_se`^2 (what networks scatter beyond that; None for one,
    rough for few) and what the steps leave open. `density` is the slope of the cdf per unit of ln s over an interval of
    width `smoothing`. `mean_square` is the mean of s^2 over the n_inputs values, by the probes' own lengths. ln s under
    `resolution` cannot be told from zero and is put there.
    """

    grid: Array
    cdf: Array
    cdf_se: Array
    probe_se: Array
    network_se: Array | None
    density: Array
    density_se: Array
    extremes: Extremes
    mean_square: float
    resolution: float
    smoothing: float
    n_inputs: int
    probes: int
    steps: int
    seed: int

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw the density of log10 s with its error."""
        return plotting.matrix_free(self, ax)


class _Rule(NamedTuple):
    """Gauss quadrature of one probe: ascending nodes s, weights, and how far at most s of the Jacobian are."""

    nodes: Array
    weights: Array
    residuals: Array
    resolution: float


def spectral_density(module: nn.Module | Sequence[nn.Module], x: Batch, *, probes: int = 8, steps: int = 100,
                     seed: int = 0, grid: ArrayLike | None = None, between: Between | None = None,
                     output: Output = None, wrt: str | None = None) -> SpectralDensity:
    """Return the distribution of ln s of a module's Jacobian, which is never formed.

    Stochastic Lanczos quadrature (Ubaru, Chen, Saad 2017): Golub-Kahan bidiagonalisation (1965) from random unit
    vectors on the smaller side, orthogonal to each other, gives each vector's Gauss rule for the measure of s (Golub,
    Meurant 2010). At a node the cdf lies between the weights before and up to it (Chebyshev, Markov, Stieltjes): the
    middle is taken, and between nodes ln cdf is linear in ln s. Under the lowest, where the steps see nothing, it goes
    on as where that node was after fewer steps.

    Parameters
    ----------
    module : torch.nn.Module or sequence of them
        Independent networks of the same shapes, each taken exactly as it is, in its own precision, and left so.
    x, between, output, wrt
        As of `empirical.jacobian`, with its errors; a network's average over its inputs is one measurement.
    probes, steps, seed : int
        Random vectors for each network and input, and products of each with J and with J^T; no more than J has values.
        Noise falls as probes^-1/2 (there is none where J has no more values), what is unseen at the bottom with steps.
    grid : array, optional
        Ascending values of ln s; if not given they cover the spectrum evenly.
    """
    networks = [module] if isinstance(module, nn.Module) else list(module)
    if not networks or not all(isinstance(network, nn.Module) for network in networks):
        raise TypeError(f"module must be an nn.Module or a non-empty sequence of them, got {module!r}")
    probes, steps, seed = integer("probes", probes), integer("steps", steps, 2), integer("seed", seed, 0)
    points = None if grid is None else np.array(grid, dtype=np.float64)
    if points is not None and not (points.ndim == 1 and np.isfinite(points).all() and (np.diff(points) > 0).all()):
        raise ValueError(f"grid must be finite, ascending values of ln s, got {grid!r}")
    generator = torch.Generator().manual_seed(seed)
    rules: list[tuple[_Rule, ...]] = []
    shapes = set()
    for network in networks:
        network, inside = opened(network, between)
        check(network, x, wrt, whole=between is None or between[0] is None)
        signals = entry(x, wrt)[1]
        with as_found(network, signals), part(network, inside, wrt) as through, in_torch():
            for i in range(len(signals)):
                sample = each(x, lambda value, i=i: value[i : i + 1].detach())
                forward, back, shape, start = _products(network, through, sample, output)
                shapes.add(shape)
                rules += _rules(forward, back, shape, start, probes, steps, generator)
    if len(shapes) != 1:
        raise ValueError(f"module and x must give one shape (outputs, inputs), got {sorted(shapes)}")
    if not any(rule.nodes.any() for ladder in rules for rule in ladder[:1]) and (
            said := cut_of(networks[0], x, between, output, wrt)):
        warnings.warn(said, stacklevel=2)
    return _result(rules, len(networks), points, shape[1], min(shape), min(probes, *shape), min(steps, *shape), seed)


def _products(network: nn.Module, through: Part, sample: Batch,
              output: Output) -> tuple[Product, Product, tuple[int, int], torch.Tensor]:
    """Return v -> J v and u -> J^T u of vectors in rows, the shape of J, and the tensor it is taken at.

    J v is the transpose of u -> J^T u: both come from one evaluation, so a random layer is the same in both, and no
    layer needs a forward mode (`torch.func.linearize` draws dropout anew at every product).
    """
    run = detached(network)

    def one(start: torch.Tensor) -> torch.Tensor:
        return picked(through(run, sample, start)[1], output).flatten()

    def product(of: Callable[..., Any], like: torch.Tensor) -> Product:
        together = _batches(of, like)

        def apply(vectors: torch.Tensor) -> torch.Tensor:
            given = vectors.reshape(-1, *like.shape)
            found = torch.func.vmap(of)(given)[0] if together else _one_by_one(of, given)
            if not torch.isfinite(found).all():
                raise ValueError("a product with the Jacobian is not finite")
            return found.flatten(1)
        return apply

    start = through(run, sample, None)[0].detach().clone()
    try:
        y, pull = torch.func.vjp(one, start)[:2]
        push = torch.func.vjp(lambda u: pull(u)[0], torch.zeros_like(y))[1]
    except RuntimeError:  # what torch.func does not know, as TorchScript and derivatives of one's own
        y, pull, push = _by_autograd(one, start)
    forward, back = product(push, start), product(pull, y)
    _check_transposed(forward, back, start.numel(), y)
    return forward, back, (y.numel(), start.numel()), start


def _batches(of: Callable[..., Any], like: torch.Tensor) -> bool:
    """Whether torch has products of several vectors at once, and they are what they are one by one."""
    two = direction_at(torch.stack([like, like]))
    try:
        together = torch.func.vmap(of)(two)[0]
    except RuntimeError:
        return False
    return alike(together.flatten(), _one_by_one(of, two).flatten())


def _one_by_one(of: Callable[..., Any], vectors: torch.Tensor) -> torch.Tensor:
    with torch.enable_grad(), _differentiable_twice():
        return torch.stack([of(vector)[0] for vector in vectors])


def _check_transposed(forward: Product, back: Product, n_inputs: int, y: torch.Tensor) -> None:
    """Raise where J v is not the transpose of J^T u: a derivative of one's own may be no function of u to torch."""
    generator = torch.Generator().manual_seed(0)
    v, u = (torch.randn(1, n, generator=generator, dtype=torch.float64).to(y) for n in (n_inputs, y.numel()))
    ahead, pulled = forward(v).double(), back(u).double()
    size = float(ahead.norm() * u.double().norm() + pulled.norm() * v.double().norm())
    if abs(float((ahead * u).sum() - (pulled * v).sum())) > _ADJOINT * torch.finfo(y.dtype).eps ** 0.5 * size:
        raise ValueError(_ONCE + " (empirical.jacobian forms the Jacobian without)")


def _by_autograd(one: Product, start: torch.Tensor) -> tuple[torch.Tensor, Callable[..., Any], Callable[..., Any]]:
    """Return the value at `start`, u -> (J^T u,) and v -> (J v,), of one evaluation."""
    with torch.enable_grad():
        leaf = start.clone().requires_grad_(True)
        y = one(leaf)
        y = y if y.requires_grad else y + 0 * leaf.sum()
        u = torch.zeros_like(y, requires_grad=True)
    with torch.enable_grad(), _differentiable_twice():
        (pulled,) = torch.autograd.grad(y, leaf, u, create_graph=True, materialize_grads=True, allow_unused=True)

    def back(vector: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return torch.autograd.grad(y, leaf, vector, retain_graph=True, materialize_grads=True, allow_unused=True)

    def ahead(vector: torch.Tensor) -> tuple[torch.Tensor, ...]:
        if not pulled.requires_grad:
            return (torch.zeros_like(u),)
        return torch.autograd.grad(pulled, u, vector, retain_graph=True, materialize_grads=True, allow_unused=True)

    return y.detach(), back, ahead


@contextmanager
def _differentiable_twice() -> Iterator[None]:
    """Say what it means that torch cannot go through the way back once more."""
    try:
        yield
    except RuntimeError as error:
        raise ValueError(f"{_ONCE}: {str(error).splitlines()[0]} (empirical.jacobian forms the Jacobian "
                         "without)") from error


def _rules(forward: Product, back: Product, shape: tuple[int, int], like: torch.Tensor, probes: int, steps: int,
           generator: torch.Generator) -> list[tuple[_Rule, ...]]:
    """Return for every probe its rules after all steps, 6/8, 4/8, 3/8 and 2/8 of them."""
    forward, back = (back, forward) if shape[0] < shape[1] else (forward, back)
    small, large = sorted(shape)
    probes, steps = min(probes, small), min(steps, small)
    starts = torch.linalg.qr(torch.randn(small, probes, generator=generator, dtype=torch.float64))[0].T.to(like)
    limit, needed = memory_limit(like.device), like.element_size() * (steps + 1) * (small + large)
    eps = torch.finfo(like.dtype).eps
    if needed > limit:
        raise MemoryError(f"{steps} steps of {small} + {large} numbers take {needed:.3g} bytes of {limit:.3g}")
    vanishing = _ROUNDING * eps * math.sqrt(large)
    groups = starts.split(max(1, int(limit // needed)))
    parts = [_bidiagonal(forward, back, few, large, steps, vanishing) for few in groups]
    alpha, beta = (torch.cat(column).cpu().numpy() for column in zip(*parts, strict=True))
    if not (np.isfinite(alpha).all() and np.isfinite(beta).all()):
        raise ValueError("the length of a product with the Jacobian overflows")
    beta[:, small - 1 :] = 0  # the space is whole
    resolution = min(large * eps, vanishing)
    ladders = (tuple(_rule(a, b, max(1, n * steps // 8), resolution, _ROUNDING * eps) for n in (8, 6, 4, 3, 2))
               for a, b in zip(alpha, beta, strict=True))
    return [ladder if ladder[0].residuals.any() else ladder[:1] * 5 for ladder in ladders]  # the whole space is exact


def _bidiagonal(forward: Product, back: Product, starts: torch.Tensor, large: int, steps: int,
                rounding: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Return diagonal alpha and superdiagonal beta of B, (probes, steps) each: A V = U B, A^T U = V B^T + beta v e^T.

    Every vector is made orthogonal to all before it. One that vanishes ends its chain: from there on all is zero.
    """
    probes, small = starts.shape
    v, u = starts.new_zeros(probes, steps + 1, small), starts.new_zeros(probes, steps, large)
    alpha, beta, longest = (starts.new_zeros(probes, n, dtype=torch.float64) for n in (steps, steps, 1))
    v[:, 0] = starts

    def unit(vector: torch.Tensor, basis: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        vector = vector - torch.einsum("pk,pkn->pn", torch.einsum("pkn,pn->pk", basis, vector), basis)
        norm = torch.linalg.vector_norm(vector, dim=1, keepdim=True, dtype=torch.float64)
        longest.copy_(torch.maximum(longest, norm))
        norm = torch.where(norm <= rounding * longest, 0.0, norm)
        return norm[:, 0], torch.where(norm > 0, vector / norm, 0.0).to(vector)

    for j in range(steps):
        ahead = forward(v[:, j])
        alpha[:, j], u[:, j] = unit(ahead - beta[:, j - 1, None].to(u) * u[:, j - 1] if j else ahead, u[:, :j])
        beta[:, j], v[:, j + 1] = unit(back(u[:, j]) - alpha[:, j, None].to(v) * v[:, j], v[:, : j + 1])
    return alpha, beta


def _rule(alpha: Array, beta: Array, steps: int, relative: float, apart: float) -> _Rule:
    """Return the rule after some steps, values under the resolution at it and copies of one value as one.

    `relative` is the resolution and `apart` the distance at which values are two, both of the largest.
    """
    n = int(np.argmax(np.append(beta[: steps - 1], 0) == 0)) + 1
    left, nodes, right = np.linalg.svd(np.diag(alpha[:n]) + np.diag(beta[: n - 1], 1))
    resolution = relative * float(nodes[0])
    nodes = np.maximum(nodes[::-1], resolution)
    first = np.diff(nodes, prepend=-np.inf) > apart * nodes[-1]
    weights = np.bincount(np.cumsum(first) - 1, right[::-1, 0] ** 2).astype(np.float64)
    return _Rule(nodes[first], weights, np.abs(beta[n - 1] * left[-1, ::-1])[first], resolution)


def _cdf(rules: Sequence[_Rule], at: Array) -> tuple[Array, Array]:
    """Return the cdf of ln s by the first rule (coarser ones follow) and an error bar for all under its lowest node.

    A Ritz value far closer to a singular value than to its neighbours is a step. Under the lowest the cdf may be all
    from 0 to its weight (the bar: the root mean square), though but a share (residual / d)^2 is further than d away.
    """
    rule = rules[0]
    s, weights, residuals = (column[rule.nodes > rule.resolution] for column in rule[:3])
    bottom = np.where(at >= _log(rule.resolution), rule.weights[rule.nodes <= rule.resolution].sum(), 0.0)
    if not s.size:
        return bottom, np.zeros_like(at)
    t, up_to = np.log(s), np.cumsum(weights)
    middle = up_to - weights / 2
    step = residuals < _ISOLATED * np.minimum(np.diff(s, prepend=-np.inf), np.diff(s, append=np.inf))
    y = np.stack([np.where(step, up_to - weights, middle), np.where(step, up_to, middle)], axis=1)
    reach = t[-1] + (t[-1] - t[-2]) / 2 if len(t) > 1 else t[-1]  # half a spacing above the highest node
    found = np.exp(np.interp(at, [*np.repeat(t, 2), reach], np.log(np.maximum([*y.ravel(), up_to[-1]], _TINY))))
    d = np.minimum(at - t[0], 0)
    spacing, rise = np.maximum(np.diff(np.transpose([_foot(coarse) for coarse in rules])), _TINY)
    slope = rise / np.maximum(spacing, 1e-6)
    bend = min(0.0, slope[1] - slope[0]) / max(spacing.sum(), 1e-6)
    tail = 0 if step[0] else middle[0] * np.exp(d * (slope[0] + bend * (d - spacing[0])))
    found = np.where(at < _log(rule.resolution), 0, np.where(d < 0, tail, found))
    near = np.where(d < 0, residuals[0] / np.maximum(s[0] * -np.expm1(d), residuals[0] + _TINY), 0)
    if len(t) > 1 and not step[0]:  # up to the next node the bar fades
        near = np.where(d < 0, near, np.sqrt(np.clip((t[1] - at) / (t[1] - t[0]), 0, 1)))
    return bottom + found, near**2 * np.hypot(weights[0] / 12**0.5, weights[0] / 2 - np.where(d < 0, found, middle[0]))


def _foot(rule: _Rule) -> tuple[float, float]:
    """Return ln s of the lowest node that is not zero, and ln of the cdf there less the mass at zero."""
    i = np.searchsorted(rule.nodes, rule.resolution, side="right")
    return (math.log(rule.nodes[i]), math.log(max(rule.weights[i] / 2, _TINY))) if i < len(rule.nodes) else (0.0, 0.0)


def _result(rules: list[tuple[_Rule, ...]], networks: int, points: Array | None, n_inputs: int, small: int,
            probes: int, steps: int, seed: int) -> SpectralDensity:
    full = [ladder[0] for ladder in rules]
    even, smoothing = _grid(full)
    grid = even if points is None else points
    at = grid + smoothing / 2 * np.array([[0], [1], [-1]])
    cdf, bars = np.array([_cdf(ladder[:3], at) for ladder in rules]).swapaxes(0, 1)
    # the middle's error falls as steps^-2: three times what is left has changed since half the steps
    left = np.abs(cdf.mean(0) - np.mean([_cdf(ladder[2:], at)[0] for ladder in rules], axis=0)) / 2
    cdf, bars = cdf.reshape(networks, -1, *at.shape).mean(1), bars.mean(0)
    share = small / n_inputs  # the other singular values are zero
    # of a random subspace: Var tr(Q S) / probes^2, S a projection of rank mean * small
    noise = 2 * (small - probes) / (len(rules) * max(1, small - 1) * (small + 2))

    def errors(mass: Array, steps_left: Array, bar: Array) -> tuple[Array, Array | None, Array]:
        mean = (small * mass.mean(0) + 1) / (small + 2)  # not 0 or 1 where no value was seen
        probe = share * np.sqrt(noise * mean * (1 - mean))
        between = share**2 * mass.var(0, ddof=1) / networks if networks > 1 else probe**2
        network = np.sqrt(np.maximum(between - probe**2, 0))
        total = np.sqrt(probe**2 + network**2 + share**2 * (steps_left**2 + bar**2))
        return probe, network if networks > 1 else None, total

    probe_se, network_se, cdf_se = errors(cdf[:, 0], left.max(0), bars[0])  # left nearby: rules may cross by chance
    mass = cdf[:, 1] - cdf[:, 2]
    density_se = errors(mass, left[1] + left[2], np.hypot(bars[1], bars[2]))[2] / smoothing
    return SpectralDensity(grid, 1 - share + share * cdf[:, 0].mean(0), cdf_se, probe_se, network_se,
                           share * mass.mean(0) / smoothing, density_se, _extremes(full),
                           share * float(np.mean([rule.weights @ rule.nodes**2 for rule in full])),
                           _log(max(rule.resolution for rule in full)), smoothing, n_inputs, probes, steps, seed)


def _grid(rules: list[_Rule]) -> tuple[Array, float]:
    """Return ln s evenly over the spectrum, and a width, of Silverman's order, in which single nodes do not show."""
    nodes, weights = np.concatenate([np.array(rule[:2])[:, rule.nodes > rule.resolution] for rule in rules], axis=1)
    if not nodes.size:
        return np.linspace(-1, 1, _POINTS), 0.1
    t = np.log(nodes)
    extent = np.ptp(t) if np.ptp(t) > 1e-6 else 1.0
    spread = math.sqrt(np.average((t - np.average(t, weights=weights)) ** 2, weights=weights))
    width = max(spread * max(len(rule.nodes) for rule in rules) ** -0.2, 0.02 * extent)
    return np.linspace(t.min() - extent / 2, t.max() + 0.05 * extent, _POINTS), width


def _extremes(rules: list[_Rule]) -> Extremes:
    top, low = max(rules, key=lambda rule: float(rule.nodes[-1])), min(rules, key=lambda rule: float(rule.nodes[0]))
    known = not top.nodes[-1] or all(rule.nodes[0] > rule.resolution for rule in rules)  # all are zero, or none may be
    largest, smallest = (Extreme(_log(rule.nodes[i]), bool(rule.residuals[i] <= _CONVERGED * rule.nodes[i]))
                         for rule, i in ((top, -1), (low, 0)))
    return Extremes(largest, smallest._replace(converged=smallest.converged and known))


def _log(value: float) -> float:
    return math.log(value) if value else -math.inf
