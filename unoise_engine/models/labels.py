"""The channels of a segmenter of many labels, and the one question that is asked of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from unoise_engine.models.manifest import Manifest


@dataclass(frozen=True)
class Channels:
    """`count` channels of logits, of which `chosen` are the label, taken together. `exclusive`: each voxel belongs to
    the channel with the largest logit (softmax); otherwise to every channel above 0 (sigmoid)."""

    count: int
    chosen: tuple[int, ...]
    exclusive: bool

    @staticmethod
    def of(manifest: Manifest) -> Channels:
        numbers = tuple(manifest.labels[name] for name in manifest.chosen or (manifest.organ,))
        if manifest.outputs == "softmax":
            return Channels(max(manifest.labels.values()) + 1, numbers, True)
        count = max(manifest.labels.values()) if manifest.outputs == "sigmoid" else 1
        return Channels(count, tuple(number - 1 for number in numbers) if count > 1 else (0,), False)

    @property
    def others(self) -> tuple[int, ...]:
        return tuple(k for k in range(self.count) if k not in self.chosen)

    def margin(self, logits: np.ndarray) -> np.ndarray:
        """(k, *s) -> (1, *s): by how much the label's logit exceeds all others, or 0; above 0 where the label is."""
        found = _largest(logits, self.chosen)
        return (found - _largest(logits, self.others) if self.exclusive else found)[None]

    def cotangent(self, logits: np.ndarray, target: np.ndarray) -> np.ndarray:
        """d sum(target * margin) / d logits: (n, k, *s) and (n, 1, *s) -> (n, k, *s)."""
        found = np.zeros_like(logits)
        for channels, sign in ((self.chosen, 1), (self.others, -1)):
            if sign > 0 or self.exclusive:
                largest = np.asarray(channels)[logits[:, list(channels)].argmax(axis=1)][:, None]
                np.put_along_axis(found, largest, sign * target, axis=1)
        return found

    def numbers(self, logits: np.ndarray) -> np.ndarray:
        """(k, *s) -> (*s) uint8: the channel with the largest logit; of labels that are not exclusive the last one
        found, counted from 1, or 0."""
        if self.exclusive:
            return logits.argmax(axis=0).astype(np.uint8)
        found = np.zeros(logits.shape[1:], np.uint8)
        for k, one in enumerate(logits):
            found[one > 0] = k + 1
        return found


def _largest(logits: np.ndarray, channels: tuple[int, ...]) -> np.ndarray:
    found = logits[channels[0]].copy()
    for k in channels[1:]:
        np.maximum(found, logits[k], out=found)
    return found
