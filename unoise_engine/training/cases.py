"""Labelled CTs as the model sees them, prepared once and kept in memory."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from unoise_engine.ct.labelled import SAME_MM, apart_mm, describe
from unoise_engine.ct.prepare import Recipe, prepare
from unoise_engine.ct.read import check_ct, read_image
from unoise_engine.errors import CaseRefused
from unoise_engine.training.pairs import Pair


@dataclass(frozen=True)
class Case:
    """One CT's axial slices, feet first.

    The windowed values are kept as bytes: a step is 1.6 HU of a 400 HU window, far below the noise of a CT, and a
    quarter of the memory of float32.
    """

    name: str
    image: np.ndarray  # (n, h, w) uint8, 0 .. 255 = the window
    organ: np.ndarray  # (n, h, w) bool

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


def load_case(pair: Pair, recipe: Recipe, numbers: Sequence[int]) -> Case:
    """Reads and prepares one pair.

    Raises CaseRefused: OTHER_GRID, EMPTY_LABEL, NO_SUCH_LABEL, and whatever `read_image` and `check_ct` refuse.
    """
    ct, labels = check_ct(read_image(pair.ct), pair.ct), read_image(pair.labels)
    apart = apart_mm(ct.grid, labels.grid)
    if apart > SAME_MM:
        what = f"lies on another grid than {pair.ct.name} ({describe(apart)})"
        raise CaseRefused("OTHER_GRID", pair.labels, what, "resample the labels to the CT's grid")
    found = np.unique(labels.voxels)
    if not found.any():
        raise CaseRefused("EMPTY_LABEL", pair.labels, "holds no label at all", "remove the case or label the organ")
    if not np.isin(found, numbers).any():
        some = ", ".join(f"{n:g}" for n in found[found != 0][:8])
        wanted = " or ".join(map(str, numbers))
        what = f"holds the labels {some} but not {wanted}"
        raise CaseRefused("NO_SUCH_LABEL", pair.labels, what, "correct [data] labels in the recipe")
    windowed, frame = prepare(ct, recipe)
    rows, columns = frame.forth
    organ = frame.view.apply(np.isin(labels.voxels, numbers))
    resampled = np.stack([rows @ one.astype(np.float32) @ columns.T > 0.5 for one in organ])
    if not resampled.any():
        what = f"shows no organ at {recipe.spacing_mm:g} mm"
        raise CaseRefused("EMPTY_LABEL", pair.labels, what, "use a finer [ct] spacing_mm or remove the case")
    return Case(pair.case, np.round(windowed * 255).astype(np.uint8), resampled)


def load_cases(
    pairs: Sequence[Pair], recipe: Recipe, numbers: Sequence[int], tell: Callable[[str, int, int], None]
) -> list[Case]:
    """All of them in order; `tell` hears (case, how many are done, how many there are)."""
    cases = []
    for k, pair in enumerate(pairs):
        tell(pair.case, k, len(pairs))
        cases.append(load_case(pair, recipe, numbers))
    return cases
