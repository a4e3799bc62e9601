"""Aorta, vena cava, renal vessels and adrenals, where the map has none."""

from __future__ import annotations

import numpy as np

from unoise_engine.lab.painted.placement import DX, DZ
from unoise_engine.lab.painted.portal import build_portal
from unoise_engine.lab.painted.scene import Scene
from unoise_engine.lab.painted.tissues import Tissue
from unoise_engine.lab.painted.tube import line, wander

T = Tissue


def build_vessels(scene: Scene) -> None:
    """In order of precedence: what is drawn later gives way to what lies there."""
    u, marks = scene.rng.uniform, scene.marks
    heights = np.arange(scene.shape[0], dtype=float)
    front = scene.spine_y - scene.body_radius_mm[1] / DX
    aorta_mm, cava_mm = u(7, 12.5), u(8, 13)
    fork_z = marks.kidney_z - u(70, 95) / DZ  # both divide here
    above = heights >= fork_z
    aorta = np.stack([heights, front - (aorta_mm + u(0, 3)) / DX, scene.spine_x + u(2, 10) / DX], axis=1)
    rise_mm = np.clip((heights - marks.pancreas_z) * DZ, 0, None)  # towards the heart the cava comes forward
    cava_x = scene.spine_x - (14 + np.minimum(8, rise_mm * 0.08)) / DX
    cava_y = front - (cava_mm * 0.7 + np.minimum(30, rise_mm * 0.35)) / DX
    cava = np.stack([heights, cava_y, cava_x], axis=1)
    aorta, cava = _given_line(scene, T.AORTA, aorta), _given_line(scene, T.CAVA, cava)
    if not scene.has(T.AORTA):
        scene.draw(aorta[above], aorta_mm, T.AORTA)
        _iliac(scene, aorta, fork_z, aorta_mm * 0.6, T.ARTERY, -2)
    build_portal(scene, aorta)
    if not scene.has(T.CAVA):
        below_heart = heights < marks.dome_z + u(8, 25) / DZ
        scene.draw(cava[above & below_heart], cava_mm, T.CAVA)
        _iliac(scene, cava, fork_z, cava_mm * 0.65, T.VEIN, 2)
    if not _has_renal(scene):
        _renal(scene, aorta, cava)
    if not scene.has(T.ADRENAL_LEFT):
        _adrenals(scene)


def _given_line(scene: Scene, vessel: Tissue, otherwise: np.ndarray) -> np.ndarray:
    """The middle of a vessel of the map in every slice; beyond its ends it follows the invented one."""
    if not scene.has(vessel):
        return otherwise
    z, y, x = np.nonzero(scene.organs == vessel)
    count = np.bincount(z, minlength=scene.shape[0])
    known = count > 0
    path = otherwise.copy()
    for axis, places in ((1, y), (2, x)):
        middle = np.bincount(z, places, minlength=scene.shape[0])[known] / count[known]
        away = middle - otherwise[known, axis]
        path[:, axis] += np.interp(np.arange(scene.shape[0]), np.flatnonzero(known), away)
    return path


def _has_renal(scene: Scene) -> bool:
    """A map may name iliac vessels and yet no renal ones."""
    z = int(np.clip(scene.marks.kidney_z, 0, scene.shape[0] - 1))
    near = scene.organs[max(0, z - 8) : z + 9]
    return int(((near == T.VEIN) | (near == T.ARTERY)).sum()) > 100


def _iliac(scene: Scene, trunk: np.ndarray, fork_z: float, radius_mm: float, kind: Tissue, back: float) -> None:
    if fork_z < 2:
        return
    start = trunk[min(int(fork_z) + 1, len(trunk) - 1)]
    for side in (-1, 1):
        drop = min(fork_z, 120 / DZ)
        end = (start[0] - drop, start[1] + back + drop * DZ * 0.1 / DX, start[2] + side * drop * DZ * 0.5 / DX)
        scene.draw(line(tuple(start), end), radius_mm, kind)


def _renal(scene: Scene, aorta: np.ndarray, cava: np.ndarray) -> None:
    u = scene.rng.uniform
    for kind, side in ((T.CORTEX_LEFT, 1), (T.CORTEX_RIGHT, -1)):
        kidney = np.argwhere(scene.organs[:, ::2, ::2] == kind) * (1, 2, 2)
        if len(kidney) < 100:
            continue
        z, y = float(kidney[:, 0].mean() + u(-3, 3)), float(kidney[:, 1].mean() - 2)
        x = float(np.percentile(kidney[:, 2], 40 if side > 0 else 60))
        at = int(np.clip(z, 0, scene.shape[0] - 1))
        before = (at, aorta[at][1] - 11 / DX, aorta[at][2])  # the left vein passes before the aorta
        vein = line(tuple(cava[at]), before, (z, y, x)) if side > 0 else line(tuple(cava[at]), (z, y, x))
        scene.draw(vein, u(3, 4.5), T.VEIN)
        scene.draw(line(tuple(aorta[at]), (z - 1, y + 2, x)), 2.4, T.ARTERY)


def _adrenals(scene: Scene) -> None:
    """Each an inverted V above and inside its kidney."""
    u = scene.rng.uniform
    for kidney, kind, side in (
        (T.CORTEX_LEFT, T.ADRENAL_LEFT, 1),
        (T.CORTEX_RIGHT, T.ADRENAL_RIGHT, -1),
    ):
        found = np.argwhere(scene.organs[:, ::2, ::2] == kidney) * (1, 2, 2)
        if len(found) < 100:
            continue
        top = float(np.percentile(found[:, 0], 96))
        y, x = float(found[:, 1].mean()) - 8 / DX, float(found[:, 2].mean()) - side * u(12, 18) / DX
        for limb in (-1, 1):
            path = line(
                (top - 4, y - 2, x), (top, y + 8 / DX, x + limb * 5 / DX), (top + 5, y + 3 / DX, x + limb * 2 / DX)
            )
            scene.draw(path, u(2.0, 2.8), kind)


def scatter_small(scene: Scene) -> None:
    """Branches in the mesenteric fat, and lymph nodes, that no label names."""
    rng, u = scene.rng, scene.rng.uniform
    allowed = scene.free(T.VISCERAL_FAT) & (scene.depth_mm > 4)
    places = np.argwhere(allowed[:, ::3, ::3])
    if not len(places):
        return
    for _ in range(int(u(15, 60))):
        start = places[rng.integers(len(places))] * (1, 3, 3)
        path = wander(rng, start, int(u(6, 30)), 3.0, allowed)
        if len(path):
            kind = T.VEIN if u() < 0.6 else T.ARTERY
            scene.draw(path, np.linspace(u(1.5, 2.8), 1.2, len(path)), kind, (T.VISCERAL_FAT,))
