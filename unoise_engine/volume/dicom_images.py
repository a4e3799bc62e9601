"""DICOM headers: one `Image` for each slice, be it a file of its own or a frame of an enhanced multi-frame file.

Only the fields named here are read, none of them about the patient.
"""

from __future__ import annotations

import logging
import math
import os
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pydicom

from unoise_engine.errors import CaseRefused
from unoise_engine.volume.layout import inflated_size, open_regular

FIELDS = [
    "SOPClassUID", "SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID", "FrameOfReferenceUID", "SeriesNumber",
    "Modality", "ImageType", "Rows", "Columns", "ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing",
    "RescaleSlope", "RescaleIntercept",
    "RescaleType", "PhotometricInterpretation", "SamplesPerPixel", "NumberOfFrames", "BitsAllocated", "BitsStored",
    "HighBit", "PixelRepresentation", "PixelPaddingValue", "PixelPaddingRangeLimit", "ConvolutionKernel",
    "SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence",
]  # fmt: skip
NOT_HU = "a map of other values than HU"
CUT = "damaged (its header ends before the image)"
CT_STORAGE = "1.2.840.10008.5.1.4.1.1.2"  # enhanced CT's begins so too
DEFLATED = b"1.2.840.10008.1.2.1.99"
LARGEST_INFLATED = 1 << 28  # bytes of one deflated DICOM file, inflated
LARGEST_SIDE = 8192  # pixels
SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
PROJECTIONS = {"MIP", "MINIP", "PROJECTION IMAGE", "MAX_IP", "MIN_IP", "VOLUME RENDERED", "VRT"}
NO_HU = {
    "PERFUSION", "RCBF", "RCBV", "RMTT", "TTP", "MTT", "CBF", "CBV", "SUBTRACTION", "DIVISION", "STD_DEVIATION",
    "QUANTITY", "EFF_ATOMIC_NUM", "ELECTRON_DENSITY",
}  # fmt: skip


@dataclass(frozen=True)
class Image:
    """One slice as its header describes it. `frame` counts within the file from 0."""

    path: Path
    frame: int
    frames: int
    series: str
    number: int
    stack: str  # what tells the stacks of one series apart: kernel, and stack or phase of a multi-frame file
    rows: int
    columns: int
    position_mm: tuple[float, ...]
    across: tuple[float, ...]  # direction of a row: from column to column
    down: tuple[float, ...]
    spacing_mm: tuple[float, float]  # between rows, between columns
    slope: float | None
    intercept: float | None
    padding: tuple[int, int] | None  # stored values from .. to that mean: nothing was measured here
    inverted: bool  # MONOCHROME1: shown inverted; the values themselves are not
    bits: int  # stored
    signed: bool
    space: str = ""  # study and frame of reference: positions can be compared within one alone

    @property
    def name(self) -> str:
        return self.path.name + (f" frame {self.frame + 1}" if self.frames > 1 else "")

    @property
    def normal(self) -> np.ndarray:
        return np.cross(self.across, self.down)


class NotASlice(Exception):
    """Why a DICOM file is no slice of a CT in HU; the message completes 'it is ...'."""


def is_dicom(path: Path) -> bool:
    """Whether the file begins as DICOM files do. Raises CaseRefused if it cannot be read."""
    with open_regular(path) as f:
        return f.read(132)[128:] == b"DICM"


def read_images(path: Path) -> list[Image]:
    """The slices of one DICOM file. Raises NotASlice, or CaseRefused if the file cannot be read at all."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # they would quote the values of fields
            return _images(path, read_header(path, FIELDS))
    except (NotASlice, CaseRefused, MemoryError):
        raise
    except Exception as error:  # pydicom raises whatever a damaged field leads to
        raise NotASlice("damaged (its header cannot be read)") from error


def _images(path: Path, header: pydicom.Dataset) -> list[Image]:
    if reason := _other_kind(header):
        raise NotASlice(reason)
    if "PerFrameFunctionalGroupsSequence" in header:
        return _frames(path, header)
    if int(header.get("NumberOfFrames") or 1) > 1:
        raise NotASlice("multi-frame without a position for each frame")
    return [_image(path, header, {}, 0, 1)]


def read_header(path: Path, fields: list[str] | None = None, pixels: bool = False) -> pydicom.Dataset:
    """Some fields, or with `pixels` the whole file. Raises CaseRefused, or whatever pydicom raises."""
    logging.getLogger("pydicom").setLevel(logging.CRITICAL)  # it would print field values
    with open_regular(path) as f, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if DEFLATED in f.read(2048):
            f.seek(0)
            if inflated_size(f, LARGEST_INFLATED) > LARGEST_INFLATED:
                what = "inflates to more than any CT slice holds"
                raise CaseRefused("BOMB", path, what, "check where the file comes from")
        f.seek(0)
        return pydicom.dcmread(Clamped(f), stop_before_pixels=not pixels, specific_tags=None if pixels else fields)


class Clamped:
    """A file that is never asked for more bytes than are left: Python sets aside as many as a damaged length says."""

    def __init__(self, file: BinaryIO):
        self.size = os.fstat(file.fileno()).st_size
        self.file, self.seek, self.tell = file, file.seek, file.tell

    def read(self, count: int = -1) -> bytes:
        left = max(0, self.size - self.tell())
        return self.file.read(left if count is None or count < 0 else min(count, left))


def _other_kind(header: pydicom.Dataset) -> str:
    if "SOPClassUID" not in header and "Modality" not in header:
        kind = str(header.file_meta.get("MediaStorageSOPClassUID") or "")
        return CUT if kind.startswith(CT_STORAGE) else "no image"  # DICOMDIR and the like
    if (modality := str(header.get("Modality") or "unknown")) != "CT":
        return f"modality {modality if modality.isalnum() and len(modality) <= 16 else 'unknown'}, not CT"
    if header.get("SOPClassUID") == SECONDARY_CAPTURE:
        return "a secondary capture"
    kinds = _words(header.get("ImageType"))
    if "LOCALIZER" in kinds:
        return "a localizer (scout)"
    if kinds & PROJECTIONS:
        return "a projection (MIP or rendering)"
    if kinds & NO_HU:
        return NOT_HU
    if int(header.get("SamplesPerPixel") or 1) != 1:
        return "a colour image"
    if not header.get("Rows") or not header.get("Columns"):
        return CUT
    return ""


def _frames(path: Path, header: pydicom.Dataset) -> list[Image]:
    shared = (header.get("SharedFunctionalGroupsSequence") or [pydicom.Dataset()])[0]
    groups = header.PerFrameFunctionalGroupsSequence
    count = int(header.get("NumberOfFrames") or 1)
    if len(groups) != count:
        raise NotASlice("damaged (its frames and their descriptions differ in number)")
    images = []
    for k, own in enumerate(groups):

        def macro(name: str, own: pydicom.Dataset = own) -> pydicom.Dataset:
            found = own.get(name) or shared.get(name)
            return found[0] if found else pydicom.Dataset()

        content, kind = macro("FrameContentSequence"), macro("CTImageFrameTypeSequence")
        types = _words(kind.get("FrameType"))
        if "LOCALIZER" in types or types & (PROJECTIONS | NO_HU):
            continue
        stack = [content.get("StackID"), content.get("TemporalPositionIndex"), "/".join(sorted(types))]
        stack.append(_text(macro("CTReconstructionSequence").get("ConvolutionKernel")))
        described: dict[str, Any] = {
            "ImagePositionPatient": macro("PlanePositionSequence").get("ImagePositionPatient"),
            "ImageOrientationPatient": macro("PlaneOrientationSequence").get("ImageOrientationPatient"),
            "PixelSpacing": macro("PixelMeasuresSequence").get("PixelSpacing"),
            "stack": "|".join(str(v) for v in stack),
        }
        values = macro("PixelValueTransformationSequence")
        for name in ("RescaleSlope", "RescaleIntercept", "RescaleType"):
            described[name] = values.get(name)
        images.append(_image(path, header, described, k, count))
    if not images:
        raise NotASlice("without a frame that is a slice")
    return images


def _image(path: Path, header: pydicom.Dataset, described: dict[str, Any], frame: int, frames: int) -> Image:
    def value(name: str) -> Any:
        return described[name] if name in described else header.get(name)

    position, orientation, spacing = (
        value(n) for n in ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing")
    )
    if not position or not orientation:
        raise NotASlice("without position or orientation")
    if not spacing:
        raise NotASlice("without pixel spacing")
    unit = str(value("RescaleType") or "HU").upper()
    if unit not in ("HU", "HU_MOD", "US"):
        raise NotASlice(NOT_HU)
    at, turn, (between_rows, between_columns) = _numbers(position, 3), _numbers(orientation, 6), _numbers(spacing, 2)
    across, down = np.array(turn[:3]), np.array(turn[3:])
    if abs(np.linalg.norm(across) - 1) > 1e-2 or abs(np.linalg.norm(down) - 1) > 1e-2 or abs(across @ down) > 1e-2:
        raise NotASlice("damaged (its orientation is no pair of perpendicular directions)")
    if not (0.01 <= between_rows <= 100 and 0.01 <= between_columns <= 100) or np.abs(at).max() > 1e5:
        raise NotASlice("damaged (impossible spacing or position)")
    if np.abs(np.cross(across, down)).argmax() != 2:
        raise NotASlice("a coronal or sagittal series, not axial")
    if max(int(header.Rows), int(header.Columns)) > LARGEST_SIDE:
        raise NotASlice(f"damaged (more than {LARGEST_SIDE} pixels a side)")
    signed = int(header.get("PixelRepresentation") or 0) == 1
    return Image(
        path=path,
        frame=frame,
        frames=frames,
        series=str(header.get("SeriesInstanceUID") or "") or f"without a UID in {path.parent}",
        number=int(header.get("SeriesNumber") or 0),
        stack=described.get("stack", _text(header.get("ConvolutionKernel"))),
        rows=int(header.Rows),
        columns=int(header.Columns),
        position_mm=at,
        across=tuple(across / np.linalg.norm(across)),
        down=tuple(down / np.linalg.norm(down)),
        spacing_mm=(between_rows, between_columns),
        slope=_number(value("RescaleSlope")),
        intercept=_number(value("RescaleIntercept")),
        padding=_padding(header, signed),
        inverted=header.get("PhotometricInterpretation") == "MONOCHROME1",
        bits=int(header.get("BitsStored") or 16),
        signed=signed,
        space=f"{header.get('StudyInstanceUID') or ''} {header.get('FrameOfReferenceUID') or ''}",
    )


def _text(value: Any) -> str:
    return "/".join(map(str, value)) if isinstance(value, (list, pydicom.multival.MultiValue)) else str(value or "")


def _words(value: Any) -> set[str]:
    return set(_text(value).upper().split("/")) if value else set()


def _number(value: Any) -> float | None:
    return None if value is None or str(value).strip() == "" else float(value)


def _numbers(values: Any, count: int) -> tuple[float, ...]:
    numbers = tuple(float(v) for v in values)
    if len(numbers) != count or not all(math.isfinite(v) for v in numbers):
        raise NotASlice("damaged (a position or spacing that is no number)")
    return numbers


def _padding(header: pydicom.Dataset, signed: bool) -> tuple[int, int] | None:
    """The range of stored values that mean padding; the sign is that of the pixels, whatever the header's encoding."""
    ends = []
    for name in ("PixelPaddingValue", "PixelPaddingRangeLimit"):
        value = header.get(name)
        if isinstance(value, bytes):
            value = int.from_bytes(value[:2], "little")
        if value is not None and str(value) != "":
            number = int(value) & 0xFFFF
            ends.append(number - 65536 if signed and number > 32767 else number)
    return (min(ends), max(ends)) if ends else None
