"""G9: a value that cannot be read is named by its field, and one that does not matter refuses nothing."""

import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from Testing.engine.volume.planted import SLICES, nifti, planes, write
from unoise_engine.errors import CaseRefused, Usage
from unoise_engine.volume.labelled import read_labelled
from unoise_engine.volume.pairs import Pair


def set_text(path: Path, group: int, element: int, vr: bytes, text: bytes) -> None:
    """Writes a value into an explicit file as it is, whatever its type allows."""
    content = path.read_bytes()
    tag = struct.pack("<HH", group, element)
    at = content.index(tag + content[content.index(tag) + 4 : content.index(tag) + 6])
    length = int.from_bytes(content[at + 6 : at + 8], "little")
    text += b" " * (len(text) % 2)
    head = vr + (struct.pack("<HI", 0, len(text)) if vr in (b"UT", b"UC", b"UN") else struct.pack("<H", len(text)))
    path.write_bytes(content[: at + 4] + head + text + content[at + 8 + length :])


NAMED: dict[str, tuple[int, int, bytes, bytes, str]] = {
    "decimal comma": (0x28, 0x30, b"DS", b"2,5\\2,5", "Pixel Spacing (0028,0030)"),
    "spacing as text": (0x28, 0x30, b"DS", b"wide\\wide", "Pixel Spacing (0028,0030)"),
    "complex spacing": (0x28, 0x30, b"DS", b"2+1j\\2", "Pixel Spacing (0028,0030)"),
    "boolean spacing": (0x28, 0x30, b"DS", b"True\\True", "Pixel Spacing (0028,0030)"),
    "one spacing": (0x28, 0x30, b"DS", b"2.5 ", "Pixel Spacing (0028,0030)"),
    "infinite spacing": (0x28, 0x30, b"DS", b"inf\\2.5", "Pixel Spacing (0028,0030)"),
    "position": (0x20, 0x32, b"DS", b"0\\0\\up", "Image Position (Patient) (0020,0032)"),
    "position of two": (0x20, 0x32, b"DS", b"0\\0 ", "Image Position (Patient) (0020,0032)"),
    "orientation": (0x20, 0x37, b"DS", b"1\\0\\0\\0\\x\\0", "Image Orientation (Patient) (0020,0037)"),
    "slope": (0x28, 0x1053, b"DS", b"one ", "Rescale Slope (0028,1053)"),
    "intercept": (0x28, 0x1052, b"DS", b"-1024,0 ", "Rescale Intercept (0028,1052)"),
}


@pytest.mark.parametrize("what", NAMED)
def test_the_field_is_named(tmp_path: Path, read: Any, what: Any) -> None:
    folder = write(tmp_path / "ct", planes())
    group, element, vr, text, field = NAMED[what]
    for path in folder.iterdir():
        set_text(path, group, element, vr, text)
    with pytest.raises(Usage) as caught:
        read.cases(folder)
    assert f"with an unreadable {field}" in str(caught.value) and "damaged" not in str(caught.value)


@pytest.mark.parametrize("what", NAMED)
def test_and_one_such_slice_is_said(tmp_path: Path, read: Any, what: Any) -> None:
    folder = write(tmp_path / "ct", planes())
    group, element, vr, text, field = NAMED[what]
    set_text(folder / "slice000.dcm", group, element, vr, text)
    assert f"left out (with an unreadable {field})" in read.one(folder).notes[0]


PLAIN = {
    "series number as text": (0x20, 0x11, b"IS", b"CT_A"),
    "image number as text": (0x20, 0x13, b"IS", b"first "),
    "acquisition as text": (0x18, 0x50, b"DS", b"thin"),
    "HOUNSFIELD": (0x28, 0x1054, b"LO", b"HOUNSFIELD"),
    "spacing as unlimited text": (0x28, 0x30, b"UT", b"2.5\\2.5 "),
    "spacing of unknown type": (0x28, 0x30, b"UN", b"2.5\\2.5 "),
    "slope as unlimited text": (0x28, 0x1053, b"UT", b"1 "),
    "spaces": (0x28, 0x30, b"DS", b" 2.5\\ 2.5 "),
}


@pytest.mark.parametrize("what", PLAIN)
def test_a_plain_value_in_an_odd_dress_is_read(tmp_path: Path, read: Any, what: Any) -> None:
    folder = write(tmp_path / "ct", planes())
    for path in folder.iterdir():
        set_text(path, *PLAIN[what])
    reading = read.one(folder)
    assert reading.notes == () and reading.ct.grid.size[2] == SLICES and read.error_hu(reading) < 0.5


def test_two_slices_at_one_place_are_named_with_their_folders(tmp_path: Path, read: Any) -> None:
    slices = planes()
    write(tmp_path / "ct" / "a", slices[:12])
    write(tmp_path / "ct" / "b", slices[12:])
    twin = slices[3]
    twin.dataset.PixelData = bytes(twin.dataset.PixelData[2:]) + b"\0\0"
    twin.dataset.SOPInstanceUID = "1.2.3"
    write(tmp_path / "ct" / "b", [twin])
    error = read.refusal(tmp_path / "ct")
    assert error.code == "DUPLICATE_SLICE"
    assert str(Path("a", "slice003.dcm")) in error.what and str(Path("b", "slice003.dcm")) in error.what


def test_skipped_files_are_told_without_the_path_above_them(tmp_path: Path, read: Any) -> None:
    one = planes()[0]
    one.dataset.Modality = "MR"
    write(tmp_path / "Canary^Patient" / "ct", planes())
    write(tmp_path / "Canary^Patient" / "mr", [one])
    read.one(tmp_path / "Canary^Patient")
    assert read.skipped == [f"SKIPPED 1 x modality MR, not CT ({Path('mr', 'slice000.dcm')})"]


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 1.5])
def test_labels_that_are_no_numbers_are_refused(tmp_path: Path, value: Any) -> None:
    ct, labels = nifti(tmp_path / "ct.nii"), tmp_path / "labels.nii"
    marked = np.zeros((20, 40, 48), "f4")
    marked[4:9, 10:20, 10:20] = 7
    nifti(labels, marked)
    assert read_labelled(Pair("a", ct, labels), [7])[1].voxels.max() == 7
    marked[4, 10, 10] = value
    nifti(labels, marked)
    with pytest.raises(CaseRefused) as caught:
        read_labelled(Pair("a", ct, labels), [7])
    assert caught.value.code == "UNKNOWN_LABEL"
