"""Does this CT look like what the model knows? If not, one sentence says why: a map is never shown as if nothing was.

The ranges belong to the model and stand in its bundle (`Scope`); what is measured comes from the CT and the
segmentation alone, so the checks cost a fraction of a second.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from unoise_engine.explanation.scan import APART_MM, ENHANCED_HU, Scan, cut_off
from unoise_engine.models.scope import Range, Scope
from unoise_engine.volume.volume import AxialView, Volume

END_MM = 10  # of the CT explained: an organ that comes as near may go on beyond it, in a slice where it was missed


def about_scan(ct: Volume, scope: Scope) -> Iterator[str]:
    scan = Scan.of(ct)
    if scan is None:
        yield f"No body is in view: everything is air or thinner than {APART_MM} mm."
        return
    if cut_off(ct):
        yield "Nothing lies below 0 HU: the CT was cut off there. The model was shown fat of -100 HU in its place."
    soft, dense = scan.soft_share, scan.dense_share
    if outside(dense, scope.dense_share) or (soft and outside(soft, scope.soft_share)):
        tissue = f"{soft[0]:.0%} of the body is soft tissue and " if soft else ""
        yield (
            f"The HU are unlike an abdomen's: {tissue}{dense[0]:.0%} is bone, metal or contrast; the values may not be "
            "HU, or this is another part of the body."
        )
    if scan.enhanced_share[0] < scope.enhanced_share:
        yield (
            f"Little or no contrast agent: {scan.enhanced_share[0]:.0%} of the slices show vessels or organs brighter "
            f"than {ENHANCED_HU} HU (the model knows CTs of {scope.enhanced_share:.0%} and more): much of the organ "
            "may be missed."
        )
    if scan.body_cm2 and outside(scan.body_cm2, scope.body_cm2):
        size = "small" if scan.body_cm2[0] < scope.body_cm2[0] else "large"
        if size == "large" or not scan.cropped:
            yield f"The body's cross-section is {scan.body_cm2[0]:.0f} cm2, too {size} for an adult's abdomen."
    if scan.lung_share[1] > scope.lung_share:
        yield f"{scan.lung_share[1]:.0%} of the slices show the chest: little or no abdomen is in view."
    if outside(scan.pixel_mm, scope.pixel_mm):
        _, row_mm, column_mm = AxialView.of(ct.grid).spacing_mm
        yield f"Pixels of {row_mm:.2f} x {column_mm:.2f} mm lie outside {span(scope.pixel_mm)}, which the model knows."
    if scan.slice_mm and outside(scan.slice_mm, scope.slice_mm):
        yield f"Slices {scan.slice_mm[0]:.1f} mm apart lie outside {span(scope.slice_mm)}, which the model knows."
    if outside(scan.field_mm, scope.field_mm):
        yield f"A field of view {scan.field_mm[0]:.0f} mm wide lies outside {span(scope.field_mm)}."


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


def about_volume(areas_ml: Sequence[float], slice_mm: float, organ: str, scope: Scope) -> Iterator[str]:
    """`areas_ml` is the organ's volume in each axial slice that was explained. Nothing found is said elsewhere."""
    ml, (low, high) = sum(areas_ml), scope.organ_ml
    near = 1 + int(END_MM / slice_mm)
    cut = any(areas_ml[:near]) or any(areas_ml[-near:])  # by the end of the CT or of the slices asked for
    if ml > high or (0 < ml < low and not cut):
        usual = span(scope.organ_ml, "ml")
        yield f"{ml:.1f} ml of {organ} is implausible for an adult ({usual}): look at the outline."


def outside(found: Range, limits: Range) -> bool:
    """Whether some of the one lies beyond the other."""
    return not (limits[0] <= found[0] and found[1] <= limits[1])


def span(limits: Range, unit: str = "mm") -> str:
    return f"{limits[0]:g} to {limits[1]:g} {unit}"
