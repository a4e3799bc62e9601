"""Input gradient, averaged over noisy copies (SmoothGrad: Smilkov et al. 2017, arXiv 1706.03825)."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from unoise_engine.errors import Usage
from unoise_engine.explanation.method import Advance
from unoise_engine.explanation.target import Target
from unoise_engine.models.segmenter import GRADIENT, Segmenter
from unoise_engine.typed import bounded


@dataclass(frozen=True)
class InputGradient:
    """importance = mean over `draws` of sum over channels |d score / d (x + noise)|; the score sums the target's own
    scores, the noise is Gaussian, its deviation the share `noise` of the item's range.

    An item's noise depends on the `seed` and the item alone, not on the others beside it. Without noise one draw says
    all.
    """

    name: ClassVar[str] = "gradient"
    title: ClassVar[str] = "Input gradient"
    about: ClassVar[str] = "how strongly the score answers a small change of each voxel"
    ends: ClassVar[tuple[str, str]] = ("the score does not answer", "it answers most")
    unit: ClassVar[str] = "score per SD"
    needs: ClassVar[str] = GRADIENT
    chosen: ClassVar[bool] = False

    draws: int = bounded(8, least=1, most=1000, about="noisy copies that are averaged")
    noise: float = bounded(0.1, least=0, most=1, about="share of the item's range")
    seed: int = bounded(0, least=0, about="of the noise")

    def __post_init__(self) -> None:
        if not 1 <= self.draws <= 1000:
            raise Usage(f"draws {self.draws}", "is no number of noisy copies", "give 1 to 1000")
        if not 0 <= self.noise <= 1:
            raise Usage(f"noise {self.noise}", "is no share of the item's range", "give 0 to 1")
        if self.seed < 0:
            raise Usage(f"seed {self.seed}", "is negative", "give 0 or more")

    def __call__(self, model: Segmenter, x: np.ndarray, target: Target, advance: Advance) -> np.ndarray:
        maps = np.zeros((len(x), *x.shape[2:]), np.float32)
        draws = self.draws if self.noise else 1
        for k in range(len(x)):
            item, mask = x[k : k + 1], target.mask[k : k + 1]
            if not mask.any():
                advance(1.0)
                continue
            chance = np.random.default_rng([self.seed, zlib.crc32(item.tobytes())])
            size = np.float32(self.noise * np.ptp(item))
            for _ in range(draws):
                noisy = item + size * chance.standard_normal(item.shape, np.float32) if self.noise else item
                maps[k] += np.abs(model.gradient(noisy, mask)[0]).sum(axis=0) / draws
                advance(1 / draws)
        return maps
