"""The condition number of a product of square real Gaussian matrices of finite width."""

from __future__ import annotations

import math
from dataclasses import dataclass

from rmt.checks import integer
from rmt.laws.named.fuss_catalan import FussCatalan

# E ln kappa - (L+1)/2 ln N and the standard deviation of ln kappa for L = 1..10 (THEORY 4): Edelman (1988) for L = 1,
# the rest from 1500 to 4000 products at N = 25, 50, 100, standard errors .02 to .09.
# `python -m benchmarks.condition_number` simulates them again.
CONSTANTS = (1.537, 2.61, 3.47, 4.26, 5.03, 5.77, 6.43, 7.13, 7.80, 8.46)
SPREADS = (1.2, 1.5, 1.8, 2.1, 2.4, 2.65, 2.85, 3.05, 3.25, 3.45)


@dataclass(frozen=True)
class LogCondition:
    """Mean and standard deviation over networks of ln kappa, kappa = s_max / s_min; `std` is None where not known."""

    mean: float
    std: float | None


def log_condition_number(depth: int, width: int) -> LogCondition:
    """Return E ln kappa of a product of `depth` square real Gaussian matrices.

    (depth + 1)/2 ln(width) + c_depth up to depth 10, right to .1 from width 25 on; deeper, the law's top edge over its
    .274/width quantile, right to .2 where that was compared.

    Parameters
    ----------
    depth, width : int
        At least 1 and 2.
    """
    depth, width = integer("depth", depth), integer("width", width, 2)
    if depth > len(CONSTANTS):
        return LogCondition(FussCatalan(depth).spectrum.log_condition_number_at(width), None)
    return LogCondition((depth + 1) / 2 * math.log(width) + CONSTANTS[depth - 1], SPREADS[depth - 1])
