"""Lung bases and heart above the diaphragm, where the map has none."""

from __future__ import annotations

import numpy as np

from unoise_engine.painted.placement import BELOW_DIAPHRAGM, DX, DZ
from unoise_engine.painted.scene import Scene
from unoise_engine.painted.tissues import Tissue

T = Tissue


def build_chest(scene: Scene) -> None:
    if not scene.has(T.LUNG_LEFT, T.LUNG_RIGHT):
        _lungs(scene)
    if not scene.has(T.HEART):
        _heart(scene)


def _lungs(scene: Scene) -> None:
    """The diaphragm drapes over the organs: the top of each column of organs, smoothed."""
    from scipy import ndimage

    u, marks = scene.rng.uniform, scene.marks
    depth, height, width = scene.shape
    below = BELOW_DIAPHRAGM[scene.organs]
    top = np.where(below.any(axis=0), depth - 1 - below[::-1].argmax(axis=0), -1).astype(np.float32)
    known = (top >= 0).astype(np.float32)
    smooth = ndimage.gaussian_filter(top * known, 9) / (ndimage.gaussian_filter(known, 9) + 1e-3)
    diaphragm = ndimage.gaussian_filter(np.where(known > 0, top, smooth - u(0, 4)), 2.5)
    dome = float(np.percentile(top[known > 0], 97)) if known.any() else depth
    lowest = int(max(0, dome - u(25, 75) / DZ))
    rows, columns = np.mgrid[:height, :width].astype(np.float32)
    z = np.arange(lowest, depth)[:, None, None]
    high = np.clip((z - dome) * DZ / 40, 0, 1)  # the mediastinum narrows as the heart ends
    middle = np.abs(columns - marks.mid_x) < (u(26, 36) - 8 * high) / DX
    mediastinum = middle & (rows < marks.spine_y + 4 / DX)
    behind = rows > marks.spine_y - u(50, 80) / DX  # the recess reaches lower at the back
    room = (z > diaphragm + 1) & (scene.depth_mm[lowest:] > u(0, 2)) & ~mediastinum & (behind | (z > dome - 5))
    part = scene.tissue[lowest:]
    room &= (part == T.VISCERAL_FAT) & (scene.organs[lowest:] == 0)
    part[room & (columns > marks.mid_x)] = T.LUNG_LEFT
    part[room & (columns <= marks.mid_x)] = T.LUNG_RIGHT


def _heart(scene: Scene) -> None:
    u, marks = scene.rng.uniform, scene.marks
    rows, columns = np.mgrid[: scene.shape[1], : scene.shape[2]].astype(np.float32)
    base = marks.dome_z - u(0, 12) / DZ
    right, forward, wide, deep = u(8, 22), u(62, 85), u(46, 58), u(34, 44)
    over = (T.VISCERAL_FAT, T.LUNG_LEFT, T.LUNG_RIGHT)
    for z in range(max(0, int(base)), scene.shape[0]):
        grown = min(1.0, 0.55 + (z - base) * DZ / 40)
        away = np.sqrt(
            ((columns - marks.mid_x - right / DX) / (wide * grown / DX)) ** 2
            + ((rows - marks.spine_y + forward / DX) / (deep * grown / DX)) ** 2
        )
        free = np.isin(scene.tissue[z], over) & (scene.organs[z] == 0) & (scene.depth_mm[z] > 2)
        scene.tissue[z][(away < 1.12) & free] = T.VISCERAL_FAT  # of the pericardium
        scene.tissue[z][(away < 1) & free] = T.HEART
