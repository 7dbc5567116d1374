"""What is true of an expression by rules of its own: mean, variance, atoms, the hull of the support.

Free cumulants add over `+`; relative variances add over `*` and are multiplied by a power; a corner of relative size t
has the cumulants t^(n-1) kappa_n. Atoms: Bercovici and Voiculescu 1998 (sums, products), Belinschi and Bercovici 2005
(powers). Nothing of `rmt` is used.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from scipy import special

from benchmarks.expressions import Node

Atoms = dict[float, Fraction]

REACH = 9.0  # standard deviations of a preactivation: beyond them there is 2e-19


@dataclass(frozen=True)
class Facts:
    """Mean, variance, atoms {place: mass}, and bounds of the support."""

    mean: float
    var: float
    atoms: Atoms
    low: float
    high: float

    @property
    def second(self) -> float:
        """E X^2."""
        return self.var + self.mean**2


# ---- leaves --------------------------------------------------------------------------------------------------


def _logistic(u: np.ndarray) -> np.ndarray:
    return special.expit(u)


SLOPES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "linear": np.ones_like,
    "relu": lambda u: np.where(u > 0, 1.0, 0.0),
    "leaky_relu(0.01)": lambda u: np.where(u > 0, 1.0, 0.01),
    "leaky_relu(0.3)": lambda u: np.where(u > 0, 1.0, 0.3),
    "elu": lambda u: np.where(u > 0, 1.0, np.exp(np.minimum(u, 0))),
    "selu": lambda u: 1.0507009873554804934 * np.where(u > 0, 1.0, 1.6732632423543772848 * np.exp(np.minimum(u, 0))),
    "gelu": lambda u: special.ndtr(u) + u * np.exp(-(u**2) / 2) / math.sqrt(2 * math.pi),
    "silu": lambda u: _logistic(u) * (1 + u * _logistic(-u)),
    "tanh": lambda u: 4 * _logistic(2 * u) * _logistic(-2 * u),
    "erf": lambda u: 2 / math.sqrt(math.pi) * np.exp(-(u**2)),
    "hardtanh": lambda u: np.where(np.abs(u) < 1, 1.0, 0.0),
    "sigmoid": lambda u: _logistic(u) * _logistic(-u),
    "softplus": _logistic,
}
ONE_VALUE = 1e-7  # squared slopes that lie nearer to each other than that, relatively, are one
_ZERO = 1e-290, 1e-305  # slopes that may be, and that are, zero in a float
_KINKS = {"hardtanh": (-1.0, 0.0, 1.0)}


@functools.lru_cache(maxsize=256)
def slope_rule(name: str, variance: float, nodes: int = 24) -> tuple[np.ndarray, np.ndarray]:
    """Return values of the squared slope and their weights."""
    u, weights = _normal_rule(variance, nodes)
    return SLOPES[name](u) ** 2, weights


def _normal_rule(variance: float, nodes: int = 24) -> tuple[np.ndarray, np.ndarray]:
    """Return places and weights of a normal variable: Gauss's rule between cuts at every scale of u."""
    scale = math.sqrt(variance)
    places = np.r_[0.0, 2.0 ** np.arange(-3, 8), 1.5 * 2.0 ** np.arange(-3, 8)] / scale
    cuts = np.unique(np.r_[-places, places, np.arange(-REACH, REACH + 1)])
    cuts = cuts[np.abs(cuts) <= REACH]
    node, weight = np.polynomial.legendre.leggauss(nodes)
    half, middle = np.diff(cuts) / 2, (cuts[1:] + cuts[:-1]) / 2
    z = (middle[:, None] + half[:, None] * node).ravel()
    weights = (half[:, None] * weight).ravel() * np.exp(-(z**2) / 2) / math.sqrt(2 * math.pi)
    return scale * z, weights / weights.sum()


def _slope(name: str, variance: float, flat: float) -> Facts:
    x, weights = slope_rule(name, variance)
    half = Fraction(1, 2)
    inside = Fraction(math.erf(1 / math.sqrt(2 * variance)))
    atoms: Atoms = {
        "linear": {1.0: Fraction(1)},
        "relu": {0.0: half, 1.0: half},
        "leaky_relu(0.01)": {0.01**2: half, 1.0: half},
        "leaky_relu(0.3)": {0.3**2: half, 1.0: half},
        "elu": {1.0: half},
        "selu": {1.0507009873554804934**2: half},
        "hardtanh": {0.0: 1 - inside, 1.0: inside},
    }.get(name, {})
    mean = float(x @ weights)
    if not atoms and np.ptp(x) <= ONE_VALUE * x.max():  # as the package has it, and says
        atoms = {mean: Fraction(1)}
    elif not atoms and flat:
        atoms = _flat(name, variance, flat)
    ends = REACH * math.sqrt(variance)
    top = max(x.max(), *SLOPES[name](np.array([-ends, -1e-300, 1e-300, ends])) ** 2)
    return Facts(mean, float((x - mean) ** 2 @ weights), {u: m for u, m in atoms.items() if m}, 0.0,
                 float(top) * (1 + 1e-4) + 0.2 * (name in ("gelu", "silu")))


def _flat(name: str, variance: float, flat: float) -> Atoms:
    """Return what counts as atoms far out: values that differ by so many `ONE_VALUE`, or slopes under any float."""
    (u, weights), atoms = _normal_rule(variance, 200), Counter[float]()
    for step in (1, -1):
        slopes, masses = SLOPES[name](u)[::step], weights[::step]
        zero = np.abs(slopes) < (_ZERO[0] if flat > 1 else _ZERO[1])
        with np.errstate(divide="ignore", invalid="ignore"):
            same = zero if zero[0] else np.abs(2 * np.log(np.abs(slopes / slopes[0]))) < flat * ONE_VALUE
        count = int(np.argmin(same))
        if count:
            atoms[0.0 if zero[0] else float(slopes[0] ** 2)] += Fraction(float(masses[:count].sum()))
    return dict(atoms)


def _finite(values: np.ndarray, masses: list[Fraction]) -> Facts:
    weights = np.array([float(mass) for mass in masses])
    mean = math.fsum(weights * values)
    atoms = Counter[float]()
    for value, mass in zip(values.tolist(), masses, strict=True):
        atoms[value] += mass
    return Facts(mean, math.fsum(weights * (values - mean) ** 2), dict(atoms), float(values.min()), float(values.max()))


def _leaf(name: str, numbers: tuple, flat: float) -> Facts:
    one = Fraction(1)
    match name:
        case "MarchenkoPastur":
            c = numbers[0]
            zero = {0.0: 1 - 1 / Fraction(c)} if c > 1 else {}
            return Facts(1.0, c, zero, 0.0 if c >= 1 else (1 - math.sqrt(c)) ** 2, (1 + math.sqrt(c)) ** 2)
        case "FussCatalan":
            k = numbers[0]
            return Facts(1.0, float(k), {}, 0.0, (k + 1) ** (k + 1) / k**k)
        case "Bernoulli":
            p = Fraction(numbers[0])
            return Facts(float(p), float(p * (1 - p)), {x: m for x, m in ((0.0, 1 - p), (1.0, p)) if m}, 0.0, 1.0)
        case "PointMass":
            return Facts(numbers[0], 0.0, {float(numbers[0]): one}, numbers[0], numbers[0])
        case "Discrete":
            total = sum(map(Fraction, numbers[1]))
            return _finite(np.array(numbers[0]), [Fraction(p) / total for p in numbers[1]])
        case "Empirical":
            values = numbers[0].values
            return _finite(values, [Fraction(1, values.size)] * values.size)
        case "Semicircle":
            return Facts(0.0, numbers[0] ** 2, {}, -2 * numbers[0], 2 * numbers[0])
        case "MultiplicativeBrownian":
            c = numbers[0]
            s = math.sqrt(1 + 2 / c)
            top = math.exp(c * s) * (s + 1) / (s - 1)
            return Facts(math.exp(c), 2 * c * math.exp(2 * c), {}, 1 / top, top)
    return _slope(*numbers, flat)


# ---- operations ----------------------------------------------------------------------------------------------


def _sum(a: Facts, b: Facts) -> Facts:
    atoms = Counter[float]()
    for (u, p), (v, q) in itertools.product(a.atoms.items(), b.atoms.items()):
        if p + q > 1:
            atoms[u + v] += p + q - 1
    return Facts(a.mean + b.mean, a.var + b.var, dict(atoms), a.low + b.low, a.high + b.high)


def _product(a: Facts, b: Facts) -> Facts:
    atoms = {u * v: p + q - 1 for (u, p), (v, q) in itertools.product(a.atoms.items(), b.atoms.items())
             if p + q > 1 and u and v}
    zero = max(a.atoms.get(0.0, Fraction(0)), b.atoms.get(0.0, Fraction(0)))
    if zero:
        atoms[0.0] = zero
    return Facts(a.mean * b.mean, a.var * b.mean**2 + b.var * a.mean**2, atoms, a.low * b.low, a.high * b.high)


def _power(a: Facts, k: float) -> Facts:
    atoms = {u**k if u else 0.0: mass for u, p in a.atoms.items()
             if (mass := p if u == 0 else 1 - Fraction(k) * (1 - p)) > 0}
    return Facts(a.mean**k, k * a.var * a.mean ** (2 * k - 2), atoms, a.low**k, a.high**k)


def _corner(a: Facts, t: float) -> Facts:
    size = Fraction(t)
    atoms = {u: (p - (1 - size)) / size for u, p in a.atoms.items() if p > 1 - size}
    return Facts(a.mean, a.var * t, atoms, a.low, a.high)


def _moved(a: Facts, factor: float, shift: float) -> Facts:
    atoms = {factor * u + shift: p for u, p in a.atoms.items()}
    return Facts(factor * a.mean + shift, factor**2 * a.var, atoms, factor * a.low + shift, factor * a.high + shift)


def blur(node: Node, x: np.ndarray) -> np.ndarray:
    """Return by how much rounding may move a place x: that of ln x, in a sum that of its largest terms."""
    same = ONE_VALUE if any(map(_as_one, node.leaves)) else 0.0
    if _has_sum(node):
        return np.full(np.shape(x), _rounded(node) + same * _size(node))
    with np.errstate(divide="ignore"):
        return same * np.abs(x) + _of_a_logarithm(np.abs(x))


def _as_one(leaf: Node) -> bool:
    """Return whether a leaf is a slope that counts as one value."""
    return leaf.name == "SquaredSlope" and len(facts(leaf).atoms) == 1 and 0 < facts(leaf).var


def _size(node: Node) -> float:
    known = facts(node)
    return max(abs(known.low), abs(known.high), abs(known.mean))


def _of_a_logarithm(size: np.ndarray) -> np.ndarray:
    return 3e-15 * size * (1 + np.abs(np.log(np.where(size == 0, 1.0, size))))


@functools.cache
def _rounded(node: Node) -> float:
    """Return by how much rounding may move places of what has a sum or a shift: a product in it is known by ln x."""
    size = _size(node)
    match node.name:
        case "+" | "shift":
            return max(1e-15 * size, *map(_rounded, node.parts))
        case "*" | "**":
            return float(_of_a_logarithm(np.array(size)))
        case "dilate":
            return max(1e-15 * size, node.numbers[0] * _rounded(node.parts[0]))
        case "compress":  # t times 1/t copies, each of which is known at z/t
            return max(1e-15 * size / node.numbers[0], _rounded(node.parts[0]))
    return 1e-15 * size


def _has_sum(node: Node) -> bool:
    return node.name in ("+", "shift", "compress") or any(map(_has_sum, node.parts))


@functools.cache
def facts(node: Node, flat: float = 0.0) -> Facts:
    """Return what is known of an expression; slopes that are flat far out have atoms there with `flat`, see `_flat`."""
    parts = [facts(part, flat) for part in node.parts]
    match node.name:
        case "+":
            return functools.reduce(_sum, parts)
        case "*":
            return functools.reduce(_product, parts)
        case "**":
            return _power(parts[0], node.numbers[0])
        case "compress":
            return _corner(parts[0], node.numbers[0])
        case "shift":
            return _moved(parts[0], 1.0, node.numbers[0])
        case "dilate":
            return _moved(parts[0], node.numbers[0], 0.0)
    return _leaf(node.name, node.numbers, flat)
