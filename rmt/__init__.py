"""Predict the singular value spectrum of a network's Jacobian from its initialization."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rmt.public import *

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
    "Fraction",
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


def __getattr__(name: str) -> Any:
    """Load the public names when the first is asked for, and a module of the package when it is.

    So what needs no law starts at once (an error of the command line, say), and sympy waits for `rmt.algebraic`.
    """
    if name in __all__:
        public = import_module("rmt.public")
        globals().update({known: getattr(public, known) for known in __all__})
        return globals()[name]
    if not name.startswith("_"):
        try:
            return import_module(f"rmt.{name}")
        except ModuleNotFoundError as error:
            if error.name != f"rmt.{name}":
                raise
    raise AttributeError(f"module 'rmt' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
