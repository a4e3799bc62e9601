"""U-Noise (Koker et al. 2021, arXiv 2101.05791): importance is the noise a pixel cannot bear."""

from __future__ import annotations

import numpy as np

from unoise_engine.explanation.protocol import Advance, Model


def unoise(model: Model, slices: np.ndarray, logits: np.ndarray, advance: Advance) -> np.ndarray:
    """importance = -z, where B = sigmoid(z) scales the noise from sigma_min to sigma_max. One pass of a small net.

    Positive where the noise must stay below the middle of that range; the paper's pictures show the positive part.
    A net that is told the prediction has nothing to relate a slice without organ to, and lights all of it up: such
    slices get zeros, as from the other methods.
    """
    asked = (logits > 0).any(axis=(1, 2, 3)) if model.looks_at_logits else np.ones(len(slices), bool)
    maps = np.zeros((len(slices), *slices.shape[2:]), np.float32)
    if asked.any():
        maps[asked] = -model.noise_logits(slices[asked], logits[asked])[:, 0]
    advance(len(slices))
    return maps
