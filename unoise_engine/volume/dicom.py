"""A DICOM series: from its images to a volume, a CT's in HU."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass

import numpy as np

from unoise_engine.errors import CaseRefused
from unoise_engine.volume.budget import Deadline, check_extent, check_packing, check_voxels
from unoise_engine.volume.decode import hu_slices, padding_is_tissue
from unoise_engine.volume.dicom_images import Image
from unoise_engine.volume.hu import CURE, check_content, vet
from unoise_engine.volume.mend import AIR_HU
from unoise_engine.volume.series import Series, directions
from unoise_engine.volume.stack import place
from unoise_engine.volume.straighten import Planes, even_out, rigid_grid, straighten
from unoise_engine.volume.volume import SMALLEST_FIELD_MM, SMALLEST_SIDE, Volume

RESCALE_JUMP_HU = 300  # neighbours differ by 20 to 100 HU a pixel; a wrong intercept is off by a thousand


@dataclass(frozen=True)
class SeriesReading:
    """A series as read: the volume, what was corrected, and the image of each slice as taken, along the normal.

    `planes` is set if the volume was resampled; then its z axis is not that of `images`.
    """

    ct: Volume
    notes: tuple[str, ...]
    images: tuple[Image, ...]
    planes: Planes | None = None


def read_series(
    series: Series,
    source: object,
    fill_gaps: bool = False,
    trust_hu: bool = False,
    deadline: Deadline | None = None,
) -> SeriesReading:
    """Sorts, checks and decodes a series -> CT in HU, (z, y, x), with z along the slice normal. Values of another
    modality are those of its own rescale, and no more is asked of them than that they are numbers and differ.

    int16 where every slice's rescale is whole and its values fit, float32 otherwise. `source` names it in messages.
    Raises CaseRefused: ONE_SLICE, DUPLICATE_SLICE, MISSING_SLICE, UNEVEN_SPACING, SCATTERED_SLICES, HU_SUSPECT,
    TOO_LARGE, TOO_SMALL, TOO_SLOW, GEOMETRY, UNDECODABLE, TRUNCATED, BOMB.
    """
    first, deadline = series.images[0], deadline or Deadline()
    _check_cost(series, source)
    across, down = directions(series.images)
    normal = np.cross(across, down)
    between_rows, between_columns = first.spacing_mm
    notes = [*series.joined, *_check_rescale(series.images, source, trust_hu)]
    if bare := {image.path for image in series.images if image.bare}:
        lack = "lack DICOM's preamble or transfer syntax: what they hold says how they are stored"
        notes.append(f"{len(bare)} of its files {lack}")
    stack = place(series.images, normal, source, fill_gaps)
    length_mm = float(stack.places_mm[-1] - stack.places_mm[0])
    check_extent((first.columns * between_columns, first.rows * between_rows), length_mm, stack.step_mm, source)
    check_voxels((first.columns, first.rows, round(length_mm / stack.step_mm) + 1), 4, source)
    notes += stack.notes
    voxels, padded = _voxels(stack.images, source, trust_hu, deadline)
    if padded:
        value = f"{AIR_HU} HU" if first.modality == "CT" else "the least value beside them"
        notes.append(f"{padded} pixels marked as padding were set to {value}")
    if first.modality == "CT":
        voxels, mended = vet(voxels, source, trust_hu)
        notes += mended
    else:
        check_content(voxels, source)

    planes = None
    if stack.resampled:
        corners = np.array([i.position_mm for i in stack.images])
        planes = Planes(corners, across * between_columns, down * between_rows, (first.columns, first.rows))
    if not stack.even:
        voxels = even_out(voxels, stack.places_mm, stack.step_mm)
    steps = np.column_stack([across * between_columns, down * between_rows, (normal + stack.lean) * stack.step_mm])
    origin = np.array(stack.images[0].position_mm)
    size = (first.columns, first.rows, len(voxels))
    grid = rigid_grid(size, steps, origin)
    ct = Volume(voxels, grid) if grid is not None else straighten(voxels, steps, origin, source)
    return SeriesReading(ct, tuple(notes), stack.images, planes)


def _check_cost(series: Series, source: object) -> None:
    """Before a pixel is decoded. Raises CaseRefused: TOO_LARGE, BOMB, TOO_SMALL."""
    first = series.images[0]
    check_voxels((first.columns, first.rows, len(series.images)), 4, source)
    there = sum(os.stat(path).st_size for path in series.files)
    check_packing(first.rows * first.columns * len(series.images) * 2, there, source)
    side_mm = np.array(first.spacing_mm) * (first.rows, first.columns)
    if min(first.rows, first.columns) < SMALLEST_SIDE or side_mm.min() < SMALLEST_FIELD_MM:
        shown = f"{side_mm[1]:.0f} x {side_mm[0]:.0f}"
        raise CaseRefused("TOO_SMALL", source, f"shows only {shown} mm of an axial slice", "give a CT of the abdomen")


def _check_rescale(images: tuple[Image, ...], source: object, trust_hu: bool) -> list[str]:
    notes = [*dict.fromkeys(i.remark for i in images if i.remark)]
    without = [i for i in images if i.modality == "CT" and (i.slope is None or i.intercept is None)]
    if without and not trust_hu:
        what = f"{without[0].name} has no rescale slope and intercept, so its values may be no HU"
        raise CaseRefused("HU_SUSPECT", source, what, CURE)
    if without:
        notes.append(
            f"{len(without)} slices have no rescale slope and intercept: stored values taken as HU (--trust-hu)"
        )
    for image in images:
        if not (1e-4 < abs(image.slope or 1.0) < 1e4 and abs(image.intercept or 0.0) < 1e5):
            what = f"{image.name} has the impossible rescale {image.slope:g} x + {image.intercept or 0:g}"
            raise CaseRefused("HU_SUSPECT", source, what, "export the original series")
    if any(i.inverted for i in images):
        notes.append("marked to be shown inverted (MONOCHROME1): its values were read as they are, not inverted")
    if any(padding_is_tissue(i) for i in images):
        notes.append("its padding value lies among HU of tissue, so it was not taken for padding")
    usual = Counter((i.slope, i.intercept) for i in images).most_common(1)[0][0]
    if other := sum((i.slope, i.intercept) != usual for i in images):
        notes.append(f"{other} slices have another rescale than the rest: each was read with its own")
    return notes


def _voxels(images: tuple[Image, ...], source: object, trust_hu: bool, deadline: Deadline) -> tuple[np.ndarray, int]:
    """Slices in HU and the number of padding pixels. A jump where the rescale changes is refused."""
    whole = all(float(i.slope or 1) == 1 and float(i.intercept or 0).is_integer() for i in images)
    narrow = all(i.bits < 16 or i.signed for i in images)
    voxels = np.empty((len(images), images[0].rows, images[0].columns), np.int16 if whole else np.float32)
    padded = 0
    for k, (hu, count) in enumerate(hu_slices(images, source, deadline)):
        padded += count
        if not narrow and voxels.dtype == np.int16 and not (hu.min() >= -32768 and hu.max() <= 32767):
            voxels = voxels.astype(np.float32)
        voxels[k] = np.clip(hu, -32768, 32767) if voxels.dtype == np.int16 else hu
        changed = k > 0 and (images[k].slope, images[k].intercept) != (images[k - 1].slope, images[k - 1].intercept)
        if changed and images[k].modality == "CT" and not trust_hu:
            jump = float(np.abs(hu - voxels[k - 1]).mean())
            if jump > RESCALE_JUMP_HU:
                pair = f"{images[k - 1].name} and {images[k].name}"
                what = f"{pair} differ by {jump:.0f} HU a pixel where the rescale changes, so one of them is wrong"
                raise CaseRefused("HU_SUSPECT", source, what, CURE)
    return voxels, padded
