"""Slice archives: what they must hold, crops back in their place, scale, and the cases that come out."""

import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from unoise_engine.errors import CaseRefused, Usage
from unoise_engine.lab.archive.scale import guess_spacing_mm, torso_px
from unoise_engine.lab.archive.slices import read_archive
from unoise_engine.lab.archive.write import write_cases
from unoise_engine.volume.read import read_image

SIZE = 128


def a_frame(width: Any = 90, organ: Any = (60, 70)) -> Any:
    """Clipped to [0, 255] as the archive is: a ring of muscle, fat inside that reads 0, one organ, a table below."""
    y, x = np.mgrid[:SIZE, :SIZE] - SIZE / 2
    r = np.hypot(x / (width / 2), y / (width / 2.8))
    image = np.zeros((SIZE, SIZE), np.uint8)
    image[(r < 1) & (r > 0.85)] = 60
    mask = np.zeros((SIZE, SIZE), bool)
    mask[organ[0] : organ[0] + 8, organ[1] : organ[1] + 14] = True
    image[mask] = 110
    image[120:122] = 90  # the table, as wide as the picture
    return image, mask


def enlarged(array: Any, margin: Any) -> Any:
    """A crop as the published set has it: without `margin` pixels on each side, enlarged to the frame's size."""
    inner = SIZE - 2 * margin
    nearest = margin + (np.arange(SIZE) + 0.5) * inner / SIZE
    index = nearest.astype(int)
    return array[np.ix_(index, index)]


def write(path: Any, **changes: Any) -> Any:
    image, mask = a_frame()
    small, small_mask = a_frame(width=60)
    arrays = {
        "image": np.stack([image, enlarged(image, 20), small]),
        "mask": np.stack([mask, enlarged(mask, 20), small_mask]),
        "patient": np.array([1, 1, 2]),
        "instance": np.array([9, 4, 1]),
        "margin_px": np.array([0, 20, 0]),
    } | changes
    np.savez_compressed(path, **{k: v for k, v in arrays.items() if v is not None})
    return path


def test_a_crop_goes_back_to_its_place(tmp_path: Path) -> None:
    archive = read_archive(write(tmp_path / "a.npz"))
    _, mask = archive.frame(0)
    back, organ = archive.frame(1)
    assert mask.sum() == 112  # the reference is not trivial
    assert 2 * (organ & mask).sum() / (organ.sum() + mask.sum()) > 0.9
    assert abs(back[mask].mean() - 110) < 12
    assert not back[:20].any() and not back[:, -20:].any()


def test_cases_are_patients_in_order(tmp_path: Path) -> None:
    out = tmp_path / "data"
    names = write_cases(read_archive(write(tmp_path / "a.npz")), out, "pancreas", lambda n: None)
    assert names == ["patient-01", "patient-02"]
    notes = json.loads((out / "archive.json").read_text())
    assert notes["patient-01"]["instances"] == [4, 9]
    ct, labels = (read_image(out / f"patient-01-{what}.nii.gz") for what in ("ct", "labels"))
    assert ct.voxels.shape == labels.voxels.shape == (2, SIZE, SIZE)
    assert set(np.unique(labels.voxels)) == {0, 7} and ct.voxels.max() == 110
    assert ct.grid.spacing_mm[0] == pytest.approx(notes["patient-01"]["spacing_mm"], abs=1e-4)


def test_the_smaller_torso_gets_the_larger_pixel() -> None:
    wide, narrow = a_frame(90)[0], a_frame(60)[0]
    assert abs(torso_px(wide) - 90) <= 3 and abs(torso_px(narrow) - 60) <= 3
    # frames of 512 pixels, as the set has
    scaled = [np.kron(frame, np.ones((4, 4), np.uint8)) for frame in (wide, narrow)]
    large, small = (guess_spacing_mm([frame]) for frame in scaled)
    assert 0.66 <= large < small <= 0.98
    assert guess_spacing_mm([np.zeros((64, 64))]) == 0.80


def test_given_spacing_is_kept(tmp_path: Path) -> None:
    archive = read_archive(write(tmp_path / "a.npz", spacing_mm=np.array([0.7, 0.7, 0.9])))
    write_cases(archive, tmp_path / "data", "pancreas", lambda n: None)
    notes = json.loads((tmp_path / "data" / "archive.json").read_text())
    assert notes["patient-02"]["spacing_mm"] == pytest.approx(0.9) and notes["patient-02"]["spacing"] == "given"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"mask": None}, "holds no array 'mask'"),
        ({"mask": np.zeros((3, 4, 4), bool)}, "mask must be 0 or 1 and shaped"),
        ({"mask": np.full((3, SIZE, SIZE), 3)}, "mask must be 0 or 1"),
        ({"image": np.zeros((3, SIZE, SIZE), np.float32)}, "whole HU, not float32"),
        ({"image": np.zeros((SIZE, SIZE), np.uint8)}, "image must be (n, h, w)"),
        ({"patient": np.array([1, 2])}, "patient must hold 3 values"),
        ({"patient": np.array([0.5, 1, 2])}, "patient must be whole numbers"),
        ({"margin_px": np.array([0, 0, 64])}, "margin_px must lie between"),
        ({"spacing_mm": np.array([1, 1, np.nan])}, "spacing_mm must lie between"),
        ({"spacing_mm": np.array(["0.7", "0.7", "0.7"])}, "spacing_mm must be numbers, not <U3"),
        ({"spacing_mm": np.full(3, 0.7 + 0.1j)}, "spacing_mm must be numbers, not complex128"),
        ({"spacing_mm": np.ones(3, bool)}, "spacing_mm must be numbers, not bool"),
        ({"margin_px": np.array([0, 0, 200], np.uint8)}, "margin_px must lie between"),  # twice that is 144 in 8 bits
        ({"mask": np.full((3, SIZE, SIZE), np.nan)}, "mask must be 0 or 1"),
        ({name: np.zeros((3, 16, 16), np.uint8) for name in ("image", "mask")}, "slices of 16 x 16 pixels"),
        ({"patient": np.array([1, 2, None], object)}, "cannot be read as .npz"),  # a pickle inside
    ],
)
def test_what_does_not_fit_is_one_sentence(tmp_path: Path, changes: Any, words: Any) -> None:
    with pytest.raises(CaseRefused, match=r"BAD_ARCHIVE|a\.npz") as said:
        read_archive(write(tmp_path / "a.npz", **changes))
    assert words in str(said.value) and "\n" not in str(said.value)


def test_no_archive(tmp_path: Path) -> None:
    with pytest.raises(Usage, match="no such file"):
        read_archive(tmp_path / "gone.npz")
    (tmp_path / "text.npz").write_text("no zip")
    with pytest.raises(CaseRefused, match="cannot be read"):
        read_archive(tmp_path / "text.npz")
    with (tmp_path / "bare.npz").open("wb") as file:
        np.save(file, np.zeros((3, SIZE, SIZE), np.int16))
    with pytest.raises(CaseRefused, match="one bare array"):
        read_archive(tmp_path / "bare.npz")
    whole = write(tmp_path / "a.npz").read_bytes()
    (tmp_path / "half.npz").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "flipped.npz").write_bytes(whole[:200] + bytes(200) + whole[400:])
    with zipfile.ZipFile(tmp_path / "other.npz", "w") as other:
        for name in ("image", "mask", "patient"):
            other.writestr(name, "no array")
    for name in ("half", "flipped", "other"):
        with pytest.raises(CaseRefused, match=rf"{name}\.npz - (cannot be read|holds no array)"):
            read_archive(tmp_path / f"{name}.npz")
