"""What a segmentation model is, to everything above this room."""

from __future__ import annotations

from typing import Protocol

import numpy as np

from unoise_engine.models.preparation import Preparation
from unoise_engine.models.recipe import Recipe

Region = tuple[slice, ...]  # a box of an item: first and last voxel, that one excluded, of each axis
# What a model can be asked besides its prediction.
NOISE, NEAR, GRADCAM, GRADIENT, LABELS = "noise", "near", "gradcam", "gradient", "labels"


class Predicts(Protocol):
    """What judging by hidden voxels needs of a model."""

    def predict(self, x: np.ndarray) -> np.ndarray:
        """Items (k, c, *s) -> scores of the label (k, 1, *s); > 0 means found."""
        ...


class Segmenter(Predicts, Protocol):
    """A model of one label; `session.Bundle` is one. It is given items x (k, c, *s) float32, normalised by its recipe;
    s has `recipe.rank` axes, (h, w) or (d, h, w). It answers (k, 1, *s) float32.

    Its scores are margins: above 0 where it finds the label, so that a segmenter of many labels is one, too.
    """

    @property
    def recipe(self) -> Recipe | Preparation: ...

    @property
    def answers(self) -> frozenset[str]:
        """Which of NOISE, NEAR, GRADCAM, GRADIENT and LABELS it can be asked; each predicts and can be occluded."""
        ...

    def noise_logits(self, x: np.ndarray, scores: np.ndarray | None = None) -> np.ndarray:
        """U-Noise's z; sigmoid(z) is the share of the largest noise a voxel can bear. With `scores` by the net that is
        told what was found (NEAR), without by the one that sees the items alone (NOISE)."""
        ...

    def gradcam(self, x: np.ndarray, target: np.ndarray) -> np.ndarray:
        """Grad-CAM for the score sum(target * scores), >= 0; `target` (k, 1, *s)."""
        ...

    def gradient(self, x: np.ndarray, target: np.ndarray) -> np.ndarray:
        """d sum(target * scores) / d x, (k, c, *s)."""
        ...

    def numbers(self, x: np.ndarray) -> np.ndarray:
        """All labels that it finds, by their numbers, (k, 1, *s) uint8; 0 where there is none."""
        ...

    def replaced(self, image: np.ndarray, other: np.ndarray, changed: Region, region: Region | None) -> np.ndarray:
        """Scores (1, *s) of an item `other` (c, *s) that differs from `image` within the box `changed` alone. Outside
        the `region` they are those of `image`. Asked only of what finds LABELS."""
        ...

    def occluded(
        self, image: np.ndarray, places: np.ndarray, patch: int, fill: float, region: Region | None = None
    ) -> np.ndarray:
        """One item (c, *s) -> scores (k, 1, *s) with a cube of `patch` voxels at each of the k `places` (first voxels,
        (k, rank)) set to `fill`. Outside the `region` they are the item's own."""
        ...


class OneLabel:
    """What a segmenter of a single label answers about its labels."""

    def numbers(self: Predicts, x: np.ndarray) -> np.ndarray:
        return (self.predict(x) > 0).astype(np.uint8)

    def replaced(
        self: Predicts, image: np.ndarray, other: np.ndarray, changed: Region, region: Region | None
    ) -> np.ndarray:
        before, after = self.predict(np.stack([image, other]))
        if region is None:
            return after
        inside = (slice(None), *region)
        before[inside] = after[inside]
        return before


class Wrapped:
    """A segmenter that answers as another does, but for what a subclass changes."""

    def __init__(self, model: Segmenter):
        self.model = model

    @property
    def recipe(self) -> Recipe | Preparation:
        return self.model.recipe

    @property
    def answers(self) -> frozenset[str]:
        return self.model.answers

    def predict(self, x: np.ndarray) -> np.ndarray:
        return self.model.predict(x)

    def noise_logits(self, x: np.ndarray, scores: np.ndarray | None = None) -> np.ndarray:
        return self.model.noise_logits(x, scores)

    def gradcam(self, x: np.ndarray, target: np.ndarray) -> np.ndarray:
        return self.model.gradcam(x, target)

    def gradient(self, x: np.ndarray, target: np.ndarray) -> np.ndarray:
        return self.model.gradient(x, target)

    def numbers(self, x: np.ndarray) -> np.ndarray:
        return self.model.numbers(x)

    def replaced(self, image: np.ndarray, other: np.ndarray, changed: Region, region: Region | None) -> np.ndarray:
        return self.model.replaced(image, other, changed, region)

    def occluded(
        self, image: np.ndarray, places: np.ndarray, patch: int, fill: float, region: Region | None = None
    ) -> np.ndarray:
        return self.model.occluded(image, places, patch, fill, region)


def occluded_items(image: np.ndarray, places: np.ndarray, patch: int, fill: float) -> np.ndarray:
    """One item (c, *s) and k first voxels (k, rank) -> k items with a cube of `patch` voxels set to `fill`."""
    hidden = np.repeat(image[None], len(places), axis=0)
    for one, place in zip(hidden, places):
        one[(slice(None), *(slice(first, first + patch) for first in place))] = fill
    return hidden
