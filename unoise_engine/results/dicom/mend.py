"""What would make an object invalid, mended in the source's headers and said so, without ever quoting a value."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pydicom
from pydicom import config
from pydicom.charset import python_encoding
from pydicom.datadict import dictionary_VR
from pydicom.multival import MultiValue
from pydicom.tag import Tag
from pydicom.uid import (
    CTImageStorage,
    EnhancedCTImageStorage,
    EnhancedMRImageStorage,
    EnhancedPETImageStorage,
    MRImageStorage,
    PositronEmissionTomographyImageStorage,
)
from pydicom.valuerep import validate_value

from unoise_engine.results.dicom.slices import Slices
from unoise_engine.results.dicom.uids import stable_uid

PATIENT_AND_STUDY = (
    "PatientName", "PatientID", "PatientBirthDate", "PatientSex",
    "StudyDate", "StudyTime", "StudyID", "AccessionNumber", "ReferringPhysicianName",
)  # fmt: skip
# What the study's other objects may say beside that: of the same patient and study, so an archive that indexes the
# results keeps it. Comments and histories are left alone, and so is all that hides in sequences.
OPTIONAL = (
    "IssuerOfPatientID", "PatientBirthTime", "PatientAge", "PatientSize", "PatientWeight",
    "StudyDescription", "PhysiciansOfRecord", "NameOfPhysiciansReadingStudy",
    "PatientIdentityRemoved", "DeidentificationMethod", "SeriesDate", "SeriesTime", "BodyPartExamined",
)  # fmt: skip
TEXT = (
    "PatientName", "PatientID", "StudyID", "AccessionNumber", "ReferringPhysicianName", "IssuerOfPatientID",
    "StudyDescription", "PhysiciansOfRecord", "NameOfPhysiciansReadingStudy", "DeidentificationMethod",
)  # fmt: skip
SEVERAL = ("PhysiciansOfRecord", "NameOfPhysiciansReadingStudy", "DeidentificationMethod")  # values in one element
UNICODE = "ISO_IR 192"
LOSSY_METHOD = re.compile(r"ISO_\d+(_\d+)*")
USUAL = {  # of each modality that is read, the classes of single and of several frames
    "CT": (CTImageStorage, EnhancedCTImageStorage),
    "MR": (MRImageStorage, EnhancedMRImageStorage),
    "PT": (PositronEmissionTomographyImageStorage, EnhancedPETImageStorage),
}
SEXES = ("M", "F", "O", "")
# Of the standard's terms (PS3.16, annex L) those that are usual; other text may name anybody.
BODY_PARTS = (
    "ABDOMEN", "ABDOMENPELVIS", "CHEST", "CHESTABDOMEN", "CHESTABDPELVIS", "PELVIS", "NECKCHESTABDOMEN",
    "NECKCHESTABDPELV", "WHOLEBODY", "LIVER", "PANCREAS", "SPLEEN", "STOMACH", "SPINE", "TSPINE", "LSPINE",
    "HEAD", "BRAIN", "NECK", "CSPINE", "HEART", "BREAST", "KIDNEY", "PROSTATE", "UTERUS", "HIP", "KNEE", "SHOULDER",
)  # fmt: skip


def _is_uid(value: object) -> bool:
    # Numbers with a leading 0 break the rule but exist; an archive knows the study by them, so they stay.
    return bool(re.fullmatch(r"[0-9]+(\.[0-9]+)+", str(value or ""))) and len(str(value)) <= 64


def mend_uids(header: pydicom.Dataset, path: Path, notes: list[str]) -> None:
    """SOP class and instance UIDs: what the file's own preamble says, else made from the file's bytes."""
    if not _is_uid(header.get("SOPClassUID")):
        other = header.file_meta.get("MediaStorageSOPClassUID")
        kinds = USUAL.get(str(header.get("Modality")), USUAL["CT"])
        usual = kinds["PerFrameFunctionalGroupsSequence" in header]
        header.SOPClassUID = str(other) if _is_uid(other) else usual
        notes.append("SOP Class UID missing in the source: taken from the file's preamble")
    if not _is_uid(header.get("SOPInstanceUID")):
        other = header.file_meta.get("MediaStorageSOPInstanceUID")
        header.SOPInstanceUID = str(other) if _is_uid(other) else _uid_of(path)
        notes.append("SOP Instance UID missing in the source: taken from the file's preamble, or made from its bytes")


def _uid_of(path: Path) -> str:
    with path.open("rb") as f:
        return stable_uid("image", hashlib.file_digest(f, "sha256").hexdigest())


def mend_series(headers: list[pydicom.Dataset], files: Sequence[Path], notes: list[str]) -> None:
    """One study, series and frame of reference for all slices, and an own identity for each."""
    if len({str(h.SOPInstanceUID) for h in headers}) < len(set(files)):
        made_of = {path: _uid_of(path) for path in set(files)}
        for header, path in zip(headers, files):
            header.SOPInstanceUID = made_of[path]
        notes.append("several slices of the source share a SOP Instance UID: new ones made from their bytes")
    slices = list(dict.fromkeys(str(h.SOPInstanceUID) for h in headers))
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
    modality = str(headers[0].get("Modality"))
    for header in headers:
        header.Modality = modality if modality in USUAL else "CT"


def mend_thickness(headers: list[pydicom.Dataset], slices: Slices, notes: list[str]) -> None:
    if all(_positive(h, "SliceThickness") for h in headers):
        return
    notes.append("Slice Thickness missing in the source: the distance between slices was taken")
    gaps = np.linalg.norm(np.diff(slices.corners_mm, axis=0), axis=1)
    for header in headers:
        header.SliceThickness = round(float(np.median(gaps)), 3)


def _positive(header: pydicom.Dataset, keyword: str) -> bool:
    try:
        value = header.get(keyword)
        numbers = [float(v) for v in (value if isinstance(value, (list, MultiValue)) else [value or 0])]
    except (TypeError, ValueError):
        return False
    return all(0 < n < np.inf for n in numbers) and bool(numbers)


def mend_compression(headers: list[pydicom.Dataset], notes: list[str]) -> None:
    """What is said of lossy compression, as far as it is one of the standard's terms: other text may name anybody."""
    for header in headers:
        said = str(header.get("LossyImageCompression") or "")
        wrong = [] if said in ("00", "01", "") else ["LossyImageCompression"]
        if "LossyImageCompressionRatio" in header and not _positive(header, "LossyImageCompressionRatio"):
            wrong.append("LossyImageCompressionRatio")
        methods = header.get("LossyImageCompressionMethod") or ""
        methods = [methods] if isinstance(methods, str) else [str(m) for m in methods]
        if any(m and not LOSSY_METHOD.fullmatch(m) for m in methods):
            wrong.append("LossyImageCompressionMethod")
        for keyword in wrong:
            delattr(header, keyword)
            notes.append(f"{_spelt(keyword)} in the source breaks DICOM's rules for it: left out")


def mend_text(headers: list[pydicom.Dataset], notes: list[str]) -> None:
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


def mend_values(headers: list[pydicom.Dataset], notes: list[str]) -> None:
    """Empties what no valid object may hold, such as an accession number that is too long."""
    for header in headers:
        for keyword in (*PATIENT_AND_STUDY, *(k for k in OPTIONAL if k in header)):
            found = header.get(keyword)
            several = keyword in SEVERAL and isinstance(found, MultiValue)
            values = ["" if v is None else str(v) for v in (found if several else [found])]
            if keyword.endswith("Date"):  # as of 1985
                values = [v.replace(".", "") if re.fullmatch(r"\d{4}\.\d\d\.\d\d", v) else v for v in values]
            if not all(_valid(keyword, v) for v in values if v):
                notes.append(f"{_spelt(keyword)} in the source breaks DICOM's rules for it: left empty")
                values = [""]
            setattr(header, keyword, values if several and len(values) > 1 else values[0])
        if header.get("BodyPartExamined") not in BODY_PARTS:
            header.pop("BodyPartExamined", None)
        removed, how = header.get("PatientIdentityRemoved"), header.get("DeidentificationMethod")
        if removed != "YES" or not how:  # "YES" has to say how
            header.pop("DeidentificationMethod", None)
            if removed != "NO":
                header.pop("PatientIdentityRemoved", None)


def _spelt(keyword: str) -> str:
    return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", keyword)


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
