"""Importance maps straight from a run, for evaluation beside a bundle's own."""

from __future__ import annotations

import numpy as np
import torch

from unoise_engine.explanation.protocol import Advance, Model
from unoise_engine.training.fold import folded
from unoise_engine.training.near import NearNet
from unoise_engine.training.runs import UNoiseRun


class RunMethod:
    """A `Method`: -z of a trained noise model, whatever the bundle's own is."""

    def __init__(self, run: UNoiseRun, channels: int):
        self.net = folded(run.net(channels))

    def __call__(self, model: Model, slices: np.ndarray, logits: np.ndarray, advance: Advance) -> np.ndarray:
        with torch.no_grad():
            x = torch.from_numpy(slices)
            z = self.net(x, torch.from_numpy(logits)) if isinstance(self.net, NearNet) else self.net(x)
        maps = -z[:, 0].numpy()
        if isinstance(self.net, NearNet):  # as `methods.unoise`
            maps[~(logits > 0).any(axis=(1, 2, 3))] = 0
        advance(len(slices))
        return maps
