"""What a solver raises."""


class ConvergenceError(ArithmeticError):
    """A solver did not reach its tolerance; nothing is returned in its place."""
