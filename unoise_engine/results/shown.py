"""A map as a picture shows it: from its scale's true zero, with words for both ends of the colour bar."""

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
class Shown:
    """One axial slice (rows, columns) of a map, 0 and above; what 0 and the largest value there mean."""

    values: np.ndarray
    low: str
    high: str
    note: str = ""

    @property
    def top(self) -> float:
        return float(self.values.max(initial=0))


def shown(
    method: str, importance: np.ndarray, hu: np.ndarray, manifest: Manifest, coarse_px: tuple[int, ...] = ()
) -> Shown:
    """`importance` (rows, columns) as it is written, on the slice `hu`. `coarse_px`: the sides of the pixels of which
    Grad-CAM was made, in the model's pixels.

    U-Noise is shown by the noise that a place bears, in HU, counted down from the most. Grad-CAM is shown inside the
    body alone: what lies in the air beside it comes from enlarging pixels of some centimetres.
    """
    recipe = manifest.recipe
    needs = METHODS[method].needs
    low, high = getattr(METHODS[method], "ends", ENDS)
    if needs in LEARNT and isinstance(recipe, Recipe) and importance.any():
        most = largest_noise(manifest) * recipe.std[0] * float(np.ptp(recipe.window_hu))
        bears = most * tolerance(importance)
        fewest = float(bears.min())
        return Shown((most - bears).astype(np.float32), f"{low}: {most:.0f} HU", f"{high}: {fewest:.0f} HU")
    values, note = np.clip(importance, 0, None), ""
    if needs == GRADCAM:
        values = np.where(enclosed((hu > BODY_HU)[None])[0], values, 0)
        if coarse_px and isinstance(recipe, Recipe):
            note = f"inside the body; made of pixels of {max(coarse_px) * recipe.spacing_mm:.0f} mm"
    return Shown(values, low, f"{high}: {float(values.max(initial=0)):.2g}", note)
