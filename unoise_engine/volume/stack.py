"""Where the slices of a series lie: order, duplicates, gaps, uneven spacing, tilted gantry."""

from __future__ import annotations

import os
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import numpy as np

from unoise_engine.errors import CaseRefused
from unoise_engine.volume.decode import hu_slices
from unoise_engine.volume.dicom_images import Image

SAME_PLACE_MM = 0.05  # closer slices lie at the same place
EVEN_MM = 0.1  # how far a slice may lie from its even place; headers round to 0.01 mm or so
GAP = 1.5  # a step this many times the usual one has a slice missing ...
VARIABLE_RUN = 3  # ... unless so many equal steps follow each other: then the spacing was meant to change
LEAN_MM = 0.3  # how far the last slice may lie beside the first one's normal before it counts as tilt
STRAIGHT_MM = 0.2  # how far a slice may lie beside the line through all of them
WIDEST_FILL_MM = 10  # wider gaps are not interpolated, unless they lack one thick slice
MOST_SLICES = 4  # times as many slices as there are, when uneven spacing is resampled to the smallest step


@dataclass(frozen=True)
class Stack:
    """Slices in order along their normal, each place once.

    `lean` is the sideways shift for each mm along the normal (zero for an upright stack).
    """

    images: tuple[Image, ...]
    places_mm: np.ndarray  # along the normal
    step_mm: float
    lean: np.ndarray
    even: bool
    notes: list[str]

    @property
    def resampled(self) -> bool:
        return not self.even or bool(self.lean.any())


def place(images: tuple[Image, ...], normal: np.ndarray, source: object, fill_gaps: bool = False) -> Stack:
    """`normal` is that of the slices. Raises CaseRefused: ONE_SLICE, DUPLICATE_SLICE, MISSING_SLICE, UNEVEN_SPACING,
    SCATTERED_SLICES."""
    ordered = sorted(images, key=lambda i: (float(np.dot(i.position_mm, normal)), i.name))
    ordered, notes = _without_copies(ordered, normal, source)
    if len(ordered) < 2:
        raise CaseRefused("ONE_SLICE", source, "has a single slice, so its spacing is unknown", "give the whole series")
    positions = np.array([i.position_mm for i in ordered])
    places = positions @ normal
    lean = _lean(positions, places, normal, source)
    if lean.any():
        angle = np.degrees(np.arctan(np.linalg.norm(lean)))
        notes.append(f"tilted gantry ({angle:.1f} degrees): resampled to an upright grid")
    gaps = np.diff(places)
    step, even = _step(gaps, ordered, source, fill_gaps, notes)
    return Stack(tuple(ordered), places, step, lean, even, notes)


def _without_copies(ordered: list[Image], normal: np.ndarray, source: object) -> tuple[list[Image], list[str]]:
    """Slices at one place: the same pixels count once, different ones are refused."""
    kept, copies = [ordered[0]], []
    for one in ordered[1:]:
        apart = np.subtract(one.position_mm, kept[-1].position_mm)
        if float(apart @ normal) >= SAME_PLACE_MM:
            kept.append(one)
            continue
        if np.linalg.norm(apart) >= SAME_PLACE_MM or not _same_pixels(kept[-1], one, source):
            what = f"{' and '.join(_named(kept[-1], one))} lie at the same place and differ"
            cure = "remove one of them, or give the phases of a dynamic series one by one"
            raise CaseRefused("DUPLICATE_SLICE", source, what, cure)
        copies.append(one)
    names = ", ".join(c.name for c in copies[:3]) + (", ..." if len(copies) > 3 else "")
    return kept, [f"{len(copies)} identical copies of slices were left out ({names})"] if copies else []


def _named(*images: Image) -> list[str]:
    """Their names, with folders where these differ."""
    home = Path(os.path.commonpath([i.path.parent for i in images]))
    return [str(i.path.parent.relative_to(home) / i.name) for i in images]


def _same_pixels(a: Image, b: Image, source: object) -> bool:
    (first, _), (second, _) = hu_slices([a, b], source)
    return bool(np.array_equal(first, second))


def _lean(positions: np.ndarray, places: np.ndarray, normal: np.ndarray, source: object) -> np.ndarray:
    along = places - places[0]
    sideways = positions - positions[0] - along[:, None] * normal
    lean = (along @ sideways) / (along @ along)  # least squares, through the first slice
    off = np.linalg.norm(sideways - along[:, None] * lean, axis=1).max()
    if off > STRAIGHT_MM:
        what = f"its slices are shifted sideways by up to {off:.1f} mm, unevenly"
        raise CaseRefused("SCATTERED_SLICES", source, what, "export the original series")
    return lean if np.linalg.norm(lean) * along[-1] > LEAN_MM else np.zeros(3)


def _step(
    gaps: np.ndarray, ordered: list[Image], source: object, fill_gaps: bool, notes: list[str]
) -> tuple[float, bool]:
    """The distance between slices of the volume in mm, and whether the slices lie that way already."""
    usual = float(np.sort(gaps)[(len(gaps) - 1) // 2])  # of two middle ones the smaller: half may have a slice missing
    mean = float(gaps.mean())
    drift = np.abs(np.concatenate([[0], np.cumsum(gaps - mean)])).max()
    if drift <= EVEN_MM:
        return mean, True
    missing = _missing(gaps, usual)
    for k in missing:
        pair = f"{ordered[k].name} and {ordered[k + 1].name}"
        what = f"{gaps[k]:.2f} mm between {pair}, {usual:.2f} mm elsewhere: slices are missing"
        if gaps[k] > max(WIDEST_FILL_MM, 2.1 * usual):
            raise CaseRefused("MISSING_SLICE", source, what, "export the whole series again")
        if not fill_gaps:
            cure = "export the whole series again, or accept interpolated slices with --fill-gaps"
            raise CaseRefused("MISSING_SLICE", source, what, cure)
        notes.append(f"{what}; interpolated (--fill-gaps)")
    present = np.delete(gaps, missing)
    smallest, largest = float(present.min()), float(present.max())
    if largest - smallest <= SAME_PLACE_MM * 2:
        return usual, False
    if gaps.sum() / smallest > MOST_SLICES * len(gaps):
        what = f"its slices lie {smallest:.2f} to {gaps.max():.2f} mm apart"
        raise CaseRefused("UNEVEN_SPACING", source, what, "resample the CT to even slices")
    notes.append(f"slices lie {smallest:.2f} to {largest:.2f} mm apart: resampled to {smallest:.2f} mm")
    return smallest, False


def _missing(gaps: np.ndarray, usual: float) -> list[int]:
    """Steps with a slice missing: wide ones, but not where several equal ones follow each other."""
    wide: list[int] = []
    at = 0
    for _, run in groupby(gaps, key=lambda g: round(float(g) / (SAME_PLACE_MM * 2))):
        length = len(list(run))
        if gaps[at] > GAP * usual and length < VARIABLE_RUN:
            wide += range(at, at + length)
        at += length
    return wide
