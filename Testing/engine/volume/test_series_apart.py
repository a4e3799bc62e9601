"""G3, G6, G11 and the odd series of G21: what a folder holds is told apart, named, never merged."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from Testing.engine.volume.planted import ORIGIN, SLICES, SPACING, enhanced, nifti, planes, write
from unoise_engine.errors import CaseRefused, Usage
from unoise_engine.volume.find import ReadSettings, find_again

ROOT = Path(__file__).parents[3]


def test_G3_two_series_and_what_is_none(tmp_path: Path, read: Any) -> None:
    write(tmp_path / "a", planes(number=2))
    write(tmp_path / "a", [_renamed(one, "x" + one.name) for one in planes(number=3)])
    scout, mr, capture = planes()[0], planes()[0], planes()[0]
    scout.dataset.ImageType, scout.name = ["ORIGINAL", "PRIMARY", "LOCALIZER"], "scout.dcm"
    mr.dataset.Modality, mr.name = "MR", "mr.dcm"
    capture.dataset.SamplesPerPixel, capture.name = 3, "capture.dcm"
    write(tmp_path / "a", [scout, mr, capture])
    (tmp_path / "a" / "notes.txt").write_text("not a CT")
    cases = read.cases(tmp_path)
    assert [c.id for c in cases] == ["a-series2", "a-series3"]
    for case in cases:
        reading = case.read()
        assert reading.ct.grid.size[2] == SLICES and read.error_hu(reading) < 0.5
    said = "\n".join(read.skipped)
    for reason in ("localizer (scout) (a/scout.dcm)", "modality MR", "colour image (a/capture.dcm)", "neither DICOM"):
        assert reason in said
    assert all(s.startswith("SKIPPED") for s in read.skipped) and "Canary" not in said


def _renamed(one: Any, name: Any) -> Any:
    one.name = name
    return one


@pytest.mark.parametrize("what", ["kernel", "matrix", "spacing", "orientation"])
def test_G3_one_series_uid_with_two_stacks_gives_two_cases(tmp_path: Path, read: Any, what: Any) -> None:
    first = planes()
    other = planes(series=first[0].dataset.SeriesInstanceUID, tilt=20 if what == "orientation" else 0)
    for one in other:
        ds, one.name = one.dataset, "other-" + one.name
        if what == "kernel":
            ds.ConvolutionKernel = ["B70f", "3"]
        elif what == "matrix":
            ds.Rows -= 8
            ds.PixelData = ds.PixelData[: ds.Rows * ds.Columns * 2]
        elif what == "spacing":
            ds.PixelSpacing = [2.4, 2.4]
    write(tmp_path / "ct", first + other)
    cases = read.cases(tmp_path / "ct")
    assert [c.files for c in cases] == [SLICES, SLICES] and [c.id for c in cases] == ["ct-series4", "ct-series4-2"]
    assert all(c.read().ct.voxels.std() > 100 for c in cases)


def test_G3_series_without_a_uid_are_told_apart_by_folder(tmp_path: Path, read: Any) -> None:
    for name in ("a", "b"):
        slices = planes()
        for one in slices:
            one.dataset.SeriesInstanceUID = ""
        write(tmp_path / name, slices)
    assert [c.id for c in read.cases(tmp_path)] == ["a", "b"]


@pytest.mark.parametrize("what", ["StudyInstanceUID", "FrameOfReferenceUID"])
def test_G3_two_patients_under_one_series_uid_are_not_merged(tmp_path: Path, read: Any, what: Any) -> None:
    """One lies just above the other, as if they were one long body."""
    lower = planes()
    upper = planes([20.0 + 3 * k for k in range(SLICES)], series=lower[0].dataset.SeriesInstanceUID)
    for keyword in {"StudyInstanceUID", "FrameOfReferenceUID"} - {what}:
        for one in upper:
            setattr(one.dataset, keyword, lower[0].dataset[keyword].value)
    write(tmp_path / "a", lower)
    write(tmp_path / "b", upper)
    cases = read.cases(tmp_path)
    assert [c.id for c in cases] == ["a", "b"]
    assert [c.read().ct.grid.size[2] for c in cases] == [SLICES, SLICES]


def test_G3_slices_with_a_frame_of_reference_each_stay_one_series(tmp_path: Path, read: Any) -> None:
    slices = planes()
    for k, one in enumerate(slices):
        one.dataset.FrameOfReferenceUID = f"1.2.3.{k + 1}"
    assert read.one(write(tmp_path / "ct", slices)).ct.grid.size[2] == SLICES


def test_G3_a_cohort_of_series_and_volumes_in_sub_folders(tmp_path: Path, read: Any) -> None:
    write(tmp_path / "p1" / "ct", planes())
    (tmp_path / "p2").mkdir()
    nifti(tmp_path / "p2" / "abdomen.nii.gz")
    done = tmp_path / "out" / "p1"
    done.mkdir(parents=True)
    (done / "report.json").write_text("{}")
    nifti(done / "segmentation.nii.gz")
    assert [c.id for c in read.cases(tmp_path)] == ["p1-ct", "p2-abdomen"]
    assert any("results of an earlier run" in s for s in read.skipped)


def test_G6_enhanced_multi_frame_through_its_frames(tmp_path: Path, read: Any) -> None:
    slices = planes()
    slices[3].dataset.RescaleIntercept = -24  # its own rescale, stored values to fit
    low = (np.frombuffer(slices[3].dataset.PixelData, "<u2").astype(int) - 1000).astype("<i2")
    for one in slices:
        one.dataset.PixelRepresentation = 1
    slices[3].dataset.PixelData = low.tobytes()
    write(tmp_path, [enhanced(slices[::-1])])  # frames are stored from head to feet
    for given in (tmp_path, tmp_path / "enhanced.dcm"):
        reading = read.one(given)
        assert reading.ct.grid.origin_mm == ORIGIN and reading.ct.grid.spacing_mm == SPACING
        assert read.error_hu(reading) < 0.5
        assert reading.slice_frames == tuple(range(SLICES, 0, -1))
        assert {p.name for p in reading.slice_files} == {"enhanced.dcm"}
        assert any("another rescale" in n for n in reading.notes)


def test_G6_a_frame_missing_from_a_multi_frame_file(tmp_path: Path, read: Any) -> None:
    one = enhanced([p for k, p in enumerate(planes()) if k != 5])
    error = read.refusal(write(tmp_path, [one]))
    assert error.code == "MISSING_SLICE" and "enhanced.dcm frame 5 and enhanced.dcm frame 6" in str(error)


def test_G6_multi_frame_without_groups_is_named(tmp_path: Path, read: Any) -> None:
    one = enhanced(planes())
    del one.dataset.PerFrameFunctionalGroupsSequence
    with pytest.raises(Usage, match="multi-frame without a position for each frame"):
        read.cases(write(tmp_path / "ct", [one]))


def test_G11_what_cannot_be_read_is_named_and_the_rest_goes_on(tmp_path: Path, read: Any) -> None:
    folder = write(tmp_path / "ct", planes())
    (folder / "empty.dcm").touch()
    (folder / "text.dcm").write_text("hello")
    os.mkfifo(folder / "pipe")
    (folder / "away.dcm").symlink_to("/etc/passwd")
    (tmp_path / "linked").symlink_to(folder)
    cases = read.cases(tmp_path, tmp_path / "nowhere.nii.gz")
    assert [c.id for c in cases] == ["ct", "nowhere.nii"] or [c.id for c in cases] == ["ct", "nowhere.nii.gz"]
    reading = cases[0].read()
    assert reading.ct.grid.size[2] == SLICES
    assert "2 files beside its slices cannot be read" in reading.notes[0]
    with pytest.raises(CaseRefused) as caught:
        cases[1].read()
    assert caught.value.code == "NOT_FOUND"
    said = "\n".join(read.skipped)
    for reason in ("empty file (ct/empty.dcm)", "no DICOM, though its name says so", "no regular file (ct/pipe)"):
        assert reason in said
    assert "2 x a link, which is not followed" in said


def test_G11_a_folder_of_which_nothing_can_be_read_is_an_input(tmp_path: Path, read: Any) -> None:
    """Or the cohort would be one patient short, with exit code 0."""
    write(tmp_path / "good", planes())
    slice_ = (tmp_path / "good" / "slice000.dcm").read_bytes()
    for name, content in (("empty/1.dcm", b""), ("cut/IM1", slice_[:500]), ("flag/DONE", b"")):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_bytes(content)
    cases = read.cases(tmp_path)
    assert [c.id for c in cases] == ["good", "cut", "empty"]
    for case in cases[1:]:
        with pytest.raises(CaseRefused, match="none of its 1 DICOM files can be read") as caught:
            case.read()
        assert caught.value.code == "UNREADABLE"


def test_G3_what_is_skipped_is_said_on_one_line_each(tmp_path: Path, read: Any) -> None:
    write(tmp_path, planes())
    (tmp_path / "a\nb\x1b[31m.txt").write_text("x")
    write(tmp_path / ".hidden", planes()[:2])
    read.one(tmp_path)
    assert len(read.skipped) == 2 and all(s.isprintable() for s in read.skipped)
    assert "hidden folder (.hidden)" in read.skipped[0]


def test_G11_nothing_to_read_at_all_is_a_usage_error(tmp_path: Path, read: Any) -> None:
    for path in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(Usage):
            read.cases(path)


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="needs POSIX permissions")
def test_G11_folders_and_files_without_permission(tmp_path: Path) -> None:
    write(tmp_path / "good", planes())
    write(tmp_path / "locked", planes())
    (nifti(tmp_path / "shut.nii.gz")).chmod(0)
    (tmp_path / "locked").chmod(0)
    tmp_path.chmod(0o755)
    for parent in list(tmp_path.parents)[:3]:
        if parent.stat().st_mode & 0o077 == 0 and os.access(parent, os.W_OK) and parent != Path("/tmp"):
            parent.chmod(0o755)
    code = """
import sys; from pathlib import Path
from unoise_engine.volume.find import find_cases
from unoise_engine.errors import CaseRefused
for c in find_cases([Path(sys.argv[1])], tell=print):
    try: print(c.id, c.read().ct.grid.size)
    except CaseRefused as e: print(c.id, e.code, e)
"""
    become = "import os\nif os.geteuid() == 0: os.setgid(65534); os.setuid(65534)\n"
    # while still allowed to
    preload = "from pathlib import Path\nimport unoise_engine.volume.find, pydicom.pixels.decoders\n"
    preload += f"for c in unoise_engine.volume.find.find_cases([Path({str(tmp_path / 'good')!r})]): c.read()\n"
    try:
        run = subprocess.run(
            [sys.executable, "-c", preload + become + code, str(tmp_path)], capture_output=True, text=True, cwd=ROOT
        )
    finally:
        (tmp_path / "locked").chmod(0o755)
    assert "good (48, 40, 20)" in run.stdout, run.stdout + run.stderr
    assert "unreadable folder (Permission denied) (locked)" in run.stdout
    assert "\nlocked UNREADABLE" in run.stdout, "counted as an input"
    assert "shut UNREADABLE" in run.stdout and "Permission denied" in run.stdout


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda ds: setattr(ds, "ImageOrientationPatient", [1, 0, 0, 0, 0, -1]), "coronal or sagittal"),
        (lambda ds: setattr(ds, "Modality", "MR"), "modality MR, not CT"),
        (lambda ds: setattr(ds, "ImageType", ["DERIVED", "SECONDARY", "MIP"]), "projection"),
        (lambda ds: setattr(ds, "ImageType", "LOCALIZER"), "localizer"),
        (lambda ds: setattr(ds, "SOPClassUID", "1.2.840.10008.5.1.4.1.1.7"), "secondary capture"),
        (lambda ds: setattr(ds, "RescaleType", "Z_EFF"), "other values than HU"),
        (lambda ds: delattr(ds, "ImagePositionPatient"), "without position"),
        (lambda ds: delattr(ds, "PixelSpacing"), "without pixel spacing"),
        (lambda ds: setattr(ds, "ImageOrientationPatient", [1, 0, 0, 1, 0, 0]), "damaged"),
        (lambda ds: setattr(ds, "PixelSpacing", [0, 0]), "damaged"),
    ],
)  # fmt: skip
def test_G21_series_that_are_no_axial_ct(tmp_path: Path, read: Any, change: Any, reason: Any) -> None:
    slices = planes()
    for one in slices:
        change(one.dataset)
    with pytest.raises(Usage, match=reason):
        read.cases(write(tmp_path / "ct", slices))


def test_G21_one_slice(tmp_path: Path, read: Any) -> None:
    assert read.refusal(write(tmp_path / "ct", planes()[:1])).code == "ONE_SLICE"


def test_a_case_is_found_again_from_its_paths(tmp_path: Path, read: Any) -> None:
    """As another process does that was told the paths alone."""
    slices = planes()
    both = enhanced([*slices, *planes(series=slices[0].dataset.SeriesInstanceUID)])
    for k, group in enumerate(both.dataset.PerFrameFunctionalGroupsSequence):
        group.FrameContentSequence[0].StackID = "1" if k < SLICES else "2"
    write(tmp_path / "two", [both])
    (write(tmp_path / "files", planes()) / "empty.dcm").touch()
    nifti(tmp_path / "ct.nii.gz")
    cases = read.cases(tmp_path)
    assert [c.id for c in cases] == ["files", "two-series4", "two-series4-2", "ct"]
    for case in cases:
        again = find_again(case.source, case.paths, ReadSettings(), case.part, case.notes)
        first, second = case.read(), again.read()
        assert first.notes == second.notes and first.slice_frames == second.slice_frames
        np.testing.assert_array_equal(first.ct.voxels, second.ct.voxels)
    assert read.cases(tmp_path / "two")[1].read().slice_frames[0] == SLICES + 1
    with pytest.raises(CaseRefused):
        find_again(tmp_path, ())
    with pytest.raises(CaseRefused):
        find_again(tmp_path, (tmp_path / "files" / "empty.dcm",))
