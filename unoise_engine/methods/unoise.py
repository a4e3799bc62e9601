"""U-Noise (Koker et al. 2021, arXiv 2101.05791): importance is the noise a pixel cannot bear."""

from __future__ import annotations

import numpy as np

from unoise_engine.methods.protocol import Advance, Model


def unoise(model: Model, slices: np.ndarray, logits: np.ndarray, advance: Advance) -> np.ndarray:
    """importance = -z, where B = sigmoid(z) scales the noise from sigma_min to sigma_max. One pass of a small net.

    Positive where the noise must stay below the middle of that range; the paper's pictures show the positive part.
    """
    importance = -model.noise_logits(slices, logits)[:, 0]
    advance(len(slices))
    return importance
