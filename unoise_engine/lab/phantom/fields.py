"""Random fields on the voxel grid, (z, y, x) float32: the raw material of deformation, texture and noise."""

from __future__ import annotations

import numpy as np


def smooth(
    rng: np.random.Generator, shape: tuple[int, int, int], spacing_mm: tuple[float, float, float], scale_mm: float
) -> np.ndarray:
    """Smooth noise, mean 0 and standard deviation about 1, that changes over about `scale_mm`.

    `shape` and `spacing_mm` in (z, y, x). Cubic B-splines over a coarse grid of normal deviates.
    """
    steps = [max(1.0, scale_mm / s) for s in spacing_mm]  # voxels between two knots
    knots = [int(np.ceil(n / step)) + 4 for n, step in zip(shape, steps)]
    field = rng.standard_normal(knots, dtype=np.float32)
    for axis in range(3):
        field = _upsample(field, axis, shape[axis], steps[axis], float(rng.random()))
    return field


def _upsample(coarse: np.ndarray, axis: int, n: int, step: float, phase: float) -> np.ndarray:
    """B-spline interpolation along one axis to n points, scaled so that the variance stays 1."""
    place = np.arange(n) / step + phase
    i = place.astype(int)
    t = place - i
    weights = np.stack([(1 - t) ** 3, 3 * t**3 - 6 * t**2 + 4, -3 * t**3 + 3 * t**2 + 3 * t + 1, t**3]) / 6
    weights /= np.sqrt((weights**2).sum(0))
    wide = [1, 1, 1]
    wide[axis] = n
    out = np.zeros([n if a == axis else m for a, m in enumerate(coarse.shape)], dtype=np.float32)
    for k in range(4):
        part = np.take(coarse, i + k, axis=axis)
        part *= weights[k].astype(np.float32).reshape(wide)
        out += part
    return out


def blur(field: np.ndarray, axis: int, sigma: float) -> np.ndarray:
    """Gaussian blur along one axis with `sigma` in voxels; edges repeat."""
    reach = int(np.ceil(2.5 * sigma))
    if sigma < 0.05 or reach == 0:
        return field
    taps = np.exp(-0.5 * (np.arange(reach + 1) / sigma) ** 2)
    taps /= taps[0] + 2 * taps[1:].sum()
    n = field.shape[axis]
    pad = [(0, 0)] * field.ndim
    pad[axis] = (reach, reach)
    padded = np.pad(field, pad, mode="edge")

    def shifted(k: int) -> np.ndarray:
        return padded[tuple(slice(reach + k, reach + k + n) if a == axis else slice(None) for a in range(field.ndim))]

    out = field * np.float32(taps[0])
    for k in range(1, reach + 1):
        both = shifted(k) + shifted(-k)
        both *= np.float32(taps[k])
        out += both
    return out
