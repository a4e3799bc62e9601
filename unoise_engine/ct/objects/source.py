"""What the objects must repeat of the CT they are derived from: patient, study, frame of reference, slice geometry.

Only the attributes listed here are read, so nothing else of the source can reach an object. What would make an object
invalid is mended, and said so without ever quoting a value.
"""

from __future__ import annotations

import hashlib
import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pydicom
from pydicom import config
from pydicom.charset import python_encoding
from pydicom.datadict import dictionary_VR
from pydicom.tag import Tag
from pydicom.uid import CTImageStorage
from pydicom.valuerep import validate_value

from unoise_engine.ct.objects.slices import Slices
from unoise_engine.ct.objects.uids import stable_uid
from unoise_engine.errors import CaseRefused

PATIENT_AND_STUDY = (
    "PatientName", "PatientID", "PatientBirthDate", "PatientSex",
    "StudyDate", "StudyTime", "StudyID", "AccessionNumber", "ReferringPhysicianName",
)  # fmt: skip
UIDS = ("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID")
REST = (
    "SpecificCharacterSet", "Modality", "Rows", "Columns", "PixelSpacing", "ImagePositionPatient",
    "ImageOrientationPatient", "SliceThickness", "NumberOfFrames", "PositionReferenceIndicator",
    "LossyImageCompression", "LossyImageCompressionRatio", "LossyImageCompressionMethod",
)  # fmt: skip
READ = (*PATIENT_AND_STUDY, *UIDS, *REST)
TEXT = ("PatientName", "PatientID", "StudyID", "AccessionNumber", "ReferringPhysicianName")
UNICODE = "ISO_IR 192"
SEXES = ("M", "F", "O", "")
# Some 10 years before the first CT scanner: nobody takes it for the date of a study that has none.
NO_DATE, NO_TIME = "19600101", "000000"
PLACE_TOLERANCE_MM = 0.1
SPACING_TOLERANCE_MM = 1e-3


@dataclass(frozen=True)
class Source:
    """One small header for each slice along the CT's z axis, and what had to be mended (a sentence each)."""

    headers: tuple[pydicom.Dataset, ...]
    notes: tuple[str, ...] = ()

    @property
    def uids(self) -> tuple[str, ...]:
        return tuple(str(h.SOPInstanceUID) for h in self.headers)

    @property
    def moment(self) -> tuple[str, str]:
        """Date and time of the study. Objects are dated with what they show, not with the run: a second run then gives
        the same bytes, and no clock leaks into a de-identified object."""
        return str(self.headers[0].StudyDate or NO_DATE), str(self.headers[0].StudyTime or NO_TIME)


def read_source(files: Sequence[Path], slices: Slices, source: object) -> Source:
    """The headers of a CT's slices, mended. `source` names the case in messages.

    Raises CaseRefused: NOT_DICOM if the CT did not come as single-frame DICOM slices, NOT_ON_SLICES if results would
    lie elsewhere than the files' own headers say, UNREADABLE.
    """
    cure = "use --format nifti or nrrd"
    if not files or len(set(files)) != len(files):
        what = "did not come as single-frame DICOM slices, to which DICOM results must refer"
        raise CaseRefused("NOT_DICOM", source, what, cure)
    with silent_pydicom():
        read = [_read(path, source) for path in files]
        if not _lie_there(read, slices):
            what = "was moved to another grid, so results do not lie on its slices"
            raise CaseRefused("NOT_ON_SLICES", source, what, cure)
        notes: list[str] = []
        for header, path in zip(read, files):
            _mend_uids(header, path, notes)
        _mend_series(read, files, notes)
        _mend_thickness(read, slices, notes)
        _mend_text(read, notes)
        _mend_values(read, notes)
    for header in read:
        header.PositionReferenceIndicator = ""  # required, but may be empty, and it is free text
    return Source(tuple(read), tuple(dict.fromkeys(notes)))


@contextmanager
def silent_pydicom() -> Iterator[None]:
    """pydicom quotes values, which may be a patient's, in its warnings."""
    mode = config.settings.reading_validation_mode
    config.settings.reading_validation_mode = config.IGNORE
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        config.settings.reading_validation_mode = mode


def _read(path: Path, source: object) -> pydicom.Dataset:
    try:
        full = pydicom.dcmread(path, stop_before_pixels=True, specific_tags=list(READ))
    except Exception as error:
        what = f"{path.name} cannot be read again ({type(error).__name__})"
        raise CaseRefused("UNREADABLE", source, what, "check the file") from None
    header = pydicom.Dataset()
    header.file_meta = full.file_meta
    for keyword in READ:
        tag = Tag(keyword)
        if tag in full:
            header[tag] = full.get_item(tag)  # still raw: text is decoded once its character set is known
    return header


def _lie_there(headers: list[pydicom.Dataset], slices: Slices) -> bool:
    if len(headers) != len(slices.corners_mm):
        return False
    spacing = np.linalg.norm(slices.down_mm), np.linalg.norm(slices.across_mm)  # between rows, then between columns
    cosines = np.concatenate([slices.across_mm / spacing[1], slices.down_mm / spacing[0]])
    for h, corner in zip(headers, slices.corners_mm):
        if (
            (int(h.Columns), int(h.Rows)) != tuple(slices.size)
            or int(h.get("NumberOfFrames") or 1) != 1
            or np.abs(corner - [float(v) for v in h.ImagePositionPatient]).max() > PLACE_TOLERANCE_MM
            or np.abs(cosines - [float(v) for v in h.ImageOrientationPatient]).max() > 1e-3
            or np.abs(np.subtract(spacing, [float(v) for v in h.PixelSpacing])).max() > SPACING_TOLERANCE_MM
        ):
            return False
    return True


def _is_uid(value: object) -> bool:
    # Numbers with a leading 0 break the rule but exist; an archive knows the study by them, so they stay.
    return bool(re.fullmatch(r"[0-9]+(\.[0-9]+)+", str(value or ""))) and len(str(value)) <= 64


def _mend_uids(header: pydicom.Dataset, path: Path, notes: list[str]) -> None:
    """SOP class and instance UIDs: what the file's own preamble says, else made from the file's bytes."""
    if not _is_uid(header.get("SOPClassUID")):
        other = header.file_meta.get("MediaStorageSOPClassUID")
        header.SOPClassUID = str(other) if _is_uid(other) else CTImageStorage
        notes.append("SOP Class UID missing in the source: taken from the file's preamble")
    if not _is_uid(header.get("SOPInstanceUID")):
        other = header.file_meta.get("MediaStorageSOPInstanceUID")
        header.SOPInstanceUID = str(other) if _is_uid(other) else _uid_of(path)
        notes.append("SOP Instance UID missing in the source: taken from the file's preamble, or made from its bytes")


def _uid_of(path: Path) -> str:
    with path.open("rb") as f:
        return stable_uid("image", hashlib.file_digest(f, "sha256").hexdigest())


def _mend_series(headers: list[pydicom.Dataset], files: Sequence[Path], notes: list[str]) -> None:
    """One study, series and frame of reference for all slices, and an own identity for each."""
    if len({str(h.SOPInstanceUID) for h in headers}) < len(headers):
        for header, path in zip(headers, files):
            header.SOPInstanceUID = _uid_of(path)
        notes.append("several slices of the source share a SOP Instance UID: new ones made from their bytes")
    slices = [str(h.SOPInstanceUID) for h in headers]
    frame = headers[0].get("FrameOfReferenceUID")
    # Series scanned together share a frame of reference, so a study made from it holds them all.
    exam = str(frame) if _is_uid(frame) else "\n".join(slices)
    made = {
        "StudyInstanceUID": stable_uid("study", exam),
        "SeriesInstanceUID": stable_uid("series", *slices),
        "FrameOfReferenceUID": stable_uid("frame of reference", *slices),
    }
    for keyword, new in made.items():
        found = {str(h.get(keyword) or "") for h in headers}
        first = str(headers[0].get(keyword) or "")
        name = keyword.removesuffix("UID").replace("Instance", " Instance").replace("FrameOf", "Frame of ") + " UID"
        if not _is_uid(first):
            notes.append(f"{name} missing in the source: a stable one was made")
        elif len(found) > 1:
            notes.append(f"{name} differs between slices of the source: the first slice's was taken")
        for header in headers:
            setattr(header, keyword, first if _is_uid(first) else new)
    for header in headers:
        header.Modality = "CT"


def _mend_thickness(headers: list[pydicom.Dataset], slices: Slices, notes: list[str]) -> None:
    if all(float(h.get("SliceThickness") or 0) > 0 for h in headers):
        return
    notes.append("Slice Thickness missing in the source: the distance between slices was taken")
    gaps = np.linalg.norm(np.diff(slices.corners_mm, axis=0), axis=1)
    for header in headers:
        header.SliceThickness = round(float(np.median(gaps)), 3)


def _mend_text(headers: list[pydicom.Dataset], notes: list[str]) -> None:
    """Decodes the text by the source's character set; where that is missing, unknown or wrong, as UTF-8 or Latin-1."""
    for header in headers:
        named = header.get("SpecificCharacterSet")
        names = [named] if isinstance(named, str) else list(named or [])
        known = bool(names) and all(n in python_encoding for n in names) and any(names)
        raw = {k: bytes(header.get_item(Tag(k)).value or b"") for k in TEXT if Tag(k) in header}
        if "SpecificCharacterSet" in header and not known:
            notes.append("Specific Character Set is empty or unknown in the source: text is written as UTF-8")
        if known and _decodes(header):
            continue
        for keyword, value in raw.items():
            text = _guess(value)
            if not known and not text.isascii() and "SpecificCharacterSet" not in header:
                notes.append("Specific Character Set missing in the source though its text needs one: written as UTF-8")
            elif known:
                notes.append("text of the source does not fit its Specific Character Set: written as UTF-8")
            del header[Tag(keyword)]
            setattr(header, keyword, text)
        header.SpecificCharacterSet = UNICODE


def _decodes(header: pydicom.Dataset) -> bool:
    """Where bytes do not fit, pydicom puts the replacement character."""
    try:
        return not any("\ufffd" in str(header[Tag(k)].value) for k in TEXT if Tag(k) in header)
    except (ValueError, LookupError):
        return False


def _guess(value: bytes) -> str:
    for encoding in ("utf-8", "latin-1"):
        try:
            return value.decode(encoding).strip(" \0")
        except UnicodeDecodeError:
            continue
    return ""


def _mend_values(headers: list[pydicom.Dataset], notes: list[str]) -> None:
    """Empties what no valid object may hold, such as an accession number that is too long."""
    for header in headers:
        for keyword in PATIENT_AND_STUDY:
            found = header.get(keyword)
            value = "" if found is None else str(found)
            if keyword.endswith("Date"):
                value = value.replace(".", "") if re.fullmatch(r"\d{4}\.\d\d\.\d\d", value) else value  # as of 1985
            if value and not _valid(keyword, value):
                name = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", keyword)
                notes.append(f"{name} in the source breaks DICOM's rules for it: left empty")
                value = ""
            setattr(header, keyword, value)


def _valid(keyword: str, value: str) -> bool:
    vr = dictionary_VR(keyword)
    try:
        validate_value(vr, value, config.RAISE)
        if vr in ("DA", "TM"):
            {"DA": pydicom.valuerep.DA, "TM": pydicom.valuerep.TM}[vr](value)
    except (ValueError, TypeError):
        return False
    if "\\" in value or (vr == "DA" and len(value) != 8):
        return False
    return keyword != "PatientSex" or value in SEXES
