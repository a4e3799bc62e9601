"""Files in, volumes out: the same voxels and grid in every format, and one sentence for what cannot be read."""

import gzip
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk

from Testing.engine.conftest import image_of
from unoise_engine.errors import CaseRefused, Environment, Usage
from unoise_engine.files import INVENTORY
from unoise_engine.volume.find import find_cases
from unoise_engine.volume.names import safe_id
from unoise_engine.volume.read import check_ct, read_image
from unoise_engine.volume.write import write_volume


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz", ".nrrd", ".mha", ".mhd"])
def test_every_format_reads_as_simpleitk_wrote_it(ct: Any, tmp_path: Path, suffix: Any) -> None:
    path = tmp_path / f"a{suffix}"
    sitk.WriteImage(image_of(ct), str(path), suffix != ".nii")
    got = read_image(path)
    assert (got.voxels == ct.voxels).all() and got.voxels.dtype == ct.voxels.dtype
    assert got.grid.size == ct.grid.size
    assert np.allclose(got.grid.origin_mm, ct.grid.origin_mm) and np.allclose(got.grid.spacing_mm, ct.grid.spacing_mm)


@pytest.mark.parametrize("suffix", [".nii.gz", ".nrrd"])
def test_written_volumes_read_back(ct: Any, tmp_path: Path, suffix: Any) -> None:
    path = tmp_path / f"a{suffix}"
    write_volume(ct, path)
    image = sitk.ReadImage(str(path))
    assert (sitk.GetArrayFromImage(image) == ct.voxels).all()
    assert np.allclose(image.GetOrigin(), ct.grid.origin_mm) and np.allclose(image.GetDirection(), ct.grid.direction)
    assert sorted(p.name for p in tmp_path.iterdir()) == [INVENTORY, path.name]


def test_a_failed_write_keeps_the_earlier_file(ct: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.nii.gz"
    path.write_bytes(b"earlier")

    def broken(*_: Any, **__: Any) -> None:
        raise RuntimeError("ITK ERROR: no space")

    monkeypatch.setattr(sitk, "WriteImage", broken)
    with pytest.raises(Environment, match=r"a\.nii\.gz - cannot be written"):
        write_volume(ct, path)
    assert path.read_bytes() == b"earlier" and len(list(tmp_path.iterdir())) == 1


def wrong_files(home: Any, ct: Any) -> Any:
    """name -> code of the refusal; the files lie in `home`."""
    sitk.WriteImage(sitk.GetImageFromArray(np.zeros((9, 9), np.int16)), str(home / "flat.nii.gz"))
    volume = sitk.GetImageFromArray(np.zeros((4, 9, 9), np.int16))
    sitk.WriteImage(sitk.JoinSeries([volume, volume]), str(home / "four.nii.gz"))
    sitk.WriteImage(sitk.GetImageFromArray(np.zeros((4, 9, 9, 3), np.uint8), isVector=True), str(home / "rgb.nrrd"))
    (home / "zero.nii.gz").touch()
    (home / "text.nii.gz").write_text("hello")
    (home / "text.nrrd").write_text("hello")
    (home / "away.nrrd").write_text("NRRD0004\ntype: uchar\ndimension: 3\nsizes: 2 2 2\ndata file: /etc/passwd\n\n")
    sheared = "NRRD0004\ntype: uchar\ndimension: 3\nsizes: 9 9 4\nspace: left-posterior-superior\nencoding: raw\n"
    sheared += "space directions: (1,0,0) (0.3,1,0) (0,0,2)\n\n"
    (home / "sheared.nrrd").write_bytes(sheared.encode() + bytes(range(162)) * 2)
    meta = "ObjectType = Image\nNDims = 3\nDimSize = 2 2 2\nElementType = MET_UCHAR\nElementDataFile = "
    (home / "away.mhd").write_text(meta + "../secret.raw\n")
    codes = {
        "flat.nii.gz": "NOT_3D",
        "four.nii.gz": "NOT_3D",
        "rgb.nrrd": "NOT_SCALAR",
        "zero.nii.gz": "EMPTY_FILE",
        "text.nii.gz": "DAMAGED",
        "text.nrrd": "DAMAGED",
        "away.nrrd": "DETACHED_DATA",
        "away.mhd": "DETACHED_DATA",
        "sheared.nrrd": "SHEARED",
    }
    for name, packed in [("a.nii.gz", 1), ("b.nii", 0), ("c.nrrd", 1), ("d.nrrd", 0), ("e.mha", 1), ("f.mha", 0)]:
        sitk.WriteImage(image_of(ct), str(home / name), bool(packed))
        whole = (home / name).read_bytes()
        (home / f"cut-{name}").write_bytes(whole[: len(whole) // 2])
        codes[f"cut-{name}"] = "TRUNCATED"
    return codes


def test_wrong_files_are_refused_with_a_sentence(ct: Any, tmp_path: Path) -> None:
    for name, code in wrong_files(tmp_path, ct).items():
        with pytest.raises(CaseRefused) as refused:
            read_image(tmp_path / name)
        assert refused.value.code == code, (name, str(refused.value))
        file, what, cure = str(refused.value).split(" - ")
        assert name in file and what and cure and "\n" not in str(refused.value)


def test_a_damaged_gzip_is_noticed(ct: Any, tmp_path: Path) -> None:
    path = tmp_path / "a.nii.gz"
    with gzip.open(path, "wb") as f:  # whole gzip, short content
        sitk.WriteImage(image_of(ct), str(tmp_path / "b.nii"))
        f.write((tmp_path / "b.nii").read_bytes()[:-100])
    with pytest.raises(CaseRefused, match="cut off"):
        read_image(path)


@pytest.mark.parametrize("value", [np.nan, 5.0])
def test_nothing_to_see_is_refused(ct: Any, value: Any) -> None:
    with pytest.raises(CaseRefused):
        check_ct(ct.with_voxels(np.full(ct.voxels.shape, value, np.float32)), "a.nrrd")


def test_finding_cases(ct: Any, tmp_path: Path) -> None:
    for name in ("b.nrrd", "A.nii.gz", "a.nii.gz", "notes.txt"):
        path = tmp_path / name
        path.write_text("x") if name.endswith("txt") else sitk.WriteImage(image_of(ct), str(path))
    cases = find_cases([tmp_path])
    assert [c.id for c in cases] == ["A", "a-2", "b"]  # distinct also where A and a are one name
    with pytest.raises(Usage, match="does not exist"):
        find_cases([tmp_path / "none"])
    with pytest.raises(Usage, match="not a kind of file"):
        find_cases([tmp_path / "notes.txt"])
    (tmp_path / "empty").mkdir()
    with pytest.raises(Usage, match="holds no CT"):
        find_cases([tmp_path / "empty"])


@pytest.mark.parametrize("name", ["a b", "../../etc", "-rf", ".hidden", "ä/ö", "x" * 300, "\n", ""])
def test_safe_ids(name: Any) -> None:
    made = safe_id(name)
    assert made and len(made) <= 80 and made[0] not in ".-" and not set(made) & set("/\\ \n")
