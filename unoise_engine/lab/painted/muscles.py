"""Muscles beside the spine, where the map has no spine of its own: psoas, crura, back muscles."""

from __future__ import annotations

import numpy as np

from unoise_engine.lab.painted.placement import DX, DZ
from unoise_engine.lab.painted.scene import Scene
from unoise_engine.lab.painted.tissues import Tissue

T = Tissue


def build_muscles(scene: Scene) -> None:
    if scene.has(T.VERTEBRA):
        return
    if not scene.has(T.PSOAS_LEFT):
        _psoas(scene)
    _back_muscles(scene)


def _psoas(scene: Scene) -> None:
    u, marks = scene.rng.uniform, scene.marks
    rows, columns = np.mgrid[: scene.shape[1], : scene.shape[2]].astype(np.float32)
    wide = scene.body_radius_mm[0] / DX
    strength, fullness = u(0.75, 1.25), u(0.95, 1.1)
    for z in range(scene.shape[0]):
        below = (marks.kidney_z - z) * DZ
        x0, y0 = scene.spine_x[z], scene.spine_y[z]
        radius = float(np.clip(9 + below * 0.14, 0, 27)) * strength / DX
        spread = wide + radius * 0.75 + max(0.0, below - 70) * 0.25 / DX
        for side, kind in ((1, T.PSOAS_LEFT), (-1, T.PSOAS_RIGHT)):
            if radius > 1.5:
                inside = ((columns - x0 - side * spread) / (radius * 0.8)) ** 2 + (
                    (rows - y0 + max(0.0, below - 70) * 0.2 / DX) / (radius * fullness)
                ) ** 2 < 1
                scene.tissue[z][inside] = kind
            if -100 < below < 40:  # crura of the diaphragm
                inside = ((columns - x0 - side * 13 / DX) / (3.5 / DX)) ** 2 + (
                    (rows - y0 + scene.body_radius_mm[1] / DX + 4 / DX) / (10 / DX)
                ) ** 2 < 1
                scene.tissue[z][inside] = T.MUSCLE


def _back_muscles(scene: Scene) -> None:
    """Erector spinae beside the arches, and quadratus lumborum below the ribs."""
    u, marks = scene.rng.uniform, scene.marks
    rows, columns = np.mgrid[: scene.shape[1], : scene.shape[2]].astype(np.float32)
    side, wide, deep, back = u(30, 38), u(28, 38), u(18, 26), u(32, 40)
    flank, thin = u(56, 66), u(5, 9)
    for z in range(scene.shape[0]):
        away, behind = np.abs(columns - scene.spine_x[z]) * DX, (rows - scene.spine_y[z]) * DX
        size = float(np.interp((z - marks.kidney_z) * DZ, [20, 120], [1, 0.65]))  # thinner behind the chest
        muscle = (np.abs(away - side * size) / wide / size) ** 2.5 + (np.abs(behind - back) / deep / size) ** 2 < 1
        if z < marks.kidney_z + 25 / DZ:
            muscle |= ((away - flank) / 16) ** 2 + ((behind - 14) / thin) ** 2 < 1
        muscle &= (scene.depth_mm[z] > 0) & (scene.organs[z] == 0)
        scene.tissue[z][muscle] = T.MUSCLE
        scene.depth_mm[z][muscle] = -30  # outside the cavity, and no place for ribs
