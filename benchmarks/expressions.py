"""Random expressions of laws, each a function of (seed, index): a tree, and its text with the public names of `rmt`.

No name of `rmt` is used here: what is true of an expression is worked out from the tree alone (`known.py`).
"""

from __future__ import annotations

import ast
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

Rng = np.random.Generator

ACTIVATIONS = ("linear", "relu", "leaky_relu(0.01)", "leaky_relu(0.3)", "elu", "selu", "gelu", "silu", "tanh", "erf",
               "hardtanh", "sigmoid", "softplus")
_LARGEST = 120  # decades that a mean may be from one


@dataclass(frozen=True)
class Node:
    """A leaf, or an operation on `parts`.

    Attributes
    ----------
    name : str
        Of a leaf its class; of an operation "*", "+", "**", "shift", "dilate", "compress".
    parts : tuple of Node
        The operands.
    numbers : tuple
        The parameters.
    """

    name: str
    parts: tuple[Node, ...] = ()
    numbers: tuple = field(default=())

    @property
    def text(self) -> str:
        """Python source of the law."""
        if not self.parts:
            return f"{self.name}({', '.join(_argument(value) for value in self.numbers)})"
        inner = [part.text if not part.parts or part.name == "compress" else f"({part.text})" for part in self.parts]
        match self.name:
            case "*" | "+":
                return f" {self.name} ".join(inner)
            case "**":
                return f"{inner[0]} ** {self.numbers[0]!r}"
            case "shift":
                return f"{inner[0]} + {self.numbers[0]!r}"
            case "dilate":
                return f"{self.numbers[0]!r} * {inner[0]}"
        return f"{inner[0]}.compress({self.numbers[0]!r})"

    @property
    def leaves(self) -> tuple[Node, ...]:
        """The leaves, from left to right."""
        return sum((part.leaves for part in self.parts), ()) if self.parts else (self,)

    @property
    def kind(self) -> str:
        """What the table of results calls it."""
        names = {"*": "product", "+": "sum", "**": "power", "compress": "corner", "shift": "shift",
                 "dilate": "dilation"}
        if not self.parts:
            return "leaf"
        if any(part.parts for part in self.parts):
            return f"nested, a {names[self.name]}"
        return names[self.name]


def _argument(value: object) -> str:
    """Return the source of a parameter; a sample is written as the call that draws it."""
    if isinstance(value, Drawn):
        return value.text
    return repr(value)


@dataclass(frozen=True)
class Drawn:
    """300 values that a seed decides."""

    seed: int
    how: str
    spread: float

    @property
    def text(self) -> str:
        """The call."""
        return f"np.random.default_rng({self.seed}).{self.how}(0, {self.spread!r}, 300)"

    @property
    def values(self) -> np.ndarray:
        """The values."""
        return getattr(np.random.default_rng(self.seed), self.how)(0, self.spread, 300)


def parsed(text: str) -> Node:
    """Return the tree of a text of the kind that `Node.text` writes."""
    return _parsed(ast.parse(text.strip(), mode="eval").body)


def _parsed(tree: ast.expr) -> Node:
    match tree:
        case ast.BinOp(left, ast.Pow(), right):
            return Node("**", (_parsed(left),), (ast.literal_eval(right),))
        case ast.BinOp(left, ast.Add() | ast.Mult() as sign, right):
            name, move = ("+", "shift") if isinstance(sign, ast.Add) else ("*", "dilate")
            scalars = [_scalar(side) for side in (left, right)]
            for scalar, other in zip(scalars, (right, left), strict=True):
                if scalar is not None:
                    return Node(move, (_parsed(other),), (scalar,))
            first = _parsed(left)  # a + b + c is one sum
            bare = isinstance(left, ast.BinOp) and first.name == name
            return Node(name, (*(first.parts if bare else (first,)), _parsed(right)))
        case ast.Call(ast.Attribute(whole, "compress"), [size]):
            return Node("compress", (_parsed(whole),), (ast.literal_eval(size),))
        case ast.Call(ast.Name("Empirical"), [ast.Call(ast.Attribute(ast.Call(_, [seed]), how), [_, spread, _])]):
            return Node("Empirical", (), (Drawn(*map(ast.literal_eval, (seed,)), how, ast.literal_eval(spread)),))
        case ast.Call(ast.Name(name), numbers):
            return Node(name, (), tuple(map(ast.literal_eval, numbers)))
    raise ValueError(f"no expression of laws: {ast.unparse(tree)}")


def _scalar(tree: ast.expr) -> float | None:
    try:
        return float(ast.literal_eval(tree))
    except (ValueError, TypeError):
        return None


def rounded(x: float, digits: int = 3) -> float:
    """Return x with few digits, as it is written."""
    return float(f"{x:.{digits}g}")


def _log_uniform(rng: Rng, low: float, high: float) -> float:
    return rounded(10 ** rng.uniform(np.log10(low), np.log10(high)))


# ---- leaves --------------------------------------------------------------------------------------------------


def _weights(rng: Rng, n: int) -> tuple[float, ...]:
    """Return n probabilities of four decimals: half of the time multiples of .005, else down to 1e-4."""
    parts = 200 if rng.random() < 0.5 else 10000
    share = 10 ** rng.uniform(-4, 0, n) if parts > 200 else rng.exponential(size=n)
    counts = np.maximum(1, np.floor(share / share.sum() * parts)).astype(int)
    counts[np.argmax(counts)] += parts - counts.sum()
    return tuple(float(f"{count / parts:.4g}") for count in counts)


def _values(rng: Rng, n: int, signed: bool) -> tuple[float, ...]:
    """Return n distinct values over up to six decades, or near each other; perhaps one is zero."""
    while True:
        if rng.random() < 0.75:
            middle, decades = rng.uniform(-3, 3), rng.choice([1, 3, 6])
            sizes = 10 ** np.clip(middle + rng.uniform(-0.5, 0.5, n) * decades, -3, 3)
        else:
            sizes = 10 ** rng.uniform(-3, 3) * (1 + 10 ** rng.uniform(-3, 0) * rng.random(n))
        values = sizes * rng.choice([-1, 1], n) if signed else sizes
        if rng.random() < 0.3:
            values[rng.integers(n)] = 0
        found = {rounded(float(x)) for x in values}
        if len(found) == n and max(map(abs, found)) > 0:
            return tuple(found)


def discrete(rng: Rng, signed: bool = False) -> Node:
    """Return up to six atoms."""
    n = int(rng.integers(2, 7))
    return Node("Discrete", (), (_values(rng, n, signed), _weights(rng, n)))


def _empirical(rng: Rng, how: str) -> Node:
    return Node("Empirical", (), (Drawn(int(rng.integers(1000)), how, rounded(10 ** rng.uniform(-1, 0.4))),))


POSITIVE: tuple[tuple[float, Callable[[Rng], Node]], ...] = (
    (4, lambda rng: Node("MarchenkoPastur", (), (_log_uniform(rng, 1e-4, 1e4),))),
    (2, lambda rng: Node("FussCatalan", (), (int(rng.integers(2, 21)),))),
    (3, lambda rng: Node("Bernoulli", (), (_log_uniform(rng, 1e-4, 1) if rng.random() < 0.5 else
                                          rounded(rng.uniform(0.01, 1), 2),))),
    (0.3, lambda rng: Node("PointMass", (), (_log_uniform(rng, 1e-3, 1e3),))),
    (5, discrete),
    (4, lambda rng: Node("SquaredSlope", (), (str(rng.choice(ACTIVATIONS)), _log_uniform(rng, 1e-12, 1e3)))),
    (1, lambda rng: _empirical(rng, "lognormal")),
    (1, lambda rng: Node("MultiplicativeBrownian", (), (_log_uniform(rng, 0.01, 4),))),
)
LINE: tuple[tuple[float, Callable[[Rng], Node]], ...] = (
    (2, lambda rng: Node("Semicircle", (), (_log_uniform(rng, 1e-3, 1e3),))),
    (4, lambda rng: discrete(rng, signed=True)),
    (1, lambda rng: _empirical(rng, "normal")),
)


def _leaf(rng: Rng, positive: bool) -> Node:
    makers = POSITIVE if positive or rng.random() < 0.5 else LINE
    weights = np.array([weight for weight, _ in makers])
    return makers[int(rng.choice(len(makers), p=weights / weights.sum()))][1](rng)


# ---- operations ----------------------------------------------------------------------------------------------


def _exponent(rng: Rng) -> int | float:
    if rng.random() < 0.5:
        return int(rng.choice([2, 3, 4, 7, 12, 20]))
    return rounded(1 + 10 ** rng.uniform(-2, 1))


def _corner(rng: Rng) -> float:
    return rounded(rng.uniform(0.1, 1), 2) if rng.random() < 0.7 else _log_uniform(rng, 0.002, 1)


def _moved(rng: Rng, node: Node, positive: bool) -> Node:
    if rng.random() < 0.5:
        return Node("dilate", (node,), (_log_uniform(rng, 1e-3, 1e3),))
    sign = 1 if positive else rng.choice([-1, 1])
    return Node("shift", (node,), (float(sign * _log_uniform(rng, 1e-3, 1e3)),))


def _tree(rng: Rng, depth: int, positive: bool) -> Node:
    """Return a random tree of at most that depth; positive: a law on x >= 0, by construction."""
    if depth == 0 or rng.random() < 0.15:
        return _leaf(rng, positive)
    operation = rng.choice(["*", "+", "**", "compress", "move"], p=[0.34, 0.34, 0.08, 0.12, 0.12])
    match operation:
        case "*":
            return Node("*", tuple(_tree(rng, depth - 1, True) for _ in range(2)))
        case "+":
            return Node("+", tuple(_tree(rng, depth - 1, positive) for _ in range(2)))
        case "**":
            return Node("**", (_tree(rng, depth - 1, True),), (_exponent(rng),))
        case "compress":
            return Node("compress", (_tree(rng, depth - 1, positive),), (_corner(rng),))
    return _moved(rng, _tree(rng, depth - 1, positive), positive)


def _narrow(rng: Rng) -> Node:
    """Return a sum of finite laws of very different spans: its bands are narrow against what they span."""
    factor = 10 ** rng.uniform(-5, -1)
    wide, thin = discrete(rng, signed=rng.random() < 0.5), discrete(rng, signed=rng.random() < 0.5)
    values = [rounded(x * factor) for x in thin.numbers[0]]
    if len(set(values)) < len(values):
        values = list(thin.numbers[0])
    return Node("+", (Node("Discrete", (), (tuple(values), thin.numbers[1])), wide))


def _several(rng: Rng, name: str, positive: bool) -> Node:
    return Node(name, tuple(_leaf(rng, positive) for _ in range(int(rng.choice([2, 3], p=[0.7, 0.3])))))


def _simple(rng: Rng, positive: bool = False) -> Node:
    """Return a leaf, a product or a sum."""
    return (_leaf(rng, positive), _several(rng, "*", True), _several(rng, "+", positive))[int(rng.integers(3))]


KINDS: tuple[tuple[float, Callable[[Rng], Node]], ...] = (
    (4, lambda rng: _leaf(rng, False)),
    (20, lambda rng: _several(rng, "*", True)),
    (20, lambda rng: _several(rng, "+", False)),
    (10, _narrow),
    (8, lambda rng: Node("**", (_simple(rng, True),), (_exponent(rng),))),
    (10, lambda rng: Node("compress", (_simple(rng),), (_corner(rng),))),
    (6, lambda rng: _moved(rng, _simple(rng), False)),
    (15, lambda rng: _tree(rng, 2, False)),
    (7, lambda rng: _tree(rng, 3, False)),
)


def expression(seed: int, index: int) -> Node:
    """Return the expression of that number; of at most six leaves, its moments within the range of floats."""
    from benchmarks.known import facts

    rng = np.random.default_rng((seed, index))
    weights = np.array([weight for weight, _ in KINDS])
    while True:
        node = KINDS[int(rng.choice(len(KINDS), p=weights / weights.sum()))][1](rng)
        if len(node.leaves) > 6:
            continue
        try:
            known = facts(node)
        except OverflowError:
            continue
        size = np.log10([known.second, *(facts(part).second for part in node.parts)])
        if np.all(np.abs(size) < 2 * _LARGEST) and known.var > 0:
            return node
