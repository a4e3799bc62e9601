"""What a model expects of a CT: one recipe serves training and inference."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

FARTHEST_HU = 100_000
MOST_PIXELS, MOST_CHANNELS = 512, 64  # of the deepest pixel's side; of a slice


@dataclass(frozen=True)
class Recipe:
    """What a model expects of a CT. Lives in the model's bundle.

    A slice cut off at 0 HU gets its fat back (cutoff.py). HU are clipped to ``window_hu`` and scaled to [0, 1]; the
    slice is resampled in plane to ``spacing_mm``; each side is padded with air, evenly on both ends, to a multiple of
    ``multiple_of`` pixels; the values are normalised by ``mean`` and ``std`` and the slice is repeated to ``channels``.

    A model of `rank` 2 is given axial slices one by one, as far apart as the CT's. One of rank 3 has a ``slice_mm``: it
    is given blocks, resampled to slices so far apart and padded along z as in plane.
    """

    window_hu: tuple[float, float] = (-160.0, 240.0)  # the usual soft-tissue window: width 400, level 40
    spacing_mm: float = 2.0  # side of a pixel, in plane
    multiple_of: int = 16  # each side is padded to that; 2^(levels - 1) of the deepest net
    channels: int = 1  # copies of the slice that the net takes
    mean: tuple[float, ...] = (0.25,)  # about the mean and spread of a windowed abdominal slice
    std: tuple[float, ...] = (0.25,)  # one a channel, as mean
    slice_mm: float = 0.0  # 0: single slices; else blocks, resampled to slices so far apart

    def __post_init__(self) -> None:
        lo, hi = self.window_hu
        if not -FARTHEST_HU <= lo < hi <= FARTHEST_HU:
            raise ValueError(f"window_hu must rise, within {FARTHEST_HU} HU of 0: {self.window_hu}")
        if not 0.1 <= self.spacing_mm <= 10:
            raise ValueError(f"spacing_mm must lie in 0.1 .. 10 mm: {self.spacing_mm}")
        if self.slice_mm and not 0.1 <= self.slice_mm <= 20:
            raise ValueError(f"slice_mm must lie in 0.1 .. 20 mm, or be 0 for single slices: {self.slice_mm}")
        if not 1 <= self.multiple_of <= MOST_PIXELS:
            raise ValueError(f"multiple_of must lie in 1 .. {MOST_PIXELS}: {self.multiple_of}")
        if not 1 <= self.channels <= MOST_CHANNELS:
            raise ValueError(f"channels must lie in 1 .. {MOST_CHANNELS}: {self.channels}")
        if len(self.mean) != self.channels or len(self.std) != self.channels:
            raise ValueError(f"{self.channels} channels need as many means and stds: {self.mean}, {self.std}")
        if not all(-1e3 <= m <= 1e3 for m in self.mean) or not all(1e-3 <= s <= 1e3 for s in self.std):
            raise ValueError(f"mean must lie in -1000 .. 1000, std in 0.001 .. 1000: {self.mean}, {self.std}")

    @property
    def rank(self) -> int:
        """Axes of what the model is given: 2, slices (h, w), or 3, blocks (d, h, w)."""
        return 3 if self.slice_mm else 2

    @property
    def per_unit(self) -> float:
        """HU in one unit of what the model is given."""
        return float(self.std[0] * np.ptp(self.window_hu))

    def to_dict(self) -> dict[str, Any]:
        """Without ``slice_mm`` where it says nothing: the hashes of models from before it existed stay the same."""
        body = {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(self).items()}
        return {k: v for k, v in body.items() if k != "slice_mm" or v}

    def normalise(self, windowed: np.ndarray) -> np.ndarray:
        """Values in [0, 1] (n, *s) -> (n, channels, *s) float32; s has any number of axes."""
        shape = (-1, *[1] * (windowed.ndim - 1))
        mean, std = (np.asarray(values, np.float32).reshape(shape) for values in (self.mean, self.std))
        return (windowed[:, None].astype(np.float32) - mean) / std

    def window(self, hu: np.ndarray) -> np.ndarray:
        """HU -> [0, 1] float32; NaN counts as air."""
        lo, hi = self.window_hu
        scaled = (np.nan_to_num(hu.astype(np.float32), nan=lo) - np.float32(lo)) / np.float32(hi - lo)
        return np.clip(scaled, 0, 1)
