"""A CT volume: voxels and the grid they live on, in the patient's LPS frame."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import permutations
from typing import Protocol

import numpy as np

from unoise_engine.errors import CaseRefused
from unoise_engine.volume.budget import check_extent

SMALLEST_SIDE = 8  # pixels of an axial slice
STORED = "ijk"  # voxel axes, x first
PATIENT = {"L": (0, 1), "R": (0, -1), "P": (1, 1), "A": (1, -1), "S": (2, 1), "I": (2, -1)}  # LPS axis and direction
SMALLEST_FIELD_MM = 20  # side of an axial slice: no organ can be made out in less


@dataclass(frozen=True)
class Grid:
    """Where voxels sit in the patient, in millimetres, in the DICOM (LPS) frame.

    Orders follow SimpleITK: x (columns) first. ``direction`` holds the 3 x 3 cosines row by row, so
    column j is the unit step of voxel axis j (x, y, z).
    """

    size: tuple[int, int, int]  # voxels along (x, y, z)
    spacing_mm: tuple[float, float, float]
    origin_mm: tuple[float, float, float]
    direction: tuple[float, ...]

    @property
    def shape(self) -> tuple[int, int, int]:
        """Shape of the voxel array, (z, y, x)."""
        x, y, z = self.size
        return z, y, x

    @property
    def voxel_ml(self) -> float:
        x, y, z = self.spacing_mm
        return x * y * z / 1000.0


class Voxels(Protocol):
    """What can be written: voxels on a grid, be they in memory or made plane by plane."""

    @property
    def grid(self) -> Grid: ...
    @property
    def dtype(self) -> np.dtype: ...
    @property
    def voxels(self) -> np.ndarray:
        """All of them, (z, y, x)."""
        ...

    def planes(self, low: int = 0, high: int | None = None) -> Iterator[np.ndarray]:
        """(y, x), along z; from `low` to `high`, that one excluded."""
        ...


@dataclass(frozen=True)
class Volume:
    """Voxels in (z, y, x) order on their grid. CT voxels are Hounsfield units."""

    voxels: np.ndarray
    grid: Grid

    def __post_init__(self) -> None:
        if self.voxels.shape != self.grid.shape:
            raise ValueError(f"voxels {self.voxels.shape} do not fit the grid {self.grid.shape} (z, y, x)")

    @property
    def dtype(self) -> np.dtype:
        return self.voxels.dtype

    def planes(self, low: int = 0, high: int | None = None) -> Iterator[np.ndarray]:
        """(y, x), along z; from `low` to `high`, that one excluded. Views, no copies."""
        return iter(self.voxels[low:high])

    def with_voxels(self, voxels: np.ndarray) -> Volume:
        """The same grid with other voxels: the only way a map becomes a volume, so geometry cannot be forgotten."""
        return replace(self, voxels=voxels)


@dataclass(frozen=True)
class AxialView:
    """Reads a volume as axial slices in LPS order - first slice feet, rows to posterior, columns to left - by flips and
    swaps alone: no voxel value changes. Oblique volumes go to the nearest axes. (z, y, x) are the view's axes even
    where `towards` turns them elsewhere."""

    axes: tuple[int, int, int]  # numpy axis of the source for (z, y, x) of the view
    flips: tuple[bool, bool, bool]  # of (z, y, x) of the view
    spacing_mm: tuple[float, float, float]  # (z, y, x) of the view

    @staticmethod
    def of(grid: Grid) -> AxialView:
        return AxialView.towards(grid, "SPL")

    @staticmethod
    def towards(grid: Grid, axes: str) -> AxialView:
        """A view whose axes run in other directions: "SPL" is axial LPS, "RAS" x first and to the right. The letters
        i, j, k are the voxel axes x, y, z themselves, unturned: "kji" is the array as it is."""
        if axes[0] in STORED:
            order = tuple(STORED.index(letter) for letter in axes)
            return AxialView(
                axes=tuple(2 - a for a in order),  # type: ignore[arg-type]
                flips=(False, False, False),
                spacing_mm=tuple(float(grid.spacing_mm[a]) for a in order),  # type: ignore[arg-type]
            )
        cosines = np.asarray(grid.direction).reshape(3, 3)
        # The voxel axis for each patient axis: of all six orders the one whose cosines are largest together.
        nearest = max(permutations(range(3)), key=lambda p: sum(abs(cosines[row, col]) for row, col in enumerate(p)))
        patient = [PATIENT[letter] for letter in axes]
        order = tuple(nearest[axis] for axis, _ in patient)  # of the view, as SimpleITK axes
        return AxialView(
            axes=tuple(2 - a for a in order),  # type: ignore[arg-type]
            flips=tuple(bool(sign * cosines[p, a] < 0) for (p, sign), a in zip(patient, order)),  # type: ignore[arg-type]
            spacing_mm=tuple(float(grid.spacing_mm[a]) for a in order),  # type: ignore[arg-type]
        )

    def apply(self, voxels: np.ndarray) -> np.ndarray:
        """(z, y, x) of the source -> (z, y, x) axial LPS, as a view without a copy."""
        turned = voxels.transpose(self.axes)
        return turned[tuple(slice(None, None, -1) if flip else slice(None) for flip in self.flips)]

    def undo(self, axial: np.ndarray) -> np.ndarray:
        """The inverse of `apply`, as a view."""
        flipped = axial[tuple(slice(None, None, -1) if flip else slice(None) for flip in self.flips)]
        return flipped.transpose(tuple(int(i) for i in np.argsort(self.axes)))


def check_size(grid: Grid, source: object) -> None:
    """Raises CaseRefused: TOO_SMALL, GEOMETRY."""
    along, *axes = (2 - a for a in AxialView.of(grid).axes)  # those of an axial slice, as (x, y, z) counts
    sides = [(grid.size[a], grid.size[a] * grid.spacing_mm[a]) for a in axes]
    step = grid.spacing_mm[along] if grid.size[along] > 1 else 0.0  # a single slice has none
    check_extent([mm for _, mm in sides], grid.size[along] * step, step, source)
    if min(n for n, _ in sides) < SMALLEST_SIDE or min(mm for _, mm in sides) < SMALLEST_FIELD_MM:
        shown = " x ".join(f"{mm:.0f}" for _, mm in sides)
        raise CaseRefused("TOO_SMALL", source, f"shows only {shown} mm of an axial slice", "give a CT of the abdomen")
