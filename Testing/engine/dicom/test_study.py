"""Results as part of the CT's study: what an archive and a viewer need to keep them and the CT together."""

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import highdicom as hd
import numpy as np
import pydicom
import pytest

from Testing.engine.dicom.conftest import explained, mended, needs_dciodvfy, verify
from Testing.engine.dicom.series import HEAD_FIRST, UPRIGHT, write_enhanced, write_series
from unoise_engine.explanation.methods import METHODS
from unoise_engine.results.dicom.font import text_dots

needs_dcentvfy = pytest.mark.skipif(shutil.which("dcentvfy") is None, reason="dcentvfy: apt-get install dicom3tools")
SCHEME = "CodingSchemeDesignator"
STUDY: dict[str, Any] = {
    "StudyDescription": "CT abdomen, portal venous", "IssuerOfPatientID": "CLINIC", "PatientBirthTime": "1230",
    "PatientAge": "073Y", "PatientSize": "1.74", "PatientWeight": "70.5", "PhysiciansOfRecord": "House^G",
    "NameOfPhysiciansReadingStudy": ["Grey^M", "Who^D"], "SeriesDate": "20240301", "SeriesTime": "101500.25",
    "BodyPartExamined": "ABDOMENPELVIS",
}  # fmt: skip
WORLDS: dict[str, dict[str, Any]] = {
    "all of it": STUDY,
    "none of it": {},
    "empty": dict.fromkeys(STUDY, ""),
    "de-identified already": {"PatientIdentityRemoved": "YES", "DeidentificationMethod": ["Basic", "by hand"]},
    "not de-identified": {"PatientIdentityRemoved": "NO"},
    "letters": {"StudyDescription": "Bauch, nüchtern"},
}


def objects(folder: Any) -> Any:
    return {p.name: pydicom.dcmread(p, stop_before_pixels=True) for p in sorted(folder.rglob("*.dcm"))}


@needs_dciodvfy
@needs_dcentvfy
@pytest.mark.parametrize("name", WORLDS)
def test_results_and_ct_are_one_study(name: Any, pancreas_bundle: Any, tmp_path: Path) -> None:
    """dcentvfy compares all that the objects say of patient, study, series, frame of reference and equipment."""
    ct = write_series(tmp_path / "ct", **WORLDS[name])
    folder = explained(ct, tmp_path / "out", pancreas_bundle, slices=(1, 5))
    assert {p.name: e for p in folder.rglob("*.dcm") if (e := verify(p))} == {}
    assert mended(folder) == []
    assert entities(tmp_path, ct, folder) == []


def entities(tmp_path: Path, *folders: Any) -> Any:
    """What dcentvfy finds that does not fit together."""
    files = tmp_path / "files"
    files.write_text("\n".join(str(p) for folder in folders for p in sorted(folder.rglob("*.dcm"))))
    run = subprocess.run(["dcentvfy", "-f", str(files)], capture_output=True, text=True, errors="replace")
    return [line for line in (run.stdout + run.stderr).splitlines() if line.strip()]


@needs_dcentvfy
def test_dcentvfy_would_say_so(pancreas_bundle: Any, tmp_path: Path) -> None:
    """A check that cannot fail is none."""
    ct = write_series(tmp_path / "ct", **STUDY)
    folder = explained(ct, tmp_path / "out", pancreas_bundle)
    ds = pydicom.dcmread(folder / "segmentation.dcm")
    del ds.StudyDescription
    ds.save_as(folder / "segmentation.dcm")
    assert any("StudyDescription" in line for line in entities(tmp_path, ct, folder))


def test_every_object_says_of_its_study_what_the_ct_says(pancreas_bundle: Any, tmp_path: Path) -> None:
    ct = write_series(tmp_path / "ct", **STUDY)
    wanted = pydicom.dcmread(next(ct.iterdir()))
    for ds in objects(explained(ct, tmp_path / "out", pancreas_bundle)).values():
        assert {k: ds[k].value for k in STUDY} == {k: wanted[k].value for k in STUDY}
    plain = write_series(tmp_path / "plain")
    for ds in objects(explained(plain, tmp_path / "more", pancreas_bundle)).values():
        assert [k for k in STUDY if k in ds] == ["BodyPartExamined"]


@needs_dciodvfy
def test_without_the_patient_it_says_none_of_it(pancreas_bundle: Any, tmp_path: Path) -> None:
    ct = write_series(tmp_path / "ct", **STUDY, PatientIdentityRemoved="YES", DeidentificationMethod="by hand")
    folder = explained(ct, tmp_path / "out", pancreas_bundle, de_identify=True)
    for name, ds in objects(folder).items():
        assert verify(folder / name) == []
        assert {k: ds[k].value for k in STUDY if ds[k].value} == {"BodyPartExamined": "ABDOMENPELVIS"}
        assert ds.PatientIdentityRemoved == "YES" and "by hand" not in ds.DeidentificationMethod


@pytest.mark.filterwarnings("ignore")
@needs_dciodvfy
def test_what_the_standard_forbids_goes_no_further(pancreas_bundle: Any, tmp_path: Path) -> None:
    def spoil(ds: Any) -> None:
        for tag, vr, value in (
            (0x00101010, "AS", b"CANARY1 "), (0x00101020, "DS", b"CANARY2 "), (0x00101030, "DS", b"1e999 "),
            (0x00100032, "TM", b"CANARY3 "), (0x00081030, "LO", b"CANARY4" * 10), (0x00080021, "DA", b"20241399"),
        ):  # fmt: skip
            ds[tag] = pydicom.dataelem.RawDataElement(pydicom.tag.Tag(tag), vr, len(value), value, 0, False, True)

    ct = write_series(tmp_path / "ct", edit=spoil, BodyPartExamined="CANARY5", PatientIdentityRemoved="CANARY6")
    assert b"CANARY4" in next(ct.iterdir()).read_bytes()
    folder = explained(ct, tmp_path / "out", pancreas_bundle)
    assert not any(b"CANARY" in p.read_bytes() for p in folder.iterdir())
    for name, ds in objects(folder).items():
        assert verify(folder / name) == []
        assert ds.BodyPartExamined == "ABDOMEN"
    said = " ".join(json.loads((folder / "report.json").read_text())["corrections"])
    assert all(word in said for word in ("Patient Age", "Patient Size", "Patient Birth Time", "Study Description"))


def test_what_viewers_look_for_in_a_segmentation(result: Any) -> None:
    seg = hd.seg.segread(result / "segmentation.dcm")
    assert "SegmentIdentificationSequence" not in seg.SharedFunctionalGroupsSequence[0]
    for frame in seg.PerFrameFunctionalGroupsSequence:  # where dwv looks, and only there
        assert [i.ReferencedSegmentNumber for i in frame.SegmentIdentificationSequence] == [1]
    (organ,) = seg.SegmentSequence
    colour = hd.color.CIELabColor.from_dicom_value(organ.RecommendedDisplayCIELabValue).to_rgb()
    np.testing.assert_allclose(colour, (60, 150, 80), atol=1)
    assert organ.TrackingID == "pancreas by tiny" and str(organ.TrackingUID).startswith("2.25.")


def test_who_made_it_stands_among_the_contributing_equipment(result: Any) -> None:
    for ds in objects(result).values():
        (ours,) = [i for i in ds.ContributingEquipmentSequence if i.Manufacturer == ds.Manufacturer]
        assert ours.PurposeOfReferenceCodeSequence[0].CodeValue == "109102"  # processing equipment
        for keyword in ("ManufacturerModelName", "SoftwareVersions", "DeviceSerialNumber"):
            assert ours[keyword].value == ds[keyword].value


def test_codes_of_our_own_say_whose_they_are(tiny_bundle: Any, series: Any, tmp_path: Path) -> None:
    """tiny_bundle's organ has no code in SNOMED CT as DICOM knows it."""
    for ds in objects(explained(series, tmp_path, tiny_bundle)).values():
        declared = {i.CodingSchemeDesignator for i in ds.get("CodingSchemeIdentificationSequence", [])}
        assert private(ds) == declared
        assert (declared == {"99UNOISE"}) == ("SharedFunctionalGroupsSequence" in ds)  # not the pictures


def private(ds: Any) -> Any:
    return {str(e.value) for e in ds.iterall() if e.keyword == SCHEME and str(e.value).startswith("99")}


def numbered(order: Any) -> Any:
    return lambda ds: setattr(ds, "InstanceNumber", order(int(ds.InstanceNumber)))


ORDERS = {
    # name: (orientation, instance number of the n-th slice, places of the slices in the CT's own order)
    "from the feet": (UPRIGHT, lambda n: n, [1, 2, 3, 4, 5, 6]),
    "from the head": (UPRIGHT, lambda n: 107 - n, [6, 5, 4, 3, 2, 1]),
    "stored from the head": (HEAD_FIRST, lambda n: n, [1, 2, 3, 4, 5, 6]),
    "with gaps": (UPRIGHT, lambda n: n * 10, [1, 2, 3, 4, 5, 6]),
    "all the same": (UPRIGHT, lambda n: 1, [1, 2, 3, 4, 5, 6]),
    "none": (UPRIGHT, lambda n: None, [1, 2, 3, 4, 5, 6]),
}


@pytest.mark.parametrize("name", ORDERS)
def test_pictures_come_in_the_cts_own_order_and_say_where_they_are(
    name: Any, pancreas_bundle: Any, tmp_path: Path
) -> None:
    orientation, order, places = ORDERS[name]
    ct = write_series(tmp_path / "ct", orientation, edit=numbered(order), size=192)
    headers = {d.SOPInstanceUID: d for d in map(pydicom.dcmread, ct.iterdir())}
    folder = explained(ct, tmp_path / "out", pancreas_bundle, methods=("unoise",))
    from_the_feet = sorted(headers.values(), key=lambda d: float(d.ImagePositionPatient[2]))
    found = {}
    for path in folder.glob("overlay-*.dcm"):
        ds = pydicom.dcmread(path)
        source = headers[ds.SourceImageSequence[0].ReferencedSOPInstanceUID]
        feet = from_the_feet.index(source) + 1
        assert path.name == f"overlay-unoise-{feet:03d}.dcm"
        image = "" if source.InstanceNumber is None else f"CT image {source.InstanceNumber}, "
        lines = [f"slice {feet} of 6 from the feet", f"{image}z {float(source.ImagePositionPatient[2]):.1f} mm"]
        for row, line in zip((22, 32), lines):
            dots = text_dots(line)[:, : ds.Columns - 2]
            white = (ds.pixel_array[row : row + 7, 2 : 2 + dots.shape[1]] == 255).all(axis=-1)
            np.testing.assert_array_equal(white, dots, err_msg=line)
        slice_ = int(source.SOPInstanceUID.rpartition(".")[2])
        found[slice_] = int(ds.InstanceNumber)
    assert len(found) >= 3
    before = [*METHODS].index("unoise") * len(headers)  # those of methods before it have these numbers
    assert found == {n: before + places[n - 1] for n in found}


def test_a_frame_of_an_enhanced_ct_is_named(pancreas_bundle: Any, tmp_path: Path) -> None:
    places = write_enhanced(tmp_path / "ct", write_series(tmp_path / "single", size=192))
    folder = explained(tmp_path / "ct", tmp_path / "out", pancreas_bundle, methods=("unoise",))
    ds = pydicom.dcmread(folder / "overlay-unoise-003.dcm")
    dots = text_dots(f"CT image 1 frame {places[2][1]}, z 16.0 mm")[:, : ds.Columns - 2]
    np.testing.assert_array_equal((ds.pixel_array[32:39, 2 : 2 + dots.shape[1]] == 255).all(axis=-1), dots)
    assert int(ds.InstanceNumber) == [*METHODS].index("unoise") * len(places) + places[2][1]


def nameless(keyword: Any, value: Any = "") -> Any:
    def edit(ds: Any) -> None:
        setattr(ds, keyword, value)
        if keyword == "SOPInstanceUID":
            ds.file_meta.MediaStorageSOPInstanceUID = value or "1.2.3.4"

    return edit


LOST: dict[str, tuple[dict[str, Any], bool]] = {
    "no study": ({"StudyInstanceUID": None}, True),
    "empty study": ({"StudyInstanceUID": ""}, True),
    "one image UID for all": ({"edit": nameless("SOPInstanceUID", "1.2.3.9")}, True),
    "no image UIDs": ({"edit": nameless("SOPInstanceUID")}, True),
    "no frame of reference": ({"FrameOfReferenceUID": None}, False),
    "text mended": ({"PatientSex": "W"}, False),
    "all well": ({}, False),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", LOST)
def test_results_that_no_archive_can_place_are_warned_about(
    name: Any, pancreas_bundle: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    changes, warned = LOST[name]
    folder = explained(write_series(tmp_path / "ct", **changes), tmp_path / "out", pancreas_bundle)
    said = [w for w in json.loads((folder / "report.json").read_text())["warnings"] if "no archive holds" in w]
    assert len(said) == warned
    assert ("no archive holds" in "".join(capsys.readouterr())) == warned
