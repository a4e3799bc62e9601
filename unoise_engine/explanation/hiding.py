"""How pixels are hidden: by the paper's grey, or drowned in noise as in training.

Of models trained here grey is 0 of the normalised image, and noise counts in its unit. To a model from elsewhere a unit
may be anything: there grey is the mean of the item's body, and noise counts in its standard deviation; in units of the
item where U-Noise was taught so.
"""

from __future__ import annotations

import numpy as np

from unoise_engine.explanation.slices import HidingUnits, LabelledItem, chance
from unoise_engine.models.manifest import Manifest
from unoise_engine.models.preparation import Preparation

FILLS = ("grey", "noise")
SIGMA = 5.0  # the paper's sigma_max, in units of the normalised image


def largest_noise(manifest: Manifest) -> float:
    """The most noise that a bundle's U-Noise was taught with, in units of the normalised image."""
    return float(manifest.architecture.get("noise", {}).get("sigma_max", SIGMA))


def hiding_units(manifest: Manifest, image: np.ndarray) -> HidingUnits:
    """Of one item (c, *s)."""
    if not isinstance(manifest.recipe, Preparation):
        return HidingUnits()
    grey, spread = body_of(image)
    return HidingUnits(grey, 1.0 if "noise" in manifest.architecture else spread)


def body_of(image: np.ndarray) -> tuple[float, float]:
    """Mean and standard deviation of what lies above an item's lowest value; 0 and 1 where nothing varies."""
    body = image[image > image.min()]
    spread = float(body.std()) if body.size else 0.0
    return (float(body.mean()), spread) if spread > 0 else (0.0, 1.0)


def tolerance(importance: np.ndarray) -> np.ndarray:
    """U-Noise's importance, -z -> the share of the largest noise that a place bears, sigmoid(z)."""
    return 1 / (1 + np.exp(np.clip(importance, -30, 30)))


class Hider:
    """Hides pixels of one item. The noise depends on the item, the seed and the draw alone: the same for all maps.

    `sigma` in units of the item's scale."""

    def __init__(self, one: LabelledItem, seed: int, draws: int, sigma: float):
        self.image, self.grey = one.image, np.float32(one.scale.grey)
        shape, sigma = one.organ.shape, sigma * one.scale.noise
        self.noise = [
            (sigma * chance(seed, one, "noise", d).standard_normal(shape)).astype(np.float32) for d in range(draws)
        ]

    def variants(self, fill: str) -> int:
        """Images a mask gives: one with grey, one a draw with noise."""
        return 1 if fill == "grey" else len(self.noise)

    def hide(self, visible: np.ndarray, fill: str) -> np.ndarray:
        """Masks (n, *s) bool -> images (n * variants, c, *s), those of one mask beside each other."""
        if fill == "grey":
            return np.where(visible[:, None], self.image[None], self.grey)
        added = np.stack(self.noise)[None] * ~visible[:, None]  # (n, draws, *s)
        return (self.image[None, None] + added[:, :, None]).reshape(-1, *self.image.shape)
