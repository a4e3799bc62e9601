"""Faults, each planted in a good CT whose HU are known at every point. fault_table.py has readers try them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

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


def series(spoil: Callable[[list[Plane]], list[Plane] | None], **made: object) -> Callable[[Path], Path]:
    def plant(folder: Path) -> Path:
        slices = planes(**made)  # type: ignore[arg-type]
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
    Fault("G11", "a folder of broken files", cut_in_its_header(slice(None)), hopeless=True),
    Fault("G21", "modality MR", each(tag("Modality", "MR")), hopeless=True),
    Fault("G21", "a map of atomic numbers (RescaleType Z_EFF)", each(tag("RescaleType", "Z_EFF")), hopeless=True),
    Fault("G5", "NIfTI: NaN outside the field of view", with_nan, dicom=False),
    Fault("G5", "NIfTI: unsigned, offset missing", lambda f: nifti(f / "a.nii.gz", (good_hu() + 1024).astype("u2")),
          dicom=False, hopeless=True),
    Fault("G5", "NIfTI: an 8-bit picture", lambda f: nifti(f / "a.nii.gz", np.clip((good_hu() + 160) / 1.6, 0, 255)
          .astype("u1")), dicom=False, hopeless=True),
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
    Fault("G10", "NRRD that points at /etc/passwd", lambda f: nrrd(f / "a.nhdr", type="uchar", sizes="8 8 8",
          data_file="/etc/passwd"), dicom=False, hopeless=True),
    Fault("G10", "MetaImage that points out of its folder", outside, dicom=False, hopeless=True),
    Fault("G21", "NIfTI: two phases (4-D)", lambda f: nifti(f / "a.nii.gz", np.stack([good_hu()] * 2)), dicom=False,
          hopeless=True),
    Fault("G21", "NIfTI: a label map", lambda f: nifti(f / "a.nii.gz", (good_hu() > 60).astype("u1")), dicom=False,
          hopeless=True),
]  # fmt: skip
