"""What of a CT a map is judged on: a plane that the model is given, or of a model of blocks the window on the label."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from unoise_engine.explanation.focus import window_on
from unoise_engine.models.given import Given
from unoise_engine.models.input import Input
from unoise_engine.models.segmenter import Region, Segmenter
from unoise_engine.models.windowed import Windowed
from unoise_engine.volume.scratch import Stack


@dataclass(frozen=True)
class Part:
    """A box of the model's planes (n, h, w): one of them for a model of planes."""

    given: Given
    box: Region

    @staticmethod
    def plane(given: Given, k: int) -> Part:
        return Part(given, (slice(k, k + 1), slice(None), slice(None)))

    @staticmethod
    def window(model: Segmenter, given: Given, organ: np.ndarray) -> Part:
        """Centred on the organ (n, h, w) bool, which is not empty; the whole block for a model without windows."""
        if isinstance(model, Windowed) and model.recipe.window.size:
            return Part(given, window_on(model.recipe.window, organ))
        return Part(given, tuple(slice(0, n) for n in organ.shape))

    @property
    def index(self) -> int:
        """Of its middle plane; in a CT seen by axial slices counted from the feet."""
        axial = isinstance(self.given, Input) and self.given.recipe.rank == 2
        return self.given.start * axial + (self.box[0].start + self.box[0].stop - 1) // 2

    @property
    def side_mm(self) -> tuple[float, ...]:
        """Of a pixel or voxel."""
        plane = (self.given.pixel_mm,) * 2
        return plane if self.given.recipe.rank == 2 else (self.given.slice_mm, *plane)

    @property
    def image(self) -> np.ndarray:
        """What the model is given, (c, *s)."""
        if self.given.recipe.rank == 2:
            return self.given.items(self.box[0])[0]
        (whole,) = self.given.steps()
        return self.given.items(whole)[0][(slice(None), *self.box)]

    def of(self, planes: Stack) -> np.ndarray:
        """The same part of other planes (n, h, w), (*s): a copy."""
        found = np.array(planes[self.box[0]][(slice(None), *self.box[1:])])
        return found[0] if self.given.recipe.rank == 2 else found
