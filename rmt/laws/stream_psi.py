"""The moment transform psi of a stack of residual blocks whose slopes act on one stream.

J = F (1 + A_L) ... (1 + A_1) D_0, A_l = B_l D_l: the B_l are R-diagonal (weights at both ends) and free of each other,
but the diagonals D_l, of slopes on the same entries ("channels") of the stream, commute. Given a channel's slopes, it
carries x forward and y back,

    x_(l+1) = x_l + beta_l y_(l+1),    y_l = y_(l+1) + alpha_l d_l^2 x_l,    x_0 = d_0^2 y_0,    y_L = zeta f^2 x_L,

alpha_l and beta_l the self-energies of B_l: w_l over the mean response, over channels, at either of its ends, and
alpha_l beta_l = w_l^2 x_l(w_l) / (1 + w_l)^2 with x_l(w) the curve of B_l (freeness with amalgamation over diagonals:
Nica, Shlyakhtenko and Speicher 2002). 1 + psi is the mean response of x_0 to itself. With channels all alike it is the
free product of `residual_psi`.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from typing import Any

import numpy as np

from rmt.laws import stream_series
from rmt.laws.errors import ConvergenceError
from rmt.laws.logistic import logistic, sigmoids
from rmt.laws.master_curve import MasterCurve
from rmt.laws.psi import Array, BoolArray, ComplexArray, Psi
from rmt.laws.residual_psi import inside, on_sheet, seen

_BLOCK = 2**18  # numbers at a time
_TOP = -46.0  # of ln |psi|: the solution is its own first order there
_BOTTOM = 24.0  # of the logit of -psi, beyond which the rows are straight lines
_STRIDE = 1.0


@dataclass(frozen=True)
class StreamPsi(Psi):
    """psi of J^T J.

    Attributes
    ----------
    branches : tuple of MasterCurve
        Of B_l^T B_l.
    slopes : tuple of tuples
        Of every kind of channel: d_0^2, d_1^2, ..., d_L^2, f^2.
    weights : tuple
        Their probabilities.
    """

    branches: tuple[MasterCurve, ...]
    slopes: tuple[tuple[float, ...], ...]
    weights: tuple[float, ...]

    @cached_property
    def _kinds(self) -> tuple[Array, Array, Array, Array]:
        """d_0^2, d_l^2 as (L, kinds), f^2 and the weights."""
        table = np.array(self.slopes).T
        return table[0], table[1:-1], table[-1], np.array(self.weights)

    @cached_property
    def mass(self) -> Fraction:
        """The probability of a non-zero value."""
        first, _, last, weights = self._kinds
        alive = min(float(weights[first > 0].sum()), float(weights[last > 0].sum()))
        return Fraction(1) if alive > 1 - 1e-12 else Fraction(alive)

    @property
    def point_masses(self) -> tuple[tuple[Fraction, Fraction], ...]:
        """None but at zero that matter: weights in a branch smear them."""
        return ()

    @cached_property
    def order(self) -> Fraction:
        """The order of the zero of 1/S at w = -mass, from how fast 1/zeta falls there."""
        y = self.real_rows(np.array([18.0, 20.0]), 0.0)[0]
        return Fraction(round(float(y[1] - y[0])), 2) - (self.mass == 1)

    @property
    def deepest(self) -> float:
        """The logit of -psi up to which it has digits."""
        return _BOTTOM

    @property
    def connected(self) -> bool:
        """Yes: a gap, next to x = 1 where slopes vanish, would be narrower than what finitely many kinds can say."""
        return True

    @property
    def noise(self) -> float:
        """Relative error of psi beyond rounding; it is dear."""
        return max([1e-12, *(law.noise for curve in self.branches for law, *_ in curve.slopes)])

    def moments(self, n: int) -> Array:
        """Return the moments 1..n, by the equations as power series in zeta."""
        first, middle, last, weights = self._kinds
        branches = [branch.log_inverse_s(n) for branch in self.branches]
        return stream_series.moments(branches, first, middle, last, weights, n)

    # ---- rows: y, and for every block v_l, ln(-alpha_l / beta_l) / 2 and those of the branch -------------------------

    @property
    def rows(self) -> int:
        """How many rows there are."""
        return 1 + sum(self._sizes)

    @cached_property
    def _sizes(self) -> list[int]:
        return [2 + sum(law.rows for law, *_ in branch.slopes) for branch in self.branches]

    def _blocks(self, rows: list[ComplexArray]) -> list[list[ComplexArray]]:
        return [rows[start:end] for start, end in itertools.pairwise(np.cumsum([1, *self._sizes]))]

    def correction(self, rows: list[ComplexArray], goal: ComplexArray,
                   goal_slope: ComplexArray) -> tuple[list[ComplexArray], list[ComplexArray], ComplexArray]:
        """Return Newton's steps in the rows toward psi's goal, their slopes, and the slope of the logit in y."""
        shifts, gains = np.empty((2, self.rows, goal.size), dtype=complex)
        lost = np.empty(goal.size)
        step = max(1, _BLOCK // (2 * len(self.branches) * len(self.weights)))
        for i in range(0, goal.size, step):
            part = slice(i, i + step)
            shifts[:, part], gains[:, part], lost[part] = self._corrected([row[part] for row in rows], goal[part])
        gains = gains * goal_slope
        return list(shifts), list(gains), goal_slope / (gains[0] + goal_slope) / lost

    def _corrected(self, rows: list[ComplexArray], goal: ComplexArray) -> tuple[ComplexArray, ComplexArray, Array]:
        """Return Newton's steps and the derivatives in the goal, (rows, points), and how y magnifies rounding."""
        n, points = len(self.branches), goal.size
        blocks, y, mass = self._blocks(rows), rows[0], float(self.mass)
        parts = [seen(branch, v, inner) for branch, (v, _, *inner) in zip(self.branches, blocks, strict=True)]
        log_w = np.array([part[0] for part in parts])
        d_log_w = np.array([part[1] for part in parts])
        half = np.array([part[0] + (part[4] - 1j * math.pi) / 2 - part[2] for part in parts])  # ln(-alpha beta) / 2
        d_half = np.array([part[1] + part[5] / 2 - part[3] for part in parts])
        kappa = np.array([block[1] for block in blocks])
        ports = np.exp(np.stack([half + kappa, half - kappa], axis=1).reshape(2 * n, points))
        ports[::2] *= -1  # alpha < 0 < beta on the negative axis, where the rows are real
        zeta = -np.exp(y)
        left, right, psi, rest, end, by_port_end, by_zeta_end = self._responses(zeta, ports)
        p = self._kinds[3]
        outer = (left**2 * p) @ (right**2).transpose(0, 2, 1)
        outer = np.triu(outer) + np.triu(outer, 1).transpose(0, 2, 1)
        share = ports.T / -np.exp(np.repeat(log_w, 2, axis=0).T)
        value = share * ((left * right) @ p)  # 1 at the solution
        index = np.arange(2 * n)
        by_port = share[:, :, None] * outer * ports.T[:, None, :]
        by_port[:, index, index] += value
        matrix = np.zeros((points, 2 * n + 1, 2 * n + 1), dtype=complex)
        sign, rate = np.tile([1, -1], n), np.repeat(d_half, 2, axis=0).T
        matrix[:, :-1, :n] = (by_port * rate[:, None, :]).reshape(points, 2 * n, n, 2).sum(-1)
        matrix[:, index, index // 2] -= value * np.repeat(d_log_w, 2, axis=0).T
        matrix[:, :-1, n:-1] = (by_port * sign).reshape(points, 2 * n, n, 2).sum(-1)
        matrix[:, :-1, -1] = share * ((left**2 * end[:, None, :]) @ p) * zeta[:, None]
        s, left_over = sigmoids(goal)
        s, left_over = mass * s, mass * left_over
        near = np.abs(s) < np.abs(left_over)
        scale = np.where(near, s, left_over)
        by_end = by_port_end * ports.T / scale[:, None]
        matrix[:, -1, :n] = (by_end * rate).reshape(points, n, 2).sum(-1)
        matrix[:, -1, n:-1] = (by_end * sign).reshape(points, n, 2).sum(-1)
        matrix[:, -1, -1] = by_zeta_end * zeta / scale
        both = np.zeros((points, 2 * n + 1, 2), dtype=complex)
        both[:, :-1, 0] = 1 - value
        both[:, -1, 0] = np.where(near, -s - psi, left_over - rest) / scale
        both[:, -1, 1] = -mass * np.prod(sigmoids(goal), axis=0) / scale
        solved = _solve(matrix, both).transpose(1, 0, 2)
        found = [solved[-1]]
        for i, part in enumerate(parts):
            found += [solved[i], solved[n + i]]
            found += [np.stack([move + gain * solved[i, :, 0], gain * solved[i, :, 1]], axis=1)
                      for move, gain in zip(part[6::2], part[7::2], strict=True)]
        steps = np.array(found)
        unit = np.zeros((points, 2 * n + 1, 1), dtype=complex)
        unit[:, -1] = 1
        lost = np.abs(_solve(matrix.transpose(0, 2, 1), unit)[:, :, 0]).sum(-1)
        return steps[:, :, 0], steps[:, :, 1], 1 + lost

    def _responses(self, zeta: ComplexArray, ports: ComplexArray) -> tuple[Any, ...]:
        """Return what a channel's solutions from the left and from the right are at every port: (points, 2 L, kinds).

        Their product is the response of a port to itself, left^2 times right^2 that of one to another, squared. Then
        psi and mass + psi, seen from the end where a slope may vanish, the squared response of the output to zeta, and
        the derivatives of psi in the ports and in zeta.
        """
        first, middle, last, p = self._kinds
        n, shape = len(middle), (zeta.size, p.size)
        alpha, beta = ports[::2, :, None], ports[1::2, :, None]
        x, y = np.broadcast_to(first + 0j, shape), np.ones(shape, dtype=complex)
        left, right = np.empty((2, shape[0], 2 * n, shape[1]), dtype=complex)
        d = np.sqrt(middle)
        for i in range(n):
            left[:, 2 * i] = d[i] * x
            y = y - alpha[i] * middle[i] * x
            x = x + beta[i] * y
            left[:, 2 * i + 1] = y
        output, at_output = x, y
        x, y = np.ones(shape, dtype=complex), zeta[:, None] * last
        for i in reversed(range(n)):
            right[:, 2 * i + 1] = y
            x = x - beta[i] * y
            y = y + alpha[i] * middle[i] * x
            right[:, 2 * i] = d[i] * x
        wronskian = x - first * y
        right /= wronskian[:, None, :]
        end, psi = last / wronskian**2, (first * y / wronskian) @ p
        if p[last > 0].sum() < p[first > 0].sum():
            rest = (at_output / wronskian) @ (p * (last > 0))
            return left, right, psi, rest, end, zeta[:, None] * ((left**2 * end[:, None]) @ p), (
                end * output * at_output) @ p
        rest = (x / wronskian) @ (p * (first > 0))
        return left, right, psi, rest, end, (right**2 * first) @ p, (end * first) @ p

    @np.errstate(all="ignore")
    def valid(self, inner: list[ComplexArray]) -> BoolArray | bool:
        """Return where the branches' rows are where their curves are the laws'."""
        found = np.ones(inner[0].size, dtype=bool)
        for branch, (v, _, *rows) in zip(self.branches, self._blocks([inner[0], *inner]), strict=True):
            found &= on_sheet(branch, v, rows, seen(branch, v, rows)[4])
        return found

    def real_rows(self, log_odds: Array, tolerance: float) -> list[Array]:
        """Return the rows on the negative axis, followed from zeta = 0; beyond either end they are straight lines."""
        (rows, at), found = self._first_order(), np.empty((self.rows, log_odds.size))
        for i in np.argsort(log_odds):
            goal = float(log_odds[i])
            while at < min(goal, _BOTTOM):
                ahead = min(goal, at + _STRIDE, _BOTTOM)
                rows, at = self._settled([row + gain * (ahead - at) for row, gain in zip(
                    rows, self._at(rows, at)[1], strict=True)], ahead), ahead
            gains = self._at(rows, at)[1]
            found[:, i] = [(row + gain * (goal - at))[0].real for row, gain in zip(rows, gains, strict=True)]
        return list(found)

    def _at(self, rows: list[ComplexArray], goal: float) -> tuple[list[ComplexArray], list[ComplexArray]]:
        return self.correction(rows, np.array([goal + 0j]), np.ones(1, dtype=complex))[:2]

    def _settled(self, rows: list[ComplexArray], goal: float) -> list[ComplexArray]:
        """Return the rows at a goal from those nearby."""
        last = math.inf
        for _ in range(40):
            steps = self._at(rows, goal)[0]
            rows = [row + step for row, step in zip(rows, steps, strict=True)]
            size = float(np.max(np.abs(steps)))
            if size < 1e-12 or last / 2 < size < 1e-4:  # down to rounding
                return rows
            last = size
        raise ConvergenceError(f"stream of residual blocks: no solution at logit(-psi) = {goal:.6g}")

    def _first_order(self) -> tuple[list[ComplexArray], float]:
        """Return the rows at a small zeta < 0, and ln |psi|."""
        first, middle, last, p = self._kinds
        gains = [math.exp(float(branch.log_inverse_s(0)[0])) for branch in self.branches]
        back, ahead = [last], [first]
        for gain, d in zip(gains[::-1], middle[::-1], strict=True):
            back.append(back[-1] + gain * (back[-1] @ p) * d)
        for gain, d in zip(gains, middle, strict=True):
            ahead.append(ahead[-1] + gain * ((d * ahead[-1]) @ p))
        mean = float((first * back[-1]) @ p)
        y, at = _TOP - math.log(mean), _TOP - math.log(float(self.mass))
        rows: list[ComplexArray] = [np.array([y + 0j])]
        for i, (branch, gain, d) in enumerate(zip(self.branches, gains, middle, strict=True)):
            alpha, beta = gain * float(back[len(gains) - 1 - i] @ p), gain * float((d * ahead[i]) @ p)
            v = y + math.log(alpha * beta / gain / float(branch.mass))
            inner = branch.on_negative_axis(logistic(np.array([v + 0j])), 1e-13)[1]
            kappa = (math.log(alpha / beta) + y) / 2
            rows += [np.array([v + 0j]), np.array([kappa + 0j]), *(row.astype(complex) for row in inner)]
        return rows, at

    def mean_log(self, rows: list[ComplexArray]) -> ComplexArray:
        """Return E log(1 - zeta X): the determinant of a channel, and what every branch adds; stationary in both."""
        first, middle, last, p = self._kinds
        blocks = self._blocks(rows)
        parts = [seen(branch, v, inner) for branch, (v, _, *inner) in zip(self.branches, blocks, strict=True)]
        total = sum(inside(branch, v, inner, 2) for branch, (v, _, *inner) in zip(self.branches, blocks, strict=True))
        half = [part[0] + (part[4] - 1j * math.pi) / 2 - part[2] for part in parts]
        x, y = np.ones((rows[0].size, p.size), dtype=complex), -np.exp(rows[0])[:, None] * last
        log_det = np.zeros_like(x)
        for part, (_, kappa, *_), d in zip(half[::-1], blocks[::-1], middle[::-1], strict=True):
            before = x
            x = x - np.exp(part - kappa)[:, None] * y
            y = y - np.exp(part + kappa)[:, None] * d * x
            log_det += np.log(x / before)
        return np.asarray((log_det + np.log(1 - first * y / x)) @ p + total)

    def angles(self, rows: list[ComplexArray]) -> tuple[Array, Array]:
        """Return E arg(1 - zeta X) and the rest of Im y."""
        first = np.abs(self.mean_log(rows).imag)
        return first, float(self.mass) * rows[0].imag - first


def _solve(matrix: ComplexArray, right: ComplexArray) -> ComplexArray:
    """Return the solutions of linear systems, NaN where there is none: at a point that strayed."""
    try:
        return np.asarray(np.linalg.solve(matrix, right))
    except np.linalg.LinAlgError:
        if len(matrix) == 1:
            return np.full(right.shape, np.nan, dtype=complex)
        return np.concatenate([_solve(matrix[i : i + 1], right[i : i + 1]) for i in range(len(matrix))])
