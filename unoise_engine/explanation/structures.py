"""Occlusion by structure: hide what else the model finds, one by one, and see how much of the label is lost."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from unoise_engine.errors import Usage
from unoise_engine.explanation.method import Advance
from unoise_engine.explanation.occlusion import around
from unoise_engine.explanation.overlap import overlap
from unoise_engine.explanation.target import Target
from unoise_engine.models.segmenter import LABELS, Segmenter
from unoise_engine.models.windows import Box
from unoise_engine.typed import bounded
from unoise_engine.volume.distance import grown

SMALLEST = 8  # voxels: less of a structure is not hidden


@dataclass(frozen=True)
class Structures:
    """Each other label of the model's own segmentation is filled with the mean of a shell of `shell` voxels around it,
    the label in question left out.

    importance = 1 - dice(prediction, prediction without the structure), for all of the structure's voxels: 0 means that
    it does not matter, 1 that the label is lost. What belongs to no other label gets 0. As many passes as there are
    structures, each of the windows that they touch.
    """

    name: ClassVar[str] = "structures"
    title: ClassVar[str] = "Occlusion by structure"
    about: ClassVar[str] = "how much of the segmentation is lost when another structure that the model finds is hidden"
    ends: ClassVar[tuple[str, str]] = ("nothing is lost without it", "dice lost without it")
    unit: ClassVar[str] = "dice lost"
    needs: ClassVar[str] = LABELS
    chosen: ClassVar[bool] = True

    shell: int = bounded(3, least=1, most=20, about="voxels around a structure whose mean takes its place")

    def __post_init__(self) -> None:
        if not 1 <= self.shell <= 20:
            raise Usage(f"shell {self.shell}", "is no number of voxels around a structure", "give 1 to 20")

    def __call__(self, model: Segmenter, x: np.ndarray, target: Target, advance: Advance) -> np.ndarray:
        maps = np.zeros((len(x), *x.shape[2:]), np.float32)
        for k, image in enumerate(x):
            organ = target.mask[k, 0]
            if organ.any():
                self._one_item(model, image, organ, maps[k], advance)
            else:
                advance(1.0)
        return maps

    def _one_item(
        self, model: Segmenter, image: np.ndarray, organ: np.ndarray, found: np.ndarray, advance: Advance
    ) -> None:
        numbers = model.numbers(image[None])[0, 0]
        counts = np.bincount(numbers[~organ].ravel())
        others = [n for n in range(1, len(counts)) if counts[n] >= SMALLEST]
        for number in others:
            structure = (numbers == number) & ~organ
            changed = _box(structure)
            hidden = self.hidden(image, structure, organ, changed)
            seen = model.replaced(image, hidden, changed, around(organ))[0] > 0
            found[structure] = 1 - overlap(seen[None], organ)[0]
            advance(1 / len(others))
        if not others:
            advance(1.0)

    def hidden(self, image: np.ndarray, structure: np.ndarray, organ: np.ndarray, box: Box) -> np.ndarray:
        """The item (c, *s) without the structure."""
        wide = tuple(slice(max(s.start - self.shell, 0), s.stop + self.shell) for s in box)
        inside = structure[wide]
        shell = grown(inside, self.shell, (1.0,) * inside.ndim) & ~inside & ~organ[wide]
        result = image.copy()
        for channel in result:
            near = channel[wide][shell]
            channel[structure] = near.mean() if near.size else channel.mean()
        return result


def _box(mask: np.ndarray) -> Box:
    box = []
    for axis in range(mask.ndim):
        there = np.flatnonzero(mask.any(axis=tuple(a for a in range(mask.ndim) if a != axis)))
        box.append(slice(int(there[0]), int(there[-1]) + 1))
    return tuple(box)
