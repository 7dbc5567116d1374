"""Blocks of a diffusion model: group normalization, SiLU, convolution."""

from torch import nn


def make():
    blocks = [nn.Conv2d(3, 32, 3, padding=1)]
    for _ in range(4):
        blocks += [nn.GroupNorm(8, 32), nn.SiLU(), nn.Conv2d(32, 32, 3, padding=1)]
    return nn.Sequential(*blocks)
