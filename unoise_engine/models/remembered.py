"""A model that is asked about a changed CT, and runs on what has changed."""

from __future__ import annotations

import hashlib

import numpy as np

from unoise_engine.models.segmenter import Segmenter, Wrapped
from unoise_engine.volume.scratch import Stack


class Remembered(Wrapped):
    """Answers from earlier scores where an item is, byte for byte, one that was predicted then.

    It listens until it is given the scores of all items heard, (n, h, w) in that order. Items of rank 3 are predicted
    anew: there is one of them, and it has changed.
    """

    def __init__(self, model: Segmenter):
        super().__init__(model)
        self._heard = 0
        self._places: dict[bytes, int] = {}
        self._scores: Stack | None = None

    def know(self, scores: Stack) -> None:
        self._scores = scores if len(scores) == self._heard else np.empty((0, 0, 0), np.float32)

    def predict(self, x: np.ndarray) -> np.ndarray:
        if x.ndim != 4:
            return self.model.predict(x)
        names = [hashlib.blake2b(item.tobytes()).digest() for item in x]
        if self._scores is None:
            self._places |= {name: self._heard + k for k, name in enumerate(names)}
            self._heard += len(names)
            return self.model.predict(x)
        known = self._scores.shape[1:] == x.shape[2:]
        new = np.array([not known or name not in self._places for name in names])
        scores = np.empty((len(x), 1, *x.shape[2:]), np.float32)
        if new.any():
            scores[new] = self.model.predict(x[new])
        for k in np.flatnonzero(~new):
            scores[k, 0] = self._scores[self._places[names[k]]]
        return scores
