"""Laws on x >= 0, eigenvalues of J^T J: everything from the master curve, with ln x as the coordinate."""

from __future__ import annotations

import math
from abc import abstractmethod
from fractions import Fraction
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rmt.laws import series
from rmt.laws.atoms import positive_atoms
from rmt.laws.distribution import Array
from rmt.laws.edges import between_gaps, cut, has_gaps, is_known_outside, log_support
from rmt.laws.law import Law
from rmt.laws.located import Cauchy, Local
from rmt.laws.logistic import sigmoids
from rmt.laws.master_curve import ComplexArray, MasterCurve, upper
from rmt.laws.product_gaps import Outside, outside
from rmt.laws.rational import log_of

_NEAR = 1e-6, 1e-7, 3e-8, 1e-8  # of a band, at most of ln x: nearer to an atom w^2 times rounding is some density
_LEAST, _PART = 4e-9, 1e-3  # of ln x: nearer, a sum as a factor has no digits; and of the band, at most
_BENT = 0.1, 0.1, 0.3, 0.3  # by how much of itself a density changes there that is not flat: nearer, it has noise
_NO_MASS = 1e-8  # next to an atom, however the density bends
_MOST = 0.9  # of a density that is lost toward the atom: it stays one
_WIDE = 1e-6  # a band in ln x
_POWERS = 0.25, 2.0  # of the distance, as which a density may bend
_SHEET = 1e-6  # how far rounding may carry arg x out of [0, pi]; the next sheet is pi away


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
        if not self._between:
            return log_support(self.curve)
        places = [log_of(x) for x, _ in positive_atoms(self.curve)]
        return tuple(part for band, _ in self._between if band[0] < band[1] for part in cut(band, places))

    @cached_property
    def _between(self) -> tuple[tuple[tuple[float, float], float], ...]:
        """Those of ln x, of products whose psi are explicit."""
        found = self._outside if has_gaps(self.curve) else None
        return between_gaps(self.curve, found.gaps) if found else ()

    @cached_property
    def _outside(self) -> Outside | None:
        """All that is outside, where it `is_known_outside`."""
        return outside(self.curve) if is_known_outside(self.curve) else None

    @cached_property
    def _points(self) -> tuple[tuple[float, float], ...]:
        return tuple((log_of(x) if x else -math.inf, float(mass)) for x, mass in self._point_masses)

    @cached_property
    def _point_masses(self) -> tuple[tuple[Fraction, Fraction], ...]:
        zero = 1 - self.curve.mass
        return (((Fraction(0), zero),) if zero else ()) + positive_atoms(self.curve)

    @property
    def _rate(self) -> float:
        if math.isfinite(self._bands[0][0]):
            return 1.0  # there is no hard edge
        return 45 / (self._bands[0][1] - self.curve.log_x_at_bottom)  # where it begins is far from where its power does

    @property
    def _dear(self) -> bool:
        return self.curve.noisy

    @property
    def _rounding(self) -> float:
        return 1e-12 if self._dear else 1e-15 * max(1.0, sum(float(k) for *_, k in self.curve.slopes) / 2)

    def _at(self, t: Array, state: Any = None) -> Local:
        """Return what `_local` does; so near an atom that its w drowns the density, from a little further away."""
        step, more, held = self._away(t)
        v, y = self.curve.root((t + step).astype(complex), state)
        log_density = self.curve.log_im_w(v) - math.log(math.pi)
        if not step.any():
            return Local(log_density, [v, *y], lambda: self.curve.tails(v, y))

        def tails() -> tuple[Array, Array]:
            lower, upper = self.curve.tails(v, y)
            between = np.where(step, np.exp(log_density) * step + held, 0.0)
            return lower - between, upper + between

        with np.errstate(divide="ignore"):
            return Local(np.where(step, np.log(np.exp(log_density) + more), log_density), [v, *y], tails)

    def _away(self, t: Array) -> tuple[Array, Array, Array]:
        """Return the step from points too near to an atom that a band reaches to where they are not, else 0.

        And by how much the density is more at the points, and what that more holds along the step.
        """
        found = np.zeros((3, t.size))
        for end, near, rise, power in self._atom_ends if self.curve.slopes and "_bands" in vars(self) else ():
            gone = (t - end) / near
            there = (gone > 0) & (gone < 1)
            left = 1 - gone[there]
            held = left - (1 - gone[there] ** (power + 1)) / (power + 1)
            found[:, there] = near * left, rise * (1 - gone[there] ** power), near * rise * held
        return found[0], found[1], found[2]

    @cached_property
    def _atom_ends(self) -> list[tuple[float, float, float, float]]:
        """Where wide bands reach atoms, how far (> 0: above) from these the density, there nearly flat, has digits.

        And rise and power: at a share s of that distance it is more by rise (1 - s^power), as it is two and four times
        as far.
        """
        atoms, found = {place for place, _ in self._points if math.isfinite(place)}, []
        ends = [(end, side * min(1.0, high - low)) for low, high in self._bands if high - low > _WIDE
                for end, side in ((low, 1.0), (high, -1.0)) if end in atoms]
        least = _LEAST if any(law.rows > 1 for law, *_ in self.curve.slopes) else 0.0
        for near, bent in zip(_NEAR, _BENT, strict=True) if ends else ():
            at, width = np.array(ends).T
            steps = np.sign(width) * np.maximum(near * np.abs(width), np.minimum(least, _PART * np.abs(width)))
            roots = [self.curve.solve((at + far * steps).astype(complex))[0] for far in (1, 2, 4)]
            once, twice, again = (np.exp(self.curve.log_im_w(v)) / math.pi for v in roots)
            with np.errstate(all="ignore"):
                power = np.clip(np.nan_to_num(np.log2((again - twice) / (twice - once)), nan=1.0), *_POWERS)
            empty = np.maximum(once, twice) * np.abs(steps) < _NO_MASS
            flat = (np.abs(twice - once) < bent * once) | empty
            rise = np.where(empty, 0.0, np.maximum((once - twice) / (2**power - 1), -_MOST * once))
            found += list(zip(at[flat].tolist(), steps[flat].tolist(), rise[flat].tolist(), power[flat].tolist(),
                              strict=True))
            ends = [one for one, keep in zip(ends, flat, strict=True) if not keep]
            if not ends:
                break
        return found

    # The parameter is v, along which a curve without slopes is explicit; of a law that is given by its psi alone it is
    # y, of a curve with more no parameter saves the root, and it is z.

    def _branch_from(self, omega: ComplexArray) -> ComplexArray:
        if self.curve.alone:
            return self.curve.log_scale + 1j * math.pi - np.log(omega)
        return omega if self.curve.slopes else self.curve.solve(np.log(upper(omega)))[0]

    @property
    def _branch_strip(self) -> float:
        return math.pi if self.curve.alone or not self.curve.slopes else math.inf

    def _branch(self, at: ComplexArray) -> tuple[ComplexArray, ...]:
        """Return z, dz, G, dG and h = 1/G - z = -z w / (1 + w) along the parameter."""
        if self.curve.alone:
            v, slope = self.curve.alone.logit(at)
            log_z, d_log_z = self.curve.log_scale + 1j * math.pi - at, np.full_like(at, -1)
        elif self.curve.slopes:
            return self._branch_near(at, None)[0]
        else:
            v, slope = at, np.ones_like(at)
            log_z, d_log_z = self.curve.log_x(at, [])
        mass, z = float(self.curve.mass), np.exp(log_z)
        s, rest = sigmoids(v)
        z_g = (1 - mass) + mass * rest  # 1 + w
        dw = -mass * s * rest * slope
        return z, z * d_log_z, z_g / z, (dw - z_g * d_log_z) / z, mass * s * z / z_g

    @property
    def _searched(self) -> bool:
        return bool(self.curve.slopes) and not self.curve.alone

    def _branch_near(self, at: ComplexArray, state: Any) -> tuple[tuple[ComplexArray, ...], Any]:
        """Return what `_branch` does; in a known gap without a search, its state NaN.

        All is NaN outside the bands where no gap holds a point: at its very ends, within rounding of an atom.
        """
        if not self._searched:
            return super()._branch_near(at, state)
        found = np.full((5, at.size), np.nan, dtype=complex)
        rows = np.full((1 + sum(law.rows for law, *_ in self.curve.slopes), at.size), np.nan, dtype=complex)
        known, lost = np.zeros(at.size, dtype=bool), np.isnan(at)
        if (real := (at.imag == 0) & (at.real > 0)).any() and (outside := self._outside):
            log_x = np.log(at[real].real)
            known[real] = outside.holds(log_x)
            lost[real] = ~(known[real] | self._inside(log_x))
            x, (_, w, beyond, rate) = at[known].real, outside.at(np.log(at[known].real))
            found[:, known] = x, np.ones_like(x), beyond / x, (rate - beyond) / x**2, -x * w / beyond
        if (rest := ~(known | lost)).any():
            z = upper(at[rest])
            v, y = self.curve.root(np.log(z), None if state is None else [row[rest] for row in state])
            z_g, slope = self.curve.transform(v, y)
            h = float(self.curve.mass) * sigmoids(v)[0] * z / z_g
            found[:, rest] = z, np.ones_like(z), z_g / z, slope / z**2, h
            rows[:, rest] = v, *y
        return tuple(found), rows

    def _on_branch(self, at: ComplexArray) -> NDArray[np.bool_]:
        if self.curve.slopes:
            return super()._on_branch(at)
        log_x, slope = self.curve.log_x(at, [])
        inside = np.minimum(at.imag, math.pi - at.imag) > _SHEET  # a real v is the law's where x falls with it
        return (log_x.imag >= -_SHEET) & (log_x.imag <= math.pi + _SHEET) & (inside | (slope.real < 0))

    def _branch_potential(self, at: ComplexArray) -> ComplexArray:
        if self.curve.alone:
            return self.curve.log_scale + 1j * math.pi - at + self.curve.alone.mean_log([at])
        if self.curve.slopes:
            return super()._branch_potential(at)
        log_z = self.curve.log_x(at, [])[0]
        return log_z + self.curve.potential(log_z, at, [])

    def _cauchy(self, z: ComplexArray, state: Any = None) -> Cauchy:
        return self.curve.cauchy(z, state)

    @property
    def _elementary_r(self) -> bool:
        return self.curve.one_gaussian

    @cached_property
    def _gaussian(self) -> tuple[float, float]:
        """Scale s and dimension m of one Gaussian matrix, 1/S = s (1 + w/m)."""
        return math.exp(self.curve.log_scale), float(self.curve.powers[0][0])

    def _r_parts(self, g: ComplexArray) -> tuple[ComplexArray, ComplexArray]:
        """Of one Gaussian matrix R = s / (1 - s g/m)."""
        s, m = self._gaussian
        r = s / (1 - s / m * g)
        return r, r**2 / m

    def _r_potential(self, g: ComplexArray) -> ComplexArray:
        s, m = self._gaussian
        u = 1 - s / m * g
        return s * g / u + m * np.log(u)

    def _cumulants(self, n: int) -> Array:
        log_inverse_s = self.curve.log_inverse_s(n)  # k_n = [w^(n-1)] S^-n / n (Lagrange)
        return np.array([series.exp(k * log_inverse_s[:k])[k - 1] / k for k in range(1, n + 1)])

    def _t(self, x: Array) -> Array:
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.log(x)

    def _x(self, t: Array) -> Array:
        return np.exp(t)

    def _log_dx_dt(self, t: Array) -> Array:
        return t

    def _x_gap(self, t: float, step: Array) -> Array:
        return math.exp(t) * np.expm1(step)

    def _t_of_log(self, log_x: Array) -> Array:
        return log_x

    def _log_x(self, t: Array) -> Array:
        return t

    def mean(self) -> float:
        """Return E X."""
        return self._moment(1)

    def _moment(self, k: int) -> float:
        """Return E X^k by Lagrange inversion of the S-transform."""
        if k == 0:
            return 1.0
        log_inverse_s = self.curve.log_inverse_s(k)
        return math.exp(k * log_inverse_s[0]) * series.moment_over_scale(log_inverse_s, k)

    def var(self) -> float:
        """Return the variance, mean^2 (-S'(0)/S(0)), which adds over free factors."""
        log_inverse_s = self.curve.log_inverse_s(1)
        return math.exp(2 * log_inverse_s[0]) * float(log_inverse_s[1])
