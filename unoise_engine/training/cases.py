"""Labelled CTs as the model sees them, prepared once and kept in memory."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from unoise_engine.errors import CaseRefused, Usage
from unoise_engine.models.input import Input
from unoise_engine.models.recipe import Recipe
from unoise_engine.training.content import Content
from unoise_engine.training.pairs import Pair
from unoise_engine.training.sources import Source
from unoise_engine.volume.labelled import read_labelled


@dataclass(frozen=True)
class Case:
    """One CT's axial slices, feet first.

    The windowed values are kept as bytes: a step is 1.6 HU of a 400 HU window, far below the noise of a CT, and a
    quarter of the memory of float32.
    """

    name: str
    image: np.ndarray  # (n, h, w) uint8, 0 .. 255 = the window
    organ: np.ndarray  # (n, h, w) bool
    others: np.ndarray | None = None  # (n, h, w) uint8, k + 1 where the k-th other structure is; None: none known
    known: tuple[bool, ...] = ()  # which of the other structures these labels tell
    source: int = 0  # which of the data folders it comes from
    content: Content = field(default_factory=Content)

    @cached_property
    def with_organ(self) -> np.ndarray:
        """Indices of the slices that show organ, (k,)."""
        return np.flatnonzero(self.organ.any(axis=(1, 2)))

    @cached_property
    def without_organ(self) -> np.ndarray:
        return np.flatnonzero(~self.organ.any(axis=(1, 2)))

    @cached_property
    def centres(self) -> np.ndarray:
        """Centre (row, column) of the organ in every slice, (n, 2); the slice's middle where there is none."""
        n, h, w = self.organ.shape
        middle = np.array([h / 2, w / 2])
        found = [np.argwhere(mask) for mask in self.organ]
        return np.stack([points.mean(axis=0) if len(points) else middle for points in found]).reshape(n, 2)


def load_case(
    pair: Pair, recipe: Recipe, numbers: Sequence[int], others: Sequence[int | None] = (), source: int = 0
) -> Case:
    """Reads and prepares one pair. `numbers` are the organ's labels, `others` those of the other structures.

    Raises CaseRefused: OTHER_GRID, EMPTY_LABEL, NO_SUCH_LABEL, and whatever `read_image` and `check_ct` refuse.
    """
    ct, labels = read_labelled(pair, numbers)
    given = Input.of(ct, recipe)
    axial = given.view.apply(labels.voxels)
    resampled = given.resampled(np.isin(axial, numbers)) > 0.5  # a pixel belongs where half of it does
    if not resampled.any():
        what = f"shows no organ at {recipe.spacing_mm:g} mm"
        raise CaseRefused("EMPTY_LABEL", pair.labels, what, "use a finer [ct] spacing_mm or remove the case")
    known = tuple(number is not None for number in others)
    rest = None
    if any(known):
        rest = np.zeros(resampled.shape, np.uint8)
        for k, number in enumerate(others):
            if number is not None:
                rest[given.resampled(axial == number) > 0.5] = k + 1
    content = Content.of(ct, float(np.isin(axial, numbers).sum() * ct.grid.voxel_ml))
    return Case(pair.case, np.round(given.windowed() * 255).astype(np.uint8), resampled, rest, known, source, content)


def load_cases(
    sources: Sequence[Source], names: Sequence[str], recipe: Recipe, tell: Callable[[str, int, int], None]
) -> list[Case]:
    """The named ones in order; `tell` hears (case, how many are done, how many there are). Raises `Usage` too."""
    found = {pair.case: (pair, k) for k, source in enumerate(sources) for pair in source.pairs}
    cases = []
    for done, name in enumerate(names):
        if name not in found:
            raise Usage(
                f"case {name}", "belongs to the run's split but not to the data", "give the folder it began with"
            )
        tell(name, done, len(names))
        pair, k = found[name]
        cases.append(load_case(pair, recipe, sources[k].numbers, sources[k].others, k))
    return cases
