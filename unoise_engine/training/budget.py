"""Ranking learnt at every budget: keep the most important share of a slice, hide the rest, and ask for the same answer.

The published loss says how much noise all pixels bear at once; a curve of dice against share visible asks which pixels
are enough. Here a share is drawn for every slice, what lies below it is hidden by grey or drowned in noise, and the
utility has to find again what it found in the whole slice. Its own clean prediction is the target: the map explains the
model, right or wrong.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

SOFTNESS = 0.5  # of a map's standard deviation: the width of the step through which gradients pass
CROSS_ENTROPY = 5.0  # its weight beside the dice: an organ is some hundredth of a slice


def visible(z: Tensor, shares: Tensor) -> Tensor:
    """z (n, 1, h, w), shares (n,) in (0, 1) -> 1 where z is among the lowest share of its slice, else 0, (n, 1, h, w).

    The step is hard; its gradient is that of a sigmoid around the threshold (Bengio et al. 2013, straight through).
    """
    flat = z.detach().flatten(1).float()
    thresholds = torch.stack([row.quantile(share) for row, share in zip(flat, shares)])[:, None, None, None]
    width = SOFTNESS * flat.std(dim=1).clamp_min(1e-6)[:, None, None, None]
    soft = ((thresholds - z) / width).sigmoid()
    return (z <= thresholds).to(z.dtype) + soft - soft.detach()


def draw_shares(n: int, lowest: float, highest: float, device: torch.device) -> Tensor:
    """(n,), as many below the geometric mean as above."""
    return torch.empty(n, device=device).uniform_(math.log(lowest), math.log(highest)).exp()


def budget_loss(
    utility: nn.Module, x: Tensor, found: Tensor, z: Tensor, budgets: tuple[float, float], sigma: float
) -> Tensor:
    """Normalised slices x (n, c, h, w), the clean prediction `found` (n, 1, h, w) in {0, 1}, z (n, 1, h, w) -> scalar.

    Half of the slices are hidden by grey (0 of the normalised image), half by noise of `sigma`. At `sigma` = 0 all are
    hidden by grey.
    """
    n = len(x)
    kept = visible(z, draw_shares(n, *budgets, z.device))
    noisy = (torch.rand(n, device=x.device) < 0.5).to(x.dtype)[:, None, None, None] * (sigma > 0)
    seen = x * kept + (1 - kept) * noisy * (x + sigma * torch.randn_like(z))
    logits = utility(seen).float()
    p = logits.sigmoid()
    overlap, total = (p * found).sum((1, 2, 3)), (p + found).sum((1, 2, 3))
    dice = (2 * overlap + 1) / (total + 1)
    return (1 - dice).mean() + CROSS_ENTROPY * binary_cross_entropy_with_logits(logits, found)
