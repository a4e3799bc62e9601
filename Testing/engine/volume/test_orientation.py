"""G8: the same body in every orientation, format and voxel type; SimpleITK turns, writes and judges independently."""

from itertools import permutations, product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given, settings
from hypothesis import strategies as st

from Testing.engine.volume.planted import (
    COLUMNS,
    ORIGIN,
    ROWS,
    SLICES,
    SPACING,
    error_hu,
    good_hu,
    hu_at,
    metaimage,
    nifti,
    nrrd,
    world,
)
from unoise_engine.volume.find import find_cases
from unoise_engine.volume.read import read_image
from unoise_engine.volume.volume import AxialView
from unoise_engine.volume.write import to_image

CODES = [
    "".join(axis[side] for axis, side in zip(order, sides))
    for order in permutations(("RL", "AP", "IS"))
    for sides in product((0, 1), repeat=3)
]


def reference() -> Any:
    image = sitk.GetImageFromArray(good_hu())
    image.SetSpacing(SPACING)
    image.SetOrigin(ORIGIN)
    return image


def test_there_are_48_orientations() -> None:
    assert len(set(CODES)) == 48


@pytest.mark.parametrize("suffix", [".nii.gz", ".nrrd", ".mha"])
def test_G8_48_orientations_give_the_same_mask_in_the_world(tmp_path: Path, read: Any, suffix: Any) -> None:
    """Dice 1.0: the axial view is the same array for all, and its mask, put back, is SimpleITK's own turned back."""
    wanted = good_hu()
    for code in CODES:
        turned = sitk.DICOMOrient(reference(), code)
        path = tmp_path / f"{code}{suffix}"
        sitk.WriteImage(turned, str(path))
        ct = read.one(path).ct
        np.testing.assert_array_equal(ct.voxels, sitk.GetArrayFromImage(turned))
        view = AxialView.of(ct.grid)
        axial = view.apply(ct.voxels)
        np.testing.assert_array_equal(axial, wanted)
        assert view.spacing_mm == pytest.approx(SPACING[::-1])
        back = ct.with_voxels(np.ascontiguousarray(view.undo((axial > 100).astype(np.uint8))))
        again = sitk.DICOMOrient(to_image(back), "LPS")
        np.testing.assert_array_equal(sitk.GetArrayFromImage(again), wanted > 100)
        np.testing.assert_allclose(again.GetOrigin(), ORIGIN, atol=1e-3)


@settings(max_examples=40, deadline=None)
@given(
    angles=st.tuples(*[st.floats(-0.7, 0.7)] * 3),
    spacing=st.tuples(*[st.floats(0.4, 6)] * 3),
    code=st.sampled_from(CODES),
    suffix=st.sampled_from([".nii", ".nii.gz", ".nrrd", ".mha", ".mhd"]),
    kind=st.sampled_from([np.int16, np.int32, np.float32, np.float64]),
    packed=st.booleans(),
)
def test_G8_oblique_grids_of_any_type_agree_with_simpleitk(
    tmp_path_factory: pytest.TempPathFactory, angles: Any, spacing: Any, code: Any, suffix: Any, kind: Any, packed: Any
) -> None:
    x, y, z = angles
    turn = sitk.Euler3DTransform((0, 0, 0), x, y, z).GetMatrix()
    size = tuple(int(np.clip(np.ceil(70 / s), 9, 60)) for s in spacing)
    steps = np.reshape(turn, (3, 3)) * spacing
    origin = -steps @ (np.array(size) - 1) / 2
    hu = np.rint(hu_at(world(size, steps, origin)))
    image = sitk.GetImageFromArray(hu.astype(kind))
    image.SetSpacing(spacing)
    image.SetOrigin(origin)
    image.SetDirection(turn)
    image = sitk.DICOMOrient(image, code)
    path = tmp_path_factory.mktemp("ct") / f"ct{suffix}"
    sitk.WriteImage(image, str(path), useCompression=packed)
    (case,) = find_cases([path])
    ct = case.read().ct
    assert ct.voxels.dtype == np.int16
    np.testing.assert_array_equal(ct.voxels, sitk.GetArrayFromImage(image))
    grid, last = ct.grid, [n - 1 for n in image.GetSize()]
    assert grid.size == image.GetSize()
    for corner in product(*((0, n) for n in last)):
        place = np.reshape(grid.direction, (3, 3)) @ (np.array(grid.spacing_mm) * corner) + grid.origin_mm
        np.testing.assert_allclose(place, image.TransformIndexToPhysicalPoint(corner), atol=2e-3)
    steps = np.reshape(grid.direction, (3, 3)) * grid.spacing_mm
    assert error_hu(ct.voxels, steps, grid.origin_mm) < 1


def test_G8_big_endian_and_scaled_nifti(tmp_path: Path, read: Any) -> None:
    plain = read.one(nifti(tmp_path / "plain.nii")).ct.voxels
    np.testing.assert_array_equal(read.one(nifti(tmp_path / "big.nii", order=">")).ct.voxels, plain)
    shifted = nifti(tmp_path / "shift.nii.gz", (good_hu() + 1024).astype("u2"), intercept=-1024)
    np.testing.assert_array_equal(read.one(shifted).ct.voxels, plain)
    halved = nifti(tmp_path / "half.nii.gz", (good_hu() * 2).astype("i2"), slope=0.5)
    np.testing.assert_array_equal(read.one(halved).ct.voxels, plain)
    for slope in (0.0, np.nan):
        np.testing.assert_array_equal(read.one(nifti(tmp_path / "s.nii", slope=slope)).ct.voxels, plain)


def test_G8_units_of_length(tmp_path: Path, read: Any) -> None:
    metres = nifti(tmp_path / "m.nii", steps=np.diag(SPACING) / 1000, origin=np.array(ORIGIN) / 1000, units=1)
    assert read.error_hu(read.one(metres)) < 0.5


def test_G8_ras_and_las_nrrd(tmp_path: Path, read: Any) -> None:
    x, y, z = SPACING
    ras = nrrd(
        tmp_path / "ras.nrrd",
        space="right-anterior-superior",
        space_directions=f"(-{x},0,0) (0,-{y},0) (0,0,{z})",
        space_origin=f"({-ORIGIN[0]},{-ORIGIN[1]},{ORIGIN[2]})",
    )
    assert read.error_hu(read.one(ras)) < 0.5
    assert read.one(ras).ct.grid.origin_mm == pytest.approx(sitk.ReadImage(str(ras)).GetOrigin())


def qform(apart: Any) -> Any:
    return (-ORIGIN[0] + apart, -ORIGIN[1], ORIGIN[2])


@pytest.mark.parametrize("apart", [0.0, 0.05])
def test_G8_sform_and_qform_that_agree(tmp_path: Path, read: Any, apart: Any) -> None:
    reading = read.one(nifti(tmp_path / "ct.nii.gz", qform_offset=qform(apart)))
    assert read.error_hu(reading) < 1 and reading.notes == ()


@pytest.mark.parametrize("apart", [0.15, 40.0])
def test_G8_sform_and_qform_apart_are_refused(tmp_path: Path, read: Any, apart: Any) -> None:
    error = read.refusal(nifti(tmp_path / "ct.nii.gz", qform_offset=qform(apart)))
    assert error.code == "ORIENTATION_CONFLICT" and (apart < 1 or "40.0 mm apart" in str(error))


def test_G8_qform_alone(tmp_path: Path, read: Any) -> None:
    reading = read.one(nifti(tmp_path / "ct.nii.gz", sform=False, qform_offset=qform(0)))
    assert read.error_hu(reading) < 0.5


@pytest.mark.parametrize("axis", [(0, 1), (1, 2), (0, 2)])
def test_G8_shear_is_resampled_and_results_go_back(tmp_path: Path, read: Any, axis: Any) -> None:
    steps = np.diag(SPACING).astype(float)
    steps[axis] += 0.8
    size = (COLUMNS, ROWS, SLICES)
    hu = np.rint(hu_at(world(size, steps, ORIGIN))).astype("i2")
    reading = read.one(nifti(tmp_path / "ct.nii.gz", hu, steps=steps))
    assert "sheared" in reading.notes[0] and read.error_hu(reading) < 8
    back = np.stack([*reading.planes.bring_back(reading.ct)])
    assert back.shape == hu.shape and np.abs(back - hu)[back > -1020].mean() < 15


def test_G8_slight_shear_of_rounding_is_none(tmp_path: Path, read: Any) -> None:
    steps = np.diag(SPACING) + 1e-5
    assert read.one(nifti(tmp_path / "ct.nii.gz", steps=steps)).notes == ()


def test_G8_no_orientation_is_refused(tmp_path: Path, read: Any) -> None:
    for path in (
        nifti(tmp_path / "a.nii.gz", sform=False),
        metaimage(tmp_path / "a.mha", TransformMatrix=""),
        nrrd(tmp_path / "a.nrrd", space=""),
    ):
        assert read.refusal(path).code == "NO_ORIENTATION"


@pytest.mark.parametrize("bad", [0.0, np.nan, np.inf, 1e6])
def test_G8_impossible_geometry_is_refused(tmp_path: Path, read: Any, bad: Any) -> None:
    steps = np.diag(SPACING).astype(float)
    steps[1, 1] = bad
    assert read.refusal(nifti(tmp_path / "a.nii", steps=steps)).code == "GEOMETRY"


def test_labels_keep_their_type(tmp_path: Path) -> None:
    labels = (good_hu() > 100).astype(np.uint8) * 7
    found = read_image(nifti(tmp_path / "labels.nii.gz", labels))
    assert found.voxels.dtype == np.uint8 and set(np.unique(found.voxels)) == {0, 7}


AXES = [
    f"{a}{b}{c}"
    for a, b, c in product("LRAPSI", repeat=3)
    if sorted("LRAPSI".index(letter) // 2 for letter in (a, b, c)) == [0, 1, 2]
]


@pytest.mark.parametrize("axes", AXES)
def test_what_itk_writes_in_any_orientation_agrees_with_itself(tmp_path: Path, axes: str) -> None:
    """Single precision leaves of half a turn's quaternion a first part that is not 0: 0.2 mm at a corner."""
    image = sitk.Image([60, 61, 62], sitk.sitkInt16)
    image.SetSpacing((7.1, 7.3, 7.7))
    image.SetOrigin((-211.3, -180.7, 33.1))
    turned = sitk.DICOMOrient(image, axes)
    sitk.WriteImage(turned, str(tmp_path / "ct.nii.gz"))
    grid = read_image(tmp_path / "ct.nii.gz").grid
    assert np.allclose(grid.direction, turned.GetDirection(), atol=1e-6)
    assert np.allclose(grid.origin_mm, turned.GetOrigin(), atol=1e-3)
