"""The U-Net of both models: the utility that segments and the noise model that explains it.

Ronneberger et al. 2015, in the 2-D form of the U-Noise authors' code: ``depth`` counts resolution levels, channels
double per level, upsampling is nearest x2 with a convolution.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


def block(n_in: int, n_out: int) -> nn.Sequential:
    """(conv 3x3, batch norm, ReLU) twice. The convolutions keep their bias, as the published parameter counts do."""
    return nn.Sequential(
        nn.Conv2d(n_in, n_out, 3, padding=1),
        nn.BatchNorm2d(n_out),
        nn.ReLU(),
        nn.Conv2d(n_out, n_out, 3, padding=1),
        nn.BatchNorm2d(n_out),
        nn.ReLU(),
    )


def grow(n_in: int, n_out: int) -> nn.Sequential:
    """Twice the size, half the channels."""
    return nn.Sequential(
        nn.Upsample(scale_factor=2, mode="nearest"),
        nn.Conv2d(n_in, n_out, 3, padding=1),
        nn.BatchNorm2d(n_out),
        nn.ReLU(),
    )


class UNet(nn.Module):
    """Slices (n, in_channels, h, w) -> logits (n, out_channels, h, w); h and w are multiples of 2^(depth - 1)."""

    def __init__(self, in_channels: int = 1, out_channels: int = 1, depth: int = 5, first_channels: int = 64):
        super().__init__()
        self.in_channels, self.out_channels = in_channels, out_channels
        self.depth, self.first_channels = depth, first_channels
        widths = [first_channels * 2**level for level in range(depth)]
        upwards = list(zip(widths[:0:-1], widths[-2::-1]))
        self.downs = nn.ModuleList(block(i, o) for i, o in zip([in_channels, *widths], widths))
        self.grows = nn.ModuleList(grow(i, o) for i, o in upwards)
        self.fuses = nn.ModuleList(block(2 * o, o) for _, o in upwards)
        self.head = nn.Conv2d(first_channels, out_channels, 1)

    def encode(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        """-> the deepest output (n, first_channels 2^(depth-1), h / 2^(depth-1), ...) and the skips, finest first."""
        skips = []
        for down in self.downs[:-1]:
            x = down(x)
            skips.append(x)
            x = nn.functional.max_pool2d(x, 2)
        return self.downs[-1](x), skips

    def decode(self, deep: Tensor, skips: list[Tensor]) -> Tensor:
        """The inverse path, deepest first: grow, concat [up, skip], block; then the head."""
        for up, fuse, skip in zip(self.grows, self.fuses, reversed(skips)):
            deep = fuse(torch.cat([up(deep), skip], dim=1))
        return self.head(deep)

    def forward(self, x: Tensor) -> Tensor:
        """(n, in_channels, h, w) -> logits (n, out_channels, h, w)."""
        return self.decode(*self.encode(x))

    @property
    def n_parameters(self) -> int:
        return sum(p.numel() for p in self.parameters())
