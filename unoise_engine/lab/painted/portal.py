"""Portal, splenic and mesenteric vessels around the pancreas, where the map has none."""

from __future__ import annotations

import numpy as np

from unoise_engine.lab.painted.placement import DX, DZ
from unoise_engine.lab.painted.scene import Scene
from unoise_engine.lab.painted.tissues import Tissue
from unoise_engine.lab.painted.tube import line, tube

T = Tissue


def build_portal(scene: Scene, aorta: np.ndarray) -> None:
    """`aorta`: its centre line, a point (z, y, x) for every slice."""
    u = scene.rng.uniform
    vein_mm = u(4.3, 7.0)
    neck_x = scene.marks.mid_x - u(4, 22) / DX  # of the pancreas, where the veins meet
    splenic = _splenic(scene, neck_x, vein_mm)
    if splenic is None:
        return
    meeting_z, meeting_y, _ = splenic[0]
    porta = line(
        (meeting_z, meeting_y, neck_x),
        (meeting_z + 22 / DZ, meeting_y - 2 / DX, neck_x - 22 / DX),
        (meeting_z + 48 / DZ, meeting_y - 8 / DX, neck_x - 48 / DX),
    )
    if not scene.has(T.PORTAL):
        _veins(scene, splenic, porta, vein_mm)
    if not scene.has(T.MESENTERIC_ARTERY):
        _arteries(scene, splenic, porta, aorta)


def _splenic(scene: Scene, neck_x: float, vein_mm: float) -> np.ndarray | None:
    """Behind body and tail of the pancreas, from its neck on, then to the spleen; None for a gland without them."""
    from scipy import ndimage

    gland = np.argwhere(scene.organs == T.PANCREAS)
    tail = gland[gland[:, 2] > neck_x]
    height = scene.rng.uniform(50, 75)
    places = []
    for x in range(int(neck_x), int(np.percentile(gland[:, 2], 97))):
        near = tail[np.abs(tail[:, 2] - x) <= 2]
        if len(near) >= 5:
            behind = np.percentile(near[:, 1], 92) + vein_mm * 0.55 / DX
            places.append((np.percentile(near[:, 0], height), behind, x))
    if len(places) < 6:
        return None
    path = np.array(places, dtype=float)
    for axis, sigma in ((0, 5), (1, 4)):
        path[:, axis] = ndimage.gaussian_filter1d(path[:, axis], sigma, mode="nearest")
    spleen = np.argwhere(scene.organs[:, ::2, ::2] == T.SPLEEN) * (1, 2, 2)
    if len(spleen):
        z, y, _ = spleen.mean(axis=0)
        hilum = (float(z), float(y), float(np.percentile(spleen[:, 2], 15)))
        path = np.concatenate([path, line(tuple(path[-1]), hilum)])
    return path


def _veins(scene: Scene, splenic: np.ndarray, porta: np.ndarray, vein_mm: float) -> None:
    u = scene.rng.uniform
    z, y, x = porta[0]
    aside = u(-1, 1, size=3)
    mesenteric = line(
        (z, y, x),
        (z - 36 / DZ, y - 4 / DX, x + 3 * aside[0]),
        (z - 60 / DZ, y - 8 / DX, x + 6 * aside[1]),
        (z - 110 / DZ, y - 14 / DX, x - 8 + 8 * aside[2]),
    )
    scene.draw(splenic, vein_mm * 0.82, T.PORTAL)
    scene.draw(porta, vein_mm * 1.1, T.PORTAL)
    scene.draw(mesenteric, np.linspace(vein_mm, vein_mm * 0.6, len(mesenteric)), T.MESENTERIC_VEIN)
    # the last piece and its two branches lie inside the liver and count as liver
    end_z, end_y, end_x = porta[-1]
    for rise, across_mm in ((u(0, 8), -u(22, 36)), (u(4, 14), u(10, 24))):
        branch = line((end_z, end_y, end_x), (end_z + rise, end_y - 4, end_x + across_mm / DX))
        path = np.concatenate([porta[len(porta) // 2 :], branch])
        found = tube(path, np.full(len(path), vein_mm * 0.8), scene.shape)
        if found is not None:
            part = scene.organs[found.box]
            part[(found.depth_mm > 0) & (part == T.LIVER)] = T.HEPATIC_VEIN


def _arteries(scene: Scene, splenic: np.ndarray, porta: np.ndarray, aorta: np.ndarray) -> None:
    """Superior mesenteric artery; coeliac trunk with the splenic and the hepatic artery."""
    u = scene.rng.uniform
    z, y, x = porta[0]
    start = int(np.clip(z + u(0, 4), 0, scene.shape[0] - 1))
    _, root_y, root_x = aorta[start]
    off = u(9, 18) / DX
    mesenteric = line(
        (start, root_y, root_x),
        (start - 5, root_y - off, root_x + 1),
        (start - 30 / DZ, root_y - off - 2, root_x),
        (start - 105 / DZ, root_y - off - 6, root_x - 6 + u(-4, 4)),
    )
    scene.draw(mesenteric, np.linspace(u(3.2, 4.4), 2.4, len(mesenteric)), T.MESENTERIC_ARTERY)
    trunk = line((start + 5, root_y, root_x), (start + 8, root_y - 14 / DX, root_x - 3))
    scene.draw(trunk, 3.2, T.ARTERY)
    along = splenic[:: max(1, len(splenic) // 30)].copy()
    along[:, 0] += 2.5 + 1.5 * np.sin(np.arange(len(along)) * 0.9 + u(0, 6))  # the splenic artery winds
    along[:, 1] -= 3 / DX
    scene.draw(line(tuple(trunk[-1]), *map(tuple, along)), 2.4, T.ARTERY)
    end_z, end_y, end_x = porta[-1]
    hepatic = line(tuple(trunk[-1]), (trunk[-1][0] + 2, y - 8 / DX, x - 14 / DX), (end_z, end_y - 4, end_x + 2))
    scene.draw(hepatic, 2.2, T.ARTERY)
