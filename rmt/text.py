"""Numbers as text, whatever their size."""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction

Number = int | float | Fraction

_DIGITS = 10**600  # of a whole number that is written in decimals; Python itself writes no more than 4300


def exp_text(log_value: float) -> str:
    """Return e^log_value at three or four digits, as 0.0123 or 1.23e+45, also outside the range of a float."""
    if math.isnan(log_value):
        return "none"
    if math.isinf(log_value):
        return "0" if log_value < 0 else "inf"
    exponent = math.floor(log_value / math.log(10))
    if -4 <= exponent < 6:
        return f"{math.exp(log_value):.4g}"
    mantissa = f"{math.exp(log_value - exponent * math.log(10)):.2f}"
    return f"1.00e{exponent + 1:+d}" if mantissa == "10.00" else f"{mantissa}e{exponent:+d}"


def duration(seconds: float) -> str:
    """Return a time in words, to two digits."""
    for most, unit, name in ((100, 1.0, "second"), (5400, 60.0, "minute"), (172_800, 3600.0, "hour"),
                             (6.3e7, 86_400.0, "day"), (math.inf, 3.156e7, "year")):
        if seconds < most:
            count = _rounded(max(1.0, seconds / unit))
            return f"{count} {name}{'' if count == '1' else 's'}"
    return "for ever"


def amount(size: float) -> str:
    """Return bytes in words, to two digits."""
    power = min(6, int(math.log10(max(size, 1)) / 3))
    return f"{_rounded(size / 1000**power)} {('bytes', 'kB', 'MB', 'GB', 'TB', 'PB', 'EB')[power]}"


def _rounded(x: float) -> str:
    two = float(f"{x:.2g}")
    return f"{two:,.0f}" if two >= 10 or two == int(two) else f"{two:g}"


def number_text(x: Number) -> str:
    """Return an expression that has exactly this value, at any size: its repr, or powers of two and hexadecimals."""
    if isinstance(x, float) or (isinstance(x, int) and abs(x) < _DIGITS):
        return repr(x)
    if isinstance(x, int):
        return hex(x)
    if max(abs(x.numerator), x.denominator) < _DIGITS:
        return repr(x)
    twos = (x.numerator & -x.numerator).bit_length() - (x.denominator & -x.denominator).bit_length()
    rest = x / Fraction(2) ** twos
    whole = ", ".join(number_text(part) for part in (rest.numerator, rest.denominator))
    return f"Fraction({whole}) * Fraction(2, 1) ** {twos}"


def short(text: str, size: int = 200) -> str:
    """Return a text, its middle left out where it is longer than so many characters."""
    return text if len(text) <= size else f"{text[: size * 2 // 3]} … {text[-size // 4 :]}"


def listed(values: Sequence[Number], most: int = 24) -> str:
    """Return numbers as the text of a tuple; of more than `most` their number and range, which is no expression."""
    if len(values) <= most:
        return repr(tuple(values))
    return f"<{len(values)} numbers from {values[0]!r} to {values[-1]!r}>"
