"""What a law is at points: at once what every use needs, and the rest where it is asked for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
ComplexArray = NDArray[np.complex128]


@dataclass(frozen=True, eq=False)
class Local:
    """A distribution at points t.

    Attributes
    ----------
    log_density : array
        Per t.
    state
        From which a nearby t is quicker.
    find_tails : function
        Which returns P(-inf < T <= t) and P(T > t).
    """

    log_density: Array
    state: Any
    find_tails: Callable[[], tuple[Array, Array]]

    @cached_property
    def tails(self) -> tuple[Array, Array]:
        """P(-inf < T <= t) and P(T > t), each with its own digits."""
        return self.find_tails()

    @property
    def lower(self) -> Array:
        """P(-inf < T <= t)."""
        return self.tails[0]

    @property
    def upper(self) -> Array:
        """P(T > t)."""
        return self.tails[1]


@dataclass(frozen=True, eq=False)
class Cauchy:
    """The Cauchy transform of a law at points z of the closed upper half plane.

    Attributes
    ----------
    g : array
        G(z) = E 1/(z - X).
    state
        From which a nearby z is quicker.
    find_slope, find_u : functions
        Which return G'(z), and U(z) = E log(z - X).
    """

    g: ComplexArray
    state: Any
    find_slope: Callable[[], ComplexArray]
    find_u: Callable[[], ComplexArray]

    @cached_property
    def slope(self) -> ComplexArray:
        """G'(z)."""
        return self.find_slope()

    @cached_property
    def u(self) -> ComplexArray:
        """U(z) = E log(z - X)."""
        return self.find_u()

    @staticmethod
    def put(chosen: NDArray[np.bool_], here: Cauchy, there: Cauchy) -> Cauchy:
        """Return both as one: the first where points are chosen, the second elsewhere; without a state."""
        def both(one: ComplexArray, other: ComplexArray) -> ComplexArray:
            out = np.empty(chosen.size, dtype=complex)
            out[chosen], out[~chosen] = one, other
            return out

        return Cauchy(both(here.g, there.g), [], lambda: both(here.slope, there.slope), lambda: both(here.u, there.u))
