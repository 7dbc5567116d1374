"""The free sum's solver: subordination (Voiculescu 1993; Belinschi and Bercovici 2007).

For X = sum of n_i free copies of X_i (n_i real), every X_i is seen from a point omega_i where its Cauchy transform
is that of X: with F = 1/G,

    G_i(omega_i) = G,     sum n_i omega_i - (sum n_i - 1) F = z,     U(z) = sum n_i U_i(omega_i) - (sum n_i - 1) ln F.

A law whose R-transform is elementary needs no omega: it adds n R(G) to z and n V(G) to U, V = G R - int R. In the
open half plane the omega_i are the fixed point of a self-map of the half planes Im omega_i >= Im z, hence unique: a
root with Im omega_i >= Im z is the root, wherever Newton started. What Newton does not find is followed from large
Im z down, and where it strays the map is iterated; on the axis it goes on from just above it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from rmt.laws.errors import ConvergenceError
from rmt.laws.nearest import nearest
from rmt.laws.sum_equations import GRAIN, Solution, SumEquations

if TYPE_CHECKING:
    from rmt.laws.sum_gaps import Outside

Array = NDArray[np.float64]
ComplexArray = NDArray[np.complex128]
BoolArray = NDArray[np.bool_]

# Heights above z, in standard deviations of the sum: the path that always leads down.
_HEIGHTS = 4.0 * 0.25 ** np.arange(27)
_PASTUR, _QUICK = 16, 15
_NO_MASS = 1e-11
_JUMP = 4e-8  # from here Newton mostly reaches the axis; next to an edge it may not
_CLEAR = 1e-5  # of a margin that no density under _REAL has moved
_BESIDE = 1e-3  # by how much G may change, relatively, over the last height
_LARGE, _BESIDE_STRIP = 1e3, 32 * np.spacing(math.pi)  # |G| times the reach of z: an atom may be near
_GRAINY = 1e-6  # of G, where noise may hold more than a density that it hides
_ROUNDING, _SMALL, _REAL = 1e-15, 1e-9, 1e-7


class Subordination(SumEquations):
    """Solves a sum of terms (law, multiplicity) at any z of the closed upper half plane."""

    # ---- the solution at z ----------------------------------------------------------------------------

    def solve(self, z: ComplexArray, outside: Outside | None = None) -> Solution:
        """Return the solution at z, by Newton where that is proved; raise where there is none to working precision.

        Where what is outside the support is known already, Newton starts from that at real z.
        """
        z = z.real + 1j * np.where(z.imag <= _ROUNDING * np.abs(z), 0, z.imag)
        found = Solution(np.empty(z.size, complex), np.empty((len(self.laws), z.size), complex))
        todo = np.arange(z.size)
        if outside is not None and (real := np.flatnonzero((z.imag == 0) & outside.holds(z.real))).size:
            end, done = self._newton(z[real], self._real(*outside.nearly(z[real].real)), _QUICK)
            done &= (np.abs(end.g.imag) <= _SMALL * np.abs(end.g)) & outside.brackets(z[real].real, end.g.real)
            found.put(real[done], end[done])
            if not done.all():
                found.put(real[~done], self._real(*outside.at(z[real[~done]].real)))
            todo = np.setdiff1d(todo, real)
        for guess, heights, rounds in self._attempts(outside) if todo.size else ():
            end = guess(z[todo] + 1j * heights[0] * self.unit)
            for height in heights:
                end, done = self._newton(z[todo] + 1j * height * self.unit, end, rounds)
            while todo.size:  # what is left starts from the nearest that was found
                found.put(todo, end)
                done &= self._proved(z[todo], end)
                solved, todo = np.setdiff1d(np.arange(z.size), todo[~done]), todo[~done]
                if not todo.size or not done.any():
                    break
                near = solved[nearest(z[todo], z[solved])]
                end, done = self._newton(z[todo], found[near], rounds)
            if outside is not None and (there := np.flatnonzero(z[todo].imag == 0)).size:
                end, done = self._from_the_middle(outside, z[todo[there]].real)
                found.put(todo[there[done]], end[done])
                todo = np.delete(todo, there[done])
            if todo.size == 0:
                return self._without_noise(z, found)
            outside = None  # it is tried once
        if todo.size:
            found.put(todo, self._followed_down(z[todo]))
        return self._without_noise(z, found)

    @np.errstate(all="ignore")  # what strays is not proved; between floats z has no distance from an end
    def _from_the_middle(self, outside: Outside, z: Array) -> tuple[Solution, BoolArray]:
        """Return the solution at real z inside bands, from the middle of each, the angle halved to its nearer end.

        What it is there is known, too: between the two it is nearly straight in the angle. And where it is proved, or
        without mass between z and an end and so as there.
        """
        low, high, g, omega, inside = outside.band(z)
        middle = ((low + high) / 2).astype(complex)
        right = z > middle.real
        found, done = self._newton(middle, self._guess_between(outside, middle), 40)
        done &= inside & self._proved(middle, found)
        share = np.clip(np.where(right, high - z, z - low) / (high - low), 0, 0.5)
        goal, angle = 2 * np.arcsin(np.sqrt(share)), np.full(z.size, math.pi / 2)
        while (more := np.flatnonzero(done & (angle > goal))).size:
            before, angle[more] = angle[more], np.maximum(angle[more] / 2, goal[more])
            step = (high - low)[more] * np.sin(angle[more] / 2) ** 2
            at = np.where(right[more], high[more] - step, low[more] + step)
            at = np.where(angle[more] == goal[more], z[more], at)
            start = self._between(g[more], omega[:, more], found[more], angle[more] / before)
            near, done[more] = self._newton(at.astype(complex), start, 40)
            found.put(more, near)
        done &= self._proved(z.astype(complex), found)
        at_end = ~done & inside & (np.minimum(z - low, high - z) * np.abs(g) < _NO_MASS)  # a bound of what lies between
        if at_end.any():
            found.put(at_end, self._real(g[at_end], omega[:, at_end]))
        return found, done | at_end

    @np.errstate(all="ignore")
    def _between(self, g: Array, omega: Array, at: Solution, share: Array) -> Solution:
        """Return the solution at a share of the way from an end, where G and every omega are known, to a solution."""
        ends, f = omega[self.others], np.array([1 / g, 1 / at.g])
        omegas = self.omegas(at.at)
        small = np.abs(f[0]) < self.unit
        g_new = np.where(small, 1 / (f[0] + share * (f[1] - f[0])), g + share * (at.g - g))
        omega_new, h_new = ends + share * (omegas - ends), f[0] - ends + share * (f[1] - omegas - f[0] + ends)
        found = np.where(np.abs(omega_new) < np.abs(h_new), omega_new, 1 / g_new - h_new)
        known = np.isfinite(found).all(axis=0) & np.isfinite(g_new)
        return Solution(np.where(known, g_new, at.g), np.where(known, self.parameters(np.where(known, found, omegas)),
                                                               at.at))

    def _attempts(self, outside: Outside | None
                  ) -> Iterator[tuple[Callable[[ComplexArray], Solution], tuple[float, ...], int]]:
        """Yield Newton's guesses, heights above z at which it is tried, in standard deviations, and its rounds."""
        if outside is not None:
            yield partial(self._guess_between, outside), (0.0,), _QUICK
        yield self._guess, (0.0,), _QUICK
        for i in range(len(self.laws)):
            yield partial(self._guess_near, i), (0.0,), _QUICK
        for i in range(len(self.laws)):
            yield partial(self._guess_mapped, i), (0.0,), _QUICK
        yield self._guess, (1.0, 0.1, 0.0), 40

    def follow(self, z: ComplexArray, state: Sequence[ComplexArray], outside: Outside | None = None) -> Solution:
        """Return the solution at z from the state (G, at_1, ...) of a nearby one, anew where that is lost."""
        found, done = self._newton(z, Solution(state[0], np.array(state[1:], complex).reshape(-1, z.size)), 40)
        done &= self._proved(z, found)
        if not done.all():
            found.put(~done, self.solve(z[~done], outside))
        return self._without_noise(z, found)

    def _without_noise(self, z: ComplexArray, found: Solution) -> Solution:
        """Return solutions, real where next to an atom the rounding of a parameter is all of their imaginary parts.

        Next to the far side of its strip a parameter rounds as that does.
        """
        beside = ((found.at.imag < self.strips) & (self.strips - found.at.imag < _BESIDE_STRIP)).any(axis=0)
        near = beside & (z.imag == 0) & (np.abs(found.g) * (np.abs(z) + self.unit) > _LARGE)
        if near.any():
            g, at = found.g[near], found.at[:, near]
            with np.errstate(all="ignore"):
                grain = self.step(z[near], g, at).grain
            near[near] = noise = (grain > _GRAINY) & (-g.imag <= grain * np.abs(g))
            at.imag = np.where(at.imag > self.strips / 2, self.strips, 0.0)
            found.put(near, Solution(g[noise].real + 0j, at[:, noise]))
        return found

    def _guess(self, z: ComplexArray) -> Solution:
        """Return the solution for semicircles of the same means and variances."""
        # off the axis and the middle: from a real guess Newton stays real, from a symmetric one on the symmetry
        away = z - self.mean + (0.03 + 0.1j) * self.unit
        f = (away + np.sqrt(away - 2 * self.unit) * np.sqrt(away + 2 * self.unit)) / 2
        return Solution(1 / f, self.parameters(f + self.means + self.variances / f))

    def _guess_between(self, outside: Outside, z: ComplexArray) -> Solution:
        """Return arcs between the ends of a band, of G and every omega, at real z inside one; elsewhere semicircles."""
        found = self._guess(z)
        g, omega, inside = outside.arcs(z.real)
        if (inside := inside & (z.imag == 0)).any():
            found.put(inside, Solution(g[inside], self.parameters(omega[self.others][:, inside])))
        return found

    def _guess_near(self, i: int, z: ComplexArray) -> Solution:
        """Return the solution for one law as it is, and one semicircle for all the others: a band next to its atom."""
        variance = self.without[i]
        place = z - (self.mean - float(self.means[i, 0]))
        omega = place + 1j * math.sqrt(variance)
        with np.errstate(all="ignore"):
            for _ in range(_PASTUR):  # Pastur's equation, whose right side maps the upper half plane into itself
                omega = (omega + place - variance * self.laws[i]._branch(self.laws[i]._branch_from(omega))[2]) / 2
            g = self.laws[i]._branch(self.laws[i]._branch_from(omega))[2]
            others = 1 / g + self.means + self.variances * g
        return Solution(g, self.parameters(np.where(np.arange(len(self.laws))[:, None] == i, omega, others)))

    def _guess_mapped(self, i: int, z: ComplexArray) -> Solution:
        """Return that, after some rounds of the self-map."""
        return self._mapped(z, self._guess_near(i, z))

    def _proved(self, z: ComplexArray, found: Solution) -> BoolArray:
        """Return where a solution with Im omega_i >= Im z is certainly the one, on the axis its limit from above.

        That is so clear of the axis, where G is not real, and where it is if z + i0 moves every omega_i up by no less.
        """
        inside = (-found.g.imag * self.unit > _REAL) | (z.imag > _REAL * (np.abs(z) + self.unit))
        valid = np.ones(found.g.size, dtype=bool)
        for law, p in zip(self.laws, found.at, strict=True):
            valid &= law._on_branch(p)
        with np.errstate(all="ignore"):
            dz_dg, rises = self.slopes(found)
            real = (-found.g.imag <= 1e-14 * np.abs(found.g) + 2 * z.imag / np.abs(dz_dg)) & (dz_dg.real < 0)
            thin = ~real & (-found.g.imag <= _REAL * np.abs(found.g)) & (dz_dg.real < 0)  # or nearly so
            margin = np.where(thin, _CLEAR, 1e-9)
            real = (real | thin) & (rises.real <= dz_dg.real * (1 - margin)).all(0)
        return valid & (inside | real)

    def _followed_down(self, z: ComplexArray) -> Solution:
        """Return the solution at z, followed in small steps from large Im z."""
        high = z.real + 1j * np.maximum(z.imag, _HEIGHTS[0] * self.unit) - self.mean
        found = Solution(1 / high, self.parameters(high + self.means))
        todo = np.arange(z.size)
        for height in _HEIGHTS * self.unit:
            if not np.any(height > z.imag[todo]):
                break
            target = z[todo].real + 1j * np.maximum(z[todo].imag, height)
            found.put(todo, self._climb_down(target, found[todo], max(4 * height, z.imag.max())))
            if height < _JUMP * self.unit:
                end, done = self._newton(z[todo], found[todo], 40)
                done &= self._proved(z[todo], end)
                found.put(todo[done], end[done])
                todo = todo[~done]
        if todo.size:
            end, done = self._newton(z[todo], found[todo], 200)
            # so near an edge nothing is proved
            done &= self._proved(z[todo], end) | (np.abs(end.g - found.g[todo]) <= _BESIDE * np.abs(found.g[todo]))
            if not done.all():
                raise ConvergenceError(f"free sum: no subordination at z = {z[todo][~done][0]:.6g}")
            found.put(todo, end)
        return found

    def _real(self, g: Array, omega: Array) -> Solution:
        """Return a solution at real z."""
        return Solution(g.astype(complex), self.parameters(omega[self.others].astype(complex)))

    def _climb_down(self, z: ComplexArray, start: Solution, above: float, tries: int = 8) -> Solution:
        """Return the root at Im z > 0 from one at Im z = above: Newton, in smaller steps where that strays.

        What still strays iterates the self-map, which converges, if slowly.
        """
        at, done = self._newton(z, start, 12)
        todo = np.flatnonzero(~done)
        if todo.size == 0:
            return at
        if tries:
            between = z[todo].real + 1j * np.sqrt(z[todo].imag * above)
            half = self._climb_down(between, start[todo], above, tries - 1)
            at.put(todo, self._climb_down(z[todo], half, float(between.imag.max()), tries - 1))
            return at
        mapped = start[todo]
        for _ in range(200):
            mapped = self._mapped(z[todo], mapped)
            found, done = self._newton(z[todo], mapped, 12)
            if done.all():
                at.put(todo, found)
                return at
        raise ConvergenceError(f"free sum: no subordination at z = {z[todo][0]:.6g}")

    @np.errstate(all="ignore")  # what strays is no start, and Newton says so
    def _mapped(self, z: ComplexArray, at: Solution) -> Solution:
        """Iterate omega_i = z + sum_j n_j h_j - h_i, h = F - omega, on the half planes Im omega_i >= Im z."""
        g = at.g
        omega = self.omegas(at.at)
        omega = omega.real + 1j * np.maximum(omega.imag, z.imag)
        for _ in range(20):
            if not self.laws:
                g = 1 / (z - self.elementary_part(g)[1])
                continue
            each = np.array([law._branch(law._branch_from(w))[2] for law, w in zip(self.laws, omega, strict=True)])
            shifts = 1 / each - omega
            total = z + self.n @ shifts - self.elementary_part(each[0])[1]
            omega, g = total - shifts, 1 / total
        return Solution(g, self.parameters(omega))

    def _newton(self, z: ComplexArray, start: Solution, rounds: int) -> tuple[Solution, BoolArray]:
        """Return G and omega, and where they solve at z with Im omega_i >= Im z."""
        found, done = Solution(start.g.copy(), start.at.copy()), np.zeros(z.size, dtype=bool)
        todo, g, at, last = np.arange(z.size), found.g, found.at, np.full(z.size, np.inf)
        with np.errstate(all="ignore"):
            for _ in range(rounds):
                steps, step, large, moves, omega, reach, grain, unmet = self.step(z, g, at)
                value = np.where(large, 1 / g, g)
                change = (np.abs(moves) / (reach + np.abs(omega))).sum(0) + np.abs(step) / (np.abs(value) + np.where(
                    large, 0, 1e-3 / self.unit))
                # a law's own G may round more than _ROUNDING: then Newton's steps, once small, shrink no more
                small = (change <= _SMALL + grain) | (unmet <= self.rounding)
                settled = ((change <= _ROUNDING) | (small & (change >= 0.5 * last))) & (unmet <= _SMALL)
                if settled.any():
                    room = 1e-6 * z.imag + 1e-13 * self.unit + 16 * GRAIN * np.abs(omega)
                    settled &= (omega.imag >= z.imag - room).all(0)
                if (off := z.imag > 1e-13 * self.unit).any():  # not below the half planes at once
                    room = np.where(off, 0.75 * omega.imag, np.inf)
                    share = np.where(-moves.imag > room, room / -moves.imag, 1.0).min(axis=0, initial=1.0)
                    steps, step, settled = share * steps, share * step, settled & (share == 1)
                if not (ok := np.isfinite(change)).all():
                    steps, step, settled = np.where(ok, steps, 0), np.where(ok, step, 0), settled & ok
                value = value + step
                g, at, last = np.where(large, 1 / value, value), at + steps, change
                at.imag = np.minimum(np.maximum(at.imag, 0.0), self.strips)
                g.imag = np.minimum(g.imag, 0.0)
                if settled.any():
                    found.put(todo, Solution(g, at))
                    done[todo] = settled
                    left = ~settled
                    todo, z, g, at, last = todo[left], z[left], g[left], at[:, left], last[left]
                    if todo.size == 0:
                        return found, done
        found.put(todo, Solution(g, at))
        return found, done
