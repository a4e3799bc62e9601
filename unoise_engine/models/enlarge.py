"""Small maps made as large as the item they belong to."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def enlarged(maps: np.ndarray, size: Sequence[int]) -> np.ndarray:
    """(k, 1, *few) -> (k, 1, *size), linear between the voxels' centres and constant beyond the outermost."""
    for axis, (few, many) in enumerate(zip(maps.shape[2:], size), start=2):
        maps = np.moveaxis(np.tensordot(weights(few, many), maps, (1, axis)), 0, axis)
    return maps


def weights(few: int, many: int) -> np.ndarray:
    """What each of `few` voxels counts in each of `many` that cover the same length: (many, few)."""
    centres = (np.arange(many) + 0.5) * few / many - 0.5
    return np.stack([np.interp(centres, np.arange(few), one) for one in np.eye(few)], axis=1).astype(np.float32)
