"""Initialization schemes, called as torch calls them; a scheme never looks at the activation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction

from rmt.checks import Number, by_name, choice, number, positive

# torch.nn.init.calculate_gain, squared
_GAINS = {
    "linear": Fraction(1), "sigmoid": Fraction(1), "conv1d": Fraction(1), "conv2d": Fraction(1),
    "conv3d": Fraction(1), "tanh": Fraction(25, 9), "relu": Fraction(2), "selu": Fraction(9, 16),
}


@dataclass(frozen=True)
class Scheme:
    """How a weight matrix is drawn.

    Attributes
    ----------
    call : str
        The call that rebuilds it, as "kaiming_normal(mode='fan_out')".
    gain_squared : Fraction
        The entries' variance times `fan`; for an orthogonal matrix the square of its singular values.
    fan : str
        "fan_in", "fan_out" or "average".
    orthogonal : bool
        Semi-orthogonal (Haar) rather than independent normal entries.
    """

    call: str
    gain_squared: Fraction
    fan: str = "fan_in"
    orthogonal: bool = False

    def __repr__(self) -> str:
        return f"schemes.{self.call}"

    def __str__(self) -> str:
        """The call without the arguments that torch would take anyway."""
        short = self.call
        for default in ("a=0", "mode='fan_in'", "nonlinearity='leaky_relu'", "gain=1"):
            short = short.replace(f"({default}, ", "(").replace(f", {default}", "").replace(f"({default})", "")
        return short

    def variance(self, fan_in: int, fan_out: int) -> Fraction:
        """Return the mean square of an entry."""
        if self.orthogonal:
            return self.gain_squared / max(fan_in, fan_out)
        fans = {"fan_in": Fraction(fan_in), "fan_out": Fraction(fan_out), "average": Fraction(fan_in + fan_out, 2)}
        return self.gain_squared / fans[self.fan]


def _text(x: Number) -> str:
    """A number as it stands in a call: equal numbers, equal text."""
    return repr(int(x) if x == int(x) else x)


def gaussian(sigma_w: Number = 1) -> Scheme:
    """Normal entries of variance sigma_w^2 / fan_in."""
    sigma_w = positive("sigma_w", sigma_w)
    return Scheme(f"gaussian(sigma_w={_text(sigma_w)})", Fraction(sigma_w) ** 2)


def xavier_normal(gain: Number = 1) -> Scheme:
    """Normal entries of variance 2 gain^2 / (fan_in + fan_out) (Glorot and Bengio 2010)."""
    gain = positive("gain", gain)
    return Scheme(f"xavier_normal(gain={_text(gain)})", Fraction(gain) ** 2, "average")


def kaiming_normal(a: Number = 0, mode: str = "fan_in", nonlinearity: str = "leaky_relu") -> Scheme:
    """Normal entries of variance gain^2 / fan, 2/(1 + a^2) for leaky ReLU (He et al. 2015)."""
    a = number("a", a)
    mode = choice("mode", mode, ("fan_in", "fan_out"))
    nonlinearity = choice("nonlinearity", nonlinearity, (*_GAINS, "leaky_relu"))
    gain_squared = _GAINS.get(nonlinearity, 2 / (1 + Fraction(a) ** 2))
    return Scheme(f"kaiming_normal(a={_text(a)}, mode={mode!r}, nonlinearity={nonlinearity!r})", gain_squared, mode)


def orthogonal(gain: Number = 1) -> Scheme:
    """Semi-orthogonal matrices times gain, uniform (Saxe et al. 2014)."""
    gain = positive("gain", gain)
    return Scheme(f"orthogonal(gain={_text(gain)})", Fraction(gain) ** 2, orthogonal=True)


REGISTRY: dict[str, Callable[..., Scheme]] = {
    "gaussian": gaussian,
    "xavier_normal": xavier_normal,
    "glorot_normal": xavier_normal,
    "kaiming_normal": kaiming_normal,
    "he_normal": kaiming_normal,
    "orthogonal": orthogonal,
}


def scheme(init: str | Scheme) -> Scheme:
    """Return the scheme that a name, a call as text, or a scheme means."""
    return init if isinstance(init, Scheme) else by_name("init", init, REGISTRY)
