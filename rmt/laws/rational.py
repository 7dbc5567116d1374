"""Exact fractions of any size."""

from __future__ import annotations

import math
from fractions import Fraction


def log_of(x: Fraction) -> float:
    """Natural logarithm of a positive rational of any size, every digit kept."""
    shift = x.numerator.bit_length() - x.denominator.bit_length()
    return math.log(x / Fraction(2) ** shift) + shift * math.log(2)


def power(x: Fraction, k: Fraction) -> Fraction:
    """Return x ** k of a positive rational of any size: exact for whole k, else to a float's digits."""
    whole, rest = int(k // 1), float(k % 1)
    if not rest:
        return x**whole
    shift = x.numerator.bit_length() - x.denominator.bit_length()
    if abs(shift) < 1000:
        return x**whole * Fraction(float(x) ** rest)
    twos, more = divmod(shift * Fraction(rest), 1)
    return x**whole * Fraction(float(x / Fraction(2) ** shift) ** rest * 2.0 ** float(more)) * Fraction(2) ** int(twos)


_EXACT, _KEPT = 2048, 256  # bits


def shortened(x: Fraction) -> Fraction:
    """Return a positive rational, or where it has thousands of bits the nearest with 256 of them and a power of 2."""
    if x.numerator.bit_length() + x.denominator.bit_length() <= _EXACT:
        return x
    shift = x.numerator.bit_length() - x.denominator.bit_length() - _KEPT
    return round(x / Fraction(2) ** shift) * Fraction(2) ** shift


def safe_exp(log: float) -> float:
    """Return e^log, inf where that is above every float."""
    return math.exp(log) if log < 709.78 else math.inf


def as_float(x: Fraction) -> float:
    """Return a rational as a float, inf where it is above every float."""
    try:
        return float(x)
    except OverflowError:
        return math.inf
