"""What the objects must repeat of the CT they are derived from: patient, study, frame of reference, slice geometry.

Only the attributes listed here are read, so nothing else of the source can reach an object. What would make an object
invalid is mended, and said so without ever quoting a value.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pydicom
from pydicom import config
from pydicom.tag import Tag

from unoise_engine.ct.objects.mend import (
    PATIENT_AND_STUDY,
    mend_series,
    mend_text,
    mend_thickness,
    mend_uids,
    mend_values,
)
from unoise_engine.ct.objects.slices import Slices
from unoise_engine.errors import CaseRefused

UIDS = ("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID")
REST = (
    "SpecificCharacterSet", "Modality", "Rows", "Columns", "PixelSpacing", "ImagePositionPatient",
    "ImageOrientationPatient", "SliceThickness", "NumberOfFrames", "PositionReferenceIndicator",
    "LossyImageCompression", "LossyImageCompressionRatio", "LossyImageCompressionMethod",
)  # fmt: skip
READ = (*PATIENT_AND_STUDY, *UIDS, *REST)
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
            mend_uids(header, path, notes)
        mend_series(read, files, notes)
        mend_thickness(read, slices, notes)
        mend_text(read, notes)
        mend_values(read, notes)
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
