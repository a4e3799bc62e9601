"""Draws what holds the organs: skin, fat, muscle, spine, ribs, diaphragm, lungs. The cavity stays free."""

from __future__ import annotations

import numpy as np

from unoise_engine.lab.phantom.anatomy import Anatomy
from unoise_engine.lab.phantom.canvas import EDGE_MM, REACH_MM, Box, Canvas
from unoise_engine.lab.phantom.habitus import Trunk
from unoise_engine.lab.phantom.labels import LABELS
from unoise_engine.lab.phantom.shapes import Ellipsoid

SKIN_MM = 1.8
PLEURA_MM = 2.5  # diaphragm between lung and abdomen
FAR_MM = 500.0


def draw(canvas: Canvas, anatomy: Anatomy, hu: dict[str, float]) -> None:
    trunk = anatomy.trunk
    whole: Box = (slice(None), slice(None), slice(None))
    muscle, cavity = _walls(canvas, trunk)
    _layers(canvas, whole, trunk, muscle, cavity, hu)
    np.minimum(canvas.room, cavity - 1.0, out=canvas.room)
    _chest(canvas, trunk, cavity, hu)
    _ribs(canvas, trunk, cavity, hu)
    _back(canvas, hu)
    _spine(canvas, trunk, hu)
    for name in ("iliopsoas_left", "iliopsoas_right", "crura"):
        found = canvas.distance(*anatomy.organs[name])
        if found:
            box, inside = found
            inside = np.minimum(inside, cavity[box] + 4)
            canvas.paint(box, inside, canvas.textured(box, hu["muscle"], 6, 5), LABELS.get(name))
            canvas.claim(box, inside, 1.0)


def _walls(canvas: Canvas, trunk: Trunk) -> tuple[np.ndarray, np.ndarray]:
    """Signed distances to the outside of the muscles and to the inside of the cavity, positive inside."""
    outer = (trunk.half_width + trunk.wall, trunk.front + trunk.wall * 0.8, trunk.back + trunk.wall)
    muscle = _rounded(canvas, *outer, trunk.square)
    cavity = _rounded(canvas, trunk.half_width, trunk.front, trunk.back, trunk.square)
    return muscle, cavity


def _rounded(canvas: Canvas, half_width: float, front: float, back: float, square: float) -> np.ndarray:
    """Distance along the ray from the middle to a squircle that spans +-half_width in x and -front..back in y."""
    middle, half_depth = (back - front) / 2, (back + front) / 2
    u = canvas.x * np.float32(1 / half_width)
    v = (canvas.y - np.float32(middle)) * np.float32(1 / half_depth)
    u *= u
    v *= v
    level = u + v
    away = np.sqrt(u * np.float32(half_width**2) + v * np.float32(half_depth**2))  # mm from the middle
    u *= v
    u *= np.float32(square)
    level -= np.minimum(u, level * np.float32(0.4))
    np.sqrt(level, out=level)
    np.maximum(level, np.float32(0.05), out=level)
    return away / level - away


def _layers(
    canvas: Canvas, whole: Box, trunk: Trunk, muscle: np.ndarray, cavity: np.ndarray, hu: dict[str, float]
) -> None:
    side = np.clip(np.abs(canvas.x) * np.float32(1 / (trunk.half_width + trunk.wall)), 0, 1)
    side *= side
    ends = np.where(canvas.y < -20, np.float32(trunk.fat_front), np.float32(trunk.fat_back))
    fat = ends + side * (np.float32(trunk.fat_side) - ends)
    fat += np.float32(0.4 + 0.04 * trunk.fat_side) * canvas.grain["coarse"]
    np.maximum(fat, np.float32(SKIN_MM + 1.0), out=fat)
    fat += muscle
    canvas.paint(whole, fat, hu["skin"])
    canvas.paint(whole, fat - np.float32(SKIN_MM), canvas.textured(whole, hu["subcutaneous fat"], 3, 5))
    canvas.paint(whole, muscle, canvas.textured(whole, hu["muscle"], 6, 7, 3))
    plane = np.float32(1.1) - np.abs(muscle - np.float32(trunk.wall * 0.45) + 0.8 * canvas.grain["mid"])
    np.minimum(plane, muscle, out=plane)
    canvas.paint(whole, plane, -40.0, edge_mm=3.0)  # fat between the muscle layers
    canvas.paint(whole, cavity, canvas.textured(whole, hu["visceral fat"], 5, 7))


def _back(canvas: Canvas, hu: dict[str, float]) -> None:
    """Muscles beside the spine; fat grows between their bundles."""
    for side in (-1, 1):
        for shape in (
            Ellipsoid((side * 27.0, 52.0, 0.0), (26.0, 23.0, 5000.0)),
            Ellipsoid((side * 52.0, 44.0, -110.0), (22.0, 11.0, 130.0)),
        ):
            found = canvas.distance(shape)
            if not found:
                continue
            box, inside = found
            bundles = canvas.textured(box, hu["muscle"], 7, 0)
            bundles -= np.clip(canvas.grain["mid"][box] - 1.2, 0, 1) * np.float32(90)
            canvas.paint(box, inside, bundles)
            canvas.claim(box, inside, 0.5)


def _ribs(canvas: Canvas, trunk: Trunk, cavity: np.ndarray, hu: dict[str, float]) -> None:
    """Ribs fall from the spine to the front inside the wall; only voxels of the wall are touched."""
    depth_mm = 4.5  # of the rib's axis outside the cavity
    at = np.nonzero(np.abs(cavity + depth_mm) < 7.0)
    x, y, z = canvas.x[at], canvas.y[at], canvas.z[at]
    arc = np.abs(np.arctan2(x, y + 30.0))  # 0 behind, pi in front
    phase = np.mod(z + trunk.rib_slope * arc - trunk.rib_phase, trunk.rib_period) - trunk.rib_period / 2
    u, w = (cavity[at] + depth_mm) / 3.6, phase * 0.8 / 5.6
    inside = (1 - np.sqrt(u * u + w * w)) * 3.6
    floor = trunk.rib_floor + 8 * arc + 60 * np.maximum(arc - 1.7, 0)
    inside = np.minimum(np.minimum(inside, (z - floor) * 0.3), (np.minimum(arc - 0.5, 2.75 - arc)) * 60)
    front = np.clip((arc - 2.1) * 8, 0, 1)  # cartilage takes over
    bone = np.where(inside > 1.3, hu["trabecular bone"], hu["cortical bone"] + 60 * canvas.grain["fine"][at])
    value = bone + front * (hu["cartilage"] - bone)
    cover = np.clip(inside / EDGE_MM + 0.5, 0, 1)
    canvas.hu[at] += cover * (value - canvas.hu[at])
    labels = canvas.labels[at]
    labels[(inside >= 0) & (front < 0.5)] = LABELS["ribs"]
    canvas.labels[at] = labels


def _spine(canvas: Canvas, trunk: Trunk, hu: dict[str, float]) -> None:
    rx, ry = trunk.vertebra
    box = canvas.box(np.array([-60.0, -ry - REACH_MM, -FAR_MM]), np.array([60.0, ry + 64, FAR_MM]))
    if box is None:
        return
    x, y, z = canvas.x[box], canvas.y[box], canvas.z[box]
    period, disc = trunk.vertebra_period, 8.0
    phase = np.mod(z + trunk.vertebra_phase, period)  # 0..disc is disc, the rest vertebra
    waist = 1 - 0.07 * np.sin(np.clip((phase - disc) / (period - disc), 0, 1) * np.pi)
    flat = np.maximum(y - np.float32(0.72 * ry), 0) * 0.6  # the back of the body is flat
    level = np.sqrt((x / rx) ** 2 + ((y + flat) / ry) ** 2) / waist
    body = (1 - level) * np.float32(min(rx, ry))
    trabecular = canvas.textured(box, hu["trabecular bone"], 26, 20)
    cortical = np.float32(hu["cortical bone"]) + 50 * canvas.grain["fine"][box]
    bony = np.clip((phase - disc) / 1.5 + 0.5, 0, 1) * np.clip((period - phase) / 1.5 + 0.5, 0, 1)

    canal_y = np.float32(ry + 8)
    arch = 1 - np.sqrt((x / 15) ** 2 + ((y - canal_y - 2) / 13) ** 2)
    arch = np.minimum(arch * 13, y - ry * 0.6)
    arch = np.minimum(arch, np.where((phase > disc + 3) & (phase < period * 0.85), np.float32(50), (y - canal_y - 6)))
    spinous = np.minimum(np.minimum(3.2 - np.abs(x), y - canal_y - 8), canal_y + 32 - y + (phase - period / 2) * 0.25)
    spinous = np.minimum(spinous, 9 - np.abs(phase - disc - 8) * 0.8)
    transverse = np.minimum(np.minimum(4 - np.abs(y - canal_y + 4 - np.abs(x) * 0.15), 44 - np.abs(x)), np.abs(x) - 9)
    transverse = np.minimum(transverse, 6 - np.abs(phase - disc - 9))
    facet = 6 - np.sqrt((np.abs(x) - 16) ** 2 + (y - canal_y - 8) ** 2)
    rear = np.maximum(np.maximum(arch, spinous), np.maximum(transverse, facet))
    canvas.paint(box, rear, np.where(rear > 2.2, trabecular + 60, cortical), LABELS["vertebrae"])

    canvas.paint(box, body, hu["disc"], None)
    endplate = np.minimum(phase - disc, period - phase) < 1.5
    shell = np.where(body < 1.6, cortical, trabecular + np.float32(0.3) * endplate * (cortical - trabecular))
    canvas.paint(box, np.minimum(body, (bony - 0.5) * 3), shell, LABELS["vertebrae"])
    canal = (1 - np.sqrt((x / 10) ** 2 + ((y - canal_y) / 8) ** 2)) * 8
    canvas.paint(box, canal, hu["canal"], LABELS["spinal_cord"])
    room = canvas.room[box]
    np.minimum(room, -np.maximum(body, rear) - np.float32(1.5), out=room)


def _drop(away: np.ndarray) -> np.ndarray:
    """How far a dome falls (mm) at a squared relative distance from its top: flat first, then steep."""
    return away * (16 + 36 * away)


def _chest(canvas: Canvas, trunk: Trunk, cavity: np.ndarray, hu: dict[str, float]) -> None:
    """Domes of the diaphragm; above them lung, and the heart in the middle."""
    box = canvas.box(np.array([-FAR_MM, -FAR_MM, -20.0]), np.array([FAR_MM, FAR_MM, FAR_MM]))
    if box is None:
        return
    x, y, z = canvas.x[box], canvas.y[box], canvas.z[box]
    depth = ((y + 30) / 95) ** 2
    right = trunk.dome_right - _drop(((x + 62) / 80) ** 2 + depth)
    left = trunk.dome_left - _drop(((x - 64) / 80) ** 2 + depth)
    middle = min(trunk.dome_right, trunk.dome_left) - 9 - _drop((x / 90) ** 2 + ((y + 60) / 85) ** 2)
    above = z - np.maximum(np.maximum(right, left), middle)
    above *= np.float32(0.75)  # the dome leans
    in_cavity = cavity[box]
    canvas.paint(box, np.minimum(above + PLEURA_MM, in_cavity), hu["muscle"])
    mediastinum = np.abs(x - 4) - np.where(y < -58, 46, 24) + np.maximum(y + 10, 0) * 0.3
    fatty = np.minimum(above, in_cavity)
    canvas.paint(box, fatty, canvas.textured(box, hu["visceral fat"], 6, 6))
    mediastinum = np.minimum(mediastinum, np.abs(x) - 21)
    lung = np.minimum(np.minimum(above, mediastinum), in_cavity - 1.0)
    speckle = np.clip(canvas.grain["fine"][box] - 1.5, 0, 2) * np.float32(190)  # vessels
    canvas.paint(box, lung, hu["lung"] + speckle)
    part = canvas.labels[box]
    part[(lung >= 0) & (x > 0)] = LABELS["lung_lower_lobe_left"]
    part[(lung >= 0) & (x <= 0)] = LABELS["lung_lower_lobe_right"]
    room = canvas.room[box]
    np.minimum(room, -above - np.float32(PLEURA_MM), out=room)

    top = max(trunk.dome_left, trunk.dome_right)
    found = canvas.distance(Ellipsoid((20.0, 28.0 - trunk.front, top + 28.0), (58.0, 46.0, 44.0), -25.0))
    if found:
        box, inside = found
        inside = np.minimum(inside, cavity[box] - 4)
        canvas.paint(box, inside, canvas.textured(box, hu["heart"], 6, 4, 12), LABELS["heart"])
        canvas.claim(box, inside, 2.0)
