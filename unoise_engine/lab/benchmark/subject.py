"""A bundle and the slice, or block, that every program is given."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from unoise_engine.errors import Usage
from unoise_engine.explanation.focus import window_on
from unoise_engine.explanation.part import Part
from unoise_engine.explanation.segment import segment
from unoise_engine.models.given import Given, foreign, given_of, own
from unoise_engine.models.input import Input
from unoise_engine.models.preparation import Preparation
from unoise_engine.models.recipe import Recipe
from unoise_engine.models.segmenter import NEAR
from unoise_engine.models.session import Bundle
from unoise_engine.volume.volume import Volume

SIDE = 256  # pixels of a slice, as in the paper


@dataclass(frozen=True)
class Subject:
    """`slices` (1, c, *s), normalised; `logits` (1, 1, *s), the utility's own; `organ` (*s) bool, what is to be
    explained. s is (h, w), or (d, h, w) of a model of blocks."""

    name: str
    bundle: Bundle
    slices: np.ndarray
    logits: np.ndarray
    organ: np.ndarray

    @staticmethod
    def of(name: str, bundle: Bundle, slices: np.ndarray, organ: np.ndarray | None = None) -> Subject:
        """By default the organ is what the utility finds."""
        logits = bundle.predict(slices)
        return Subject(name, bundle, slices, logits, logits[0, 0] > 0 if organ is None else organ)

    @property
    def image(self) -> np.ndarray:
        return self.slices[0]

    @property
    def imported(self) -> bool:
        """Whether its nets are somebody else's."""
        return isinstance(self.bundle.recipe, Preparation)

    @property
    def told(self) -> np.ndarray | None:
        """What the noise model is given beside the slices: logits, or nothing."""
        return self.logits if NEAR in self.bundle.answers else None

    @property
    def noise_model(self) -> str:
        """Its file's name, without suffix."""
        return next(iter(self.bundle.manifest.noise_models.values()))

    @property
    def target(self) -> np.ndarray:
        """d score / d logits of Grad-CAM: (1, 1, *s), 1 on the organ, else 0."""
        return self.organ[None, None].astype(np.float32)


def fullest_slice(
    name: str, bundle: Bundle, ct: Volume, which: Sequence[int] | None = None, side: int = SIDE
) -> Subject:
    """The slice, of those numbered, in which the bundle finds most organ; the organ's middle is that of the picture.
    Of an imported model one window on what it finds. Raises Usage where it finds nothing."""
    if isinstance(bundle.recipe, Preparation):
        return _window(name, bundle, given_of(ct, bundle.recipe))
    slices = Input.of(ct, own(bundle.recipe)).windowed()
    slices = slices if which is None else slices[list(which)]
    found = bundle.predict(own(bundle.recipe).normalise(slices)) > 0
    best = int(found.sum(axis=(1, 2, 3)).argmax())
    there = np.argwhere(found[best, 0])
    if not len(there):
        raise _nothing(name)
    image = framed(slices[best], side, 0.0, np.median(there, axis=0))
    return Subject.of(name, bundle, own(bundle.recipe).normalise(image[None]))


def _window(name: str, bundle: Bundle, given: Given) -> Subject:
    """Centred on what the model finds; of a model of planes on the plane with most of it."""
    scores = segment(bundle, given).scores
    found = np.stack([plane > 0 for plane in scores])
    if not found.any():
        raise _nothing(name)
    if given.recipe.rank == 3:
        return Subject.of(name, bundle, Part.window(bundle, given, found).image[None])
    best = int(found.sum(axis=(1, 2)).argmax())
    image, window = Part.plane(given, best).image, foreign(bundle.recipe).window
    box = window_on(window, found[best]) if window.size else ()
    return Subject.of(name, bundle, image[(slice(None), *box)][None])


def _nothing(name: str) -> Usage:
    return Usage(name, "finds no organ there, so nothing can be explained", "choose another --bundle or --ct")


def slices_of(ct: Volume, recipe: Recipe, which: Sequence[int], side: int) -> np.ndarray:
    """Axial slices from the feet, prepared, their middle in that of `side` x `side` pixels: (n, c, h, w)."""
    every = Input.of(ct, recipe).windowed()
    return recipe.normalise(np.stack([framed(every[k], side, 0.0) for k in which]))


def framed(
    image: np.ndarray, side: int, beyond: float, middle: Sequence[float] | np.ndarray | None = None
) -> np.ndarray:
    """The part (side, side) of an image around its middle, or around what lies at `middle` (row, column) as far as the
    image reaches; where it is smaller, it has `beyond` around it."""
    for axis in (0, 1):
        n = image.shape[axis]
        if n > side:
            start = (n - side) // 2 if middle is None else int(np.clip(middle[axis] - side // 2, 0, n - side))
            image = np.take(image, np.arange(start, start + side), axis)
        else:
            pads = [(0, 0), (0, 0)]
            pads[axis] = ((side - n) // 2, side - n - (side - n) // 2)
            image = np.pad(image, pads, constant_values=beyond)
    return image
