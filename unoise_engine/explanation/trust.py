"""Does this CT look like what the model knows? If not, one sentence says why: a map is never shown as if nothing was.

The ranges belong to the model and stand in its bundle (`Scope`); what is measured comes from the CT and the
segmentation alone, so the checks cost a fraction of a second.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from unoise_engine.models.scope import Range, Scope
from unoise_engine.volume.volume import AxialView, Volume

SAMPLES = 24  # slices looked at, evenly spread
EVERY = 4  # rows and columns looked at
BODY_HU, LUNG_HU, FAT_HU, SOFT_HU, DENSE_HU = -300, (-960, -600), -30, 200, 200
ORGAN_HU, ENHANCED_HU, GRAIN_MM = (10, 200), 75, 3.0  # unenhanced organs and blood stay below 75 HU, seen without grain
WALL_MM = 20  # of tissue on every side of a lung; the foam of a table has its thin shell on three of them
LUNG_OF_BODY = 0.3  # a slice with more lung than this share of its other tissue shows the chest


def about_scan(ct: Volume, scope: Scope) -> Iterator[str]:
    view = AxialView.of(ct.grid)
    axial = view.apply(ct.voxels)
    n, _, columns = axial.shape
    slice_mm, row_mm, column_mm = view.spacing_mm
    chosen = np.unique(np.linspace(0, n - 1, min(n, SAMPLES)).round().astype(int))
    hu = np.stack([axial[k, ::EVERY, ::EVERY] for k in chosen])
    body = hu > BODY_HU
    if not body.any():
        yield "No body is in view: everything is air."
        return
    if hu.min() == 0:  # as `refill` asks it of every slice
        yield "Nothing lies below 0 HU: the CT was cut off there. The model was shown fat of -100 HU in its place."
    area = float(np.median(body.sum(axis=(1, 2)))) * EVERY**2 * row_mm * column_mm / 100
    wall = [max(1, round(WALL_MM / (EVERY * mm))) for mm in (row_mm, column_mm)]
    lung = (enclosed(body, wall) & (hu > LUNG_HU[0]) & (hu < LUNG_HU[1])).sum(axis=(1, 2))
    chest = float(np.mean(lung > LUNG_OF_BODY * body.sum(axis=(1, 2)).clip(1)))
    inside = hu[body]
    soft = float(np.mean((inside > FAT_HU) & (inside < SOFT_HU)))
    dense = float(np.mean(inside >= DENSE_HU))
    if outside(soft, scope.soft_share) or outside(dense, scope.dense_share):
        yield (
            f"The HU are unlike an abdomen's: {soft:.0%} of the body is soft tissue and {dense:.0%} is bone, metal or "
            "contrast; the values may not be HU, or this is another part of the body."
        )
    if (enhanced := _enhanced([axial[k] for k in chosen], column_mm)) < scope.enhanced_share:
        yield (
            f"Little or no contrast agent: {enhanced:.0%} of the soft tissue is brighter than {ENHANCED_HU} HU "
            f"(the model knows CTs of {scope.enhanced_share:.0%} and more): much of the organ may be missed."
        )
    if outside(area, scope.body_cm2):
        size = "small" if area < scope.body_cm2[0] else "large"
        yield f"The body's cross-section is {area:.0f} cm2, too {size} for an adult's abdomen."
    if chest > scope.lung_share:
        yield f"{chest:.0%} of the slices show the chest: little or no abdomen is in view."
    if outside(row_mm, scope.pixel_mm) or outside(column_mm, scope.pixel_mm):
        yield f"Pixels of {row_mm:.2f} x {column_mm:.2f} mm lie outside {span(scope.pixel_mm)}, which the model knows."
    if n > 1 and outside(slice_mm, scope.slice_mm):
        yield f"Slices {slice_mm:.1f} mm apart lie outside {span(scope.slice_mm)}, which the model knows."
    if outside(columns * column_mm, scope.field_mm):
        yield f"A field of view {columns * column_mm:.0f} mm wide lies outside {span(scope.field_mm)}."


def _enhanced(slices: Sequence[np.ndarray], pixel_mm: float) -> float:
    """Share of soft tissue that a contrast agent must have brightened, of slices (y, x) in HU. 1 if there is none.

    Means over blocks of `GRAIN_MM`, or the grain of a thin slice would look like contrast.
    """
    side = max(1, round(GRAIN_MM / pixel_mm))
    soft, bright = 0, 0
    for plane in slices:
        rows, columns = (length // side for length in plane.shape)
        blocks = plane[: rows * side, : columns * side].reshape(rows, side, columns, side)
        hu = blocks.mean(axis=(1, 3), dtype=np.float32)
        soft += int(np.count_nonzero((hu > ORGAN_HU[0]) & (hu < ORGAN_HU[1])))
        bright += int(np.count_nonzero((hu > ENHANCED_HU) & (hu < ORGAN_HU[1])))
    return bright / soft if soft else 1.0


def enclosed(body: np.ndarray, wall: Sequence[int] = (1, 1)) -> np.ndarray:
    """Pixels of slices (n, h, w) with body on all four sides: the body and the air in it, not the room's or a table's.

    `wall` pixels of it (above and below, left and right) on each side.
    """
    inside = np.ones(body.shape, bool)
    for axis, thick in zip((1, 2), wall):
        before = np.cumsum(body, axis=axis, dtype=np.int32)
        after = np.take(before, [-1], axis=axis) - before + body
        inside &= (before >= thick) & (after >= thick)
    return inside


def about_jumps(jumps: np.ndarray, slice_mm: float) -> Iterator[str]:
    """`jumps` (n,) says of each slice explained whether the CT jumps before it (jumps.py)."""
    if 5 * (many := int(jumps.sum())) > len(jumps):
        what = f"{many} of {len(jumps)} slices differ from the one before more than slices {slice_mm:g} mm apart do"
        yield f"{what}: are slices missing, or is their distance wrong? They had no vote on each other."


def about_pieces(dropped: float, organ: str, scope: Scope) -> Iterator[str]:
    """`dropped` is the share of the organ found that clean-up took away."""
    if dropped > scope.dropped_share:
        what = f"What looked like {organ} lay in pieces far apart"
        yield f"{what}; the smaller ones, {dropped:.0%} of it, were dropped."


def about_answers(what: str, slices: Iterable[np.ndarray]) -> Iterator[str]:
    """`slices` are a model's answers (h, w); read no further than the first that is not flat."""
    levels = set()
    for one in slices:
        levels.add(float(one.min()))
        if len(levels) > 1 or one.max() > one.min():
            return
    if levels:
        yield f"{what} is the same number everywhere, in every slice: it tells nothing about this CT."


def about_volume(areas_ml: Sequence[float], organ: str, scope: Scope) -> Iterator[str]:
    """`areas_ml` is the organ's volume in each axial slice that was explained. Nothing found is said elsewhere."""
    ml, (low, high) = sum(areas_ml), scope.organ_ml
    cut = bool(areas_ml[0] or areas_ml[-1])  # by the end of the CT or of the slices asked for
    if ml > high or (0 < ml < low and not cut):
        usual = span(scope.organ_ml, "ml")
        yield f"{ml:.1f} ml of {organ} is implausible for an adult ({usual}): look at the outline."


def outside(value: float, limits: Range) -> bool:
    return not limits[0] <= value <= limits[1]


def span(limits: Range, unit: str = "mm") -> str:
    return f"{limits[0]:g} to {limits[1]:g} {unit}"
