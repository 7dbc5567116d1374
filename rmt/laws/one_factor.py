"""Roots of a master curve with one factor, in closed form."""

from __future__ import annotations

import math

import numpy as np

from rmt.laws.logistic import in_strip, log_lower
from rmt.laws.psi import ComplexArray, ExplicitPsi


def gaussian_root(log_x: ComplexArray, m: float) -> ComplexArray:
    """Return v for x = (1 + w)(1 + w/m)/w: a quadratic, solved without cancellation at either end."""
    c = min(m, 1 / m)  # c and 1/c have the same curve, x scaled
    x = np.exp(log_x) * (1.0 if m >= 1 else c)
    root = np.sqrt(x - (1 - math.sqrt(c)) ** 2) * np.sqrt(x - (1 + math.sqrt(c)) ** 2)
    one_over_w, one_plus_w = (x - 1 - c + root) / 2, 2 * x / (x + c - 1 + root)
    with np.errstate(divide="ignore", invalid="ignore"):
        far = log_lower(1 / one_over_w) - log_lower(one_plus_w)
        near = -np.log(1 + one_over_w)
    return in_strip(np.where(np.abs(one_over_w) < 0.5, near, far) + 1j * math.pi)


def slope_root(log_x: ComplexArray, law: ExplicitPsi) -> tuple[ComplexArray, ComplexArray]:
    """Return v and y for x = 1/zeta, the curve of a law that is given by its psi."""
    y = 1j * math.pi - log_x
    return in_strip(law.logit(y)[0]), y
