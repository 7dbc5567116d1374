"""A SIREN (Sitzmann et al. 2020): sine layers of frequency 30, with its own initialization."""

import math

import torch
from torch import nn


class Sine(nn.Module):
    def __init__(self, inputs, outputs, first=False, frequency=30.0):
        super().__init__()
        self.frequency, self.linear = frequency, nn.Linear(inputs, outputs)
        bound = 1 / inputs if first else math.sqrt(6 / inputs) / frequency
        nn.init.uniform_(self.linear.weight, -bound, bound)

    def forward(self, x):
        return torch.sin(self.frequency * self.linear(x))


def make():
    return nn.Sequential(Sine(2, 64, first=True), Sine(64, 64), Sine(64, 64), nn.Linear(64, 3))
