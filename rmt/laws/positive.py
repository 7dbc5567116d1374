"""Laws on x >= 0, eigenvalues of J^T J: everything from the master curve, with ln x as the coordinate."""

from __future__ import annotations

import math
from abc import abstractmethod
from functools import cached_property
from typing import Any

import numpy as np

from rmt.checks import integer
from rmt.laws import bands, series
from rmt.laws.atoms import positive_atoms
from rmt.laws.edges import log_support
from rmt.laws.errors import ConvergenceError
from rmt.laws.law import Array, Law
from rmt.laws.master_curve import ComplexArray, MasterCurve, log_of
from rmt.laws.views import LogView, Spectrum


class PositiveLaw(Law):
    """A law on x >= 0 given by its master curve; two laws are equal when their curves are."""

    @property
    @abstractmethod
    def curve(self) -> MasterCurve:
        """The master curve, which says everything about the law."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, PositiveLaw) and self.curve == other.curve

    def __hash__(self) -> int:
        return hash(self.curve)

    @cached_property
    def _bands(self) -> tuple[tuple[float, float], ...]:
        return log_support(self.curve)

    @cached_property
    def _points(self) -> tuple[tuple[float, float], ...]:
        zero = 1 - self.curve.mass
        at_zero = ((-math.inf, float(zero)),) if zero else ()
        return at_zero + tuple((log_of(x), float(mass)) for x, mass in positive_atoms(self.curve))

    @property
    def _rate(self) -> float:
        return 1 / float(self.curve.order)

    def _local(self, t: Array, state: Any = None) -> tuple[Array, Array, Any]:
        if state is not None:
            v, y = self.curve.follow(t, state[0], state[1:])
            # Inside a band w is not real: a step that ended on the real axis found another branch.
            lost = np.minimum(v.imag, math.pi - v.imag) < 1e-7
            if lost.any():
                cold_v, cold_y = self.curve.solve(t[lost])
                for root, cold in zip((v, *y), (cold_v, *cold_y), strict=True):
                    root[lost] = cold
            return self._values(t, v, y)
        if t.size > 2 * bands.NODES and (found := self._from_nodes(t)) is not None:
            return found
        return self._values(t, *self.curve.solve(t))

    def _values(self, t: Array, v: ComplexArray, y: list[ComplexArray]) -> tuple[Array, Array, Any]:
        return self.curve.upper_tail(t, v, y), self.curve.log_im_w(v) - math.log(math.pi), [v, *y]

    @cached_property
    def _nodes(self) -> tuple[Array, Array, Any]:
        """Points over all bands, P(X > x) and the root at each: from them the root anywhere is a few steps."""
        t = np.concatenate([bands.nodes(*band, self._rate)[0] for band in self._bands])
        upper, _, roots = self._values(t, *self.curve.solve(t))
        return t, upper, roots

    def _from_nodes(self, t: Array) -> tuple[Array, Array, Any] | None:
        """Follow the curve from the nearest nodes; None unless every P(X > x) lies between its neighbours'."""
        node, tail, roots = self._nodes
        right = np.searchsorted(node, t)
        try:
            found = self._local(t, [root[np.minimum(right, node.size - 1)] for root in roots])
        except ConvergenceError:
            return None
        between = (found[0] < np.r_[1.0, tail][right] + 1e-9) & (found[0] > np.r_[tail, 0.0][right] - 1e-9)
        return found if between.all() else None

    def _t(self, x: Array) -> Array:
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.log(x)

    def _x(self, t: Array) -> Array:
        return np.exp(t)

    def _log_dx_dt(self, t: Array) -> Array:
        return t

    @property
    def atoms(self) -> dict[float, float]:
        """The point masses: {point: mass}."""
        zero = 1 - self.curve.mass
        at_zero = {0.0: float(zero)} if zero else {}
        return at_zero | {float(x): float(mass) for x, mass in positive_atoms(self.curve)}

    def moment(self, k: int) -> float:
        """Return E X^k, k = 0, 1, 2, ..., by Lagrange inversion of the S-transform (no quadrature)."""
        k = integer("k", k, 0)
        if k == 0:
            return 1.0
        log_inverse_s = self.curve.log_inverse_s(k)
        return math.exp(k * log_inverse_s[0]) * series.moment_over_scale(log_inverse_s, k)

    def var(self) -> float:
        """Return the variance, mean^2 (-S'(0)/S(0)), which adds over free factors."""
        log_inverse_s = self.curve.log_inverse_s(1)
        return math.exp(2 * log_inverse_s[0]) * float(log_inverse_s[1])

    @cached_property
    def spectrum(self) -> Spectrum:
        """The law of the singular value s = sqrt(x)."""
        return Spectrum(self)

    @cached_property
    def log(self) -> LogView:
        """The law of ln x given x > 0: the view that survives any depth."""
        return LogView(self)
