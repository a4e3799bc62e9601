"""Rankings that know little or nothing of the model. A map that cannot beat them explains nothing.

Each is a function of an item and the model's own clean prediction (*s) bool, and returns a map (*s) float32.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from unoise_engine.explanation.slices import LabelledItem, chance
from unoise_engine.volume.distance import signed_distance

Baseline = Callable[[LabelledItem, np.ndarray, int], np.ndarray]


def chaos(one: LabelledItem, found: np.ndarray, seed: int) -> np.ndarray:
    return chance(seed, one, "random ranking").random(found.shape, np.float32)


def edges(one: LabelledItem, found: np.ndarray, seed: int) -> np.ndarray:
    """Length of the image's gradient."""
    slopes = np.stack(np.gradient(one.image.mean(axis=0)))
    return np.asarray(np.hypot.reduce(slopes), np.float32)


def ruler(one: LabelledItem, found: np.ndarray, seed: int) -> np.ndarray:
    """Nearness to the organ that the model finds: its middle first. Says nothing (0) where it finds none."""
    if not found.any() or found.all():
        return np.zeros(found.shape, np.float32)
    return signed_distance(found, one.side_mm)


BASELINES: dict[str, Baseline] = {"random": chaos, "edges": edges, "distance": ruler}
TITLES = {"random": "Random", "edges": "Edge strength", "distance": "Distance to prediction"}
