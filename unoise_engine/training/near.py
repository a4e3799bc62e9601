"""A noise model that is told what the utility found, and starts from nearness to it.

A ruler that ranks pixels by their distance to the predicted organ beats the published recipe on the published measure:
so the ruler is where this net starts, and all it has to learn is where the ruler is wrong. That the organ itself
matters needs no learning: it comes first, and the question is what else the utility needs.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, interpolate

from unoise_engine.training.unet import UNet

SCALES = 6  # blurs of the prediction, each twice as wide as the one before
FLOOR = 1e-4  # of the summed blurs: farther away all pixels are equally far


class NearNet(nn.Module):
    """Slices (n, c, h, w) and the utility's logits for them (n, 1, h, w) -> z (n, 1, h, w).

    z = (1 - found) * (correction - weight * nearness) - found * top, where found is the utility's probability. The
    correction is a U-Net's and 0 at first: a part smoothed to `cell` pixels, since a segmenter needs connected context,
    and a part pixel by pixel, since a cause may be small. `top` is the importance of the organ; after training
    it is as high as what comes next (level.py). h and w are multiples of `cell` and of 2^(depth - 1).
    """

    def __init__(self, channels: int, depth: int, first_channels: int, cell: int):
        super().__init__()
        self.unet = UNet(channels + 2, 2, depth, first_channels)
        nn.init.zeros_(self.unet.head.weight)
        nn.init.zeros_(self.unet.head.bias)  # type: ignore[arg-type]
        self.weight = nn.Parameter(torch.tensor(1.0))
        self.top = nn.Parameter(torch.tensor(2.0))  # as nearness has it inside
        self.channels, self.cell = channels, cell

    def forward(self, slices: Tensor, logits: Tensor) -> Tensor:
        """Normalised slices (n, c, h, w) and the utility's logits (n, 1, h, w) -> z, logits of noise (n, 1, h, w)."""
        found = logits.sigmoid()
        near = nearness(found)
        coarse, fine = self.unet(torch.cat([slices, found, near], dim=1)).split(1, dim=1)
        if self.cell > 1:
            coarse = avg_pool2d(coarse, self.cell)
            coarse = interpolate(coarse, size=slices.shape[2:], mode="bilinear", align_corners=False)
        around = coarse + fine - self.weight * 4 * near
        return around - found * (around + self.top)

    @property
    def depth(self) -> int:
        return self.unet.depth

    @property
    def in_channels(self) -> int:
        return self.channels

    @property
    def first_channels(self) -> int:
        return self.unet.first_channels

    @property
    def n_parameters(self) -> int:
        return sum(p.numel() for p in self.parameters())


def nearness(found: Tensor) -> Tensor:
    """Probabilities (n, 1, h, w) -> log of their blurs' sum, (n, 1, h, w), about -2.3 (far) to 0.5 (inside)."""
    total = coarse = found
    for _ in range(SCALES):
        coarse = avg_pool2d(avg_pool2d(coarse, 3, stride=1, padding=1), 2, ceil_mode=True)
        total = total + interpolate(coarse, size=found.shape[2:], mode="bilinear", align_corners=False)
    return (total + FLOOR).log() / 4
