"""What the objects must repeat of the CT they are derived from: patient, study, frame of reference, slice geometry.

Only the attributes listed here are read, so nothing else of the source can reach an object. What would make an object
invalid is mended, and said so without ever quoting a value.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pydicom
from pydicom import config
from pydicom.tag import Tag

from unoise_engine.errors import CaseRefused
from unoise_engine.results.dicom.mend import (
    OPTIONAL,
    PATIENT_AND_STUDY,
    mend_compression,
    mend_series,
    mend_text,
    mend_thickness,
    mend_uids,
    mend_values,
)
from unoise_engine.results.dicom.slices import Slices
from unoise_engine.volume.part10 import read_header

UIDS = ("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID")
IN_ARCHIVE = ("StudyInstanceUID", "SOPInstanceUID")  # by which it finds the study and the images
REST = (
    "SpecificCharacterSet", "Modality", "InstanceNumber", "Rows", "Columns", "PixelSpacing", "ImagePositionPatient",
    "ImageOrientationPatient", "SliceThickness", "PositionReferenceIndicator",
    "LossyImageCompression", "LossyImageCompressionRatio", "LossyImageCompressionMethod",
)  # fmt: skip
READ = (*PATIENT_AND_STUDY, *OPTIONAL, *UIDS, *REST)
SHARED, PER_FRAME = "SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"
FRAME_MACROS = {
    "PlanePositionSequence": ("ImagePositionPatient",),
    "PlaneOrientationSequence": ("ImageOrientationPatient",),
    "PixelMeasuresSequence": ("PixelSpacing", "SliceThickness"),
}
# Some 10 years before the first CT scanner: nobody takes it for the date of a study that has none.
NO_DATE, NO_TIME = "19600101", "000000"
PLACE_TOLERANCE_MM = 0.1
SPACING_TOLERANCE_MM = 1e-3


@dataclass(frozen=True)
class Source:
    """One small header for each slice along the CT's z axis, as of a single-frame image, and what had to be mended (a
    sentence each). `frames` counts a slice's frame within its file from 1; 0 is a file of one slice. `order` is each
    slice's place, from 1, in the series as the scanner numbered it. `orphaned`: the study or an image got a new UID, by
    which no archive knows it.
    """

    headers: tuple[pydicom.Dataset, ...]
    frames: tuple[int, ...]
    notes: tuple[str, ...] = ()
    order: tuple[int, ...] = ()
    orphaned: bool = False

    @property
    def names(self) -> tuple[str, ...]:
        """What tells the slices apart: their SOP Instance UIDs, with the frame if a file holds several."""
        return tuple(f"{h.SOPInstanceUID}{f'/{k}' if k else ''}" for h, k in zip(self.headers, self.frames))

    def part(self, some: slice) -> Source:
        return replace(self, headers=self.headers[some], frames=self.frames[some], order=self.order[some])

    def reference(self, k: int) -> pydicom.Dataset:
        """An item that refers to the image of a slice."""
        item = pydicom.Dataset()
        item.ReferencedSOPClassUID = self.headers[k].SOPClassUID
        item.ReferencedSOPInstanceUID = self.headers[k].SOPInstanceUID
        if self.frames[k]:
            item.ReferencedFrameNumber = self.frames[k]
        return item

    @property
    def moment(self) -> tuple[str, str]:
        """Date and time of the study. Objects are dated with what they show, not with the run: a second run then gives
        the same bytes, and no clock leaks into a de-identified object."""
        return str(self.headers[0].StudyDate or NO_DATE), str(self.headers[0].StudyTime or NO_TIME)


def twin(header: pydicom.Dataset) -> pydicom.Dataset:
    """A copy that can be changed without the original: that of copy.copy shares everything."""
    made = pydicom.Dataset()
    for element in header:
        made[element.tag] = copy.copy(element)
    return made


def read_source(images: Sequence[tuple[Path, int]], slices: Slices, source: object) -> Source:
    """The headers of a CT's slices, mended. `images` are the file and, from 1, the frame of each slice; `source` names
    the case in messages.

    Raises CaseRefused: NOT_DICOM if the CT did not come as DICOM, NOT_ON_SLICES if results would lie elsewhere than the
    files' own headers say, UNREADABLE.
    """
    cure = "use --format nifti or nrrd"
    if not images:
        what = "did not come as DICOM images, to which DICOM results must refer"
        raise CaseRefused("NOT_DICOM", source, what, cure)
    files = [path for path, _ in images]
    with silent_pydicom():
        notes: list[str] = []
        opened = {path: _read(path, source) for path in dict.fromkeys(files)}
        known = {str(full.get(name) or "") for full in opened.values() for name in IN_ARCHIVE}
        for path, full in opened.items():
            mend_uids(full, path, notes)
        read = [_header(opened[path], frame) for path, frame in images]
        frames = tuple(frame if PER_FRAME in opened[path] else 0 for path, frame in images)
        if not _lie_there(read, slices):
            what = "was moved to another grid, so results do not lie on its slices"
            raise CaseRefused("NOT_ON_SLICES", source, what, cure)
        mend_series(read, files, notes)
        orphaned = any(str(header[name].value) not in known for header in read for name in IN_ARCHIVE)
        mend_thickness(read, slices, notes)
        mend_compression(read, notes)
        mend_text(read, notes)
        mend_values(read, notes)
    for header in read:
        header.PositionReferenceIndicator = ""  # required, but may be empty, and it is free text
    return Source(tuple(read), frames, tuple(dict.fromkeys(notes)), _order(read, frames), orphaned)


def _order(headers: list[pydicom.Dataset], frames: tuple[int, ...]) -> tuple[int, ...]:
    """By instance number, then frame; as they lie if the numbers do not tell the slices apart."""
    keys = [(number(h), frame) for h, frame in zip(headers, frames)]
    if any(n is None for n, _ in keys) or len(set(keys)) < len(keys):
        return tuple(range(1, len(keys) + 1))
    places = {key: place for place, key in enumerate(sorted(keys), start=1)}
    return tuple(places[key] for key in keys)


def number(header: pydicom.Dataset) -> int | None:
    """The Instance Number, if it is one."""
    try:
        return int(header.InstanceNumber)
    except (AttributeError, TypeError, ValueError):
        return None


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
        return read_header(path, [*READ, SHARED, PER_FRAME])
    except Exception as error:
        what = f"{path.name} cannot be read again ({type(error).__name__})"
        raise CaseRefused("UNREADABLE", source, what, "check the file") from None


def _header(full: pydicom.Dataset, frame: int) -> pydicom.Dataset:
    """One slice's header: a file's, or what a multi-frame file says of one frame, in the same attributes."""
    header = pydicom.Dataset()
    header.file_meta = full.file_meta
    for keyword in READ:
        tag = Tag(keyword)
        if tag in full:
            # Text is still raw, and decoded once its character set is known.
            header[tag] = copy.copy(full.get_item(tag))
    if PER_FRAME in full:
        groups = (full[PER_FRAME].value[frame - 1], *(full.get(SHARED) or [])[:1])
        for macro, keywords in FRAME_MACROS.items():
            for group in reversed(groups):  # what is said of the frame itself counts
                for item in (group.get(macro) or [])[:1]:
                    for keyword in keywords:
                        if keyword in item:
                            header[Tag(keyword)] = copy.copy(item[keyword])
    return header


def _lie_there(headers: list[pydicom.Dataset], slices: Slices) -> bool:
    if len(headers) != len(slices.corners_mm):
        return False
    spacing = np.linalg.norm(slices.down_mm), np.linalg.norm(slices.across_mm)  # between rows, then between columns
    cosines = np.concatenate([slices.across_mm / spacing[1], slices.down_mm / spacing[0]])
    for h, corner in zip(headers, slices.corners_mm):
        if (
            (int(h.Columns), int(h.Rows)) != tuple(slices.size)
            or np.abs(corner - [float(v) for v in h.ImagePositionPatient]).max() > PLACE_TOLERANCE_MM
            or np.abs(cosines - [float(v) for v in h.ImageOrientationPatient]).max() > 1e-3
            or np.abs(np.subtract(spacing, [float(v) for v in h.PixelSpacing])).max() > SPACING_TOLERANCE_MM
        ):
            return False
    return True
