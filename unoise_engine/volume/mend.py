"""Voxels that were never measured - NaN, infinity, padding - become air, and are counted."""

from __future__ import annotations

import numpy as np

AIR_HU = -1024
PADDING_BELOW_HU = -1500  # no tissue, no air and no noise lies here: scanners fill the corners with -2000 or -3024


def clean(voxels: np.ndarray) -> tuple[np.ndarray, list[str]]:
    """Voxels as int16 where they are whole and fit, float32 otherwise; NaN, infinity and padding become air.

    Returns a sentence with a count for each kind of voxel that was replaced. May change `voxels` in place.
    """
    nowhere, padding = 0, 0
    whole = True
    if voxels.dtype.kind == "f":
        for one in voxels:
            bad = ~np.isfinite(one)
            nowhere += (n := int(np.count_nonzero(bad)))
            if n:
                one[bad] = AIR_HU
            padding += _fill(one)
            whole = whole and bool((np.abs(one) <= 32767).all()) and bool((one == np.rint(one)).all())
    else:
        if voxels.dtype.kind == "i" and voxels.min() < PADDING_BELOW_HU:
            padding = sum(_fill(one) for one in voxels)
        whole = int(voxels.min()) >= -32768 and int(voxels.max()) <= 32767
    notes = []
    if nowhere:
        notes.append(f"{nowhere} voxels that are no number (NaN or infinite) were set to {AIR_HU} HU")
    if padding:
        notes.append(f"{padding} voxels below {PADDING_BELOW_HU} HU (padding) were set to {AIR_HU} HU")
    return _as(voxels, np.dtype(np.int16 if whole else np.float32)), notes


def _fill(one: np.ndarray) -> int:
    below = one < PADDING_BELOW_HU
    count = int(np.count_nonzero(below))
    if count:
        one[below] = AIR_HU
    return count


def _as(voxels: np.ndarray, dtype: np.dtype) -> np.ndarray:
    return voxels if voxels.dtype == dtype else voxels.astype(dtype)
