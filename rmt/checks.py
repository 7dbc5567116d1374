"""Errors at the door: one line that names the argument, its value and the allowed range."""

from __future__ import annotations

import ast
import difflib
import math
import numbers
import operator
import sys
from collections.abc import Callable, Iterable, Mapping
from fractions import Fraction
from typing import Any

Number = int | float | Fraction


def number(name: str, value: object, low: float = -math.inf, *, open_low: bool = False,
           high: float = math.inf, open_high: bool = False) -> Number:
    """Return a finite real `value` inside the range, as int, Fraction or float; raise otherwise."""
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise TypeError(f"{name} must be a real number in {_range(low, open_low, high, open_high)}, got {value!r}")
    real = value if isinstance(value, Fraction) else int(value) if isinstance(
        value, numbers.Integral) else float(value)
    if isinstance(real, int) and abs(real) > sys.float_info.max:
        raise ValueError(f"{name} must be in {_range(low, open_low, high, open_high)}, "
                         "got a whole number outside the range of a float")
    inside = (low < real if open_low else low <= real) and (real < high if open_high else real <= high)
    if not (isinstance(real, int) or math.isfinite(real)) or not inside:
        raise ValueError(f"{name} must be in {_range(low, open_low, high, open_high)}, got {value!r}")
    return real


def _range(low: float, open_low: bool, high: float, open_high: bool) -> str:
    left, right = "(" if open_low or low == -math.inf else "[", ")" if open_high or high == math.inf else "]"
    return f"{left}{low:g}, {high:g}{right}"


def positive(name: str, value: object) -> Number:
    """Return a number in (0, inf)."""
    return number(name, value, 0, open_low=True)


def integer(name: str, value: object, low: int | None = 1) -> int:
    """Return a whole number of at least `low`."""
    allowed = "a whole number" if low is None else f"a whole number >= {low}"
    if isinstance(value, bool) or not isinstance(value, numbers.Integral):
        raise TypeError(f"{name} must be {allowed}, got {value!r}")
    if low is not None and value < low:
        raise ValueError(f"{name} must be {allowed}, got {value!r}")
    return int(value)


_LIKENESS = 0.7  # of difflib, from which on a name is a slip of the other: "tahn" is tanh, "mish" is not swish


def choice(name: str, value: object, allowed: Iterable[str]) -> str:
    """Return `value` if it is one of `allowed`; the error suggests the nearest name, or lists all."""
    names = sorted(allowed)
    if isinstance(value, str) and value in names:
        return value
    near = difflib.get_close_matches(str(value), names, n=1, cutoff=_LIKENESS)
    hint = f"; did you mean {near[0]!r}?" if near else f" (one of: {', '.join(names)})"
    raise ValueError(f"unknown {name} {value!r}{hint}")


def by_name(kind: str, text: object, registry: Mapping[str, Any]) -> Any:
    """Return what "name" or "name(argument, key=value)" means in a registry of values and factories.

    Arguments are words, numbers, and arithmetic of numbers, as "kaiming_uniform(a=5**.5)".
    """
    try:
        node = ast.parse(str(text).strip(), mode="eval").body
        call = node if isinstance(node, ast.Call) else None
        name = ast.unparse(call.func if call else node)
    except (SyntaxError, RecursionError, MemoryError):  # of what is nested too deep
        name, call = str(text), None
    entry = registry[choice(kind, name if isinstance(text, str) else text, registry)]
    if not callable(entry):
        if call:
            raise ValueError(f"{kind} {name} takes no arguments, got {text!r}")
        return entry
    try:
        arguments = [_argument(node) for node in call.args] if call else []
        options = {str(one.arg): _argument(one.value) for one in call.keywords} if call else {}
        if len(options) < len(call.keywords if call else []) or "None" in options:
            raise ValueError(text)
    except (ValueError, ArithmeticError, RecursionError):
        raise ValueError(f"{kind} {text!r}: arguments must be words in quotes, numbers, or arithmetic of numbers, "
                         "each once") from None
    try:
        return entry(*arguments, **options)
    except TypeError as error:
        raise ValueError(f"{kind} {text!r}: {error}") from None


_ARITHMETIC: dict[type[ast.operator], Callable[[float, float], float]] = {
    ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: operator.truediv,
    ast.Pow: lambda a, b: math.pow(a, b)}


def _argument(node: ast.AST) -> Any:
    if isinstance(node, ast.BinOp) and type(node.op) in _ARITHMETIC:
        left, right = _argument(node.left), _argument(node.right)
        if not isinstance(left, int | float) or not isinstance(right, int | float):
            raise ValueError(node)
        return _ARITHMETIC[type(node.op)](left, right)
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        operand = _argument(node.operand)
        if not isinstance(operand, int | float):
            raise ValueError(node)
        return -operand
    return ast.literal_eval(node)
