"""A map as pictures show it: from its scale's true zero, with words for both ends of the colour bar."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from unoise_engine.explanation.hiding import largest_noise, tolerance
from unoise_engine.explanation.methods import LEARNT, METHODS
from unoise_engine.explanation.trust import BODY_HU, enclosed
from unoise_engine.models.manifest import Manifest
from unoise_engine.models.recipe import Recipe
from unoise_engine.models.segmenter import GRADCAM

ENDS = ("not important", "most important")


@dataclass(frozen=True)
class Scale:
    """How a method's maps are shown: from 0, in their own `unit`. `low` and `high` say what both ends mean.

    With `most_hu`, U-Noise is shown by the noise that a place bears, in HU, counted down from the most. With `in_body`
    a map shows inside the body alone: what lies in the air beside it comes from enlarging pixels of some centimetres.
    """

    low: str
    high: str
    unit: str
    most_hu: float | None = None
    in_body: bool = False
    note: str = ""

    @staticmethod
    def of(method: str, manifest: Manifest, coarse_px: tuple[int, ...] = ()) -> Scale:
        """`coarse_px`: the sides of the pixels of which Grad-CAM was made, in the model's pixels."""
        recipe, kind = manifest.recipe, METHODS[method]
        low, high = getattr(kind, "ends", ENDS)
        if kind.needs in LEARNT and isinstance(recipe, Recipe):
            most = largest_noise(manifest) * recipe.std[0] * float(np.ptp(recipe.window_hu))
            return Scale(low, high, "HU of noise", most_hu=most)
        note = ""
        if kind.needs == GRADCAM and coarse_px and isinstance(recipe, Recipe):
            note = f"inside the body; made of pixels of {max(coarse_px) * recipe.spacing_mm:.0f} mm"
        return Scale(low, high, kind.unit, in_body=kind.needs == GRADCAM, note=note)

    def values(self, importance: np.ndarray, hu: np.ndarray) -> np.ndarray:
        """`importance` (rows, columns) as it is written, on the slice `hu` -> what is shown, 0 and above."""
        if self.most_hu is not None and importance.any():
            return (self.most_hu - self.most_hu * tolerance(importance)).astype(np.float32)
        values = np.clip(importance, 0, None)
        return np.where(enclosed((hu > BODY_HU)[None])[0], values, 0) if self.in_body else values

    def ends(self, top: float) -> tuple[str, str]:
        """What to write at 0 and at `top`."""
        if self.most_hu is not None:
            return f"{self.low}: {self.most_hu:.0f} HU", f"{self.high}: {self.most_hu - top:.0f} HU"
        return self.low, f"{self.high}: {top:.2g}"


@dataclass(frozen=True)
class Shown:
    """One axial slice (rows, columns) of a map, 0 and above; what 0 and the largest value there mean."""

    values: np.ndarray
    low: str
    high: str
    note: str = ""

    @property
    def top(self) -> float:
        return float(self.values.max(initial=0))


def shown(scale: Scale, importance: np.ndarray, hu: np.ndarray) -> Shown:
    """`importance` (rows, columns) as it is written, on the slice `hu`."""
    values = scale.values(importance, hu)
    return Shown(values, *scale.ends(float(values.max(initial=0))), scale.note)
