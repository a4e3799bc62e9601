"""Small bowel and colon: loops through the free fat, or the insides of the loops a map has."""

from __future__ import annotations

import numpy as np

from unoise_engine.lab.painted.placement import DX, DZ
from unoise_engine.lab.painted.scene import Scene
from unoise_engine.lab.painted.tissues import Tissue
from unoise_engine.lab.painted.tube import line, tube, wander

T = Tissue
CONTENTS = (T.BOWEL_FLUID, T.BOWEL_CHYME, T.BOWEL_CONTRAST, T.BOWEL_COLLAPSED)


def build_bowel(scene: Scene) -> None:
    if scene.has(T.COLON):
        return
    u, marks = scene.rng.uniform, scene.marks
    free = scene.free(T.VISCERAL_FAT) & (scene.depth_mm > 2)
    free[int(min(marks.dome_z - 4, scene.shape[0])) :] = False
    free[:, max(0, int(marks.spine_y + u(-12, 6) / DX)) :] = False  # nothing behind the kidneys
    _colon(scene, free)
    if not scene.has(T.BOWEL):
        _small_bowel(scene, free, u(0.22, 0.75))


def _colon(scene: Scene, free: np.ndarray) -> None:
    rng, u, marks = scene.rng, scene.rng.uniform, scene.marks
    flank = _half_width(scene)
    bend_z = marks.pancreas_z - u(0, 40) / DZ
    low = max(0.0, marks.kidney_z - 170 / DZ)
    back_y = marks.spine_y - u(18, 32) / DX
    front_y = marks.front_y + u(4, 16) / DX
    right, left = marks.mid_x - flank * u(0.72, 0.85), marks.mid_x + flank * u(0.75, 0.88)
    sag = u(5, 45) / DZ
    ascending = line((low, back_y, right + 4), (low + 20, back_y, right), (bend_z, back_y - 8, right + 2))
    transverse = line(
        (bend_z, back_y - 8, right + 2),
        (bend_z - sag / 2, front_y + 6, marks.mid_x - flank * 0.45),
        (bend_z - sag, front_y, marks.mid_x),
        (bend_z, front_y + 4, marks.mid_x + flank * 0.45),
        (bend_z + 25 / DZ, back_y - 16, left - 3),
    )
    descending = line((bend_z + 25 / DZ, back_y - 16, left - 3), (bend_z, back_y, left), (low + 12, back_y + 2, left))
    for path in (ascending, transverse, descending):
        path = path + np.cumsum(rng.normal(0, 0.12, size=path.shape), axis=0)
        wide = u(9, 22) * (0.7 if path is descending else 1.0)
        folds = 1 + 0.16 * np.sin(np.arange(len(path)) * 2.0 / u(26, 36) * 2 * np.pi)
        content = (T.COLON_STOOL, T.COLON_STOOL, T.COLON_FLUID, T.COLON_GAS)[rng.integers(4)]
        _lay(scene, free, path, wide * folds, T.COLON, content, T.COLON_GAS, gassy=0.7)


def _small_bowel(scene: Scene, free: np.ndarray, wanted: float) -> None:
    """Loops until `wanted` of the free fat below the pancreas is filled."""
    rng, u, marks = scene.rng, scene.rng.uniform, scene.marks
    reach = free.copy()
    reach[int(marks.pancreas_z + 35 / DZ) :] = False
    places = np.argwhere(reach[:, ::3, ::3])
    if len(places) < 50:
        return
    goal = reach.sum() * (1 - wanted)
    beside = places[(np.abs(places[:, 0] - marks.pancreas_z) * DZ < 45) & (places[:, 2] * 3 > marks.mid_x - 20)]
    kinds = rng.permutation(4)[: rng.integers(1, 5)]
    calibre = u(6.5, 12)
    for turn in range(110):
        if turn % 8 == 7 and (reach & free).sum() < goal:
            break
        source = beside if turn < 14 and len(beside) > 50 and u() < 0.6 else places
        start = source[rng.integers(len(source))] * (1, 3, 3)
        if not free[tuple(start)]:
            continue
        path = wander(rng, start, int(u(18, 55)), 3.5, reach, wobble=0.35)
        if len(path) < 5:
            continue
        radii = calibre * u(0.75, 1.35) * (1 + 0.12 * np.sin(np.arange(len(path)) * u(0.4, 1.2)))
        content = CONTENTS[kinds[rng.integers(len(kinds))]]
        _lay(scene, free, path, radii, T.BOWEL, content, T.BOWEL_GAS, gassy=0.22)


def _lay(
    scene: Scene,
    free: np.ndarray,
    path: np.ndarray,
    radii_mm: np.ndarray,
    wall: Tissue,
    content: Tissue,
    gas: Tissue,
    gassy: float,
) -> None:
    """One loop; it takes its room from `free`, so that loops lie side by side."""
    u = scene.rng.uniform
    found = tube(path, radii_mm, scene.shape)
    if found is None:
        return
    room = free[found.box] & (found.depth_mm > 0)
    if room.sum() < 40:
        return
    part = scene.tissue[found.box]
    part[room] = wall
    inside = room & (found.depth_mm > u(1.8, 3.2))
    part[inside] = content
    if inside.any() and u() < gassy:
        # gas gathers in front: above a level in each piece of the loop
        rows = np.arange(found.box[1].start, found.box[1].stop, dtype=np.float32)
        order = np.argsort(path[:, 2])
        level = np.interp(np.arange(found.box[2].start, found.box[2].stop), path[order, 2], path[order, 1])
        level = level + u(-0.6, 0.6) * float(radii_mm.mean()) / DX
        part[inside & (rows[:, None] < level[None, :])] = gas
    free[found.box] &= ~room


def _half_width(scene: Scene) -> float:
    """Of the cavity, in voxels."""
    z = int(np.clip(scene.marks.kidney_z, 0, scene.shape[0] - 1))
    inside = np.flatnonzero((scene.depth_mm[z] > 0).any(axis=0))
    return (inside[-1] - inside[0]) / 2 if len(inside) else 50.0
