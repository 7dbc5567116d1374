"""Measure the singular values of real torch networks; what is stored loads without torch."""

from typing import Any

from empirical import inputs
from empirical.measurement import Measurement
from empirical.store import Store

__all__ = ["IncompleteError", "Measurement", "SpectrumMonitor", "Store", "batch_jacobian", "build", "describe",
           "inputs", "jacobian", "log_singular_values", "measure", "register", "spectral_density", "weights"]

try:
    from empirical.describe import describe
    from empirical.jacobian import batch_jacobian, jacobian
    from empirical.matrix_free import spectral_density
    from empirical.measure import IncompleteError, measure
    from empirical.modules import build
    from empirical.monitor import SpectrumMonitor
    from empirical.registry import register
    from empirical.singular_values import log_singular_values
    from empirical.weights import weights
except ModuleNotFoundError as error:
    if error.name != "torch":
        raise

    def __getattr__(name: str) -> Any:
        if name in __all__:
            raise ModuleNotFoundError("empirical needs torch to measure: pip install 'rmt[torch]'", name="torch")
        raise AttributeError(f"module 'empirical' has no attribute {name!r}")
