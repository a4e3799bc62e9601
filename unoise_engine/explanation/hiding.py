"""How pixels are hidden: by the paper's grey (0 of the normalised image), or drowned in noise as in training."""

from __future__ import annotations

import numpy as np

from unoise_engine.explanation.slices import LabelledSlice, chance
from unoise_engine.models.manifest import Manifest

FILLS = ("grey", "noise")
SIGMA = 5.0  # the paper's sigma_max, in units of the normalised image


def largest_noise(manifest: Manifest) -> float:
    """The most noise that a bundle's U-Noise was taught with, in units of the normalised image."""
    return float(manifest.architecture.get("noise", {}).get("sigma_max", SIGMA))


def tolerance(importance: np.ndarray) -> np.ndarray:
    """U-Noise's importance, -z -> the share of the largest noise that a place bears, sigmoid(z)."""
    return 1 / (1 + np.exp(np.clip(importance, -30, 30)))


class Hider:
    """Hides pixels of one slice. The noise depends on the slice, the seed and the draw alone: the same for all maps."""

    def __init__(self, one: LabelledSlice, seed: int, draws: int, sigma: float):
        self.image = one.image
        shape = one.organ.shape
        self.noise = [
            (sigma * chance(seed, one, "noise", d).standard_normal(shape)).astype(np.float32) for d in range(draws)
        ]

    def variants(self, fill: str) -> int:
        """Images a mask gives: one with grey, one a draw with noise."""
        return 1 if fill == "grey" else len(self.noise)

    def hide(self, visible: np.ndarray, fill: str) -> np.ndarray:
        """Masks (n, h, w) bool -> images (n * variants, c, h, w), those of one mask beside each other."""
        if fill == "grey":
            return self.image[None] * visible[:, None]
        added = np.stack(self.noise)[None] * ~visible[:, None]  # (n, draws, h, w)
        return (self.image[None, None] + added[:, :, None]).reshape(-1, *self.image.shape)
