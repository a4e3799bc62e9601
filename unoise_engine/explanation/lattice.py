"""The places of an occluding patch on an item of any rank, and what lies between them."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
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


def refined(
    shape: tuple[int, ...],
    measure: Callable[[np.ndarray], np.ndarray],
    known: np.ndarray,
    coarse: int,
    tolerance: float,
) -> np.ndarray:
    """Values of all places of a lattice of that shape, asked for only where they vary.

    Every `coarse`-th place is measured. Then step by half step, a cell whose corners differ by more than `tolerance` of
    the range seen so far gets its places in between measured; in the others they are interpolated. `measure` takes
    places (k, rank) and gives values (k,), NaN where it could not: such a place is interpolated, a first one gets 0.
    `known` (shape) holds values that need no measuring, NaN elsewhere.
    """
    values = known.copy()
    lines = [_every(n, coarse) for n in shape]
    _fill(values, lines, np.ones([len(line) for line in lines], bool), measure)
    values[np.ix_(*lines)] = np.nan_to_num(values[np.ix_(*lines)], nan=0.0)
    while coarse > 1:
        coarse //= 2
        finer = [_every(n, coarse) for n in shape]
        corners = values[np.ix_(*lines)]
        span = corners.max() - corners.min()
        ends = [_ends(len(line)) for line in lines]
        of_cell = [corners[np.ix_(*some)] for some in itertools.product(*ends)]
        varied = np.ptp(np.stack(of_cell), axis=0) > tolerance * span
        guess = corners
        for axis, (line, fine) in enumerate(zip(lines, finer)):
            guess = along(_linear(line, fine), guess, axis)
        wanted = _touched(varied, lines, finer)
        _fill(values, finer, wanted, measure)
        found = values[np.ix_(*finer)]
        values[np.ix_(*finer)] = np.where(np.isnan(found), guess, found)
        lines = finer
    return values


def _fill(
    values: np.ndarray, lines: list[np.ndarray], wanted: np.ndarray, measure: Callable[[np.ndarray], np.ndarray]
) -> None:
    """Measures the wanted places of the lines' crossings whose values are not known."""
    chosen = np.nonzero(wanted & np.isnan(values[np.ix_(*lines)]))
    places = np.stack([line[some] for line, some in zip(lines, chosen)], axis=1)
    values[tuple(places.T)] = measure(places)


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
