"""Which theory a network of given depth and width obeys, known before anything is measured."""

from __future__ import annotations

import math
from dataclasses import dataclass

from rmt.checks import integer, number

FREE_LAW = "free law"
FLUCTUATING = "fluctuating"
LYAPUNOV = "Lyapunov"

_RATIO = 0.05  # depth^2 / width up to which pooled networks were within .02 of the law (THEORY 4: L^2 << N)
_RANK_SHIFT = 0.02  # the default tolerance of a comparison
_LYAPUNOV_BETA = 4.0  # twice depth / width = 2 of a linear chain (THEORY 4: L >> N)


@dataclass(frozen=True)
class Regime:
    """The regime of a network (THEORY 4).

    Attributes
    ----------
    name : str
        "free law" (depth^2 << width: the law and a correction of order 1/width), "fluctuating" (depth ~ width:
        single networks differ from the law) or "Lyapunov" (depth >> width: a picket fence of exponents).
    ratio : float
        depth * beta / 2, which is depth^2 / width for a linear Gaussian chain.
    beta : float
        Variance of ln |Ju|^2 over networks.
    depth_over_width : float
        Depth over the harmonic mean width.
    rank_shift : float
        Share of the law's non-zero mass that the finite rank removes on average: about the sup distance that
        this alone leaves between the cdfs given s > 0.
    """

    name: str
    ratio: float
    beta: float
    depth_over_width: float
    rank_shift: float

    @property
    def spread(self) -> float:
        """How far one network may be from the law in ln s, as a whole: the standard deviation of ln |Ju|.

        Its singular values are those of the law times a factor of about exp(+-spread); where beta << 1 the largest
        stays closer than that (`rmt.finite.log_largest`), and the cdf moves by far less (`FiniteWidth.distance`).
        """
        return math.sqrt(self.beta) / 2

    def __float__(self) -> float:
        return self.ratio

    def __str__(self) -> str:
        reason = f", rank {-self.rank_shift:.1%}" if self.rank_shift >= _RANK_SHIFT else ""
        return f"{self.name} (L²/N = {self.ratio:.2g}{reason})"


def regime(depth: int, width: float, beta: float, rank_shift: float = 0.0) -> Regime:
    """Return the regime of a network, before anything is measured.

    Parameters
    ----------
    depth : int
        Number of weight matrices.
    width : float
        Harmonic mean of their widths.
    beta : float
        Variance of ln |Ju|^2 for a fixed u: sum over layers of (3 mu_2/mu_1^2 - 1)/n_l for Gaussian weights, mu_k the
        2k-th moment of the activation's slope (Hanin and Nica 2019).
    rank_shift : float
        Share of the law's non-zero mass that the finite rank removes on average, in [0, 1].
    """
    depth = integer("depth", depth, 0)
    width = float(number("width", width, 0, open_low=True))
    beta = float(number("beta", beta, 0))
    rank_shift = float(number("rank_shift", rank_shift, 0, high=1))
    ratio = depth * beta / 2
    free = ratio < _RATIO and rank_shift < _RANK_SHIFT
    name = FREE_LAW if free else FLUCTUATING if beta < _LYAPUNOV_BETA else LYAPUNOV
    return Regime(name, ratio, beta, depth / width, rank_shift)
