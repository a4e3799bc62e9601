"""What the segmentation, the maps and the pictures have in common."""

from __future__ import annotations

import hashlib
import logging
import math
import os
import struct
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import highdicom as hd
import numpy as np
import pydicom
from highdicom.base_content import ContributingEquipment
from pydicom.sr.codedict import codes
from pydicom.uid import CTImageStorage

from unoise_engine.files import new_file
from unoise_engine.results.dicom.anatomy import PRIVATE_SCHEME, body_part
from unoise_engine.results.dicom.mend import OPTIONAL
from unoise_engine.results.dicom.origin import MANUFACTURER, Origin, short
from unoise_engine.results.dicom.source import Source, twin

PIXELS = ("PixelData", "FloatPixelData")
STAND_IN = "2.25."


@contextmanager
def quietly() -> Iterator[None]:
    """highdicom and pydicom quote values, which may be a patient's, in their warnings and logs."""
    logging.getLogger("highdicom").setLevel(logging.CRITICAL + 1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def equipment(origin: Origin) -> dict[str, Any]:
    """Who made it, and the algorithm once more among the contributing equipment, where IHE's AI Results look for it.

    The serial number is the model's hash: it tells two models of one name apart.
    """
    made_by = {
        "manufacturer": MANUFACTURER,
        "manufacturer_model_name": short(origin.model),
        "software_versions": short(origin.engine_version),
        "device_serial_number": origin.model_hash,
    }
    item = ContributingEquipment(
        purpose_of_reference=codes.DCM.ProcessingEquipment,
        contribution_description=short(f"finds the {origin.organ} and shows what mattered to it", 256),
        **made_by,
    )
    return {**made_by, "contributing_equipment": [item]}


def algorithm(origin: Origin, name: str, result: str) -> hd.AlgorithmIdentificationSequence:
    chosen = {"model": origin.model, "sha256": origin.model_hash}
    if settings := origin.parameters().get(result):
        chosen["settings"] = settings
    return hd.AlgorithmIdentificationSequence(
        name=short(name),
        family=codes.cid7162.ArtificialIntelligence,
        version=short(origin.engine_version),
        source=MANUFACTURER,
        parameters={key: short(value, 256) for key, value in chosen.items()},
    )


def finish(dataset: pydicom.Dataset, source: Source, origin: Origin, result: str) -> None:
    """Takes the clock and chance out of an object: dates come from the source, UIDs from what the object is made of."""
    dataset.ContentDate, dataset.ContentTime = source.moment
    for keyword in OPTIONAL:
        dataset.pop(keyword, None)
        if keyword in source.headers[0]:
            dataset[keyword] = source.headers[0][keyword]
    dataset.setdefault("BodyPartExamined", body_part(origin.organ))
    for keyword in ("InstanceCreationDate", "InstanceCreationTime", "DateOfSecondaryCapture", "TimeOfSecondaryCapture"):
        if keyword in dataset:
            delattr(dataset, keyword)
    if "PerFrameFunctionalGroupsSequence" in dataset:
        dataset.ContentCreatorName = ""  # required, and nobody's
        _refer(dataset, source)
    for item in dataset.get("ContributingEquipmentSequence", []):
        item.pop("ContributionDateTime", None)
    dataset.ContentQualification = "RESEARCH"
    dimensions = origin.uid(source.names, result, "dimensions")
    for keyword in ("DimensionOrganizationSequence", "DimensionIndexSequence"):
        for item in dataset.get(keyword, []):
            item.DimensionOrganizationUID = dimensions


def declare_scheme(dataset: pydicom.Dataset) -> None:
    """Says whose the codes of our own scheme are."""
    item = pydicom.Dataset()
    item.CodingSchemeDesignator = PRIVATE_SCHEME
    item.CodingSchemeName = "U-Noise for CT, private codes"
    item.CodingSchemeResponsibleOrganization = MANUFACTURER
    dataset.CodingSchemeIdentificationSequence = [item]


def stand_ins(source: Source) -> list[pydicom.Dataset]:
    """Headers for highdicom, which makes all of an object but its pixels of them: of single-frame images of one pixel,
    called 2.25.1, 2.25.2, ... `finish` puts the true references in their place, and `store` the true pixels."""
    made = []
    for k, header in enumerate(source.headers, start=1):
        one = twin(header)
        one.SOPClassUID, one.SOPInstanceUID = CTImageStorage, f"{STAND_IN}{k}"
        one.Rows = one.Columns = 1
        made.append(one)
    return made


def _slice_of(reference: pydicom.Dataset) -> int:
    """Counted from 0, by the name of the stand-in that is referred to."""
    return int(reference.ReferencedSOPInstanceUID.removeprefix(STAND_IN)) - 1


def _refer(dataset: pydicom.Dataset, source: Source) -> None:
    """True references, and frames in the order of the source's slices: along their normal, the first at the grid's
    origin.

    highdicom writes them against it. That is legal, but 3D Slicer's reader of parametric maps (dcmqi) takes the order
    of frames for granted and would show the map upside down.
    """
    frames: dict[int, pydicom.Dataset] = {}
    for frame in dataset.PerFrameFunctionalGroupsSequence:
        for derivation in frame.DerivationImageSequence:
            for item in derivation.SourceImageSequence:
                k = _slice_of(item)
                frames[k] = frame
                item.update(source.reference(k))
    dataset.PerFrameFunctionalGroupsSequence = [frames[k] for k in sorted(frames)]
    for place, frame in enumerate(dataset.PerFrameFunctionalGroupsSequence, start=1):
        content = frame.FrameContentSequence[0]
        *others, _ = np.atleast_1d(content.DimensionIndexValues).tolist()
        content.DimensionIndexValues = [*others, place]
    for series in dataset.ReferencedSeriesSequence:
        items: dict[str, pydicom.Dataset] = {}  # one an instance, however many of its frames are meant
        for item in series.ReferencedInstanceSequence:
            wanted = source.reference(_slice_of(item))
            wanted.pop("ReferencedFrameNumber", None)
            item.update(wanted)
            items.setdefault(str(item.ReferencedSOPInstanceUID), item)
        series.ReferencedInstanceSequence = list(items.values())


@dataclass(frozen=True)
class Pixels:
    """The pixels of an object that is made without them: (rows, columns) each, as values or as bits."""

    frames: Iterable[np.ndarray]
    count: int
    shape: tuple[int, int]
    binary: bool

    @property
    def length(self) -> int:
        """Of the element's value, which is padded to an even number."""
        each = math.prod(self.shape)
        whole = -(-self.count * each // 8) if self.binary else 4 * self.count * each
        return whole + whole % 2

    @property
    def element(self) -> bytes:
        """Tag, representation and length, explicit and little-endian."""
        tag, vr = ((0x7FE0, 0x0010), b"OB") if self.binary else ((0x7FE0, 0x0008), b"OF")
        return struct.pack("<HH2sHI", *tag, vr, 0, self.length)

    def pieces(self) -> Iterator[bytes]:
        """The value, frame by frame; the bits of a frame begin where those of the last one end."""
        left, written = np.zeros(0, bool), 0
        for frame in self.frames:
            if self.binary:
                bits = np.concatenate([left, np.ascontiguousarray(frame).ravel() != 0])
                whole = len(bits) // 8 * 8
                piece, left = np.packbits(bits[:whole], bitorder="little").tobytes(), bits[whole:]
            else:
                piece = np.ascontiguousarray(frame, "<f4").tobytes()
            written += len(piece)
            yield piece
        last = np.packbits(left, bitorder="little").tobytes()
        yield last + b"\0" * (self.length - written - len(last))


def store(dataset: pydicom.Dataset, path: Path, pixels: Pixels | None = None) -> None:
    """Writes to a temporary name, flushes, reads back, renames. Raises OSError if it cannot be written whole.

    With `pixels` the dataset's own are replaced.
    """
    if pixels:
        for keyword in PIXELS:
            dataset.pop(keyword, None)
        dataset.Rows, dataset.Columns = pixels.shape
        dataset.NumberOfFrames = pixels.count
    elif len(dataset.PixelData) % 2:
        dataset.PixelData += b"\0"
    digest = hashlib.sha256()
    with new_file(path) as draft, quietly():
        with draft.path.open("wb") as f:
            dataset.save_as(f, enforce_file_format=True)
            start = f.tell()
            for piece in [pixels.element] if pixels else []:
                f.write(piece)
            for piece in pixels.pieces() if pixels else ():
                digest.update(piece)
                f.write(piece)
            f.flush()
            os.fsync(f.fileno())
        if not _reads_back(draft.path, dataset, pixels, start, digest.digest()):
            raise OSError(28, "the file does not read back as written; is the disk full?")


def _reads_back(path: Path, dataset: pydicom.Dataset, pixels: Pixels | None, start: int, digest: bytes) -> bool:
    back = pydicom.dcmread(path, stop_before_pixels=pixels is not None)
    if back.get("SOPInstanceUID") != dataset.SOPInstanceUID:
        return False
    if pixels is None:
        return bool(back.PixelData == dataset.PixelData)
    found = hashlib.sha256()
    with path.open("rb") as f:
        f.seek(start)
        if f.read(12) != pixels.element:
            return False
        while piece := f.read(1 << 20):
            found.update(piece)
        return found.digest() == digest and f.tell() == start + 12 + pixels.length
