"""DICOM CT series to volumes: pydicom reads, decodes and sorts; every check stands here.

A series is a set of single-frame CT images of one SeriesInstanceUID (0020,000E), orientation and matrix. Slices are
sorted by ImagePositionPatient (0020,0032) along the normal of ImageOrientationPatient (0020,0037).
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pydicom
from pydicom.errors import InvalidDicomError

from unoise_engine.ct.volume import Grid, Volume
from unoise_engine.errors import CaseRefused

GAP_TOLERANCE_MM = 0.05  # how far a slice may lie from its even place; headers round to 0.01 mm or so
TILT_TOLERANCE_MM = 0.05  # how far the stack may drift sideways from one slice to the next
AIR_HU = -1024

HEADER = [
    "SOPClassUID", "SOPInstanceUID", "SeriesInstanceUID", "SeriesNumber", "Modality", "ImageType", "Rows", "Columns",
    "ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "RescaleSlope", "RescaleIntercept",
    "PhotometricInterpretation", "SamplesPerPixel", "NumberOfFrames", "BitsStored", "PixelRepresentation",
    "PixelPaddingValue",
]  # fmt: skip


@dataclass(frozen=True)
class Slice:
    path: Path
    header: pydicom.Dataset


@dataclass(frozen=True)
class Series:
    """The images of one CT series, in no particular order."""

    slices: tuple[Slice, ...]

    @property
    def number(self) -> int:
        return int(self.slices[0].header.get("SeriesNumber") or 0)


@dataclass(frozen=True)
class Skipped:
    """Why a file of a folder is no part of any series."""

    path: Path
    reason: str


def find_series(folder: Path) -> tuple[list[Series], list[Skipped]]:
    """Looks through a folder and its sub-folders; links to folders are not followed.

    Returns the CT series, ordered by series number and then by first file, and the DICOM files that were passed over.
    """
    groups: dict[tuple[object, ...], list[Slice]] = {}
    skipped: list[Skipped] = []
    for home, folders, names in os.walk(folder):
        folders.sort()
        for name in sorted(names):
            path = Path(home, name)
            try:
                header = pydicom.dcmread(path, stop_before_pixels=True, specific_tags=HEADER)
            except (InvalidDicomError, OSError, EOFError, ValueError, KeyError, AttributeError, TypeError):
                continue
            if reason := _not_a_slice(header):
                skipped.append(Skipped(path, reason))
                continue
            orientation = tuple(np.round([float(v) for v in header.ImageOrientationPatient], 3))
            key = (header.get("SeriesInstanceUID", ""), orientation, header.Rows, header.Columns)
            groups.setdefault(key, []).append(Slice(path, header))
    series = [Series(tuple(group)) for group in groups.values()]
    return sorted(series, key=lambda s: (s.number, str(s.slices[0].path))), skipped


def _not_a_slice(header: pydicom.Dataset) -> str:
    if "SOPClassUID" not in header and "Modality" not in header:
        return "is no image"  # DICOMDIR and the like
    if (modality := header.get("Modality", "")) != "CT":
        return f"modality {modality or 'unknown'}, not CT"
    if int(header.get("NumberOfFrames") or 1) > 1:
        return "multi-frame (enhanced) CT, convert it to single-frame slices"
    if "LOCALIZER" in [str(v).upper() for v in header.get("ImageType") or []]:
        return "localizer (scout)"
    if not header.get("ImageOrientationPatient") or not header.get("ImagePositionPatient"):
        return "no position or orientation in its header"
    if not header.get("PixelSpacing") or not header.get("Rows") or not header.get("Columns"):
        return "no pixel spacing or size in its header"
    return ""


def read_series(series: Series, source: object) -> tuple[Volume, tuple[Path, ...]]:
    """Sorts, checks and decodes a series -> CT in HU, (z, y, x), with z along the slice normal, and each slice's file.

    int16 where every slice's rescale is whole, float32 otherwise. `source` names the series in messages.
    Raises CaseRefused: ONE_SLICE, DUPLICATE_SLICE, MISSING_SLICE, UNEVEN_SPACING, GANTRY_TILT, MIXED_SPACING,
    HU_SUSPECT, NOT_SCALAR, UNDECODABLE.
    """
    first = series.slices[0].header
    across = np.array([float(v) for v in first.ImageOrientationPatient[:3]])
    down = np.array([float(v) for v in first.ImageOrientationPatient[3:]])
    normal = np.cross(across, down)
    placed = sorted(series.slices, key=lambda s: float(np.dot(_position(s), normal)))
    step_mm = _check_stack(placed, normal, source)
    _check_pixels(placed, source)

    row_mm, column_mm = (float(v) for v in first.PixelSpacing)  # distance between rows, then between columns
    grid = Grid(
        size=(int(first.Columns), int(first.Rows), len(placed)),
        spacing_mm=(column_mm, row_mm, step_mm),
        origin_mm=tuple(float(v) for v in _position(placed[0])),  # type: ignore[arg-type]
        direction=tuple(float(v) for v in np.stack([across, down, normal], axis=1).ravel()),
    )
    whole = all(_rescale(s.header)[0] == 1 and float(_rescale(s.header)[1]).is_integer() for s in placed)
    narrow = all(int(s.header.BitsStored) < 16 or int(s.header.PixelRepresentation) == 1 for s in placed)
    voxels = np.empty(grid.shape, np.int16 if whole and narrow else np.float32)
    for k, one in enumerate(placed):
        hu = _decode(one, source)
        low, high = (-32768, 32767) if voxels.dtype == np.int16 else (-np.inf, np.inf)
        voxels[k] = np.clip(hu, low, high)
    return Volume(voxels, grid), tuple(s.path for s in placed)


def _position(one: Slice) -> np.ndarray:
    return np.array([float(v) for v in one.header.ImagePositionPatient])


def _rescale(header: pydicom.Dataset) -> tuple[float, float]:
    return float(header.RescaleSlope), float(header.RescaleIntercept)


def _check_stack(placed: list[Slice], normal: np.ndarray, source: object) -> float:
    """Returns the distance between slices in mm."""
    if len(placed) < 2:
        raise CaseRefused("ONE_SLICE", source, "has a single slice, so its spacing is unknown", "give the whole series")
    steps = np.diff([_position(s) for s in placed], axis=0)
    gaps = steps @ normal
    usual = float(np.median(gaps))
    for k, gap in enumerate(gaps):
        pair = f"{placed[k].path.name} and {placed[k + 1].path.name}"
        if gap < GAP_TOLERANCE_MM:
            raise CaseRefused("DUPLICATE_SLICE", source, f"{pair} lie at the same place", "remove one of them")
        if gap > 1.5 * usual:
            what = f"{gap:.2f} mm between {pair}, {usual:.2f} mm elsewhere: slices are missing"
            raise CaseRefused("MISSING_SLICE", source, what, "export the whole series again")
        if abs(gap - usual) > GAP_TOLERANCE_MM:
            what = f"{gap:.2f} mm between {pair}, {usual:.2f} mm elsewhere"
            raise CaseRefused("UNEVEN_SPACING", source, what, "resample the CT to even slices")
    drift = np.linalg.norm(steps - gaps[:, None] * normal, axis=1).max()
    if drift > TILT_TOLERANCE_MM:
        what = f"slices shift by {drift:.2f} mm sideways from one to the next (tilted gantry)"
        raise CaseRefused("GANTRY_TILT", source, what, "resample the CT to an upright grid")
    return float(gaps.mean())


def _check_pixels(placed: list[Slice], source: object) -> None:
    spacing = [float(v) for v in placed[0].header.PixelSpacing]
    for one in placed:
        h, name = one.header, one.path.name
        if not np.allclose([float(v) for v in h.PixelSpacing], spacing, atol=1e-4):
            raise CaseRefused("MIXED_SPACING", source, f"{name} has another pixel spacing", "give one series")
        if int(h.get("SamplesPerPixel") or 1) != 1:
            raise CaseRefused("NOT_SCALAR", source, f"{name} is a colour image", "give the CT, not a capture of it")
        if h.get("RescaleSlope") is None or h.get("RescaleIntercept") is None:
            what = f"{name} has no rescale slope and intercept, so its values are not HU"
            raise CaseRefused("HU_SUSPECT", source, what, "export the original series")
        if h.get("PhotometricInterpretation") == "MONOCHROME1":
            raise CaseRefused("HU_SUSPECT", source, f"{name} is stored inverted", "export the original series")


def _decode(one: Slice, source: object) -> np.ndarray:
    """One slice in HU, (rows, columns) float32; pixels that the header marks as padding become air."""
    try:
        dataset = pydicom.dcmread(one.path)
        stored = dataset.pixel_array
    except Exception as error:
        syntax = (
            getattr(getattr(dataset, "file_meta", None), "TransferSyntaxUID", None) if "dataset" in locals() else None
        )
        how = f"its transfer syntax {syntax.name} " if syntax is not None else ""
        what = f"{one.path.name} cannot be decoded ({how}{type(error).__name__})"
        raise CaseRefused("UNDECODABLE", source, what, "copy it again, or export it uncompressed") from error
    slope, intercept = _rescale(one.header)
    hu = stored.astype(np.float32) * np.float32(slope) + np.float32(intercept)
    padding = one.header.get("PixelPaddingValue")
    if padding is not None:
        hu[stored == int(padding)] = AIR_HU
    return hu
