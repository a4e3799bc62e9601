"""An image as a model from elsewhere sees it, and the way back from its maps to the image's own grid."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

import numpy as np
import SimpleITK as sitk

from unoise_engine.errors import Usage
from unoise_engine.models.kept import Kept
from unoise_engine.models.preparation import Preparation, Step
from unoise_engine.models.spline import new_count, resampled
from unoise_engine.volume.scratch import Stack
from unoise_engine.volume.volume import AxialView, Grid, Volume

Box = tuple[slice, ...]
LEAST_SPREAD = 1e-8  # of values that are divided by their spread (nnU-Net's eps)
PLANES_A_STEP = 8
SAME_MM = 1e-3


class Cut(NamedTuple):
    """What was cut off: the shape before, and the box that was kept."""

    shape: tuple[int, ...]
    box: Box


class Scaled(NamedTuple):
    """A resampling: the shape before, and the spacings before and after."""

    shape: tuple[int, ...]
    mm: tuple[float, ...]
    wanted_mm: tuple[float, ...]


@dataclass(frozen=True, eq=False)
class Prepared:
    """Planes (n, h, w) that the model's windows are taken from, along the first of the preparation's `axes`.

    `start` and `stop` are the axial slices of the CT that are looked at, as everywhere. `way` is what was done to the
    image's shape, in order. Offers what `Input` does.
    """

    ct: Volume
    recipe: Preparation
    view: AxialView
    turned: AxialView
    start: int
    stop: int
    way: tuple[Cut | Scaled, ...]
    image: np.ndarray = field(repr=False)
    pixel_mm: float
    slice_mm: float
    per_unit: float = 1.0  # of the image's values in one of the model's; 0 where nothing varies

    @staticmethod
    def of(ct: Volume, recipe: Preparation, start: int = 0, stop: int | None = None) -> Prepared:
        """`start` and `stop` count axial slices from the feet. Raises Usage if they are not in the CT."""
        view = AxialView.of(ct.grid)
        total = view.apply(ct.voxels).shape[0]
        stop = total if stop is None else stop
        if not 0 <= start < stop <= total:
            what = f"outside the CT's {total} axial slices"
            raise Usage(f"--slices {start + 1}:{stop}", what, f"choose within 1:{total}")
        turned = AxialView.towards(ct.grid, recipe.axes)
        image = turned.apply(view.undo(view.apply(ct.voxels)[start:stop])).astype(np.float32)
        if not np.isfinite(image).all():
            least = float(image[np.isfinite(image)].min(initial=0))
            image = np.nan_to_num(image, nan=least, posinf=least, neginf=least)
        mm: tuple[float, ...] = turned.spacing_mm
        way: list[Cut | Scaled] = []
        per_unit = 1.0
        for step in recipe.steps:
            if step.do == "resample":
                how = recipe.resampling
                wanted = tuple(w if w and not _same(w, m, how.rule) else m for w, m in zip(recipe.spacing_mm, mm))
                shape = tuple(new_count(n, m, w, how.rule) for n, m, w in zip(image.shape, mm, wanted))
                way.append(Scaled(image.shape, mm, wanted))
                image = resampled(image, shape, mm, wanted, how, (how.order, how.order_apart))
                mm = wanted
            elif step.do.startswith("crop"):
                box = _kept(image, step)
                way.append(Cut(image.shape, box))
                image = image[box]
            else:
                before, image = image, changed(image, step)
                if step.do.startswith(("normalise", "scale")):
                    per_unit *= _slope(before, image)
        image = np.ascontiguousarray(image, np.float32)
        pixel_mm = float(np.sqrt(mm[1] * mm[2]))
        return Prepared(ct, recipe, view, turned, start, stop, tuple(way), image, pixel_mm, mm[0], per_unit)

    @property
    def shape(self) -> tuple[int, int, int]:
        n, h, w = self.image.shape
        return n, h, w

    def __len__(self) -> int:
        """How many items the model is given."""
        return 1 if self.recipe.rank == 3 else self.shape[0]

    def steps(self) -> Iterator[slice]:
        """Ranges of planes that go through the model together."""
        step = self.shape[0] if self.recipe.rank == 3 else PLANES_A_STEP
        for low in range(0, self.shape[0], step):
            yield slice(low, min(low + step, self.shape[0]))

    def items(self, some: slice) -> np.ndarray:
        """What the model is given for the planes of a step: (k, 1, h, w) or (1, 1, n, h, w)."""
        return self.as_items(self.image[some])

    def as_items(self, planes: np.ndarray) -> np.ndarray:
        """Values of a step's planes (k, h, w) as the model answers them: (k, 1, h, w) or (1, 1, n, h, w)."""
        return planes[None, None] if self.recipe.rank == 3 else planes[:, None]

    def as_planes(self, answers: np.ndarray) -> np.ndarray:
        """Answers for a step's items, (k, 1, *s) or (k, *s), as planes (k, h, w)."""
        return answers.reshape(-1, *self.shape[1:])

    def resampled(self, axial: np.ndarray) -> np.ndarray:
        """Anything on the CT's axial slices `start` to `stop`, (k, rows, columns), such as a mask, as planes (n, h, w)
        float32; linear."""
        full = np.zeros(self.view.apply(self.ct.voxels).shape, np.float32)
        full[self.start : self.stop] = axial
        values = self.turned.apply(self.view.undo(full[self.start : self.stop]))
        for done in self.way:
            if isinstance(done, Cut):
                values = values[done.box]
            else:
                shape = tuple(
                    new_count(n, m, w, self.recipe.resampling.rule)
                    for n, m, w in zip(values.shape, done.mm, done.wanted_mm)
                )
                values = resampled(values, shape, done.mm, done.wanted_mm, self.recipe.resampling, (1, 1))
        return np.ascontiguousarray(values, np.float32)

    def restore(self, maps: Stack, label: int | None = None, kept: Kept | None = None) -> RestoredWhole:
        """Maps (n, h, w) on the CT's grid; 0 where nothing was run. With a `label` a mask: that number where a map is
        positive, or where that label leads among the channels that were `kept`."""
        return RestoredWhole(self, maps, label, kept)

    def backward(self, maps: np.ndarray, outside: float) -> np.ndarray:
        """Maps (n, h, w) on the CT's voxels (z, y, x) float32, `outside` where the model saw nothing of it."""
        values, how = maps.astype(np.float32, copy=False), self.recipe.resampling
        for done in reversed(self.way):
            if isinstance(done, Cut):
                full = np.full(done.shape, outside, np.float32)
                full[done.box] = values
                values = full
            else:
                orders = (how.back, how.back_apart)
                values = resampled(values, done.shape, done.wanted_mm, done.mm, how, orders)
        found = np.full(self.view.apply(self.ct.voxels).shape, outside, np.float32)
        found[self.start : self.stop] = self.view.apply(self.turned.undo(values))
        return self.view.undo(found)


@dataclass(frozen=True, eq=False)
class RestoredWhole:
    """Maps of the model's size as voxels on the CT's grid: float32, or uint8 for a mask. Made when first asked for.

    Offers what `input.Restored` does.
    """

    given: Prepared
    maps: Stack
    label: int | None
    kept: Kept | None = None

    @property
    def grid(self) -> Grid:
        return self.given.ct.grid

    @property
    def dtype(self) -> np.dtype:
        return np.dtype(np.float32 if self.label is None else np.uint8)

    @cached_property
    def voxels(self) -> np.ndarray:
        probabilities = self.given.recipe.resampling.back_as == "probabilities"
        if self.label is not None and self.kept is not None:
            margin = self.kept.margin(self.given.backward, probabilities)
            return (margin > 0).astype(np.uint8) * np.uint8(self.label)
        maps = np.asarray(self.maps[:])
        if self.label is not None and probabilities:
            maps = np.tanh(maps / 2)  # between two labels the difference of their probabilities
        values = self.given.backward(maps, 0.0 if self.label is None else -1.0)
        return values if self.label is None else (values > 0).astype(np.uint8) * np.uint8(self.label)

    def volume(self) -> Volume:
        return Volume(self.voxels, self.grid)

    def slices(self) -> Iterator[np.ndarray]:
        """Axial slices (rows, columns), feet first."""
        return iter(self.given.view.apply(self.voxels))

    def slice(self, k: int) -> np.ndarray:
        """The k-th axial slice (rows, columns) from the feet."""
        found: np.ndarray = self.given.view.apply(self.voxels)[k]
        return found

    def planes(self, low: int = 0, high: int | None = None) -> Iterator[np.ndarray]:
        """(y, x) of the voxel array, along z."""
        return iter(self.voxels[low:high])


def _same(wanted_mm: float, mm: float, rule: str) -> bool:
    """Whether MONAI's Spacing leaves an axis as it is (AFFINE_TOL)."""
    return rule == "first" and abs(wanted_mm - mm) <= SAME_MM


def changed(image: np.ndarray, step: Step) -> np.ndarray:
    """A step that changes values alone, (d, h, w) float32."""
    v = step.values
    if step.do == "clip":
        return np.clip(image, v[0], v[1])
    if step.do == "normalise":
        return (image - np.float32(v[0])) / np.float32(max(v[1], LEAST_SPREAD))
    if step.do == "normalise-image":
        return (image - image.mean()) / max(float(image.std()), LEAST_SPREAD)
    if step.do in ("normalise-nonzero", "normalise-filled"):
        mask = image != 0
        if step.do == "normalise-filled":
            filled = sitk.BinaryFillhole(sitk.GetImageFromArray(mask.astype(np.uint8)))
            mask = sitk.GetArrayFromImage(filled) > 0
        inside = image[mask]
        found = image.copy()
        if inside.size:
            found[mask] = (inside - inside.mean()) / max(float(inside.std()), LEAST_SPREAD)
        return found
    if step.do == "truncate":
        return np.trunc(image)
    if step.do == "scale":
        return _line(image, *v)
    if step.do == "scale-image":
        return _line(image, float(image.min()), float(image.max()), *v)
    low, high = np.percentile(image, v[:2])
    return _line(image, float(low), float(high), *v[2:])


def _line(image: np.ndarray, low: float, high: float, to_low: float, to_high: float) -> np.ndarray:
    if low == high:
        return np.full_like(image, to_low)
    found = (image - np.float32(low)) * np.float32((to_high - to_low) / (high - low)) + np.float32(to_low)
    return found.astype(np.float32, copy=False)


def _slope(before: np.ndarray, after: np.ndarray) -> float:
    """By how much an image rises where what a step made of it rises by 1; 0 where nothing varies. A step may have left
    zeros as they were."""
    inside = before != 0
    rise, run = (float(np.ptp(one[inside])) if inside.any() else 0.0 for one in (before, after))
    return rise / run if run > 0 else 0.0


def _kept(image: np.ndarray, step: Step) -> Box:
    """The box that a crop keeps; all if nothing would be left."""
    threshold, margin = step.values or (0.0, 0.0)
    inside = image > threshold if step.do == "crop-above" else image != 0
    box = []
    for axis, n in enumerate(image.shape):
        there = np.flatnonzero(inside.any(axis=tuple(a for a in range(3) if a != axis)))
        if not len(there):
            return tuple(slice(0, m) for m in image.shape)
        box.append(slice(max(int(there[0]) - int(margin), 0), min(int(there[-1]) + 1 + int(margin), n)))
    return tuple(box)
