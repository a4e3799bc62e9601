"""Resampling along one axis as a matrix: splines of order 0, 1 and 3, as scipy and scikit-image interpolate."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from unoise_engine.models.preparation import Resampling

BEYOND = 12  # voxels by which the edge is repeated before a cubic spline is fitted (scipy's ndimage does the same)
UNCHANGED = 1e-3  # spacings that differ by less, as a share, leave an image of as many voxels as it is (MONAI)
COARSE = 3.0  # spacings that differ more are resampled apart (nnU-Net's ANISO_THRESHOLD)


def new_count(n: int, mm: float, wanted_mm: float, rule: str) -> int:
    """Voxels of a line of `n` voxels, `mm` apart, when they are `wanted_mm` apart."""
    if rule == "first":
        return int(np.round((n - 1) * mm / wanted_mm + 1))
    return max(1, round(n * mm / wanted_mm))


def places(n: int, count: int, step: float, rule: str) -> np.ndarray:
    """Where `count` voxels lie on a line of `n`, in its voxels (float64). `step` is their distance under "first"."""
    k = np.arange(count)
    if rule == "first":
        return k * step
    if rule == "ends":
        return k * ((n - 1) / (count - 1)) if count > 1 else np.zeros(1)
    return (k + 0.5) * (n / count) - 0.5


@lru_cache(maxsize=32)
def matrix(n: int, count: int, step: float, rule: str, order: int) -> np.ndarray:
    """Weights (count, n) float32."""
    at = places(n, count, step, rule)
    if order == 0:
        found = np.zeros((count, n))
        found[np.arange(count), np.clip(np.floor(at + 0.5), 0, n - 1).astype(int)] = 1
    elif order == 1:
        found = _linear(np.clip(at, 0, n - 1), n)
    else:
        found = _cubic(at, n, edge=rule != "ends")
    return found.astype(np.float32)


def _linear(at: np.ndarray, n: int) -> np.ndarray:
    return np.maximum(0, 1 - np.abs(at[:, None] - np.arange(n)[None]))


def _cubic(at: np.ndarray, n: int, edge: bool) -> np.ndarray:
    """A cubic B-spline through the values (Unser 1999); beyond the line its `edge` is repeated, or values mirrored."""
    beyond = BEYOND if edge else 0
    size = n + 2 * beyond
    repeat = np.zeros((size, n))
    repeat[np.arange(size), np.clip(np.arange(size) - beyond, 0, n - 1)] = 1
    fit = np.diag(np.full(size, 4 / 6)) + np.diag(np.full(size - 1, 1 / 6), 1) + np.diag(np.full(size - 1, 1 / 6), -1)
    if size > 1:
        fit[0, 1] = fit[-1, -2] = 2 / 6  # mirrored at the ends
    else:
        fit[0, 0] = 1
    around = np.arange(-2, size + 2)
    mirrored = np.abs(around) if size > 1 else np.zeros_like(around)
    mirrored = np.where(mirrored > size - 1, 2 * (size - 1) - mirrored, mirrored)
    apart = np.abs(at[:, None] + beyond - around[None])
    near, far = 2 / 3 - apart**2 + apart**3 / 2, np.maximum(0, 2 - apart) ** 3 / 6
    found: np.ndarray = np.where(apart < 1, near, far) @ np.linalg.solve(fit, repeat)[mirrored]
    return found


def along(weights: np.ndarray, values: np.ndarray, axis: int) -> np.ndarray:
    """A matrix (new, old) applied to one axis of (..., old, ...), float32; the values if it is the identity."""
    new, old = weights.shape
    if new == old and np.array_equal(weights, np.eye(old, dtype=np.float32)):
        return values
    moved = np.moveaxis(values, axis, 0)
    found = weights @ np.ascontiguousarray(moved).reshape(old, -1)
    return np.moveaxis(found.reshape(new, *moved.shape[1:]), 0, axis)


def axis_apart(how: Resampling, mm: tuple[float, ...], wanted_mm: tuple[float, ...]) -> int | None:
    """The axis that is resampled on its own, or None: that with the one largest spacing, of the image or else wanted,
    if it is more than three times the smallest (nnU-Net's determine_do_sep_z_and_axis)."""
    if how.apart == "never":
        return None
    for spacing in (mm, wanted_mm):
        if max(spacing) / min(spacing) > COARSE or how.apart == "always":
            coarsest = [axis for axis, one in enumerate(spacing) if one == max(spacing)]
            return coarsest[0] if len(coarsest) == 1 else None
    return None


def resampled(
    image: np.ndarray,
    shape: tuple[int, ...],
    mm: tuple[float, ...],
    wanted_mm: tuple[float, ...],
    how: Resampling,
    orders: tuple[int, int],
) -> np.ndarray:
    """An image (d, h, w) float32 at another shape; `orders` of the spline within and, where an axis is apart, along it.

    Where values must keep their range it is that of the image, or, with an axis apart, of each of its planes.
    """
    if image.shape == shape and (
        how.rule != "first" or all(abs(w / m - 1) <= UNCHANGED for m, w in zip(mm, wanted_mm))
    ):
        return image
    apart = axis_apart(how, mm, wanted_mm)
    within, along_it = orders
    keep = how.keep_range and within > 1
    sides = tuple(axis for axis in range(3) if axis != apart)
    low, high = (f(image, axis=sides if apart is not None else None, keepdims=True) for f in (np.min, np.max))
    for axis in sides:
        image = along(_of(image, shape, mm, wanted_mm, how.rule, axis, within), image, axis)
    if keep:
        np.clip(image, low, high, out=image)
    if apart is not None:
        image = along(_of(image, shape, mm, wanted_mm, how.rule, apart, along_it), image, apart)
    return image


def _of(
    image: np.ndarray,
    shape: tuple[int, ...],
    mm: tuple[float, ...],
    wanted_mm: tuple[float, ...],
    rule: str,
    axis: int,
    order: int,
) -> np.ndarray:
    step = wanted_mm[axis] / mm[axis] if mm[axis] and rule == "first" else 0.0
    return matrix(image.shape[axis], shape[axis], step, rule, order)
