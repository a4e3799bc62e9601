"""Grad-CAM from the pass that segmented."""

from __future__ import annotations

import hashlib

import numpy as np

from unoise_engine.models.enlarge import enlarged
from unoise_engine.models.session import Bundle


class Recall:
    """A bundle that keeps the coarse Grad-CAM of every slice it predicts, and answers from there when asked for it.

    A map is a few hundred numbers, so a whole CT's are kept; slices are known again by their bytes. Asked about another
    slice or another target than the prediction, it runs the model as the bundle does.
    """

    def __init__(self, bundle: Bundle):
        self.bundle = bundle
        self._coarse: dict[bytes, np.ndarray] = {}

    @property
    def looks_at_logits(self) -> bool:
        return self.bundle.looks_at_logits

    def predict(self, slices: np.ndarray) -> np.ndarray:
        logits, coarse = self.bundle.predict_and_explain(slices)
        self._coarse.update(zip(_names(slices, logits > 0), coarse))
        return logits

    def noise_logits(self, slices: np.ndarray, logits: np.ndarray) -> np.ndarray:
        return self.bundle.noise_logits(slices, logits)

    def occluded(
        self,
        image: np.ndarray,
        rows: np.ndarray,
        columns: np.ndarray,
        patch: int,
        fill: float,
        region: tuple[int, int, int, int] | None = None,
    ) -> np.ndarray:
        return self.bundle.occluded(image, rows, columns, patch, fill, region)

    def gradcam(self, slices: np.ndarray, target: np.ndarray) -> np.ndarray:
        """Slices (n, c, h, w) and d score / d logits (n, 1, h, w) -> Grad-CAM (n, 1, h, w), >= 0."""
        names = _names(slices, target)
        known = [self._coarse[name] for name in names if name in self._coarse]
        if len(known) < len(names):
            return self.bundle.gradcam(slices, target)
        return enlarged(np.stack(known), slices.shape[2:])


def _names(slices: np.ndarray, targets: np.ndarray) -> list[bytes]:
    return [hashlib.blake2b(a.tobytes() + np.float32(b).tobytes()).digest() for a, b in zip(slices, targets)]
