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
    interpolated linearly. Costs one pass of the utility a position. Patches beside the body (beyond the box around all
    that is above the slice's lowest value) are not tried and get 0, and so do slices without organ.
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
        near = np.outer(*(_touching(starts, self.patch, line) for starts, line in zip((rows, columns), _extent(image))))
        spots = [(y, x) for y in rows for x in columns]
        drop = np.zeros(len(spots), np.float32)
        tried = np.flatnonzero(near)
        for start in range(0, len(tried), PATCHES_A_CALL):
            places = tried[start : start + PATCHES_A_CALL]
            some = [spots[place] for place in places]
            hidden = np.repeat(image[None], len(some), axis=0)
            for one, (y, x) in zip(hidden, some):
                one[:, y : y + self.patch, x : x + self.patch] = self.fill
            seen = model.predict(hidden)[:, 0] > 0
            drop[places] = 1 - _dice(seen, organ)
            advance(len(some) / len(tried))
        lattice = drop.reshape(len(rows), len(columns))
        half = (self.patch - 1) / 2
        return _between(rows + half, organ.shape[0]) @ lattice @ _between(columns + half, organ.shape[1]).T


def _extent(image: np.ndarray) -> tuple[tuple[int, int], tuple[int, int]]:
    """First and last row, first and last column of what lies above the lowest value of a slice (c, h, w)."""
    inside = (image > image.min()).any(axis=0)
    rows, columns = (np.flatnonzero(inside.any(axis=axis)) for axis in (1, 0))
    if not len(rows):
        return (0, inside.shape[0] - 1), (0, inside.shape[1] - 1)
    return (int(rows[0]), int(rows[-1])), (int(columns[0]), int(columns[-1]))


def _touching(starts: np.ndarray, patch: int, line: tuple[int, int]) -> np.ndarray:
    """Which patches, by their first pixels, have a pixel on the line."""
    return (starts <= line[1]) & (starts + patch > line[0])


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
