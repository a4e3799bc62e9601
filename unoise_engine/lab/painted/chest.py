"""Lung bases and heart above the diaphragm, where the map has none."""

from __future__ import annotations

import numpy as np

from unoise_engine.lab.painted.labelmap import STEP_MM
from unoise_engine.lab.painted.placement import BELOW_DIAPHRAGM, DX, DZ
from unoise_engine.lab.painted.scene import Scene
from unoise_engine.lab.painted.tissues import Tissue
from unoise_engine.lab.phantom.fields import smooth

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
    draped = ndimage.gaussian_filter(top * known, 9) / (ndimage.gaussian_filter(known, 9) + 1e-3)
    diaphragm = ndimage.gaussian_filter(np.where(known > 0, top, draped - u(0, 4)), 2.5)
    dome = float(np.percentile(top[known > 0], 97)) if known.any() else float(depth)
    lowest = int(max(0, dome - u(25, 75) / DZ))
    rows, columns = np.mgrid[:height, :width].astype(np.float32)
    z = np.arange(lowest, depth)[:, None, None]
    # the recess reaches lowest at the back; in front the diaphragm rises towards its dome
    before = np.clip((marks.spine_y - u(25, 60) / DX - rows) * DX, 0, None)
    diaphragm = np.minimum(diaphragm + 1 + before * u(0.05, 0.4) / DZ, np.maximum(diaphragm + 1, dome - 2))
    uneven = smooth(scene.rng, (1, height, width), STEP_MM, 30)[0]
    diaphragm = ndimage.gaussian_filter(diaphragm, 3) + uneven * u(0.2, 1.2)
    # mediastinum: narrow in front of the heart, wide at it, narrow again beside the spine
    ahead = (marks.spine_y - rows) * DX
    span = np.interp(ahead, [-5, 0, 30, 60, 95, 125, 160], [8, 26, 24, 42, 38, 14, 9]) * u(0.8, 1.2)
    edge = (np.abs(columns - marks.mid_x - np.clip(ahead - 30, 0, 40) * 0.2 / DX) * DX - span) + uneven * 4
    mediastinum = edge < 0
    room = (z > diaphragm) & (scene.depth_mm[lowest:] > u(0, 2)) & ~mediastinum
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
