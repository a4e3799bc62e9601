"""Tubes along centre lines: vessels and bowel."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from unoise_engine.lab.painted.labelmap import STEP_MM

STEP = np.array(STEP_MM, dtype=np.float64)


@dataclass
class Tube:
    """A box of voxels and how deep, in mm, each lies inside the tube (0 outside)."""

    box: tuple[slice, slice, slice]
    depth_mm: np.ndarray


def tube(path: np.ndarray, radii_mm: np.ndarray, shape: tuple[int, int, int]) -> Tube | None:
    """Balls of `radii_mm` (n,) along `path` (n, 3) voxels (z, y, x); None where it misses the volume."""
    if not len(path):
        return None
    reach = np.ceil(radii_mm.max() / STEP).astype(int) + 1
    low = np.maximum(np.floor(path.min(axis=0)).astype(int) - reach, 0)
    high = np.minimum(np.ceil(path.max(axis=0)).astype(int) + reach + 1, shape)
    if (low >= high).any():
        return None
    depth = np.zeros(high - low, dtype=np.float32)
    for centre, radius in zip(path - low, radii_mm):
        first = np.maximum(np.floor(centre - radius / STEP).astype(int), 0)
        last = np.minimum(np.ceil(centre + radius / STEP).astype(int) + 1, depth.shape)
        if (first >= last).any():
            continue
        z, y, x = (((np.arange(a, b) - c) * s) ** 2 for a, b, c, s in zip(first, last, centre, STEP))
        far = np.sqrt(z[:, None, None] + y[:, None] + x).astype(np.float32)
        part = depth[first[0] : last[0], first[1] : last[1], first[2] : last[2]]
        np.maximum(part, np.float32(radius) - far, out=part)
    return Tube((slice(low[0], high[0]), slice(low[1], high[1]), slice(low[2], high[2])), depth)


def line(*points: tuple[float, float, float], step_mm: float = 2.0) -> np.ndarray:
    """Straight pieces between points (z, y, x) in voxels, a point every `step_mm`, (n, 3)."""
    corners = np.array(points, dtype=np.float64)
    run = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(corners, axis=0) * STEP, axis=1))])
    at = np.linspace(0, run[-1], max(2, int(run[-1] / step_mm)))
    return np.stack([np.interp(at, run, corners[:, axis]) for axis in range(3)], axis=1)


def wander(
    rng: np.random.Generator,
    start: np.ndarray,
    steps: int,
    step_mm: float,
    allowed: np.ndarray,
    wobble: float = 0.45,
) -> np.ndarray:
    """A random walk (n, 3) in voxels that keeps its direction for a while and stays where `allowed`."""
    place = start.astype(np.float64)
    heading = rng.normal(size=3)
    heading /= np.linalg.norm(heading)
    turns = rng.normal(size=(steps, 3)) * wobble
    path = []
    for turn in turns:
        heading = heading + turn
        heading /= np.linalg.norm(heading)
        ahead = place + heading * step_mm / STEP
        z, y, x = (int(v) for v in ahead)
        inside = 0 <= z < allowed.shape[0] and 0 <= y < allowed.shape[1] and 0 <= x < allowed.shape[2]
        if inside and allowed[z, y, x]:
            place = ahead
            path.append(ahead)
        else:
            heading = turn / (np.linalg.norm(turn) + 1e-6) - 0.5 * heading
            heading /= np.linalg.norm(heading) + 1e-6
    return np.array(path).reshape(-1, 3)
