"""A box in a CT, written by hand."""

from __future__ import annotations

import re

import numpy as np

from unoise_engine.errors import Usage, printable
from unoise_engine.volume.structures import Structure
from unoise_engine.volume.volume import AxialView, Grid

NUMBER = r"(-?\d+(?:\.\d+)?)"
RANGE = rf"{NUMBER}:{NUMBER}"
BOX = re.compile(rf"{RANGE},{RANGE},{RANGE}\s*(mm)?")


def box(text: str, grid: Grid) -> Structure:
    """``x0:x1,y0:y1,z0:z1``: voxels of the axial slices, x from the patient's right, y from the front, z from the feet,
    counted from 0 and the last ones excluded; with ``mm`` behind it the patient's own millimetres, LPS as in DICOM.

    Raises Usage.
    """
    found = BOX.fullmatch(text.strip())
    cure = "write it as x0:x1,y0:y1,z0:z1 in voxels, or the same in mm with mm behind it"
    if not found:
        raise Usage(f"--box {printable(text)[:60]}", "is no box", cure)
    numbers = np.array([float(v) for v in found.groups()[:6]]).reshape(3, 2)
    if not (numbers[:, 0] < numbers[:, 1]).all():
        raise Usage(f"--box {text}", "does not rise from first to last", cure)
    in_mm = bool(found[7])
    if not in_mm and not (numbers == np.round(numbers)).all():
        raise Usage(f"--box {text}", "counts parts of voxels", "give whole numbers, or write mm behind it")

    def mask() -> np.ndarray:
        return _of_mm(numbers, grid) if in_mm else _of_voxels(numbers.astype(int), grid)

    return Structure(f"box {text.strip()}", mask)


def _of_voxels(ranges: np.ndarray, grid: Grid) -> np.ndarray:
    inside = np.zeros(grid.shape, bool)
    x, y, z = (slice(max(int(low), 0), max(int(high), 0)) for low, high in ranges)
    AxialView.of(grid).apply(inside)[z, y, x] = True
    return inside


def _of_mm(ranges: np.ndarray, grid: Grid) -> np.ndarray:
    """Voxels whose centres lie within."""
    steps = np.reshape(grid.direction, (3, 3)) * grid.spacing_mm
    k, j, i = np.ogrid[: grid.size[2], : grid.size[1], : grid.size[0]]
    inside = np.ones(grid.shape, bool)
    for axis, (low, high) in enumerate(ranges):
        place = grid.origin_mm[axis] + steps[axis, 0] * i + steps[axis, 1] * j + steps[axis, 2] * k
        inside &= (place >= low) & (place < high)
    return inside
