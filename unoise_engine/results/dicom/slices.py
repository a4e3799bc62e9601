"""Where the slices of a CT were taken, and results laid on them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

import numpy as np

from unoise_engine.volume.volume import Grid, Voxels


class Slices(Protocol):
    """Slices in the patient, LPS: `corners_mm` (n, 3) are the centres of their first pixels, the other two the steps
    from a column, and from a row, to the next."""

    @property
    def corners_mm(self) -> np.ndarray: ...
    @property
    def across_mm(self) -> np.ndarray: ...
    @property
    def down_mm(self) -> np.ndarray: ...
    @property
    def size(self) -> tuple[int, int]:
        """(columns, rows)"""
        ...

    def bring_back(
        self, result: Voxels, labels: bool = False, low: int = 0, high: int | None = None
    ) -> Iterator[np.ndarray]:
        """A result on the CT's grid, on these slices from `low` to `high` (excluded): (rows, columns), one by one."""
        ...


class GridSlices:
    """The slices of a CT that was not resampled: the planes of its grid."""

    def __init__(self, grid: Grid):
        steps = np.asarray(grid.direction).reshape(3, 3) * grid.spacing_mm
        self.corners_mm = np.asarray(grid.origin_mm) + np.arange(grid.size[2])[:, None] * steps[:, 2]
        self.across_mm, self.down_mm = steps[:, 0], steps[:, 1]
        self.size = grid.size[:2]

    def bring_back(
        self, result: Voxels, labels: bool = False, low: int = 0, high: int | None = None
    ) -> Iterator[np.ndarray]:
        return result.planes(low, high)
