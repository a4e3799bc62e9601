"""Voxels made plane by plane are those that were made at once, and files written so are those that ITK writes."""

import gzip
import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk

from Testing.engine.conftest import ellipsoid_ct, image_of
from unoise_engine.models import input as module
from unoise_engine.models.input import Input
from unoise_engine.models.recipe import Recipe
from unoise_engine.volume.read import from_image
from unoise_engine.volume.volume import AxialView
from unoise_engine.volume.write import write_volume

ORIENTATIONS = [
    "".join(letters)
    for axes in itertools.permutations(["LR", "PA", "SI"])
    for letters in itertools.product(*axes)
]  # fmt: skip


def at_once(given: Any, maps: Any, ct: Any, start: Any) -> Any:
    """The plain way: all voxels in memory."""
    out = np.zeros(ct.voxels.shape, np.float32)
    axial = given.view.apply(out)
    rows, columns = given.back
    for k, one in enumerate(maps):
        axial[start + k] = rows @ one @ columns.T
    return out


def world(code: Any) -> Any:
    image = sitk.DICOMOrient(image_of(ellipsoid_ct(shape=(7, 20, 26))), code if code != "oblique" else "LPS")
    if code == "oblique":
        image.SetDirection(sitk.Euler3DTransform((0, 0, 0), 0.2, -0.15, 0.3).GetMatrix())
    return from_image(image)


@pytest.mark.parametrize("code", [*ORIENTATIONS, "oblique"])
def test_planes_are_what_is_made_at_once(code: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BLOCK_BYTES", 2000)  # two planes or three
    ct = world(code)
    given = Input.of(ct, Recipe(spacing_mm=1.7), 1, 6)
    windowed = given.windowed()
    maps = windowed - np.float32(0.4)
    wanted = at_once(given, maps, ct, 1)
    found = given.restore(maps)
    assert np.array_equal(np.stack([*found.planes()]), wanted) and np.array_equal(found.voxels, wanted)
    assert found.voxels.dtype == found.dtype == np.float32 and (wanted > 0).any()
    assert np.array_equal(np.stack([*found.slices()]), AxialView.of(ct.grid).apply(wanted))
    mask = given.restore(maps, label=7)
    assert np.array_equal(np.stack([*mask.planes()]), (wanted > 0).astype(np.uint8) * 7)
    assert mask.voxels.dtype == mask.dtype == np.uint8 and mask.volume().grid == ct.grid


@pytest.mark.parametrize(("room", "times"), [(1 << 20, 5), (2 * 4 * 26 * 20, 20), (1, 35)])
def test_as_many_planes_as_there_is_room_for_are_made_at_once(
    room: int, times: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Seven coronal planes of 26 x 20: of five slices each is restored once for every block of planes."""
    monkeypatch.setattr(module, "BLOCK_BYTES", room)
    ct = from_image(sitk.DICOMOrient(image_of(ellipsoid_ct(shape=(20, 7, 26))), "LSP"))
    assert ct.grid.shape == (7, 20, 26)
    given, plain = Input.of(ct, Recipe(spacing_mm=1.7), 1, 6), module.Restored.slice
    made: list[int] = []

    def counted(self: module.Restored, k: int) -> np.ndarray:
        made.append(k)
        return plain(self, k)

    monkeypatch.setattr(module.Restored, "slice", counted)
    assert len([*given.restore(given.windowed()).planes()]) == 7 and len(made) == times


@pytest.mark.parametrize("suffix", [".nii.gz", ".nrrd"])
@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.float32])
@pytest.mark.parametrize("code", ["LPS", "RAI", "SRP", "AIL", "oblique"])
def test_files_are_those_of_itk(code: Any, dtype: Any, suffix: Any, tmp_path: Path) -> None:
    ct = world(code)
    ct = ct.with_voxels(ct.voxels.astype(dtype))
    write_volume(ct, tmp_path / f"here{suffix}")
    sitk.WriteImage(image_of(ct), str(tmp_path / f"itk{suffix}"), useCompression=True)
    here, itk = ((tmp_path / f"{name}{suffix}").read_bytes() for name in ("here", "itk"))
    if suffix == ".nrrd":
        (head, here), (wanted, itk) = here.split(b"\n\n", 1), itk.split(b"\n\n", 1)
        assert head == wanted
    assert gzip.decompress(here) == gzip.decompress(itk)
    assert sorted(p.name for p in tmp_path.glob("[!.]*")) == [f"here{suffix}", f"itk{suffix}"]
