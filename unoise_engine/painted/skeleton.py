"""Spine, ribs and pelvis where the map has none, with psoas, crura and the back muscles' gaps."""

from __future__ import annotations

import numpy as np

from unoise_engine.painted.placement import DX, DZ
from unoise_engine.painted.scene import Scene
from unoise_engine.painted.tissues import Tissue

T = Tissue


def build_skeleton(scene: Scene) -> None:
    if not scene.has(T.VERTEBRA):
        if not scene.has(T.PSOAS_LEFT):
            _psoas(scene)
        _back_muscles(scene)
        _spine(scene)
        _pelvis(scene)
    if not scene.has(T.RIB):
        _ribs(scene)


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


def _spine(scene: Scene) -> None:
    """Vertebral bodies, discs, canal, arches, transverse and spinous processes, slice by slice in a window."""
    u = scene.rng.uniform
    wide, long = (r / DX for r in scene.body_radius_mm)
    period, disc = u(30, 37), u(6, 10)
    phase, shell, process = u(0, period), u(1.6, 3.2) / DX, u(18, 28) / DX
    sacrum_z = scene.marks.kidney_z - u(105, 125) / DZ
    for z in range(scene.shape[0]):
        x0, y0 = float(scene.spine_x[z]), float(scene.spine_y[z])
        below = max(0.0, (sacrum_z - z) * DZ)  # the sacrum: wider, further back, no discs
        y0 += min(below * 0.4, 22) / DX
        grown = wide * (1 + min(below / 60, 0.9))
        top, left = max(0, int(y0 - 25)), max(0, int(x0 - 45))
        whole = scene.tissue[z, top : top + 80, left : left + 90]
        part = whole.copy()
        rows, columns = np.mgrid[: part.shape[0], : part.shape[1]].astype(np.float32)
        rows, columns = rows + top, columns + left
        away_x, away_y = columns - x0, rows - y0
        at = (z * DZ + phase) % period if below == 0 else disc + 6.0
        # a body is flat behind: an ellipse with a cut
        ring = np.sqrt((away_x / grown) ** 2 + (away_y / long) ** 2) + np.maximum(0, away_y / long - 0.75)
        waist = 1 - 0.07 * np.sin(np.pi * min(max((at - disc) / (period - disc), 0), 1))
        body = ring < waist
        if at < disc:
            part[ring < 1] = T.DISC
        else:
            part[body] = T.VERTEBRA
            if disc + 1 < at < period - 1:
                part[ring < waist - shell / long] = T.VERTEBRA_MARROW
        canal = (away_x / (9.5 / DX)) ** 2 + ((away_y - long - 7 / DX) / (7.5 / DX)) ** 2
        if disc < at < period * 0.75:
            part[(canal < 2.0) & (canal >= 1) & ~body] = T.VERTEBRA
        for side in (-1, 1):  # facets
            facet = ((away_x - side * 15 / DX) / (5 / DX)) ** 2 + ((away_y - long - 14 / DX) / (6 / DX)) ** 2 < 1
            part[facet] = T.VERTEBRA
        part[(canal < 1) & ~body] = T.CANAL
        arch = long + 14 / DX
        if at > disc * 0.6:
            tip = arch + process * (0.75 + 0.25 * np.sin(at / period * np.pi))
            part[(np.abs(away_x) < 3 / DX) & (away_y > arch) & (away_y < tip)] = T.VERTEBRA
        if disc + 4 < at < disc + 11:
            transverse = (np.abs(np.abs(away_x) - 27 / DX) < 15 / DX) & (
                np.abs(away_y - long - 5 / DX) < 2 / DX + 0.05 * (grown * 2.4 - np.abs(away_x))
            )
            part[transverse] = T.VERTEBRA
        if below > 0:  # alae of the sacrum
            alae = (np.abs(away_x) < grown + min(below, 40) * 0.5 / DX) & (np.abs(away_y - long * 0.3) < 7 / DX)
            part[alae & (part != T.CANAL)] = T.VERTEBRA
            part[alae & (np.abs(away_y - long * 0.3) < 5 / DX) & (part == T.VERTEBRA)] = T.VERTEBRA_MARROW
        inside = (whole != T.AIR) & (whole != T.SKIN) & (whole != T.SUBCUTANEOUS_FAT)
        whole[inside] = part[inside]


def _pelvis(scene: Scene) -> None:
    """Iliac wings: plates of bone in the wall beside the sacrum, with the iliacus inside."""
    u = scene.rng.uniform
    crest_z = scene.marks.kidney_z - u(75, 100) / DZ
    thick, inner = u(2.6, 4.5), u(8, 14)
    away = np.abs(scene.angle)
    for z in range(max(0, min(int(crest_z), scene.shape[0]))):
        below = (crest_z - z) * DZ
        half = min(0.15 + below / 130, 0.75)
        around = np.clip(1 - np.where(away < 2.25, 2.25 - away, (away - 2.25) / 0.6) / half, 0, 1)
        around = np.sqrt(around)  # the muscles thin out towards the ends of the bone
        sector = around > 0
        depth = scene.depth_mm[z]
        plate = np.abs(depth + inner * 0.2) < thick * (0.6 + 0.4 * np.cos(away * 4))
        outside = scene.tissue[z] != T.AIR
        wing = sector & plate & outside
        scene.tissue[z][sector & (depth > 0) & (depth < (inner + thick) * around)] = T.MUSCLE
        scene.tissue[z][sector & (depth < 0) & (depth > -24 * around) & outside & (scene.tissue[z] != T.SKIN)] = (
            T.MUSCLE
        )
        scene.tissue[z][wing] = T.BONE
        scene.tissue[z][sector & (np.abs(depth + inner * 0.2) < thick - 2) & wing] = T.MARROW


def _ribs(scene: Scene) -> None:
    """Slanting bands in the wall: a rib runs down from the back to the front."""
    u, marks = scene.rng.uniform, scene.marks
    away = np.pi - np.abs(scene.angle)  # 0 at the back
    period, tall, slope, phase = u(24, 32), u(9, 13), u(18, 32), u(0, 30)
    lowest = marks.kidney_z - u(0, 40) / DZ
    middle, thick, furthest = u(4, 6), u(2.4, 3.4), u(1.9, 2.5)
    rise, cartilage = u(2, 9), u(0.4, 0.8)
    for z in range(max(0, int(lowest)), scene.shape[0]):
        at = (z * DZ + slope * away + phase) % period
        here = (at < tall) & (z > lowest + away * rise) & (away > 0.55) & (away < furthest + cartilage)
        off = np.abs(scene.depth_mm[z] + middle)
        rib = here & (off < thick) & (scene.tissue[z] != T.AIR)
        front = away > furthest
        scene.tissue[z][rib] = np.where(front, T.CARTILAGE, T.RIB)[rib]
        marrow = rib & (off < thick - 1.3) & (at > 2.5) & (at < tall - 2.5) & ~front
        scene.tissue[z][marrow] = T.MARROW
