"""Occlusion sensitivity (Zeiler & Fergus 2014): grey out a patch, and see how much of the segmentation is lost."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from unoise_engine.errors import Usage
from unoise_engine.methods.protocol import Advance, Model

PATCHES_A_CALL = 8


@dataclass(frozen=True)
class Occlusion:
    """A square patch of `patch` pixels is set to `fill` (normalised intensity) at every `stride` pixels.

    Pixels are the model's, after resampling. importance = 1 - dice(prediction, occluded prediction), so 0 means the
    patch does not matter and 1 that the organ is lost. It belongs to the patch's centre; between centres it is
    interpolated linearly. Costs one pass of the utility a position; slices without organ cost nothing and get zeros.
    """

    patch: int = 15
    stride: int = 12
    fill: float = 0.0

    def __post_init__(self) -> None:
        if self.patch < 1:
            raise Usage(f"--patch {self.patch} - is no patch - give at least 1 pixel (the paper uses 15)")
        if self.stride < 1:
            raise Usage(f"--stride {self.stride} - is no step - give at least 1 pixel (the paper uses 2)")

    def __call__(self, model: Model, slices: np.ndarray, logits: np.ndarray, advance: Advance) -> np.ndarray:
        maps = np.zeros((len(slices), *slices.shape[2:]), np.float32)
        for k, image in enumerate(slices):
            organ = logits[k, 0] > 0
            if organ.any():
                maps[k] = self.one_slice(model, image, organ, advance)
            else:
                advance(1.0)
        return maps

    def one_slice(self, model: Model, image: np.ndarray, organ: np.ndarray, advance: Advance) -> np.ndarray:
        """(c, h, w) and the unoccluded prediction (h, w) bool -> importance (h, w)."""
        rows, columns = (_corners(n, self.patch, self.stride) for n in organ.shape)
        spots = [(y, x) for y in rows for x in columns]
        drop = np.empty(len(spots), np.float32)
        for start in range(0, len(spots), PATCHES_A_CALL):
            some = spots[start : start + PATCHES_A_CALL]
            hidden = np.repeat(image[None], len(some), axis=0)
            for one, (y, x) in zip(hidden, some):
                one[:, y : y + self.patch, x : x + self.patch] = self.fill
            seen = model.predict(hidden)[:, 0] > 0
            drop[start : start + len(some)] = 1 - _dice(seen, organ)
            advance(len(some) / len(spots))
        lattice = drop.reshape(len(rows), len(columns))
        half = (self.patch - 1) / 2
        return _between(rows + half, organ.shape[0]) @ lattice @ _between(columns + half, organ.shape[1]).T


def _corners(length: int, patch: int, stride: int) -> np.ndarray:
    """First pixels of the patches along one side; the last patch always reaches the far edge."""
    last = max(length - patch, 0)
    return np.unique(np.append(np.arange(0, last, stride), last))


def _between(centres: np.ndarray, length: int) -> np.ndarray:
    """Weights (length, centres) of linear interpolation, constant beyond the outermost centres."""
    eye = np.eye(len(centres), dtype=np.float32)
    pixels = np.arange(length)
    return np.stack([np.interp(pixels, centres, column) for column in eye], axis=1).astype(np.float32)


def _dice(masks: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """(n, h, w) and (h, w) bool, reference not empty -> (n,)."""
    shared = (masks & reference).sum(axis=(1, 2))
    return 2 * shared / (masks.sum(axis=(1, 2)) + reference.sum())
