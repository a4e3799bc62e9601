"""An image's values as pictures show them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from unoise_engine.results.dicom.picture import SOFT_TISSUE_HU
from unoise_engine.volume.volume import Volume

SHOWN = (1.0, 99.5)  # percentiles of an image that is no CT, from black to white
EVERY = 4  # planes, rows and columns looked at


@dataclass(frozen=True)
class Greys:
    """`low` and `high` are shown as the ends of the window that every CT is shown in."""

    low: float
    high: float

    @staticmethod
    def of(ct: Volume, modality: str) -> Greys:
        if modality == "CT":
            return Greys(*SOFT_TISSUE_HU)
        some = ct.voxels[::EVERY, ::EVERY, ::EVERY].astype(np.float32)
        low, high = np.percentile(some[np.isfinite(some)], SHOWN)
        return Greys(float(low), float(high) if high > low else float(low) + 1)

    def __call__(self, values: np.ndarray) -> np.ndarray:
        """Values -> HU that look so; HU stay as they are."""
        low, high = SOFT_TISSUE_HU
        if (self.low, self.high) == SOFT_TISSUE_HU:
            return values
        return low + (values.astype(np.float32) - self.low) * np.float32((high - low) / (self.high - self.low))
