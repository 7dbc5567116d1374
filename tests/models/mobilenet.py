"""Inverted residuals of MobileNetV2: expand, depthwise, project, with ReLU6 and batch normalization."""

from torch import nn


class Inverted(nn.Module):
    def __init__(self, inputs, outputs, stride, expand=4):
        super().__init__()
        hidden = inputs * expand
        self.same = stride == 1 and inputs == outputs
        self.layers = nn.Sequential(
            nn.Conv2d(inputs, hidden, 1, bias=False), nn.BatchNorm2d(hidden), nn.ReLU6(inplace=True),
            nn.Conv2d(hidden, hidden, 3, stride, 1, groups=hidden, bias=False), nn.BatchNorm2d(hidden),
            nn.ReLU6(inplace=True), nn.Conv2d(hidden, outputs, 1, bias=False), nn.BatchNorm2d(outputs))

    def forward(self, x):
        return x + self.layers(x) if self.same else self.layers(x)


def make():
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, 1, 1, bias=False), nn.BatchNorm2d(8), nn.ReLU6(inplace=True), Inverted(8, 8, 1),
        Inverted(8, 12, 2), Inverted(12, 12, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(0.2),
        nn.Linear(12, 10))
