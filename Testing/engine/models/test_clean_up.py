"""Clean-up by hand: votes across slices, and the box in which pieces are looked for. More of it: explanation/."""

from typing import Any

import numpy as np
import pytest

from unoise_engine.models.clean_up import CleanUp, one_piece, smooth_slices


def probability(logits: Any) -> Any:
    return 1 / (1 + np.exp(-np.float64(logits)))


@pytest.mark.parametrize("sigma", [0.2, 0.5, 1.0, 1.4])
def test_a_vote_is_a_gaussian_of_probabilities(sigma: Any) -> None:
    logits = np.random.default_rng(0).normal(0, 3, (9, 2, 3)).astype(np.float32)
    reach = int(np.ceil(3 * sigma))
    steps = range(-reach, reach + 1)
    weights = [np.exp(-(step**2) / (2 * sigma**2)) for step in steps]
    voted = smooth_slices(logits, sigma)
    for k in range(9):
        near = [probability(logits[min(max(k + step, 0), 8)]) for step in steps]
        wanted = sum(w * p for w, p in zip(weights, near)) / sum(weights)
        assert np.allclose(probability(voted[k]), wanted, atol=1e-5)


def test_a_vote_of_one_is_none() -> None:
    logits = np.random.default_rng(0).normal(0, 3, (9, 2, 3)).astype(np.float32)
    assert np.array_equal(smooth_slices(logits[:1], 2.0)[:], logits[:1])
    assert np.array_equal(smooth_slices(logits, 0.19)[:], logits) and not np.allclose(
        smooth_slices(logits, 0.2)[:], logits
    )
    assert not np.allclose(smooth_slices(logits[:2], 2.0)[:], logits[:2])


def test_the_surest_slices_stay_finite() -> None:
    logits = np.full((3, 1, 1), 500, np.float32)
    assert smooth_slices(logits, 1.0)[:].min() > 15 and np.isfinite(smooth_slices(logits, 1.0)[:]).all()
    assert smooth_slices(-logits, 1.0)[:].max() < -15 and np.isfinite(smooth_slices(-logits, 1.0)[:]).all()


@pytest.mark.parametrize("good", [{"smooth_z_mm": 100.0}, {"gap_mm": 100.0}, {"probability": 0.01}])
def test_the_ends_of_the_ranges(good: Any) -> None:
    CleanUp(**good)


@pytest.mark.parametrize(
    "wrong", [{"smooth_z_mm": -0.1}, {"smooth_z_mm": 100.1}, {"gap_mm": -1.0}, {"gap_mm": 101.0}, {"probability": 1.0}]
)
def test_beyond_them(wrong: Any) -> None:
    with pytest.raises(ValueError, match=f"{next(iter(wrong))} must lie"):
        CleanUp(**wrong)


def pieces() -> Any:
    """Two, of 3 x 4 x 4 voxels and of one, 4 columns apart, at the corner of the volume."""
    logits = np.full((6, 20, 20), -3, np.float32)
    logits[:3, :4, :4] = 2
    logits[2, 3, 8] = 5
    return logits


@pytest.mark.parametrize(("gap_mm", "voxels"), [(0, 48), (3.9, 48), (9, 49)])
def test_pieces_nearer_than_the_gap_are_one(gap_mm: Any, voxels: Any) -> None:
    """At 2 mm the lone voxel lies 8 mm off; slices thicker than the gap make no difference."""
    assert one_piece(pieces(), 3.0, 2.0, gap_mm).sum() == one_piece(pieces(), 30.0, 2.0, gap_mm).sum() == voxels


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("turned", [False, True])
def test_pieces_anywhere(axis: Any, turned: Any) -> None:
    logits = np.moveaxis(pieces(), 0, axis)
    logits = np.flip(logits, axis) if turned else logits
    assert one_piece(logits, 2.0, 2.0, 0).sum() == 48 and one_piece(logits, 2.0, 2.0, 9).sum() == 49
    assert not one_piece(np.full((2, 3, 3), -1, np.float32), 2.0, 2.0, 4).any()


def test_the_surest_piece_wins_by_the_sum_of_its_probabilities() -> None:
    """9 voxels of 0.6 against 6 of 0.99: both ways of touching count, corner on corner too."""
    logits = np.full((4, 12, 12), -3, np.float32)
    logits[0, :3, :3] = np.log(0.6 / 0.4)
    for k in range(6):
        logits[2, 4 + k, 4 + k] = np.log(0.99 / 0.01)
    kept = one_piece(logits, 2, 2, 0)
    assert kept.sum() == 6 and kept[2, 9, 9]
    logits[0, 3, :3] = np.log(0.6 / 0.4)
    assert one_piece(logits, 2, 2, 0).sum() == 12


def test_what_is_dropped_turns_its_sign() -> None:
    logits = pieces()
    cleaned, dropped = CleanUp(one_piece=True).apply(logits, 3, 2)
    assert cleaned[2, 3, 8] == -5 and dropped == pytest.approx(1 / 49)
    assert np.array_equal(np.delete(cleaned[:].ravel(), 2 * 400 + 3 * 20 + 8), np.delete(logits.ravel(), 2 * 400 + 68))
    nothing, dropped = CleanUp(one_piece=True).apply(-np.abs(logits), 3, 2)
    assert dropped == 0 and np.array_equal(nothing[:], -np.abs(logits))


def test_each_slice_is_made_sure_of_once() -> None:
    looked = []

    class Counted(np.ndarray):
        def __getitem__(self, k: Any) -> Any:
            looked.append(k)
            return np.asarray(self)[k]

    smooth_slices(np.zeros((12, 2, 2), np.float32).view(Counted), 1.0)
    assert sorted(looked) == list(range(12))
