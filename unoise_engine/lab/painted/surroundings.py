"""Table and arms."""

from __future__ import annotations

import numpy as np

from unoise_engine.lab.painted.placement import DX
from unoise_engine.lab.painted.scene import Scene
from unoise_engine.lab.painted.tissues import Tissue

T = Tissue
SECTION = ((1.0, T.SKIN), (0.95, T.SUBCUTANEOUS_FAT), (0.8, T.MUSCLE), (0.28, T.BONE), (0.16, T.MARROW))  # of an arm


def add_table(scene: Scene) -> None:
    """A thin curved top under the back, sometimes with a mat, for all slices alike."""
    u = scene.rng.uniform
    if u() < 0.25:
        return
    _, height, width = scene.shape
    lowest = int(np.flatnonzero((scene.tissue > 0).any(axis=(0, 2)))[-1])
    rows, columns = np.mgrid[:height, :width].astype(np.float32)
    away = (columns - width / 2) * DX
    top = lowest + u(0, 4) - u(0, 0.00035) * away**2 + u(0, 3)
    shell, half = u(1.0, 2.0), u(190, 230)
    table = (np.abs(rows - top) < shell / 2 + 0.5) | ((np.abs(rows - top - u(10, 18)) < shell / 2) & (u() < 0.7))
    table &= np.abs(away) < half
    for layer in scene.tissue:
        layer[table & (layer == 0)] = T.TABLE


def add_arms(scene: Scene) -> None:
    """Sometimes the arms lie beside the body: round sections, mostly cut by the field's edge."""
    u = scene.rng.uniform
    if u() > 0.15:
        return
    _, height, width = scene.shape
    rows, columns = np.mgrid[:height, :width].astype(np.float32)
    y = float(scene.marks.spine_y) - u(0, 30) / DX
    radius, lean = u(32, 46) / DX, u(-0.05, 0.05)
    for side in (-1, 1):
        if u() < 0.2:
            continue
        body = np.flatnonzero((scene.tissue > T.AIR).any(axis=(0, 1)))
        x = (body[-1] + radius * 0.9) if side > 0 else (body[0] - radius * 0.9)
        for z, layer in enumerate(scene.tissue):
            away = np.hypot(columns - x, rows - y - lean * z)
            arm = (away < radius) & ((layer == T.AIR) | (layer == T.TABLE))
            for share, kind in SECTION:
                layer[arm & (away < radius * share)] = kind
