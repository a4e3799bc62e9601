"""Aorta, vena cava, portal and mesenteric vessels, renal vessels and adrenals, where the map has none."""

from __future__ import annotations

import numpy as np

from unoise_engine.painted.placement import DX, DZ
from unoise_engine.painted.scene import Scene
from unoise_engine.painted.tissues import Tissue, members
from unoise_engine.painted.tube import line, tube, wander

T = Tissue
SOFT = (T.VISCERAL_FAT, T.LUNG_LEFT, T.LUNG_RIGHT, T.MUSCLE, T.PSOAS_LEFT, T.PSOAS_RIGHT, T.HEART)


def build_vessels(scene: Scene) -> None:
    """In order of precedence: what is drawn later gives way to what lies there."""
    u, marks = scene.rng.uniform, scene.marks
    heights = np.arange(scene.shape[0], dtype=float)
    front = scene.spine_y - scene.body_radius_mm[1] / DX
    aorta_mm, cava_mm = u(7, 12.5), u(8, 13)
    fork_z = marks.kidney_z - u(70, 95) / DZ  # both divide here
    above = heights >= fork_z
    aorta_x = scene.spine_x + u(2, 10) / DX
    aorta_y = front - (aorta_mm + u(0, 3)) / DX
    aorta = np.stack([heights, aorta_y, aorta_x], axis=1)
    rise = np.clip((heights - marks.pancreas_z) * DZ, 0, None)
    cava_x = scene.spine_x - (14 + np.minimum(8, rise * 0.08)) / DX
    cava_y = front - (cava_mm * 0.7 + np.minimum(30, rise * 0.35)) / DX
    cava = np.stack([heights, cava_y, cava_x], axis=1)
    scene.paths |= {"aorta": aorta, "cava": cava}
    if not scene.has(T.AORTA):
        _draw(scene, aorta[above], aorta_mm, T.AORTA)
        _iliac(scene, aorta, fork_z, aorta_mm * 0.6, T.ARTERY, -2)
    if not scene.has(T.PORTAL):
        _portal(scene, aorta)
    if not scene.has(T.CAVA):
        below_heart = heights < marks.dome_z + u(8, 25) / DZ
        _draw(scene, cava[above & below_heart], cava_mm, T.CAVA)
        _iliac(scene, cava, fork_z, cava_mm * 0.65, T.VEIN, 2)
    if not scene.has(T.ARTERY):
        _renal(scene, aorta, cava)
    if not scene.has(T.ADRENAL_LEFT):
        _adrenals(scene)


def _draw(
    scene: Scene, path: np.ndarray, radius_mm: float | np.ndarray, kind: Tissue, over: tuple[Tissue, ...] = SOFT
) -> None:
    found = tube(path, np.broadcast_to(radius_mm, len(path)), scene.shape) if len(path) else None
    if found is None:
        return
    part = scene.tissue[found.box]
    part[(found.depth_mm > 0) & members(*over)[part] & (scene.organs[found.box] == 0)] = kind


def _iliac(scene: Scene, trunk: np.ndarray, fork_z: float, radius_mm: float, kind: Tissue, back: float) -> None:
    if fork_z < 2:
        return
    start = trunk[min(int(fork_z) + 1, len(trunk) - 1)]
    for side in (-1, 1):
        drop = min(fork_z, 120 / DZ)
        end = (start[0] - drop, start[1] + back + drop * DZ * 0.1 / DX, start[2] + side * drop * DZ * 0.5 / DX)
        _draw(scene, line(tuple(start), end), radius_mm, kind)


def _portal(scene: Scene, aorta: np.ndarray) -> None:
    """The splenic vein runs behind the pancreas, meets the mesenteric vein at its neck and goes on to the liver."""
    from scipy import ndimage

    rng, u, marks = scene.rng, scene.rng.uniform, scene.marks
    vein_mm = u(4.3, 7.0)
    neck_x = marks.mid_x - u(4, 22) / DX
    gland = np.argwhere(scene.organs == T.PANCREAS)
    tail = gland[gland[:, 2] > neck_x]
    columns = np.arange(int(neck_x), int(np.percentile(gland[:, 2], 97)))
    height = u(50, 75)
    places = []
    for x in columns:
        near = tail[np.abs(tail[:, 2] - x) <= 2]
        if len(near) >= 5:
            behind = np.percentile(near[:, 1], 92) + vein_mm * 0.55 / DX
            places.append((np.percentile(near[:, 0], height), behind, x))
    if len(places) < 6:
        return
    splenic = np.array(places, dtype=float)
    for axis, sigma in ((0, 5), (1, 4)):
        splenic[:, axis] = ndimage.gaussian_filter1d(splenic[:, axis], sigma, mode="nearest")
    spleen = np.argwhere(scene.organs[:, ::2, ::2] == T.SPLEEN)
    if len(spleen):
        hilum = (*(spleen.mean(axis=0) * (1, 2, 2))[:2], float(np.percentile(spleen[:, 2] * 2, 15)))
        splenic = np.concatenate([splenic, line(tuple(splenic[-1]), hilum)])
    z, y, _ = splenic[0]
    drift = u(-1, 1, size=4)
    mesenteric = line(
        (z, y, neck_x),
        (z - 12 / DZ * 3, y - 4 / DX, neck_x + 3 * drift[0]),
        (z - 60 / DZ, y - 8 / DX, neck_x + 6 * drift[1]),
        (z - 110 / DZ, y - 14 / DX, neck_x - 8 + 8 * drift[2]),
    )
    porta = line(
        (z, y, neck_x), (z + 22 / DZ, y - 2 / DX, neck_x - 22 / DX), (z + 48 / DZ, y - 8 / DX, neck_x - 48 / DX)
    )
    over = (*SOFT, T.VISCERAL_FAT)
    _draw(scene, splenic, vein_mm * 0.82, T.PORTAL, over)
    _draw(scene, porta, vein_mm * 1.1, T.PORTAL, over)
    _draw(scene, mesenteric, np.linspace(vein_mm, vein_mm * 0.6, len(mesenteric)), T.MESENTERIC_VEIN, over)
    _in_liver(scene, porta, vein_mm)

    start = int(np.clip(z + u(0, 4), 0, scene.shape[0] - 1))
    _, root_y, root_x = aorta[start]
    off = u(9, 18) / DX
    artery = line(
        (start, root_y, root_x),
        (start - 5, root_y - off, root_x + 1),
        (start - 30 / DZ, root_y - off - 2, root_x),
        (start - 105 / DZ, root_y - off - 6, root_x - 6 + 4 * drift[3]),
    )
    _draw(scene, artery, np.linspace(u(3.2, 4.4), 2.4, len(artery)), T.MESENTERIC_ARTERY)
    trunk = line((start + 5, root_y, root_x), (start + 8, root_y - 14 / DX, root_x - 3))
    _draw(scene, trunk, 3.2, T.ARTERY)
    along = splenic[:: max(1, len(splenic) // 30)].copy()
    along[:, 0] += 2.5 + 1.5 * np.sin(np.arange(len(along)) * 0.9 + u(0, 6))  # the splenic artery winds
    along[:, 1] -= 3 / DX
    _draw(scene, np.concatenate([line(tuple(trunk[-1]), tuple(along[0])), line(*map(tuple, along))]), 2.4, T.ARTERY)
    hepatic = line(tuple(trunk[-1]), (trunk[-1][0] + 2, y - 8 / DX, neck_x - 14 / DX), tuple(porta[-1] + (0, -4, 2)))
    _draw(scene, hepatic, 2.2, T.ARTERY)


def _in_liver(scene: Scene, porta: np.ndarray, vein_mm: float) -> None:
    """The portal vein's last piece and its two branches, inside the liver: they count as liver."""
    end = porta[-1]
    u = scene.rng.uniform
    for drop, across in ((u(0, 8), -u(18, 30)), (u(4, 14), u(8, 20))):
        path = np.concatenate(
            [porta[len(porta) // 2 :], line(tuple(end), (end[0] + drop, end[1] - 4, end[2] + across / DX * 1.2))]
        )
        found = tube(path, np.full(len(path), vein_mm * 0.8), scene.shape)
        if found is not None:
            part = scene.organs[found.box]
            part[(found.depth_mm > 0) & (part == T.LIVER)] = T.HEPATIC_VEIN


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
        _draw(scene, vein, u(3, 4.5), T.VEIN)
        _draw(scene, line(tuple(aorta[at]), (z - 1, y + 2, x)), 2.4, T.ARTERY)


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
            _draw(scene, path, u(2.0, 2.8), kind)


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
            _draw(scene, path, np.linspace(u(1.5, 2.8), 1.2, len(path)), kind, (T.VISCERAL_FAT,))
