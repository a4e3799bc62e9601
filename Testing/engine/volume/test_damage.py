"""G9, G10, G15: cut, packed, boundless and detached files are refused quickly and with bounded memory."""

import gzip
import struct
import subprocess
import sys
import time
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom.uid import UID

from Testing.engine.volume.planted import COLUMNS, ROWS, enhanced, good_hu, metaimage, nifti, nrrd, planes, write
from unoise_engine.errors import CaseRefused, Usage
from unoise_engine.volume.find import find_cases

ROOT = Path(__file__).parents[3]
WRITERS = {
    "nii": lambda p: nifti(p / "ct.nii"),
    "nii.gz": lambda p: nifti(p / "ct.nii.gz"),
    "nrrd": lambda p: nrrd(p / "ct.nrrd"),
    "gzip nrrd": lambda p: nrrd(p / "ct.nrrd", packed=True),
    "mha": lambda p: metaimage(p / "ct.mha"),
    "packed mha": lambda p: metaimage(p / "ct.mha", packed=True),
}


@pytest.mark.parametrize("kind", WRITERS)
def test_the_whole_files_are_good(tmp_path: Path, read: Any, kind: Any) -> None:
    reading = read.one(WRITERS[kind](tmp_path))
    assert reading.notes == () and read.error_hu(reading) < 0.5


@pytest.mark.parametrize("kind", WRITERS)
@pytest.mark.parametrize("percent", [10, 30, 50, 75, 90, 99])
def test_G9_cut_files(tmp_path: Path, read: Any, kind: Any, percent: Any) -> None:
    path = WRITERS[kind](tmp_path)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) * percent // 100])
    assert read.refusal(path).code in ("TRUNCATED", "DAMAGED")


@pytest.mark.parametrize("kind", WRITERS)
@pytest.mark.parametrize("cut", [1, 2, 8])
def test_G9_the_last_bytes_gone(tmp_path: Path, read: Any, kind: Any, cut: Any) -> None:
    path = WRITERS[kind](tmp_path)
    path.write_bytes(path.read_bytes()[:-cut])
    assert read.refusal(path).code == "TRUNCATED"


@pytest.mark.parametrize("kind", ["nii.gz", "gzip nrrd", "packed mha"])
def test_G9_a_flipped_bit_fails_the_checksum(tmp_path: Path, read: Any, kind: Any) -> None:
    path = WRITERS[kind](tmp_path)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0x10
    path.write_bytes(content)
    assert read.refusal(path).code in ("TRUNCATED", "DAMAGED", "HU_SUSPECT")


@pytest.mark.parametrize("name", ["ct.nii", "ct.nii.gz", "ct.nrrd", "ct.mha", "ct.mhd"])
def test_G9_empty_and_foreign_files(tmp_path: Path, read: Any, name: Any) -> None:
    path = tmp_path / name
    path.touch()
    assert read.refusal(path).code == "EMPTY_FILE"
    for content in (b"hello", bytes(600), np.random.default_rng(0).bytes(5000)):
        path.write_bytes(content)
        assert read.refusal(path).code in ("DAMAGED", "TRUNCATED")


def test_G9_more_voxels_than_announced(tmp_path: Path, read: Any) -> None:
    for name in ("ct.nii", "ct.nii.gz"):
        path = nifti(tmp_path / name, good_hu(), dims=(COLUMNS, ROWS, 10))
        assert read.refusal(path).code == "DAMAGED"


@pytest.mark.parametrize("dims", [(COLUMNS - 1, ROWS, 20), (COLUMNS, ROWS - 1, 20), (COLUMNS, ROWS, 19)])
@pytest.mark.parametrize("kind", ["nii", "nii.gz", "mha", "gzip nrrd"])
def test_G9_an_axis_one_too_short_is_no_sheared_ct(tmp_path: Path, read: Any, kind: Any, dims: Any) -> None:
    """Read by such a header, every row begins a voxel further on, and all HU stay plausible."""
    sizes = " ".join(map(str, dims))
    made = {
        "nii": lambda: nifti(tmp_path / "ct.nii", dims=dims),
        "nii.gz": lambda: nifti(tmp_path / "ct.nii.gz", dims=dims),
        "mha": lambda: metaimage(tmp_path / "ct.mha", DimSize=sizes),
        "gzip nrrd": lambda: nrrd(tmp_path / "ct.nrrd", packed=True, sizes=sizes),
    }
    assert read.refusal(made[kind]()).code == "DAMAGED"


@pytest.mark.parametrize("short", [{"Columns": COLUMNS - 1}, {"Rows": ROWS - 1}, {"Columns": COLUMNS // 2}])
@pytest.mark.parametrize("kind", ["plain", "deflated", "RLE", "multi-frame", "deflated multi-frame"])
def test_G9_a_dicom_image_larger_than_announced(tmp_path: Path, read: Any, kind: Any, short: Any) -> None:
    slices = [enhanced(planes())] if "multi" in kind else planes()
    folder = write(tmp_path / "ct", slices)
    for path in folder.iterdir():
        ds = pydicom.dcmread(path)
        if kind == "RLE":
            ds.compress("1.2.840.10008.1.2.5", encoding_plugin="pydicom")
        elif "deflated" in kind:
            ds.file_meta.TransferSyntaxUID = UID("1.2.840.10008.1.2.1.99")
        for name, value in short.items():
            setattr(ds, name, value)
        pydicom.dcmwrite(path, ds, implicit_vr=False, little_endian=True, enforce_file_format=True)
    error = read.refusal(folder)
    assert error.code == "DAMAGED" and "more pixels than its header announces" in str(error)


def test_G9_a_byte_of_padding_is_no_damage(tmp_path: Path, read: Any) -> None:
    slices = planes()
    for one in slices:
        one.dataset.PixelData += b"\0\0"
    assert read.error_hu(read.one(write(tmp_path / "ct", slices))) < 0.5


def test_G9_multi_member_gzip_is_fine(tmp_path: Path, read: Any) -> None:
    path = nifti(tmp_path / "ct.nii")
    content = path.read_bytes()
    both = tmp_path / "ct.nii.gz"
    both.write_bytes(gzip.compress(content[:9000]) + gzip.compress(content[9000:]))
    assert read.error_hu(read.one(both)) < 0.5


@pytest.mark.parametrize("spacing", ["1e308 1e308 1e308", "1e200 1 1", "inf 1 1"])
@pytest.mark.parametrize("turned", ["1 0 0 0 1 0 0 0 1", "1e308 0 0 0 1e308 0 0 0 1"])
def test_G9_a_spacing_beyond_all_bounds_is_refused_without_noise(
    tmp_path: Path, read: Any, spacing: Any, turned: Any, recwarn: Any
) -> None:
    path = metaimage(tmp_path / "ct.mha", ElementSpacing=spacing, TransformMatrix=turned)
    assert read.refusal(path).code == "GEOMETRY"
    steps = f"({spacing.split()[0]},0,0) (0,1,0) (0,0,1)"
    assert read.refusal(nrrd(tmp_path / "ct.nrrd", space_directions=steps)).code in ("GEOMETRY", "DAMAGED")
    assert not [w for w in recwarn if issubclass(w.category, RuntimeWarning)]


@pytest.mark.parametrize("percent", [10, 40, 70, 90, 99])
def test_G9_a_cut_slice_in_a_series(tmp_path: Path, read: Any, percent: Any) -> None:
    folder = write(tmp_path / "ct", planes())
    victim = folder / "slice008.dcm"
    victim.write_bytes(victim.read_bytes()[: victim.stat().st_size * percent // 100])
    assert read.refusal(folder).code in ("TRUNCATED", "MISSING_SLICE", "UNDECODABLE")


@pytest.mark.parametrize("left", [0, 340, 500, 700])
def test_G9_a_last_slice_without_its_header_is_named(tmp_path: Path, read: Any, left: Any) -> None:
    folder = write(tmp_path / "ct", planes())
    last = folder / "slice019.dcm"
    last.write_bytes(last.read_bytes()[:left])
    assert "1 file beside its slices cannot be read and was left out" in read.one(folder).notes[0]
    assert "slice019.dcm" in read.skipped[0]


def huge_nifti(tmp_path: Path) -> Any:
    return nifti(tmp_path / "ct.nii.gz", dims=(30000, 30000, 30000))


def unlikely_nifti(tmp_path: Path) -> Any:
    return nifti(tmp_path / "ct.nii.gz", dims=(1000, 1000, 1000), steps=np.diag((0.8, 0.8, 1.0)))


def zeros(count: Any) -> Any:
    """Deflated zeros, made once and repeated: after a full flush a stream can be continued with any block."""
    packer = zlib.compressobj(9, wbits=-15)
    block = packer.compress(bytes(1 << 20)) + packer.flush(zlib.Z_FULL_FLUSH)
    return block * (count >> 20)


def bomb_nifti(tmp_path: Path) -> Any:
    path = nifti(tmp_path / "ct.nii", dims=(1024, 1024, 512), steps=np.diag((0.8, 0.8, 1.0)))
    header, packer = path.read_bytes()[:352], zlib.compressobj(9, wbits=31)
    with (tmp_path / "bomb.nii.gz").open("wb") as f:
        f.write(packer.compress(header))
        f.write(packer.flush(zlib.Z_FULL_FLUSH) + zeros(1 << 30))
    return tmp_path / "bomb.nii.gz"


def endless_nifti(tmp_path: Path) -> Any:
    """Announces a small CT, unpacks to a gigabyte."""
    packer = zlib.compressobj(9, wbits=31)
    content = packer.compress(nifti(tmp_path / "ct.nii").read_bytes())
    content += packer.flush(zlib.Z_FULL_FLUSH) + zeros(1 << 30)
    (tmp_path / "endless.nii.gz").write_bytes(content)
    return tmp_path / "endless.nii.gz"


def bomb_mha(tmp_path: Path) -> Any:
    path = metaimage(tmp_path / "ct.mha", packed=True, DimSize="1024 1024 900", ElementSpacing="0.8 0.8 1")
    head = path.read_bytes().split(b"ElementDataFile = LOCAL\n")[0]
    path.write_bytes(head + b"ElementDataFile = LOCAL\n" + zlib.compress(b"")[:2] + zeros(1 << 28))
    return path


def giant_header(tmp_path: Path) -> Any:
    path = tmp_path / "ct.nrrd"
    path.write_bytes(b"NRRD0004\n" + b"#" * (1 << 24))
    return path


def deflated_bomb(tmp_path: Path) -> Any:
    one = planes()[0]
    folder = write(tmp_path / "ct", [one])
    path = folder / one.name
    ds = pydicom.dcmread(path)
    ds.file_meta.TransferSyntaxUID = UID("1.2.840.10008.1.2.1.99")
    ds.save_as(path, enforce_file_format=True)
    head = path.read_bytes()
    meta = 144 + int.from_bytes(head[140:144], "little")
    packer = zlib.compressobj(9, wbits=-15)
    body = zlib.decompress(head[meta:], -15)
    body += struct.pack("<HH2sHI", 0x7FE1, 0x1001, b"OB", 0, 1 << 30)
    content = packer.compress(body) + packer.flush(zlib.Z_FULL_FLUSH) + zeros(1 << 30)
    path.write_bytes(head[:meta] + content)
    return folder


def endless_j2k(tmp_path: Path) -> Any:
    """JPEG 2000 slices whose code streams announce 60000 x 60000 pixels."""
    slices = planes()
    stream = b"\xff\x4f\xff\x51" + struct.pack(">HHIIIIIIIIH", 41, 0, 60000, 60000, 0, 0, 60000, 60000, 0, 0, 1)
    stream += b"\x0f\x01\x01\xff\xd9"
    for one in slices:
        one.dataset.PixelData = pydicom.encaps.encapsulate([stream + b"\0" * (len(stream) % 2)])
        one.dataset["PixelData"].VR = "OB"
        one.dataset.file_meta.TransferSyntaxUID = UID("1.2.840.10008.1.2.4.90")
    return write(tmp_path / "ct", slices)


def endless_rle(tmp_path: Path) -> Any:
    slices = planes()
    for one in slices:
        one.dataset.PixelData = pydicom.encaps.encapsulate(
            [struct.pack("<16I", 2, 64, 70000, *[0] * 13) + b"\x81\0" * 70000]
        )
        one.dataset["PixelData"].VR = "OB"
        one.dataset.file_meta.TransferSyntaxUID = UID("1.2.840.10008.1.2.5")
    return write(tmp_path / "ct", slices)


def giant_matrix(tmp_path: Path) -> Any:
    slices = planes()
    for one in slices:
        one.dataset.Rows = one.dataset.Columns = 65535
    return write(tmp_path / "ct", slices)


BOMBS = [
    huge_nifti, unlikely_nifti, bomb_nifti, endless_nifti, bomb_mha, giant_header, deflated_bomb, endless_j2k,
    endless_rle, giant_matrix,
]  # fmt: skip
MEASURED = """
import resource, sys, time; from pathlib import Path
from unoise_engine.volume.find import find_cases
from unoise_engine.errors import EngineError
import pydicom.pixels.decoders, SimpleITK
before, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
try:
    for case in find_cases([Path(sys.argv[1])]): case.read()
    print("read")
except EngineError as error:
    print(error.code)
print(time.process_time() - start, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="measures with getrusage")
@pytest.mark.parametrize("bomb", BOMBS, ids=lambda b: b.__name__)
def test_G9_bombs_are_refused_in_two_seconds_and_little_memory(tmp_path: Path, bomb: Any) -> None:
    path = bomb(tmp_path)
    run = subprocess.run([sys.executable, "-c", MEASURED, str(path)], capture_output=True, text=True, cwd=ROOT)
    code, figures = run.stdout.strip().splitlines()
    seconds, megabytes = map(float, figures.split())
    assert code in ("TOO_LARGE", "TRUNCATED", "BOMB", "DAMAGED", "Usage", "UNDECODABLE")
    assert seconds < 2 and megabytes < 150, (code, seconds, megabytes)


# --- G10 --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["/etc/passwd", "../voxels.raw", "sub/voxels.raw", "link.raw", "LIST", "v%03d.raw", "ct.mhd", "C:\\x.raw"]
)
def test_G10_metaimage_that_points_elsewhere(tmp_path: Path, read: Any, name: Any) -> None:
    folder = tmp_path / "case"
    (folder / "sub").mkdir(parents=True)
    for place in (tmp_path / "voxels.raw", folder / "sub" / "voxels.raw"):
        place.write_bytes(good_hu().tobytes())
    (folder / "link.raw").symlink_to(tmp_path / "voxels.raw")
    assert read.refusal(metaimage(folder / "ct.mhd", data=name)).code == "DETACHED_DATA"


def test_G10_a_plain_sibling_is_followed(tmp_path: Path, read: Any) -> None:
    (tmp_path / "ct.raw").write_bytes(good_hu().astype("<i2").tobytes())
    path = metaimage(tmp_path / "ct.mhd", data="ct.raw")
    assert read.error_hu(read.one(path)) < 0.5
    assert [c.id for c in read.cases(tmp_path)] == ["ct"] and read.skipped == []
    (tmp_path / "ct.raw").write_bytes(b"short")
    assert read.refusal(path).code == "TRUNCATED"


@pytest.mark.parametrize("key", ["data file", "datafile", "Data File"])
def test_G10_detached_nrrd(tmp_path: Path, read: Any, key: Any) -> None:
    changed: dict[str, Any] = {key.replace(" ", "_"): "/etc/passwd"}
    path = nrrd(tmp_path / "ct.nrrd", **changed)
    assert read.refusal(path).code == "DETACHED_DATA"
    path.rename(tmp_path / "ct.nhdr")
    assert read.refusal(tmp_path / "ct.nhdr").code == "DETACHED_DATA"


def test_G10_detached_nifti_and_analyze(tmp_path: Path, read: Any) -> None:
    assert read.refusal(nifti(tmp_path / "a.nii", magic=b"ni1\0")).code == "DETACHED_DATA"
    assert read.refusal(nifti(tmp_path / "b.nii", magic=b"\0\0\0\0")).code == "DAMAGED"
    assert read.refusal(nifti(tmp_path / "c.nii").rename(tmp_path / "c.hdr")).code == "DETACHED_DATA"


def test_G10_links_in_a_folder_are_not_followed(tmp_path: Path, read: Any) -> None:
    outside = write(tmp_path / "outside", planes())
    nifti(tmp_path / "real.nii.gz")
    folder = tmp_path / "case"
    folder.mkdir()
    (folder / "away").symlink_to(outside)
    (folder / "ct.nii.gz").symlink_to(tmp_path / "real.nii.gz")
    (folder / "loop").symlink_to(folder)
    with pytest.raises(Usage, match="a link, which is not followed"):
        read.cases(folder)


# --- G15 --------------------------------------------------------------------------------------------------------------


@pytest.mark.skipif(sys.platform != "linux", reason="limits memory with setrlimit")
def test_G15_too_little_memory_costs_one_case(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(-1000, 1000, (200, 512, 512), np.int16)
    nifti(tmp_path / "a-large.nii", noise)
    nifti(tmp_path / "b-small.nii")
    code = """
import resource, sys; from pathlib import Path
from unoise_engine.volume.find import find_cases
from unoise_engine.errors import CaseRefused
import SimpleITK
now = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (now + (60 << 20),) * 2)
for case in find_cases([Path(sys.argv[1])]):
    try: print(case.id, case.read().ct.grid.size)
    except CaseRefused as error: print(case.id, error.code)
"""
    run = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, cwd=ROOT)
    assert run.stdout.splitlines() == ["a-large NO_MEMORY", "b-small (48, 40, 20)"], run.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="measures with getrusage")
def test_G15_a_ct_is_read_in_about_its_own_size(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(-1000, 1000, (300, 512, 512), np.int16)
    path = nifti(tmp_path / "ct.nii", noise)
    run = subprocess.run([sys.executable, "-c", MEASURED, str(path)], capture_output=True, text=True, cwd=ROOT)
    code, figures = run.stdout.strip().splitlines()
    assert code == "read" and float(figures.split()[1]) < 1.3 * noise.nbytes / 2**20


# --- G21 --------------------------------------------------------------------------------------------------------------


def test_G21_volumes_that_are_no_3d_scalar_ct(tmp_path: Path, read: Any) -> None:
    good = good_hu()
    cases = {
        "NOT_3D": [
            nifti(tmp_path / "t.nii.gz", np.stack([good, good])),
            nifti(tmp_path / "2d.nii.gz", good[0]),
            metaimage(tmp_path / "2d.mha", NDims="2", DimSize="48 800"),
            nrrd(tmp_path / "2d.nrrd", dimension="2", sizes="48 800", kinds="domain domain"),
            nrrd(tmp_path / "4d.nrrd", dimension="4", sizes="48 40 10 2", kinds="domain domain domain time"),
        ],
        "NOT_SCALAR": [
            nifti(tmp_path / "rgb.nii.gz", good, code=128),
            nifti(tmp_path / "c.nii.gz", good, code=32),
            metaimage(tmp_path / "rgb.mha", ElementNumberOfChannels="3"),
            nrrd(tmp_path / "rgb.nrrd", dimension="4", sizes="3 48 40 20", kinds="RGB-color domain domain domain"),
        ],
        "NOT_CT": [metaimage(tmp_path / "mr.mha", Modality="MET_MOD_MR")],
        "TOO_SMALL": [nifti(tmp_path / "tiny.nii", good[:4, 20:24, 20:24])],
        "TOO_LARGE": [metaimage(tmp_path / "huge.mha", DimSize="4096 4096 4096")],
    }
    for code, paths in cases.items():
        for path in paths:
            assert read.refusal(path).code == code, path


def test_G21_a_fourth_axis_of_one_and_a_single_slice_are_read(tmp_path: Path, read: Any) -> None:
    assert read.error_hu(read.one(nifti(tmp_path / "a.nii", dims=(COLUMNS, ROWS, 20, 1)))) < 0.5
    assert read.one(nifti(tmp_path / "b.nii", good_hu()[10:11])).ct.grid.size == (COLUMNS, ROWS, 1)


def test_a_refusal_takes_no_time(tmp_path: Path) -> None:
    start = time.perf_counter()
    (case, _) = find_cases([nifti(tmp_path / "a.nii", sform=False), nifti(tmp_path / "b.nii")])
    with pytest.raises(CaseRefused):
        case.read()
    assert time.perf_counter() - start < 1
