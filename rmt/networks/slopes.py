"""The law of the squared slopes of an activation."""

from __future__ import annotations

from rmt.checks import Number, positive
from rmt.laws.law import Law
from rmt.networks.activations import ActivationFunction, activation


def SquaredSlope(name: str | ActivationFunction, variance: Number = 1.0) -> Law:
    """Return the law of phi'(u)^2, u ~ N(0, variance): the squared entries of an activation's diagonal Jacobian.

    Where all values, nine standard deviations of u, lie within 1e-7 of each other, it is the point mass at their mean.

    Parameters
    ----------
    name : str or activation
        As `rmt.activations` has it, by name too: "relu", "leaky_relu(0.2)".
    variance : float
        Of the preactivation, positive.
    """
    return activation(name).squared_slope(float(positive("variance", variance)))
