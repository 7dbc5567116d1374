"""Measure the singular values of real torch networks; what is stored loads without torch."""

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from empirical import inputs as inputs
    from empirical.describe import describe as describe
    from empirical.errors import IncompleteError as IncompleteError
    from empirical.jacobian import batch_jacobian as batch_jacobian
    from empirical.jacobian import jacobian as jacobian
    from empirical.matrix_free import spectral_density as spectral_density
    from empirical.measure import measure as measure
    from empirical.measurement import Measurement as Measurement
    from empirical.modules import build as build
    from empirical.monitor import SpectrumMonitor as SpectrumMonitor
    from empirical.registry import register as register
    from empirical.singular_values import log_singular_values as log_singular_values
    from empirical.store import Store as Store
    from empirical.weights import weights as weights

__all__ = ["IncompleteError", "Measurement", "SpectrumMonitor", "Store", "batch_jacobian", "build", "describe",
           "inputs", "jacobian", "log_singular_values", "measure", "register", "spectral_density", "weights"]

_HOMES = {"IncompleteError": "errors", "Measurement": "measurement", "SpectrumMonitor": "monitor", "Store": "store",
          "batch_jacobian": "jacobian", "build": "modules", "log_singular_values": "singular_values",
          "register": "registry", "spectral_density": "matrix_free"}  # of other names: the module of that name


def __getattr__(name: str) -> Any:
    """Load a public name, and torch with it where it needs that, or a module of the package."""
    try:
        home = import_module(f"empirical.{_HOMES.get(name, name)}") if not name.startswith("_") else None
    except ModuleNotFoundError as error:
        if error.name == "torch":
            raise ModuleNotFoundError("empirical needs torch to measure: pip install 'rmt[torch]'",
                                      name="torch") from error
        if error.name != f"empirical.{name}":
            raise
        home = None
    if home is None:
        raise AttributeError(f"module 'empirical' has no attribute {name!r}")
    found = home if name == "inputs" or name not in __all__ else getattr(home, name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


class _Package(ModuleType):
    """The package, whose `measure`, `jacobian`, `describe` and `weights` stay functions whatever module is loaded."""

    def __setattr__(self, name: str, value: object) -> None:
        """Pass over a module that the import system puts where the function of its name belongs."""
        if not (isinstance(value, ModuleType) and name in __all__ and name != "inputs"):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package
