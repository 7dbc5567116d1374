"""The condition number of a network of finite width."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from rmt.checks import integer
from rmt.finite.chain import Chain
from rmt.laws.convolution import ChainLaw
from rmt.laws.named.fuss_catalan import FussCatalan

# E ln kappa - (L+1)/2 ln N and the standard deviation of ln kappa for L = 1..10 (THEORY 4): Edelman (1988) for L = 1,
# the rest from 1500 to 4000 products at N = 25, 50, 100, standard errors .02 to .09.
# `python -m benchmarks.condition_number` simulates them again.
CONSTANTS = (1.537, 2.61, 3.47, 4.26, 5.03, 5.77, 6.43, 7.13, 7.80, 8.46)
SPREADS = (1.2, 1.5, 1.8, 2.1, 2.4, 2.65, 2.85, 3.05, 3.25, 3.45)
_DRAWN = 32  # networks


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


@lru_cache(maxsize=64)
def chain_log_condition_number(chain: Chain) -> float:
    """Return the mean over networks of the ln of s_max over the least s > 0.

    Of square Gaussian products `log_condition_number`. Else the law's top edge over its .274/n quantile, n values
    being what is not zero; where slopes are zero averaged over their draw, without which five ReLU layers of 60 have
    e^12.9 for e^7.1. Right to .1 for ReLU chains of up to five layers, .7 for twenty, where simulated.
    """
    if chain.square_gaussian and chain.n_inputs > 1:
        return log_condition_number(len(chain.layers), chain.n_inputs).mean
    logs = []
    for network in chain.networks[:_DRAWN] if chain.one_size else [chain]:
        if network.alive:
            n = round(chain.n_inputs * float(network.curve.mass))
            logs.append(ChainLaw(network.curve).spectrum.log_condition_number_at(n) if n > 1 else 0.0)
    return float(np.mean(logs)) if logs else 0.0
