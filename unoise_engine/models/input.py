"""A CT as a model sees it, and the way back from its maps to the CT's own grid.

Resampling is a small matrix for each axis: an anti-aliased triangle kernel, pixel centres on pixel centres, so nothing
shifts by half a pixel.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from unoise_engine.errors import Usage
from unoise_engine.models.cutoff import refill
from unoise_engine.models.recipe import Recipe
from unoise_engine.volume.scratch import IN_MEMORY_BYTES, Stack
from unoise_engine.volume.volume import AxialView, Grid, Volume

BLOCK_BYTES = 1 << 27  # of voxels at a time, where a plane of the file is no axial slice
SLICES_A_STEP = 8


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
    return np.divide(weights, total, out=np.zeros_like(weights), where=inside[:, None]).astype(np.float32)


@dataclass(frozen=True, eq=False)
class Input:
    """Planes (n, h, w) at the model's spacing, feet first: the CT's axial slices `start` to `stop` (that one excluded),
    or for a model of rank 3 these resampled along z too.

    A model is given items: of rank 2 (k, c, h, w), each plane an item; of rank 3 (1, c, n, h, w), all planes one item.
    """

    ct: Volume
    recipe: Recipe
    view: AxialView
    start: int
    stop: int
    shape: tuple[int, int, int]
    forth: tuple[np.ndarray, ...] = field(repr=False)  # weights of (rows, columns), of rank 3 (z, rows, columns)
    back: tuple[np.ndarray, ...] = field(repr=False)
    _kept: dict[tuple[int, int], np.ndarray] = field(default_factory=dict, repr=False)

    @staticmethod
    def of(ct: Volume, recipe: Recipe, start: int = 0, stop: int | None = None) -> Input:
        """`start` and `stop` count axial slices from the feet. Raises Usage if they are not in the CT."""
        view = AxialView.of(ct.grid)
        total, rows, columns = view.apply(ct.voxels).shape
        stop = total if stop is None else stop
        if not 0 <= start < stop <= total:
            what = f"outside the CT's {total} axial slices"
            raise Usage(f"--slices {start + 1}:{stop}", what, f"choose within 1:{total}")
        slice_mm, row_mm, column_mm = view.spacing_mm
        axes = [(rows, row_mm, recipe.spacing_mm), (columns, column_mm, recipe.spacing_mm)]
        if recipe.rank == 3:
            axes.insert(0, (stop - start, slice_mm, recipe.slice_mm))
        sizes, forth, back = [], [], []
        for n, mm, wanted_mm in axes:
            wanted = int(np.ceil(round(n * mm / wanted_mm, 3)))
            sizes.append(-(-wanted // recipe.multiple_of) * recipe.multiple_of)
            step = wanted_mm / mm
            forth.append(resize_weights(n, sizes[-1], step))
            back.append(resize_weights(sizes[-1], n, 1 / step))
        depth = sizes[0] if recipe.rank == 3 else stop - start
        shape = (depth, sizes[-2], sizes[-1])
        return Input(ct, recipe, view, start, stop, shape, tuple(forth), tuple(back))

    def __len__(self) -> int:
        """How many items the model is given."""
        return 1 if self.recipe.rank == 3 else self.shape[0]

    @property
    def slice_mm(self) -> float:
        """Between the planes."""
        return self.recipe.slice_mm or self.view.spacing_mm[0]

    @property
    def pixel_mm(self) -> float:
        """Side of a plane's pixel."""
        return self.recipe.spacing_mm

    @property
    def per_unit(self) -> float:
        """HU in one unit of what the model is given."""
        return self.recipe.per_unit

    def steps(self) -> Iterator[slice]:
        """Ranges of planes that go through the model together."""
        step = self.shape[0] if self.recipe.rank == 3 else SLICES_A_STEP
        for low in range(0, self.shape[0], step):
            yield slice(low, min(low + step, self.shape[0]))

    def windowed(self, some: slice = slice(None)) -> np.ndarray:
        """Planes (k, h, w) float32 in [0, 1]."""
        low, high, _ = some.indices(self.shape[0])
        axial = self.view.apply(self.ct.voxels)[self.start : self.stop]
        if self.recipe.rank == 2:
            return self._seen(axial[low:high])
        z = self.forth[0][low:high]
        planes = np.zeros((high - low, *self.shape[1:]), np.float32)
        for k in np.flatnonzero(z.any(axis=0)):
            plane = self._seen(axial[k : k + 1])
            planes[z[:, k] > 0] += z[z[:, k] > 0, k, None, None] * plane
        return planes

    def items(self, some: slice) -> np.ndarray:
        """What the model is given for the planes of a step: normalised, (k, c, h, w) or (1, c, n, h, w).

        Kept where planes are few, else made anew each time, which is quick beside the model.
        """
        windowed = self._kept.get((some.start, some.stop))
        if windowed is None:
            windowed = self.windowed(some)
            if 4 * math.prod(self.shape) <= IN_MEMORY_BYTES:
                self._kept[some.start, some.stop] = windowed
        return self.recipe.normalise(windowed[None] if self.recipe.rank == 3 else windowed)

    def as_items(self, planes: np.ndarray) -> np.ndarray:
        """Values of a step's planes (k, h, w) as the model answers them: (k, 1, h, w) or (1, 1, n, h, w)."""
        return planes[None, None] if self.recipe.rank == 3 else planes[:, None]

    def as_planes(self, answers: np.ndarray) -> np.ndarray:
        """Answers for a step's items, (k, 1, *s) or (k, *s), as planes (k, h, w)."""
        return answers.reshape(-1, *self.shape[1:])

    def resampled(self, axial: np.ndarray) -> np.ndarray:
        """Anything on the CT's axial slices `start` to `stop`, (k, rows, columns), such as a mask, as planes (n, h, w)
        float32."""
        *z, rows, columns = self.forth
        planes = np.zeros((len(axial), *self.shape[1:]), np.float32)
        for k in np.flatnonzero(axial.any(axis=(1, 2))):
            planes[k] = rows @ axial[k].astype(np.float32) @ columns.T
        return np.tensordot(z[0], planes, 1) if z else planes

    def restore(self, maps: Stack, label: int | None = None) -> Restored:
        """Maps (n, h, w) on the CT's grid; 0 where no slice was run. With a `label` a mask: that number where a map is
        positive."""
        return Restored(self, maps, label)

    def _seen(self, axial: np.ndarray) -> np.ndarray:
        rows, columns = self.forth[-2:]
        planes = [rows @ self.recipe.window(refill(hu)) @ columns.T for hu in axial]
        return np.stack(planes) if planes else np.zeros((0, *self.shape[1:]), np.float32)


@dataclass(frozen=True, eq=False)
class Restored:
    """Maps of the model's size as voxels on the CT's grid: float32, or uint8 for a mask.

    The voxels are made when they are asked for, so that those of a large CT need never be in memory at once.
    """

    given: Input
    maps: Stack
    label: int | None

    @property
    def grid(self) -> Grid:
        return self.given.ct.grid

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
        *z, rows, columns = self.given.back
        if not self.given.start <= k < self.given.stop:
            return np.zeros((len(rows), len(columns)), self.dtype)
        k -= self.given.start
        plane = self.maps[k] if not z else self._between(z[0][k])
        values = rows @ plane.astype(np.float32, copy=False) @ columns.T
        return values if self.label is None else (values > 0).astype(np.uint8) * np.uint8(self.label)

    def _between(self, weights: np.ndarray) -> np.ndarray:
        plane = np.zeros(self.maps.shape[1:], np.float32)
        for j in np.flatnonzero(weights):
            plane += weights[j] * self.maps[int(j)]
        return plane

    def planes(self, low: int = 0, high: int | None = None) -> Iterator[np.ndarray]:
        """(y, x) of the voxel array, along z."""
        depth, *plane = self.grid.shape
        view, high = self.given.view, depth if high is None else high
        if view.axes[0] == 0:  # a plane is an axial slice, though it may be turned
            for z in range(low, high):
                yield view.undo(self.slice(depth - 1 - z if view.flips[0] else z)[None])[0]
            return
        step = max(1, BLOCK_BYTES // (plane[0] * plane[1] * self.dtype.itemsize))
        for z in range(low, high, step):  # a plane holds a line of every slice: each block restores them all
            yield from self._block(z, min(z + step, high))

    def _block(self, low: int, high: int) -> np.ndarray:
        """Planes low .. high - 1 of the voxel array; all of them where planes are axial slices."""
        view = self.given.view
        axis = view.axes[0]
        block = np.zeros((high - low, *self.grid.shape[1:]), self.dtype)
        along = np.moveaxis(block, axis, 0)  # a view: filling it fills `block`
        for k in range(self.given.start, self.given.stop):
            one = view.undo(self.slice(k)[None])
            along[self._count - 1 - k if view.flips[0] else k] = np.moveaxis(one[low:high] if axis else one, axis, 0)[0]
        return block

    @property
    def _count(self) -> int:
        return self.grid.shape[self.given.view.axes[0]]
