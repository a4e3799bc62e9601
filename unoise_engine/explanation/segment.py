"""From what a model is given to what it finds: the one way, for explaining, judging, obscuring and teaching."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from unoise_engine.explanation.jumps import coarse, jumps
from unoise_engine.explanation.target import Target
from unoise_engine.models.clean_up import CleanUp
from unoise_engine.models.given import Given, OnGrid
from unoise_engine.models.input import Input
from unoise_engine.models.kept import Kept
from unoise_engine.models.prepared import Prepared
from unoise_engine.models.segmenter import Segmenter
from unoise_engine.models.windowed import Windowed
from unoise_engine.progress import clock
from unoise_engine.volume.scratch import Stack, room


@dataclass(frozen=True, eq=False)
class Prediction:
    """Planes (n, h, w): `scores` as the model gave them, `cleaned` after clean-up; above 0 where the label is.

    `dropped` is the share of what was found that clean-up took away, `jumps` (n,) says before which planes the CT jumps
    (jumps.py), `shows` (n,) which planes show any of the label after clean-up.
    """

    given: Given
    scores: Stack
    cleaned: Stack
    dropped: float
    jumps: np.ndarray
    shows: np.ndarray
    kept: Kept | None = None

    def mask(self, label: int) -> OnGrid:
        """The segmentation on the CT's grid. Of a model of several labels that was not cleaned up, as its source does:
        every channel is brought back, and then the largest is taken."""
        if isinstance(self.given, Prepared) and self.cleaned is self.scores:
            return self.given.restore(self.cleaned, label, self.kept)
        return self.given.restore(self.cleaned, label)

    def target(self, some: slice) -> Target:
        """What a method is asked about for the planes of a step: the model's own scores, wherever clean-up left some
        of the label on the item."""
        scores = self.given.as_items(np.array(self.scores[some]))
        shown = self.shows[some] if self.given.recipe.rank == 2 else self.shows.any(keepdims=True)
        scores[~shown] = -1
        return Target(scores)


def segment(
    model: Segmenter,
    given: Given,
    clean_up: CleanUp | None = None,
    folder: Path | None = None,
    advance: Callable[[float], None] = lambda amount: None,
    seconds: dict[str, float] | None = None,
) -> Prediction:
    """Runs the model on all of its input and cleans up. `advance` hears of items done, `seconds` is told
    what "prepare" and "segmentation" took.

    Stacks of a large CT lie in nameless files in `folder`, if one is given. Raises ModelFault, and OSError if the disk
    of `folder` is full.
    """
    seconds = {} if seconds is None else seconds
    scores, blocks, kept = room(given.shape, folder), [], None
    if isinstance(model, Windowed) and isinstance(given, Prepared):
        kept = Kept.for_(given.recipe, given.shape, model.channels, folder)
    for some in given.steps():
        with clock(seconds, "prepare"):
            x = given.items(some)
        with clock(seconds, "segmentation"), heard(model, advance) as by_window:
            if isinstance(model, Windowed) and kept is not None:
                scores[some] = given.as_planes(model.predict_and_keep(x, kept, some.start))
            else:
                scores[some] = given.as_planes(model.predict(x))
            if isinstance(given, Input) and given.recipe.rank == 2:
                blocks += [*coarse(x, given.recipe)]
        if not by_window:
            advance(len(x))
    with clock(seconds, "segmentation"):
        apart = np.zeros(given.shape[0], bool)
        if isinstance(given, Input) and blocks:
            apart = jumps(blocks, given.slice_mm, given.recipe)
        clean_up = clean_up or CleanUp()
        cleaned, dropped = clean_up.apply(scores, given.slice_mm, given.pixel_mm, folder, apart)
        shows = np.array([bool((plane > 0).any()) for plane in cleaned])
    return Prediction(given, scores, cleaned, dropped, apart, shows, kept)


@contextmanager
def heard(model: Segmenter, advance: Callable[[float], None]) -> Iterator[bool]:
    """While a model looks at an item window by window, it tells of each; whether it does."""
    if not isinstance(model, Windowed):
        yield False
        return
    model.heard = advance
    try:
        yield True
    finally:
        model.heard = None
