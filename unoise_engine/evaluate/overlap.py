"""How far two masks agree."""

from __future__ import annotations

import numpy as np


def dice(mask: np.ndarray, reference: np.ndarray) -> float:
    """Dice coefficient 2 |A and B| / (|A| + |B|) of two boolean arrays of one shape; 1.0 when both are empty."""
    if mask.shape != reference.shape:
        raise ValueError(f"masks of unequal shape: {mask.shape} and {reference.shape}")
    total = np.count_nonzero(mask) + np.count_nonzero(reference)
    return 1.0 if total == 0 else 2.0 * np.count_nonzero(mask & reference) / total
