"""G1, G2, G4: missing, doubled, uneven and tilted slices."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from Testing.engine.volume.planted import ORIGIN, SLICES, SPACING, error_hu, hu_at, planes, stored, write
from unoise_engine.volume import straighten

PLACES = [ORIGIN[2] + SPACING[2] * k for k in range(SLICES)]


def test_a_good_series_is_read_as_it_is(tmp_path: Path, read: Any) -> None:
    shuffled = planes()
    for k, one in enumerate(shuffled):
        one.name = f"{(7 * k) % SLICES:03d}.dcm"  # file order is not slice order
    reading = read.one(write(tmp_path / "ct", shuffled))
    assert reading.notes == () and read.skipped == []
    assert reading.ct.voxels.dtype == np.int16
    assert reading.ct.grid.size == (48, 40, SLICES) and reading.ct.grid.spacing_mm == SPACING
    assert reading.ct.grid.origin_mm == ORIGIN
    assert read.error_hu(reading) < 0.5
    assert [p.name for p in reading.slice_files] == [one.name for one in shuffled]
    assert reading.slice_frames == (1,) * SLICES


@pytest.mark.parametrize("gone", [[1], [SLICES // 2], [7, 8], [SLICES - 2]])
def test_G1_missing_slices_are_refused_with_the_gap_and_the_files(tmp_path: Path, read: Any, gone: Any) -> None:
    slices = [one for k, one in enumerate(planes()) if k not in gone]
    error = read.refusal(write(tmp_path / "ct", slices))
    assert error.code == "MISSING_SLICE"
    assert f"{3 * (len(gone) + 1):.2f} mm between slice{gone[0] - 1:03d}.dcm and slice{gone[-1] + 1:03d}.dcm" in str(
        error
    )
    assert "--fill-gaps" in str(error)


@pytest.mark.parametrize("kept", [(0, 1, 3), (0, 1, 3, 5, 6), [k for k in range(SLICES) if k % 3 != 2]])
def test_G1_as_many_gaps_as_good_steps_are_no_variable_spacing(tmp_path: Path, read: Any, kept: Any) -> None:
    slices = planes()
    assert read.refusal(write(tmp_path / "ct", [slices[k] for k in kept])).code == "MISSING_SLICE"


def test_G1_fill_gaps_interpolates_and_says_so(tmp_path: Path, read: Any) -> None:
    folder = write(tmp_path / "ct", [one for k, one in enumerate(planes()) if k != 9])
    reading = read.one(folder, fill_gaps=True)
    assert reading.ct.grid.size[2] == SLICES and reading.ct.grid.spacing_mm[2] == pytest.approx(3)
    assert len(reading.notes) == 1 and "6.00 mm between slice008.dcm and slice010.dcm" in reading.notes[0]
    assert read.error_hu(reading) < 2
    assert len(reading.original_files) == SLICES - 1 and reading.slice_files == ()


def test_G1_a_gap_too_wide_to_fill_stays_refused(tmp_path: Path, read: Any) -> None:
    folder = write(tmp_path / "ct", [one for k, one in enumerate(planes()) if not 5 <= k < 12])
    assert read.refusal(folder, fill_gaps=True).code == "MISSING_SLICE"


def test_G2_identical_copies_are_dropped_and_noted(tmp_path: Path, read: Any) -> None:
    slices = planes()
    folder = write(tmp_path / "ct", slices)
    (folder / "copy.dcm").write_bytes((folder / "slice004.dcm").read_bytes())
    slices[5].name = "sub-copy.dcm"
    write(folder / "sub", [slices[5]])
    reading = read.one(folder)
    assert reading.ct.grid.size[2] == SLICES and read.error_hu(reading) < 0.5
    assert len(reading.notes) == 1 and "2 identical copies" in reading.notes[0]


def test_G2_different_slices_at_one_place_are_refused_naming_both(tmp_path: Path, read: Any) -> None:
    slices = planes()
    other = planes()[6]
    for keyword in ("StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID"):
        setattr(other.dataset, keyword, slices[0].dataset[keyword].value)
    other.name, pixels = "other.dcm", stored(other)
    pixels[10, 10] += 1
    other.dataset.PixelData = pixels.tobytes()
    error = read.refusal(write(tmp_path / "ct", [*slices, other]))
    assert error.code == "DUPLICATE_SLICE" and "other.dcm" in str(error) and "slice006.dcm" in str(error)


@pytest.mark.parametrize("degrees", [-18, 7, 25])
def test_G4_a_tilted_gantry_is_resampled_and_results_go_back(tmp_path: Path, read: Any, degrees: Any) -> None:
    slices = planes(tilt=degrees)
    reading = read.one(write(tmp_path / "ct", slices))
    assert "tilted gantry" in reading.notes[0] and f"{abs(degrees):.1f} degrees" in reading.notes[0]
    np.testing.assert_allclose(np.reshape(reading.ct.grid.direction, (3, 3)), np.eye(3), atol=1e-6)
    assert read.error_hu(reading) < 8  # linear interpolation of soft edges
    as_if_upright = np.stack([stored(one) - 1024.0 for one in slices])
    assert error_hu(as_if_upright, np.diag(SPACING), ORIGIN) > 3 * read.error_hu(reading)

    # a known map and a known mask on the upright grid, brought back, lie where they should in the world
    back = np.stack([*reading.planes.bring_back(reading.ct)])
    assert back.shape == (SLICES, 40, 48)
    corners = [one.corner for one in slices]
    np.testing.assert_allclose(reading.planes.corners_mm, corners, atol=1e-3)
    truth = np.stack([stored(one) - 1024.0 for one in slices])
    inner = back > -1020
    assert inner.mean() > 0.9 and np.abs(back - truth)[inner].mean() < 18
    mask = reading.ct.with_voxels((reading.ct.voxels > 150).astype(np.uint8))
    found, wanted = np.stack([*reading.planes.bring_back(mask, labels=True)]) > 0, truth > 150
    assert set(np.unique(found)) <= {0, 1} and wanted.sum() > 300
    assert 2 * (found & wanted).sum() / (found.sum() + wanted.sum()) > 0.9
    assert [p.name for p in reading.original_files] == [one.name for one in slices]


def test_G4_variable_spacing_is_resampled_to_the_finest(tmp_path: Path, read: Any) -> None:
    places = np.cumsum([ORIGIN[2]] + [2.0] * 10 + [5.0] * 6)
    reading = read.one(write(tmp_path / "ct", planes(places)))
    assert reading.ct.grid.spacing_mm[2] == pytest.approx(2) and "2.00 to 5.00 mm apart" in reading.notes[0]
    assert read.error_hu(reading) < 5
    assert len(reading.original_files) == 17
    back = np.stack([*reading.planes.bring_back(reading.ct)])
    assert np.abs(back - hu_at(np.array([ORIGIN[0], ORIGIN[1], 0]) + _pixels(places)))[back > -1020].mean() < 5


def _pixels(places: Any) -> Any:
    k, j, i = np.meshgrid(places, np.arange(40) * 2.5, np.arange(48) * 2.5, indexing="ij")
    return np.stack([i, j, k], axis=-1)


def test_G4_slices_scattered_sideways_are_refused(tmp_path: Path, read: Any) -> None:
    slices = planes()
    slices[8].dataset.ImagePositionPatient = [ORIGIN[0] + 4, ORIGIN[1], PLACES[8]]
    assert read.refusal(write(tmp_path / "ct", slices)).code == "SCATTERED_SLICES"


def test_G4_rounding_in_the_header_is_no_fault(tmp_path: Path, read: Any) -> None:
    slices = planes()
    for k, one in enumerate(slices):
        one.dataset.ImagePositionPatient = [ORIGIN[0], ORIGIN[1], round(PLACES[k] + 0.03 * (-1) ** k, 2)]
    assert read.one(write(tmp_path / "ct", slices)).notes == ()


@pytest.mark.parametrize(
    "steps", [[[0.8, 0, 0], [0, 0.8, 0.45], [0, 0, 1]], [[0.8, 0.1, 0.3], [0, 0.9, -0.2], [0.1, 0, 2.5]]]
)
def test_G4_a_few_slices_at_a_time_are_resampled_as_all_at_once(steps: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    voxels = np.random.default_rng(0).integers(-1000, 1000, (30, 40, 50)).astype(np.int16)
    steps, origin = np.array(steps), np.array([10.0, -20.0, 33.3])
    planes, made = straighten.Planes.of_affine((50, 40, 30), steps, origin), []
    for slab in (1000, 3):
        monkeypatch.setattr(straighten, "SLAB", slab)
        ct = straighten.straighten(voxels, steps, origin, "the stack")
        heat, mask = ct.with_voxels(ct.voxels * np.float32(0.37)), ct.with_voxels((ct.voxels > 100).astype(np.uint8))
        made.append((ct.voxels, np.stack([*planes.bring_back(mask, True)]), np.stack([*planes.bring_back(heat)])))
    assert np.array_equal(made[0][0], made[1][0]) and np.array_equal(made[0][1], made[1][1]) and made[0][1].any()
    np.testing.assert_allclose(made[0][2], made[1][2], rtol=1e-6, atol=1e-9)
    assert np.array_equal(np.stack([*planes.bring_back(heat, False, 4, 9)]), made[1][2][4:9])
