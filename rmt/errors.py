"""What a solver raises; it stands alone, so that one can ask for it without loading the laws."""


class ConvergenceError(ArithmeticError):
    """A solver did not reach its tolerance; nothing is returned in its place."""
