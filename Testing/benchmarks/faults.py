"""Faults, each planted in a good CT whose HU are known at every point. fault_table.py has readers try them."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from Testing.engine.volume.planted import (
    COLUMNS,
    ORIGIN,
    ROWS,
    SPACING,
    Plane,
    enhanced,
    good_hu,
    hu_at,
    metaimage,
    nifti,
    nrrd,
    planes,
    stored,
    world,
    write,
)  # fmt: skip


@dataclass(frozen=True)
class Fault:
    row: str  # of the catalogue
    name: str
    plant: Callable[[Path], Path]  # writes into a folder, returns what to read
    dicom: bool = True
    hopeless: bool = False  # no volume can be right: to deliver one is wrong
    volumes: int = 1


def series(spoil: Callable[[list[Plane]], list[Plane] | None], **made: Any) -> Callable[[Path], Path]:
    def plant(folder: Path) -> Path:
        slices = planes(**made)
        return write(folder / "ct", spoil(slices) or slices)

    return plant


def each(change: Callable[[Plane], object], which: slice = slice(None)) -> Callable[[Path], Path]:
    def spoil(slices: list[Plane]) -> None:
        for one in slices[which]:
            change(one)

    return series(spoil)


def tag(name: str, value: object) -> Callable[[Plane], object]:
    return lambda one: setattr(one.dataset, name, value)


def pixels(change: Callable[[np.ndarray], np.ndarray]) -> Callable[[Plane], object]:
    def spoil(one: Plane) -> None:
        one.dataset.PixelData = change(stored(one)).tobytes()

    return spoil


def extra(change: Callable[[Plane], object], at: int = 6) -> Callable[[Path], Path]:
    """The good series, and one more file of the same series."""

    def spoil(slices: list[Plane]) -> list[Plane]:
        one = planes(series=str(slices[0].dataset.SeriesInstanceUID))[at]
        for keyword in ("StudyInstanceUID", "FrameOfReferenceUID"):
            setattr(one.dataset, keyword, slices[0].dataset[keyword].value)
        one.name = "more.dcm"
        change(one)
        return [*slices, one]

    return series(spoil)


def localizer(one: Plane) -> None:
    one.dataset.ImageType = ["ORIGINAL", "PRIMARY", "LOCALIZER"]
    one.dataset.ImageOrientationPatient = [1, 0, 0, 0, 0, -1]
    one.dataset.ImagePositionPatient = [ORIGIN[0], 0, 60]


def own_intercept(one: Plane) -> None:
    pixels(lambda a: a + np.uint16(24))(one)
    one.dataset.RescaleIntercept = -1048


def no_rescale(one: Plane) -> None:
    del one.dataset.RescaleSlope, one.dataset.RescaleIntercept


def padded(one: Plane) -> None:
    values = stored(one).astype("<i2")
    values[:4] = -2000
    ds = one.dataset
    ds.PixelRepresentation, ds.BitsStored, ds.HighBit, ds.PixelPaddingValue = 1, 16, 15, -2000
    ds["PixelPaddingValue"].VR, ds.PixelData = "SS", values.tobytes()


def wrapped(one: Plane) -> None:
    """Signed HU whose header calls them unsigned."""
    ds = one.dataset
    ds.PixelData = (stored(one).astype(int) - 1024).astype("<i2").tobytes()
    ds.BitsStored, ds.HighBit, ds.RescaleIntercept = 16, 15, 0


def two_kernels(slices: list[Plane]) -> list[Plane]:
    other = planes(series=str(slices[0].dataset.SeriesInstanceUID))
    for k, one in enumerate(other):
        one.name, one.dataset.ConvolutionKernel = f"sharp{k:03d}.dcm", "B70f"
    return slices + other


def two_patients(slices: list[Plane]) -> list[Plane]:
    """Another study of another patient, who lies just above the first as if they were one long body."""
    top = ORIGIN[2] + SPACING[2] * len(slices)
    other = planes([top + SPACING[2] * k for k in range(len(slices))], series=str(slices[0].dataset.SeriesInstanceUID))
    for one in other:
        one.name, one.dataset.PatientID, one.dataset.PatientName = f"other-{one.name}", "Other", "Other"
    return slices + other


def two_stacks(**tags: object) -> Callable[[list[Plane]], list[Plane]]:
    """The body again, half a step further up, 60 HU brighter, in the same series: with some tags of its own."""

    def spoil(slices: list[Plane]) -> list[Plane]:
        other = planes([ORIGIN[2] + SPACING[2] * (k + 0.5) for k in range(len(slices))])
        for k, one in enumerate(other):
            for keyword in ("StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID"):
                setattr(one.dataset, keyword, slices[0].dataset[keyword].value)
            one.name, one.dataset.InstanceNumber = f"more{k:03d}.dcm", len(slices) + k + 1
            for name, value in tags.items():
                setattr(one.dataset, name, value)
        return slices + other

    return spoil


def numbered(keyword: str, value: Callable[[int], object]) -> Callable[[Path], Path]:
    """A field that has another value from slice to slice."""

    def spoil(slices: list[Plane]) -> None:
        for k, one in enumerate(slices):
            setattr(one.dataset, keyword, value(k))

    return series(spoil)


def raw_data(one: Plane) -> None:
    one.dataset.SOPClassUID = "1.2.840.10008.5.1.4.1.1.66"
    for name in ("Rows", "Columns", "PixelData", "ImagePositionPatient"):
        delattr(one.dataset, name)


def deflated_bomb(folder: Path) -> Path:
    """A slice of 300 kB that inflates to 300 MB, its syntax named behind 4 kB of private meta information."""
    write(folder / "ct", planes())
    path = folder / "ct" / "slice008.dcm"
    content = path.read_bytes()
    start = 144 + int.from_bytes(content[140:144], "little")
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    packed = packer.compress(content[start:] + struct.pack("<HH2sHI", 0x7FE1, 0x1001, b"OB", 0, 300 << 20))
    packed += b"".join(packer.compress(bytes(1 << 20)) for _ in range(300)) + packer.flush()
    uid = b"1.2.840.10008.1.2.1.99"
    meta = struct.pack("<HH2sHI", 2, 1, b"OB", 0, 4096) + bytes(4096)
    meta += struct.pack("<HH2sH", 2, 0x10, b"UI", len(uid)) + uid
    path.write_bytes(content[:132] + struct.pack("<HH2sHI", 2, 0, b"UL", 4, len(meta)) + meta + packed)
    return folder / "ct"


def decimal_comma(folder: Path) -> Path:
    write(folder / "ct", planes())
    for path in (folder / "ct").iterdir():
        path.write_bytes(path.read_bytes().replace(b"DS\x08\x002.5\\2.5 ", b"DS\x08\x002,5\\2,5 "))
    return folder / "ct"


def without_preamble(folder: Path) -> Path:
    write(folder / "ct", planes())
    for k in (8, 19):
        path = folder / "ct" / f"slice{k:03d}.dcm"
        (folder / "ct" / f"IM{k}").write_bytes(path.read_bytes()[132:])
        path.unlink()
    return folder / "ct"


def tilted(slices: list[Plane]) -> list[Plane]:
    return planes(tilt=18)


def uneven(slices: list[Plane]) -> list[Plane]:
    return planes(list(np.cumsum([ORIGIN[2]] + [2.0] * 12 + [5.0] * 7)))


def sideways(slices: list[Plane]) -> None:
    for one in slices[8:12]:
        x, y, z = one.dataset.ImagePositionPatient
        one.dataset.ImagePositionPatient = [float(x) + 10, y, z]
        # the pixels stay: the header moved four slices


def cut_file(folder: Path) -> Path:
    write(folder / "ct", planes())
    victim = folder / "ct" / "slice008.dcm"
    victim.write_bytes(victim.read_bytes()[:-1900])
    return folder / "ct"


def empty_file(folder: Path) -> Path:
    write(folder / "ct", planes())
    (folder / "ct" / "slice008.dcm").write_bytes(b"")
    return folder / "ct"


def cut_in_its_header(which: slice) -> Callable[[Path], Path]:
    def plant(folder: Path) -> Path:
        slices = planes()
        write(folder / "ct", slices)
        for one in slices[which]:
            path = folder / "ct" / one.name
            path.write_bytes(path.read_bytes()[:500])
        return folder / "ct"

    return plant


def cut(path: Path, share: float = 0.6) -> Path:
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    return path


def sheared(folder: Path) -> Path:
    steps = np.diag(SPACING).astype(float)
    steps[1, 2] = 1.0
    hu = np.rint(hu_at(world((COLUMNS, ROWS, 20), steps, ORIGIN))).astype("i2")
    return nifti(folder / "ct.nii.gz", hu, steps=steps)


def with_nan(folder: Path) -> Path:
    """Outside the scanner's round field of view, as some exporters write it."""
    hu = good_hu().astype("f4")
    y, x = np.mgrid[-1 : 1 : ROWS * 1j, -1 : 1 : COLUMNS * 1j]
    hu[:, np.hypot(x, y) > 1.05] = np.nan
    return nifti(folder / "ct.nii.gz", hu)


def outside(folder: Path) -> Path:
    """A volume of somebody else, pointed at from the case's folder."""
    (folder / "secret.raw").write_bytes(good_hu().astype("<i2").tobytes())
    (folder / "case").mkdir()
    return metaimage(folder / "case" / "ct.mhd", data="../secret.raw")


def apart(folder: Path) -> Path:
    return nifti(folder / "ct.nii.gz", qform_offset=(-ORIGIN[0] + 40, -ORIGIN[1], ORIGIN[2]), origin=ORIGIN)


def crop(one: Plane) -> None:
    one.dataset.PixelData, one.dataset.Rows = stored(one)[: ROWS - 8].tobytes(), ROWS - 8


FAULTS = [
    Fault("", "none: a good series", series(lambda s: None)),
    Fault("", "none: a good NIfTI", lambda f: nifti(f / "a.nii.gz"), dicom=False),
    Fault("G1", "a slice missing", series(lambda s: s[:7] + s[8:])),
    Fault("G1", "three slices missing in a row", series(lambda s: s[:7] + s[10:])),
    Fault("G2", "a slice twice, the same", extra(lambda one: None)),
    Fault("G2", "a slice twice, different pixels", extra(pixels(lambda a: a[::-1].copy())), hopeless=True),
    Fault("G3", "a localizer in the series", extra(localizer)),
    Fault("G3", "two kernels under one series UID", series(two_kernels), volumes=2),
    Fault("G3", "two patients under one series UID", series(two_patients), volumes=2),
    Fault("G3", "one slice of another matrix", each(lambda one: crop(one), slice(8, 9)), hopeless=True),
    Fault("G3", "two acquisitions half a step apart", series(two_stacks(AcquisitionNumber=2)), volumes=2),
    Fault("G3", "two patients half a step apart, all UIDs equal", series(two_stacks(PatientID="Other")), volumes=2),
    Fault("G3", "two slice thicknesses half a step apart", series(two_stacks(SliceThickness=1.5)), volumes=2),
    Fault("G3", "two stacks half a step apart, told by image numbers alone", series(two_stacks()), volumes=2),
    Fault("G3", "directions that jitter by 0.001", numbered("ImageOrientationPatient", lambda k: [1, 0, 0, 0, 1, 0]
          if k % 2 else [0.999999, 0.0012, 0, -0.0012, 0.999999, 0])),
    Fault("G3", "a kernel named in some slices alone", numbered("ConvolutionKernel", lambda k: "B30f" * (k % 3 > 0))),
    Fault("G3", "an acquisition number for each slice", numbered("AcquisitionNumber", lambda k: k + 1)),
    Fault("G3", "raw data beside the slices", extra(raw_data)),
    Fault("G4", "tilted gantry (18 degrees)", series(tilted)),
    Fault("G4", "spacing 2 mm, then 5 mm", series(uneven)),
    Fault("G4", "four slices 10 mm aside", series(sideways), hopeless=True),
    Fault("G5", "no rescale tags", each(no_rescale), hopeless=True),
    Fault("G5", "one slice with a wrong intercept", each(tag("RescaleIntercept", 0), slice(8, 9)), hopeless=True),
    Fault("G5", "three slices with their own, right intercept", each(own_intercept, slice(5, 8))),
    Fault("G5", "marked MONOCHROME1", each(tag("PhotometricInterpretation", "MONOCHROME1"))),
    Fault("G5", "values inverted", each(pixels(lambda a: 4095 - a)), hopeless=True),
    Fault("G5", "signed values called unsigned", each(wrapped), hopeless=True),
    Fault("G5", "padding of -2000", each(padded)),
    Fault("G6", "enhanced multi-frame", series(lambda s: [enhanced(s[::-1])])),
    Fault("G9", "a slice's file cut off", cut_file, hopeless=True),
    Fault("G9", "a slice's file empty", empty_file),
    Fault("G9", "the last slice's file cut in its header", cut_in_its_header(slice(-1, None))),
    Fault("G9", "pixel data longer than announced", each(tag("Columns", COLUMNS - 1))),
    Fault("G9", "the last slice without a position", each(lambda one: delattr(one.dataset, "ImagePositionPatient"),
          slice(-1, None))),
    Fault("G9", "two slices without preamble and extension", without_preamble),
    Fault("G9", "a spacing with decimal commas", decimal_comma, hopeless=True),
    Fault("G9", "a rescale type spelt out", each(tag("RescaleType", "HOUNSFIELD"))),
    Fault("G9", "a slice that inflates to 300 MB", deflated_bomb),
    Fault("G9", "slices 10 m apart", series(lambda s: planes([1e4 * k for k in range(8)])), hopeless=True),
    Fault("G9", "pixels of 100 mm", each(tag("PixelSpacing", [100, 100])), hopeless=True),
    Fault("G11", "a folder of broken files", cut_in_its_header(slice(None)), hopeless=True),
    Fault("G21", "modality MR", each(tag("Modality", "MR")), hopeless=True),
    Fault("G21", "a map of atomic numbers (RescaleType Z_EFF)", each(tag("RescaleType", "Z_EFF")), hopeless=True),
    Fault("G21", "a map of iodine whose RescaleType says HU", each(tag("ImageType", ["DERIVED", "PRIMARY", "AXIAL",
          "MAT_SPECIFIC"])), hopeless=True),
    Fault("G21", "a projection in a vendor's words (CT_SOM5 MIP)", each(tag("ImageType", ["DERIVED", "SECONDARY",
          "AXIAL", "CT_SOM5 MIP"])), hopeless=True),
    Fault("G5", "NIfTI: NaN outside the field of view", with_nan, dicom=False),
    Fault("G5", "NIfTI: unsigned, offset missing", lambda f: nifti(f / "a.nii.gz", (good_hu() + 1024).astype("u2")),
          dicom=False, hopeless=True),
    Fault("G5", "NIfTI: an 8-bit picture", lambda f: nifti(f / "a.nii.gz", np.clip((good_hu() + 160) / 1.6, 0, 255)
          .astype("u1")), dicom=False, hopeless=True),
    Fault("G5", "NIfTI: thousandths of HU", lambda f: nifti(f / "a.nii.gz", (good_hu() / 1000).astype("f4")),
          dicom=False, hopeless=True),
    Fault("G5", "NIfTI: -1 .. 1 of -1000 .. 1000 HU", lambda f: nifti(f / "a.nii.gz", (np.clip(good_hu(), -1000, 1000)
          / 1000).astype("f4")), dicom=False, hopeless=True),
    Fault("G5", "NIfTI: standardised for a network", lambda f: nifti(f / "a.nii.gz", ((good_hu() - good_hu().mean())
          / good_hu().std()).astype("f4")), dicom=False, hopeless=True),
    Fault("G8", "NIfTI: sform and qform 40 mm apart", apart, dicom=False, hopeless=True),
    Fault("G8", "NIfTI: no orientation", lambda f: nifti(f / "a.nii.gz", sform=False), dicom=False, hopeless=True),
    Fault("G8", "NIfTI: sheared", sheared, dicom=False),
    Fault("G9", "NIfTI cut off", lambda f: cut(nifti(f / "a.nii")), dicom=False, hopeless=True),
    Fault("G9", "NIfTI (.gz) cut off", lambda f: cut(nifti(f / "a.nii.gz")), dicom=False, hopeless=True),
    Fault("G9", "NRRD (gzip) cut off", lambda f: cut(nrrd(f / "a.nrrd", packed=True)), dicom=False, hopeless=True),
    Fault("G9", "MetaImage cut off", lambda f: cut(metaimage(f / "a.mha")), dicom=False, hopeless=True),
    Fault("G9", "NIfTI: more slices than announced", lambda f: nifti(f / "a.nii.gz", dims=(48, 40, 12)), dicom=False),
    Fault("G9", "NIfTI: an axis one too short", lambda f: nifti(f / "a.nii.gz", dims=(COLUMNS - 1, ROWS, 20)),
          dicom=False),
    Fault("G9", "NRRD (gzip): an axis one too short", lambda f: nrrd(f / "a.nrrd", packed=True,
          sizes=f"{COLUMNS} {ROWS - 1} 20"), dicom=False),
    Fault("G9", "MetaImage: an axis one too short", lambda f: metaimage(f / "a.mha",
          DimSize=f"{COLUMNS - 1} {ROWS} 20"), dicom=False),
    Fault("G9", "MetaImage: a spacing that overflows", lambda f: metaimage(f / "a.mha",
          ElementSpacing="1e308 1e308 1e308"), dicom=False, hopeless=True),
    Fault("G9", "NIfTI: pixels of 100 mm", lambda f: nifti(f / "a.nii.gz", steps=np.diag((100.0, 100, 3))), dicom=False,
          hopeless=True),
    Fault("G10", "NRRD that points at /etc/passwd", lambda f: nrrd(f / "a.nhdr", type="uchar", sizes="8 8 8",
          data_file="/etc/passwd"), dicom=False, hopeless=True),
    Fault("G10", "MetaImage that points out of its folder", outside, dicom=False, hopeless=True),
    Fault("G21", "NIfTI: two phases (4-D)", lambda f: nifti(f / "a.nii.gz", np.stack([good_hu()] * 2)), dicom=False,
          hopeless=True),
    Fault("G21", "NIfTI: a label map", lambda f: nifti(f / "a.nii.gz", (good_hu() > 60).astype("u1")), dicom=False,
          hopeless=True),
]  # fmt: skip
