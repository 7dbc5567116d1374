"""The largest singular value, and the mean of ln s, of one network: median and band at any depth over width.

Where depth << width, n^(2/3) times the distance of the largest from its soft edge is Tracy-Widom; where depth >> width
it is a product of independent factors. Between them no closed law is known. What holds the two together is one number,
the curvature of the edge: with Omega the root of sum_i Omega/(n_i + Omega) = 1 over all spaces of the chain, input and
output among them,

    a^2 = 1/Omega^2 - sum_i 1/(n_i + Omega)^2        (L square layers: a^2 = L^3/((L+1) N^2), about (L/N)^2),

ln s_max - ln s_edge of a product of Gaussian matrices depends on a alone in simulations (N = 20 to 100, a = .01 to 10).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import digamma, ndtri, polygamma

from rmt.checks import integer, number
from rmt.finite.chain import Chain
from rmt.finite.tracy_widom import TracyWidom
from rmt.laws.asymptotics import soft_edges
from rmt.laws.law import Law
from rmt.laws.rational import log_of

Array = NDArray[np.float64]

_DRIFT = 0.375  # of ln s_max per a, beside Tracy and Widom's: simulated, .35 to .38 for a = .1 to 10
_JOIN = 3  # power mean of the variances of both limits: simulated, within 3 % of the standard deviation


@dataclass(frozen=True)
class LogValue:
    """The distribution over networks of a logarithm: its mean, standard deviation, and shape.

    `shape` is "Tracy-Widom" (of the largest eigenvalue of real symmetric matrices, scaled) or "normal".
    """

    mean: float
    std: float
    shape: str = "normal"

    def ppf(self, q: ArrayLike) -> Any:
        """Return the quantiles at q in (0, 1)."""
        q = np.asarray(q, dtype=float)
        if not np.all((q > 0) & (q < 1)):
            raise ValueError(f"q must be in (0, 1), got {q}")
        if self.shape == "normal":
            return self.mean + self.std * ndtri(q)[()]
        mean, std = _tracy_widom()
        return self.mean + self.std * (TracyWidom(1).ppf(q) - mean) / std

    @property
    def median(self) -> float:
        """The median."""
        return float(self.ppf(0.5))

    def band(self, level: float = 0.9) -> tuple[float, float]:
        """Return the central interval that holds a share `level` of networks."""
        level = float(number("level", level, 0, open_low=True, high=1, open_high=True))
        low, high = self.ppf([(1 - level) / 2, (1 + level) / 2])
        return float(low), float(high)


@cache
def _tracy_widom() -> tuple[float, float]:
    """Mean and standard deviation for real matrices."""
    return TracyWidom(1).mean(), TracyWidom(1).std()


def tracy_widom_edge(law: Law, n: int) -> LogValue:
    """Return ln s of the largest of n singular values whose x = s^2 has this law, from its soft upper edge.

    Where the density of x begins as P sqrt(x_+ - x), x_max = x_+ + (pi n P)^(-2/3) T, T Tracy-Widom for real matrices
    (Tracy and Widom 1996): right while depth << width, and where nothing but the edge fluctuates.

    Parameters
    ----------
    law : Law
        Of x = s^2, zeros included.
    n : int
        Columns of the matrix, at least 2.

    Raises
    ------
    ValueError
        For a law that does not end in a density that vanishes as a square root.
    """
    n = integer("n", n, 2)
    edges = [edge for edge in soft_edges(law) if edge.side < 0]
    top = max(edges, key=lambda edge: edge.place, default=None)
    if top is None or top.exponent < 0 or max(law.atoms, default=0.0) >= top.place or top.place <= 0:
        raise ValueError(f"law must end in a density that vanishes as a square root, got {law!r}")
    mean, std = _tracy_widom()
    unit = (math.pi * n * top.prefactor) ** (-2 / 3) / (2 * top.place)
    return LogValue(math.log(top.place) / 2 + unit * mean, unit * std, "Tracy-Widom")


def log_largest(chain: Chain) -> LogValue | None:
    """Return ln s_max of one network, at any depth over width; None but for Gaussian linear or ReLU layers.

    Mean: that of Tracy and Widom less .375 a, or where it is lower the exact mean ln |Ju| plus [digamma(n_0/2) -
    digamma(1/2)]/2 that one vector lacks when the largest value is alone. Variance: the power mean of that of Tracy and
    Widom and of ln |Ju|. Measured error for L/N = .1 to 3: under .1 standard deviations of the median, under 8 % of
    the band, spaces of eight or more. ReLU layers are averaged over their numbers of active units.
    """
    found = _over_networks(chain, _largest)
    if found is None or chain.networks != [chain] or chain.least_width == 1:
        return found
    return replace(found, shape="Tracy-Widom")


def mean_log(chain: Chain) -> LogValue | None:
    """Return the mean of ln s over the non-zero values of one network; None but for Gaussian linear or ReLU layers.

    Half the ln of the determinant on the least space, r: every other space of n adds ln chi-squared of n, n - 1, ...,
    n - r + 1 degrees of freedom, so mean and variance are exact. ReLU layers are averaged over their active units.
    """
    return _over_networks(chain, _mean_log)


def _over_networks(chain: Chain, moments: Callable[[Array, float], tuple[float, float]]) -> LogValue | None:
    """Return mean and variance over the slopes drawn; None for other chains, and where J is nearly always zero."""
    plain = chain.one_size and not any(layer.turned for layer in chain.layers)
    found = [moments(*_spaces(network)) for network in chain.networks if network.alive] if plain else []
    if not found:
        return None
    mean, variance = np.array(found).T
    return LogValue(float(mean.mean()), math.sqrt(variance.mean() + mean.var()))


def _spaces(chain: Chain) -> tuple[Array, float]:
    """Return the dimensions that zero slopes leave, the input's first, and ln of the entries' variances, in all."""
    alive = [layer.rows * (1 - layer.slopes.atoms.get(0.0, 0.0)) for layer in chain.layers]
    scale = sum(log_of(layer.weights.scale / layer.rows) + math.log(max(layer.slopes.atoms)) for layer in chain.layers)
    return np.round([chain.n_inputs, *alive]), scale


def _largest(n: Array, log_variance: float) -> tuple[float, float]:
    """Return mean and variance of ln s_max for spaces n."""
    if n.min() == 1:
        return _mean_log(n, log_variance)  # the only value
    low, high = 0.0, float(n.sum())
    while high - low > 1e-14 * high:  # sum Omega/(n + Omega) rises from 0 to the number of spaces
        omega = (low + high) / 2
        low, high = (omega, high) if np.sum(omega / (n + omega)) < 1 else (low, omega)
    edge = (log_variance - math.log(omega) + float(np.log(n + omega).sum())) / 2
    a = math.sqrt(1 / omega**2 - float(np.sum((n + omega) ** -2.0)))
    mean, std = _tracy_widom()
    unit = (a / math.sqrt(2)) ** (2 / 3) / 2
    alone = (log_variance + float(np.sum(np.log(2) + digamma(n[1:] / 2))) + float(digamma(n[0] / 2) - digamma(0.5))) / 2
    norm, soft = float(polygamma(1, n[1:] / 2).sum()) / 4, (unit * std) ** 2
    joined = (norm**-_JOIN + soft**-_JOIN) ** (-1 / _JOIN)
    return min(edge + unit * mean - _DRIFT * a, alone), joined


def _mean_log(n: Array, log_variance: float) -> tuple[float, float]:
    """Return mean and variance of the mean of ln s for spaces n."""
    rank, others = int(n.min()), np.delete(n, n.argmin())
    half = (others[:, None] - np.arange(rank)) / 2
    mean = (log_variance + others.size * math.log(2) + float(digamma(half).sum()) / rank) / 2
    return mean, float(polygamma(1, half).sum()) / (4 * rank**2)
