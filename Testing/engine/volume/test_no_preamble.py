"""G9: DICOM without its preamble, as old archives and some exports write it, is read; what is no DICOM stays so."""

import random
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import dcmwrite, write_dataset
from pydicom.uid import UID

from Testing.engine.volume.planted import SLICES, enhanced, planes, write
from unoise_engine.errors import CaseRefused, Usage
from unoise_engine.results.dicom.slices import GridSlices
from unoise_engine.results.dicom.source import read_source
from unoise_engine.volume.part10 import is_dicom

SYNTAXES = {  # name -> UID, little endian, implicit
    "explicit": ("1.2.840.10008.1.2.1", True, False),
    "implicit": ("1.2.840.10008.1.2", True, True),
    "big endian": ("1.2.840.10008.1.2.2", False, False),
}
SAID = "files lack DICOM's preamble"


def bare(ds: Any, syntax: str) -> bytes:
    """The data set alone: neither preamble nor meta information."""
    _, little, implicit = SYNTAXES[syntax]
    if not little:
        ds.PixelData = np.frombuffer(ds.PixelData, "<u2").astype(">u2").tobytes()
    ds.pop("file_meta", None)
    file = DicomBytesIO()
    file.is_little_endian, file.is_implicit_VR = little, implicit
    write_dataset(file, ds)
    return file.getvalue()


@pytest.mark.parametrize("syntax", SYNTAXES)
def test_a_whole_ct_of_data_sets_alone(tmp_path: Path, read: Any, syntax: Any) -> None:
    for k, one in enumerate(planes()):
        (tmp_path / f"IM{k}").write_bytes(bare(one.dataset, syntax))
    reading = read.one(tmp_path)
    assert read.error_hu(reading) < 0.5 and reading.ct.grid.size[2] == SLICES
    (note,) = reading.notes
    assert note.startswith(f"{SLICES} of its {SAID}")


WITHOUT = {
    "preamble and mark": lambda whole: whole[132:],
    "mark": lambda whole: whole[:128] + whole[132:],
    "preamble": lambda whole: whole[128:],
}


@pytest.mark.parametrize("syntax", [*SYNTAXES, "deflated"])
@pytest.mark.parametrize("part", WITHOUT)
def test_the_meta_information_is_read_where_it_stands(tmp_path: Path, read: Any, syntax: Any, part: Any) -> None:
    """Of two slices only, among good ones."""
    uid, little, implicit = SYNTAXES.get(syntax, ("1.2.840.10008.1.2.1.99", True, False))
    folder = write(tmp_path / "ct", planes())
    for name in ("slice000.dcm", "slice019.dcm"):
        ds = pydicom.dcmread(folder / name)
        ds.PixelData = np.frombuffer(ds.PixelData, "<u2").astype("<u2" if little else ">u2").tobytes()
        ds.file_meta.TransferSyntaxUID = UID(uid)
        dcmwrite(folder / name, ds, little_endian=little, implicit_vr=implicit, enforce_file_format=True)
        whole = (folder / name).read_bytes()
        (folder / name).unlink()
        (folder / name.removesuffix(".dcm")).write_bytes(WITHOUT[part](whole))
    reading = read.one(folder)
    assert read.error_hu(reading) < 0.5 and reading.ct.grid.size[2] == SLICES
    (note,) = reading.notes
    assert note.startswith(f"2 of its {SAID}")
    images = list(zip(reading.slice_files, reading.slice_frames))
    assert len(images) == SLICES and all(is_dicom(path) for path, _ in images)


def test_a_transfer_syntax_that_is_missing_is_told_by_the_content(tmp_path: Path, read: Any) -> None:
    """The preamble is there, and the meta information lacks its most important element."""
    for path in write(tmp_path, planes()).iterdir():
        ds = pydicom.dcmread(path)
        del ds.file_meta.TransferSyntaxUID
        ds.save_as(path, implicit_vr=False, little_endian=True)
    reading = read.one(tmp_path)
    assert read.error_hu(reading) < 0.5 and reading.notes[0].startswith(f"{SLICES} of its {SAID}")


@pytest.mark.parametrize("syntax", SYNTAXES)
def test_frames_of_one_file(tmp_path: Path, read: Any, syntax: Any) -> None:
    (tmp_path / "IM0").write_bytes(bare(enhanced(planes()).dataset, syntax))
    reading = read.one(tmp_path / "IM0")
    assert read.error_hu(reading) < 0.5 and reading.ct.grid.size[2] == SLICES
    assert reading.notes[0].startswith(f"1 of its {SAID}")


def test_packed_pixels_need_the_preamble(tmp_path: Path, read: Any) -> None:
    for k, one in enumerate(planes()):
        one.dataset.compress("1.2.840.10008.1.2.5")
        one.dataset.save_as(tmp_path / f"IM{k}", enforce_file_format=True)
        whole = (tmp_path / f"IM{k}").read_bytes()
        length = struct.unpack("<I", whole[140:144])[0]  # of group 2
        (tmp_path / f"IM{k}").write_bytes(whole[144 + length :])
    refused = read.refusal(tmp_path)
    assert refused.code == "UNDECODABLE" and "no preamble says how" in refused.what and "Part 10" in refused.cure


@pytest.mark.parametrize("syntax", SYNTAXES)
@pytest.mark.parametrize("left", [0.1, 0.6])
def test_cut_off(tmp_path: Path, read: Any, syntax: Any, left: Any) -> None:
    """A slice's file, wherever it ends: refused, or left out and said so; a shorter CT is never whole."""
    slices = planes()
    for k, one in enumerate(slices):
        content = bare(one.dataset, syntax)
        (tmp_path / f"IM{k}.dcm").write_bytes(content if k < SLICES - 1 else content[: int(left * len(content))])
    try:
        reading = read.one(tmp_path)
    except CaseRefused as error:
        assert error.code == "TRUNCATED"
        return
    assert reading.ct.grid.size[2] == SLICES - 1 and "1 file beside its slices cannot be read" in " ".join(
        reading.notes
    )


def directory(path: Path) -> bytes:
    """A DICOMDIR without records."""
    ds = pydicom.Dataset()
    ds.file_meta = pydicom.dataset.FileMetaDataset()
    ds.file_meta.MediaStorageSOPClassUID = UID("1.2.840.10008.1.3.10")
    ds.file_meta.MediaStorageSOPInstanceUID = pydicom.uid.generate_uid()
    ds.file_meta.TransferSyntaxUID = UID("1.2.840.10008.1.2.1")
    ds.FileSetID, ds.DirectoryRecordSequence = "SET", []
    ds.save_as(path, enforce_file_format=True)
    return path.read_bytes()


@pytest.mark.parametrize("cut", [0, 132, 132 + 220])
def test_a_dicomdir_beside_the_slices_costs_nothing(tmp_path: Path, read: Any, cut: Any) -> None:
    write(tmp_path, planes())
    (tmp_path / "DICOMDIR").write_bytes(directory(tmp_path / "DICOMDIR")[cut:])
    assert read.one(tmp_path).notes == ()
    with pytest.raises(Usage, match=r"holds no CT|no slice of a CT|is not a kind of file"):
        read.one(tmp_path / "DICOMDIR")


def test_what_is_no_dicom_is_not_taken_for_it(tmp_path: Path) -> None:
    """Noise, also behind bytes as a data set begins with; data sets that do not say what they are."""
    rng, path = random.Random(5), tmp_path / "file"
    starts = [b"", bytes(128), b"DICM", b"\x08\0\x05\0CS\x0a\0", b"\x08\0\0\0\x04\0\0\0", b"\x02\0\0\0UL\x04\0",
              b"\0\x08\0\x05CS\0\x0a", b"\x08\0\x16\0UI\x1a\0", b"\x08\0\x60\0CS\x02\0"[:6]]  # fmt: skip
    for start in starts:
        for size in (0, 1, 7, 64, 5000):
            path.write_bytes(start + rng.randbytes(size))
            assert not is_dicom(path), (start, size)
    nested = b"\x08\0\x06\0SQ\0\0\xff\xff\xff\xff" + b"\xfe\xff\0\xe0\xff\xff\xff\xff"
    path.write_bytes(nested * 5000)
    assert not is_dicom(path)
    path.write_bytes(b"\x08\0\x05\0CS\x0a\0ISO_IR 100" + b"\x10\0\x10\0PN\x02\0A ")
    assert not is_dicom(path)


def test_dicom_results_refer_to_such_slices(tmp_path: Path, read: Any) -> None:
    """The headers are read again for them."""
    uids = []
    for k, one in enumerate(planes()):
        uids.append(str(one.dataset.SOPInstanceUID))
        (tmp_path / f"IM{k}").write_bytes(bare(one.dataset, "implicit"))
    reading = read.one(tmp_path)
    source = read_source(list(zip(reading.slice_files, reading.slice_frames)), GridSlices(reading.ct.grid), "ct")
    assert sorted(source.names) == sorted(uids)
