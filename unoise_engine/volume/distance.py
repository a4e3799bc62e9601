"""Distances from a mask."""

from __future__ import annotations

import numpy as np
import SimpleITK as sitk


def signed_distance(mask: np.ndarray, side_mm: tuple[float, ...] = ()) -> np.ndarray:
    """(*s) bool, neither empty nor full -> distance to its edge, float32: positive inside, negative outside.

    In pixels, or with the `side_mm` of a voxel along each axis in mm.
    """
    image = sitk.GetImageFromArray(mask.astype(np.uint8))
    if side_mm:
        image.SetSpacing(side_mm[::-1])
    filtered = sitk.SignedMaurerDistanceMap(
        image, insideIsPositive=True, squaredDistance=False, useImageSpacing=bool(side_mm)
    )
    return sitk.GetArrayFromImage(filtered).astype(np.float32)


def grown(mask: np.ndarray, mm: float, spacing_mm: tuple[float, ...]) -> np.ndarray:
    """(z, y, x) or (y, x) bool -> the same and all within `mm` of it, at least a voxel. `spacing_mm` counts x first."""
    steps = [max(1, round(mm / one)) for one in spacing_mm]
    found: np.ndarray = sitk.GetArrayFromImage(sitk.BinaryDilate(sitk.GetImageFromArray(mask.astype(np.uint8)), steps))
    return found > 0
