"""From a CT to the slices a model sees, and from its maps back to the CT's own grid.

In-plane resampling is a pair of small matrices per slice, one a side:
an anti-aliased triangle kernel, pixel centres on pixel centres, so nothing shifts by half a pixel.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from unoise_engine.models.cutoff import refill
from unoise_engine.models.recipe import Recipe
from unoise_engine.volume.scratch import Stack
from unoise_engine.volume.volume import AxialView, Grid, Volume

BLOCK_BYTES = 1 << 27  # of voxels at a time, where a plane of the file is no axial slice


def resize_weights(n_in: int, n_out: int, step: float) -> np.ndarray:
    """Weights (n_out, n_in) float32 that resample a line of pixels, both lines sharing one centre.

    ``step`` is the output pixel's size in input pixels. The kernel is a triangle as wide as the larger pixel, so
    shrinking averages (no aliasing) and enlarging interpolates linearly. Output pixels whose centre lies outside the
    input get no weight at all (they read 0); those inside are normalised to 1, so edges repeat.
    """
    centre = (np.arange(n_out) - (n_out - 1) / 2) * step + (n_in - 1) / 2  # in input pixels
    centre = np.round(centre, 6)  # spacings that passed through float32 headers must give the same weights
    weights = np.maximum(0, 1 - np.abs(centre[:, None] - np.arange(n_in)[None]) / max(step, 1.0))
    inside = (centre >= -0.5) & (centre <= n_in - 0.5)
    total = weights.sum(axis=1, keepdims=True)
    return np.where(inside[:, None], weights / np.maximum(total, 1e-12), 0).astype(np.float32)


@dataclass(frozen=True)
class Frame:
    """How a CT's axial slices map to the model's slices and back."""

    recipe: Recipe
    view: AxialView
    size: tuple[int, int]  # (rows, columns) of the model's slice
    forth: tuple[np.ndarray, np.ndarray] = field(repr=False)  # (rows, columns) weights, CT -> model
    back: tuple[np.ndarray, np.ndarray] = field(repr=False)  # model -> CT

    @staticmethod
    def of(ct: Volume, recipe: Recipe) -> Frame:
        view = AxialView.of(ct.grid)
        _, rows, columns = view.apply(ct.voxels).shape
        _, row_mm, column_mm = view.spacing_mm
        pairs = []
        for n, mm in ((rows, row_mm), (columns, column_mm)):
            wanted = int(np.ceil(round(n * mm / recipe.spacing_mm, 3)))
            size = -(-wanted // recipe.multiple_of) * recipe.multiple_of
            step = recipe.spacing_mm / mm
            pairs.append((size, resize_weights(n, size, step), resize_weights(size, n, 1 / step)))
        return Frame(
            recipe=recipe,
            view=view,
            size=(pairs[0][0], pairs[1][0]),
            forth=(pairs[0][1], pairs[1][1]),
            back=(pairs[0][2], pairs[1][2]),
        )

    def windowed(self, ct: Volume, start: int = 0, stop: int | None = None) -> Iterator[np.ndarray]:
        """Axial slices (rows, columns) in [0, 1] at the model's spacing, one at a time, feet first."""
        rows, columns = self.forth
        for hu in self.view.apply(ct.voxels)[start:stop]:
            yield rows @ self.recipe.window(refill(hu)) @ columns.T

    def restore(self, maps: Stack, ct: Volume, start: int = 0, label: int | None = None) -> Restored:
        """Maps (n, h, w) of slices start .. start + n, on the CT's grid; 0 where no slice was run.

        With a `label` a mask: that number where a map is positive.
        """
        return Restored(self, maps, ct.grid, start, label)


@dataclass(frozen=True)
class Restored:
    """Maps of the model's size as voxels on the CT's grid: float32, or uint8 for a mask.

    The voxels are made when they are asked for, so that those of a large CT need never be in memory at once.
    """

    frame: Frame
    maps: Stack
    grid: Grid
    start: int
    label: int | None

    @property
    def dtype(self) -> np.dtype:
        return np.dtype(np.float32 if self.label is None else np.uint8)

    @property
    def voxels(self) -> np.ndarray:
        return self._block(0, self.grid.size[2])

    def volume(self) -> Volume:
        return Volume(self.voxels, self.grid)

    def slices(self) -> Iterator[np.ndarray]:
        """Axial slices (rows, columns), feet first."""
        return map(self.slice, range(self._count))

    def slice(self, k: int) -> np.ndarray:
        """The k-th axial slice (rows, columns) from the feet."""
        rows, columns = self.frame.back
        if not self.start <= k < self.start + len(self.maps):
            return np.zeros((len(rows), len(columns)), self.dtype)
        values = rows @ self.maps[k - self.start].astype(np.float32, copy=False) @ columns.T
        return values if self.label is None else (values > 0).astype(np.uint8) * np.uint8(self.label)

    def planes(self, low: int = 0, high: int | None = None) -> Iterator[np.ndarray]:
        """(y, x) of the voxel array, along z."""
        depth, *plane = self.grid.shape
        view, high = self.frame.view, depth if high is None else high
        if view.axes[0] == 0:  # a plane is an axial slice, though it may be turned
            for z in range(low, high):
                yield view.undo(self.slice(depth - 1 - z if view.flips[0] else z)[None])[0]
            return
        step = max(1, BLOCK_BYTES // (plane[0] * plane[1] * self.dtype.itemsize))
        for z in range(low, high, step):  # a plane holds a line of every slice: each block restores them all
            yield from self._block(z, min(z + step, high))

    def _block(self, low: int, high: int) -> np.ndarray:
        """Planes low .. high - 1 of the voxel array; all of them where planes are axial slices."""
        view = self.frame.view
        axis = view.axes[0]
        block = np.zeros((high - low, *self.grid.shape[1:]), self.dtype)
        along = np.moveaxis(block, axis, 0)  # a view: filling it fills `block`
        for k in range(self.start, self.start + len(self.maps)):
            one = view.undo(self.slice(k)[None])
            along[self._count - 1 - k if view.flips[0] else k] = np.moveaxis(one[low:high] if axis else one, axis, 0)[0]
        return block

    @property
    def _count(self) -> int:
        return self.grid.shape[self.frame.view.axes[0]]


def prepare(ct: Volume, recipe: Recipe, start: int = 0, stop: int | None = None) -> tuple[np.ndarray, Frame]:
    """A CT in HU -> windowed slices (n, h, w) float32 in [0, 1] and the frame that brings maps back.

    ``start`` and ``stop`` count axial slices from the feet. Call ``recipe.normalise`` on as many slices at a time as
    memory allows; for a CT of 512 x 512 x 200 at 2 mm the windowed stack takes 52 MB.
    """
    frame = Frame.of(ct, recipe)
    slices = list(frame.windowed(ct, start, stop))
    return np.stack(slices) if slices else np.zeros((0, *frame.size), np.float32), frame
