"""What a solution of a free sum says, and Newton's step toward it: see `subordination`."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.polynomial.polynomial import polyval
from numpy.typing import NDArray

from rmt.laws.nearest import nearest

if TYPE_CHECKING:
    from rmt.laws.law import Law

Array = NDArray[np.float64]
ComplexArray = NDArray[np.complex128]
BoolArray = NDArray[np.bool_]

GRAIN = 4e-15  # some units of rounding
_APART = 1e-2  # no law's own G is off by more of itself, beyond rounding, where the sum is solved
_KEPT = 1000  # points that a search may start from
_NEAR_ZERO, _TERMS = 0.05, 10  # of |G| times the reach of a law: R is a series there


@dataclass(frozen=True)
class Solution:
    """The solution at a set of z: arrays over z, `at` one row per law without an elementary R.

    `at` is the parameter of the law's `_branch` where z is omega_i.
    """

    g: ComplexArray
    at: ComplexArray

    def __getitem__(self, part: Any) -> Solution:
        return Solution(self.g[part], self.at[:, part])

    def put(self, part: Any, other: Solution) -> None:
        """Overwrite the solution at some of the z."""
        self.g[part], self.at[:, part] = other.g, other.at


class Step(NamedTuple):
    """A step of Newton in every `at` and in G, or in F where G is `large`.

    And that of omega, omega, what z rounds relative to, by how much the rounding of omega moves G, relatively (much,
    next to an atom far from zero), and the residual beyond that.
    """

    at: ComplexArray
    g: ComplexArray
    large: BoolArray
    moves: ComplexArray
    omega: ComplexArray
    reach: Array
    grain: Array
    unmet: Array


class SumEquations:
    """A sum of terms (law, multiplicity): its equations, in G and one parameter of every law."""

    def __init__(self, terms: Sequence[tuple[Law, Any]], rounding: float = 1e-15) -> None:
        self.rounding = rounding  # of a law's G: that of one by a contour is more
        each = [(law, float(n), law.mean(), law.var()) for law, n in terms]
        self.elementary = [(law, n) for law, n, *_ in each if law._elementary_r]
        self.others = [i for i, (law, *_) in enumerate(each) if not law._elementary_r]
        others = [each[i] for i in self.others]
        self.laws = [law for law, *_ in others]
        self.n = np.array([n for _, n, *_ in others])
        self.excess = float(self.n.sum()) - 1
        self.strips = np.array([law._branch_strip for law in self.laws]).reshape(-1, 1)
        self.means = np.array([mean for *_, mean, _ in others]).reshape(-1, 1)
        self.variances = np.array([variance for *_, variance in others]).reshape(-1, 1)
        self.reach = np.array([max(abs(end) for end in law._ends) for law in self.laws]).reshape(-1, 1)
        order = np.arange(1, _TERMS)
        self.slopes_of_r = [order * (law * (1 / reach))._cumulants(_TERMS)[1:]  # of X over its reach
                            for law, reach in zip(self.laws, self.reach[:, 0].tolist(), strict=True)]
        elementary = sum(n * law.var() for law, n in self.elementary)
        counts = self.n - np.eye(len(self.laws))  # of what there is beside one copy of each
        self.without = counts @ self.variances[:, 0] + elementary
        self.mean = sum(n * mean for _, n, mean, _ in each)
        self.unit = math.sqrt(sum(n * variance for _, n, _, variance in each))
        self._last: dict[int, tuple[ComplexArray, ComplexArray]] = {}

    def potential(self, at: Solution) -> ComplexArray:
        """Return U."""
        with np.errstate(divide="ignore", invalid="ignore"):
            log_f = -np.log(np.abs(at.g)) + 1j * np.arctan2(np.abs(at.g.imag), at.g.real)  # 0 <= arg F <= pi
            u = -self.excess * log_f if self.excess else np.zeros_like(at.g)
            for law, n, p in zip(self.laws, self.n, at.at, strict=True):
                u = u + n * law._branch_potential(p)
            return sum((n * law._r_potential(at.g) for law, n in self.elementary), u)

    def slopes(self, at: Solution) -> tuple[ComplexArray, ComplexArray]:
        """Return dz/dG, which vanishes at an edge, and d omega_i / dG."""
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):  # at a zero of G omega is infinite
            seen = self.seen(at.at)
            _, _, along, direct = self.place(at.g, seen)
            _, d_omega, _, dg, _ = seen
            return self.elementary_part(at.g)[0] + direct + (along / dg).sum(0), d_omega / dg

    @np.errstate(divide="ignore", invalid="ignore")
    def slope(self, at: Solution) -> ComplexArray:
        """Return G'."""
        return np.asarray(1 / self.slopes(at)[0])

    def seen(self, at: ComplexArray) -> ComplexArray:
        """Return omega, d omega, G, dG and h = 1/G - omega of every law along its parameter: one row per law each."""
        each = [self._near(i, p) if law._searched else law._branch(p)
                for i, (law, p) in enumerate(zip(self.laws, at, strict=True))]
        return np.array(each, complex).reshape(len(self.laws), 5, at.shape[1]).transpose(1, 0, 2)

    def _near(self, i: int, at: ComplexArray) -> tuple[ComplexArray, ...]:
        """Return what a law is whose every point is a search: from the nearest of those that it was last looked at."""
        near = None
        if i in self._last:
            last, states = self._last[i]
            near = states[:, nearest(at, last)]
        found, state = self.laws[i]._branch_near(at, near)
        known = np.isfinite(state[0])
        if known.any():
            self._last[i] = at[known][:_KEPT], state[:, known][:, :_KEPT]
        return found

    def place(self, g: ComplexArray,
              seen: ComplexArray) -> tuple[ComplexArray, ComplexArray, ComplexArray, ComplexArray]:
        """Return z but for sum n R, as two summands, and its slope along each parameter and in G alone.

        z = sum n_i omega_i - excess F keeps the digits of a small F. Where F is large it loses them, and with j the law
        whose omega_j is the smallest z = omega_j + (h_j - sum n_i h_i) does not: at G = 0 the others are infinite. But
        next to an atom h_i moves by much more than omega_i, which is rounded: it is what rounds the less that is taken.
        """
        omega, d_omega, g_each, dg_each, h = seen
        f = 1 / g
        whole, rest, along, direct = self.n @ omega, -self.excess * f, self.n[:, None] * d_omega, self.excess * f**2
        if self.n.tolist() not in ([], [1.0]):
            away = np.abs(omega - self.means)
            least = np.arange(len(self.laws))[:, None] == away.argmin(axis=0)
            share = least - self.n[:, None]
            series = 4 * self.reach * np.abs(g) < _NEAR_ZERO  # where the difference of dF and d omega has no digits
            by_g, in_reach = np.zeros_like(omega), series.any(axis=0)
            if in_reach.any():
                inner = self.reach * g[in_reach]
                by_g[:, in_reach] = [polyval(part, row) for part, row in zip(inner, self.slopes_of_r, strict=True)]
                by_g *= self.reach**2
            turned = share * np.where(series, by_g * dg_each, d_omega + dg_each / g_each**2)
            size, least_omega = np.abs(omega), np.where(least, omega, 0).sum(0)
            rounds = np.abs(least_omega) + np.abs(share * h).sum(0) + (np.abs(turned / d_omega) * size).sum(0)
            far = rounds < self.n @ size + np.abs(rest)
            along = np.where(far, np.where(least, d_omega, 0) - turned, along)
            whole, rest = np.where(far, least_omega, whole), np.where(far, (share * h).sum(0), rest)
            direct = np.where(far, 0, direct)
        return whole, rest, along, direct

    def elementary_part(self, g: ComplexArray) -> tuple[ComplexArray, ComplexArray]:
        """Return sum n R'(G) and sum n R(G)."""
        slope, shift = np.zeros((2, g.size), complex)
        for law, n in self.elementary:
            r, d = law._r_parts(g)
            shift += n * r
            slope += n * d
        return slope, shift

    def parameters(self, omega: ComplexArray) -> ComplexArray:
        """Return the parameter of every law at its omega."""
        rows = [law._branch_from(w) for law, w in zip(self.laws, omega, strict=True)]
        return np.array(rows, complex).reshape(omega.shape)

    def omegas(self, at: ComplexArray) -> ComplexArray:
        """Return every omega."""
        rows = [law._branch(p)[0] for law, p in zip(self.laws, at, strict=True)]
        return np.array(rows, complex).reshape(at.shape)

    def step(self, z: ComplexArray, g: ComplexArray, at: ComplexArray) -> Step:
        """Return Newton's step at (G, at); in F = 1/G where G is `large`, for there G has poles."""
        large = np.abs(g) * (self.unit + np.abs(z - self.mean)) > 1  # far out F is as good as z
        seen = self.seen(at)
        omega, slopes, g_each, dg_each, _ = seen
        # rows G_i = G: own * step_i - step_G = short; the last: along . steps + last * step_G = rest
        own = np.where(large, -dg_each / g_each**2, dg_each)
        short = np.where(large, 1 / g - 1 / g_each, g - g_each)
        whole, part, along, direct = self.place(g, seen)
        rise, shift = self.elementary_part(g)
        last = (rise + direct) * np.where(large, -(g**2), 1)
        rest = (z - whole) - part - shift  # in this order: next to an edge its rounding is all of the error
        pull = along / own
        step = (rest - (pull * short).sum(0)) / (last + pull.sum(0))
        steps = (short + step) / own
        reach = np.abs(z) + np.abs(shift) + np.abs(whole) + np.abs(part) + self.unit  # what z rounds relative to
        grain = GRAIN * np.abs(omega * dg_each / (slopes * g_each))
        value = np.abs(np.where(large, 1 / g, g))
        beyond = np.maximum(np.abs(short) - grain * value, 0)
        unmet = np.abs(rest) / reach + beyond.sum(0) / np.where(large, reach, reach / self.unit**2)
        apart = np.where(beyond > _APART * value, beyond / value, 0).max(axis=0, initial=0.0)  # F may be tiny
        return Step(steps, step, large, steps * slopes, omega, reach, grain.max(axis=0, initial=0.0), unmet + apart)
