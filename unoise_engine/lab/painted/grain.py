"""Noise tiles: smooth noise made once a case on a small periodic block and repeated from random places."""

from __future__ import annotations

import numpy as np

BLOCK = (32, 112, 112)  # voxels; a repeat this far away is not seen


class Grain:
    """Unit noise of a few sizes, in voxels of the plane."""

    def __init__(self, rng: np.random.Generator, sizes_px: tuple[float, ...]):
        from scipy import ndimage

        self.rng = rng
        self.blocks = []
        for size in sizes_px:
            block = rng.standard_normal(BLOCK, dtype=np.float32)
            block = ndimage.gaussian_filter(block, (size * 0.65, size, size), mode="wrap")
            self.blocks.append(block / block.std())

    def take(self, size: int, shape: tuple[int, int, int]) -> np.ndarray:
        """(z, y, x) float32 of the `size`-th grain."""
        out = self.blocks[size]
        for axis, n in enumerate(shape):
            start = self.rng.integers(BLOCK[axis])
            out = np.take(out, (start + np.arange(n)) % BLOCK[axis], axis=axis)
        return out
