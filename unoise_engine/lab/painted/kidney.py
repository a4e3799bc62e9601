"""The right kidney, mirrored from the left where the map has only that."""

from __future__ import annotations

import numpy as np

from unoise_engine.lab.painted.placement import DX, DZ
from unoise_engine.lab.painted.scene import Scene
from unoise_engine.lab.painted.tissues import Tissue

T = Tissue
TRIES = 16
MISSING = 0.05  # share of patients left without it


def mirror_kidney(scene: Scene) -> None:
    """Where it overlaps the other organs least; it gives way to them."""
    u = scene.rng.uniform
    for have, lack in ((T.CORTEX_LEFT, T.CORTEX_RIGHT), (T.CORTEX_RIGHT, T.CORTEX_LEFT)):
        if not (scene.organs == have).any() or (scene.organs == lack).any() or u() < MISSING:
            continue
        side = -1 if lack == T.CORTEX_RIGHT else 1
        voxels = np.argwhere(scene.organs == have)
        voxels[:, 2] = np.rint(2 * scene.marks.mid_x - voxels[:, 2])
        sample = voxels[::17]
        best, least = np.zeros(3, dtype=int), np.inf
        for _ in range(TRIES):
            down = u(-30, 0) if lack == T.CORTEX_RIGHT else u(0, 20)
            shift = np.rint([down / DZ, u(-8, 8) / DX, side * u(-6, 12) / DX]).astype(int)
            hit = _inside(sample + shift, scene.shape)
            overlap = (scene.organs[tuple(hit.T)] > 0).mean() + 0.04 * u() if len(hit) else 1.0
            if overlap < least:
                best, least = shift, overlap
        moved = _inside(voxels + best, scene.shape)
        free = moved[scene.organs[tuple(moved.T)] == 0]
        scene.organs[tuple(free.T)] = lack


def _inside(voxels: np.ndarray, shape: tuple[int, int, int]) -> np.ndarray:
    return voxels[((voxels >= 0) & (voxels < shape)).all(axis=1)]
