"""Limits and guards of volumes and stacks: each at its value, from both sides."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from Testing.engine.volume.planted import ORIGIN, error_hu, planes, write
from unoise_engine.errors import CaseRefused
from unoise_engine.models.input import resize_weights
from unoise_engine.volume.mend import clean
from unoise_engine.volume.straighten import straighten
from unoise_engine.volume.volume import AxialView, Grid, Volume, check_size

UPRIGHT = (1.0, 0, 0, 0, 1, 0, 0, 0, 1)


def grid(size: Any = (30, 40, 5), spacing: Any = (2.0, 2.0, 3.0), direction: Any = UPRIGHT) -> Any:
    return Grid(size, spacing, (0.0, 0.0, 0.0), tuple(map(float, direction)))


def test_a_map_of_another_shape_is_no_volume() -> None:
    with pytest.raises(ValueError, match="do not fit the grid"):
        Volume(np.zeros((40, 30, 5)), grid())
    with pytest.raises(ValueError, match="do not fit the grid"):
        Volume(np.zeros((5, 40, 30)), grid()).with_voxels(np.zeros((5, 40, 31)))


@pytest.mark.parametrize(
    ("size", "spacing", "small"),
    [
        ((8, 8, 3), (2.5, 2.5, 3), False),
        ((7, 200, 3), (3.0, 3.0, 3), True),  # 21 mm, too few pixels
        ((512, 512, 3), (0.03, 0.03, 3), True),  # 15 mm
        ((512, 40, 3), (0.5, 0.5, 3), False),  # 20 mm
        ((512, 39, 3), (0.5, 0.5, 3), True),
    ],
)
def test_a_slice_too_small_for_an_organ(size: Any, spacing: Any, small: Any) -> None:
    if not small:
        check_size(grid(size, spacing), "ct")
        return
    with pytest.raises(CaseRefused) as caught:
        check_size(grid(size, spacing), "ct")
    assert caught.value.code == "TOO_SMALL"


@pytest.mark.parametrize("seed", range(40))
def test_an_oblique_ct_is_read_along_each_axis_once(seed: Any) -> None:
    """However it is turned, and no two axes would lie nearer to the patient's if they changed places."""
    cosines, _ = np.linalg.qr(np.random.default_rng(seed).normal(size=(3, 3)))
    view = AxialView.of(grid(direction=cosines.ravel()))
    assert sorted(view.axes) == [0, 1, 2]
    voxels = np.arange(5 * 40 * 30).reshape(5, 40, 30)
    np.testing.assert_array_equal(view.undo(view.apply(voxels)), voxels)
    of = [2 - view.axes[2 - patient] for patient in range(3)]  # the voxel axis of each of the patient's
    for a, b in ((0, 1), (0, 2), (1, 2)):
        now, changed = abs(cosines[a, of[a]]) + abs(cosines[b, of[b]]), abs(cosines[a, of[b]]) + abs(cosines[b, of[a]])
        assert now >= changed
    assert [view.flips[2 - patient] for patient in range(3)] == [cosines[p, of[p]] < 0 for p in range(3)]


@pytest.mark.parametrize(("mm", "code"), [(10.0, None), (10.4, "MISSING_SLICE")])
def test_gaps_are_filled_up_to_10_mm(tmp_path: Path, read: Any, mm: Any, code: Any) -> None:
    """Where thin slices lack several; a single thick one may lack more."""
    places = [ORIGIN[2] + 2.0 * k for k in range(9)]
    folder = write(tmp_path / "ct", planes([*places, *(places[-1] + mm + 2.0 * k for k in range(6))]))
    if code is None:
        assert "interpolated" in read.one(folder, fill_gaps=True).notes[0]
    else:
        assert read.refusal(folder, fill_gaps=True).code == code


@pytest.mark.parametrize(("wide", "code"), [(5.6, None), (6.2, "UNEVEN_SPACING")])
def test_uneven_slices_are_resampled_up_to_four_times_as_many(tmp_path: Path, read: Any, wide: Any, code: Any) -> None:
    places = np.cumsum([ORIGIN[2], *[1.0] * 5, *[wide] * 8])
    folder = write(tmp_path / "ct", planes(list(places)))
    if code:
        assert read.refusal(folder).code == code
        return
    reading = read.one(folder)
    assert 3 * len(places) < reading.ct.grid.size[2] <= 4 * len(places) and "resampled to 1.00 mm" in reading.notes[0]


@pytest.mark.parametrize("degrees", [1.5, -3])
def test_a_tilt_of_a_few_degrees_is_seen_over_the_length_of_the_body(tmp_path: Path, read: Any, degrees: Any) -> None:
    """Less than 0.3 mm from slice to slice, 1.5 mm and more at the end."""
    reading = read.one(write(tmp_path / "ct", planes(tilt=degrees)))
    assert "tilted gantry" in reading.notes[0] and reading.planes is not None
    steps = np.reshape(reading.ct.grid.direction, (3, 3)) * reading.ct.grid.spacing_mm
    assert error_hu(reading.ct.voxels, steps, reading.ct.grid.origin_mm) < 8


def test_the_box_around_a_slanted_stack_has_nothing_to_spare() -> None:
    steps = np.diag((1.0, 1.0, 1.0))
    steps[0, 2] = 0.5
    ct = straighten(np.ones((11, 8, 30), np.int16), steps, np.zeros(3), "ct")
    z = np.hypot(1, 0.5)
    along = [29 / z, 7.0, 10 + 29 * 0.5 / z / z]  # extents in voxels across, down and along the stack
    assert ct.grid.size == tuple(int(np.ceil(round(n, 6))) + 1 for n in along)


def test_pixels_outside_of_the_ct_read_air() -> None:
    """Up to half a pixel beyond its last centre belongs to the CT; from there on there is none."""
    weights = resize_weights(10, 64, 0.2)
    centres = (np.arange(64) - 31.5) * 0.2 + 4.5
    inside = (centres >= -0.5) & (centres <= 9.5)
    np.testing.assert_array_equal(weights.any(axis=1), inside)
    assert 0 < inside.sum() < 64


def test_a_clean_ct_is_not_copied() -> None:
    hu = np.full((3, 9, 9), 40, np.int16)
    hu[0] = -1000
    assert clean(hu)[0] is hu
