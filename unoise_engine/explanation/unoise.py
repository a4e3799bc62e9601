"""U-Noise (Koker et al. 2021, arXiv 2101.05791): importance is the noise a voxel cannot bear."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from unoise_engine.explanation.method import Advance
from unoise_engine.explanation.target import Target
from unoise_engine.models.segmenter import NOISE, Segmenter


@dataclass(frozen=True)
class UNoise:
    """importance = -z, where B = sigmoid(z) scales the noise from sigma_min to sigma_max. One pass of a small net.

    Positive where the noise must stay below the middle of that range; the paper's pictures show the positive part.
    A net that is told the prediction has nothing to relate an item without the label to, and lights all of it up: such
    items get zeros, as from the other methods.
    """

    name: ClassVar[str] = "unoise"
    title: ClassVar[str] = "U-Noise"
    about: ClassVar[str] = "where noise would spoil the segmentation, learnt by a small net"
    ends: ClassVar[tuple[str, str]] = ("bears the most noise", "bears the least")
    unit: ClassVar[str] = "logit"
    needs: ClassVar[str] = NOISE
    chosen: ClassVar[bool] = True

    def __call__(self, model: Segmenter, x: np.ndarray, target: Target, advance: Advance) -> np.ndarray:
        asked = target.found if model.looks_at_scores else np.ones(len(x), bool)
        maps = np.zeros((len(x), *x.shape[2:]), np.float32)
        if asked.any():
            maps[asked] = -model.noise_logits(x[asked], target.scores[asked])[:, 0]
        advance(len(x))
        return maps
