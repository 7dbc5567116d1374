"""Networks of residual blocks that people use, at initialization and of constant width.

`depth` counts blocks. A stem of weights of variance 1/fan_in leads from the input to the blocks where `inputs` is given
(fully connected: its size, flattened; on images: its channels). Images are on a circle, with kernels of 3 x 3.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from rmt.checks import Number, choice, integer
from rmt.networks.activations import ActivationFunction
from rmt.networks.branch import NORMS as NORM_NAMES
from rmt.networks.branch import branch_scale
from rmt.networks.convolution import Conv2d
from rmt.networks.layers import Activation, Dense, Layer
from rmt.networks.network import Network
from rmt.networks.normalization import BatchNorm, LayerNorm, RMSNorm
from rmt.networks.residual import Residual
from rmt.networks.schemes import Scheme, gaussian, scheme

NORMS: dict[str, tuple[Layer, ...]] = dict(zip(NORM_NAMES, ((), (BatchNorm(),), (LayerNorm(),), (RMSNorm(),)),
                                               strict=True))


def resnet(depth: int, width: int, activation: str | ActivationFunction = "relu", init: str | Scheme = "kaiming_normal",
           norm: str = "batch", scale: Number | str = 1.0, image: tuple[int, int] | None = None,
           inputs: int | None = None) -> Network:
    """Return a pre-activation residual network: x + scale W phi(norm(W phi(norm(x)))) (He et al. 2016, second paper).

    Parameters
    ----------
    depth, width : int
        Number of blocks; entries, or channels on images, of the stream.
    activation, init
        Of every layer.
    norm : str
        "none", "batch", "layer" or "rms".
    scale : float or str
        Of every branch: a number, "1/sqrt(L)" (Hayou et al. 2021) or "1/L", L the depth.
    image : (int, int)
        Height and width; None: fully connected.
    inputs : int
        Entries or channels of the input, if there is a stem.
    """
    before = (*NORMS[choice("norm", norm, NORMS)], Activation(activation))
    return _stack(depth, width, lambda weights: [*before, weights] * 2, init, scale, image, inputs)


def residual_mlp(depth: int, width: int, activation: str | ActivationFunction = "relu",
                 init: str | Scheme = "kaiming_normal", norm: str = "layer", scale: Number | str = 1.0,
                 image: tuple[int, int] | None = None, inputs: int | None = None) -> Network:
    """Return blocks x + scale W phi(W norm(x)), as the fully connected half of a transformer's; see `resnet`."""
    before = NORMS[choice("norm", norm, NORMS)]
    return _stack(depth, width, lambda weights: [*before, weights, Activation(activation), weights], init, scale, image,
                  inputs)


def fixup(depth: int, width: int, init: str | Scheme = "kaiming_normal", image: tuple[int, int] | None = None,
          inputs: int | None = None) -> Network:
    """Return Fixup's network (Zhang et al. 2019): no norm, a branch's first weights times depth^(-1/2), its last zero.

    The zero is a scale of 0 here: at initialization the network is its stem. See `resnet`.
    """
    found = scheme(init)
    small = gaussian(math.sqrt(found.gain_squared / integer("depth", depth)))
    if found.fan != "fan_in" or found.entries not in ("normal", "uniform"):
        raise ValueError(f"init must have independent entries whose variance knows fan_in alone, got {str(found)!r}")
    return _stack(depth, width, lambda weights: [Activation("relu"), weights] * 2, small, 0.0, image, inputs)


def skipinit(depth: int, width: int, activation: str | ActivationFunction = "relu",
             init: str | Scheme = "kaiming_normal", image: tuple[int, int] | None = None,
             inputs: int | None = None) -> Network:
    """Return SkipInit's network (De and Smith 2020): no norm, a scalar before each branch that begins at 0."""
    return resnet(depth, width, activation, init, "none", 0.0, image, inputs)


def stable_resnet(depth: int, width: int, activation: str | ActivationFunction = "relu",
                  init: str | Scheme = "kaiming_normal", image: tuple[int, int] | None = None,
                  inputs: int | None = None) -> Network:
    """Return `resnet` without norm and with branches scaled by 1/sqrt(L) (Hayou et al. 2021)."""
    return resnet(depth, width, activation, init, "none", "1/sqrt(L)", image, inputs)


def _stack(depth: int, width: int, branch: Callable[[Layer], Sequence[Layer]], init: str | Scheme,
           scale: Number | str, image: tuple[int, int] | None, inputs: int | None) -> Network:
    """Return `depth` equal blocks behind a stem."""
    depth, width = integer("depth", depth), integer("width", width)

    def weights(how: str | Scheme) -> Layer:
        return Dense(width, how) if image is None else Conv2d(width, 3, padding_mode="circular", init=how)

    stem = [] if inputs is None else [weights("lecun_normal")]
    first = width if inputs is None else integer("inputs", inputs)
    blocks = [Residual(branch(weights(init)), branch_scale(scale, depth))] * depth
    return Network(first if image is None else (first, *image), [*stem, *blocks])
