"""What a solver raises."""

from rmt.errors import ConvergenceError

__all__ = ["ConvergenceError"]
