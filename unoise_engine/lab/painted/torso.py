"""Skin, fat, muscle and cavity: the body's outline as radii around its middle, per height and direction."""

from __future__ import annotations

import numpy as np

from unoise_engine.lab.painted.placement import DX, DZ, VISCERA
from unoise_engine.lab.painted.scene import Scene
from unoise_engine.lab.painted.tissues import WALL, Tissue, members

T = Tissue
BINS = 144  # directions
INSIDE = VISCERA | members(T.LUNG_LEFT, T.LUNG_RIGHT)
IN_WALL = members(*(set(WALL) - {T.PSOAS_LEFT, T.PSOAS_RIGHT}))


def build_torso(scene: Scene) -> None:
    """Fills the field with air, skin, subcutaneous fat, muscle and visceral fat; sets depth and angle."""
    from scipy import ndimage

    rng, u = scene.rng, scene.rng.uniform
    depth, height, width = scene.shape
    marks = scene.marks
    centre_y = marks.spine_y - u(38, 50) / DX
    rows, columns = np.mgrid[:height, :width].astype(np.float32)
    away_y, away_x = (rows - centre_y) * DX, (columns - marks.mid_x) * DX
    far = np.hypot(away_y, away_x).astype(np.float32)
    scene.angle = np.arctan2(away_x, -away_y)  # 0 front, positive to the patient's left
    place = (scene.angle + np.pi) / (2 * np.pi) * BINS
    low_bin = place.astype(int) % BINS
    between = (place - np.floor(place)).astype(np.float32)

    def profile(mask_of: np.ndarray) -> np.ndarray:
        """Largest distance of such voxels, (z, bins) mm."""
        z, y, x = np.nonzero(mask_of[scene.organs[:, ::2, ::2]])
        out = np.zeros((depth, BINS), dtype=np.float32)
        np.maximum.at(out, (z, low_bin[::2, ::2][y, x]), far[::2, ::2][y, x])
        return out

    def soften(radius: np.ndarray, z_mm: float, bins: float) -> np.ndarray:
        radius = ndimage.gaussian_filter1d(radius, z_mm / DZ, axis=0, mode="nearest")
        return ndimage.gaussian_filter1d(radius, bins, axis=1, mode="wrap")

    def both_sides(radius: np.ndarray) -> np.ndarray:
        return np.maximum(radius, radius[:, (-1 - np.arange(BINS)) % BINS])

    bins = (np.arange(BINS) + 0.5) / BINS * 2 * np.pi - np.pi
    back = -np.cos(bins)  # 1 at the back, -1 in front
    organs = profile(INSIDE)
    reach = ndimage.maximum_filter(both_sides(organs), size=(int(u(7, 15)), 9), mode=("nearest", "wrap"))
    # away from the organs of one height the cavity still is about as wide as at the others
    share = u(0.55, 0.75) if scene.has(T.RIB, T.MUSCLE) else u(0.8, 0.97)
    everywhere = reach.max(axis=0, keepdims=True) * share
    # an abdomen is round: no direction may lag far behind its neighbours
    everywhere = np.maximum(everywhere, 0.86 * ndimage.maximum_filter1d(everywhere, 31, axis=1, mode="wrap"))
    cavity = soften(np.maximum(reach, everywhere), u(9, 18), 4)
    cavity = np.maximum(cavity, soften(organs, 4, 1)) + u(2, 6)
    before_spine = (marks.spine_y - centre_y) * DX + 4
    at_back = back > 0.93
    cavity[:, at_back] = np.minimum(cavity[:, at_back], np.maximum(before_spine / back[at_back], organs[:, at_back]))
    cavity = soften(cavity, 3, 1.5)

    # muscles: rectus in front with the linea alba between, thin beside it, thick in the flank
    away = np.abs(bins)
    thickness = np.interp(away, [0, 0.05, 0.15, 0.5, 0.62, 0.8, 1.3, 2.1, np.pi], [3, 4, 10, 10, 4, 9, 14, 15, 15])
    muscle = cavity + thickness * u(0.65, 1.45)
    # a flat back: as far behind as the spinous processes, and as the ribs reach beside them
    behind = np.maximum((marks.spine_y - centre_y) * DX + u(58, 68), (muscle * back).max(axis=1) - u(0, 6))
    side = np.where(back > 0.2, behind[:, None] / np.maximum(back, 0.2), 0)
    muscle = np.maximum(muscle, np.where(np.abs(side * np.sin(bins)) < u(62, 82), side, 0))
    muscle = soften(muscle, 4, 3.0)
    if scene.has(T.RIB, T.MUSCLE, T.BONE):
        walls = ndimage.maximum_filter(profile(IN_WALL), size=(3, 3), mode=("nearest", "wrap"))
        muscle = np.maximum(muscle, soften(walls, 6, 1.5) + u(1, 5))

    front, flank, rear = u(4, 32), u(8, 38), u(6, 32)
    if rng.random() < 0.3:
        front, flank, rear = front * 0.4 + 2, flank * 0.4 + 2, rear * 0.4 + 2
    weight = back**2
    fat = np.where(back > 0, flank + (rear - flank) * weight, flank + (front - flank) * weight)
    scale = 1 + 0.25 * np.linspace(1, -1, depth)[:, None] * u(-0.5, 1)  # more towards the hips
    skin = soften(muscle + np.maximum(fat[None] * scale, 2.5), 6, 3.5)

    scene.depth_mm = _spread(cavity, low_bin, between) - far
    beyond_muscle = _spread(muscle, low_bin, between) - far
    beyond_skin = _spread(skin, low_bin, between) - far
    tissue = scene.tissue
    tissue[beyond_skin > 0] = T.SKIN
    tissue[beyond_skin > u(1.6, 2.6)] = T.SUBCUTANEOUS_FAT
    tissue[beyond_muscle > 0] = T.MUSCLE
    # fat between the muscle layers of the flank
    aside = np.abs(np.abs(scene.angle) - 1.5) < 0.8
    layers = (np.abs(beyond_muscle - u(5, 8)) < u(0.4, 1.0)) & aside & (u() < 0.7)
    tissue[layers & (scene.depth_mm < 0) & (tissue == T.MUSCLE)] = T.SUBCUTANEOUS_FAT
    tissue[scene.depth_mm > 0] = T.VISCERAL_FAT


def _spread(radius: np.ndarray, low_bin: np.ndarray, share: np.ndarray) -> np.ndarray:
    """(z, bins) -> (z, y, x), between the middles of the bins."""
    shifted = (low_bin + np.where(share < 0.5, -1, 0)) % BINS
    weight = np.where(share < 0.5, share + 0.5, share - 0.5).astype(np.float32)
    radius = radius.astype(np.float32)
    return radius[:, shifted] * (1 - weight) + radius[:, (shifted + 1) % BINS] * weight
