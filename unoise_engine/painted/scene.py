"""The body under construction."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from unoise_engine.painted.placement import DX, DZ, Landmarks
from unoise_engine.painted.tissues import Tissue


@dataclass
class Scene:
    """Tissues (z, y, x) so far, the organs they must not touch, and how deep each voxel lies.

    `depth_mm` is positive inside the abdominal cavity and negative outside its wall.
    """

    rng: np.random.Generator
    tissue: np.ndarray
    organs: np.ndarray  # uint8: what the map gave, and later what was built around it
    marks: Landmarks
    given: frozenset[int]  # tissues the map has
    spine_x: np.ndarray  # (z,) voxels
    spine_y: np.ndarray
    body_radius_mm: tuple[float, float] = (18.0, 15.0)  # of a vertebral body, (x, y)
    depth_mm: np.ndarray = field(default_factory=lambda: np.zeros(0, np.float32))
    angle: np.ndarray = field(default_factory=lambda: np.zeros(0, np.float32))  # (y, x), 0 front, +-pi back
    paths: dict[str, np.ndarray] = field(default_factory=dict)  # centre lines, (n, 3) voxels

    @property
    def shape(self) -> tuple[int, int, int]:
        z, y, x = self.tissue.shape
        return z, y, x

    def has(self, *tissues: Tissue) -> bool:
        return not self.given.isdisjoint(tissues)

    def free(self, *over: Tissue) -> np.ndarray:
        """Where nothing but these tissues lies."""
        table = np.zeros(256, dtype=bool)
        table[list(over)] = True
        return table[self.tissue] & (self.organs == 0)


__all__ = ["DX", "DZ", "Scene"]
