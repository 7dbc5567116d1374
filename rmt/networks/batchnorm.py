"""Batch normalization in training mode: how a gradient grows from layer to layer at initialization."""

from __future__ import annotations

import math

from rmt.checks import Number, integer
from rmt.networks.activations import ActivationFunction, activation, linear, relu

_LEAST = 4  # samples: with three the batch has one direction left, and the formulas a pole


def gradient_growth(name: str | ActivationFunction, batch: Number) -> float:
    """Return the factor by which the mean squared gradient grows per layer, going backwards.

    For a deep network of wide layers, each batch normalization behind a linear layer and before the activation, at the
    fixed point of the batch's correlations. Without batch normalization it is 1 at criticality.

    Parameters
    ----------
    name : str or activation
        As `rmt.activations` has it, by name too.
    batch : int or inf
        Samples in a batch, at least 4: linear (B - 2)/(B - 3), ReLU by Yang et al. (2019, Theorem 8). Other activations
        need math.inf: E phi'(z)^2 / Var phi(z), z ~ N(0, 1).

    Raises
    ------
    ValueError
        For a finite batch with an activation other than linear or ReLU: the formula is not known.
    """
    phi = activation(name)
    if batch == math.inf:
        return float(phi.slope_cross(1.0, 1.0) / (phi.cross(1.0, 1.0) - phi.mean(1.0) ** 2))
    b = integer("batch", batch, _LEAST)
    if phi == linear:
        return (b - 2) / (b - 3)
    if phi != relu:
        raise ValueError(f"batch must be math.inf for {phi}: a finite one is known for linear and relu, got {batch!r}")
    c = -1 / (b - 1)  # correlation of two samples of a centred batch
    angle = math.pi - math.acos(c)
    j, slope = (math.sqrt(1 - c**2) + angle * c) / math.pi, angle / math.pi
    return (slope + b - 1) / ((b - 3) * (1 - j)) - 1 / (b - 3)
