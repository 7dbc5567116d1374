"""The 1/N term of a product of square real Gaussian matrices: what a finite width adds to the law on average."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rmt.checks import integer
from rmt.finite.chain import Chain
from rmt.laws.law import Law

Array = NDArray[np.float64]

_NODES = 400  # of the quadrature in the angle, where everything is smooth


@dataclass(frozen=True)
class Corrected:
    """The mean over networks of width N of the empirical law of x = s^2, to order 1/N; signed, so no samples of it.

    With w = psi(z) of the limit, N (E psi_N - psi) -> L(L+1)/2 (w/(1 - L w))^2 for L square real Gaussian layers,
    and N (E F_N - F) = [arg(1 - L w) + L arg(1 + w)]/(2 pi), w in the upper half plane (THEORY 4): an atom 1/4 at
    the top edge, one of L/(2(L+1)) at zero, and a density between that takes as much away.

    Attributes
    ----------
    law : Law
        The limit, FussCatalan(depth), MarchenkoPastur(1) ** depth or a multiple of it.
    width : int
        N.
    """

    law: Law
    width: int

    @cached_property
    def depth(self) -> int:
        """Number of layers L."""
        (_, depth), = self.law.curve.powers
        return int(depth)

    def psi(self, z: ArrayLike) -> Any:
        """Return E psi_N(z); z as for `Law.psi`."""
        w, n = self.law.psi(z), self.depth
        return w + n * (n + 1) / 2 * (w / (1 - n * w)) ** 2 / self.width

    def moment(self, k: int) -> float:
        """Return E m_k of a network of width N, k >= 0."""
        k, n = integer("k", k, 0), self.depth
        if k == 0:
            return 1.0
        # [z^k] H(w) = [w^(k-1)] H'(w) (1+w)^((L+1)k) / k (Lagrange), H' = L(L+1) w / (1 - L w)^3
        total = sum(j * (j + 1) // 2 * n ** (j - 1) * math.comb((n + 1) * k, k - 1 - j) for j in range(1, k))
        scale = math.exp(k * self.law.curve.log_scale)
        return self.law.moment(k) + scale * (n * (n + 1) * total / k) / self.width

    def cdf(self, x: ArrayLike) -> Any:
        """Return E of the fraction of values <= x."""
        values = np.asarray(x, dtype=float)
        inside = (values > 0) & (values < self._top)
        shift = np.zeros(values.shape)
        if inside.any():
            chain = Chain.gaussian([1] * (self.depth + 1))
            shift[inside] = -chain.expected_counts(np.log(values[inside]) - self.law.curve.log_scale)[1]
        return (np.asarray(self.law.cdf(values)) + shift / self.width)[()]

    def expect(self, f: Callable[[Array], ArrayLike]) -> float:
        """Return E of the mean of f over the values; f takes an array and must be finite at 0 and at the top edge."""
        n = self.depth
        node, weight = np.polynomial.legendre.leggauss(_NODES)
        angle, weight = (node + 1) / 2 * math.pi / (n + 1), weight / 2 * math.pi / (n + 1)
        w = np.sin(angle) / np.sin(n * angle) * np.exp(1j * (n + 1) * angle)
        log_x = (n + 1) * np.log(np.sin((n + 1) * angle)) - np.log(np.sin(angle)) - n * np.log(np.sin(n * angle))
        dw = w * (1 / np.tan(angle) - n / np.tan(n * angle) + 1j * (n + 1))
        slope = ((-n * dw / (1 - n * w)).imag + n) / (2 * math.pi)  # of the cdf's shift, along a falling x
        x = np.exp(log_x + self.law.curve.log_scale)
        ends = np.asarray(f(np.array([0.0, self._top])), dtype=float)
        if not np.isfinite(ends).all():
            raise ValueError(f"f must be finite at 0 and at {self._top:g}, where the 1/N term has atoms, got {ends}")
        shift = n / (2 * (n + 1)) * ends[0] + ends[1] / 4 - float(np.asarray(f(x)) @ (slope * weight))
        return self.law.expect(f) + shift / self.width

    @cached_property
    def _top(self) -> float:
        return float(self.law.support[-1][1])


def corrected(law: Law, width: int) -> Corrected:
    """Return the limit law of L square real Gaussian layers with its 1/N term.

    Parameters
    ----------
    law : Law
        FussCatalan(L), or a multiple of it.
    width : int
        N, at least 1.

    Raises
    ------
    ValueError
        For any other law: its 1/N term is not known here.
    """
    width = integer("width", width)
    curve = getattr(law, "curve", None)
    if curve is None or curve.slopes or len(curve.powers) != 1 or curve.powers[0][0] != 1 or (
            curve.powers[0][1].denominator != 1 or curve.powers[0][1] < 1):
        raise ValueError(f"law must be FussCatalan(depth) or a multiple of it, got {law!r}")
    return Corrected(law, width)
