"""A CT cut off at 0 HU gets its fat back; every other stays as it is."""

from typing import Any

import numpy as np
import pytest

from unoise_engine.models.cutoff import refill
from unoise_engine.models.input import Input
from unoise_engine.models.recipe import Recipe
from unoise_engine.volume.volume import Grid, Volume

HEAD_FIRST = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)


def abdomen() -> np.ndarray:
    """(96, 96) HU: air, a body of fat, in it an organ at 40 HU; edges as soft as a CT's, grain of 10 HU."""
    y, x = np.mgrid[:96, :96] - 47.5
    r = np.hypot(x, y)

    def inside(radius: float) -> np.ndarray:
        return 1 / (1 + np.exp((r - radius) / 0.8))

    hu = -1000 + 900 * inside(44) + 140 * inside(20)
    return hu + np.random.default_rng(0).normal(0, 10, hu.shape)


def test_fat_is_back_where_it_was() -> None:
    true = abdomen()
    cut = np.clip(true, 0, 255).astype(np.uint8)
    got = refill(cut)
    y, x = np.mgrid[:96, :96] - 47.5
    r = np.hypot(x, y)
    fat, edge, organ = (r > 25) & (r < 40), (r > 18) & (r < 23), r < 15
    assert got.dtype == np.float32
    assert abs(got[fat].mean() - true[fat].mean()) < 3 and (got[organ] == cut[organ]).all()
    error, without = (np.abs(hu - true)[edge].mean() for hu in (got, cut))
    assert error < 20 and without > 45  # without it: half of the contrast
    assert (got[cut > 0] == cut[cut > 0]).all() and got.min() >= -100.001


@pytest.mark.parametrize("dtype", [np.int16, np.float32])
@pytest.mark.parametrize("lowest", [-1024, -3, 5])
def test_others_are_left_alone(dtype: Any, lowest: Any) -> None:
    hu = np.full((8, 8), 40, dtype)
    hu[0, 0] = lowest
    hu[4, 4] = max(0, lowest)
    assert refill(hu) is hu


def test_nan_and_nothing_are_left_alone() -> None:
    hu = np.zeros((4, 4), np.float32)
    hu[1, 1] = np.nan
    assert refill(hu) is hu
    assert refill(np.zeros((0, 5))).shape == (0, 5)


def test_a_model_that_sees_fat_sees_it_in_both() -> None:
    """Of the way into the model: the same slice in full HU and cut off, windowed at 2 mm."""
    recipe, grid = Recipe(window_hu=(-100, 255)), Grid((96, 96, 2), (0.8, 0.8, 1), (0, 0, 0), HEAD_FIRST)
    true = np.stack([abdomen()] * 2).round().astype(np.int16)
    full, cut = (Input.of(Volume(voxels, grid), recipe).windowed() for voxels in (true, np.clip(true, 0, 255)))
    error = np.sqrt(np.mean((full - cut) ** 2)) * 355
    assert np.ptp(full) > 0.3 and error < 10
    narrow = Recipe(window_hu=(0, 255))  # sees nothing of it
    full, cut = (Input.of(Volume(voxels, grid), narrow).windowed() for voxels in (true, np.clip(true, 0, 255)))
    assert np.array_equal(full, cut)
