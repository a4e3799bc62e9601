"""What a model expects of a CT: one recipe serves training and inference."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Recipe:
    """What a model expects of a CT slice. Lives in the model's bundle.

    A slice cut off at 0 HU gets its fat back (cutoff.py). HU are clipped to ``window_hu`` and scaled to [0, 1]; the
    slice is resampled in plane to ``spacing_mm``; each side is padded with air, evenly on both ends, to a multiple of
    ``multiple_of`` pixels; the values are normalised by ``mean`` and ``std`` and the slice is repeated to ``channels``.
    """

    window_hu: tuple[float, float] = (-160.0, 240.0)  # the usual soft-tissue window: width 400, level 40
    spacing_mm: float = 2.0
    multiple_of: int = 16  # 2^(levels - 1) of the deepest net
    channels: int = 1
    mean: tuple[float, ...] = (0.25,)  # about the mean and spread of a windowed abdominal slice
    std: tuple[float, ...] = (0.25,)

    def __post_init__(self) -> None:
        lo, hi = self.window_hu
        if not lo < hi:
            raise ValueError(f"window_hu must rise: {self.window_hu}")
        if not 0.1 <= self.spacing_mm <= 10:
            raise ValueError(f"spacing_mm must lie in 0.1 .. 10 mm: {self.spacing_mm}")
        if self.multiple_of < 1:
            raise ValueError(f"multiple_of must be positive: {self.multiple_of}")
        if self.channels < 1 or len(self.mean) != self.channels or len(self.std) != self.channels:
            raise ValueError(f"{self.channels} channels need as many means and stds: {self.mean}, {self.std}")
        if min(self.std) <= 0:
            raise ValueError(f"std must be positive: {self.std}")

    @staticmethod
    def from_dict(d: dict[str, Any]) -> Recipe:
        fields: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in d.items()}
        return Recipe(**fields)

    def to_dict(self) -> dict[str, Any]:
        return {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(self).items()}

    def normalise(self, windowed: np.ndarray) -> np.ndarray:
        """Values in [0, 1] (n, h, w) -> (n, channels, h, w) float32."""
        mean = np.asarray(self.mean, np.float32)[:, None, None]
        std = np.asarray(self.std, np.float32)[:, None, None]
        return (windowed[:, None].astype(np.float32) - mean) / std

    def window(self, hu: np.ndarray) -> np.ndarray:
        """HU -> [0, 1] float32; NaN counts as air."""
        lo, hi = self.window_hu
        scaled = (np.nan_to_num(hu.astype(np.float32), nan=lo) - np.float32(lo)) / np.float32(hi - lo)
        return np.clip(scaled, 0, 1)
