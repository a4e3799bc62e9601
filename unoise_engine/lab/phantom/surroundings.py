"""What lies around the patient: the table and, now and then, the arms. Drawn only where there is air."""

from __future__ import annotations

import numpy as np

from unoise_engine.lab.phantom.canvas import Canvas
from unoise_engine.lab.phantom.scanner import Protocol

AIR_BELOW_HU = -700.0
TABLE_MM = 2.0


def draw(rng: np.random.Generator, canvas: Canvas, protocol: Protocol, hu: dict[str, float]) -> None:
    body = canvas.hu > AIR_BELOW_HU
    rows = np.flatnonzero(body.any((0, 2)))
    columns = np.flatnonzero(body.any((0, 1)))
    if not len(rows):
        return
    _, size, _ = canvas.hu.shape
    step = protocol.spacing_mm[1]
    across = (np.arange(size) - (size - 1) / 2) * step
    y, x = canvas.row_mm[:, None], across[None, :].astype(np.float32)
    slab = np.full((size, size), -1000.0, np.float32)
    if protocol.table:
        top = canvas.row_mm[rows[-1]] + rng.uniform(1, 6)
        bend = rng.uniform(0.0002, 0.0012)
        drop = y - top + np.float32(bend) * x * x
        width = rng.uniform(190, 250)
        shell = np.minimum(TABLE_MM / 2 - np.abs(drop), width - np.abs(x))
        under = np.minimum(TABLE_MM / 2 - np.abs(drop - rng.uniform(18, 40) + 0.0004 * x * x), width * 0.8 - np.abs(x))
        for sheet in (shell, under):
            slab += np.clip(sheet / 1.4 + 0.5, 0, 1) * (np.float32(hu["table"]) - slab)
    if protocol.arms:
        low, high = across[columns[0]], across[columns[-1]]
        for centre in (low - rng.uniform(38, 52), high + rng.uniform(38, 52)):
            away = np.hypot(x - np.float32(centre), y - np.float32(rng.uniform(-30, 30)))
            for radius, value in (
                (34, hu["subcutaneous fat"]),
                (29, hu["muscle"]),
                (10, hu["cortical bone"]),
                (6, -20.0),
            ):
                slab += np.clip((radius - away) / 1.4 + 0.5, 0, 1) * (np.float32(value) - slab)
    inside = np.zeros((size, size), bool)
    inside[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1] = True
    for plane, solid in zip(canvas.hu, body):
        free = ~(inside & _filled(solid))
        plane[free] = np.maximum(plane[free], slab[free])


def _filled(solid: np.ndarray) -> np.ndarray:
    """Pixels (y, x) between the first and the last solid one of their row: the lungs and gas count as patient."""
    return np.logical_or.accumulate(solid, 1) & np.logical_or.accumulate(solid[:, ::-1], 1)[:, ::-1]
