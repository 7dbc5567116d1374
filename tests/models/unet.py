"""A U-Net of two levels, with skips that are concatenated."""

import torch
from torch import nn


def double(inputs, outputs):
    return nn.Sequential(nn.Conv2d(inputs, outputs, 3, padding=1), nn.ReLU(), nn.Conv2d(outputs, outputs, 3, padding=1),
                         nn.ReLU())


class UNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.down1, self.down2, self.bottom = double(3, 8), double(8, 16), double(16, 32)
        self.pool = nn.MaxPool2d(2)
        self.up2, self.up1 = nn.ConvTranspose2d(32, 16, 2, stride=2), nn.ConvTranspose2d(16, 8, 2, stride=2)
        self.merge2, self.merge1, self.last = double(32, 16), double(16, 8), nn.Conv2d(8, 2, 1)

    def forward(self, x):
        one = self.down1(x)
        two = self.down2(self.pool(one))
        x = self.bottom(self.pool(two))
        x = self.merge2(torch.cat([two, self.up2(x)], 1))
        return self.last(self.merge1(torch.cat([one, self.up1(x)], 1)))


def make():
    return UNet()
