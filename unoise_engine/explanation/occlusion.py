"""Occlusion sensitivity (Zeiler & Fergus 2014): grey out a patch, and see how much of the segmentation is lost."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import numpy as np

from unoise_engine.errors import Usage
from unoise_engine.explanation.items import Batch, Items
from unoise_engine.explanation.lattice import Lattice, Refinement
from unoise_engine.explanation.method import Advance
from unoise_engine.explanation.search import Search, Sketch
from unoise_engine.explanation.target import Target
from unoise_engine.models.segmenter import Region, Segmenter
from unoise_engine.models.windowed import Windowed
from unoise_engine.typed import bounded

FINE, COARSE = 2, 16  # pixels between the places of an adaptive map: the finest, as in the paper, and the first
MARGIN = 16  # pixels around the organ within which an adaptive map looks for changes of the prediction
MINUTES = {2: 1.0, 3: 5.0}  # a CT is given where nobody says how long, by the rank of what the model looks at
MOST_MINUTES = 10_000
TOLERANCE = 0.05  # of the range: cells whose corners differ by less are not looked into
ADAPTIVE_ERROR = 0.02  # RMS, of the range, from the exact map there; tests hold it to that (test_adaptive.py)


@dataclass(frozen=True)
class Occlusion:
    """A square patch of `patch` pixels is set to `fill` (normalised intensity) at every `stride` pixels.

    Pixels are the model's, after resampling. importance = 1 - dice(prediction, occluded prediction), so 0 means the
    patch does not matter and 1 that the organ is lost. It belongs to the patch's centre; between centres it is
    interpolated linearly. Patches beside the body (beyond the box around all that is above the slice's lowest value)
    and patches that are `fill` already are not tried and get 0, and so do slices without organ.

    `stride` = 0 is adaptive: every 16 pixels (fewer for a small patch), and on to every 2 where values vary by more
    than 5 % of their range. A single place that differs while its neighbours agree may be missed.
    Farther than 16 pixels from the box around the organ it takes the prediction for unchanged: it tells what is lost
    of the organ, not where the grey patch itself is mistaken for one, which the exact map counts too. docs/speed.md
    tells how far it is from the exact map.

    After `minutes` the adaptive maps of a CT are taken as they are (search.py): what was not tried is interpolated, or
    0 beyond the coarse places that were, and slices that were not looked at lie between those that were. The report
    says how many, and about how large the error is. Items by themselves, as judges ask for them, have no limit unless
    one is set or they are blocks.
    """

    name: ClassVar[str] = "occlusion"
    title: ClassVar[str] = "Occlusion"
    about: ClassVar[str] = "how much of the segmentation is lost when a patch is greyed out"
    ends: ClassVar[tuple[str, str]] = ("nothing is lost without it", "dice lost without it")
    unit: ClassVar[str] = "dice lost"
    needs: ClassVar[str] = ""
    chosen: ClassVar[bool] = False  # a minute a CT

    patch: int = bounded(15, least=1, about="side of the grey square in the model's pixels; the paper uses 15")
    stride: int = bounded(0, least=0, about="step of the square; the paper uses 2; 0: fine where it matters")
    fill: float = bounded(0.0, about="intensity of the square, as the model is given it")
    minutes: float = bounded(0.0, least=0, about="at most for a CT, adaptive alone; 0: 1, of a model of blocks 5")

    def __post_init__(self) -> None:
        if self.patch < 1:
            raise Usage(f"--patch {self.patch}", "is no patch", "give at least 1 pixel (the paper uses 15)")
        if self.stride < 0:
            raise Usage(
                f"--stride {self.stride}", "is no step", "give at least 1 pixel (the paper uses 2), or 0: adaptive"
            )
        if not 0 <= self.minutes <= MOST_MINUTES:
            raise Usage(f"minutes {self.minutes}", "is no length of time", f"give 0 to {MOST_MINUTES}")

    @property
    def kind(self) -> str:
        """What a report says of the map."""
        if self.stride:
            return f"exact, every {self.stride} pixels"
        return f"adaptive: within {MARGIN} pixels of the organ, finished with an RMS error up to {ADAPTIVE_ERROR:.0%}"

    @property
    def coarse(self) -> int:
        """Voxels between the first places of an adaptive map: a smaller patch must not fall between them."""
        return next(step for step in (COARSE, COARSE // 2, COARSE // 4, FINE) if step <= self.patch + 1)

    def places(self, *size: int) -> int:
        """About how many patches an item of that size takes; where it is adaptive, as many as twice as fine a lattice
        has as it begins with."""
        return math.prod(length // (self.stride or self.coarse // 2) for length in size)

    def __call__(self, model: Segmenter, x: np.ndarray, target: Target, advance: Advance) -> np.ndarray:
        items = Batch(x, target.mask[:, 0])
        search = self.searched(model, items, self.limit(items.rank), advance)
        return np.stack([search.map(k) for k in range(len(items))])

    def one_item(self, model: Segmenter, image: np.ndarray, organ: np.ndarray, advance: Advance) -> np.ndarray:
        """(c, *s) and the unoccluded prediction (*s) bool -> importance (*s)."""
        items = Batch(image[None], organ[None])
        return self.searched(model, items, self.limit(items.rank), advance).map(0)

    def of_ct(self, model: Segmenter, items: Items, advance: Advance) -> tuple[Iterator[np.ndarray], dict[str, Any]]:
        """The maps of all items of a CT, within its time, and what a report tells of how they were made."""
        search = self.searched(model, items, self.limit_of_ct(items.rank), advance)
        told = {
            "places": search.places,
            "items": search.shown,
            "looked_at": len(search.sketches),
            "estimated_error": round(search.error, 4),
            "ended": search.stopped or "finished",
        }
        return (search.map(k) for k in range(len(items))), told

    def searched(self, model: Segmenter, items: Items, seconds: float, advance: Advance) -> Search:
        search = Search(model, items, partial(self.sketch, model), seconds, advance)
        search.run()
        return search

    def sketch(self, model: Segmenter, image: np.ndarray, organ: np.ndarray) -> Sketch:
        """The map of an item (c, *s) with the prediction (*s) bool, before anything is measured."""
        lattice = Lattice.every(self.stride or FINE, organ.shape, self.patch)
        measured = np.where(self.tried(image, lattice), np.nan, 0)
        region = None if self.stride else around(organ)
        if region is not None and isinstance(model, Windowed):
            measured[~lattice.within(model.reach(region, organ.shape))] = 0
        refinement = Refinement(measured, 1 if self.stride else self.coarse // FINE, TOLERANCE)
        return Sketch(organ, lattice, refinement, self.fill, region)

    def limit(self, rank: int) -> float:
        """Seconds that items of that rank are given by themselves, where results must not depend on a clock."""
        return self._seconds(self.minutes or (MINUTES[3] if rank == 3 else math.inf))

    def limit_of_ct(self, rank: int) -> float:
        """Seconds that a CT is given."""
        return self._seconds(self.minutes or MINUTES[rank])

    def _seconds(self, minutes: float) -> float:
        return math.inf if self.stride else 60 * minutes

    def tried(self, image: np.ndarray, lattice: Lattice) -> np.ndarray:
        """Which places have a voxel of the body that the patch would change: the others get 0."""
        tried = np.ones(lattice.shape, bool)
        changed = (image != self.fill).any(axis=0).astype(np.int64)
        for axis, (starts, line) in enumerate(zip(lattice.lines, _extent(image))):
            shape = [-1 if a == axis else 1 for a in range(changed.ndim)]
            tried &= _touching(starts, self.patch, line).reshape(shape)
            sums = np.concatenate([np.zeros_like(changed.take([0], axis)), changed.cumsum(axis)], axis)
            ends = np.minimum(starts + self.patch, image.shape[1 + axis])
            changed = sums.take(ends, axis) - sums.take(starts, axis)
        return tried & (changed > 0)


def around(organ: np.ndarray) -> Region:
    """The box around the organ and `MARGIN` beyond."""
    box = []
    for axis, n in enumerate(organ.shape):
        there = np.flatnonzero(organ.any(axis=tuple(a for a in range(organ.ndim) if a != axis)))
        box.append(slice(max(int(there[0]) - MARGIN, 0), min(int(there[-1]) + 1 + MARGIN, n)))
    return tuple(box)


def _extent(image: np.ndarray) -> list[tuple[int, int]]:
    """First and last line, along each axis, of what lies above the lowest value of (c, *s); all if nothing does."""
    inside = (image > image.min()).any(axis=0)
    ends = []
    for axis, n in enumerate(inside.shape):
        there = np.flatnonzero(inside.any(axis=tuple(a for a in range(inside.ndim) if a != axis)))
        ends.append((int(there[0]), int(there[-1])) if len(there) else (0, n - 1))
    return ends


def _touching(starts: np.ndarray, patch: int, line: tuple[int, int]) -> np.ndarray:
    """Which patches, by their first voxels, have a voxel on the line."""
    return (starts <= line[1]) & (starts + patch > line[0])
