"""What the segmentation, the maps and the pictures have in common."""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import highdicom as hd
import numpy as np
import pydicom
from pydicom.sr.codedict import codes

from unoise_engine.ct.objects.origin import MANUFACTURER, Origin, short
from unoise_engine.ct.objects.source import Source

PIXELS = ("PixelData", "FloatPixelData")


@contextmanager
def quietly() -> Iterator[None]:
    """highdicom and pydicom quote values, which may be a patient's, in their warnings and logs."""
    logging.getLogger("highdicom").setLevel(logging.CRITICAL + 1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def equipment(origin: Origin) -> dict[str, Any]:
    """Who made it. The serial number is the model's hash: it tells two models of one name apart."""
    return {
        "manufacturer": MANUFACTURER,
        "manufacturer_model_name": short(origin.model),
        "software_versions": short(origin.engine_version),
        "device_serial_number": origin.model_hash,
    }


def algorithm(origin: Origin, name: str, result: str) -> hd.AlgorithmIdentificationSequence:
    chosen = {"model": origin.model, "sha256": origin.model_hash}
    if origin.parameters.get(result):
        chosen["settings"] = origin.parameters[result]
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
    for keyword in ("InstanceCreationDate", "InstanceCreationTime", "DateOfSecondaryCapture", "TimeOfSecondaryCapture"):
        if keyword in dataset:
            delattr(dataset, keyword)
    if "PerFrameFunctionalGroupsSequence" in dataset:
        dataset.ContentCreatorName = ""  # required, and nobody's
        _along_the_normal(dataset)
    for item in dataset.get("ContributingEquipmentSequence", []):
        item.pop("ContributionDateTime", None)
    dataset.ContentQualification = "RESEARCH"
    dimensions = origin.uid(source.uids, result, "dimensions")
    for keyword in ("DimensionOrganizationSequence", "DimensionIndexSequence"):
        for item in dataset.get(keyword, []):
            item.DimensionOrganizationUID = dimensions


def _along_the_normal(dataset: pydicom.Dataset) -> None:
    """Puts frames in the order of the slice normal, the first at the grid's origin.

    highdicom writes them against it. That is legal, but 3D Slicer's reader of parametric maps (dcmqi) takes the order
    of frames for granted and would show the map upside down.
    """
    frames = list(dataset.PerFrameFunctionalGroupsSequence)
    cosines = [
        float(v) for v in dataset.SharedFunctionalGroupsSequence[0].PlaneOrientationSequence[0].ImageOrientationPatient
    ]
    normal = np.cross(cosines[:3], cosines[3:])
    along = [float(np.dot(normal, [float(v) for v in f.PlanePositionSequence[0].ImagePositionPatient])) for f in frames]
    order = np.argsort(along)
    binary = dataset.get("BitsAllocated") == 1
    keyword = "PixelData" if binary else "FloatPixelData"
    stored = np.frombuffer(dataset[keyword].value, np.uint8)
    voxels = dataset.Rows * dataset.Columns
    if binary:
        bits = np.unpackbits(stored, count=len(frames) * voxels, bitorder="little").reshape(len(frames), voxels)[order]
        packed = np.packbits(bits, bitorder="little").tobytes()
        setattr(dataset, keyword, packed + b"\0" * (len(packed) % 2))
    else:
        setattr(dataset, keyword, stored.reshape(len(frames), 4 * voxels)[order].tobytes())
    for place, frame in enumerate(order, start=1):
        content = frames[frame].FrameContentSequence[0]
        *others, _ = np.atleast_1d(content.DimensionIndexValues).tolist()
        content.DimensionIndexValues = [*others, place]
    dataset.PerFrameFunctionalGroupsSequence = [frames[k] for k in order]


def store(dataset: pydicom.Dataset, path: Path) -> None:
    """Writes to a temporary name, flushes, reads back, renames. Raises OSError if it cannot be written whole."""
    partial = path.with_name(f".{os.getpid()}-{path.name}")
    try:
        with quietly():
            with partial.open("wb") as f:
                dataset.save_as(f, enforce_file_format=True)
                f.flush()
                os.fsync(f.fileno())
            back = pydicom.dcmread(partial)
            if any(back.get(k) != dataset.get(k) for k in (*PIXELS, "SOPInstanceUID")):
                raise OSError(28, "the file does not read back as written; is the disk full?")
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)
