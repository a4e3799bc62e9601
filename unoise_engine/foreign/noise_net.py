"""The noise model for somebody else's segmenter: a small net at half the resolution, told what the segmenter found."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

SCALES = 5  # blurs of the prediction, each twice as wide as the one before
FLOOR = 1e-4  # of the blurs' sum: farther away all voxels are equally far
STEEP = 4.0  # how fast importance falls with the distance at first


class NoiseNet(nn.Module):
    """Images (n, 1, *s) and the segmenter's margins for them (n, 1, *s) -> z (n, 1, *s), s of 2 or 3 axes.

    z = (1 - found) * (correction - weight * nearness) - found * top, where found is the sigmoid of the margin: it
    starts from nearness to what was found, and what a net of `widths` channels learns is where that is wrong. The net
    works on every second voxel and has no norms, so its answers do not depend on where a window lies.
    """

    def __init__(self, rank: int, widths: tuple[int, ...] = (8, 16, 32)):
        super().__init__()
        conv = nn.Conv3d if rank == 3 else nn.Conv2d
        self.rank = rank
        self.down = nn.ModuleList(
            nn.Sequential(conv(a, b, 3, padding=1), nn.LeakyReLU(0.1), conv(b, b, 3, padding=1), nn.LeakyReLU(0.1))
            for a, b in pairwise((3, *widths))
        )
        self.up = nn.ModuleList(
            nn.Sequential(conv(a + b, b, 3, padding=1), nn.LeakyReLU(0.1)) for b, a in pairwise(widths)
        )
        self.head = conv(widths[0], 1, 1)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)  # type: ignore[arg-type]
        self.weight = nn.Parameter(torch.tensor(1.0))
        self.top = nn.Parameter(torch.tensor(2.0))

    def forward(self, slices: Tensor, logits: Tensor) -> Tensor:
        found = logits.sigmoid()
        near = self._nearness(found)
        seen = self._halved(torch.cat([slices, found, near], dim=1))
        kept = []
        for k, block in enumerate(self.down):
            seen = block(seen if k == 0 else self._halved(seen))
            kept.append(seen)
        for block, beside in zip(reversed(self.up), reversed(kept[:-1])):
            seen = block(torch.cat([self._as_large(seen, beside), beside], dim=1))
        around = self._as_large(self.head(seen), slices) - self.weight * STEEP * near
        return around - found * (around + self.top)

    def _nearness(self, found: Tensor) -> Tensor:
        total = coarse = found
        for _ in range(SCALES):
            coarse = self._halved(coarse)
            total = total + self._as_large(coarse, found)
        return (total + FLOOR).log() / 4

    def _halved(self, x: Tensor) -> Tensor:
        """Means of two neighbours along each axis; half of an odd side is rounded up."""
        return self._sized(x, [(n + 1) // 2 for n in x.shape[2:]])

    def _as_large(self, x: Tensor, other: Tensor) -> Tensor:
        return self._sized(x, [*other.shape[2:]])

    def _sized(self, x: Tensor, size: list[int]) -> Tensor:
        mode = "trilinear" if self.rank == 3 else "bilinear"
        return functional.interpolate(x, size=size, mode=mode, align_corners=False)
