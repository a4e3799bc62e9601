"""Where the slices of a CT were taken, and results laid on them."""

from __future__ import annotations

from typing import Protocol

import numpy as np

from unoise_engine.ct.volume import Grid, Volume


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

    def bring_back(self, result: Volume, labels: bool = False) -> np.ndarray:
        """A result on the CT's grid -> (n, rows, columns) on these slices."""
        ...


class GridSlices:
    """The slices of a CT that was not resampled: the planes of its grid."""

    def __init__(self, grid: Grid):
        steps = np.asarray(grid.direction).reshape(3, 3) * grid.spacing_mm
        self.corners_mm = np.asarray(grid.origin_mm) + np.arange(grid.size[2])[:, None] * steps[:, 2]
        self.across_mm, self.down_mm = steps[:, 0], steps[:, 1]
        self.size = grid.size[:2]

    def bring_back(self, result: Volume, labels: bool = False) -> np.ndarray:
        return result.voxels
