"""From tissues to a CT: HU, texture, fat between lobules, partial volume, noise, streaks."""

from __future__ import annotations

import numpy as np

from unoise_engine.lab.painted.grain import Grain
from unoise_engine.lab.painted.hounsfield import Palette
from unoise_engine.lab.painted.labelmap import STEP_MM
from unoise_engine.lab.painted.scene import Scene
from unoise_engine.lab.painted.tissues import Tissue, members
from unoise_engine.lab.phantom.fields import smooth

T = Tissue
LOWEST_HU, HIGHEST_HU = -1024, 3071
LUNGS = members(T.LUNG_LEFT, T.LUNG_RIGHT)


def paint(scene: Scene, palette: Palette) -> np.ndarray:
    """(z, y, x) int16 HU."""
    from scipy import ndimage

    rng, u = scene.rng, scene.rng.uniform
    tissue, shape = scene.tissue, scene.shape
    grain = Grain(rng, (0.8, 1.6, 3.5))
    hu = palette.mean[tissue]
    mix = grain.take(int(rng.integers(0, 2)), shape)
    mix *= np.float32(0.75)
    mix += np.float32(0.55) * grain.take(int(rng.integers(1, 3)), shape)
    mix *= palette.texture[tissue]
    hu += mix
    _lobules(scene, palette, grain, hu)
    _strands(scene, grain, hu)
    _lung_vessels(scene, grain, hu)

    # partial volume and the kernel's sharpness
    leak = u(0.0, 0.25)
    hu[1:-1] = hu[1:-1] * np.float32(1 - leak) + (hu[2:] + hu[:-2]) * np.float32(leak / 2)
    blur = u(0.4, 0.85)
    hu = ndimage.gaussian_filter(hu, (0, blur, blur), truncate=2.5)
    if u() < 0.2:
        soft = ndimage.gaussian_filter(hu, (0, 1.2, 1.2), truncate=2)
        hu += np.float32(u(0.2, 0.7)) * (hu - soft)
    _noise(scene, grain, hu)
    np.rint(hu, out=hu)
    return np.clip(hu, LOWEST_HU, HIGHEST_HU, out=hu).astype(np.int16)


def squared(volume: np.ndarray, value: int) -> np.ndarray:
    """Rows of `value` before and behind, until the slices (z, y, x) are square."""
    missing = volume.shape[2] - volume.shape[1]
    if missing <= 0:
        return volume
    return np.pad(volume, ((0, 0), (missing // 2, missing - missing // 2), (0, 0)), constant_values=value)


def _lobules(scene: Scene, palette: Palette, grain: Grain, hu: np.ndarray) -> None:
    """Fat between the pancreas's lobules, more of it near the surface's clefts."""
    u = scene.rng.uniform
    inside = scene.tissue == T.PANCREAS
    cleft = grain.take(int(scene.rng.integers(0, 2)), scene.shape)[inside]
    threshold = np.interp(palette.lobules, [0, 1, 2], [2.6, 1.1, -0.1])
    share = np.clip((cleft - threshold) * u(0.5, 1.1), 0, 0.85)
    hu[inside] += share * (palette.fat_hu - hu[inside])


def _strands(scene: Scene, grain: Grain, hu: np.ndarray) -> None:
    """Small vessels and strands that stain the visceral fat."""
    u = scene.rng.uniform
    if u() < 0.35:
        return
    fat = scene.tissue == T.VISCERAL_FAT
    noise = grain.take(0, scene.shape)[fat]
    where = np.clip(grain.take(2, scene.shape)[fat] + u(-0.8, 0.8), 0, 1)  # in patches
    hu[fat] += np.clip(noise - u(1.3, 2.2), 0, 0.8) * where * u(60, 200)


def _lung_vessels(scene: Scene, grain: Grain, hu: np.ndarray) -> None:
    lung = LUNGS[scene.tissue]
    noise = grain.take(1, scene.shape)[lung]
    hu[lung] += np.clip(noise - scene.rng.uniform(1.3, 2.0), 0, 1.2) * 700


def _noise(scene: Scene, grain: Grain, hu: np.ndarray) -> None:
    """Correlated noise, strongest in the middle of the body; sometimes streaks and a slow shade."""
    rng, u = scene.rng, scene.rng.uniform
    shape = scene.shape
    strength = float(np.exp(u(np.log(3), np.log(24))))
    fine = rng.standard_normal(shape, dtype=np.float32)
    if u() < 0.6:  # smooth kernels
        fine[:, 1:-1] = fine[:, 1:-1] * 0.6 + (fine[:, 2:] + fine[:, :-2]) * 0.45
        fine[:, :, 1:-1] = fine[:, :, 1:-1] * 0.6 + (fine[:, :, 2:] + fine[:, :, :-2]) * 0.45
    fine *= np.float32(0.8)
    fine += np.float32(0.5) * grain.take(1, shape)
    rows, columns = np.mgrid[-1 : 1 : shape[1] * 1j, -1 : 1 : shape[2] * 1j]
    fine *= (strength * (1.15 - 0.45 * np.clip(rows**2 * 1.8 + columns**2, 0, 1))).astype(np.float32)
    hu += fine
    if u() < 0.25:  # streaks across the widest way
        streak = rng.standard_normal(shape[:2], dtype=np.float32) * np.float32(u(2, 9))
        hu += streak[:, :, None] * (hu > -300)
    if u() < 0.3:
        hu += smooth(rng, shape, STEP_MM, 180) * np.float32(u(1, 6)) * (hu > -300)
