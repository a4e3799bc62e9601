"""G7: transfer syntaxes are decoded, or refused naming the syntax and the package; with the odd files of others."""

import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from pydicom.uid import UID

from Testing.engine.conftest import SHARED
from Testing.engine.volume.planted import COLUMNS, ROWS, compress, enhanced, good_hu, planes, stored, write
from unoise_engine.errors import CaseRefused, Usage
from unoise_engine.volume.codestream import is_whole, size_in
from unoise_engine.volume.decode import hu_slices
from unoise_engine.volume.dicom_images import Image

BASIC = {
    "implicit little endian": "1.2.840.10008.1.2",
    "explicit big endian": "1.2.840.10008.1.2.2",
    "deflated": "1.2.840.10008.1.2.1.99",
    "RLE": "1.2.840.10008.1.2.5",
    "JPEG 2000 lossless": "1.2.840.10008.1.2.4.90",
}


@pytest.mark.parametrize("name", BASIC)
def test_G7_syntaxes_that_need_no_further_package(tmp_path: Path, read: Any, name: Any) -> None:
    folder = write(tmp_path / "ct", planes())
    for path in folder.iterdir():
        ds = pydicom.dcmread(path)
        if BASIC[name].endswith("4.90"):
            ds.PixelData = pydicom.encaps.encapsulate([jpeg_2000(ds.pixel_array)])
            ds["PixelData"].VR = "OB"
            ds.file_meta.TransferSyntaxUID = UID(BASIC[name])
            ds.save_as(path)
        elif BASIC[name] == "1.2.840.10008.1.2.5":
            ds.compress(BASIC[name])
            ds.save_as(path)
        else:
            if "big" in name:
                ds.PixelData = np.frombuffer(ds.PixelData, "<u2").astype(">u2").tobytes()
            ds.file_meta.TransferSyntaxUID = UID(BASIC[name])
            little, implicit = "big" not in name, "implicit" in name
            pydicom.dcmwrite(path, ds, little_endian=little, implicit_vr=implicit, enforce_file_format=True)
    assert pydicom.dcmread(path).file_meta.TransferSyntaxUID == BASIC[name]
    assert read.error_hu(read.one(folder)) < 0.5


@pytest.mark.parametrize("name", ["explicit little endian", *BASIC])
def test_G7_multi_frame_in_the_same_syntaxes(tmp_path: Path, read: Any, name: Any) -> None:
    one = enhanced(planes())
    ds = one.dataset
    pixels = np.frombuffer(ds.PixelData, "<u2").reshape(len(planes()), ROWS, COLUMNS)
    syntax = BASIC.get(name, "1.2.840.10008.1.2.1")
    little, implicit = "big" not in name, "implicit" in name
    if name == "JPEG 2000 lossless":
        ds.PixelData = pydicom.encaps.encapsulate([jpeg_2000(p) for p in pixels])
        ds["PixelData"].VR = "OB"
    elif name == "RLE":
        ds.compress(syntax, encoding_plugin="pydicom")
    else:
        ds.PixelData = pixels.astype("<u2" if little else ">u2").tobytes()
    ds.file_meta.TransferSyntaxUID = UID(syntax)
    ds.file_meta.MediaStorageSOPClassUID, ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPClassUID, ds.SOPInstanceUID
    path = tmp_path / "all.dcm"
    pydicom.dcmwrite(path, ds, little_endian=little, implicit_vr=implicit, enforce_file_format=True)
    reading = read.one(path)
    assert np.array_equal(reading.ct.voxels, good_hu()) and reading.notes == ()
    whole = path.read_bytes()
    for share in (0.5, 0.98):
        path.write_bytes(whole[: int(len(whole) * share)])
        try:
            assert read.refusal(path).code in ("TRUNCATED", "UNDECODABLE")
        except Usage as error:  # deflated: the header is cut off too
            assert name == "deflated" and "damaged" in str(error)


def test_G9_multi_frame_without_pixels(tmp_path: Path, read: Any) -> None:
    one = enhanced(planes())
    del one.dataset.PixelData
    assert read.refusal(write(tmp_path / "ct", [one])).code == "TRUNCATED"


def test_G7_jpeg_ls_with_or_without_pyjpegls(tmp_path: Path, read: Any) -> None:
    jpeg_ls = pytest.importorskip("jpeg_ls", reason="pyjpegls writes the test's files")
    slices = planes()
    for one in slices:
        compress(one, "1.2.840.10008.1.2.4.80", lambda a: _even(bytes(jpeg_ls.encode_array(a))))
    folder = write(tmp_path / "ct", slices)
    assert read.error_hu(read.one(folder)) < 0.5


def jpeg_2000(pixels: Any) -> Any:
    """Encoded by SimpleITK, taken out of the file it writes."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "slice.dcm")
        sitk.WriteImage(sitk.GetImageFromArray(pixels[None]), str(path), True)
        ds = pydicom.dcmread(path)
        assert ds.file_meta.TransferSyntaxUID == BASIC["JPEG 2000 lossless"]
        return pydicom.encaps.get_frame(ds.PixelData, 0, number_of_frames=1)


def _even(data: Any) -> Any:
    return data + b"\0" * (len(data) % 2)


def lossless_jpeg(pixels: np.ndarray) -> bytes:
    """A minimal encoder of lossless JPEG (process 14, predictor 1): 17 code lengths of 5 bits, then the raw bits."""
    rows, columns = pixels.shape
    bits = []
    values = pixels.astype(int)
    predicted = np.empty_like(values)
    predicted[:, 1:] = values[:, :-1]
    predicted[1:, 0] = values[:-1, 0]
    predicted[0, 0] = 1 << 15
    for d in ((values - predicted + 32768) % 65536 - 32768).ravel():
        size = int(abs(int(d))).bit_length()
        bits.append(f"{size:05b}" + (f"{d if d > 0 else d + (1 << size) - 1:0{size}b}" if 0 < size < 16 else ""))
    text = "".join(bits)
    text += "1" * (-len(text) % 8)
    scan = int(text, 2).to_bytes(len(text) // 8, "big").replace(b"\xff", b"\xff\0")
    frame = (
        b"\xff\xc3"
        + (11).to_bytes(2, "big")
        + b"\x10"
        + rows.to_bytes(2, "big")
        + columns.to_bytes(2, "big")
        + b"\x01\x01\x11\0"
    )
    table = (
        b"\xff\xc4" + (2 + 17 + 17).to_bytes(2, "big") + b"\0" + bytes([0, 0, 0, 0, 17] + [0] * 11) + bytes(range(17))
    )
    start = b"\xff\xda" + (8).to_bytes(2, "big") + b"\x01\x01\0\x01\0\0"
    return _even(b"\xff\xd8" + frame + table + start + scan + b"\xff\xd9")


def test_G7_lossless_jpeg_is_decoded_without_a_package(tmp_path: Path, read: Any) -> None:
    slices = planes()
    for one in slices:
        compress(one, "1.2.840.10008.1.2.4.70", lossless_jpeg)
    assert read.error_hu(read.one(write(tmp_path / "ct", slices))) < 0.5


@pytest.mark.parametrize(
    ("syntax", "name"),
    [
        ("1.2.840.10008.1.2.4.203", "High-Throughput JPEG 2000"),
        ("1.2.840.10008.1.2.4.102", "MPEG-4 AVC"),
    ],
)
def test_G7_syntaxes_without_a_decoder_are_named(
    tmp_path: Path, read: Any, monkeypatch: pytest.MonkeyPatch, syntax: Any, name: Any
) -> None:
    from unoise_engine.volume import decode

    monkeypatch.setattr(decode, "_decodable", lambda uid: False)  # as on a machine without optional packages
    slices = planes()
    for one in slices:
        compress(one, syntax, lambda a: b"\xff\x4f\xff\xd9")
    error = read.refusal(write(tmp_path / "ct", slices))
    assert error.code == "UNDECODABLE" and name in str(error)
    assert ("install pylibjpeg-openjpeg" in str(error)) == ("2000" in name)


@pytest.mark.parametrize("percent", [10, 50, 90, 99])
def test_G7_a_cut_jpeg_2000_stream_is_refused_not_half_decoded(tmp_path: Path, read: Any, percent: Any) -> None:
    slices = planes()
    for one in slices:
        compress(one, BASIC["JPEG 2000 lossless"], jpeg_2000)
    folder = write(tmp_path / "ct", slices)
    victim = folder / "slice006.dcm"
    ds = pydicom.dcmread(victim)
    stream = pydicom.encaps.get_frame(ds.PixelData, 0, number_of_frames=1)
    ds.PixelData = pydicom.encaps.encapsulate([_even(stream[: len(stream) * percent // 100])])
    ds.save_as(victim)
    assert read.refusal(folder).code in ("TRUNCATED", "UNDECODABLE")
    victim.write_bytes(victim.read_bytes()[:-200])  # and the file itself
    assert read.refusal(folder).code in ("TRUNCATED", "UNDECODABLE", "MISSING_SLICE", "HU_SUSPECT")


def test_G7_overlay_bits_are_no_hu(tmp_path: Path, read: Any) -> None:
    slices = planes()
    for one in slices:
        pixels = stored(one)
        pixels[5, 5:20] |= 0x1000
        one.dataset.PixelData = pixels.tobytes()
        one.dataset.add_new((0x6000, 0x0100), "US", 16)
        one.dataset.add_new((0x6000, 0x0102), "US", 12)
    assert read.error_hu(read.one(write(tmp_path / "ct", slices))) < 0.5


# --- the odd files of others ------------------------------------------------------------------------------------------


def decoded(path: Path) -> np.ndarray:
    """The stored pixels of any single-frame grey image, whatever its modality, by this project's decoder."""
    ds = pydicom.dcmread(path)
    image = Image(
        path, 0, 1, "s", 0, "", ds.Rows, ds.Columns, (0, 0, 0), (1, 0, 0), (0, 1, 0), (1, 1), 1.0, 0.0, None, False,
        ds.BitsStored, ds.PixelRepresentation == 1,
    )  # fmt: skip
    ((hu, _),) = hu_slices([image], path)
    return hu


def needs(path: Path) -> Path:
    if not path.exists():
        pytest.skip(f"needs {path.name} of the shared data")
    return path


@pytest.mark.parametrize("name", ["JLSL_08_07_0_1F.dcm", "JLSL_16_15_1_1F.dcm", "693_J2KR.dcm"])
def test_real_odd_files_decode_the_same_with_both_decoders(name: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from unoise_engine.volume import decode

    path = needs(SHARED / "data" / "public-dicom" / "pydicom-data" / name)
    if "08_07" in name:
        pytest.importorskip("jpeg_ls", reason="GDCM knows no 7 bits: needs pyjpegls")
        assert decoded(path).std() > 1
        return
    first = decoded(path)
    monkeypatch.setattr(decode, "_decodable", lambda uid: False)
    second = decoded(path)
    assert first.std() > 1
    np.testing.assert_array_equal(first, second)


REAL = {
    "dicom2nifti/sliceincrement/001": "MISSING_SLICE", "dicom2nifti/sliceincrement/002": "MISSING_SLICE",
    "dicom2nifti/notavolume/001": "DUPLICATE_SLICE", "dicom2nifti/slicecount/001": "modality MR",
    "highdicom": "ONE_SLICE", "pydicom-data": "ONE_SLICE", "pydicom-data/eCT_Supplemental.dcm": "other values than HU",
}  # fmt: skip


@pytest.mark.parametrize("name", REAL)
def test_real_odd_series_are_refused(read: Any, name: Any) -> None:
    path = needs(SHARED / "data" / "public-dicom" / name)
    with pytest.raises((CaseRefused, Usage)) as caught:
        for case in read.cases(path):
            if case.source.suffix != ".gz":
                case.read()
    assert REAL[name] in (str(caught.value), getattr(caught.value, "code", "")) or REAL[name] in str(caught.value)


def test_the_real_ct_is_read_as_simpleitk_reads_it(read: Any) -> None:
    folder = needs(SHARED / "data" / "ct-upper-abdomen-dicom")
    reading = read.one(folder)
    names = sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(folder))
    image = sitk.ReadImage(names)
    assert reading.notes == () and reading.ct.voxels.dtype == np.int16
    np.testing.assert_array_equal(reading.ct.voxels, sitk.GetArrayViewFromImage(image))
    np.testing.assert_allclose(reading.ct.grid.origin_mm, image.GetOrigin(), atol=1e-4)
    np.testing.assert_allclose(reading.ct.grid.spacing_mm, image.GetSpacing(), atol=1e-4)


@pytest.mark.parametrize("package", ["pydicom.data", "data_store"])
def test_whole_collections_of_odd_files_end_in_lines(package: Any) -> None:
    """Every file that comes with pydicom and pydicom-data: read as one cohort in a process of its own, silently."""
    module = pytest.importorskip(package, reason=f"needs {package}")
    folder = Path(module.__file__).parent
    code = """
import sys; from pathlib import Path
from unoise_engine.volume.find import find_cases
from unoise_engine.errors import CaseRefused
for case in find_cases([Path(sys.argv[1])], tell=print):
    try: case.read(); print("OK", case.id)
    except CaseRefused as error: print("REFUSED", case.id, error.code)
"""
    run = subprocess.run(
        [sys.executable, "-c", code, str(folder)], capture_output=True, text=True, cwd=Path(__file__).parents[3]
    )
    assert run.returncode == 0 and run.stderr == "", run.stderr[-2000:]
    assert "SKIPPED" in run.stdout and "REFUSED" in run.stdout


def test_what_streams_say_of_themselves() -> None:
    assert size_in(lossless_jpeg(np.ones((30, 20), int))) == (30, 20)
    assert is_whole(lossless_jpeg(np.ones((30, 20), int)))
    assert size_in(b"") is None and size_in(b"\xff\xd8\xff\xe0") is None and not is_whole(b"\xff\xd8\xff")
