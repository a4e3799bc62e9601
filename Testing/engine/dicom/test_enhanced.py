"""DICOM results of enhanced multi-frame CT: valid, equal, and each frame refers to the frame it lies on."""

import json
import subprocess
from pathlib import Path
from typing import Any

import highdicom as hd
import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from pydicom.uid import EnhancedCTImageStorage

from Testing.engine.dicom.conftest import explained, mended, needs_dciodvfy, needs_dcmqi, tool, verify
from Testing.engine.dicom.series import HEAD_FIRST, ROOT, UPRIGHT, write_enhanced, write_series
from Testing.engine.dicom.test_objects import MAPS, assert_same_image, volume
from unoise_engine.results.dicom.uids import stable_uid

WORDS = 4 * 10 + 2  # rows of pixels, above the picture
SOURCES = {"one file": (UPRIGHT, 1), "head first": (HEAD_FIRST, 1), "two files": (UPRIGHT, 2)}


@pytest.fixture(scope="module", params=SOURCES)
def enhanced(request: pytest.FixtureRequest, pancreas_bundle: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """(results as DICOM, as NRRD, of the same slices as single files; place of each slice)."""
    orientation, files = SOURCES[request.param]
    home = tmp_path_factory.mktemp("enhanced")
    single = write_series(home / "single", orientation)
    places = write_enhanced(home / "ct", single, files)
    dicom, nrrd = (explained(home / "ct", home / kind, pancreas_bundle, kind) for kind in ("dicom", "nrrd"))
    return dicom, nrrd, explained(single, home / "from-single", pancreas_bundle), places


@needs_dciodvfy
def test_dciodvfy_finds_no_error(enhanced: Any) -> None:
    objects = sorted(enhanced[0].rglob("*.dcm"))
    assert len(objects) > 3
    assert {p.name: e for p in objects if (e := verify(p))} == {}
    assert mended(enhanced[0]) == []


def test_the_same_slices_in_one_file_give_the_same_pixels(enhanced: Any) -> None:
    """Only names and references differ, and names do."""
    from_frames, _, from_files, _ = enhanced
    names = sorted(p.name for p in from_files.glob("*.dcm"))
    assert names == sorted(p.name for p in from_frames.glob("*.dcm"))
    for name in names:
        a, b = pydicom.dcmread(from_frames / name), pydicom.dcmread(from_files / name)
        if name.startswith("overlay"):  # whose words tell the image's number, and its frame
            assert (a.pixel_array[WORDS:] == b.pixel_array[WORDS:]).all()
        else:
            keyword = "FloatPixelData" if "FloatPixelData" in a else "PixelData"
            assert a[keyword].value == b[keyword].value, name
        assert a.SOPInstanceUID != b.SOPInstanceUID and a.StudyInstanceUID == b.StudyInstanceUID
        assert b"2.25.1\0" not in (from_frames / name).read_bytes()  # the name of a stand-in


def test_frames_refer_to_the_frames_they_lie_on(enhanced: Any) -> None:
    dicom, _, _, places = enhanced
    uids = {path: pydicom.dcmread(path, stop_before_pixels=True).SOPInstanceUID for path, _ in places}
    wanted = [(uids[path], frame) for path, frame in places]
    for name in ("segmentation", *MAPS):
        ds = pydicom.dcmread(dicom / f"{name}.dcm")
        found = []
        for frame in ds.PerFrameFunctionalGroupsSequence:
            (item,) = frame.DerivationImageSequence[0].SourceImageSequence
            assert item.ReferencedSOPClassUID == EnhancedCTImageStorage
            found.append((item.ReferencedSOPInstanceUID, int(item.ReferencedFrameNumber)))
        assert found == wanted
        (series,) = ds.ReferencedSeriesSequence
        assert series.SeriesInstanceUID == f"{ROOT}.2"
        listed = [i.ReferencedSOPInstanceUID for i in series.ReferencedInstanceSequence]
        assert sorted(listed) == sorted(uids.values())
    for path in dicom.glob("overlay-*.dcm"):
        (item,) = pydicom.dcmread(path).SourceImageSequence
        number = int(path.stem.rpartition("-")[2])
        k = number - 1 if _upwards(dicom) else len(places) - number
        assert (item.ReferencedSOPInstanceUID, int(item.ReferencedFrameNumber)) == wanted[k]


def _upwards(dicom: Any) -> Any:
    """Whether slices are numbered along the series' own normal."""
    ds = pydicom.dcmread(dicom / "segmentation.dcm")
    heights = [f.PlanePositionSequence[0].ImagePositionPatient[2] for f in ds.PerFrameFunctionalGroupsSequence]
    return heights == sorted(heights)


def test_highdicom_reads_back_what_was_computed(enhanced: Any) -> None:
    """By the source's frames, as a viewer that has both would."""
    dicom, nrrd, _, places = enhanced
    seg = hd.seg.segread(dicom / "segmentation.dcm")
    wanted = sitk.GetArrayFromImage(volume(nrrd, "segmentation"))
    if len({path for path, _ in places}) == 1:
        uid = pydicom.dcmread(places[0][0], stop_before_pixels=True).SOPInstanceUID
        found = seg.get_pixels_by_source_frame(uid, [f for _, f in places], combine_segments=True)
        np.testing.assert_array_equal(found, wanted)
    np.testing.assert_array_equal(seg.pixel_array, wanted)
    for name in MAPS:
        pm = hd.pm.ParametricMap.from_dataset(pydicom.dcmread(dicom / f"{name}.dcm"))
        np.testing.assert_array_equal(pm.pixel_array, sitk.GetArrayFromImage(volume(nrrd, name)))


@needs_dcmqi
def test_dcmqi_reads_back_what_was_computed(enhanced: Any, tmp_path: Path) -> None:
    dicom, nrrd, _, _ = enhanced
    source, out = ("--inputDICOM", dicom / "segmentation.dcm"), ("--outputDirectory", tmp_path, "-t", "nrrd")
    subprocess.run([tool("segimage2itkimage"), *source, *out, "-p", "seg"], check=True, capture_output=True)
    assert_same_image(sitk.ReadImage(str(tmp_path / "seg-1.nrrd")), volume(nrrd, "segmentation"))


@needs_dciodvfy
def test_de_identified(pancreas_bundle: Any, tmp_path: Path) -> None:
    single = write_series(tmp_path / "single")
    write_enhanced(tmp_path / "ct", single)
    out = explained(tmp_path / "ct", tmp_path / "out", pancreas_bundle, de_identify=True)
    for path in out.rglob("*.dcm"):
        assert verify(path) == []
        assert ROOT.encode() not in path.read_bytes() and b"Muster" not in path.read_bytes()
    seg = pydicom.dcmread(out / "segmentation.dcm")
    assert seg.StudyInstanceUID == stable_uid("de-identified", f"{ROOT}.1")
    (item,) = seg.ReferencedSeriesSequence[0].ReferencedInstanceSequence
    assert item.ReferencedSOPInstanceUID == stable_uid("de-identified", f"{ROOT}.8.1")


@needs_dciodvfy
@pytest.mark.filterwarnings("ignore")
def test_legacy_converted_by_highdicom(pancreas_bundle: Any, tmp_path: Path) -> None:
    slices = [pydicom.dcmread(p) for p in write_series(tmp_path / "single", PatientPosition="HFS").iterdir()]
    converted = hd.legacy.LegacyConvertedEnhancedCTImage(slices, f"{ROOT}.20", 5, f"{ROOT}.21", 1)
    (tmp_path / "ct").mkdir()
    converted.save_as(tmp_path / "ct" / "all.dcm")
    out = explained(tmp_path / "ct", tmp_path / "out", pancreas_bundle)
    assert {p.name: e for p in out.rglob("*.dcm") if (e := verify(p))} == {}
    frames = pydicom.dcmread(out / "segmentation.dcm").PerFrameFunctionalGroupsSequence
    for frame in frames:
        number = frame.DerivationImageSequence[0].SourceImageSequence[0].ReferencedFrameNumber
        lies = converted.PerFrameFunctionalGroupsSequence[number - 1].PlanePositionSequence[0]
        assert frame.PlanePositionSequence[0].ImagePositionPatient == lies.ImagePositionPatient


def test_missing_uids_are_made_from_the_file(pancreas_bundle: Any, tmp_path: Path) -> None:
    single = write_series(tmp_path / "single", edit=lambda ds: ds.__delattr__("StudyInstanceUID"))
    write_enhanced(tmp_path / "ct", single, files=2)
    for path in (tmp_path / "ct").iterdir():
        ds = pydicom.dcmread(path)
        ds.SOPInstanceUID = f"{ROOT}.9"  # shared by both
        ds.save_as(path, enforce_file_format=False)
    out = explained(tmp_path / "ct", tmp_path / "out", pancreas_bundle, methods=("unoise",))
    said = json.loads((out / "report.json").read_text())["corrections"]
    assert any("share a SOP Instance UID" in note for note in said)
    seg = pydicom.dcmread(out / "segmentation.dcm")
    assert len({i.ReferencedSOPInstanceUID for i in seg.ReferencedSeriesSequence[0].ReferencedInstanceSequence}) == 2
