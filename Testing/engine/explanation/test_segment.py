"""What is found, on models whose scores are known: the voxel less a threshold."""

from typing import Any

import numpy as np
import pytest

from Testing.engine.conftest import ORGAN_ABOVE, RECIPE, ellipsoid_ct
from unoise_engine.explanation.segment import segment
from unoise_engine.explanation.target import Target
from unoise_engine.models.clean_up import CleanUp
from unoise_engine.models.input import Input
from unoise_engine.models.recipe import Recipe


class Threshold:
    def predict(self, x: Any) -> Any:
        return x[:, :1] - np.float32(ORGAN_ABOVE)


THRESHOLD: Any = Threshold()  # predicts alone, which is all that is asked


def scores_of(given: Any) -> Any:
    return given.recipe.normalise(given.windowed())[:, 0] - np.float32(ORGAN_ABOVE)


def test_a_score_of_zero_is_not_found() -> None:
    scores = np.zeros((2, 1, 2, 2), np.float32)
    scores[1, 0, 0, 1] = 0.1
    target = Target(scores)
    assert target.mask.sum() == 1 and target.mask[1, 0, 0, 1] and target.found.tolist() == [False, True]


def test_slice_by_slice() -> None:
    given, told, seconds = Input.of(ellipsoid_ct(), RECIPE), list[float](), {"segmentation": 5.0}
    found = segment(THRESHOLD, given, advance=told.append, seconds=seconds)
    scores = scores_of(given)
    assert np.array_equal(found.scores[:], scores) and np.array_equal(found.cleaned[:], scores) and found.dropped == 0
    assert told == [8, 2] and seconds["segmentation"] > 5 and seconds["prepare"] > 0
    assert not found.jumps.any() and np.array_equal(found.shows, (scores > 0).any(axis=(1, 2)))
    assert 0 < found.shows.sum() < 10
    assert np.array_equal(found.mask(7).voxels, given.restore(scores, 7).voxels)
    target = found.target(slice(2, 6))
    wanted = np.where(found.shows[2:6, None, None], scores[2:6], -1)
    assert np.array_equal(target.scores, wanted[:, None]) and target.scores.shape == (4, 1, *given.shape[1:])


def test_a_method_is_asked_about_the_models_own_scores_where_clean_up_left_some() -> None:
    """A small piece shares some slices with the organ and has others to itself: these are silent then."""
    ct = ellipsoid_ct(shape=(10, 64, 64), spacing_mm=(2.0, 2.0, 4.0))
    hu = np.full(ct.voxels.shape, 20, np.int16)
    hu[3:7, 8:40, 8:40] = hu[1:5, 54:60, 54:60] = 150
    given = Input.of(ct.with_voxels(hu), RECIPE)
    found = segment(THRESHOLD, given, CleanUp(one_piece=True))
    assert found.dropped == pytest.approx(4 * 36 / (4 * 36 + 4 * 1024))
    assert np.flatnonzero(found.shows).tolist() == [3, 4, 5, 6]
    target, scores = found.target(slice(0, 8)), scores_of(given)
    assert (target.scores[:3] == -1).all() and (target.scores[7] == -1).all()
    assert np.array_equal(target.scores[3:7, 0], scores[3:7]) and target.mask[3, 0, 56, 56]
    assert not found.mask(1).voxels[3, 56, 56]


def test_no_vote_crosses_a_jump_of_the_ct() -> None:
    ct = ellipsoid_ct(shape=(10, 64, 64), spacing_mm=(2.0, 2.0, 2.0))
    hu = np.full(ct.voxels.shape, -60, np.int16)
    hu[5:] = 150
    given = Input.of(ct.with_voxels(hu), RECIPE)
    found = segment(THRESHOLD, given, CleanUp(smooth_z_mm=6, probability=0.3))
    assert found.jumps.tolist() == [k == 5 for k in range(10)]
    assert found.shows.tolist() == [k >= 5 for k in range(10)]


@pytest.mark.parametrize("shown", [True, False])
def test_a_block(shown: Any) -> None:
    ct = ellipsoid_ct()
    given, told = (
        Input.of(ct if shown else ct.with_voxels(np.minimum(ct.voxels, 20)), Recipe(slice_mm=3.0)),
        list[float](),
    )
    found = segment(THRESHOLD, given, advance=told.append)
    assert told == [1] and not found.jumps.any() and len(found.jumps) == len(found.shows) == given.shape[0]
    (target,) = found.target(slice(0, given.shape[0])).scores
    assert found.shows.any() == shown and target.shape == (1, *given.shape)
    assert np.array_equal(target[0], found.scores[:]) if shown else (target == -1).all()
