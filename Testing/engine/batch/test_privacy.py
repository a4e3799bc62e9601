"""Canaries in every text tag and in every name: kept in the private folder, and heard nowhere else, not on the terminal
either."""

import gzip
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom._dicom_dict import DicomDictionary
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

from Testing.engine.batch.conftest import lines, save
from Testing.engine.conftest import ellipsoid_ct
from unoise_engine.batch.privacy import hider

CANARY = "KANARI"  # 6 letters: fits every value representation that holds text
WORDS = ("kanari", "19010203", "19040506")  # the canary, the patient's birth, the study
PRIVATE = ["private/inputs.csv", "private/messages.txt"]
TEXT = {"AE", "CS", "LO", "LT", "PN", "SH", "ST", "UC", "UT", "UR"}
NEEDED = {"Modality", "PhotometricInterpretation", "ImageType", "PatientPosition", "SpecificCharacterSet"}


def dicom_series(folder: Any) -> None:
    """A CT series in which every standard text element that pydicom knows holds the canary."""
    volume = ellipsoid_ct()
    uids = [generate_uid() for _ in range(3)]
    folder.mkdir(parents=True)
    for k, pixels in enumerate(volume.voxels):
        meta = FileMetaDataset()
        meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = CTImageStorage, generate_uid()
        meta.TransferSyntaxUID = ExplicitVRLittleEndian
        one = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
        for tag, (vr, _, _, retired, keyword) in DicomDictionary.items():
            group = tag >> 16
            if vr in TEXT and keyword and not retired and 0x0008 <= group <= 0x0040 and keyword not in NEEDED:
                one.add_new(tag, vr, CANARY)
        one.SOPClassUID, one.SOPInstanceUID = CTImageStorage, meta.MediaStorageSOPInstanceUID
        one.StudyInstanceUID, one.SeriesInstanceUID, one.FrameOfReferenceUID = uids
        one.Modality, one.ImageType = "CT", ["ORIGINAL", "PRIMARY", "AXIAL"]
        one.PatientBirthDate, one.StudyDate = "19010203", "19040506"
        one.Rows, one.Columns = pixels.shape
        one.PixelSpacing, one.SliceThickness = list(volume.grid.spacing_mm[1::-1]), volume.grid.spacing_mm[2]
        one.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
        one.ImagePositionPatient = [0, 0, k * volume.grid.spacing_mm[2]]
        one.SamplesPerPixel, one.PhotometricInterpretation = 1, "MONOCHROME2"
        one.BitsAllocated = one.BitsStored = 16
        one.HighBit, one.PixelRepresentation = 15, 1
        one.RescaleSlope, one.RescaleIntercept, one.RescaleType = 1, 0, "HU"
        one.SeriesNumber, one.InstanceNumber = 1, k + 1
        one.PixelData = pixels.astype("<i2").tobytes()
        pydicom.dcmwrite(folder / f"{CANARY}_{k}.dcm", one, enforce_file_format=True)
    assert sum(1 for e in one if CANARY in str(e.value)) > 500, "the canary is not everywhere"


@pytest.fixture
def aviary(tmp_path: Path) -> Any:
    home = tmp_path / f"{CANARY}^ANNA" / "CT 1901"
    dicom_series(home / CANARY)
    save(home / f"{CANARY}.nii.gz", 1)
    (home / f"{CANARY}.txt").touch()
    (home / f"{CANARY}-cut.nii.gz").write_bytes((home / f"{CANARY}.nii.gz").read_bytes()[:3000])
    return home


def songs(folder: Any) -> Any:
    """Files below a folder in whose name or (unpacked) content the canary, or a date of the patient, is found."""
    found = []
    for path in (p for p in folder.rglob("*") if p.is_file()):
        content = path.read_bytes()
        content += gzip.decompress(content) if content[:2] == b"\x1f\x8b" else b""
        if content.startswith(b"NRRD"):
            content += gzip.decompress(content.split(b"\n\n", 1)[1])
        if sings(content.decode("latin-1")) or sings(str(path.relative_to(folder))):
            found.append(str(path.relative_to(folder)))
    return sorted(found)


# What a DICOM object must say of its patient and study (PS3.3: Patient and General Study modules), and what an archive
# would miss if it did not say it as the CT does.
REQUIRED = {
    "PatientName", "PatientID", "PatientBirthDate", "StudyDate", "StudyID", "AccessionNumber", "ReferringPhysicianName",
    "ContentDate", "IssuerOfPatientID", "StudyDescription", "PhysiciansOfRecord", "NameOfPhysiciansReadingStudy",
}  # fmt: skip


@pytest.mark.pictures
@pytest.mark.parametrize("file_format", ["nifti", "nrrd", "dicom", "dicom, de-identified"])
def test_no_canary_sings(
    explain: Any, aviary: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str], file_format: Any
) -> None:
    kind, _, de_identify = file_format.partition(", ")
    if kind == "dicom":
        pytest.importorskip("highdicom", reason="the extra 'dicom' is not installed")
    out = tmp_path / "out"
    refused = explain(aviary, out, format=kind, de_identify=bool(de_identify))
    assert refused == (2 if kind == "dicom" else 1)  # a NIfTI is no source for DICOM
    said = capsys.readouterr()
    assert [line["status"] for line in lines(out)].count("REFUSED") == refused and len(lines(out)) == 3
    objects = sorted(str(p.relative_to(out)) for p in out.rglob("*.dcm"))
    assert bool(objects) == (kind == "dicom")
    singing = [] if de_identify else objects
    assert songs(out) == sorted([*singing, *PRIVATE]), "these alone say which file is which case"
    for name in objects:
        found = {e.keyword for e in pydicom.dcmread(out / name).iterall() if sings(str(e.value))}
        assert found == (set() if de_identify else REQUIRED), name
    assert CANARY not in said.out + said.err and said.err.count("REFUSED") == refused
    kept = (out / "private" / "messages.txt").read_text()
    assert [CANARY in line for line in kept.splitlines()] == [True] * (refused + 1) and "SKIPPED 1 x " in kept
    explain(aviary, out, format=kind, de_identify=bool(de_identify), resume=True)
    again = capsys.readouterr()
    assert CANARY not in again.out + again.err and again.err.count("(found before)") == refused
    assert "a file" not in said.err + again.err, "what a sentence is about is left out"
    assert (out / "summary.html").exists() and list(out.rglob("overview.png"))
    shutil.rmtree(out / "private")
    assert songs(out) == singing


def sings(text: Any) -> Any:
    return any(word in text.lower() for word in WORDS)


def test_failures_do_not_sing(command: Any, aviary: Any, tmp_path: Path) -> None:
    os.rename(aviary / f"{CANARY}.nii.gz", aviary / f"{CANARY}-bug.nii.gz")
    save(aviary / f"{CANARY}-abort.nii.gz")
    out = tmp_path / "out"
    run = command(aviary, "-o", out, "--jobs", 2)
    assert run.returncode == 1 and "3 failed" not in run.stdout and "2 failed" in run.stdout
    assert songs(out) == PRIVATE and CANARY not in run.stdout + run.stderr


def test_sentences_without_names(tmp_path: Path) -> None:
    source = tmp_path / "MEIER^ANNA" / "12345.dcm"
    hide = hider(source, [source, source.with_name("IM 7.dcm"), source.with_name("5")])
    assert hide(f"{source} - is cut off - copy it again") == "a file - is cut off - copy it again"
    assert hide("12.5 mm between IM 7.dcm and 12345.dcm: 5 slices are missing") == (
        "12.5 mm between a file and a file: 5 slices are missing"
    )
    assert hide("MEIER^ANNA/12345.dcm, 123456") == "a file, 123456"
    assert hide("(MEIER^ANNA_1)") == "(a file_1)"


def test_ordinary_words_stay_though_folders_are_called_so() -> None:
    source = Path("/data/slices/missing between/DICOM/Study/Series 1")
    hide = hider(
        source, [source / "image" / "IM0007", source / "image" / "12", source / "image" / "Meier", Path("cut")]
    )
    for said in (
        "12.5 mm between 12 and 0007: slices are missing - export the CT again",
        "Study Time in the source breaks DICOM's rules for it: left empty",
        "the image data of Series 1, slices missing between",
    ):
        assert hide(said) == said
    for said in (
        str(source),
        "Study/Series 1",
        "slices\\missing between",
        "/data",
        "Series 1/image/IM0007",
        "../Study",
    ):
        assert hide(f"{said} - holds no CT - give one").removeprefix("../") == "a file - holds no CT - give one"
    assert hide("Series 1 - holds no CT - give a Series 1") == "a file - holds no CT - give a Series 1"
    assert hide("IM0007 and Meier lie at the same place") == "a file and a file lie at the same place"
    names = hider(Path("/Meier, Anna/Meier/19500203/meier_anna_2"), [])
    said = "Meier, Anna; Meier; 19500203; meier_anna_2 - is seen"
    assert names(said) == "a file; a file; a file; meier_anna_2 - is seen"
    assert names("x/meier_anna_2 - is seen") == "x/a file - is seen"


def test_masks_hold_masks_alone(explain: Any, aviary: Any, tmp_path: Path) -> None:
    import SimpleITK as sitk

    explain(aviary / CANARY, tmp_path / "out")
    image = sitk.ReadImage(str(tmp_path / "out" / "case-0001" / "segmentation.nii.gz"))
    texts = [image.GetMetaData(k) for k in image.GetMetaDataKeys() if not k.startswith(("dim", "pixdim", "qoffset"))]
    assert not any("kanari" in text.lower() for text in texts)
    assert set(np.unique(sitk.GetArrayFromImage(image))) == {0, 3}
