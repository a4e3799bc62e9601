"""U-Noise (Koker et al. 2021, arXiv 2101.05791): importance is the noise a voxel cannot bear."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from unoise_engine.explanation.method import Advance
from unoise_engine.explanation.target import Target
from unoise_engine.models.segmenter import NEAR, NOISE, Segmenter


@dataclass(frozen=True)
class UNoise:
    """importance = -z, where B = sigmoid(z) scales the noise from sigma_min to sigma_max. One pass of a small net that
    sees the item alone: the paper's algorithm 1.

    Positive where the noise must stay below the middle of that range; the paper's pictures show the positive part.
    """

    name: ClassVar[str] = "unoise"
    title: ClassVar[str] = "U-Noise"
    about: ClassVar[str] = "where noise would spoil the segmentation, learnt by a small net that sees the CT alone"
    ends: ClassVar[tuple[str, str]] = ("bears the most noise", "bears the least")
    unit: ClassVar[str] = "logit"
    needs: ClassVar[str] = NOISE
    chosen: ClassVar[bool] = True

    def __call__(self, model: Segmenter, x: np.ndarray, target: Target, advance: Advance) -> np.ndarray:
        maps = -model.noise_logits(x)[:, 0]
        advance(len(x))
        return maps


@dataclass(frozen=True)
class NearUNoise:
    """The same of a net that is told what was found. It starts from nearness to it and learns where that is wrong, and
    has the label itself on top by construction: most of the map's order is distance (docs/results.md says how much).

    It has nothing to relate an item without the label to, and would light all of it up: such items get zeros, as from
    the other methods.
    """

    name: ClassVar[str] = "unoise-near"
    title: ClassVar[str] = "U-Noise (near)"
    about: ClassVar[str] = "where noise would spoil the segmentation, learnt by a net that starts from nearness to it"
    ends: ClassVar[tuple[str, str]] = UNoise.ends
    unit: ClassVar[str] = UNoise.unit
    needs: ClassVar[str] = NEAR
    chosen: ClassVar[bool] = True

    def __call__(self, model: Segmenter, x: np.ndarray, target: Target, advance: Advance) -> np.ndarray:
        maps = np.zeros((len(x), *x.shape[2:]), np.float32)
        if target.found.any():
            maps[target.found] = -model.noise_logits(x[target.found], target.scores[target.found])[:, 0]
        advance(len(x))
        return maps
