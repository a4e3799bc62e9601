"""A small body whose HU are known at every point in space, written as a good CT - and with each fault planted in it.

`hu_at` is the truth: whatever a reader makes of a file, its voxels can be compared with it at their own places.
"""

from __future__ import annotations

import gzip
import struct
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import pydicom
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian, generate_uid

COLUMNS, ROWS, SLICES = 48, 40, 20
SPACING = (2.5, 2.5, 3.0)  # x, y, z in mm
ORIGIN = (-58.75, -48.75, -40.0)
CT_STORAGE = "1.2.840.10008.5.1.4.1.1.2"
CANARY = "Canary^Patient"  # stands in every file as the patient's name


def hu_at(points: np.ndarray) -> np.ndarray:
    """HU at points (..., 3) in LPS mm: a body in air with fat, a spine, and organs that differ from end to end."""
    x, y, z = points[..., 0], points[..., 1], points[..., 2]

    def inside(centre: Sequence[float], radii: Sequence[float]) -> np.ndarray:
        r = np.sqrt(sum(((p - c) / a) ** 2 for p, c, a in zip((x, y, z), centre, radii)))
        return 1 / (1 + np.exp(np.clip((r - 1) * min(radii) / 2.0, -50, 50)))  # soft over some 4 mm

    wide = 1e4
    hu = np.full(x.shape, -1000.0)
    for centre, radii, value in (
        ((0, 0, 0), (52, 42, wide), -100),  # fat
        ((0, 0, 0), (46, 36, wide), 40),  # muscle
        ((0, 26, 0), (9, 8, wide), 350),  # spine
        ((-22, -6, -25), (17, 17, 20), 110),  # liver: right, feet side
        ((24, 2, 5), (9, 13, 16), 180),  # spleen: left, head side
        ((2, -14, -5), (14, 7, 12), -60),  # something fatty in front
    ):
        share = inside(centre, radii)
        hu = hu * (1 - share) + value * share
    return hu + 8 * np.sin(x / 3) * np.cos(y / 4) + z / 4  # a texture, and a slope along the body


def world(size: Sequence[int], steps: np.ndarray, origin: Sequence[float] | np.ndarray) -> np.ndarray:
    """(z, y, x, 3) positions of voxels."""
    k, j, i = np.meshgrid(*(np.arange(n) for n in reversed(size)), indexing="ij")
    return np.stack([i, j, k], axis=-1) @ np.asarray(steps).T + np.asarray(origin)


def good_hu() -> np.ndarray:
    return np.rint(hu_at(world((COLUMNS, ROWS, SLICES), np.diag(SPACING), ORIGIN))).astype(np.int16)


def error_hu(voxels: np.ndarray, steps: np.ndarray, origin: Sequence[float]) -> float:
    """Mean difference from the truth over voxels that are not filled with air."""
    wrong = np.abs(voxels - hu_at(world(voxels.shape[::-1], steps, origin)))
    return float(wrong[voxels > -1020].mean())


# --- DICOM ------------------------------------------------------------------------------------------------------------


@dataclass
class Plane:
    """One slice to be written: where, what, and the header to be spoilt."""

    corner: np.ndarray
    across: np.ndarray
    down: np.ndarray
    dataset: Dataset
    name: str


Spoil = Callable[[list[Plane]], None]


def planes(
    places: Sequence[float] | np.ndarray | None = None, tilt: float = 0.0, series: str = "", number: int = 4
) -> list[Plane]:
    """Good axial slices at places along z; with `tilt` in degrees, slices turned about x on the same table."""
    angle = np.radians(tilt)
    across, down = np.array([1.0, 0, 0]), np.array([0, np.cos(angle), np.sin(angle)])
    uid, study, frame = series or generate_uid(), generate_uid(), generate_uid()
    heights = places if places is not None else [ORIGIN[2] + SPACING[2] * k for k in range(SLICES)]
    made = []
    for k, z in enumerate(heights):
        corner = np.array([ORIGIN[0], ORIGIN[1], z])
        ds = Dataset()
        ds.file_meta = FileMetaDataset()
        ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        ds.SOPClassUID, ds.SOPInstanceUID = CT_STORAGE, generate_uid()
        ds.StudyInstanceUID, ds.SeriesInstanceUID, ds.FrameOfReferenceUID = study, uid, frame
        ds.PatientName, ds.PatientID, ds.Modality = CANARY, CANARY, "CT"
        ds.ImageType, ds.SeriesNumber, ds.InstanceNumber = ["ORIGINAL", "PRIMARY", "AXIAL"], number, k + 1
        ds.ConvolutionKernel, ds.SliceThickness = "B30f", SPACING[2]
        ds.Rows, ds.Columns, ds.PixelSpacing = ROWS, COLUMNS, [SPACING[1], SPACING[0]]
        ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
        ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, 12, 11, 0
        ds.RescaleSlope, ds.RescaleIntercept, ds.RescaleType = 1, -1024, "HU"
        ds.ImageOrientationPatient = [round(float(v), 6) for v in (*across, *down)]
        ds.ImagePositionPatient = [round(float(v), 4) for v in corner]
        steps = np.column_stack([across * SPACING[0], down * SPACING[1], [0, 0, 1]])
        hu = hu_at(world((COLUMNS, ROWS, 1), steps, corner))[0]
        ds.PixelData = (np.rint(hu) + 1024).astype("<u2").tobytes()
        made.append(Plane(corner, across, down, ds, f"slice{k:03d}.dcm"))
    return made


def write(folder: Path, slices: list[Plane]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for one in slices:
        one.dataset.file_meta.MediaStorageSOPClassUID = one.dataset.SOPClassUID
        one.dataset.file_meta.MediaStorageSOPInstanceUID = one.dataset.SOPInstanceUID
        one.dataset.save_as(folder / one.name, enforce_file_format=True)
    return folder


def stored(one: Plane) -> np.ndarray:
    kind = "<i2" if one.dataset.PixelRepresentation else "<u2"
    return np.frombuffer(one.dataset.PixelData, kind).reshape(ROWS, COLUMNS).copy()


def compress(one: Plane, syntax: str, encode: Callable[[np.ndarray], bytes]) -> None:
    one.dataset.PixelData = pydicom.encaps.encapsulate([encode(stored(one))])
    one.dataset["PixelData"].VR = "OB"
    one.dataset.file_meta.TransferSyntaxUID = UID(syntax)


def enhanced(slices: list[Plane]) -> Plane:
    """The same slices as one enhanced multi-frame object."""
    ds = Dataset()
    ds.update(slices[0].dataset)
    ds.file_meta = slices[0].dataset.file_meta
    for name in ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "RescaleSlope", "RescaleIntercept"):
        delattr(ds, name)
    del ds.RescaleType, ds.ConvolutionKernel
    ds.SOPClassUID = "1.2.840.10008.5.1.4.1.1.2.1"
    ds.ImageType = ["ORIGINAL", "PRIMARY", "VOLUME", "NONE"]
    ds.NumberOfFrames = len(slices)

    def item(**values: object) -> list[Dataset]:
        one = Dataset()
        for name, value in values.items():
            setattr(one, name, value)
        return [one]

    first = slices[0].dataset
    shared = Dataset()
    shared.PixelMeasuresSequence = item(PixelSpacing=first.PixelSpacing, SliceThickness=SPACING[2])
    shared.PlaneOrientationSequence = item(ImageOrientationPatient=first.ImageOrientationPatient)
    shared.CTReconstructionSequence = item(ConvolutionKernel="B30f")
    ds.SharedFunctionalGroupsSequence = [shared]
    per_frame = []
    for one in slices:
        own = Dataset()
        own.PlanePositionSequence = item(ImagePositionPatient=one.dataset.ImagePositionPatient)
        own.PixelValueTransformationSequence = item(
            RescaleSlope=one.dataset.RescaleSlope, RescaleIntercept=one.dataset.RescaleIntercept, RescaleType="HU"
        )
        own.FrameContentSequence = item(StackID="1")
        per_frame.append(own)
    ds.PerFrameFunctionalGroupsSequence = per_frame
    ds.PixelData = b"".join(one.dataset.PixelData for one in slices)
    return Plane(slices[0].corner, slices[0].across, slices[0].down, ds, "enhanced.dcm")


# --- image files, written byte by byte so that any field can be spoilt ------------------------------------------------


def nifti(
    path: Path,
    voxels: np.ndarray | None = None,
    steps: np.ndarray | None = None,
    origin: Sequence[float] | np.ndarray = ORIGIN,
    dims: Sequence[int] | None = None,
    code: int | None = None,
    slope: float = 1.0,
    intercept: float = 0.0,
    sform: bool = True,
    qform_offset: Sequence[float] | None = None,
    magic: bytes = b"n+1\0",
    order: Literal["<", ">"] = "<",
    units: int = 2,
) -> Path:
    """A NIfTI-1 file; `steps` and `origin` in LPS. With `qform_offset` (RAS) also a qform, axes along the body's."""
    voxels = good_hu() if voxels is None else voxels
    steps = np.diag(SPACING) if steps is None else np.asarray(steps)
    codes = {"u1": 2, "i2": 4, "i4": 8, "f4": 16, "f8": 64, "u2": 512, "i1": 256, "u4": 768}
    kind = voxels.dtype.newbyteorder("=").str[1:]
    shape = list(dims or voxels.shape[::-1])
    header = bytearray(352)
    struct.pack_into(order + "i", header, 0, 348)
    struct.pack_into(order + "8h", header, 40, len(shape), *(shape + [1] * (7 - len(shape))))
    struct.pack_into(order + "2h", header, 70, codes[kind] if code is None else code, voxels.dtype.itemsize * 8)
    spacing = np.linalg.norm(steps, axis=0)
    struct.pack_into(order + "8f", header, 76, 1, *spacing, 1, 1, 1, 1)
    struct.pack_into(order + "3f", header, 108, 352, slope, intercept)
    header[123] = units
    ras = np.array([[-1], [-1], [1]]) * np.column_stack([steps, np.asarray(origin)])
    struct.pack_into(order + "2h", header, 252, int(qform_offset is not None), 2 * int(sform))
    if qform_offset is not None:  # the quaternion (0, 0, 1): turned by 180 degrees about z, as LPS is against RAS
        struct.pack_into(order + "6f", header, 256, 0, 0, 1, *qform_offset)
    struct.pack_into(order + "12f", header, 280, *ras.ravel())
    header[344:348] = magic
    content = bytes(header) + voxels.astype(voxels.dtype.newbyteorder(order)).tobytes()
    path.write_bytes(gzip.compress(content, 1) if path.name.endswith(".gz") else content)
    return path


def metaimage(path: Path, packed: bool = False, data: str = "LOCAL", **changed: str) -> Path:
    voxels = good_hu().astype("<i2").tobytes()
    body = zlib.compress(voxels, 1) if packed else voxels
    fields = {
        "ObjectType": "Image", "NDims": "3", "BinaryData": "True", "BinaryDataByteOrderMSB": "False",
        "CompressedData": str(packed), "TransformMatrix": "1 0 0 0 1 0 0 0 1", "Offset": " ".join(map(str, ORIGIN)),
        "ElementSpacing": " ".join(map(str, SPACING)), "DimSize": f"{COLUMNS} {ROWS} {SLICES}",
        "ElementType": "MET_SHORT",
    } | changed  # fmt: skip
    if packed:
        fields["CompressedDataSize"] = str(len(body))
    text = "".join(f"{k} = {v}\n" for k, v in fields.items() if v) + f"ElementDataFile = {data}\n"
    path.write_bytes(text.encode() + (body if data == "LOCAL" else b""))
    return path


def nrrd(path: Path, packed: bool = False, **changed: str) -> Path:
    voxels = good_hu().astype("<i2").tobytes()
    x, y, z = SPACING
    fields = {
        "type": "short", "dimension": "3", "space": "left-posterior-superior", "sizes": f"{COLUMNS} {ROWS} {SLICES}",
        "space directions": f"({x},0,0) (0,{y},0) (0,0,{z})", "kinds": "domain domain domain", "endian": "little",
        "encoding": "gzip" if packed else "raw", "space origin": "(" + ",".join(map(str, ORIGIN)) + ")",
    } | {k.replace("_", " "): v for k, v in changed.items()}  # fmt: skip
    text = "NRRD0004\n" + "".join(f"{k}: {v}\n" for k, v in fields.items() if v) + "\n"
    path.write_bytes(text.encode() + (gzip.compress(voxels, 1) if packed else voxels))
    return path
