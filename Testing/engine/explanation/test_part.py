"""What a map is judged on is cut out of image and map alike, and is called by its place."""

from typing import Any

import numpy as np
import pytest

from Testing.engine.conftest import ellipsoid_ct
from unoise_engine.explanation.part import Part
from unoise_engine.models.given import Given, given_of
from unoise_engine.models.preparation import Preparation
from unoise_engine.models.recipe import Recipe

CT = ellipsoid_ct((10, 24, 32), (2.0, 2.0, 3.0))
BOX = slice(2, 6), slice(3, 9), slice(4, 20)
PLANES, BLOCK = Recipe(spacing_mm=2, multiple_of=8), Recipe(spacing_mm=2, multiple_of=8, slice_mm=3)


def given(recipe: Any) -> Given:
    return given_of(CT, recipe, 1, 9)


def test_a_plane_by_its_slice_in_the_ct() -> None:
    planes = given(PLANES)
    part, values = Part.plane(planes, 5), np.random.default_rng(0).random(planes.shape)
    assert part.index == 6 and np.array_equal(part.image, planes.items(slice(5, 6))[0])
    assert np.array_equal(part.of(values), values[5]) and part.side_mm == (2, 2)


@pytest.mark.parametrize("recipe", [BLOCK, Preparation("SPL", 3)], ids=["trained here", "imported"])
def test_a_window_of_a_block_by_its_middle_plane(recipe: Any) -> None:
    block = given(recipe)
    part, values = Part(block, BOX), np.random.default_rng(0).random(block.shape)
    (whole,) = block.steps()
    assert part.index == 3 and np.array_equal(part.image, block.items(whole)[0][:, *BOX])
    assert np.array_equal(part.of(values), values[BOX]) and part.side_mm == pytest.approx((3, 2, 2))
    all_of_it = Part.window(None, block, np.ones(block.shape, bool))  # type: ignore[arg-type]
    assert np.array_equal(all_of_it.image, block.items(whole)[0])
