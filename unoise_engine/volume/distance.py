"""Distances in a slice."""

from __future__ import annotations

import numpy as np
import SimpleITK as sitk


def signed_distance(mask: np.ndarray) -> np.ndarray:
    """(h, w) bool, neither empty nor full -> pixels to its edge, float32: positive inside, negative outside."""
    image = sitk.GetImageFromArray(mask.astype(np.uint8))
    filtered = sitk.SignedMaurerDistanceMap(image, insideIsPositive=True, squaredDistance=False, useImageSpacing=False)
    return sitk.GetArrayFromImage(filtered).astype(np.float32)
