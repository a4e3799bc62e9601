"""DICOM headers: one `Image` for each slice, be it a file of its own or a frame of an enhanced multi-frame file.

Only the fields named here are read. Those about the patient tell two patients apart and are kept as digests.
"""

from __future__ import annotations

import hashlib
import math
import re
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from pydicom.datadict import dictionary_description
from pydicom.uid import UID

from unoise_engine.errors import CaseRefused
from unoise_engine.volume.hu import no_slice, not_hu, remark
from unoise_engine.volume.part10 import STANDARD, read_header

FIELDS = [
    "SOPClassUID", "SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID", "FrameOfReferenceUID", "SeriesNumber",
    "Modality", "ImageType", "Rows", "Columns", "ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing",
    "RescaleSlope", "RescaleIntercept", "RescaleType", "PhotometricInterpretation", "SamplesPerPixel",
    "NumberOfFrames", "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation", "PixelPaddingValue",
    "PixelPaddingRangeLimit", "SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence",
    # what tells two CTs of one series apart
    "PatientID", "PatientName", "AcquisitionNumber", "SliceThickness", "ConvolutionKernel", "KVP",
    "TemporalPositionIdentifier", "NominalPercentageOfCardiacPhase", "ContrastBolusAgent", "AcquisitionDate",
    "AcquisitionTime", "AcquisitionDateTime", "InstanceNumber",
    # what a derived image may be called
    "SeriesDescription", "DerivationDescription", "ManufacturerModelName", "EchoTime", "DiffusionBValue",
]  # fmt: skip
CUT = "damaged (its header ends before the image)"
STORAGE = {  # modality -> SOP classes of its slices; enhanced and legacy converted ones begin so too
    "CT": ("1.2.840.10008.5.1.4.1.1.2",),
    "MR": ("1.2.840.10008.5.1.4.1.1.4",),
    "PT": ("1.2.840.10008.5.1.4.1.1.128", "1.2.840.10008.5.1.4.1.1.130"),
}
SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
CT_FRAMES = "CTImageFrameTypeSequence"
LARGEST_SIDE = 8192  # pixels


@dataclass(frozen=True)
class Image:
    """One slice as its header describes it. `frame` counts within the file from 0."""

    path: Path
    frame: int
    frames: int
    series: str
    number: int
    stack: str  # what tells the stacks of a multi-frame file apart
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
    uid: str = ""
    told: Mapping[str, str] = field(default_factory=dict)  # what parts two CTs of one series: see apart.py
    seconds: float | None = None  # when it was taken, since year 1
    instance: int | None = None
    remark: str = ""  # what is to be said of its values
    bare: bool = False  # its file has no preamble, or names no transfer syntax
    modality: str = "CT"

    @property
    def name(self) -> str:
        return self.path.name + (f" frame {self.frame + 1}" if self.frames > 1 else "")

    @property
    def normal(self) -> np.ndarray:
        return np.cross(self.across, self.down)


class NotASlice(Exception):
    """Why a DICOM file is no slice of a CT in HU, or of another modality's image; the message completes 'it is ...'.

    `series` is set if it should have been one: the series UID, or what stands for it.
    """

    def __init__(self, reason: str, series: str | None = None):
        super().__init__(reason)
        self.series = series


def read_images(path: Path, modality: str | None = "CT") -> list[Image]:
    """The slices of one DICOM file of that modality; None takes what it is.

    Raises NotASlice, or CaseRefused if the file cannot be read at all.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # they would quote the values of fields
            return _images(path, read_header(path, FIELDS), modality)
    except (NotASlice, CaseRefused, MemoryError):
        raise
    except Exception as error:  # pydicom raises whatever a damaged field leads to
        raise NotASlice("damaged (its header cannot be read)", "") from error


def _images(path: Path, header: pydicom.Dataset, modality: str | None) -> list[Image]:
    if reason := _other_kind(header, modality):
        raise NotASlice(reason, "" if reason == CUT else None)
    if "PerFrameFunctionalGroupsSequence" in header:
        return _frames(path, header)
    if _whole(header, "NumberOfFrames", 1) > 1:
        raise NotASlice("multi-frame without a position for each frame", _series(path, header))
    return [_image(path, header, {}, 0, 1)]


def _other_kind(header: pydicom.Dataset, wanted: str | None) -> str:
    """Which other kind of object this is; empty for an image that may be a slice of a CT, or whatever is wanted."""
    kind = str(header.get("SOPClassUID") or header.file_meta.get("MediaStorageSOPClassUID") or "")
    if "SOPClassUID" not in header and "Modality" not in header:
        return CUT if kind.startswith(STORAGE["CT"]) else "no image"  # DICOMDIR and the like
    if not header.get("Modality") and not header.get("Rows") and kind.startswith(STORAGE["CT"]):
        return CUT
    wanted = wanted or str(header.get("Modality"))
    if (modality := str(header.get("Modality") or "unknown")) != wanted:
        return f"modality {modality if modality.isalnum() and len(modality) <= 16 else 'unknown'}, not {wanted}"
    if wanted not in STORAGE:
        return f"modality {wanted}, which is read from NIfTI, NRRD or MetaImage alone"
    if kind.startswith(SECONDARY_CAPTURE):
        return "a secondary capture"
    fits = any(kind == one or kind.startswith(f"{one}.") for one in STORAGE[wanted])
    if kind.startswith(STANDARD) and not fits:
        name = UID(kind).name.removesuffix(" Storage") if UID(kind).name != kind else "another kind"
        return f"no {wanted} image ({name})"
    if not header.get("Rows") or not header.get("Columns"):
        return CUT if fits else "an object without an image"
    if reason := _judged(wanted, _text(header.get("ImageType")), _described(header)):
        return reason
    return "a colour image" if _whole(header, "SamplesPerPixel", 1) != 1 else ""


def _judged(modality: str, image_type: str, described: str) -> str:
    """What rules an image out by what it is called."""
    return not_hu(image_type, "", described) if modality == "CT" else no_slice(image_type, described)


def _frames(path: Path, header: pydicom.Dataset) -> list[Image]:
    shared = (header.get("SharedFunctionalGroupsSequence") or [pydicom.Dataset()])[0]
    groups = header.PerFrameFunctionalGroupsSequence
    count = _whole(header, "NumberOfFrames", 1)
    if len(groups) != count:
        raise NotASlice("damaged (its frames and their descriptions differ in number)", _series(path, header))
    images = []
    for k, own in enumerate(groups):

        def macro(name: str, own: pydicom.Dataset = own) -> pydicom.Dataset:
            found = own.get(name) or shared.get(name)
            return found[0] if found else pydicom.Dataset()

        content, modality = macro("FrameContentSequence"), str(header.Modality)
        kind = macro({"MR": "MRImageFrameTypeSequence", "PT": "PETFrameTypeSequence"}.get(modality, CT_FRAMES))
        types = _text(kind.get("FrameType"))
        if _judged(modality, types, ""):
            continue
        described: dict[str, Any] = {
            "ImagePositionPatient": macro("PlanePositionSequence").get("ImagePositionPatient"),
            "ImageOrientationPatient": macro("PlaneOrientationSequence").get("ImageOrientationPatient"),
            "PixelSpacing": macro("PixelMeasuresSequence").get("PixelSpacing"),
            "SliceThickness": macro("PixelMeasuresSequence").get("SliceThickness"),
            "ConvolutionKernel": macro("CTReconstructionSequence").get("ConvolutionKernel"),
            "AcquisitionNumber": content.get("FrameAcquisitionNumber"),
            "AcquisitionDateTime": content.get("FrameAcquisitionDateTime"),
            "KVP": macro("CTXRayDetailsSequence").get("KVP"),
            "EchoTime": macro("MREchoSequence").get("EffectiveEchoTime"),
            "DiffusionBValue": macro("MRDiffusionSequence").get("DiffusionBValue"),
            "stack": "|".join(str(v) for v in (content.get("StackID"), content.get("TemporalPositionIndex"), types)),
            "InstanceNumber": None,
        }
        values = macro("PixelValueTransformationSequence")
        for name in ("RescaleSlope", "RescaleIntercept", "RescaleType"):
            described[name] = values.get(name)
        images.append(_image(path, header, described, k, count))
    if not images:
        raise NotASlice("without a frame that is a slice")
    return images


def _image(path: Path, header: pydicom.Dataset, described: dict[str, Any], frame: int, frames: int) -> Image:
    series, modality = _series(path, header), str(header.Modality)

    def wrong(what: str) -> NotASlice:
        return NotASlice(what, series)

    def value(name: str) -> Any:
        try:
            return described[name] if name in described else header.get(name)
        except Exception:  # pydicom converts text to numbers here, and raises whatever it leads to
            raise wrong(f"with an unreadable {_spelt(name)}") from None

    def numbers(name: str, count: int) -> tuple[float, ...]:
        """Of a value with so many parts. A type that keeps all of them in one text is read too."""
        found = value(name)
        parts = found.split("\\") if isinstance(found, str) else found if count > 1 else [found]
        try:
            read = tuple(float(part) for part in parts)
        except (TypeError, ValueError):
            raise wrong(f"with an unreadable {_spelt(name)}") from None
        if len(read) != count or not all(map(math.isfinite, read)):
            raise wrong(f"with an unreadable {_spelt(name)}")
        return read

    def number(name: str) -> float | None:
        return None if str(value(name) if value(name) is not None else "").strip() == "" else numbers(name, 1)[0]

    for name in ("ImagePositionPatient", "ImageOrientationPatient"):
        if not value(name):
            raise wrong("without position or orientation")
    if not value("PixelSpacing"):
        raise wrong("without pixel spacing")
    if modality == "CT" and (reason := not_hu("", str(value("RescaleType") or ""), "")):
        raise NotASlice(reason)
    at, turn = numbers("ImagePositionPatient", 3), numbers("ImageOrientationPatient", 6)
    between_rows, between_columns = numbers("PixelSpacing", 2)
    across, down = np.array(turn[:3]), np.array(turn[3:])
    if abs(np.linalg.norm(across) - 1) > 1e-2 or abs(np.linalg.norm(down) - 1) > 1e-2 or abs(across @ down) > 1e-2:
        raise wrong("damaged (its orientation is no pair of perpendicular directions)")
    if not (0.01 <= between_rows <= 100 and 0.01 <= between_columns <= 100) or np.abs(at).max() > 1e5:
        raise wrong("damaged (impossible spacing or position)")
    if modality == "CT" and np.abs(np.cross(across, down)).argmax() != 2:
        raise NotASlice("a coronal or sagittal series, not axial")
    rows, columns = (_whole(header, name, 0) for name in ("Rows", "Columns"))
    if max(rows, columns) > LARGEST_SIDE:
        raise wrong(f"damaged (more than {LARGEST_SIDE} pixels a side)")
    signed = _whole(header, "PixelRepresentation", 0) == 1
    return Image(
        path=path,
        frame=frame,
        frames=frames,
        series=series,
        number=_plain(header, "SeriesNumber") or 0,
        stack=str(described.get("stack", "")),
        rows=rows,
        columns=columns,
        position_mm=at,
        across=tuple(across / np.linalg.norm(across)),
        down=tuple(down / np.linalg.norm(down)),
        spacing_mm=(between_rows, between_columns),
        slope=number("RescaleSlope"),
        intercept=number("RescaleIntercept"),
        padding=_padding(header, signed),
        inverted=header.get("PhotometricInterpretation") == "MONOCHROME1",
        bits=_whole(header, "BitsStored", 16),
        signed=signed,
        uid=str(header.get("SOPInstanceUID") or ""),
        told=_told(path, header, described),
        seconds=_seconds(header, described),
        instance=None if "InstanceNumber" in described else _plain(header, "InstanceNumber"),
        remark=remark(_text(header.get("ImageType")), _described(header)) if modality == "CT" else "",
        bare=getattr(header, "preamble", b"") is None,
        modality=modality,
    )


def _told(path: Path, header: pydicom.Dataset, described: dict[str, Any]) -> dict[str, str]:
    """What parts two CTs of one series; an empty text where the header says nothing that can be read."""

    def text(name: str) -> str:
        try:
            return _text(described[name] if name in described else header.get(name)).strip()
        except Exception:  # no reason to refuse a slice
            return ""

    thickness = text("SliceThickness")
    return {
        "patient": _digest(text("PatientID")),
        "name": _digest(re.sub(r"[\W_]+", "", text("PatientName").casefold())),
        "study": text("StudyInstanceUID"),
        "space": text("FrameOfReferenceUID"),
        "acquisition": text("AcquisitionNumber"),
        "thickness": thickness if re.fullmatch(r"\d*\.?\d+(e[+-]?\d+)?", thickness.lower()) else "",
        "kernel": text("ConvolutionKernel"),
        "phase": " ".join(filter(None, map(text, ("TemporalPositionIdentifier", "NominalPercentageOfCardiacPhase")))),
        "voltage": text("KVP"),
        "echo": text("EchoTime"),
        "diffusion": text("DiffusionBValue"),
        "number": text("SeriesNumber"),
        "type": text("ImageType"),
        "contrast": text("ContrastBolusAgent"),
        "folder": str(path.parent),
    }


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest() if text else ""


def _seconds(header: pydicom.Dataset, described: dict[str, Any]) -> float | None:
    both = str(described.get("AcquisitionDateTime") or header.get("AcquisitionDateTime") or "")
    both = both or f"{header.get('AcquisitionDate') or '20000101'}{header.get('AcquisitionTime') or ''}"
    try:
        return datetime.strptime(both[:14], "%Y%m%d%H%M%S").timestamp()  # differences alone count
    except (ValueError, OverflowError, OSError):
        return None


def _series(path: Path, header: pydicom.Dataset) -> str:
    return str(header.get("SeriesInstanceUID") or "") or f"without a UID in {path.parent}"


def _described(header: pydicom.Dataset) -> str:
    return " ".join(
        _text(header.get(name)) for name in ("SeriesDescription", "DerivationDescription", "ManufacturerModelName")
    )


def _spelt(name: str) -> str:
    """PixelSpacing -> Pixel Spacing (0028,0030), the field's name in the standard."""
    tag = pydicom.tag.Tag(name)
    return f"{dictionary_description(tag)} ({tag.group:04x},{tag.element:04x})"


def _text(value: Any) -> str:
    return "/".join(map(str, value)) if isinstance(value, (list, pydicom.multival.MultiValue)) else str(value or "")


def _plain(header: pydicom.Dataset, name: str) -> int | None:
    """A number that only orders or names; None where it is something else."""
    try:
        return int(header.get(name))
    except Exception:  # text, or whatever pydicom raises for it
        return None


def _whole(header: pydicom.Dataset, name: str, default: int) -> int:
    """Raises NotASlice if the field holds something else."""
    try:
        found = header.get(name)
        return default if found is None or str(found) == "" else int(found)
    except Exception:
        raise NotASlice(f"with an unreadable {_spelt(name)}", "") from None


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
