"""The plain twin of the networks of Bjorck et al.: constant width, ReLU, He initialization, with BN or without."""

from __future__ import annotations

from rmt.networks.layers import Activation, Dense, Layer
from rmt.networks.network import Network
from rmt.networks.normalization import BatchNorm

WIDTH = 100


def twin(depth: int, normalized: bool, width: int = WIDTH) -> Network:
    """Return `depth` layers: weights, BN or not, ReLU."""
    layer: list[Layer] = [Dense(width, "kaiming_normal"), *[BatchNorm()] * normalized, Activation("relu")]
    return Network(width, layer * depth)
