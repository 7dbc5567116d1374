"""Numbers as text, whatever their size."""

from __future__ import annotations

import math


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
