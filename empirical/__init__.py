"""Measure the singular values of real torch networks; what is stored loads without torch."""

from typing import Any

from empirical import inputs
from empirical.measurement import Measurement
from empirical.store import Store

__all__ = ["IncompleteError", "Measurement", "Store", "batch_jacobian", "build", "inputs", "jacobian",
           "log_singular_values", "measure"]

try:
    from empirical.jacobian import batch_jacobian, jacobian
    from empirical.measure import IncompleteError, measure
    from empirical.modules import build
    from empirical.singular_values import log_singular_values
except ModuleNotFoundError as error:
    if error.name != "torch":
        raise

    def __getattr__(name: str) -> Any:
        if name in __all__:
            raise ModuleNotFoundError("empirical needs torch to measure: pip install 'rmt[torch]'", name="torch")
        raise AttributeError(f"module 'empirical' has no attribute {name!r}")
