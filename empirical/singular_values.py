"""Singular values of the Jacobian of a module: by an SVD where it sees them all, else through the accurate chain."""

from __future__ import annotations

import math
import warnings
from contextlib import suppress
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from empirical import graph
from empirical.apart import likely_apart
from empirical.as_found import as_found
from empirical.calls import Batch, each, entry
from empirical.checks import check_inputs, check_module
from empirical.cut import Between
from empirical.graph import Untraceable
from empirical.jacobian import Output, formed
from empirical.precision import in_double, rounding
from empirical.qr_chain import chain_log_singular_values
from empirical.stages import TooLong, factors, product, rounding_of
from empirical.underflow import Underflow, in_forward, smallest
from empirical.unwrapped import opened
from rmt.checks import number

Array = NDArray[np.float64]

_UNITS = 4e10  # of rounding: what is so far above them an SVD has to 1e-10
_SINGLE = 1e-2  # relative: what single precision may change where nothing underflows
_LOW = math.log(1e-6)  # of the largest value, under which it is asked whether all is rounding
COARSE = 1e3  # of rounding, or as many as there are values: enough to show where a value is


def log_singular_values(module: nn.Module, x: Batch, between: Between | None = None, output: Output = None,
                        wrt: str | None = None, seconds: float = 60.0) -> Array:
    """Return ln of the singular values of the Jacobian at every sample, (batch, inputs), descending.

    Exact zeros are -inf, and pad the row where there are fewer outputs than inputs. An SVD of the Jacobian is taken
    first; only if it does not resolve every value the module is read as stages, each with a Jacobian of its own, and
    goes through the accurate chain. A module of single precision is measured as its copy in double, in which its
    weights are exact; of one that rounds its signal to single inside, values have the digits of that.

    Parameters
    ----------
    module, x, between, output, wrt
        As of `empirical.jacobian`, with its errors.
    seconds : float
        What the chain may take, by an estimate from the sizes of the stages; math.inf for whatever it takes.

    Warns
    -----
    UserWarning
        Where the module cannot be split, or its chain would take longer than `seconds`: values under the resolution of
        a float64 SVD are put at it, and the warning says what stands in the way. Where a module of single precision
        underflows in its own forward: the warning names the layer.
    """
    values = measured(module, x, between, output, wrt, seconds=_seconds(seconds))
    if values.underflow:
        warnings.warn(f"its own forward underflows, and a copy in double precision was measured: {values.underflow}",
                      stacklevel=2)
    if values.unresolved.any():
        warnings.warn("singular values under the resolution of a float64 SVD were put at it, for the module was "
                      f"measured whole: {values.whole}", stacklevel=2)
    return values.logs


def _seconds(value: float) -> float:
    return math.inf if value == math.inf else float(number("seconds", value, 0))


class Values(NamedTuple):
    """Singular values, and how far they are known.

    Attributes
    ----------
    logs : array (batch, inputs)
        ln s, descending.
    resolution : array (batch,)
        Its ln; -inf where every value is accurate.
    whole : str
        Why the module was measured whole.
    underflow : str
        Where a module of single precision, measured as its copy in double, underflows in its own forward.
    """

    logs: Array
    resolution: Array
    whole: str
    underflow: str = ""

    @property
    def unresolved(self) -> NDArray[np.bool_]:
        """Which values are only known to lie at or under the resolution; exact zeros are known."""
        return np.isfinite(self.logs) & (self.logs <= self.resolution[:, None])


def measured(module: nn.Module, x: Batch, between: Between | None = None, output: Output = None,
             wrt: str | None = None, units: float = _UNITS, seconds: float = math.inf) -> Values:
    """Return `log_singular_values`, with what is known of their accuracy."""
    check_module(module)
    check_inputs(x)
    module, between = opened(module, between)
    twin = in_double(module, x, wrt)
    if twin is None:
        return as_it_is(module, x, between, output, wrt, units, seconds)
    values = as_it_is(*twin, between, output, wrt, units, seconds)
    with as_found(module, entry(x, wrt)[1]):
        said = next(filter(None, (in_forward(module, _sample(x, i)) for i in range(len(values.logs)))), "")
    matters = said and any(_differs(module, twin[0], _sample(x, i), between, output, wrt)
                           for i in range(len(values.logs)))
    return values._replace(underflow=said if matters else "")


def _sample(x: Batch, i: int) -> Batch:
    found: Batch = each(x, lambda value: value[i : i + 1])
    return found


def _differs(module: nn.Module, twin: nn.Module, sample: Batch, between: Between | None, output: Output,
             wrt: str | None) -> bool:
    """Whether a product with the Jacobian of a module is another in single precision: a branch may vanish unseen."""
    double = each(sample, lambda value: value.double() if value.is_floating_point() else value)
    pulled = []
    for either, at in ((module, sample), (twin, double)):
        with as_found(either, entry(at, wrt)[1]):
            pulled.append(product(either, each(at, torch.clone), between, output, wrt)[2])
    one, two = pulled
    return not np.linalg.norm(one - two) <= _SINGLE * np.linalg.norm(two)


def as_it_is(module: nn.Module, x: Batch, between: Between | None = None, output: Output = None,
             wrt: str | None = None, units: float = _UNITS, seconds: float = math.inf) -> Values:
    """Return the same in the module's own precision.

    An SVD will do where every value is `units` of rounding of the largest, or more.
    """
    module, between = opened(module, between)
    if between is None and output is None and isinstance(x, torch.Tensor) and likely_apart(module, x, units):
        with suppress(TooLong, Untraceable, MemoryError):
            return _by_chain(factors(module, x, seconds=seconds))
    j = formed(module, x, between, output, wrt=wrt)
    unit = float(torch.finfo(j.dtype).eps)
    digits = smallest(j.dtype) / unit  # above it what is one unit below has all of its own
    if j.dtype == torch.float64 and graph.chain(module) is None and (inside := rounding(module, x, wrt)) > unit:
        unit, units = inside, min(units, COARSE)  # its own digits are no more
    logs, resolution = _by_svd(j.to("cpu", torch.float64).numpy(), unit)
    if np.all(logs[:, : min(j.shape[1:])] > np.maximum(logs[:, :1] + math.log(units * unit), math.log(digits))):
        loose = np.array([rounding_of(module, _sample(x, i), between, output, wrt, relative=True) if top < _LOW else 0.0
                          for i, top in enumerate(logs[:, 0])])
        if np.all(loose * units < 1):  # it is rounded no more than its largest value says
            return Values(logs, np.full(len(j), -np.inf), "")
        with np.errstate(divide="ignore"):
            resolution = np.maximum(resolution, logs[:, 0] + np.minimum(0, np.log(max(j.shape[1:]) * loose)))
        logs = np.maximum(logs, resolution[:, None], out=logs, where=np.isfinite(logs))
    finite = bool(torch.isfinite(j).all()) and not np.any(logs[:, 0] < math.log(digits))
    del j
    try:
        return _by_chain(factors(module, x, between, output, wrt, seconds, unit))
    except Underflow:
        raise
    except TooLong as error:
        return Values(logs, resolution, f"{error} (empirical.log_singular_values(..., seconds=math.inf) takes it)")
    except Exception as error:  # whatever a module may do when it is taken apart: it was measured whole
        if not finite:
            formed(module, x, between, output, wrt=wrt, beyond=False, warned=True)  # raises unless zeros are true
        return Values(logs, resolution, str(error) or type(error).__name__)


def _by_chain(found: tuple[int, list[list[Array]]]) -> Values:
    n_inputs, chains = found
    logs = np.array([chain_log_singular_values(chain, n_inputs) for chain in chains])
    return Values(logs, np.full(len(chains), -np.inf), "")


def _by_svd(j: Array, unit: float) -> tuple[Array, Array]:
    """Return ln of the values of matrices that are known to one unit of rounding, and of their resolution."""
    if not np.isfinite(j).all():
        return np.full((len(j), j.shape[2]), -np.inf), np.full(len(j), -np.inf)
    values = np.linalg.svd(j, compute_uv=False)
    with np.errstate(divide="ignore"):
        resolution = np.log(max(j.shape[1:]) * unit * values[:, 0])
        logs = np.maximum(np.log(values), resolution[:, None])
    padding = np.full((len(j), j.shape[2] - logs.shape[1]), -np.inf)
    return np.concatenate([logs, padding], axis=1), resolution
