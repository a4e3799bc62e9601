"""Beyond the paper: the map is trained on the very question it is judged by, at every share visible.

The published loss says how much noise a pixel can bear while all others are nearly clean; the curve of Fig. 3a asks
which few pixels suffice when the rest is gone. So a share is drawn for each image, the most important pixels keep it,
the others are hidden, half of the images by grey and half by noise, and the utility must still say the same:

    s      ~ log-uniform(low, high)                       share visible, one an image (uniform where noise hides: the
                                                          utility sees little through noise until much is visible)
    m      = importance + wander * smooth chance          in standard deviations of the image's importance
    keep   = the s largest of m                           a step; its gradient is that of a sigmoid around the threshold
             (of a net that puts the organ first: all of the organ, and the s largest of the others)
    x'     = keep x + (1 - keep) 0   or   x + (1 - keep) sigma_max eps
    loss   = BCE(U(x'), y) + 1 - dice(U(x'), y)

Chance shows the utility places that the map does not ask for: without it, what lies far below the threshold is never
seen, and a map that misses a cause never learns of it. Straight-through gradients: Bengio et al. 2013; of perturbed
rankings: Berthet et al. 2020. Fong et al. 2019 ask the same of one image at a time.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, binary_cross_entropy_with_logits, interpolate

from unoise_engine.training.unet import UNet


@dataclass(frozen=True)
class Budgets:
    """Shares visible. `softness` is the width of the step's gradient, `wander` the greatest reach of chance, both in
    standard deviations of an image's importance; chance changes from `knot` to `knot` pixels."""

    low: float = 0.02
    high: float = 0.7
    softness: float = 0.5
    wander: float = 1.5
    knot: int = 4

    def __post_init__(self) -> None:
        if not 0 < self.low < self.high < 1:
            raise ValueError(f"budgets must rise within 0 .. 1: {self.low}, {self.high}")


class CoarseUNet(UNet):
    """A U-Net whose map is the mean over cells of `cell` pixels, interpolated between their middles.

    The utility wants connected context, and a coarse map is connected. Height and width are multiples of `cell`.
    """

    def __init__(self, cell: int, *shape: int):
        super().__init__(*shape)
        self.cell = cell

    def forward(self, x: Tensor) -> Tensor:
        """Normalised slices (n, c, h, w) -> z, logits of noise (n, 1, h, w), smooth."""
        z = avg_pool2d(super().forward(x), self.cell)
        return interpolate(z, scale_factor=float(self.cell), mode="bilinear", align_corners=False)


def by_grey(n: int, device: torch.device) -> Tensor:
    """(n,) bool: every second image is hidden by grey, the others by noise."""
    return torch.arange(n, device=device) % 2 == 0


def draw_shares(n: int, budgets: Budgets, device: torch.device) -> Tensor:
    """(n,) between low and high, log-uniform for images hidden by grey, uniform for the others."""
    drawn = torch.rand(n, device=device)
    low, high = budgets.low, budgets.high
    return torch.where(by_grey(n, device), low * (high / low) ** drawn, low + (high - low) * drawn)


def keep_best(importance: Tensor, shares: Tensor, softness: float, shown: Tensor | None = None) -> Tensor:
    """Importance (n, 1, h, w) and shares (n,) -> 1 where a pixel is among the best of its image, 0 elsewhere.

    Forward it is that step; backward it is a sigmoid around the threshold, of importance in standard deviations. Pixels
    `shown` anyway, (n, 1, h, w) bool, are 1 and learn nothing; the share is then one of the others.
    """
    flat = importance.flatten(1)
    anyway = torch.zeros_like(flat, dtype=torch.bool) if shown is None else shown.flatten(1)
    scaled = flat / flat.detach().std(dim=1, keepdim=True).clamp_min(1e-6)
    ordered = scaled.detach().masked_fill(anyway, -torch.inf).sort(dim=1, descending=True).values
    last = (shares * (~anyway).sum(1)).round().long().clamp(1, flat.shape[1]) - 1
    soft = ((scaled - ordered.gather(1, last[:, None])) / softness).sigmoid()
    hard = (soft.detach() >= 0.5).to(soft.dtype)
    kept = torch.where(anyway, torch.ones_like(soft), hard + soft - soft.detach())
    return kept.reshape(importance.shape)


def wandered(importance: Tensor, budgets: Budgets) -> Tensor:
    """Importance (n, 1, h, w) and smooth chance, for each image of another reach, 0 to `wander`."""
    n, _, h, w = importance.shape
    knots = torch.randn(n, 1, max(2, h // budgets.knot), max(2, w // budgets.knot), device=importance.device)
    reach = budgets.wander * torch.rand(n, 1, 1, 1, device=importance.device)
    field = interpolate(knots, size=(h, w), mode="bicubic", align_corners=False)
    return importance + reach * field * importance.detach().std(dim=(1, 2, 3), keepdim=True)


def hide(x: Tensor, keep: Tensor, sigma: float) -> Tensor:
    """Normalised images (n, c, h, w): every second one is hidden by grey (0), the others by noise."""
    grey = by_grey(len(x), x.device)[:, None, None, None]
    noise = sigma * torch.randn_like(keep)
    return torch.where(grey, keep * x, x + (1 - keep) * noise)


def budget_loss(
    utility: nn.Module, z: Tensor, x: Tensor, y: Tensor, sigma: float, budgets: Budgets, organ_first: bool = False
) -> Tensor:
    """Noise logits z (n, 1, h, w) of images x (n, c, h, w), targets y (n, 1, h, w) in {0, 1} -> scalar.

    `organ_first`: the net puts the organ first itself, so it is always shown and what else counts is asked.
    """
    shares = draw_shares(len(x), budgets, x.device)
    keep = keep_best(wandered(-z, budgets), shares, budgets.softness, y > 0.5 if organ_first else None)
    logits = utility(hide(x, keep, sigma)).float()
    p = logits.sigmoid()
    overlap, total = (p * y).sum((1, 2, 3)), (p + y).sum((1, 2, 3))
    return binary_cross_entropy_with_logits(logits, y) + (1 - (2 * overlap + 1) / (total + 1)).mean()


@torch.no_grad()
def own_prediction(utility: nn.Module, x: Tensor) -> Tensor:
    """What the utility finds on the clean images, (n, 1, h, w) in {0, 1}: a target that needs no labels."""
    return (utility(x)[:, :1] > 0).to(x.dtype)
