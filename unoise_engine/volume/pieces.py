"""Connected pieces of a mask."""

from __future__ import annotations

import numpy as np
import SimpleITK as sitk


def largest_piece(mask: np.ndarray) -> np.ndarray:
    """(*s) bool -> the largest of its pieces that touch face to face, bool; nothing if `mask` is empty."""
    pieces = sitk.GetArrayFromImage(sitk.ConnectedComponent(sitk.GetImageFromArray(mask.astype(np.uint8))))
    sizes = np.bincount(pieces.ravel())
    return mask & (pieces == 1 + np.argmax(sizes[1:])) if len(sizes) > 1 else np.zeros_like(mask)
