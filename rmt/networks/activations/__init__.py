"""Activation functions by name, and functions of one's own."""

from rmt.networks.activations.custom import Custom, custom
from rmt.networks.activations.formulas import SELU_ALPHA, SELU_SCALE
from rmt.networks.activations.function import ActivationFunction, LeakyReLU, Member, OfFamily, Pointwise, Scaled
from rmt.networks.activations.named import (
    REGISTRY,
    activation,
    celu,
    elu,
    erf,
    gelu,
    hardshrink,
    hardsigmoid,
    hardswish,
    hardtanh,
    is_named,
    leaky_relu,
    linear,
    logsigmoid,
    mish,
    prelu,
    relu,
    relu6,
    relu_squared,
    selu,
    sigmoid,
    silu,
    sin,
    softplus,
    softshrink,
    softsign,
    tanh,
    tanhshrink,
    threshold,
)
from rmt.networks.activations.sine import Sine

__all__ = [
    "REGISTRY", "SELU_ALPHA", "SELU_SCALE", "ActivationFunction", "Custom", "LeakyReLU", "Member", "OfFamily",
    "Pointwise", "Scaled", "Sine", "activation", "celu", "custom", "elu", "erf", "gelu", "hardshrink", "hardsigmoid",
    "hardswish", "hardtanh", "is_named", "leaky_relu", "linear", "logsigmoid", "mish", "prelu", "relu", "relu6",
    "relu_squared", "selu", "sigmoid", "silu", "sin", "softplus", "softshrink", "softsign", "tanh", "tanhshrink",
    "threshold",
]
