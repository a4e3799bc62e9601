"""Does this CT look like what the model knows? If not, one sentence says why: a map is never shown as if nothing was.

The ranges belong to the model and stand in its bundle (`Scope`); what is measured comes from the CT and the
segmentation alone, so the checks cost a fraction of a second.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from unoise_engine.models.scope import Range, Scope
from unoise_engine.volume.volume import AxialView, Volume

SAMPLES = 24  # slices looked at, evenly spread
EVERY = 4  # rows and columns looked at
BODY_HU, LUNG_HU, FAT_HU, SOFT_HU, DENSE_HU = -300, (-960, -600), -30, 200, 200
ORGAN_HU, ENHANCED_HU, GRAIN_MM = (10, 200), 75, 3.0  # unenhanced organs and blood stay below 75 HU, seen without grain
WALL_MM = 20  # of tissue on every side of a lung; the foam of a table has its thin shell on three of them
LUNG_OF_BODY = 0.3  # a slice with more lung than this share of its other tissue shows the chest


@dataclass(frozen=True)
class Scan:
    """What is measured of a CT, each as the least and the most of it, by the names of `Scope`."""

    pixel_mm: Range
    slice_mm: Range | None  # None: one slice
    field_mm: Range
    body_cm2: Range
    soft_share: Range
    dense_share: Range
    enhanced_share: Range
    lung_share: Range

    @staticmethod
    def of(ct: Volume) -> Scan | None:
        """None where no body is in view."""
        view = AxialView.of(ct.grid)
        axial = view.apply(ct.voxels)
        n, _, columns = axial.shape
        slice_mm, row_mm, column_mm = view.spacing_mm
        chosen = _samples(n)
        hu = np.stack([axial[k, ::EVERY, ::EVERY] for k in chosen])
        body = hu > BODY_HU
        if not body.any():
            return None
        wall = [max(1, round(WALL_MM / (EVERY * mm))) for mm in (row_mm, column_mm)]
        lung = (enclosed(body, wall) & (hu > LUNG_HU[0]) & (hu < LUNG_HU[1])).sum(axis=(1, 2))
        inside = hu[body]
        return Scan(
            pixel_mm=(min(row_mm, column_mm), max(row_mm, column_mm)),
            slice_mm=_at(slice_mm) if n > 1 else None,
            field_mm=_at(columns * column_mm),
            body_cm2=_at(np.median(body.sum(axis=(1, 2))) * EVERY**2 * row_mm * column_mm / 100),
            soft_share=_at(np.mean((inside > FAT_HU) & (inside < SOFT_HU))),
            dense_share=_at(np.mean(inside >= DENSE_HU)),
            enhanced_share=_at(_enhanced([axial[k] for k in chosen], column_mm)),
            lung_share=_at(np.mean(lung > LUNG_OF_BODY * body.sum(axis=(1, 2)).clip(1))),
        )


def about_scan(ct: Volume, scope: Scope) -> Iterator[str]:
    scan = Scan.of(ct)
    if scan is None:
        yield "No body is in view: everything is air."
        return
    view = AxialView.of(ct.grid)
    axial = view.apply(ct.voxels)
    if min(axial[k, ::EVERY, ::EVERY].min() for k in _samples(len(axial))) == 0:  # as `refill` asks it of every slice
        yield "Nothing lies below 0 HU: the CT was cut off there. The model was shown fat of -100 HU in its place."
    if outside(scan.soft_share, scope.soft_share) or outside(scan.dense_share, scope.dense_share):
        yield (
            f"The HU are unlike an abdomen's: {scan.soft_share[0]:.0%} of the body is soft tissue and "
            f"{scan.dense_share[0]:.0%} is bone, metal or contrast; the values may not be HU, or this is another part "
            "of the body."
        )
    if scan.enhanced_share[0] < scope.enhanced_share:
        yield (
            f"Little or no contrast agent: {scan.enhanced_share[0]:.0%} of the soft tissue is brighter than "
            f"{ENHANCED_HU} HU (the model knows CTs of {scope.enhanced_share:.0%} and more): much of the organ may be "
            "missed."
        )
    if outside(scan.body_cm2, scope.body_cm2):
        size = "small" if scan.body_cm2[0] < scope.body_cm2[0] else "large"
        yield f"The body's cross-section is {scan.body_cm2[0]:.0f} cm2, too {size} for an adult's abdomen."
    if scan.lung_share[1] > scope.lung_share:
        yield f"{scan.lung_share[1]:.0%} of the slices show the chest: little or no abdomen is in view."
    if outside(scan.pixel_mm, scope.pixel_mm):
        _, row_mm, column_mm = view.spacing_mm
        yield f"Pixels of {row_mm:.2f} x {column_mm:.2f} mm lie outside {span(scope.pixel_mm)}, which the model knows."
    if scan.slice_mm and outside(scan.slice_mm, scope.slice_mm):
        yield f"Slices {scan.slice_mm[0]:.1f} mm apart lie outside {span(scope.slice_mm)}, which the model knows."
    if outside(scan.field_mm, scope.field_mm):
        yield f"A field of view {scan.field_mm[0]:.0f} mm wide lies outside {span(scope.field_mm)}."


def _samples(n: int) -> list[int]:
    """The slices looked at, of n."""
    return [int(k) for k in np.unique(np.linspace(0, n - 1, min(n, SAMPLES)).round())]


def _at(value: float | np.floating) -> Range:
    return float(value), float(value)


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


def outside(found: Range, limits: Range) -> bool:
    """Whether some of the one lies beyond the other."""
    return not (limits[0] <= found[0] and found[1] <= limits[1])


def span(limits: Range, unit: str = "mm") -> str:
    return f"{limits[0]:g} to {limits[1]:g} {unit}"
