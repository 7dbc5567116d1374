"""The activation functions that are known by name, and those of them that take parameters."""

from __future__ import annotations

import re
from fractions import Fraction
from typing import Any

import numpy as np
from scipy import special

from rmt.checks import Number, by_name, number, positive
from rmt.networks.activations import formulas as f
from rmt.networks.activations.function import (
    FAMILIES,
    ActivationFunction,
    Formula,
    LeakyReLU,
    OfFamily,
    Pointwise,
    Scaled,
)
from rmt.networks.activations.sine import Sine

linear = LeakyReLU(1)
relu = LeakyReLU(0)
selu = Pointwise("selu", f.selu, f.selu_slope, (0.0,))
gelu = Pointwise("gelu", f.gelu, f.gelu_slope)
erf = Pointwise("erf", special.erf, f.erf_slope)
sigmoid = Pointwise("sigmoid", f.logistic, f.sigmoid_slope)
mish = Pointwise("mish", f.mish, f.mish_slope)
relu6 = Pointwise("relu6", f.relu6, f.relu6_slope, (0.0, 6.0))
hardswish = Pointwise("hardswish", f.hardswish, f.hardswish_slope, (-3.0, 3.0))
hardsigmoid = Pointwise("hardsigmoid", f.hardsigmoid, f.hardsigmoid_slope, (-3.0, 3.0))
softsign = Pointwise("softsign", f.softsign, f.softsign_slope, (0.0,))
logsigmoid = Pointwise("logsigmoid", f.logsigmoid, f.logsigmoid_slope)
tanhshrink = Pointwise("tanhshrink", f.tanhshrink, f.tanhshrink_slope)
relu_squared = Pointwise("relu_squared", f.relu_squared, f.relu_squared_slope, (0.0,))

elu = OfFamily("elu")
hardtanh = OfFamily("hardtanh")
silu = OfFamily("silu")
tanh = OfFamily("tanh")
softplus = OfFamily("softplus")
softshrink = OfFamily("softshrink")
hardshrink = OfFamily("hardshrink")
sin = Sine()


def leaky_relu(slope: Number = 0.01) -> LeakyReLU:
    """Return u for u > 0, slope * u below (torch's default slope)."""
    return LeakyReLU(number("slope", slope))


def prelu(init: Number = 0.25) -> LeakyReLU:
    """Return the leaky ReLU that a PReLU is at initialization (torch's default slope)."""
    return leaky_relu(number("init", init))


def _elu(alpha: Number = 1) -> ActivationFunction:
    """Return u for u > 0, alpha (e^u - 1) below."""
    alpha = number("alpha", alpha)
    return elu if alpha == 1 else relu if alpha == 0 else OfFamily("elu", (alpha,))


def celu(alpha: Number = 1) -> ActivationFunction:
    """Return u for u > 0, alpha (e^(u/alpha) - 1) below, alpha > 0."""
    alpha = positive("alpha", alpha)
    return elu if alpha == 1 else Scaled("celu", (alpha,), elu, _inverse(alpha), alpha)


def _hardtanh(min_val: Number = -1, max_val: Number = 1) -> ActivationFunction:
    """Return u, but min_val and max_val where it is beyond them."""
    low, high = number("min_val", min_val), number("max_val", max_val)
    if low >= high:
        raise ValueError(f"min_val must be under max_val, got {min_val!r} and {max_val!r}")
    return hardtanh if (low, high) == (-1, 1) else relu6 if (low, high) == (0, 6) else OfFamily("hardtanh", (low, high))


def threshold(threshold: Number = 0, value: Number = 0) -> ActivationFunction:
    """Return u above the threshold, value elsewhere."""
    place, value = number("threshold", threshold), number("value", value)
    return relu if place == value == 0 else OfFamily("threshold", (place, value))


def _softshrink(lambd: Number = 0.5) -> ActivationFunction:
    """Return u moved toward zero by lambd >= 0, as far as zero."""
    return _shrunk(softshrink, lambd)


def _hardshrink(lambd: Number = 0.5) -> ActivationFunction:
    """Return u, but zero where |u| <= lambd."""
    return _shrunk(hardshrink, lambd)


def _shrunk(default: OfFamily, lambd: Number) -> ActivationFunction:
    lambd = number("lambd", lambd, 0)
    return default if lambd == 0.5 else linear if lambd == 0 else OfFamily(default.family, (lambd,))


def _tanh(alpha: Number = 1) -> ActivationFunction:
    """Return tanh(alpha u), alpha > 0."""
    alpha = positive("alpha", alpha)
    return tanh if alpha == 1 else Scaled("tanh", (alpha,), tanh, alpha, 1)


def _sin(frequency: Number = 1) -> ActivationFunction:
    """Return sin(frequency u), frequency > 0 (Sitzmann et al. 2020 take 30)."""
    frequency = positive("frequency", frequency)
    return sin if frequency == 1 else Scaled("sin", (frequency,), sin, frequency, 1)


def _softplus(beta: Number = 1) -> ActivationFunction:
    """Return ln(1 + e^(beta u)) / beta, beta > 0."""
    return _sharpened("softplus", softplus, beta)


def _silu(beta: Number = 1) -> ActivationFunction:
    """Return u / (1 + e^(-beta u)), beta > 0: Swish; beta = 1.702 stands for GELU in places."""
    return _sharpened("silu", silu, beta)


def _sharpened(family: str, base: OfFamily, beta: Number) -> ActivationFunction:
    beta = positive("beta", beta)
    return base if beta == 1 else Scaled(family, (beta,), base, beta, _inverse(beta))


def _inverse(x: Number) -> Number:
    return 1 / Fraction(x)


FAMILIES.update({
    "elu": Formula(f.elu, f.elu_slope, lambda *_: (0.0,), _elu),
    "celu": Formula(f.elu, f.elu_slope, lambda *_: (0.0,), celu),
    "hardtanh": Formula(f.clip, f.clip_slope, lambda low=-1.0, high=1.0: (low, high), _hardtanh),
    "threshold": Formula(f.threshold, f.threshold_slope, lambda threshold, value: (threshold,), threshold),
    "softshrink": Formula(f.soft_shrink, f.shrink_slope, lambda lambd=0.5: (-lambd, lambd), _softshrink),
    "hardshrink": Formula(f.hard_shrink, f.shrink_slope, lambda lambd=0.5: (-lambd, lambd), _hardshrink),
    "tanh": Formula(np.tanh, f.tanh_slope, lambda: (), _tanh),
    "softplus": Formula(f.softplus, f.logistic, lambda: (), _softplus),
    "silu": Formula(f.silu, f.silu_slope, lambda: (), _silu),
    "sin": Formula(np.sin, np.cos, lambda: (), _sin),
})

REGISTRY: dict[str, Any] = {
    "linear": linear, "identity": linear, "relu": relu, "leaky_relu": leaky_relu, "prelu": prelu, "elu": _elu,
    "celu": celu, "selu": selu, "gelu": gelu, "silu": _silu, "swish": _silu, "mish": mish, "tanh": _tanh, "erf": erf,
    "hardtanh": _hardtanh, "relu6": relu6, "hardswish": hardswish, "sigmoid": sigmoid, "hardsigmoid": hardsigmoid,
    "logsigmoid": logsigmoid, "softplus": _softplus, "softsign": softsign, "tanhshrink": tanhshrink,
    "softshrink": _softshrink, "hardshrink": _hardshrink, "threshold": threshold, "relu_squared": relu_squared,
    "sin": _sin,
}


_MODULE = re.compile(r"^(?:(?:torch\.)?nn\.(?:functional\.)?|torch\.(?:special\.)?|F\.)")  # torch's own, before a name
_WORDS = {"leakyrelu": "leaky_relu"}  # its modules, without capitals

# What people call an activation and is no function of one entry, or is random.
_OTHERS = {
    "glu": "gates one half of the entries by the other", "swiglu": "gates entries by others",
    "geglu": "gates entries by others", "reglu": "gates entries by others", "softmax": "divides entries by their sum",
    "softmin": "divides entries by their sum", "log_softmax": "subtracts what all entries share",
    "logsoftmax": "subtracts what all entries share", "maxout": "takes the largest of several entries",
    "crelu": "makes two entries of one", "rrelu": "draws its slopes; evaluated it is leaky_relu(11/48)",
}


def activation(name: str | ActivationFunction) -> ActivationFunction:
    """Return the function that a name, a call as text, or a function means; torch's names of them are understood."""
    if isinstance(name, ActivationFunction):
        return name
    if isinstance(name, str) and (why := _OTHERS.get(name.partition("(")[0].strip().lower())):
        raise ValueError(f"activation {name!r} {why}: it is no fixed function of one entry")
    return by_name("activation", _plain(name), REGISTRY)


def _plain(name: object) -> object:
    """Return a name without what torch writes around it: `nn.ReLU`, `torch.relu_`, `F.gelu`."""
    if not isinstance(name, str):
        return name
    found = _MODULE.sub("", name.strip())
    word, bracket, rest = found.partition("(")
    plain = word.rstrip("_").lower()
    plain = _WORDS.get(plain, plain)
    return plain + bracket + rest if plain in REGISTRY else name


def is_named(phi: ActivationFunction) -> bool:
    """Whether a function is the one that its text names here: nothing more need be said of it."""
    try:
        return activation(str(phi)) == phi
    except ValueError:
        return False
