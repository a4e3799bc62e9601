"""Grad-CAM for segmentation (Selvaraju et al. 2017; Vinogradova et al. 2020), on the model's deepest block."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from unoise_engine.explanation.method import Advance
from unoise_engine.explanation.target import Target
from unoise_engine.models.segmenter import GRADCAM, Segmenter


@dataclass(frozen=True)
class GradCAM:
    """relu(sum_k alpha_k A_k), alpha_k = spatial mean of d score / d A_k; the score sums the target's own scores."""

    name: ClassVar[str] = "gradcam"
    title: ClassVar[str] = "Grad-CAM"
    about: ClassVar[str] = "which places of the deepest layer raise the score, by its gradient"
    ends: ClassVar[tuple[str, str]] = ("does not raise the score", "raises it most")
    unit: ClassVar[str] = "a.u."
    needs: ClassVar[str] = GRADCAM
    chosen: ClassVar[bool] = True

    def __call__(self, model: Segmenter, x: np.ndarray, target: Target, advance: Advance) -> np.ndarray:
        found = target.found
        if len(x) and found.all():  # a block may be large: none of it is copied
            maps = model.gradcam(x, target.mask)[:, 0]
        else:
            maps = np.zeros((len(x), *x.shape[2:]), np.float32)
            if found.any():
                maps[found] = model.gradcam(x[found], target.mask[found])[:, 0]
        advance(len(x))
        return maps
