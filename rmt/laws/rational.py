"""Exact fractions of any size."""

from __future__ import annotations

import math
from fractions import Fraction


def log_of(x: Fraction) -> float:
    """Natural logarithm of a positive rational of any size, every digit kept."""
    shift = x.numerator.bit_length() - x.denominator.bit_length()
    return math.log(x / Fraction(2) ** shift) + shift * math.log(2)


def safe_exp(log: float) -> float:
    """Return e^log, inf where that is above every float."""
    return math.exp(log) if log < 709.78 else math.inf
