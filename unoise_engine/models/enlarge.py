"""Small maps made as large as the image they belong to."""

from __future__ import annotations

import numpy as np


def enlarged(maps: np.ndarray, size: tuple[int, ...]) -> np.ndarray:
    """(n, 1, h, w) -> (n, 1, *size), bilinear between the pixels' centres and constant beyond the outermost."""
    rows, columns = (_weights(few, many) for few, many in zip(maps.shape[2:], size))
    return rows @ maps @ columns.T


def _weights(few: int, many: int) -> np.ndarray:
    """What each of `few` pixels counts in each of `many` that cover the same length: (many, few)."""
    centres = (np.arange(many) + 0.5) * few / many - 0.5
    return np.stack([np.interp(centres, np.arange(few), one) for one in np.eye(few)], axis=1).astype(np.float32)
