"""Slices of which most is hidden, as explanations hide it, so that a segmenter knows what such slices are.

A net that has never seen grey or noise beside its organ answers to them with anything, and then no ranking of pixels
can be judged by what is left visible (Hooker et al. 2019 retrain for the same reason; here one net learns both).
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from unoise_engine.training.budgets import Budgets, draw_shares, hide, keep_best
from unoise_engine.training.near import nearness

KNOTS = 6  # a side: the visible part is a few smooth patches
SHARES = Budgets(0.005, 0.7)  # visible, of the slice
SIGMA = 5.0  # the published sigma_max, in units of the normalised image


def partly_hidden(x: Tensor, y: Tensor, share: float) -> tuple[Tensor, Tensor]:
    """Normalised slices (n, c, h, w) and masks (n, k, h, w) bool; a `share` of them, drawn by chance, is partly hidden.

    Visible are smooth patches, drawn by chance and, by chance, to the organ (channel 0). What is hidden is no target:
    the net is to say what it sees.
    """
    n, device = len(x), x.device
    chosen = torch.rand(n, device=device) < share
    field = interpolate(torch.randn(n, 1, KNOTS, KNOTS, device=device), size=x.shape[2:], mode="bicubic")
    drawn_to = 4 * torch.rand(n, 1, 1, 1, device=device) * nearness(y[:, :1].to(x.dtype))
    keep = keep_best(field + drawn_to, draw_shares(n, SHARES, device), 1.0)
    keep = torch.where(chosen[:, None, None, None], keep, 1.0).to(x.dtype)
    return hide(x, keep, SIGMA), y & (keep > 0)
