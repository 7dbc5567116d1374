"""What goes wrong by mistake: a layer of zeros, a weight that is not a number, a signal that is detached."""

import torch
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second, self.third = nn.Linear(32, 32), nn.Linear(32, 32), nn.Linear(32, 10)

    def forward(self, x):
        return self.third(torch.relu(self.second(torch.relu(self.first(x)))))


class Detached(Net):
    def forward(self, x):
        h = torch.relu(self.first(x)).detach()
        return self.third(torch.relu(self.second(h)))


def all_zero_layer():
    module = Net()
    nn.init.zeros_(module.second.weight)
    nn.init.zeros_(module.second.bias)
    return module


def nan_weight():
    module = Net()
    with torch.no_grad():
        module.second.weight[3, 4] = float("nan")
    return module


def detached():
    return Detached()
