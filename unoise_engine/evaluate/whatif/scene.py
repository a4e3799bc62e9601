"""A CT, what a model finds on it, and what it finds when something is hidden."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from unoise_engine.errors import CaseRefused
from unoise_engine.evaluate.whatif.fills import Region, filling
from unoise_engine.evaluate.whatif.settings import HideSettings
from unoise_engine.explanation.segment import Prediction, segment
from unoise_engine.models.cutoff import refill
from unoise_engine.models.given import Given, given_of
from unoise_engine.models.input import Input
from unoise_engine.models.preparation import Preparation
from unoise_engine.models.remembered import Remembered
from unoise_engine.models.session import Bundle
from unoise_engine.volume.structures import Structure
from unoise_engine.volume.volume import AxialView, Volume


@dataclass(frozen=True)
class Effect:
    """What is found without one structure, or without two. `dice` with what is found with nothing hidden; `ml` found,
    `lost` of it before, `new` elsewhere; `hidden_ml` were hidden; the structure `covers` so much of the organ (share).
    `beyond`: what a pair costs in dice beyond the sum of what its two cost alone."""

    hidden: tuple[str, ...]
    dice: float
    before_ml: float
    ml: float
    lost_ml: float
    new_ml: float
    hidden_ml: float
    covers: float
    beyond: float | None = None

    @property
    def name(self) -> str:
        return " + ".join(self.hidden)


@dataclass(frozen=True, eq=False)
class Seen:
    """An axial slice to look at: the CT as it was shown, the outlines before and after."""

    k: int
    hu: np.ndarray
    before: np.ndarray
    after: np.ndarray


@dataclass
class Scene:
    """A CT with what the model finds on it, kept for question after question.

    Raises CaseRefused NO_ORGAN where it finds nothing, and Usage for slices that the CT has not.
    """

    ct: Volume
    bundle: Bundle
    slices: tuple[int, int] | None = None
    folder: Path | None = None
    _known: Remembered = field(init=False, repr=False)
    _before: Prediction = field(init=False, repr=False)
    _masks: dict[int, np.ndarray] = field(init=False, repr=False)  # axial slice -> what is found, where anything is
    organ: np.ndarray = field(init=False, repr=False)  # (z, y, x) bool
    _hu: np.ndarray = field(init=False, repr=False)

    def __post_init__(self) -> None:
        if not isinstance(self.bundle.recipe, Preparation):
            self.ct = self.ct.with_voxels(_with_fat(self.ct))
        self._hu = self.ct.voxels.copy()
        self._known = Remembered(self.bundle)
        self._before = self._segment(self.ct)
        self._known.know(self._before.scores)
        found = self._before.mask(1)
        self._masks = {k: one > 0 for k, one in enumerate(found.slices()) if one.any()}
        if not self._masks:
            what = f"shows no {self.bundle.manifest.organ} to the model, so nothing can be lost"
            raise CaseRefused("NO_ORGAN", "the CT", what, "give a CT, or --slices, where it finds some")
        self.organ = np.zeros(self.ct.voxels.shape, bool)
        axial = self.view.apply(self.organ)
        for k, mask in self._masks.items():
            axial[k] = mask

    @property
    def view(self) -> AxialView:
        return AxialView.of(self.ct.grid)

    @property
    def ml(self) -> float:
        """Found with nothing hidden."""
        return float(np.count_nonzero(self.organ)) * self.ct.grid.voxel_ml

    def labels(self) -> Iterator[Structure]:
        """What else the model finds, by its own labels."""
        given, manifest = self._given(self.ct), self.bundle.manifest
        numbers = np.zeros(given.shape, np.uint8)
        for some in given.steps():
            numbers[some] = given.as_planes(self.bundle.numbers(given.items(some)))
        for name, number in manifest.labels.items():
            planes = np.where(numbers == number, np.float32(1), np.float32(-1))
            if name not in (manifest.chosen or (manifest.organ,)) and (planes > 0).any():
                mask = given.restore(planes, 1).voxels > 0
                yield Structure(name, lambda mask=mask: mask)  # type: ignore[misc]

    def region(self, structure: Structure, organ: str) -> tuple[Region | None, float]:
        """The voxels to hide of a structure, None if there are none, and the share of the organ that it covers."""
        region = Region.of(structure.mask())
        if region is None:
            return None, 0.0
        covers = region.count(self.organ) / np.count_nonzero(self.organ)
        return (region if organ == "hide" else region.without(self.organ)), covers

    def without(self, regions: Sequence[Region], how: HideSettings, keep: bool = False) -> Without:
        """Hides all of them at once, and asks the model again. `keep`: what it finds then is kept as a mask."""
        for one in regions:
            values = filling(self.ct.voxels, one, how.fill, self.ct.grid.spacing_mm, how.seed)
            if self._hu.dtype.kind in "iu":
                ends = np.iinfo(self._hu.dtype)
                values = np.clip(np.rint(values), ends.min, ends.max)
            self._hu[one.box][one.mask] = values
        try:
            shown = self.ct.with_voxels(self._hu)
            after = self._segment(shown)
            return Without(self, after, keep)
        finally:
            for one in regions:
                self._hu[one.box] = self.ct.voxels[one.box]

    def _segment(self, ct: Volume) -> Prediction:
        return segment(self._known, self._given(ct), self.bundle.manifest.clean_up, self.folder)

    def _given(self, ct: Volume) -> Given:
        return given_of(ct, self.bundle.recipe, *(self.slices or ()))


class Without:
    """What is found with something hidden, beside what is found without. Slices are compared one at a time, while the
    voxels are still hidden. `mask` (z, y, x) uint8 is what is found, where that is to be kept."""

    def __init__(self, scene: Scene, after: Prediction, keep: bool = False):
        restored, before = after.mask(1), scene._masks
        self.found = self.lost = self.new = 0
        self.seen: Seen | None = None
        self.mask = np.zeros(scene.ct.voxels.shape, np.uint8) if keep else None
        kept = None if self.mask is None else scene.view.apply(self.mask)
        most, planes_are_slices = -1, isinstance(after.given, Input) and after.given.recipe.rank == 2
        axial = scene.view.apply(after.given.ct.voxels)
        for k in range(after.given.start, after.given.stop):
            empty = planes_are_slices and not after.shows[k - after.given.start]
            there = before.get(k)
            if empty and there is None:
                continue
            found = np.zeros(axial.shape[1:], bool) if empty else restored.slice(k) > 0
            there = np.zeros_like(found) if there is None else there
            if kept is not None:
                kept[k] = found
            lost, new = int(np.count_nonzero(there & ~found)), int(np.count_nonzero(found & ~there))
            self.found, self.lost, self.new = self.found + int(found.sum()), self.lost + lost, self.new + new
            if lost + new > most:
                most, self.seen = lost + new, Seen(k, np.array(axial[k]), there, found)

    def effect(self, scene: Scene, names: tuple[str, ...], hidden: int, covers: float) -> Effect:
        before, ml = int(np.count_nonzero(scene.organ)), scene.ct.grid.voxel_ml
        dice = 2 * (before - self.lost) / (before + self.found)
        return Effect(names, dice, before * ml, self.found * ml, self.lost * ml, self.new * ml, hidden * ml, covers)


def _with_fat(ct: Volume) -> np.ndarray:
    """The voxels with the fat back in slices that were cut off at 0 HU (models/cutoff.py): a slice with something
    hidden has values below 0 and would not be seen for one."""
    view = AxialView.of(ct.grid)
    axial = view.apply(ct.voxels)
    cut = [k for k, hu in enumerate(axial) if hu.size and hu.min() == 0]
    if not cut:
        return ct.voxels
    voxels = ct.voxels.astype(np.float32)
    filled = view.apply(voxels)
    for k in cut:
        filled[k] = refill(axial[k])
    return voxels
