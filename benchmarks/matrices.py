"""An expression as random matrices: free operands are turned against each other by Haar orthogonal matrices."""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np
from scipy import linalg

from benchmarks.expressions import Node
from benchmarks.iterated import panels, rule
from benchmarks.known import blur as rounded
from benchmarks.known import facts
from benchmarks.quadrature import Unsettled

Array = np.ndarray
Rng = np.random.Generator

SIZE = 400
DRAWS = 2
_LARGEST = 1600
APART = 0.03  # of the two cdfs: N = 400 has some .01
COUNTS = 4.0  # eigenvalues by which the count below a gap may differ


def quantiles(node: Node, n: int) -> Array:
    """Return n values of a leaf, increasing: its quantiles at (i + 1/2)/n."""
    match node.name:
        case "Semicircle":
            angle, weight = panels(math.pi * np.linspace(0, 1, 81))
            x, p = -2 * node.numbers[0] * np.cos(angle), 2 / math.pi * np.sin(angle) ** 2 * weight
        case "MarchenkoPastur":
            c = node.numbers[0]
            angle, weight = panels(math.pi * np.linspace(0, 1, 81))
            x = 1 + c - 2 * math.sqrt(c) * np.cos(angle)
            p = 2 / math.pi * np.sin(angle) ** 2 / x * weight
            if c > 1:
                x, p = np.r_[0.0, x], np.r_[1 - 1 / c, p]
        case _:
            x, p = rule(node)
    order = np.argsort(x)
    below = np.cumsum(p[order])
    return x[order][np.minimum(np.searchsorted(below, (np.arange(n) + 0.5) / n * below[-1]), x.size - 1)]


def resolved(node: Node, n: int = SIZE) -> bool:
    """Whether n values have the atoms of every leaf exactly."""
    counts = [float(mass) * n for leaf in node.leaves for mass in facts(leaf).atoms.values()
              if leaf.name != "Empirical"]
    return (all(abs(count - round(count)) < 1e-6 for count in counts)
            and not any(leaf.name == "Empirical" for leaf in node.leaves))


def _haar(n: int, rng: Rng) -> Array:
    q, r = np.linalg.qr(rng.standard_normal((n, n)))
    return q * np.sign(np.diagonal(r))


def eigenvalues(node: Node, n: int, rng: Rng) -> tuple[Array, float]:
    """Return the eigenvalues of a random matrix of the expression, increasing, and what rounding makes of zero."""
    if n > _LARGEST or n < 50:
        raise Unsettled(f"matrices of {n} rows")
    if not node.parts:
        return quantiles(node, n), 0.0
    match node.name:
        case "+":
            return functools.reduce(functools.partial(_sum, rng), (eigenvalues(p, n, rng) for p in node.parts))
        case "*":
            return functools.reduce(functools.partial(_product, rng), (eigenvalues(p, n, rng) for p in node.parts))
        case "**":
            if node.numbers[0] != int(node.numbers[0]):
                raise Unsettled("matrices of a power that is no whole number")
            one = eigenvalues(node.parts[0], n, rng)
            return functools.reduce(functools.partial(_product, rng), [one] * int(node.numbers[0]))
        case "compress":
            whole, blur = eigenvalues(node.parts[0], round(n / node.numbers[0]), rng)
            q = _haar(whole.size, rng)[:n]  # n rows of a turned matrix
            return linalg.eigvalsh((q * whole) @ q.T), blur + 1e-13 * float(np.abs(whole).max())
    values, blur = eigenvalues(node.parts[0], n, rng)
    if node.name == "shift":
        return values + node.numbers[0], blur + 1e-15 * abs(node.numbers[0])
    return values * node.numbers[0], blur * node.numbers[0]


def _sum(rng: Rng, a: tuple[Array, float], b: tuple[Array, float]) -> tuple[Array, float]:
    q = _haar(a[0].size, rng)
    blur = 1e-13 * float(np.abs(a[0]).max() + np.abs(b[0]).max())
    return linalg.eigvalsh(np.diag(a[0]) + (q * b[0]) @ q.T), a[1] + b[1] + blur


def _product(rng: Rng, a: tuple[Array, float], b: tuple[Array, float]) -> tuple[Array, float]:
    """By singular values, so that small ones keep their digits: to 1e-28 of the largest."""
    (x, x_blur), (y, y_blur) = a, b
    root = np.sqrt(np.maximum(x, 0))[:, None] * _haar(x.size, rng) * np.sqrt(np.maximum(y, 0))
    blur = 1e-27 * float(x.max() * y.max()) + x_blur * float(y.max()) + y_blur * float(x.max())
    return np.sort(linalg.svdvals(root) ** 2), blur


def pooled(node: Node, seed: int) -> tuple[Array, float]:
    """Return the eigenvalues of several matrices, increasing, and the blur."""
    draws = [eigenvalues(node, SIZE, np.random.default_rng((seed, draw))) for draw in range(DRAWS)]
    return np.sort(np.concatenate([values for values, _ in draws])), max(blur for _, blur in draws)


def compared(node: Node, law: Any, seed: int) -> list[tuple[str, str]]:
    """Return how the law is not that of the matrices: the cdfs apart, or other counts on either side of a gap."""
    values, blur = pooled(node, seed)
    exact = resolved(node)
    std = math.sqrt(facts(node).var)
    room = 2 * blur + rounded(node, values) + 1e-12 * np.abs(values)
    room += 0.0 if exact else 3 / SIZE * (std + np.abs(values))
    below, upto = np.searchsorted(values, values) / values.size, np.searchsorted(values, values, "right") / values.size
    flat = [u for leaf in node.leaves for u in facts(leaf, 1.0).atoms if u not in facts(leaf).atoms]
    if flat:  # what slopes are far out is one value to the law, and many to the matrices
        beside = np.any([np.abs(values - u) <= 1e-6 * np.abs(u) for u in law.atoms], axis=0)
        room += np.where(beside, 1e-6 * np.abs(values), 0)
    over, under = upto - law.cdf(values + room), law.cdf(np.nextafter(values - room, -np.inf)) - below
    found = []
    worst = int(np.argmax(np.maximum(over, under)))
    if max(over[worst], under[worst]) > APART:
        found.append(("matrices", f"at {values[worst]:.6g} a fraction {upto[worst]:.4f} lies below, the cdf says "
                                  f"{float(law.cdf(values[worst])):.4f}"))
    for (_, low), (high, _) in zip(law.support[:-1], law.support[1:], strict=True) if exact else ():
        middle = (low + high) / 2
        count, mass = np.mean(values <= middle), float(law.cdf(middle))
        near = 0.3 * (high - low) < blur or any(low <= u <= high for u in law.atoms)
        if not near and high - low > 0.02 * std and abs(count - mass) > COUNTS / SIZE:
            found.append(("support", f"below the gap at {middle:.6g} lies {count:.4f} of the eigenvalues, the cdf says "
                                     f"{mass:.4f}"))
    return found
