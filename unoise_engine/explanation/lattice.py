"""The places of an occluding patch on an item of any rank, and what lies between them."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Lattice:
    """First voxels of the patches along each axis; each patch belongs to its centre."""

    lines: tuple[np.ndarray, ...]
    patch: int

    @staticmethod
    def every(stride: int, size: Sequence[int], patch: int) -> Lattice:
        """The last patch of an axis always reaches the far edge."""
        return Lattice(tuple(_corners(length, patch, stride) for length in size), patch)

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(len(line) for line in self.lines)

    def first_voxels(self, places: np.ndarray) -> np.ndarray:
        """Places by their numbers along each axis (k, rank) -> their patches' first voxels (k, rank)."""
        return np.stack([line[places[:, axis]] for axis, line in enumerate(self.lines)], axis=1)

    def within(self, region: Sequence[slice]) -> np.ndarray:
        """Which patches have a voxel in the region, (*shape) bool."""
        inside = np.ones(self.shape, bool)
        for axis, (line, box) in enumerate(zip(self.lines, region)):
            touches = (line < box.stop) & (line + self.patch > box.start)
            inside &= touches.reshape([-1 if a == axis else 1 for a in range(len(self.lines))])
        return inside

    def distance(self, region: Sequence[slice] | None) -> np.ndarray:
        """Of the patches' centres from the region, in voxels along the farthest axis, (*shape); 0 without a region."""
        found = np.zeros(self.shape)
        for axis, (line, box) in enumerate(zip(self.lines, region or ())):
            centre = line + (self.patch - 1) / 2
            apart = np.maximum(0, np.maximum(box.start - centre, centre - (box.stop - 1)))
            found = np.maximum(found, apart.reshape([-1 if a == axis else 1 for a in range(len(self.lines))]))
        return found

    def spread(self, values: np.ndarray, size: Sequence[int]) -> np.ndarray:
        """Values of the places -> a map of `size`, linear between centres and constant beyond the outermost."""
        half = (self.patch - 1) / 2
        for axis, (starts, n) in enumerate(zip(self.lines, size)):
            values = along(between(starts + half, n), values, axis)
        return values


def along(weights: np.ndarray, values: np.ndarray, axis: int) -> np.ndarray:
    """Weights (new, old) applied to one axis."""
    return np.moveaxis(np.tensordot(weights, values, (1, axis)), 0, axis)


@dataclass(frozen=True, eq=False)
class Refinement:
    """The values of a lattice's places, measured coarse to fine and only where they vary.

    `measured` (*shape) is filled by whoever measures, in any order; NaN is what nobody measured, which is interpolated
    between the places around it, and 0 where it is one of the first. The first lie `coarse` steps apart, the next half
    as far, in the cells whose corners differ by more than `tolerance` of the range, and so on to 1.
    """

    measured: np.ndarray
    coarse: int
    tolerance: float

    def values(self, step: int = 1) -> np.ndarray:
        """Of every `step`-th place."""
        found, lines, apart = np.nan_to_num(self._known(self.coarse)), self.lines(self.coarse), self.coarse
        while apart > step:
            apart //= 2
            finer, here = self.lines(apart), self._known(apart)
            for axis, (line, fine) in enumerate(zip(lines, finer)):
                found = along(_linear(line, fine), found, axis)
            found, lines = np.where(np.isnan(here), found, here), finer
        return found

    def places(self, step: int) -> np.ndarray:
        """Every `step`-th place that is worth measuring and was not measured, (k, rank): of the first ones all."""
        unknown, lines = np.isnan(self._known(step)), self.lines(step)
        if step < self.coarse:
            corners = self.values(2 * step)
            varied = _varied(corners) > self.tolerance * np.ptp(corners)
            unknown &= _touched(varied, self.lines(2 * step), lines)
        return np.stack([line[some] for line, some in zip(lines, np.nonzero(unknown))], axis=1)

    def doubt(self, step: int) -> float:
        """About the squared error, summed over all places, if nothing between every `step`-th one is measured: half
        of a kink in a cell whose corners differ is half as high as they do, and most are not in its middle."""
        within = math.prod(min(step, n) for n in self.measured.shape)
        return 0.0 if step == 1 else float(((_varied(self.values(step)) / 4) ** 2).sum() * within)

    def lines(self, step: int) -> list[np.ndarray]:
        """Every `step`-th place along each axis, and the last."""
        return [_every(n, step) for n in self.measured.shape]

    def _known(self, step: int) -> np.ndarray:
        return self.measured[np.ix_(*self.lines(step))]


def _varied(corners: np.ndarray) -> np.ndarray:
    """How much the corners of each cell differ."""
    ends = [_ends(n) for n in corners.shape]
    return np.ptp(np.stack([corners[np.ix_(*some)] for some in itertools.product(*ends)]), axis=0)


def _touched(cells: np.ndarray, lines: list[np.ndarray], finer: list[np.ndarray]) -> np.ndarray:
    """Which crossings of the finer lines lie in or on the border of a marked cell."""
    touched = cells.astype(int)
    for axis, (line, fine) in enumerate(zip(lines, finer)):
        low, high = (line[some][:, None] for some in _ends(len(line)))
        inside = (fine >= low) & (fine <= high)  # (cells, places)
        touched = along(inside.T.astype(int), touched, axis)
    return touched > 0


def _ends(lines: int) -> tuple[np.ndarray, np.ndarray]:
    """First and last line of each cell; a single line is a cell without width."""
    return np.arange(max(lines - 1, 1)), np.arange(min(1, lines - 1), lines)


def _every(length: int, step: int) -> np.ndarray:
    return np.unique(np.append(np.arange(0, length, step), length - 1))


def _linear(line: np.ndarray, fine: np.ndarray) -> np.ndarray:
    return np.stack([np.interp(fine, line, one) for one in np.eye(len(line))], axis=1)


def _corners(length: int, patch: int, stride: int) -> np.ndarray:
    """First voxels of the patches along one axis."""
    last = max(length - patch, 0)
    return np.unique(np.append(np.arange(0, last, stride), last))


def between(centres: np.ndarray, length: int) -> np.ndarray:
    """Weights (length, centres) of linear interpolation, constant beyond the outermost centres."""
    eye = np.eye(len(centres), dtype=np.float32)
    pixels = np.arange(length)
    return np.stack([np.interp(pixels, centres, column) for column in eye], axis=1).astype(np.float32)
