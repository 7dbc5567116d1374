"""Free convolutions by iteration: the transform of an expression at points of the upper half plane, without `rmt`.

K(z) = z - 1/G(z) of every law, which is the mean far away. For free X and Y, with K of each:
    X + Y            K(z) = K1(u) + K2(v),  u = z - K2(v), v = z - K1(u)
    X^.5 Y X^.5      K(z) = K1(u) K2(v),    u = z / K2(v), v = z / K1(u)
    X ** k           K(z) = K(u)^k,         u = z / K(u)^(k-1)
    X.compress(t)    K(z) = K(u),           u = z/t - (1/t - 1) K(u)
Each of these u is the only fixed point of a map of the half plane into itself, and iterating it converges from anywhere
(Belinschi and Bercovici 2007). Steps of Aitken's are taken where they lead nearer. A power needs z < 0.
"""

from __future__ import annotations

import functools
import math
import time
from collections.abc import Callable

import numpy as np

from benchmarks.expressions import Node
from benchmarks.known import slope_rule
from benchmarks.quadrature import Unsettled

Array = np.ndarray

_ROUNDS = 3000
_NEAR = 1e-9  # of the distance to the axis: how still a fixed point must stand


def has_power(node: Node) -> bool:
    """Whether K is known on the negative axis only."""
    return node.name == "**" or any(map(has_power, node.parts))


class Transform:
    """K of an expression; it remembers the last fixed points, from which the next are near."""

    def __init__(self, node: Node, seconds: float, nodes: int = 24) -> None:
        self.node = node
        self.nodes = nodes  # in a panel of the rule of a leaf
        self.end = time.process_time() + seconds
        self.last: dict[tuple[int, ...], Array] = {}

    def __call__(self, z: Array) -> Array:
        """Return K at z: Im z > 0, or z < 0 for a law on x >= 0."""
        return self._at(self.node, z, ())

    def _at(self, node: Node, z: Array, path: tuple[int, ...]) -> Array:
        if time.process_time() > self.end:
            raise Unsettled("convolution by iteration: out of time")
        parts = [functools.partial(self._at, part, path=(*path, i)) for i, part in enumerate(node.parts)]
        match node.name:
            case "+" | "*":
                step = np.subtract if node.name == "+" else np.divide
                join = np.add if node.name == "+" else np.multiply
                return self._pairs(parts, step, join, z, path)
            case "**":
                return self._power(parts[0], float(node.numbers[0]), z, path)
            case "compress":
                t = float(node.numbers[0])
                return parts[0](self._fixed(lambda u: z / t - (1 / t - 1) * parts[0](u), z, path))
            case "shift":
                return parts[0](z - node.numbers[0]) + node.numbers[0]
            case "dilate":
                return node.numbers[0] * parts[0](z / node.numbers[0])
        return _leaf(node, self.nodes)(z)

    def _pairs(self, parts: list[Callable[[Array], Array]], step: Callable[[Array, Array], Array],
               join: Callable[[Array, Array], Array], z: Array, path: tuple[int, ...]) -> Array:
        """Return K of two parts; of more, of the first and of all the others."""
        first = parts[0]
        if len(parts) == 1:
            return first(z)

        def others(v: Array) -> Array:
            return self._pairs(parts[1:], step, join, v, (*path, -len(parts)))

        u = self._fixed(lambda u: step(z, others(step(z, first(u)))), z, path)
        at_first = first(u)
        return join(at_first, others(step(z, at_first)))

    def _fixed(self, f: Callable[[Array], Array], z: Array, path: tuple[int, ...]) -> Array:
        """Return the fixed point of f."""
        upper = z.imag > 0
        u = self.last.get(path, z)
        u = np.where(upper & (u.imag <= 0), z, u) if u.shape == z.shape else z
        u = f(u)
        for _ in range(_ROUNDS):
            second = f(u)
            if np.all(np.abs(second - u) <= _NEAR * np.where(upper, second.imag, 1e-2 * np.abs(second))):
                self.last[path] = second
                return second
            third = f(second)
            bend = (third - second) - (second - u)
            with np.errstate(all="ignore"):
                ahead = third - (third - second) ** 2 / bend
            inside = np.isfinite(ahead) & np.where(upper, ahead.imag > 0, (ahead.imag == 0) & (ahead.real < 0))
            ahead = np.where(inside, ahead, third)
            after = f(ahead)
            with np.errstate(all="ignore"):
                u = np.where(np.abs(after - ahead) < np.abs(third - second), after, third)
        raise Unsettled("convolution by iteration: no fixed point")

    def _power(self, k_of: Callable[[Array], Array], exponent: float, z: Array, path: tuple[int, ...]) -> Array:
        """Return K of a power at z < 0, by bisection in ln(-u), in which ln(-u) + (k - 1) ln K(u) increases."""
        if np.any(z.imag) or np.any(z.real >= 0):
            raise Unsettled("convolution by iteration: a power away from the negative axis")
        goal = np.log(-z.real)

        def log_k(log_u: Array) -> Array:
            return np.log(k_of(-np.exp(log_u) + 0j).real)

        low = high = goal
        step = 1.0
        for _ in range(12):
            low = np.where(low + (exponent - 1) * log_k(low) > goal, low - step, low)
            high = np.where(high + (exponent - 1) * log_k(high) < goal, high + step, high)
            step *= 2
        for _ in range(60):
            middle = (low + high) / 2
            above = middle + (exponent - 1) * log_k(middle) > goal
            low, high = np.where(above, low, middle), np.where(above, middle, high)
        return np.exp(exponent * log_k((low + high) / 2)) + 0j


# ---- leaves --------------------------------------------------------------------------------------------------


@functools.lru_cache(maxsize=64)
def _leaf(node: Node, nodes: int) -> Callable[[Array], Array]:
    """Return K of a leaf: closed for the two with a simple R-transform, else from nodes and weights."""
    if node.name == "Semicircle":
        return functools.partial(_semicircle, float(node.numbers[0]))
    if node.name == "MarchenkoPastur":
        return functools.partial(_marchenko_pastur, float(node.numbers[0]))
    x, p = rule(node, nodes)

    def k_of(z: Array) -> Array:
        inverse = 1 / (z[:, None] - x)
        return (inverse @ (p * x)) / (inverse @ p)

    return k_of


def rule(node: Node, nodes: int = 24) -> tuple[Array, Array]:
    """Return nodes and weights of a leaf; so many a panel, where it has a density."""
    match node.name:
        case "Discrete":
            return np.array(node.numbers[0], dtype=float), np.array(node.numbers[1]) / math.fsum(node.numbers[1])
        case "Bernoulli":
            p = node.numbers[0]
            return np.array([0.0, 1.0]), np.array([1 - p, p])
        case "PointMass":
            return np.array([float(node.numbers[0])]), np.ones(1)
        case "Empirical":
            values = node.numbers[0].values
            return values, np.full(values.size, 1 / values.size)
        case "FussCatalan":
            return _fuss_catalan(node.numbers[0], nodes)
        case "MultiplicativeBrownian":
            return _brownian(node.numbers[0], nodes)
        case "SquaredSlope":
            return slope_rule(*node.numbers, nodes)
    raise Unsettled(f"no rule for {node.name}")


def _semicircle(std: float, z: Array) -> Array:
    return 2 * std**2 / (z + np.sqrt(z - 2 * std) * np.sqrt(z + 2 * std))


def _marchenko_pastur(ratio: float, z: Array) -> Array:
    low, high = (1 - math.sqrt(ratio)) ** 2, (1 + math.sqrt(ratio)) ** 2
    root = np.sqrt(z - low) * np.sqrt(z - high)
    return (z - 1 + ratio + root) / (z - 1 - ratio + root)


def panels(ends: Array, nodes: int = 24) -> tuple[Array, Array]:
    """Return Gauss's nodes and weights on each of the intervals between the ends."""
    node, weight = np.polynomial.legendre.leggauss(nodes)
    half, middle = np.diff(ends) / 2, (ends[1:] + ends[:-1]) / 2
    return (middle[:, None] + half[:, None] * node).ravel(), (half[:, None] * weight).ravel()


def _graded(n: int) -> Array:
    """Return cuts of (0, 1), finer toward both ends."""
    inner = np.linspace(0, 1, n + 1)
    return np.unique(np.r_[inner, inner[1] * 2.0 ** -np.arange(1, 30), 1 - inner[1] * 2.0 ** -np.arange(1, 30)])


def _fuss_catalan(k: int, nodes: int) -> tuple[Array, Array]:
    """By the angle: x = sin^(k+1)((k+1)a) / (sin a sin^k(k a)), 0 < a < pi/(k+1)."""
    end = math.pi / (k + 1)
    angle, weight = panels(end * _graded(40), nodes)
    top = np.sin((k + 1) * np.where(angle < end / 2, angle, end - angle))
    rest = np.sin(k * angle)
    log_x = (k + 1) * np.log(top) - np.log(np.sin(angle)) - k * np.log(rest)
    log_density = 2 * np.log(np.sin(angle)) + (k - 1) * np.log(rest) - math.log(math.pi) - k * np.log(top)
    slope = (k + 1) ** 2 / np.tan((k + 1) * angle) - 1 / np.tan(angle) - k**2 / np.tan(k * angle)
    p = np.exp(log_density + log_x) * np.abs(slope) * weight
    return np.exp(log_x), p / p.sum()


def _brownian(c: float, nodes: int) -> tuple[Array, Array]:
    """On the curve in w = psi(1/x) where x = (1 + w)/w e^(c (1 + 2w)) is real; the density is -Im w / (pi x)."""
    def square(b: Array) -> Array:  # of the real part of w + 1/2
        return 0.25 - b**2 + b / np.tan(2 * c * b)

    angle, weight = panels(math.pi * _graded(40), nodes)
    top = math.sqrt(0.25 + 0.5 / c)
    a = top * np.cos(angle)
    low, high = np.zeros_like(a), np.full_like(a, math.pi / (2 * c) * (1 - 1e-15))
    for _ in range(60):
        middle = (low + high) / 2
        above = square(middle) > a**2
        low, high = np.where(above, middle, low), np.where(above, high, middle)
    b = np.maximum(low, 1e-12)
    turn = 2 * c * b
    slope = 2 * a / (-2 * b + (np.sin(turn) * np.cos(turn) - turn) / np.sin(turn) ** 2)  # db/da
    w = -0.5 + a - 1j * b
    d_log_x = (1 / (1 + w) - 1 / w + 2 * c) * (1 - 1j * slope) * top * np.sin(angle)
    p = b / math.pi * np.abs(d_log_x) * weight
    return np.exp((np.log((1 + w) / w) + c * (1 + 2 * w)).real), p / p.sum()
