"""Predict the singular value spectrum of a network's Jacobian from its initialization."""

from importlib import import_module
from typing import Any

from rmt.agreement import Agreement, compare
from rmt.finite.tracy_widom import TracyWidom
from rmt.laws.errors import ConvergenceError
from rmt.laws.named.bernoulli import Bernoulli
from rmt.laws.named.discrete import Discrete
from rmt.laws.named.empirical import Empirical
from rmt.laws.named.fuss_catalan import FussCatalan
from rmt.laws.named.marchenko_pastur import MarchenkoPastur
from rmt.laws.named.multiplicative_brownian import MultiplicativeBrownian
from rmt.laws.named.point_mass import PointMass
from rmt.laws.named.semicircle import Semicircle
from rmt.laws.views import Spectrum
from rmt.networks import activations, batchnorm, meanfield, schemes
from rmt.networks.convolution import AvgPool2d, Conv2d
from rmt.networks.layers import Activation, Dense, Dropout, Flatten, Scale, UnsupportedStructure
from rmt.networks.network import Network, mlp
from rmt.networks.normalization import BatchNorm, LayerNorm, RMSNorm
from rmt.networks.predict import Prediction, predict
from rmt.networks.residual import Residual
from rmt.networks.slopes import SquaredSlope


def __getattr__(name: str) -> Any:
    """Load the exact side, and sympy with it, when it is first asked for."""
    if name == "algebraic":
        return import_module("rmt.algebraic")
    raise AttributeError(f"module 'rmt' has no attribute {name!r}")


__version__ = "0.1.0"

__all__ = [
    "Activation",
    "Agreement",
    "AvgPool2d",
    "BatchNorm",
    "Bernoulli",
    "Conv2d",
    "ConvergenceError",
    "Dense",
    "Discrete",
    "Dropout",
    "Empirical",
    "Flatten",
    "FussCatalan",
    "LayerNorm",
    "MarchenkoPastur",
    "MultiplicativeBrownian",
    "Network",
    "PointMass",
    "Prediction",
    "RMSNorm",
    "Residual",
    "Scale",
    "Semicircle",
    "Spectrum",
    "SquaredSlope",
    "TracyWidom",
    "UnsupportedStructure",
    "activations",
    "batchnorm",
    "compare",
    "meanfield",
    "mlp",
    "predict",
    "schemes",
]
