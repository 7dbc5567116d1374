"""The weights of a module as they are: their size, the named scheme that has it, and whether they still look random."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from empirical.acting import Used, made_by_hooks, stored, used
from empirical.as_found import evaluating
from empirical.calls import Batch
from empirical.checks import check_inputs, check_module
from empirical.unwrapped import opened
from rmt.networks import schemes
from rmt.networks.schemes import Scheme

Array = NDArray[np.float64]

_ROOT_5, _ROOT_2 = math.sqrt(5), math.sqrt(2)
_TOLERANCE = 4.0  # standard errors within which a variance is a scheme's
_FEW = 32  # entries, which may look like anything
_MANY = 1000  # entries: normal ones stay within 2.3 deviations with a probability of 1e-10
_ODD = 8.0  # standard errors beyond which entries do not look drawn
_SPIKE = 1.1  # largest singular value over the edge of the law, beyond its fluctuations
_STEPS = 40  # of the power method, which finds a value that stands out, and never too large a one
_ORTHOGONAL = 1e-4  # what W W^T may differ from a multiple of 1, in single precision

# What people call, by the kind of entries; of two with one variance the first, unless more layers have the other.
_KNOWN: dict[str, tuple[Scheme, ...]] = {
    "normal": (schemes.kaiming_normal(), schemes.xavier_normal(), schemes.lecun_normal(),
               schemes.kaiming_normal(mode="fan_out"), schemes.normal(0.02), schemes.normal(0.01),
               schemes.kaiming_normal(nonlinearity="tanh"), schemes.xavier_normal(5 / 3),
               schemes.xavier_normal(_ROOT_2), *(schemes.normal(std) for std in (0.1, 0.05, 0.005, 0.001))),
    "truncated": tuple(schemes.trunc_normal(0, std, -2 * std, 2 * std) for std in (0.02, 0.01, 0.1, 0.05)),
    "uniform": (schemes.kaiming_uniform(_ROOT_5), schemes.xavier_uniform(), schemes.kaiming_uniform(),
                schemes.uniform(), schemes.kaiming_uniform(mode="fan_out"), schemes.xavier_uniform(5 / 3),
                schemes.xavier_uniform(_ROOT_2)),
}
_KURTOSIS = {"normal": 3.0, "uniform": 1.8, "truncated": 2.363}
_CUT = 2.2738  # two over the standard deviation of a normal variable that is cut at two: its largest entry, in its own


@dataclass(frozen=True)
class Weights:
    """The weights of one layer.

    Attributes
    ----------
    name, kind : str
        Of the layer (or parameter), and its type.
    shape : tuple of int
        As torch stores them.
    fan_in : int
        Inputs of one output: what sigma_w^2 is the variance times. Torch's own count differs for transposed
        convolutions, and its fan_out for groups and for packed projections.
    torch_fans : (int, int)
        fan_in and fan_out as torch.nn.init counts them, which a scheme's variance is of.
    mean, mean_error, std, std_error : float
        Of an entry, and their standard errors if entries are independent.
    entries : str
        "normal", "truncated" (normal, cut at two standard deviations), "uniform", "orthogonal",
        "delta" (orthogonal at the centre of a kernel), "sparse" or "zero".
    scheme : Scheme or None
        The named scheme of this variance.
    bias_std : float
        Root mean square of a bias; 0 without.
    odd : str
        Why the weights do not look drawn at random; empty if they do.
    """

    name: str
    kind: str
    shape: tuple[int, ...]
    fan_in: int
    torch_fans: tuple[int, int]
    mean: float
    mean_error: float
    std: float
    std_error: float
    entries: str
    scheme: Scheme | None
    bias_std: float
    odd: str

    @property
    def sigma_w(self) -> float:
        """Root of the mean square of a weight times fan_in."""
        return math.hypot(self.std, self.mean) * math.sqrt(self.fan_in)

    @property
    def deviation(self) -> float:
        """The variance over that of the scheme, less 1; NaN without a scheme."""
        return math.nan if self.scheme is None else self.std**2 / float(self.scheme.variance(*self.torch_fans)) - 1

    @property
    def text(self) -> str:
        """The scheme, its variance, and how close the measured one is; sigma_w where no scheme has it."""
        if self.entries == "zero":
            return "all zero"
        if self.scheme is None:
            return f"{self.entries} of sigma_w = {self.sigma_w:.4g}"
        name = str(self.scheme).replace(str(_ROOT_5), "sqrt 5").replace(str(_ROOT_2), "sqrt 2").replace(
            str(5 / 3), "5/3").replace("mean=0, ", "").replace(", a=-2, b=2", "")
        if self.scheme.bias_gain_squared:
            name = "torch_default, kaiming_uniform(a=sqrt 5)"
        elif name == "kaiming_uniform(a=sqrt 5)":
            name += ", torch's default"
        if self.entries in ("orthogonal", "delta"):
            return name
        return f"{name}: variance {_formula(self.scheme)}, within {100 * abs(self.deviation):.2g} %"


def _formula(scheme: Scheme) -> str:
    gain = scheme.gain_squared.limit_denominator(10_000)
    number, below = (gain.numerator, gain.denominator) if scheme.fan != "average" else (
        2 * gain.numerator, gain.denominator)
    if scheme.fan == "none":
        return f"{float(scheme.gain_squared):.4g}"
    fan = "(fan_in + fan_out)" if scheme.fan == "average" else scheme.fan
    return f"{number}/{fan}" if below == 1 else f"{number}/({below} {fan})"


def weights(module: nn.Module, x: Batch | None = None) -> tuple[Weights, ...]:
    """Return what is known of the weights of a module as they act, a row per layer; of shared weights the first alone.

    Linear layers, convolutions, attention's packed projections, and every other parameter of two axes. What hooks,
    parametrizations and pruning of torch make of parameters is read as a forward would have it.

    Parameters
    ----------
    module : torch.nn.Module
        Left as it is; read in evaluation mode.
    x : tensor (batch, *input_shape), or mapping of names to such, optional
        With inputs, what one forward really used is read: weights that it computes from parameters (an equalised
        learning rate's `F.linear(x, w * n**-0.5)`, say) as they act in linear layers, convolutions and matrix
        products, parameters of more axes there, too; nothing of what did not run, or was computed for other functions.

    Returns
    -------
    tuple of Weights
        In the order of the module's layers.

    Raises
    ------
    ValueError
        Without inputs, of layers whose weights a hook of one's own makes at every forward.
    """
    return read(module, x)[1]


def read(module: nn.Module, x: Batch | None = None) -> tuple[tuple[Used, ...], tuple[Weights, ...]]:
    """Return the weights of a module as they act, and what is known of each."""
    check_module(module)
    module, _ = opened(module)
    if x is not None:
        check_inputs(x)
    with evaluating(module), torch.no_grad():
        if x is None and (layers := [*made_by_hooks(module)]):
            raise ValueError(f"{', '.join(name or 'the module' for name in layers)}: the weight is made by a hook at "
                             "every forward: with inputs, weights(module, x=...), it is read there")
        acting = tuple(stored(module)) if x is None else used(module, x)
    return acting, _named([_row(one) for one in acting])


def _named(found: list[Weights]) -> tuple[Weights, ...]:
    """Give the rows their schemes."""
    left = {i for i, row in enumerate(found) if row.entries in _KNOWN and not row.odd and not _too_few(row)}
    while left:  # the scheme that most layers have names them: a single one may be of many schemes' variance
        having = [(scheme, _of(scheme, found, left)) for schemes in _KNOWN.values() for scheme in schemes]
        scheme, them = max(having, key=lambda pair: len(pair[1]))
        for i in them:
            found[i] = replace(found[i], scheme=_with_bias(found[i], scheme))
        left = left - them if them else set()
    return tuple(found)


def _row(one: Used) -> Weights:
    w, bias = one.weight.detach().to("cpu", torch.float64).numpy(), one.bias
    if not np.all(np.isfinite(w)):
        raise ValueError(f"{one.name} has NaN or inf")
    taps, fan_in = math.prod(w.shape[2:]), math.prod(w.shape[1:])
    torch_fans = fan_in, w.shape[0] * taps
    if one.transposed is not None:
        groups, steps = one.transposed
        fan_in = round(w.shape[0] // groups * taps / steps) or 1
    square = float(np.mean(w**2))
    mean = float(np.mean(w))
    if one.kind == "Embedding":
        fan_in = 1  # a row is looked up
    entries, scheme = _entries(w, one.transposed is not None)
    rows = w.reshape(w.shape[0], -1)
    permuted = entries in ("orthogonal", "delta") and np.count_nonzero(w) == min(w.shape[:2])
    kurtosis = float(np.mean((w - mean) ** 4) / np.var(w) ** 2) if np.var(w) > 1e-30 * square else 1.0
    std = math.sqrt(max(square - mean**2, 0.0))
    size = 0.0 if bias is None else float(bias.detach().to("cpu", torch.float64).square().mean().sqrt())
    odd = _odd(rows, mean, std, kurtosis) if entries in _KNOWN else "a permutation" if permuted else ""
    return Weights(one.name, one.kind, w.shape, fan_in, torch_fans, mean, std / math.sqrt(w.size), std,
                   std / 2 * math.sqrt(max(kurtosis - 1, 0.0) / w.size), entries, scheme, size, odd)


def _entries(w: Array, transposed: bool) -> tuple[str, Scheme | None]:
    """Return the kind of entries, and the scheme where the kind decides it."""
    if not w.any():
        return "zero", None
    if w.ndim == 4 and not transposed:
        centre = w[:, :, (w.shape[2] - 1) // 2, (w.shape[3] - 1) // 2]
        if math.prod(w.shape[2:]) > 1 and np.count_nonzero(w) == np.count_nonzero(centre):
            gain = _gain(centre)
            return ("delta", schemes.delta_orthogonal(gain)) if gain else ("sparse", None)
    gain = _gain(w.reshape(w.shape[0], -1))
    if gain and min(w.shape[0], w.size // w.shape[0]) > 1:
        return "orthogonal", schemes.orthogonal(gain)
    zeros = np.sum(w == 0, axis=0)
    padding = np.sum(~w.reshape(len(w), -1).any(axis=1))  # rows of an embedding
    if w.ndim == 2 and zeros[0] > padding and np.all(zeros == zeros[0]):
        std = float(f"{np.std(w[w != 0]):.4g}")
        return "sparse", schemes.sparse(float(zeros[0]) / len(w), std) if zeros[0] < len(w) else None
    largest, deviation = float(np.abs(w).max()), math.sqrt(float(np.mean(w**2)))
    uniform, normal = math.log(2 * largest), math.log(2 * math.pi * math.e) / 2 + math.log(deviation)
    cut = w.size >= _MANY and abs(largest / deviation / _CUT - 1) < 3 / math.sqrt(w.size)
    return ("uniform" if uniform < normal else "truncated" if cut else "normal"), None


def _gain(w: Array) -> float:
    """Return g where w is g times a semi-orthogonal matrix, else 0."""
    small = w if w.shape[0] <= w.shape[1] else w.T
    norms = np.einsum("ij,ij->i", small, small)
    gain = float(np.mean(norms))
    if gain == 0 or np.max(np.abs(norms / gain - 1)) > _ORTHOGONAL:
        return 0.0  # rows of different length: not worth the product
    off = small @ small.T / gain - np.eye(len(small))
    return float(f"{math.sqrt(gain):.6g}") if np.max(np.abs(off)) < _ORTHOGONAL else 0.0


def _odd(w: Array, mean: float, std: float, kurtosis: float) -> str:
    """Return why a matrix is not one of independent entries, "" if it may be."""
    rows, columns = w.shape
    if w.size < _FEW:
        return ""
    if abs(mean) > _ODD * std / math.sqrt(w.size):
        return f"a mean of {mean:.2g} at a standard deviation of {std:.2g}"
    if kurtosis - 3 > _ODD * math.sqrt(24 / w.size):
        return f"heavy tails, a kurtosis of {kurtosis:.3g}"
    edge = std * (math.sqrt(rows) + math.sqrt(columns))
    largest = _largest(w)
    if largest > edge * (_SPIKE + 2 * min(rows, columns) ** (-2 / 3)):
        return f"a largest singular value {largest / edge:.3g} times the law's edge"
    for which, norms, other in (("rows", np.sum(w**2, 1), columns), ("columns", np.sum(w**2, 0), rows)):
        if len(norms) > 1:
            expected = (kurtosis - 1) / other
            spread = float(np.var(norms / np.mean(norms)))
            if spread > expected * (1 + _ODD * math.sqrt(2 / len(norms))) + 1e-12:
                return f"{which} of unequal length, by {math.sqrt(spread):.2g} where {math.sqrt(expected):.2g} is drawn"
    return ""


def _largest(w: Array) -> float:
    """Return nearly the largest singular value."""
    v = np.asarray(np.random.default_rng(0).standard_normal(w.shape[1]))
    for _ in range(_STEPS):
        turned = w.T @ (w @ v)
        v = np.asarray(turned / np.linalg.norm(turned))
    return float(np.linalg.norm(w @ v))


def _too_few(row: Weights) -> bool:
    """Whether a variance within its error is that of schemes that differ by a factor of two."""
    return _TOLERANCE * math.sqrt((_KURTOSIS[row.entries] - 1) / math.prod(row.shape)) > math.log(2)


def _of(scheme: Scheme, rows: Sequence[Weights], among: set[int]) -> set[int]:
    """Return which layers have the scheme's variance, within its error; none if together they are beside it."""
    kinds = {scheme.entries, "truncated"} if scheme.entries == "normal" else {scheme.entries}
    off = {i: (rows[i].std**2 / float(scheme.variance(*rows[i].torch_fans)) - 1)
           / math.sqrt((_KURTOSIS[rows[i].entries] - 1) / math.prod(rows[i].shape))
           for i in among if rows[i].entries in kinds}
    close = {i: z for i, z in off.items() if abs(z) < _TOLERANCE}
    return set(close) if abs(sum(close.values())) <= _TOLERANCE * math.sqrt(len(close)) else set()


def _with_bias(row: Weights, scheme: Scheme) -> Scheme:
    """Return torch's default where the bias has its size, too."""
    default = schemes.torch_default()
    outputs = row.shape[0]
    expected = math.sqrt(float(default.bias_gain_squared) / row.torch_fans[0])
    same = abs((row.bias_std / expected) ** 2 - 1) < _TOLERANCE * math.sqrt(0.8 / outputs)
    return default if scheme is _KNOWN["uniform"][0] and row.bias_std and same else scheme


def table(rows: Sequence[Weights]) -> str:
    """Return the rows as text."""
    size = max([len(row.name) for row in rows] + [5])
    lines = [f"{'layer':{size}}  {'kind':15} {'shape':>14} {'fan_in':>6} {'sigma_w':>8}  weights"]
    for row in rows:
        shape = "x".join(map(str, row.shape))
        lines.append(f"{row.name:{size}}  {row.kind:15} {shape:>14} {row.fan_in:6d} {row.sigma_w:8.4f}  {row.text}"
                     + (f" (not random: {row.odd})" if row.odd else ""))
    return "\n".join(lines)
