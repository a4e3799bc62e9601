"""What U-Noise minimises (Koker et al. 2021, algorithm 1), for one item and without torch.

    sigma = sigma_min + sigmoid(z) (sigma_max - sigma_min)
    loss  = BCE(scores of x + sigma eps, prediction) - strength mean(log sigmoid(z)),   eps ~ N(0, 1)

The first term keeps what the model found, the second rewards noise. The slope with respect to z comes from the model's
own gradient: d loss / d scores is its target.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from unoise_engine.models.segmenter import Segmenter


@dataclass(frozen=True, eq=False)
class Objective:
    """Of one item (c, *s), for noise logits z (*s). `found` (*s) is the prediction that noise must leave as it is;
    the sigmas are in units of the item."""

    model: Segmenter
    item: np.ndarray
    found: np.ndarray
    strength: float
    sigma_min: float
    sigma_max: float

    def noise(self, chance: np.random.Generator, draws: int) -> np.ndarray:
        """(draws, *s), in pairs of opposite sign, so that what is odd in the noise cancels."""
        half = chance.standard_normal(((draws + 1) // 2, *self.found.shape), np.float32)
        return np.stack([half, -half], axis=1).reshape(-1, *self.found.shape)[:draws]

    def value(self, z: np.ndarray, noise: np.ndarray) -> float:
        """The loss, mean over the noise."""
        total = sum(_cross_entropy(self.model.predict(one)[:, 0], self.found).sum() for one in self._noisy(z, noise))
        return float(total / noise.size + self.strength * np.logaddexp(0, -z).mean())

    def slope(self, z: np.ndarray, noise: np.ndarray) -> np.ndarray:
        """d loss / d z (*s) for this noise."""
        share = _sigmoid(z)
        by_scale = np.zeros(z.shape)
        for one, eps in zip(self._noisy(z, noise), noise):
            scores = self.model.predict(one)
            target = ((_sigmoid(scores) - self.found) / noise.size).astype(np.float32)
            by_scale += self.model.gradient(one, target)[0].sum(axis=0, dtype=float) * eps
        reward = self.strength * (1 - share) / z.size
        return by_scale * (self.sigma_max - self.sigma_min) * share * (1 - share) - reward

    def _noisy(self, z: np.ndarray, noise: np.ndarray) -> Iterator[np.ndarray]:
        """One at a time (1, c, *s), however large an item is."""
        sigma = self.sigma_min + _sigmoid(z) * (self.sigma_max - self.sigma_min)
        for eps in noise:
            yield (self.item + sigma * eps)[None].astype(np.float32)


def _sigmoid(values: np.ndarray) -> np.ndarray:
    """Without overflow."""
    return 0.5 * (1 + np.tanh(0.5 * np.asarray(values, float)))


def _cross_entropy(scores: np.ndarray, found: np.ndarray) -> np.ndarray:
    """Binary, of scores as logits."""
    return np.logaddexp(0, np.where(found, -scores, scores).astype(float))
