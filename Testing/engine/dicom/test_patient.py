"""What of a patient reaches the results: only what the objects require, and with --de-identify nothing."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pydicom
import pytest
from pydicom._dicom_dict import DicomDictionary

from Testing.engine.dicom.conftest import explained, needs_dciodvfy, verify
from Testing.engine.dicom.series import IDENTITY, ROOT, write_series
from unoise_engine.results.dicom.mend import PATIENT_AND_STUDY
from unoise_engine.results.dicom.slices import GridSlices
from unoise_engine.results.dicom.source import read_source
from unoise_engine.results.dicom.uids import stable_uid
from unoise_engine.volume.find import find_cases

TEXT_VRS = {"LO": 64, "SH": 16, "PN": 64, "LT": 200, "ST": 200, "UT": 200, "CS": 16, "AE": 16, "UC": 64}
STRUCTURE = {  # text that says how pixels are stored: a canary there is another file, not another patient
    "SpecificCharacterSet", "Modality", "ImageType", "PhotometricInterpretation", "RescaleType", "PatientSex",
    "LossyImageCompression", "LossyImageCompressionMethod", "PixelPresentation", "VolumetricProperties",
}  # fmt: skip
REQUIRED = {
    "PatientName", "PatientID", "StudyID", "AccessionNumber", "ReferringPhysicianName",
    # Not required, but an archive knows the patient and the study by them.
    "IssuerOfPatientID", "StudyDescription", "PhysiciansOfRecord", "NameOfPhysiciansReadingStudy",
}  # fmt: skip


def canary(n: Any) -> Any:
    return f"CANARY{n:05d}Q"


def plant(ds: Any) -> Any:
    """A different canary in every text element that the dictionary knows, in a sequence and in private elements."""
    planted = {}
    for n, (tag, (vr, _, _, retired, keyword)) in enumerate(sorted(DicomDictionary.items())):
        group = tag >> 16
        usable = (
            vr in TEXT_VRS and not retired and keyword and group in range(0x0008, 0x5000) and keyword not in STRUCTURE
        )
        if usable:
            text = canary(n)
            ds.add_new(tag, vr, text)
            planted[keyword] = text
    inner = pydicom.Dataset()
    inner.PatientID = inner.PatientComments = canary(90001)
    ds.OtherPatientIDsSequence = [inner]
    ds.RequestAttributesSequence = [inner]
    block = ds.private_block(0x0011, canary(90002)[:16], create=True)
    block.add_new(1, "LO", canary(90003))
    return planted


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Any:
    names = {}
    folder = write_series(tmp_path_factory.mktemp("canary") / "ct", edit=lambda ds: names.update(plant(ds)))
    assert len(names) > 1000 and names.keys() >= REQUIRED
    return folder, names


def command(*arguments: Any) -> Any:
    """The real command line, as a person or a script runs it: all that it prints."""
    run = subprocess.run([sys.executable, "-m", "unoise_engine", *map(str, arguments)], capture_output=True, text=True)
    return run.returncode, run.stdout + run.stderr


def test_canaries_appear_only_where_required(planted: Any, pancreas_bundle: Any, tmp_path: Path) -> None:
    folder, names = planted
    options = ("--bundle", pancreas_bundle, "--methods", "unoise", "--format", "dicom", "--progress", "json")
    code, said = command("explain", folder, "-o", tmp_path / "out", *options)
    assert code == 0, said
    assert "CANARY" not in said
    out = next((tmp_path / "out").rglob("report.json")).parent
    assert "CANARY" not in (out / "report.json").read_text()
    allowed = {names[k] for k in REQUIRED}
    objects = sorted(out.rglob("*.dcm"))
    assert len(objects) > 3
    for path in objects:
        found = {m.decode() for m in re.findall(rb"CANARY\d{5}Q", path.read_bytes())}
        assert found == allowed, path.name


def test_de_identified_results_hold_nothing_of_the_patient(planted: Any, pancreas_bundle: Any, tmp_path: Path) -> None:
    folder, _ = planted
    out = explained(folder, tmp_path, pancreas_bundle, de_identify=True)
    assert json.loads((out / "report.json").read_text())["settings"]["de_identify"] is True
    old = {str(ds[k].value) for ds in map(pydicom.dcmread, folder.iterdir()) for k in UIDS}
    forbidden = [u.encode() for u in old] + [b"CANARY", IDENTITY["PatientBirthDate"].encode(), b"20240229", b"101112"]
    for path in out.rglob("*.dcm"):
        content = path.read_bytes()
        assert [f for f in forbidden if f in content] == [], path.name


UIDS = ("SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID")


@needs_dciodvfy
def test_de_identified_results_are_valid_and_consistent(
    series: Any, result: Any, pancreas_bundle: Any, tmp_path: Path
) -> None:
    out = explained(series, tmp_path, pancreas_bundle, de_identify=True)
    again = explained(series, tmp_path / "again", pancreas_bundle, de_identify=True)
    objects = {p.relative_to(out): pydicom.dcmread(p) for p in out.rglob("*.dcm")}
    for name, ds in objects.items():
        assert verify(out / name) == []
        assert (out / name).read_bytes() == (again / name).read_bytes()
        assert ds.PatientIdentityRemoved == "YES"
        assert (
            ds.DeidentificationMethodCodeSequence[0].CodeValue == "113100"
        )  # Basic Application Confidentiality Profile
        assert [str(ds.get(k) or "") for k in PATIENT_AND_STUDY] == [""] * len(PATIENT_AND_STUDY)
        assert ds.SOPInstanceUID != pydicom.dcmread(result / name).SOPInstanceUID
        if "FloatPixelData" in ds or ds.Modality == "SEG":
            keyword = "FloatPixelData" if "FloatPixelData" in ds else "PixelData"
            assert ds[keyword].value == pydicom.dcmread(result / name)[keyword].value
    assert {ds.StudyInstanceUID for ds in objects.values()} == {stable_uid("de-identified", f"{ROOT}.1")}
    assert len({ds.get("FrameOfReferenceUID") for ds in objects.values()} - {None}) == 1
    # The maps and the segmentation refer to the same, new names of the slices.
    references = [
        {f.DerivationImageSequence[0].SourceImageSequence[0].ReferencedSOPInstanceUID for f in frames}
        for ds in objects.values()
        if (frames := ds.get("PerFrameFunctionalGroupsSequence"))
    ]
    assert len(references) == 3 and references[0] == references[1] == references[2]


def mended(folder: Any) -> Any:
    reading = find_cases([folder])[0].read()
    images = [*zip(reading.slice_files, reading.slice_frames)]
    return read_source(images, GridSlices(reading.ct.grid), "ct")


def series_named(folder: Any, name: Any, **changes: Any) -> Any:
    """`name` is text, or bytes that stand in the file whatever its character set says."""
    if isinstance(name, str):
        return write_series(folder, slices=3, **({"PatientName": name} | changes))
    write_series(folder, slices=3, **changes)
    for path in folder.iterdir():
        content = path.read_bytes()
        assert content.count(b"Muster^Maria") == 1
        path.write_bytes(content.replace(b"Muster^Maria", name.ljust(12)))
    return folder


LATIN, UTF8 = "Müller^J".encode("latin-1"), "Müller^J".encode()
CHARACTER_SETS = {
    # name: (the source's character set and PatientName, both as read, something is said)
    "latin 1": ("ISO_IR 100", "Müller^Jörg", "Müller^Jörg", "ISO_IR 100", False),
    "utf-8": ("ISO_IR 192", "Wang^XiaoDong=王^小东", "Wang^XiaoDong=王^小东", "ISO_IR 192", False),
    "japanese": (["", "ISO 2022 IR 87"], "Yamada^T=山田^太郎", "Yamada^T=山田^太郎", ["", "ISO 2022 IR 87"], False),
    "empty": ("", b"Jane^Doe", "Jane^Doe", "ISO_IR 192", True),
    "empty, latin bytes": ("", LATIN, "Müller^J", "ISO_IR 192", True),
    "absent, utf-8 bytes": (None, UTF8, "Müller^J", "ISO_IR 192", True),
    "absent, plain": (None, b"Jane^Doe", "Jane^Doe", "ISO_IR 192", False),
    "unknown": ("KLINGON", UTF8, "Müller^J", "ISO_IR 192", True),
    "wrong": ("ISO_IR 192", LATIN, "Müller^J", "ISO_IR 192", True),
}


@pytest.mark.parametrize("name", CHARACTER_SETS)
@pytest.mark.filterwarnings("ignore")
def test_character_sets(name: Any, tmp_path: Path) -> None:
    given, stored, wanted, charset, said = CHARACTER_SETS[name]
    source = mended(series_named(tmp_path / "ct", stored, SpecificCharacterSet=given))
    assert any("Character Set" in note for note in source.notes) == said, source.notes
    header = source.headers[0]
    assert str(header.PatientName) == wanted
    found = header.SpecificCharacterSet
    assert (list(found) if not isinstance(found, str) else found) == charset
    assert wanted not in " ".join(source.notes)


@pytest.mark.filterwarnings("ignore")
@needs_dciodvfy
def test_name_survives_into_the_object(pancreas_bundle: Any, tmp_path: Path) -> None:
    folder = series_named(tmp_path / "ct", LATIN, SpecificCharacterSet="")
    out = explained(folder, tmp_path / "out", pancreas_bundle)
    for path in out.rglob("*.dcm"):
        ds = pydicom.dcmread(path)
        assert (str(ds.PatientName), ds.SpecificCharacterSet) == ("Müller^J", "ISO_IR 192")
        assert verify(path) == []


@pytest.mark.filterwarnings("ignore")
def test_text_where_a_term_or_number_belongs_goes_no_further(pancreas_bundle: Any, tmp_path: Path) -> None:
    def spoil(ds: Any) -> None:
        ds.LossyImageCompression, ds.LossyImageCompressionMethod = "CANARY1", ["ISO_10918_1", "CANARY2"]
        ds[0x00180050] = pydicom.dataelem.RawDataElement(
            pydicom.tag.Tag(0x00180050), "DS", 8, b"CANARY3 ", 0, False, True
        )

    folder = write_series(tmp_path / "ct", slices=3, edit=spoil)
    assert b"CANARY3" in next(folder.iterdir()).read_bytes()
    out = explained(folder, tmp_path / "out", pancreas_bundle, methods=("unoise",))
    objects = sorted(out.rglob("*.dcm"))
    assert len(objects) >= 3 and not any(b"CANARY" in p.read_bytes() for p in (*objects, out / "report.json"))
    said = " ".join(json.loads((out / "report.json").read_text())["corrections"])
    assert "Lossy Image Compression in" in said and "Lossy Image Compression Method in" in said
    assert "Slice Thickness missing" in said


WRONG_VALUES = {
    "StudyDate": ("2024.02.29", "20240229"),
    "StudyTime": ("25:99", ""),
    "PatientBirthDate": ("19509999", ""),
    "PatientSex": ("W", ""),
    "AccessionNumber": ("SEVENTEEN-LETTERS", ""),
    "PatientID": ("X" * 65, ""),
    "StudyID": (None, ""),
}


@pytest.mark.filterwarnings("ignore")
def test_values_no_object_may_hold_are_emptied_and_said(pancreas_bundle: Any, tmp_path: Path) -> None:
    settings: Any = pydicom.config.settings
    settings.writing_validation_mode = pydicom.config.IGNORE
    try:
        wrong = {k: v for k, (v, _) in WRONG_VALUES.items()}
        folder = write_series(tmp_path / "ct", slices=3, **wrong)
    finally:
        settings.writing_validation_mode = None
    source = mended(folder)
    assert {k: str(source.headers[0][k].value or "") for k in WRONG_VALUES} == {
        k: v for k, (_, v) in WRONG_VALUES.items()
    }
    said = " ".join(source.notes)
    assert all(word in said for word in ("Study Time", "Patient Birth Date", "Patient Sex", "Accession Number"))
    assert not any(value and value in said for value, _ in WRONG_VALUES.values())
    out = explained(folder, tmp_path / "out", pancreas_bundle)
    assert json.loads((out / "report.json").read_text())["status"] == "CORRECTED"


@pytest.mark.filterwarnings("ignore")
def test_missing_and_shared_uids_get_stable_ones(tmp_path: Path) -> None:
    def anonymous(ds: Any) -> None:
        ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = f"{ROOT}.9"

    def nameless(ds: Any) -> None:
        ds.SOPInstanceUID = ds.StudyInstanceUID = ds.SeriesInstanceUID = ds.FrameOfReferenceUID = "x.y"

    shared = mended(write_series(tmp_path / "shared", slices=4, edit=anonymous))
    assert len(set(shared.names)) == 4 and any("share" in n for n in shared.notes)
    assert shared.names == mended(tmp_path / "shared").names
    broken = write_series(tmp_path / "broken", slices=4, edit=nameless)
    first, second = mended(broken), mended(broken)
    assert first.names == second.names == tuple(f"{ROOT}.7.{k}" for k in (1, 2, 3, 4))  # from the preamble
    for keyword in UIDS[1:]:
        assert len({h[keyword].value for h in first.headers}) == 1
        assert first.headers[0][keyword].value.startswith("2.25.")
        assert first.headers[0][keyword].value == second.headers[0][keyword].value
    assert len(first.notes) == 4
