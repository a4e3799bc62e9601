"""Occlusion sensitivity (Zeiler & Fergus 2014): grey out a patch, and see how much of the segmentation is lost."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from unoise_engine.errors import Usage
from unoise_engine.explanation.lattice import Lattice, refined
from unoise_engine.explanation.protocol import Advance, Model

PLACES_A_CALL = 8
FINE, COARSE = 2, 16  # pixels between the places of an adaptive map: the finest, as in the paper, and the first
MARGIN = 16  # pixels around the organ within which an adaptive map looks for changes of the prediction
TOLERANCE = 0.05  # of the range: cells whose corners differ by less are not looked into
ADAPTIVE_ERROR = 0.02  # RMS, of the range, from the exact map there; tests hold it to that (test_adaptive.py)


@dataclass(frozen=True)
class Occlusion:
    """A square patch of `patch` pixels is set to `fill` (normalised intensity) at every `stride` pixels.

    Pixels are the model's, after resampling. importance = 1 - dice(prediction, occluded prediction), so 0 means the
    patch does not matter and 1 that the organ is lost. It belongs to the patch's centre; between centres it is
    interpolated linearly. Patches beside the body (beyond the box around all that is above the slice's lowest value)
    and patches that are `fill` already are not tried and get 0, and so do slices without organ.

    `stride` = 0 is adaptive: every 16 pixels, and on to every 2 where values vary by more than 5 % of their range. A
    single place that differs while its neighbours agree may be missed.
    Farther than 16 pixels from the box around the organ it takes the prediction for unchanged: it tells what is lost
    of the organ, not where the grey patch itself is mistaken for one, which the exact map counts too. docs/speed.md
    tells how far it is from the exact map.
    """

    patch: int = 15
    stride: int = 0
    fill: float = 0.0

    def __post_init__(self) -> None:
        if self.patch < 1:
            raise Usage(f"--patch {self.patch}", "is no patch", "give at least 1 pixel (the paper uses 15)")
        if self.stride < 0:
            raise Usage(
                f"--stride {self.stride}", "is no step", "give at least 1 pixel (the paper uses 2), or 0: adaptive"
            )

    @property
    def kind(self) -> str:
        """What a report says of the map."""
        if self.stride:
            return f"exact, every {self.stride} pixels"
        return f"adaptive: within {MARGIN} pixels of the organ, RMS error up to {ADAPTIVE_ERROR:.0%} of the range"

    def places(self, h: int, w: int) -> int:
        """About how many patches a slice takes; where it is adaptive, four times those it begins with."""
        step = self.stride or COARSE // 2
        return (h // step) * (w // step)

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
        lattice = Lattice.every(self.stride or FINE, organ.shape, self.patch)
        known = np.where(self.tried(image, lattice), np.nan, 0)
        region = None if self.stride else around(organ)
        told = 0.0

        def measure(places: np.ndarray) -> np.ndarray:
            nonlocal told
            drop = np.zeros(len(places))
            share = (1.0 if self.stride else (1 - told) / 2) / max(len(places), 1)
            for start in range(0, len(places), PLACES_A_CALL):
                some = places[start : start + PLACES_A_CALL]
                corners = lattice.rows[some[:, 0]], lattice.columns[some[:, 1]]
                seen = model.occluded(image, *corners, self.patch, self.fill, region)[:, 0] > 0
                drop[start : start + PLACES_A_CALL] = 1 - overlap(seen, organ)
                advance(len(some) * share)
                told += len(some) * share
            return drop

        step = 1 if self.stride else COARSE // FINE
        values = refined(lattice.shape, measure, known, step, TOLERANCE)
        advance(1 - told)
        return lattice.spread(values.astype(np.float32), organ.shape)

    def tried(self, image: np.ndarray, lattice: Lattice) -> np.ndarray:
        """Which places (rows, columns) have a pixel of the body that the patch would change: the others get 0."""
        lines = zip((lattice.rows, lattice.columns), _extent(image))
        near = np.outer(*(_touching(starts, self.patch, line) for starts, line in lines))
        changed = np.pad((image != self.fill).any(axis=0).cumsum(0).cumsum(1), ((1, 0), (1, 0)))
        top, left = lattice.rows[:, None], lattice.columns[None]
        bottom, right = (np.minimum(a + self.patch, n) for a, n in zip((top, left), image.shape[1:]))
        pixels = changed[bottom, right] - changed[top, right] - changed[bottom, left] + changed[top, left]
        return near & (pixels > 0)


def around(organ: np.ndarray) -> tuple[int, int, int, int]:
    """The box around the organ and `MARGIN` beyond: first row and column, first row and column not any more."""
    ends = []
    for axis in (1, 0):
        there = np.flatnonzero(organ.any(axis=axis))
        ends.append((max(int(there[0]) - MARGIN, 0), min(int(there[-1]) + 1 + MARGIN, organ.shape[1 - axis])))
    return ends[0][0], ends[1][0], ends[0][1], ends[1][1]


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


def overlap(masks: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """(n, h, w) and (h, w) bool, reference not empty -> (n,)."""
    shared = (masks & reference).sum(axis=(1, 2))
    return 2 * shared / (masks.sum(axis=(1, 2)) + reference.sum())
