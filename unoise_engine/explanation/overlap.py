"""How much two masks overlap."""

from __future__ import annotations

import numpy as np


def overlap(masks: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """Dice of (n, *s) and (*s) bool, reference not empty -> (n,)."""
    axes = tuple(range(1, masks.ndim))
    return 2 * (masks & reference).sum(axis=axes) / (masks.sum(axis=axes) + reference.sum())
