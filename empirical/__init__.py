"""Measure the singular values of real torch networks."""

try:
    import torch as _torch  # noqa: F401
except ModuleNotFoundError as error:
    raise ModuleNotFoundError("empirical needs torch: pip install 'rmt[torch]'", name="torch") from error

from empirical import inputs
from empirical.jacobian import batch_jacobian, jacobian
from empirical.measure import measure
from empirical.measurement import Measurement
from empirical.modules import build
from empirical.singular_values import log_singular_values

__all__ = ["Measurement", "batch_jacobian", "build", "inputs", "jacobian", "log_singular_values", "measure"]
