"""A recipe's ranges up to their ends, and what it makes of voxels."""

from typing import Any

import numpy as np
import pytest

from unoise_engine.models.recipe import Recipe


def channels(n: Any, mean: Any = 0.0, std: Any = 1.0) -> Any:
    return {"channels": n, "mean": (mean,) * n, "std": (std,) * n}


@pytest.mark.parametrize(
    "good",
    [
        {"window_hu": (-100_000.0, 100_000.0)}, {"spacing_mm": 0.1}, {"spacing_mm": 10.0}, {"slice_mm": 0.1},
        {"slice_mm": 20.0}, {"multiple_of": 1}, {"multiple_of": 512}, channels(64), channels(2, -1e3), channels(2, 1e3),
        channels(2, 0, 1e-3), channels(2, 0, 1e3),
    ],
)  # fmt: skip
def test_the_ends_of_the_ranges(good: Any) -> None:
    Recipe(**good)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"window_hu": (-100_001.0, 0.0)}, "window_hu"),
        ({"window_hu": (0.0, 100_001.0)}, "window_hu"),
        ({"window_hu": (5.0, 5.0)}, "window_hu"),
        ({"spacing_mm": 0.09}, "spacing_mm"),
        ({"spacing_mm": 10.1}, "spacing_mm"),
        ({"slice_mm": 0.09}, "slice_mm"),
        ({"slice_mm": 20.1}, "slice_mm"),
        ({"multiple_of": 0}, "multiple_of"),
        ({"multiple_of": 513}, "multiple_of"),
        (channels(0), "channels"),
        (channels(65), "channels"),
        (channels(2) | {"mean": (0.0,)}, "as many means"),
        (channels(2) | {"std": (1.0,)}, "as many means"),
        (channels(2) | {"mean": (0.0, 1001.0)}, "mean must lie"),
        (channels(2) | {"mean": (0.0, -1001.0)}, "mean must lie"),
        (channels(2) | {"std": (1.0, 0.0009)}, "mean must lie"),
        (channels(2) | {"std": (1.0, 1001.0)}, "mean must lie"),
    ],
)
def test_beyond_them(wrong: Any, said: Any) -> None:
    with pytest.raises(ValueError, match=said):
        Recipe(**wrong)


def test_single_slices_say_nothing_of_their_distance() -> None:
    assert "slice_mm" not in Recipe().to_dict() and Recipe().rank == 2
    assert Recipe(slice_mm=3.0).to_dict()["slice_mm"] == 3.0 and Recipe(slice_mm=3.0).rank == 3
    assert Recipe().to_dict()["mean"] == [0.25]


def test_blocks_are_normalised_by_channel() -> None:
    recipe = Recipe(slice_mm=2.0, channels=2, mean=(0.5, 0.0), std=(0.5, 2.0))
    got = recipe.normalise(np.full((1, 3, 4, 5), 0.75))
    assert got.shape == (1, 2, 3, 4, 5) and (got[:, 0] == 0.5).all() and (got[:, 1] == 0.375).all()
