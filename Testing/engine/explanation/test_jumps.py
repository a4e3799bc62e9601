"""Slices that are no neighbours are noticed, whatever distance the file tells, and have no vote on each other."""

from typing import Any

import numpy as np
import pytest

from unoise_engine.explanation.jumps import coarse, jumps
from unoise_engine.explanation.trust import about_jumps
from unoise_engine.lab.phantom.abdomen import synthesise
from unoise_engine.models.clean_up import CleanUp, smooth_slices
from unoise_engine.models.recipe import Recipe
from unoise_engine.volume.volume import AxialView

RECIPE = Recipe(window_hu=(-100.0, 255.0), spacing_mm=2.0, mean=(0.46,), std=(0.18,))


def told(hu: Any, slice_mm: Any) -> Any:
    """Of slices (n, h, w) in HU that are so many mm apart."""
    return jumps([*coarse(RECIPE.normalise(RECIPE.window(hu)), RECIPE)], slice_mm, RECIPE)


def test_a_mean_difference_in_hu() -> None:
    hu = np.full((3, 32, 48), 40.0, np.float32)
    hu[1:] += 18  # 8 + 4.5 x 2 are borne at 2 mm
    assert told(hu, 2.0).tolist() == [False, True, False]
    assert told(hu, 2.4).tolist() == [False, False, False]
    hu[:, :, 24:] = -1000  # air beside the body does not thin the difference
    assert told(hu, 2.0).tolist() == [False, True, False]
    hu[:, :, 24:] = -88  # nor does what the window hardly shows
    assert told(hu, 2.0).tolist() == [False, True, False]
    assert told(hu[:, :8, :8], 2.0).tolist() == [False, True, False], "a single block"
    assert not told(np.full((2, 5, 3), -1000.0), 1.0).any(), "air alone, smaller than a block"


def test_where_the_body_ends_is_a_jump() -> None:
    hu = np.full((4, 32, 48), -1000.0, np.float32)
    hu[1:3] = 40
    assert told(hu, 2.0).tolist() == [False, True, False, True]


def test_channels_that_are_scaled_otherwise_make_no_difference() -> None:
    recipe = Recipe(window_hu=(-100.0, 255.0), channels=2, mean=(0.46, 0.1), std=(0.18, 0.9))
    hu = np.full((2, 32, 48), 40.0, np.float32)
    hu[1] += 18
    blocks = [*coarse(recipe.normalise(recipe.window(hu)), recipe)]
    assert np.allclose(blocks[0], 140, atol=0.01) and jumps(blocks, 2.0, recipe).tolist() == [False, True]


def test_grain_is_no_jump() -> None:
    hu = 40 + np.random.default_rng(0).normal(0, 40, (6, 64, 64)).astype(np.float32)
    assert np.abs(np.diff(hu, axis=0)).mean() > 40 and not told(hu, 0.5).any()


def test_missing_slices_are_noticed() -> None:
    ct = synthesise(7, size=160, slices=40).ct
    hu, mm = AxialView.of(ct.grid).apply(ct.voxels).astype(np.float32), ct.grid.spacing_mm[2]
    assert told(hu, mm).mean() < 0.1
    scattered = hu[[2, 3, 20, 21, 36]]
    assert told(scattered, mm).tolist() == [False, False, True, False, True]


def test_no_vote_crosses_a_jump() -> None:
    logits = np.full((8, 2, 2), -6, np.float32)
    logits[:4] = 6
    apart = np.zeros(8, bool)
    apart[4] = True
    assert np.array_equal(smooth_slices(logits, 2, jumps=apart)[:, 0, 0] > 0, np.arange(8) < 4)
    alone = np.stack([smooth_slices(part, 2)[:] for part in (logits[:4], logits[4:])])
    assert np.allclose(smooth_slices(logits, 2, jumps=apart)[:], alone.reshape(8, 2, 2))
    cleaned, _ = CleanUp(smooth_z_mm=6, probability=0.3).apply(logits, 3, 2, jumps=apart)
    assert np.array_equal(cleaned[:, 0, 0] > 0, np.arange(8) < 4)
    crossed, _ = CleanUp(smooth_z_mm=6, probability=0.3).apply(logits, 3, 2)
    assert (crossed[:, 0, 0] > 0).sum() > 4


def test_a_fifth_of_the_slices_is_an_exception() -> None:
    assert [len([*about_jumps(np.arange(20) < many, 1.0)]) for many in (4, 5)] == [0, 1]


@pytest.mark.parametrize(("many", "said"), [(0, 0), (2, 0), (3, 1)])
def test_it_is_said_where_it_is_no_exception(many: Any, said: Any) -> None:
    sentences = [*about_jumps(np.arange(10) < many, 1.25)]
    assert len(sentences) == said
    assert all(s.startswith("3 of 10 slices differ") and "slices 1.25 mm apart" in s for s in sentences)
