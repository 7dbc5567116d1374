"""The Tracy-Widom laws at 50 digits: Painleve II from the right by Taylor series (Tracy and Widom 1994, 1996)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

import mpmath as mp
from scipy.optimize import brentq

DIGITS = 80  # the solution loses 13 of them on its way to -10
STEP, TERMS = 0.125, 56
RIGHT, LEFT = 24.0, -10.0  # at 24 the solution is Airy's function to 1e-68


@cache
def _pieces() -> tuple[tuple[Any, ...], ...]:
    """Return the Taylor series at RIGHT - k STEP of q'' = s q + 2 q^3, and of its integrals from s to infinity.

    They are q, A = int q, B = int q^2 and R = int (x - s) q^2.
    """
    with mp.workdps(DIGITS):
        s, h = mp.mpf(RIGHT), mp.mpf(STEP)
        ai, slope = mp.airyai(s), mp.airyai(s, derivative=1)
        state = [ai, slope, mp.mpf(1) / 3 - mp.airyai(s, derivative=-1), slope**2 - s * ai**2,
                 (2 * s**2 * ai**2 - 2 * s * slope**2 - ai * slope) / 3]
        pieces = []
        while s > LEFT:
            q, squares = [state[0], state[1]], []
            for n in range(TERMS):
                squares.append(mp.fsum(q[i] * q[n - i] for i in range(n + 1)))
                cube = mp.fsum(squares[i] * q[n - i] for i in range(n + 1))
                q.append((s * q[n] + (q[n - 1] if n else 0) + 2 * cube) / ((n + 1) * (n + 2)))
            a, b = _integral(state[2], q[:TERMS]), _integral(state[3], squares)
            r = _integral(state[4], b)
            pieces.append((q[::-1], a[::-1], b[::-1], r[::-1]))
            prime = [n * c for n, c in enumerate(q)][:0:-1]
            state = [mp.polyval(p, -h) for p in (q[::-1], prime, a[::-1], b[::-1], r[::-1])]
            s -= h
        return tuple(pieces)


def _integral(start: Any, series: list[Any]) -> list[Any]:
    """Return the series of F with F' = -f."""
    return [start, *(-c / (n + 1) for n, c in enumerate(series))]


@dataclass(frozen=True)
class TracyWidom:
    """F2 = e^-R, F1 = sqrt(F2) e^(-A/2), F4 = sqrt(F2) cosh(A/2) at sqrt 2 s: means -1.77, -1.21, -2.31."""

    beta: int
    atom = 0.0
    signed = True

    def values(self, x: Any) -> tuple[Any, Any]:
        with mp.workdps(DIGITS):
            scale = mp.sqrt(2) if self.beta == 4 else mp.mpf(1)
            s = scale * x
            k = int(mp.floor((RIGHT - s) / STEP))
            q, a, b, r = (mp.polyval(c, s - (RIGHT - k * mp.mpf(STEP))) for c in _pieces()[k])
            if self.beta == 2:
                return b * mp.exp(-r), mp.exp(-r)
            if self.beta == 1:
                return (b + q) / 2 * mp.exp(-(r + a) / 2), mp.exp(-(r + a) / 2)
            cosh, sinh = mp.cosh(a / 2), mp.sinh(a / 2)
            return scale * (b * cosh - q * sinh) / 2 * mp.exp(-r / 2), cosh * mp.exp(-r / 2)

    def quantile(self, q: float) -> Any:
        with mp.workdps(DIGITS):
            x = mp.mpf(brentq(lambda s: float(self.values(s)[1] - q), -7, 12, xtol=1e-12))
            for _ in range(4):
                pdf, cdf = self.values(x)
                x -= (cdf - mp.mpf(q)) / pdf
            return x
