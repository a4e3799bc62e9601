"""Spine, pelvis and ribs, where the map has none."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from unoise_engine.lab.painted.placement import DX, DZ
from unoise_engine.lab.painted.scene import Scene
from unoise_engine.lab.painted.tissues import Tissue

T = Tissue


@dataclass(frozen=True)
class Vertebra:
    """One patient's vertebrae: heights in mm, all else in voxels of the plane."""

    period_mm: float  # one vertebra and one disc
    disc_mm: float
    wide: float  # radii of the body
    long: float
    shell: float  # cortical bone
    spinous: float  # length of the process


def build_skeleton(scene: Scene) -> None:
    if not scene.has(T.VERTEBRA):
        _spine(scene)
        _pelvis(scene)
    if not scene.has(T.RIB):
        _ribs(scene)


def _spine(scene: Scene) -> None:
    """Vertebrae and discs, slice by slice in a window around the bodies."""
    u = scene.rng.uniform
    wide, long = (r / DX for r in scene.body_radius_mm)
    shape = Vertebra(
        period_mm=u(30, 37), disc_mm=u(6, 10), wide=wide, long=long, shell=u(1.6, 3.2) / DX, spinous=u(18, 28) / DX
    )
    phase = u(0, shape.period_mm)
    sacrum_z = scene.marks.kidney_z - u(105, 125) / DZ
    for z in range(scene.shape[0]):
        below = max(0.0, (sacrum_z - z) * DZ)  # within the sacrum: wider, further back, no discs
        x0, y0 = float(scene.spine_x[z]), float(scene.spine_y[z]) + min(below * 0.4, 22) / DX
        top, left = max(0, int(y0 - 25)), max(0, int(x0 - 45))
        there = scene.tissue[z, top : top + 80, left : left + 90]
        drawn = there.copy()
        rows, columns = np.mgrid[: there.shape[0], : there.shape[1]].astype(np.float32)
        away_x, away_y = columns + (left - x0), rows + (top - y0)
        at_mm = (z * DZ + phase) % shape.period_mm if below == 0 else shape.disc_mm + 6.0
        grown = wide * (1 + min(below / 60, 0.9))
        body = _body(drawn, away_x / grown, away_y / long, at_mm, shape)
        _arch(drawn, away_x, away_y, body, at_mm, shape)
        if below > 0:
            _alae(drawn, away_x, away_y - long * 0.3, grown + min(below, 40) * 0.5 / DX)
        inside = (there != T.AIR) & (there != T.SKIN) & (there != T.SUBCUTANEOUS_FAT)
        there[inside] = drawn[inside]


def _body(drawn: np.ndarray, across: np.ndarray, along: np.ndarray, at_mm: float, shape: Vertebra) -> np.ndarray:
    """Disc or body, by the height `at_mm` above a disc's lower face; returns the body's mask."""
    # flat behind: an ellipse with a cut
    ring = np.sqrt(across**2 + along**2) + np.maximum(0, along - 0.75)
    share = (at_mm - shape.disc_mm) / (shape.period_mm - shape.disc_mm)
    waist = 1 - 0.07 * np.sin(np.pi * min(max(share, 0), 1))
    body: np.ndarray = ring < waist
    if at_mm < shape.disc_mm:
        drawn[ring < 1] = T.DISC
    else:
        drawn[body] = T.VERTEBRA
        if shape.disc_mm + 1 < at_mm < shape.period_mm - 1:  # between the end plates
            drawn[ring < waist - shape.shell / shape.long] = T.VERTEBRA_MARROW
    return body


def _arch(
    drawn: np.ndarray, away_x: np.ndarray, away_y: np.ndarray, body: np.ndarray, at_mm: float, shape: Vertebra
) -> None:
    """Canal, arch, facets, and at their heights the processes."""
    behind = away_y - shape.long  # of the body
    canal = (away_x / (9.5 / DX)) ** 2 + ((behind - 7 / DX) / (7.5 / DX)) ** 2
    if shape.disc_mm < at_mm < shape.period_mm * 0.75:
        drawn[(canal < 2.0) & (canal >= 1) & ~body] = T.VERTEBRA
    for side in (-1, 1):
        facet = ((away_x - side * 15 / DX) / (5 / DX)) ** 2 + ((behind - 14 / DX) / (6 / DX)) ** 2 < 1
        drawn[facet] = T.VERTEBRA
    drawn[(canal < 1) & ~body] = T.CANAL
    if at_mm > shape.disc_mm * 0.6:
        tip = 14 / DX + shape.spinous * (0.75 + 0.25 * np.sin(at_mm / shape.period_mm * np.pi))
        drawn[(np.abs(away_x) < 3 / DX) & (behind > 14 / DX) & (behind < tip)] = T.VERTEBRA
    if shape.disc_mm + 4 < at_mm < shape.disc_mm + 11:
        thick = 2 / DX + 0.05 * (shape.wide * 2.4 - np.abs(away_x))
        transverse = (np.abs(np.abs(away_x) - 27 / DX) < 15 / DX) & (np.abs(behind - 5 / DX) < thick)
        drawn[transverse] = T.VERTEBRA


def _alae(drawn: np.ndarray, away_x: np.ndarray, away_y: np.ndarray, reach: float) -> None:
    """The wings of the sacrum."""
    wing = (np.abs(away_x) < reach) & (drawn != T.CANAL)
    drawn[wing & (np.abs(away_y) < 7 / DX)] = T.VERTEBRA
    drawn[wing & (np.abs(away_y) < 5 / DX) & (drawn == T.VERTEBRA)] = T.VERTEBRA_MARROW


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
        layer = scene.tissue[z]
        layer[sector & (depth > 0) & (depth < (inner + thick) * around)] = T.MUSCLE
        layer[sector & (depth < 0) & (depth > -16 * around) & outside & (layer != T.SKIN)] = T.MUSCLE
        layer[wing] = T.BONE
        layer[wing & (np.abs(depth + inner * 0.2) < thick - 2)] = T.MARROW


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
