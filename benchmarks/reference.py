"""The laws once more, at 50 digits and by other roads than `rmt` takes: what `make bench` and `make accuracy` judge by.

A law is a curve: a parameter p gives z(p), the Cauchy transform g(p) and the log-potential U(p) = E log(z - X), so that
P(X > x) = Im U / pi and density = -Im g / pi at z = x + i0. The root p is followed in floats down the line x + iy from
far above the axis, where it is known, and polished by Newton's method in mpmath.
"""

from __future__ import annotations

import cmath
import math
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, NamedTuple, Protocol

import mpmath as mp
from scipy.optimize import brentq

DIGITS = 50
Log = Callable[[Any], Any]


class Point(NamedTuple):
    """What a curve says at a parameter: z, dz/dp, Cauchy transform, log-potential."""

    z: Any
    slope: Any
    g: Any
    u: Any


class Reference(Protocol):
    """A law that can be asked for one value at a time."""

    atom: float  # mass below the continuous part
    signed: bool  # has values of both signs

    def values(self, x: float) -> tuple[Any, Any]:
        """Return (pdf, cdf) at x."""

    def quantile(self, q: float) -> Any:
        """Return x with cdf(x) = q."""


@dataclass(frozen=True)
class Curve:
    """A law by its curve; subclasses give `at`, generic in floats and mpmath, and `far`."""

    atom: float = 0.0
    signed: bool = False

    def at(self, p: Any, log: Log) -> Point:
        raise NotImplementedError

    def far(self, z: complex) -> complex:
        """Return the parameter at a z far from the support, nearly."""
        raise NotImplementedError

    def _floats(self, x: float) -> complex:
        """Return the parameter at x + i0, to what floats give."""
        height = 64.0 * max(1.0, abs(x))
        p = self.far(x + 1j * height)
        while height > 0:
            for _ in range(40):
                point = self.at(p, cmath.log)
                step = (point.z - (x + 1j * height)) / point.slope
                p -= step
                if abs(step) < 1e-13 * abs(p):
                    break
            floor = 1e-8 * (1.0 if self.signed else min(1.0, x))
            height = height / 1.5 if height > floor else 0.0
        return p

    def _polished(self, x: Any, p: Any) -> tuple[Any, Point]:
        for _ in range(12):
            point = self.at(p, mp.log)
            step = (point.z - x) / point.slope
            p -= step
            if abs(step) < abs(p) * mp.mpf(10) ** -(DIGITS // 2 + 5):  # the next error is the square of this
                return p, self.at(p, mp.log)
        raise ArithmeticError(f"{self!r}: no root at x = {x}")

    def values(self, x: float) -> tuple[Any, Any]:
        with mp.workdps(DIGITS + 15):
            _, point = self._polished(mp.mpf(x), mp.mpc(self._floats(x)))
            return -point.g.imag / mp.pi, 1 - point.u.imag / mp.pi

    def quantile(self, q: float) -> Any:
        def excess(t: float) -> float:
            x = t if self.signed else cmath.exp(t).real
            return 1 - self.at(self._floats(x), cmath.log).u.imag / cmath.pi - q

        t = brentq(excess, *((-12, 12) if self.signed else (-30, 6)), xtol=1e-13)
        x = mp.mpf(t) if self.signed else mp.exp(t)
        p = mp.mpc(self._floats(float(x)))
        with mp.workdps(DIGITS + 15):
            for _ in range(20):
                p, point = self._polished(x, p)
                step = (1 - point.u.imag / mp.pi - q) / (-point.g.imag / mp.pi)
                x -= step
                if abs(step) < abs(x) * mp.mpf(10) ** -DIGITS or abs(step) < mp.mpf(10) ** -(DIGITS + 10):
                    return x
        raise ArithmeticError(f"{self!r}: no quantile at q = {q}")


@dataclass(frozen=True)
class FreeLevy(Curve):
    """R(g) = variance g + sum rate jump / (1 - jump g): a semicircle plus free Poisson laws; p = g.

    Marchenko-Pastur(c) is the rate 1/c and the jump c. Marchenko-Pastur(c) times a law of values t is, but for zeros,
    the rates c P(t) and the jumps t: that law and a share 1 - `part` = 1 - c of zeros.
    """

    jumps: tuple[tuple[Fraction, Fraction], ...] = ()
    variance: int = 0
    part: Fraction = Fraction(1)

    def at(self, p: Any, log: Log) -> Point:
        z, slope, u = 1 / p + self.variance * p, self.variance - 1 / p**2, -1 - log(p) - self.variance * p**2 / 2
        for rate, jump in self.jumps:
            r, t = _number(rate, p), _number(jump, p)
            z, slope = z + r * t / (1 - t * p), slope + r * (t / (1 - t * p)) ** 2
            u = u + r * log(1 - t * p)
        part = _number(self.part, p)
        return Point(z, slope, (p - (1 - part) / z) / part, (u + z * p - (1 - part) * log(z)) / part)

    def far(self, z: complex) -> complex:
        return 1 / z


@dataclass(frozen=True)
class DiscretePlusSemicircle(Curve):
    """Finitely many values plus a semicircle of variance 1; p is the subordinate point z - g."""

    points: tuple[tuple[int, Fraction], ...] = ()

    def at(self, p: Any, log: Log) -> Point:
        pairs = [(value, _number(weight, p)) for value, weight in self.points]
        g = sum(weight / (p - value) for value, weight in pairs)
        slope = 1 - sum(weight / (p - value) ** 2 for value, weight in pairs)
        return Point(p + g, slope, g, sum(weight * log(p - value) for value, weight in pairs) + g**2 / 2)

    def far(self, z: complex) -> complex:
        return z


@dataclass(frozen=True)
class Product(Curve):
    """z = scale (1 + a w)^k .../ w: products of free laws by their S-transforms; p = w = z g - 1."""

    scale: Fraction = Fraction(1)
    factors: tuple[tuple[Fraction, int], ...] = ()

    def at(self, p: Any, log: Log) -> Point:
        z = _number(self.scale, p) / p
        slope, phi = -1 / p, p * (log(_number(self.scale, p)) - log(p) + 1)
        for fraction, power in self.factors:
            a = _number(fraction, p)
            z, slope = z * (1 + a * p) ** power, slope + power * a / (1 + a * p)
            phi = phi + power * ((1 + a * p) * log(1 + a * p) / a - p)
        return Point(z, z * slope, (1 + p) / z, (1 + p) * log(z) - phi)

    def far(self, z: complex) -> complex:
        return float(self.scale) / z


@dataclass(frozen=True)
class FussCatalan:
    """By the angle f: x = sin^(L+1)((L+1)f) / (sin f sin^L(L f)); in ln x where `log`, which no depth empties."""

    depth: int
    log: bool = False
    atom = 0.0

    @property
    def signed(self) -> bool:
        return self.log

    def _at(self, d: Any, m: Any = mp) -> tuple[Any, Any, Any]:
        """Return (ln x, density of ln x, P(X > x)) at f = pi/(L+1) - d, in the arithmetic of mpmath or math."""
        n = self.depth
        f = m.pi / (n + 1) - d
        top, low, inner = m.sin((n + 1) * d), m.sin(f), m.sin(n * f)  # sin((L+1) f) = sin((L+1) d)
        log_x = (n + 1) * m.log(top) - m.log(low) - n * m.log(inner)
        w, one = low / inner, top / inner  # moduli of w and 1 + w, whose angles are (L+1) f and f
        w_real, w_imag, one_real, one_imag = w * m.cos((n + 1) * f), w * top, one * m.cos(f), one * low
        phi = (n + 1) * (one_real * f + one_imag * m.log(one) - w_imag)
        phi += w_imag - (w_real * (n + 1) * f + w_imag * m.log(w))
        return log_x, top * low / (m.pi * inner), (phi - w_imag * log_x) / m.pi

    def _solve(self, goal: Callable[[Any, Any], Any]) -> Any:
        """Return d with goal(d) = 0."""
        start = brentq(lambda s: goal(math.exp(s), math), -75, math.log(math.pi / (self.depth + 1)) - 1e-12)
        pair = mp.mpf(start), mp.mpf(start) + mp.mpf(10) ** -9
        return mp.exp(mp.findroot(lambda s: goal(mp.exp(s), mp), pair, solver="secant", verify=False))

    def values(self, x: float) -> tuple[Any, Any]:
        with mp.workdps(DIGITS + 15):
            y = mp.mpf(x) if self.log else mp.log(mp.mpf(x))
            _, density, tail = self._at(self._solve(lambda d, m: self._at(d, m)[0] - (y if m is mp else float(y))))
            return density if self.log else density / mp.exp(y), 1 - tail

    def quantile(self, q: float) -> Any:
        with mp.workdps(DIGITS + 15):
            upper = 1 - mp.mpf(q)
            y = self._at(self._solve(lambda d, m: (upper if m is mp else 1 - q) - self._at(d, m)[2]))[0]
            return y if self.log else mp.exp(y)


@dataclass(frozen=True)
class Arcsine:
    """coin + coin, in closed form on (-2, 2)."""

    atom = 0.0
    signed = True

    def values(self, x: float) -> tuple[Any, Any]:
        with mp.workdps(DIGITS + 15):
            return 1 / (mp.pi * mp.sqrt(4 - mp.mpf(x) ** 2)), mp.mpf(1) / 2 + mp.asin(mp.mpf(x) / 2) / mp.pi

    def quantile(self, q: float) -> Any:
        with mp.workdps(DIGITS + 15):
            return -2 * mp.cos(mp.pi * mp.mpf(q))


def marchenko_pastur(ratio: Fraction) -> FreeLevy:
    """Return the Marchenko-Pastur law."""
    return FreeLevy(max(0.0, float(1 - 1 / ratio)), jumps=((1 / ratio, ratio),))


def _number(fraction: Fraction, like: Any) -> Any:
    """Return a fraction in the arithmetic of a parameter."""
    return float(fraction) if isinstance(like, complex) else mp.mpf(fraction.numerator) / fraction.denominator
