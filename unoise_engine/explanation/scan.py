"""What of a CT says whether a model knows its kind, measured in a fraction of a second.

Everything is measured on means over blocks of `GRAIN_MM`, or the grain of a thin slice would look like contrast agent.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from unoise_engine.models.scope import Range
from unoise_engine.volume.pieces import largest_piece
from unoise_engine.volume.volume import AxialView, Volume

SAMPLES, GRAIN_MM = 24, 3.0  # slices looked at, evenly spread; side of the blocks
BODY_HU, LUNG_HU, FAT_HU, DENSE_HU = -300, (-960, -600), -30, 200
CUT_BODY_HU = 15  # where the CT was cut off at 0 HU and fat reads as air does: muscle and organs
APART_MM = 12  # what hangs on the body by less, or is thinner, is a table, a cloth, a tube or an arm
LUNG_OF_BODY = 0.3  # a slice with more lung than this share of its other tissue shows the chest
# Unenhanced blood, muscle and organs stay below 75 HU. Bone does not, nor do its marrow and the ribs' thin cartilage.
ENHANCED_HU, PLAIN_HU, MARROW_MM, RIM_MM = 75, 40, 27, 9
# Aorta, vena cava, kidneys, spleen, liver: what is as wide of them is as much in every slice of the abdomen.
VESSEL_MM, VESSELS_CM2 = 12, 4


@dataclass(frozen=True)
class Scan:
    """What is measured of a CT, each as the least and the most of it, by the names of `Scope`.

    Of a CT that was cut off at 0 HU the body's outline and its fat are lost: None.
    """

    pixel_mm: Range
    slice_mm: Range | None  # None: one slice
    field_mm: Range
    body_cm2: Range | None
    soft_share: Range | None
    dense_share: Range
    enhanced_share: Range
    lung_share: Range
    cropped: bool  # the picture ends within the body, which is larger than it looks

    @staticmethod
    def of(ct: Volume) -> Scan | None:
        """None where no body is in view."""
        view = AxialView.of(ct.grid)
        axial = view.apply(ct.voxels)
        slice_mm, row_mm, column_mm = view.spacing_mm
        hu, block_mm = _blocks([axial[k] for k in samples(len(axial))], (row_mm, column_mm))
        cut = cut_off(ct)
        body = hu > CUT_BODY_HU if cut else _body(hu, block_mm)
        shown = body.any(axis=(1, 2))
        if not shown.any():
            return None
        hu, body = hu[shown], body[shown]  # slices of air alone tell nothing
        cm2 = block_mm[0] * block_mm[1] / 100
        tissue = body & (hu > BODY_HU)
        lung = body & (hu > LUNG_HU[0]) & (hu < LUNG_HU[1])
        chest = lung.sum(axis=(1, 2)) > LUNG_OF_BODY * tissue.sum(axis=(1, 2)).clip(1)
        inside = hu[tissue]
        return Scan(
            pixel_mm=(min(row_mm, column_mm), max(row_mm, column_mm)),
            slice_mm=_at(slice_mm) if len(axial) > 1 else None,
            field_mm=_at(axial.shape[2] * column_mm),
            body_cm2=None if cut else _at(np.median(body.sum(axis=(1, 2))) * cm2),
            soft_share=None if cut else _at(np.mean((inside > FAT_HU) & (inside < DENSE_HU))),
            dense_share=_at(np.mean(inside >= DENSE_HU)),
            enhanced_share=_at(np.mean(_enhanced(hu, body, block_mm).sum(axis=(1, 2)) * cm2 >= VESSELS_CM2)),
            lung_share=_at(np.mean(chest)),
            cropped=bool(np.mean(body[:, :, [0, -1]].any(axis=(1, 2))) > 0.5),
        )


def cut_off(ct: Volume) -> bool:
    """Whether nothing lies below 0 HU: asked as `refill` asks it of every slice, of some pixels of some."""
    axial = AxialView.of(ct.grid).apply(ct.voxels)
    return bool(min(axial[k, ::4, ::4].min() for k in samples(len(axial))) == 0)


def samples(n: int) -> list[int]:
    """The slices looked at, of n."""
    return [int(k) for k in np.unique(np.linspace(0, n - 1, min(n, SAMPLES)).round())]


def enclosed(body: np.ndarray) -> np.ndarray:
    """Pixels of slices (n, h, w) with body on all four sides: the body and the air in it, not the room's."""
    inside = np.ones(body.shape, bool)
    for axis in (1, 2):
        before = np.logical_or.accumulate(body, axis=axis)
        after = np.flip(np.logical_or.accumulate(np.flip(body, axis), axis=axis), axis)
        inside &= before & after
    return inside


def _at(value: float | np.floating) -> Range:
    return float(value), float(value)


def _blocks(slices: Sequence[np.ndarray], mm: Sequence[float]) -> tuple[np.ndarray, tuple[float, float]]:
    """Means of slices (y, x) over blocks of about `GRAIN_MM` (n, h, w), and the blocks' own sides in mm."""
    (high, wide) = (max(1, round(GRAIN_MM / side)) for side in mm)
    rows, columns = slices[0].shape[0] // high, slices[0].shape[1] // wide
    means = [
        plane[: rows * high, : columns * wide].reshape(rows, high, columns, wide).mean(axis=(1, 3), dtype=np.float32)
        for plane in slices
    ]
    return np.stack(means), (high * mm[0], wide * mm[1])


def _body(hu: np.ndarray, block_mm: Sequence[float]) -> np.ndarray:
    """The trunk and all in it, lungs and gas too; without table, clothes and arms."""
    return enclosed(largest_piece(_opened(hu > BODY_HU, APART_MM, block_mm)))


def _enhanced(hu: np.ndarray, body: np.ndarray, block_mm: Sequence[float]) -> np.ndarray:
    """Blocks of vessels and organs that a contrast agent must have brightened; bone left out."""
    dense = hu >= DENSE_HU
    soft = body & (_mean(dense | _between(dense, block_mm), RIM_MM, block_mm) == 0)
    smooth = _mean(np.where(soft, hu.clip(0, DENSE_HU), np.float32(PLAIN_HU)), 3 * GRAIN_MM, block_mm)
    return _opened(soft & (smooth > ENHANCED_HU), VESSEL_MM, block_mm)


def _between(dense: np.ndarray, block_mm: Sequence[float]) -> np.ndarray:
    """Blocks with a dense one on all four sides, no farther than `MARROW_MM`: marrow in its shell."""
    found = np.ones(dense.shape, bool)
    for axis, mm in zip((1, 2), block_mm):
        reach = round(MARROW_MM / mm)
        found &= (_sums(dense, axis, reach, 0) > 0) & (_sums(dense, axis, 0, reach) > 0)
    return found


def _opened(mask: np.ndarray, mm: float, block_mm: Sequence[float]) -> np.ndarray:
    """Where squares of `mm` fit into `mask` (n, h, w)."""
    return _mean(_mean(mask, mm, block_mm) == 1, mm, block_mm) > 0


def _mean(values: np.ndarray, mm: float, block_mm: Sequence[float]) -> np.ndarray:
    """Of the square of about `mm` around each block; 0 lies outside the picture."""
    high, wide = (max(0, round((mm / side - 1) / 2)) for side in block_mm)
    total = _sums(_sums(values, 1, high, high), 2, wide, wide)
    return total / np.float32((2 * high + 1) * (2 * wide + 1))


def _sums(values: np.ndarray, axis: int, before: int, after: int) -> np.ndarray:
    """Of each value with `before` and `after` more of them along `axis`."""
    kind = np.int32 if values.dtype.kind in "bi" else np.float32
    zero = np.zeros_like(np.take(values, [0], axis), dtype=kind)
    total = np.concatenate([zero, np.cumsum(values, axis, dtype=kind)], axis)
    k = np.arange(values.shape[axis])
    return np.take(total, k + after + 1, axis, mode="clip") - np.take(total, (k - before).clip(0), axis)
