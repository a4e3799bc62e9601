"""What a case may cost: bytes and seconds are asked before they are spent, and only regular files are opened."""

import gzip
import os
import struct
import subprocess
import sys
import time
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom.uid import UID

from Testing.engine.volume.planted import SLICES, enhanced, metaimage, nifti, nrrd, planes, write
from unoise_engine import files
from unoise_engine.batch.records import hash_inputs
from unoise_engine.errors import CaseRefused, Usage
from unoise_engine.volume import budget, dicom, layout, part10
from unoise_engine.volume.budget import Deadline, check_extent, check_packing, check_voxels
from unoise_engine.volume.read import read_image, read_straight
from unoise_engine.volume.series import group

ROOT = Path(__file__).parents[3]
needs_fifo = pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")


# --- bytes ------------------------------------------------------------------------------------------------------------


def test_limits_hold_at_their_values() -> None:
    check_voxels((1024, 1024, 1024), 4, "a CT")
    check_packing(budget.BOMB_BYTES, 1, "a CT")
    check_packing(200 << 20, 1 << 20, "a CT")
    check_extent((1500, 1500), 3000, 50, "a CT")
    calls: dict[str, Callable[[], None]] = {
        "TOO_LARGE": lambda: check_voxels((1024, 1024, 1025), 1, "a CT"),
        "BOMB": lambda: check_packing((200 << 20) + 1, 1 << 20, "a CT"),
        "GEOMETRY": lambda: check_extent((100, 1501), 1, 1, "a CT"),
    }
    for code, call in calls.items():
        with pytest.raises(CaseRefused) as caught:
            call()
        assert caught.value.code == code
    with pytest.raises(CaseRefused) as caught:  # few enough voxels, each of 8 bytes
        check_voxels((1024, 1024, 600), 8, "a CT")
    assert caught.value.code == "TOO_LARGE"


def deflated(path: Path, extra: int = 0, pad: int = 0, implicit: bool = False) -> None:
    """Deflates a DICOM file, with so many zeros behind it and so many bytes of private meta information before the
    transfer syntax is named."""
    ds = pydicom.dcmread(path)
    ds.file_meta.TransferSyntaxUID = UID("1.2.840.10008.1.2.1.99")
    ds.save_as(path, enforce_file_format=True)
    content = path.read_bytes()
    start = 144 + int.from_bytes(content[140:144], "little")
    body = zlib.decompress(content[start:], -15)
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    packed = packer.compress(body + struct.pack("<HH2sHI", 0x7FE1, 0x1001, b"OB", 0, extra))
    packed += b"".join(packer.compress(bytes(1 << 20)) for _ in range(extra >> 20)) + packer.flush()
    meta = content[144:start]
    at = meta.index(b"\x02\0\x10\0UI")
    private = struct.pack("<HH2sHI", 2, 1, b"OB", 0, pad) + bytes(pad) if pad else b""
    meta = private + meta[at:]
    if implicit:
        uid = b"1.2.840.10008.1.2.1.99"
        meta = struct.pack("<HHIH", 2, 1, 2, 1) + struct.pack("<HHI", 2, 0x10, len(uid)) + uid
    length = b"" if implicit else struct.pack("<HH2sHI", 2, 0, b"UL", 4, len(meta))
    path.write_bytes(content[:132] + length + meta + packed)


@pytest.mark.parametrize("pad", [0, 100, 4096, 200_000])
def test_a_deflated_bomb_is_counted_wherever_its_syntax_is_named(tmp_path: Path, read: Any, pad: Any) -> None:
    folder = write(tmp_path / "ct", planes())
    deflated(folder / "slice000.dcm", 300 << 20, pad)
    with pytest.raises(CaseRefused) as caught:
        part10.read_header(folder / "slice000.dcm")
    assert caught.value.code == "BOMB"
    assert "left out (unreadable (BOMB))" in read.one(folder).notes[0]


def test_so_is_one_whose_meta_information_is_implicit(tmp_path: Path) -> None:
    """The standard says explicit; pydicom reads the other too."""
    folder = write(tmp_path / "ct", planes())
    deflated(folder / "slice000.dcm", 300 << 20, implicit=True)
    with pytest.raises(CaseRefused) as caught:
        part10.read_header(folder / "slice000.dcm")
    assert caught.value.code == "BOMB"


@pytest.mark.parametrize("pad", [0, 4096])
def test_a_deflated_ct_is_read(tmp_path: Path, read: Any, pad: Any) -> None:
    folder = write(tmp_path / "ct", planes())
    for path in folder.iterdir():
        deflated(path, pad=pad)
    assert read.error_hu(read.one(folder)) < 0.5 and read.skipped == []


def stream_of(rows: int, columns: int) -> bytes:
    """A JPEG 2000 stream that says so, of nothing."""
    size = struct.pack(">HHIIIIIIIIH", 41, 0, columns, rows, 0, 0, columns, rows, 0, 0, 1)
    return b"\xff\x4f\xff\x51" + size + b"\x0f\x01\x01\xff\xd9\0"


@pytest.mark.parametrize("frames", ["files", "one file"])
def test_a_small_stream_and_its_header_that_agree_on_a_giant(tmp_path: Path, read: Any, frames: Any) -> None:
    slices = planes()
    for one in slices:
        ds = one.dataset
        ds.Rows = ds.Columns = 8192
        ds.PixelSpacing = [0.05, 0.05]
    if frames == "one file":
        slices = [enhanced(slices)]
    for one in slices:
        count = int(one.dataset.get("NumberOfFrames", 1))
        one.dataset.PixelData = pydicom.encaps.encapsulate([stream_of(8192, 8192)] * count)
        one.dataset["PixelData"].VR = "OB"
        one.dataset.file_meta.TransferSyntaxUID = UID("1.2.840.10008.1.2.4.90")
    before = time.process_time()
    assert read.refusal(write(tmp_path / "ct", slices)).code in ("BOMB", "TOO_LARGE")
    assert time.process_time() - before < 2


def test_a_nifti_whose_voxels_begin_behind_a_bomb(tmp_path: Path, read: Any) -> None:
    header = bytearray(nifti(tmp_path / "a.nii").read_bytes()[:352])
    struct.pack_into("<f", header, 108, float(1 << 30))
    path = tmp_path / "b.nii.gz"
    path.write_bytes(gzip.compress(bytes(header) + bytes(1 << 22)))
    assert read.refusal(path).code == "DAMAGED"


# --- millimetres ------------------------------------------------------------------------------------------------------

FIELDS = {
    "100 mm pixels": (np.diag((100.0, 100, 5)), "1500 mm"),
    "a field of 2 m": (np.diag((42.0, 42, 5)), "1500 mm"),
    "slices 60 mm apart": (np.diag((2.5, 2.5, 60)), "50 mm at most"),
    "a turned one": (np.array([[0, 0, 80.0], [2.5, 0, 0], [0, 2.5, 0]]), "1500 mm"),
}


@pytest.mark.parametrize("what", FIELDS)
def test_a_field_that_no_scanner_has_is_refused_before_a_voxel_is_read(
    tmp_path: Path, read: Any, monkeypatch: pytest.MonkeyPatch, what: Any
) -> None:
    steps, words = FIELDS[what]
    path = nifti(tmp_path / "ct.nii", steps=np.asarray(steps))
    monkeypatch.setattr("unoise_engine.volume.read.read_voxels", lambda *_: pytest.fail("voxels were read"))
    error = read.refusal(path)
    assert error.code == "GEOMETRY" and words in str(error)


@pytest.mark.parametrize(("step", "pixel"), [(10_000.0, 2.5), (60.0, 2.5), (3.0, 100.0)])
def test_nor_is_a_series_decoded(
    tmp_path: Path, read: Any, monkeypatch: pytest.MonkeyPatch, step: Any, pixel: Any
) -> None:
    slices = planes([step * k for k in range(8)])
    for one in slices:
        one.dataset.PixelSpacing = [pixel, pixel]
    monkeypatch.setattr(dicom, "hu_slices", lambda *_: pytest.fail("pixels were decoded"))
    assert read.refusal(write(tmp_path / "ct", slices)).code == "GEOMETRY"


def test_a_stack_so_slanted_that_its_box_is_giant(tmp_path: Path, read: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(budget, "LARGEST_CT", 42_000)  # 38 400 voxels, whose upright box has some more
    steps = np.diag((2.5, 2.5, 0.5))
    steps[1, 2] = 1.0
    assert read.refusal(nifti(tmp_path / "ct.nii", steps=steps)).code == "TOO_LARGE"


def test_a_wide_ct_is_no_fault(tmp_path: Path, read: Any) -> None:
    """A simulator's field of 850 mm, and slices of 20 mm."""
    reading = read.one(nifti(tmp_path / "ct.nii", steps=np.diag((850 / 48, 850 / 48, 20))))
    assert reading.ct.grid.spacing_mm[2] == 20


# --- seconds ----------------------------------------------------------------------------------------------------------


def test_reading_ends_at_the_deadline(tmp_path: Path) -> None:
    over = Deadline(-1)
    series = group(i for p in write(tmp_path / "ct", planes()).iterdir() for i in part_of(p))
    for call in (
        lambda: read_straight(nifti(tmp_path / "a.nii.gz"), False, over),
        lambda: read_straight(nrrd(tmp_path / "a.nrrd", packed=True), False, over),
        lambda: read_straight(metaimage(tmp_path / "a.mha", packed=True), False, over),
        lambda: dicom.read_series(series[0], "ct", deadline=over),
    ):
        with pytest.raises(CaseRefused, match="takes more than -1 s to read") as caught:
            call()
        assert caught.value.code == "TOO_SLOW"
    assert read_image(tmp_path / "a.nii.gz").grid.size[2] == SLICES


def part_of(path: Path) -> Any:
    from unoise_engine.volume.dicom_images import read_images

    return read_images(path)


def test_many_empty_gzip_members_end_too(tmp_path: Path) -> None:
    path = tmp_path / "a.nii.gz"
    path.write_bytes(gzip.compress(b"") * 1000)
    with pytest.raises(CaseRefused) as caught:
        read_straight(path, False, Deadline(-1))
    assert caught.value.code == "TOO_SLOW"


# --- regular files ----------------------------------------------------------------------------------------------------

NAMES = ["ct.nii", "ct.nii.gz", "ct.nrrd", "ct.mha", "ct.mhd", "ct.nhdr", "ct.hdr", "ct.dcm", "ct"]


@needs_fifo
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("what", ["pipe", "link to a pipe", "device", "link to a device"])
def test_what_is_no_regular_file_is_refused_and_not_waited_for(tmp_path: Path, read: Any, name: Any, what: Any) -> None:
    path = tmp_path / name
    if what == "pipe":
        os.mkfifo(path)
    elif what == "link to a pipe":
        os.mkfifo(tmp_path / "pipe")
        path.symlink_to(tmp_path / "pipe")
    else:
        path.symlink_to("/dev/zero" if what == "device" else "/dev/tty")
    good = nifti(tmp_path / "good.nii.gz")
    bad, fine = read.cases(path, good)
    with pytest.raises(CaseRefused, match="no regular file") as caught:
        bad.read()
    assert caught.value.code == "UNREADABLE" and bad.paths == ()
    assert fine.read().ct.grid.size[2] == SLICES
    for opener in (files.open_regular, files.sha256, lambda p: hash_inputs((p,))):
        with pytest.raises(OSError, match="no regular file"):
            opener(path)
    with pytest.raises(CaseRefused):
        layout.open_regular(path)


@needs_fifo
def test_in_a_folder_too(tmp_path: Path, read: Any) -> None:
    folder = write(tmp_path / "ct", planes())
    for name in NAMES:
        os.mkfifo(folder / f"a-{name}")
        (folder / f"b-{name}").symlink_to("/dev/zero")
    (folder / "folder.nii.gz").mkdir()
    reading = read.one(tmp_path)
    assert reading.notes == () and reading.ct.grid.size[2] == SLICES
    assert any(f"{len(NAMES)} x no regular file" in said for said in read.skipped)


def test_a_folder_named_like_a_volume(tmp_path: Path, read: Any) -> None:
    (tmp_path / "ct.nii.gz").mkdir()
    with pytest.raises(Usage, match=r"holds no CT \(no files\)"):
        read.cases(tmp_path / "ct.nii.gz")
    write(tmp_path / "ct.nii.gz", planes())
    assert read.one(tmp_path / "ct.nii.gz").ct.grid.size[2] == SLICES


# --- paths ------------------------------------------------------------------------------------------------------------


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no locale of bytes")
@pytest.mark.parametrize("name", ["çt-é.nii.gz", "患者.nrrd", b"\xff\xfe.nii.gz"])
def test_a_path_beyond_ascii_ends_no_process(tmp_path: Path, name: Any) -> None:
    """With UTF-8 mode off and a locale of bytes; a name that is no text at all gets its sentence."""
    path = Path(os.fsdecode(os.path.join(os.fsencode(tmp_path), os.fsencode(name))))
    code = """
import os, sys; from pathlib import Path
from unoise_engine.errors import EngineError
from unoise_engine.volume.read import read_image
from unoise_engine.volume.write import write_volume
ct = read_image(Path(sys.argv[1]))
try: write_volume(ct, Path(sys.argv[2])); print(read_image(Path(sys.argv[2])).grid.size)
except EngineError as error: print(ascii(str(error)))
"""
    plain = {**os.environ, "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "LC_ALL": "C"}
    command: list[Any] = [sys.executable, "-c", code, str(nifti(tmp_path / "plain.nii")), os.fsencode(path)]
    run = subprocess.run(command, env=plain, capture_output=True, text=True, cwd=ROOT)
    assert run.returncode == 0, run.stderr
    wanted = "its name is no UTF-8" if isinstance(name, bytes) else "(48, 40, 20)"
    assert wanted in run.stdout
