"""Grad-CAM for segmentation (Selvaraju et al. 2017; Vinogradova et al. 2020), on the utility's deepest block."""

from __future__ import annotations

import numpy as np

from unoise_engine.explanation.protocol import Advance, Model


def gradcam(model: Model, slices: np.ndarray, logits: np.ndarray, advance: Advance) -> np.ndarray:
    """relu(sum_k alpha_k A_k), alpha_k = spatial mean of d score / d A_k; the score sums the organ's own logits.

    The organ is the model's own prediction, since a CT comes without ground truth.
    """
    organ = logits > 0
    maps = np.zeros((len(slices), *slices.shape[2:]), np.float32)
    found = organ.any(axis=(1, 2, 3))
    if found.any():
        maps[found] = model.gradcam(slices[found], organ[found])[:, 0]
    advance(len(slices))
    return maps
