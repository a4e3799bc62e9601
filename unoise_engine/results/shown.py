"""A map as pictures show it: from its scale's true zero, with words for both ends of the colour bar."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from unoise_engine.explanation.hiding import largest_noise, tolerance
from unoise_engine.explanation.method import Method
from unoise_engine.explanation.refine import RefinedUNoise
from unoise_engine.explanation.unoise import UNoise
from unoise_engine.models.given import modality_of
from unoise_engine.models.manifest import Manifest
from unoise_engine.models.preparation import Preparation
from unoise_engine.models.recipe import Recipe
from unoise_engine.models.segmenter import GRADCAM
from unoise_engine.results.body import in_body

ENDS = ("not important", "most important")
SPREAD = "SD"  # the unit of noise where each item's own spread is one
WHOLE = 100  # largest noise that is told in whole numbers


@dataclass(frozen=True)
class Scale:
    """How a method's maps are shown: from 0, in their own `unit`. `low` and `high` say what both ends mean.

    With `most`, U-Noise is shown by the noise that a place bears, counted down from the most: 0 bears `most`. `unit` is
    that of the image then, HU of a CT. With `in_body` a map shows inside the body alone: what lies in the air beside it
    comes from enlarging pixels of some centimetres.
    """

    low: str
    high: str
    unit: str
    most: float | None = None
    in_body: bool = False
    note: str = ""

    @staticmethod
    def of(
        method: Method,
        manifest: Manifest,
        coarse_px: tuple[int, ...] = (),
        per_unit: float | None = None,
        learnt: bool = True,
    ) -> Scale:
        """`coarse_px`: the sides of the pixels of which Grad-CAM was made, in the model's pixels. `per_unit`: of the
        image's values in one unit of what the model is given (models/given.py), where its recipe does not say.
        `learnt`: whether the model has a U-Noise, in whose units noise counts."""
        recipe = manifest.recipe
        low, high = getattr(method, "ends", ENDS)
        if method.unit == UNoise.unit:
            noise = method.sigma_max if isinstance(method, RefinedUNoise) else largest_noise(manifest)
            if isinstance(method, RefinedUNoise) and not learnt:
                return Scale(low, high, SPREAD, noise, note=f"{SPREAD}: of the body, as the model is given it")
            unit = "HU" if modality_of(recipe) == "CT" else f"{modality_of(recipe)} units"
            per_unit = per_unit if isinstance(recipe, Preparation) else recipe.per_unit
            return Scale(low, high, unit, noise * per_unit) if per_unit else Scale(low, high, "model units", noise)
        note = ""
        if method.needs == GRADCAM and coarse_px and isinstance(recipe, Recipe):
            note = f"inside the body; made of pixels of {max(coarse_px) * recipe.spacing_mm:.0f} mm"
        return Scale(low, high, method.unit, in_body=method.needs == GRADCAM, note=note)

    def counted(self, importance: np.ndarray) -> np.ndarray:
        """Importance as it is written -> 0 and above, in `unit`. Where a method says nothing it writes exactly 0."""
        if self.most is None:
            return np.clip(importance, 0, None)
        return np.where(importance == 0, 0, self.most - self.noise(importance)).astype(np.float32)

    def noise(self, importance: np.ndarray) -> np.ndarray:
        """U-Noise's importance -> the noise that a place bears, in `unit`."""
        return (self.most or 0.0) * tolerance(importance)

    def top(self, highest: float) -> float:
        """What the highest importance of a map is shown by."""
        return float(self.counted(np.array([highest], np.float32))[0])

    def values(self, importance: np.ndarray, hu: np.ndarray) -> np.ndarray:
        """`importance` (rows, columns) as it is written, on the slice `hu` -> what is shown, 0 and above."""
        values = self.counted(importance)
        return np.where(in_body(hu[None])[0], values, 0) if self.in_body else values

    def ends(self, top: float) -> tuple[str, str]:
        """What to write at 0 and at `top`."""
        if self.most is not None:
            return f"{self.low}: {self.told(self.most)}", f"{self.high}: {self.told(self.most - top)}"
        return self.low, f"{self.high}: {top:.2g}"

    def told(self, noise: float) -> str:
        return f"{noise:.0f} {self.unit}" if (self.most or 0.0) >= WHOLE else f"{noise:.3g} {self.unit}"


PLAIN = Scale(*ENDS, "")  # of a map of which nothing more is known


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
