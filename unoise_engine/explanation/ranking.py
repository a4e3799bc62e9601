"""Which pixels stay visible: the most important ones of a slice, or all above one threshold for the whole set."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


def ranks(importance: np.ndarray, tie: np.ndarray) -> np.ndarray:
    """(*s) -> int32 (*s): 0 is the most important pixel. Equal ones are ordered by `tie`, a random (*s)."""
    order = np.lexsort((tie.ravel(), -importance.ravel()))
    placed = np.empty(order.size, np.int32)
    placed[order] = np.arange(order.size, dtype=np.int32)
    return placed.reshape(importance.shape)


def count(share: float, pixels: int) -> int:
    """How many pixels a share is."""
    return round(share * pixels)


@dataclass(frozen=True)
class Threshold:
    """All pixels above `value` are visible, and so is this part of those that equal it."""

    value: float
    part: float

    def visible(self, importance: np.ndarray, tie: np.ndarray) -> np.ndarray:
        return (importance > self.value) | ((importance == self.value) & (tie < self.part))


def pooled_thresholds(maps: Sequence[np.ndarray], shares: Sequence[float]) -> list[Threshold]:
    """For each share the threshold that leaves it visible, counted over all maps together, as in the paper."""
    values = np.sort(np.concatenate([one.ravel() for one in maps]))
    found = []
    for share in shares:
        wanted = count(share, len(values))
        if not wanted:
            found.append(Threshold(np.inf, 0.0))
            continue
        value = values[len(values) - wanted]
        first, last = np.searchsorted(values, value, "left"), np.searchsorted(values, value, "right")
        above = len(values) - last
        found.append(Threshold(float(value), float((wanted - above) / (last - first))))
    return found
