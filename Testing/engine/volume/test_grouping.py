"""G3: which slices are one CT. Whatever is joined or kept apart in one series is said in the case itself."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from Testing.engine.volume.planted import ORIGIN, ROWS, SLICES, SPACING, Plane, enhanced, planes, stored, write

UIDS = ("StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID")
HALF = SPACING[2] / 2


def second(first: list[Plane], shift: float = HALF, **tags: object) -> list[Plane]:
    """The same series again, `shift` mm further up the body, more contrast in it, with other tags."""
    other = planes([ORIGIN[2] + SPACING[2] * k + shift for k in range(SLICES)])
    for k, one in enumerate(other):
        for keyword in UIDS:
            setattr(one.dataset, keyword, first[0].dataset[keyword].value)
        one.dataset.InstanceNumber = SLICES + k + 1
        bright = stored(one)
        bright[(bright > 1050) & (bright < 1200)] += 60
        one.dataset.PixelData, one.name = bright.tobytes(), f"second{k:03d}.dcm"
        for name, value in tags.items():
            setattr(one.dataset, name, value)
    return other


def tagged(slices: list[Plane], **tags: object) -> list[Plane]:
    for one in slices:
        for name, value in tags.items():
            setattr(one.dataset, name, value)
    return slices


KEEPS_APART: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    "acquisition": ({"AcquisitionNumber": 1}, {"AcquisitionNumber": 2}, "acquisition number"),
    "patient": ({}, {"PatientID": "Canary2"}, "patient"),
    "patient's name": ({}, {"PatientName": "Canary^Other"}, "patient's name"),
    "thickness": ({"SliceThickness": 3}, {"SliceThickness": 1.5}, "slice thickness"),
    "kernel": ({}, {"ConvolutionKernel": "B70f"}, "convolution kernel"),
    "tube voltage": ({"KVP": 80}, {"KVP": 140}, "tube voltage"),
    "temporal position": ({"TemporalPositionIdentifier": 1}, {"TemporalPositionIdentifier": 2}, "temporal position"),
    "cardiac phase": (
        {"NominalPercentageOfCardiacPhase": 30}, {"NominalPercentageOfCardiacPhase": 75}, "temporal position",
    ),
    "series number": ({}, {"SeriesNumber": 9}, "series number"),
    "contrast agent": ({"ContrastBolusAgent": "none"}, {"ContrastBolusAgent": "Iodine"}, "contrast agent"),
    "contrast agent, in one alone": ({}, {"ContrastBolusAgent": "Iodine"}, "contrast agent"),
    "acquisition, in one alone": ({}, {"AcquisitionNumber": 2}, "acquisition number"),
    "image type": ({}, {"ImageType": ["DERIVED", "SECONDARY", "AXIAL"]}, "image type"),
    "time": ({"AcquisitionTime": "101500"}, {"AcquisitionTime": "101600"}, "acquisition time"),
    "the order of the numbers": ({}, {}, "order of its image numbers"),
}  # fmt: skip


ELSEWHERE = [(what, shift) for what in ("acquisition", "thickness", "time") for shift in (0.9, 0.0)]


@pytest.mark.parametrize(("what", "shift"), [*((what, HALF) for what in KEEPS_APART), *ELSEWHERE])
def test_two_stacks_of_one_series_are_two_cases_and_say_so(tmp_path: Path, read: Any, what: Any, shift: Any) -> None:
    first_tags, second_tags, label = KEEPS_APART[what]
    first = tagged(planes(), **first_tags)
    cases = read.cases(write(tmp_path / "ct", first + second(first, shift, **second_tags)))
    assert [case.files for case in cases] == [SLICES, SLICES]
    readings = [case.read() for case in cases]
    for reading in readings:
        assert reading.ct.grid.size[2] == SLICES and reading.ct.grid.spacing_mm[2] == pytest.approx(SPACING[2])
        assert reading.notes == (f"{SLICES} slices of its series differ in {label}: read as another CT",)
        assert "Canary" not in reading.notes[0]
    plain, bright = sorted((r.ct.voxels.astype(float) for r in readings), key=lambda v: v.mean())
    assert bright.mean() > plain.mean() + 3
    assert min(read.error_hu(r) for r in readings) < 0.5, "not a slice of the other stack among them"


@pytest.mark.parametrize("names", ["once each", "again in each folder"])
def test_two_stacks_in_two_folders(tmp_path: Path, read: Any, names: Any) -> None:
    first = planes()
    other = second(first)
    if names == "again in each folder":
        for one, twin in zip(other, first):
            one.name, one.dataset.InstanceNumber = twin.name, twin.dataset.InstanceNumber
    write(tmp_path / "ct" / "a", first)
    write(tmp_path / "ct" / "b", other)
    cases = read.cases(tmp_path / "ct")
    assert [case.files for case in cases] == [SLICES, SLICES]
    assert all("differ in folder" in case.read().notes[0] for case in cases)


@pytest.mark.parametrize(
    "where", [lambda k: k % 2, lambda k: k > 8, lambda k: k * k * 7 % 3], ids=["odd", "end", "any"]
)
def test_one_stack_in_several_folders_stays_one(tmp_path: Path, read: Any, where: Any) -> None:
    """As archives export a series: by number, in portions, or by a hash."""
    for k, one in enumerate(planes()):
        write(tmp_path / "ct" / f"{where(k)}", [one])
    reading = read.one(tmp_path / "ct")
    assert reading.notes == () and reading.ct.grid.size[2] == SLICES and read.error_hu(reading) < 0.5


def test_a_second_copy_of_the_whole_folder_is_left_out_and_said(tmp_path: Path, read: Any) -> None:
    slices = planes()
    write(tmp_path / "ct", slices)
    write(tmp_path / "ct" / "copy", slices)
    reading = read.one(tmp_path / "ct")
    assert len(reading.notes) == 1 and f"{SLICES} identical copies" in reading.notes[0]


JOINS: dict[str, tuple[Callable[[int, Any], object], str]] = {
    "a kernel named in some slices alone": (
        lambda k, ds: setattr(ds, "ConvolutionKernel", "B30f" if k % 3 else ""), "name no convolution kernel",
    ),
    "no thickness at the end": (
        lambda k, ds: delattr(ds, "SliceThickness") if k > 15 else None, "name no slice thickness",
    ),
    "patient's ID lost in some": (lambda k, ds: setattr(ds, "PatientID", "" if k % 4 else "Canary"), "name no patient"),
    "two acquisitions end to end": (
        lambda k, ds: setattr(ds, "AcquisitionNumber", 1 + k // 8), "3 stacks that differ in acquisition number",
    ),
    "an acquisition for each slice": (
        lambda k, ds: setattr(ds, "AcquisitionNumber", k + 1), f"{SLICES} stacks that differ in acquisition",
    ),
    "thick below, thin above": (
        lambda k, ds: setattr(ds, "SliceThickness", 3 if k < 9 else 1.5), "2 stacks that differ in slice thickness",
    ),
    "a frame of reference for each slice": (
        lambda k, ds: setattr(ds, "FrameOfReferenceUID", f"1.2.{k + 1}"), f"{SLICES} stacks that differ in frame",
    ),
    "directions that jitter": (
        lambda k, ds: setattr(ds, "ImageOrientationPatient", [1, 0, 0, 0, 1, 0] if k % 2 else
                              [0.999999, 0.0012, 0, -0.0012, 0.999999, 0]), "directions differ by up to 0.03 degrees",
    ),
    "directions that drift": (
        lambda k, ds: setattr(ds, "ImageOrientationPatient", [1, k * 1e-4, 0, -k * 1e-4, 1, 0]), "directions differ by",
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", JOINS)
def test_what_belongs_together_is_joined_and_said(tmp_path: Path, read: Any, what: Any) -> None:
    change, words = JOINS[what]
    slices = planes()
    for k, one in enumerate(slices):
        change(k, one.dataset)
    reading = read.one(write(tmp_path / "ct", slices))
    assert reading.ct.grid.size == (48, ROWS, SLICES) and reading.planes is None
    assert len(reading.notes) == 1 and words in reading.notes[0]
    assert read.error_hu(reading) < 1.5  # directions of 0.1 degrees move a corner by 0.1 mm


SILENT = {
    "times a second apart": lambda k, ds: setattr(ds, "AcquisitionTime", f"1015{k:02d}"),
    "image numbers from the head down": lambda k, ds: setattr(ds, "InstanceNumber", 100 - k),
    "image numbers in no order": lambda k, ds: setattr(ds, "InstanceNumber", k * 7 % 20),
    "image numbers that are all 1": lambda k, ds: setattr(ds, "InstanceNumber", 1),
    "no image numbers": lambda k, ds: delattr(ds, "InstanceNumber"),
    "a rounded thickness": lambda k, ds: setattr(ds, "SliceThickness", 3 if k % 2 else 2.99),
    "rounded directions": lambda k, ds: setattr(ds, "ImageOrientationPatient", [1, 1e-6 * (k % 2), 0, 0, 1, 0]),
    "a pause of a minute": lambda k, ds: setattr(ds, "AcquisitionTime", "101500" if k < 9 else "101600"),
    "a part compressed by an archive": lambda k, ds: setattr(
        ds, "ImageType", ["DERIVED" if k * 5 % 3 else "ORIGINAL", "PRIMARY", "AXIAL"]
    ),
}


@pytest.mark.parametrize("what", SILENT)
def test_what_is_usual_costs_no_word(tmp_path: Path, read: Any, what: Any) -> None:
    slices = planes()
    for k, one in enumerate(slices):
        SILENT[what](k, one.dataset)
    reading = read.one(write(tmp_path / "ct", slices))
    assert reading.notes == () and reading.ct.grid.size[2] == SLICES and read.error_hu(reading) < 0.5


@pytest.mark.parametrize("keyword", ["FrameOfReferenceUID", "StudyInstanceUID", "PatientID"])
def test_another_place_or_person_is_never_joined_end_to_end(tmp_path: Path, read: Any, keyword: Any) -> None:
    slices = planes()
    for one in slices[8:]:
        setattr(one.dataset, keyword, "1.2.3.4")
    cases = read.cases(write(tmp_path / "ct", slices))
    assert sorted(case.files for case in cases) == [8, 12]
    assert all("read as another CT" in case.read().notes[0] for case in cases)


def test_the_phases_of_a_multi_frame_file(tmp_path: Path, read: Any) -> None:
    first = planes()
    both = enhanced([*first, *second(first)])
    for k, group in enumerate(both.dataset.PerFrameFunctionalGroupsSequence):
        group.FrameContentSequence[0].FrameAcquisitionNumber = 1 + k // SLICES
    cases = read.cases(write(tmp_path / "ct", [both]))
    assert len(cases) == 2 and [c.part for c in cases] == [0, 1]
    assert all(c.read().ct.grid.size[2] == SLICES and "acquisition number" in c.notes[0] for c in cases)


LOST: dict[str, tuple[Callable[[Any], None], str]] = {
    "position": (lambda ds: delattr(ds, "ImagePositionPatient"), "without position or orientation"),
    "pixel spacing": (lambda ds: delattr(ds, "PixelSpacing"), "without pixel spacing"),
    "an impossible direction": (lambda ds: setattr(ds, "ImageOrientationPatient", [1, 0, 0, 1, 0, 0]), "damaged"),
}


@pytest.mark.parametrize("end", [0, -1])
@pytest.mark.parametrize("what", LOST)
def test_a_ct_that_is_a_slice_short_says_so(tmp_path: Path, read: Any, what: Any, end: Any) -> None:
    slices, elsewhere = planes(), planes(number=7)
    spoil, why = LOST[what]
    spoil(slices[end].dataset)
    write(tmp_path / "a", slices)
    write(tmp_path / "a", [Plane(p.corner, p.across, p.down, p.dataset, f"other-{p.name}") for p in elsewhere])
    short, whole = read.cases(tmp_path / "a")
    assert whole.read().notes == (), "a series of its own"
    reading = short.read()
    assert reading.ct.grid.size[2] == SLICES - 1
    assert len(reading.notes) == 1 and "1 file beside its slices" in reading.notes[0] and why in reading.notes[0]


def test_objects_that_are_no_slices_cost_a_ct_nothing(tmp_path: Path, read: Any) -> None:
    slices = planes()
    write(tmp_path / "ct", slices)
    for kind in ("1.2.840.10008.5.1.4.1.1.66", "1.3.12.2.1107.5.9.1", "1.2.840.10008.5.1.4.1.1.88.67",
                 "1.2.840.10008.5.1.4.1.1.7.4", "1.2.840.10008.5.1.4.1.1.11.1"):  # fmt: skip
        one = planes(series=slices[0].dataset.SeriesInstanceUID)[0]
        one.dataset.SOPClassUID, one.name = kind, f"{kind}.dcm"
        del one.dataset.Rows, one.dataset.Columns, one.dataset.PixelData, one.dataset.ImagePositionPatient
        write(tmp_path / "ct", [one])
    assert read.one(tmp_path / "ct").notes == ()
    said = "\n".join(read.skipped)
    assert "no CT image (Raw Data)" in said and "damaged" not in said and "an object without an image" in said


def test_positions_are_taken_along_the_mean_direction(tmp_path: Path, read: Any) -> None:
    """A normal that is that of one slice would lean over the whole length of the body."""
    slices = planes([ORIGIN[2] + 20.0 * k for k in range(SLICES)])
    slices[0].dataset.ImageOrientationPatient = [1, 0, 0.0012, 0, 1, 0]
    reading = read.one(write(tmp_path / "ct", slices))
    assert reading.planes is None and np.allclose(reading.ct.grid.spacing_mm[2], 20, atol=1e-3)
