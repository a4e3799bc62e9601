"""Importance maps straight from a run, for evaluation beside a bundle's own."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import torch

from unoise_engine.explanation.method import Advance
from unoise_engine.explanation.target import Target
from unoise_engine.models.segmenter import Segmenter
from unoise_engine.training.fold import folded
from unoise_engine.training.near import NearNet
from unoise_engine.training.runs import UNoiseRun


class RunMethod:
    """A `Method`: -z of a trained noise model, whatever the bundle's own is."""

    name: ClassVar[str] = "run"
    title: ClassVar[str] = "U-Noise of a run"
    about: ClassVar[str] = "where noise would spoil the segmentation, learnt by a run's net"
    unit: ClassVar[str] = "logit"
    needs: ClassVar[str] = ""
    chosen: ClassVar[bool] = False

    def __init__(self, run: UNoiseRun, channels: int):
        self.net = folded(run.net(channels))

    def __call__(self, model: Segmenter, x: np.ndarray, target: Target, advance: Advance) -> np.ndarray:
        with torch.no_grad():
            slices = torch.from_numpy(x)
            near = isinstance(self.net, NearNet)
            z = self.net(slices, torch.from_numpy(target.scores)) if near else self.net(slices)
        maps = -z[:, 0].numpy()
        if near:  # as `explanation.unoise`
            maps[~target.found] = 0
        advance(len(x))
        return maps
