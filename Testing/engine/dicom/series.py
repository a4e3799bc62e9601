"""A CT series of a few slices, with all that a hospital writes into its headers."""

from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from pydicom.uid import CTImageStorage, EnhancedCTImageStorage, ExplicitVRLittleEndian

ROOT = "1.2.826.0.1.3680043.8.498"
IDENTITY = {
    "PatientName": "Muster^Maria",
    "PatientID": "ID-4711",
    "PatientBirthDate": "19501231",
    "PatientSex": "F",
    "StudyDate": "20240229",
    "StudyTime": "101112",
    "StudyID": "ST1",
    "AccessionNumber": "ACC1",
    "ReferringPhysicianName": "Doctor^Who",
}
UPRIGHT = (1, 0, 0, 0, 1, 0)
HEAD_FIRST = (-1, 0, 0, 0, 1, 0)  # the slice normal points to the feet
PRONE = (-1, 0, 0, 0, -1, 0)


def write_series(
    folder: Any,
    orientation: Any = UPRIGHT,
    slices: Any = 6,
    size: Any = 64,
    spacing: Any = 2.0,
    step: Any = 3.0,
    bright: Any = 180,
    **changes: Any,
) -> Any:
    """A body at 40 HU with a block at `bright` HU in its middle slices. `changes` set elements of every slice or, given
    None, delete them; `edit`, a function of a slice's data set, may change anything."""
    folder.mkdir(parents=True, exist_ok=True)
    edit = changes.pop("edit", None)
    cosines = np.array(orientation, float)
    normal = np.cross(cosines[:3], cosines[3:])
    for k in range(slices):
        hu = np.full((size, size), -1000, np.int16)
        hu[8:-8, 6:-6] = 40
        if slices // 3 <= k <= slices - 2:
            hu[20:36, 14 + k : 40] = bright
        hu[24 + k, 50] = 700  # tells slices and sides apart
        ds = pydicom.Dataset()
        ds.SpecificCharacterSet = "ISO_IR 100"
        for key, value in IDENTITY.items():
            setattr(ds, key, value)
        ds.SOPClassUID, ds.SOPInstanceUID = CTImageStorage, f"{ROOT}.7.{k + 1}"
        ds.StudyInstanceUID, ds.SeriesInstanceUID, ds.FrameOfReferenceUID = (f"{ROOT}.{n}" for n in (1, 2, 3))
        ds.PositionReferenceIndicator = ""
        ds.Modality, ds.Manufacturer, ds.SeriesNumber, ds.InstanceNumber = "CT", "Test", 3, k + 1
        ds.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
        ds.Rows = ds.Columns = size
        ds.PixelSpacing, ds.SliceThickness = [spacing, spacing], step
        ds.ImagePositionPatient = [round(float(v), 6) for v in np.array([-60.0, -70.0, 10.0]) + k * step * normal]
        ds.ImageOrientationPatient = [round(float(v), 9) for v in cosines]
        ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
        ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, 16, 15, 1
        ds.RescaleIntercept, ds.RescaleSlope, ds.RescaleType = 0, 1, "HU"
        ds.PixelData = hu.tobytes()
        ds.file_meta = pydicom.dataset.FileMetaDataset()
        ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        ds.file_meta.MediaStorageSOPClassUID = ds.SOPClassUID
        ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
        for key, value in changes.items():
            if value is None:
                delattr(ds, key)
            else:
                setattr(ds, key, value)
        if edit:
            edit(ds)
        # Names run against positions: the order of files must not matter.
        ds.preamble = b"\0" * 128
        ds.save_as(folder / f"{slices - k:03d}.dcm", enforce_file_format=False)  # faults are meant
    return folder


def write_enhanced(folder: Any, single: Any, files: Any = 1) -> Any:
    """The series in the folder `single` as enhanced multi-frame objects, its frames in no order and shared out among
    `files` objects of one series; returns the frames' places, [(file, frame from 1), ...] by source slice number."""
    folder.mkdir(parents=True)
    slices = sorted((pydicom.dcmread(p) for p in single.iterdir()), key=lambda d: int(d.InstanceNumber))
    order = np.random.default_rng(0).permutation(len(slices))
    places: dict[int, tuple[Path, int]] = {}
    for k, some in enumerate(np.array_split(order, files)):
        ds = pydicom.Dataset()
        ds.update({e.tag: e for e in slices[0] if e.keyword not in OF_A_FRAME})
        ds.SOPClassUID, ds.SOPInstanceUID = EnhancedCTImageStorage, f"{ROOT}.8.{k + 1}"
        ds.ImageType, ds.NumberOfFrames, ds.InstanceNumber = ["ORIGINAL", "PRIMARY", "VOLUME", "NONE"], len(some), k + 1
        ds.SharedFunctionalGroupsSequence = [groups(slices[0], "PixelMeasures", "PlaneOrientation")]
        own = [groups(slices[n], "PlanePosition", "PixelValueTransformation") for n in some]
        ds.PerFrameFunctionalGroupsSequence = own
        ds.PixelData = b"".join(slices[n].PixelData for n in some)
        ds.file_meta = pydicom.dataset.FileMetaDataset()
        ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        ds.save_as(folder / f"part{k}.dcm", enforce_file_format=True)
        places |= {int(n): (folder / f"part{k}.dcm", frame) for frame, n in enumerate(some, start=1)}
    return [places[n] for n in sorted(places)]


MACROS = {
    "PixelMeasures": ("PixelSpacing", "SliceThickness"),
    "PlaneOrientation": ("ImageOrientationPatient",),
    "PlanePosition": ("ImagePositionPatient",),
    "PixelValueTransformation": ("RescaleSlope", "RescaleIntercept", "RescaleType"),
}
OF_A_FRAME = {"PixelData", *(keyword for keywords in MACROS.values() for keyword in keywords)}


def groups(ds: Any, *names: Any) -> Any:
    made = pydicom.Dataset()
    for name in names:
        item = pydicom.Dataset()
        for keyword in MACROS[name]:
            setattr(item, keyword, ds[keyword].value)
        setattr(made, f"{name}Sequence", [item])
    return made
