"""The body under construction."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from unoise_engine.lab.painted.placement import Landmarks
from unoise_engine.lab.painted.tissues import Tissue, members
from unoise_engine.lab.painted.tube import tube

T = Tissue
SOFT = (T.VISCERAL_FAT, T.LUNG_LEFT, T.LUNG_RIGHT, T.MUSCLE, T.PSOAS_LEFT, T.PSOAS_RIGHT, T.HEART)


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

    @property
    def shape(self) -> tuple[int, int, int]:
        z, y, x = self.tissue.shape
        return z, y, x

    def has(self, *tissues: Tissue) -> bool:
        return not self.given.isdisjoint(tissues)

    def free(self, *over: Tissue) -> np.ndarray:
        """Where nothing but these tissues lies."""
        return members(*over)[self.tissue] & (self.organs == 0)

    def draw(
        self, path: np.ndarray, radius_mm: float | np.ndarray, kind: Tissue, over: tuple[Tissue, ...] = SOFT
    ) -> None:
        """A tube along `path` (n, 3) voxels, where only the tissues of `over` lie."""
        found = tube(path, np.broadcast_to(radius_mm, len(path)), self.shape)
        if found is not None:
            part = self.tissue[found.box]
            part[(found.depth_mm > 0) & members(*over)[part] & (self.organs[found.box] == 0)] = kind
