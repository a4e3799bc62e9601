"""Stacks that are no box - a tilted gantry, sheared axes, uneven slices - brought to one, and results brought back.

A slice model sees such a CT on an even, upright grid; `Planes` remembers where each original slice lay, so that what
was found can be laid on the slices as they were taken.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk

from unoise_engine.volume.budget import check_voxels
from unoise_engine.volume.mend import AIR_HU
from unoise_engine.volume.volume import Grid, Volume, Voxels

CORNER_MM = 0.1  # axes count as perpendicular if no corner moves further than this when they are made so
SLAB = 16  # slices resampled at a time, from as many planes as they reach through


@dataclass(frozen=True)
class Planes:
    """Slices where they were taken, one a row of `corners_mm`: the centre of its first pixel, in LPS."""

    corners_mm: np.ndarray  # (n, 3)
    across_mm: np.ndarray  # (3,), the step from one column to the next
    down_mm: np.ndarray  # (3,), from one row to the next
    size: tuple[int, int]  # (columns, rows)

    @staticmethod
    def of_affine(size: tuple[int, int, int], steps_mm: np.ndarray, origin_mm: np.ndarray) -> Planes:
        corners = origin_mm + np.arange(size[2])[:, None] * steps_mm[:, 2]
        return Planes(corners, steps_mm[:, 0], steps_mm[:, 1], (size[0], size[1]))

    def bring_back(
        self, result: Voxels, labels: bool = False, low: int = 0, high: int | None = None
    ) -> Iterator[np.ndarray]:
        """A result on the upright grid -> (rows, columns) on each of these slices; nearest for labels, else linear."""
        normal = np.cross(self.across_mm, self.down_mm)
        axes = np.column_stack([self.across_mm, self.down_mm, normal / np.linalg.norm(normal)])
        grid = result.grid
        steps = np.reshape(grid.direction, (3, 3)) * grid.spacing_mm
        to_z = np.linalg.inv(steps)[2]  # of a position, from the grid's origin
        far = [i * self.across_mm + j * self.down_mm for i in (0, self.size[0] - 1) for j in (0, self.size[1] - 1)]
        wanted = self.corners_mm[low:high]
        for some in (wanted[k : k + SLAB] for k in range(0, len(wanted), SLAB)):
            z = [float(to_z @ (corner + f - grid.origin_mm)) for corner in some for f in far]
            first, last = _reach(z, grid.size[2])
            if first == last:
                yield from np.zeros((len(some), self.size[1], self.size[0]), result.dtype)
                continue
            voxels = np.stack([*result.planes(first, last)])
            if labels:
                yield from (self._nearest(voxels, first, corner, steps, grid) for corner in some)
                continue
            image = _image(voxels)
            image.SetSpacing(grid.spacing_mm)
            image.SetOrigin((grid.origin_mm + first * steps[:, 2]).tolist())
            image.SetDirection(grid.direction)
            for corner in some:
                place = sitk.AffineTransform(axes.ravel().tolist(), corner.tolist())
                yield sitk.GetArrayFromImage(_resample(image, (*self.size, 1), place, sitk.sitkLinear, 0))[0]

    def _nearest(
        self, voxels: np.ndarray, first: int, corner_mm: np.ndarray, steps_mm: np.ndarray, grid: Grid
    ) -> np.ndarray:
        """(rows, columns) at a corner, from the planes `first` and on of a grid with these steps; 0 outside.

        Half-way between voxels ITK takes what the last bit says, which another number of planes or processor changes.
        """
        to_index = np.linalg.inv(steps_mm)
        place = to_index @ (corner_mm - grid.origin_mm)
        down, across = (to_index @ step for step in (self.down_mm, self.across_mm))
        rows, columns = (np.arange(n) for n in self.size[::-1])
        at = []
        for axis in range(3):
            exact = place[axis] + rows[:, None] * down[axis] + columns[None] * across[axis]
            at.append(np.floor(np.round(exact, 6) + 0.5).astype(int) - (first if axis == 2 else 0))
        x, y, z = at
        inside = np.logical_and.reduce([(k >= 0) & (k < n) for k, n in zip(at, voxels.shape[::-1])])
        out = np.zeros(inside.shape, voxels.dtype)
        out[inside] = voxels[z[inside], y[inside], x[inside]]
        return out


def rigid_grid(size: tuple[int, int, int], steps_mm: np.ndarray, origin_mm: np.ndarray) -> Grid | None:
    """The grid with these steps along its axes; None if the axes are not perpendicular."""
    spacing = np.linalg.norm(steps_mm, axis=0)
    cosines = steps_mm / spacing
    u, _, vt = np.linalg.svd(cosines)
    nearest = u @ vt
    reach = (np.array(size) - 1) * spacing
    if (np.abs(nearest - cosines) @ reach).max() > CORNER_MM:
        return None
    if np.abs(cosines.T @ cosines - np.eye(3)).max() > 1e-6:
        cosines = nearest
    return Grid(size, _three(spacing), _three(origin_mm), tuple(float(v) for v in cosines.ravel()))


def straighten(voxels: np.ndarray, steps_mm: np.ndarray, origin_mm: np.ndarray, source: object) -> Volume:
    """Voxels on sheared axes -> an upright grid around them, linear in between, air outside.

    The stack's own direction stays, the rows stay as near to theirs as a right angle allows; spacings stay. `source`
    names it in messages. Raises CaseRefused TOO_LARGE: a grid around a slanted stack may be many times as large.
    """
    size = voxels.shape[::-1]
    spacing = np.linalg.norm(steps_mm, axis=0)
    z = steps_mm[:, 2] / spacing[2]
    x = _across(steps_mm[:, 0], z)
    y = _across(_across(steps_mm[:, 1], z, normal=False), x)
    axes = np.column_stack([x, y, z])
    corners = np.array([[i, j, k] for i in (0, size[0] - 1) for j in (0, size[1] - 1) for k in (0, size[2] - 1)])
    along = (corners @ steps_mm.T) @ axes  # of each corner, in mm from the origin along the new axes
    low, high = along.min(axis=0), along.max(axis=0)
    new = tuple(int(np.ceil(round(extent, 6))) + 1 for extent in (high - low) / spacing)
    check_voxels(new, voxels.dtype.itemsize, source)
    origin = origin_mm + axes @ low
    grid = Grid((new[0], new[1], new[2]), _three(spacing), _three(origin), tuple(float(v) for v in axes.ravel()))
    back = np.linalg.inv(steps_mm)  # position -> index in the sheared stack
    to_old = back @ axes @ np.diag(spacing)
    place = sitk.AffineTransform(to_old.ravel().tolist(), (back @ (origin - origin_mm)).tolist())
    out = np.full(grid.shape, AIR_HU, voxels.dtype)
    for low in range(0, new[2], SLAB):
        high = min(low + SLAB, new[2])
        ends = [(x, y, z) for x in (0, new[0] - 1) for y in (0, new[1] - 1) for z in (low, high - 1)]
        first, last = _reach([place.TransformPoint(tuple(map(float, p)))[2] for p in ends], len(voxels))
        if first < last:
            image = _image(voxels[first:last])
            image.SetOrigin((0, 0, first))
            part = _resample(
                image, (new[0], new[1], high - low), place, sitk.sitkLinear, AIR_HU, (0.0, 0.0, float(low))
            )
            out[low:high] = sitk.GetArrayViewFromImage(part)
    return Volume(out, grid)


def even_out(voxels: np.ndarray, places_mm: np.ndarray, step_mm: float) -> np.ndarray:
    """Slices at rising places -> slices a step apart, from the first to the last place, linear in between."""
    count = int(np.floor((places_mm[-1] - places_mm[0]) / step_mm + 1e-3)) + 1
    out = np.empty((count, *voxels.shape[1:]), voxels.dtype)
    for k in range(count):
        at = min(places_mm[0] + k * step_mm, places_mm[-1])
        above = int(np.clip(np.searchsorted(places_mm, at), 1, len(places_mm) - 1))
        share = np.float32((at - places_mm[above - 1]) / (places_mm[above] - places_mm[above - 1]))
        mixed = voxels[above - 1] * (1 - share) + voxels[above] * share
        out[k] = np.rint(mixed) if voxels.dtype.kind == "i" else mixed
    return out


def _across(vector: np.ndarray, axis: np.ndarray, normal: bool = True) -> np.ndarray:
    """The part of a vector at right angles to an axis, as a unit vector unless told otherwise."""
    part = vector - (vector @ axis) * axis
    return part / np.linalg.norm(part) if normal else part


def _image(voxels: np.ndarray) -> sitk.Image:
    return sitk.GetImageFromArray(np.ascontiguousarray(voxels))


def _reach(places: list[float], count: int) -> tuple[int, int]:
    """The planes, first and first not any more, that places among `count` of them need; the same twice if none."""
    first = max(0, int(np.floor(min(places))) - 1)
    return min(first, count), max(min(first, count), min(count, int(np.ceil(max(places))) + 2))


def _resample(
    image: sitk.Image,
    size: tuple[int, ...],
    place: sitk.Transform,
    how: int,
    outside: float,
    start: tuple[float, float, float] = (0.0, 0.0, 0.0),
) -> sitk.Image:
    one, straight = (1.0,) * 3, (1.0, 0, 0, 0, 1.0, 0, 0, 0, 1.0)
    return sitk.Resample(image, size, place, how, start, one, straight, outside, image.GetPixelID())


def _three(values: np.ndarray) -> tuple[float, float, float]:
    return float(values[0]), float(values[1]), float(values[2])
