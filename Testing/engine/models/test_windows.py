"""Windows: where they lie, what they weigh, and that stitching is a weighted mean of all answers."""

import itertools
from typing import Any

import numpy as np
import pytest

from unoise_engine.models.preparation import Window
from unoise_engine.models.windows import Tiling, starts, stitched, weights


def test_nnunet_spreads_its_windows_evenly() -> None:
    """Its own example: 110 voxels, windows of 64, half a window a step at most."""
    assert starts(110, 64, Window((64,))) == [0, 23, 46]
    assert starts(64, 64, Window((64,))) == [0]
    assert starts(65, 64, Window((64,))) == [0, 1]


def test_monai_steps_on_and_moves_the_last_window_back() -> None:
    window = Window((64,), step=0.75, places="monai")
    assert starts(110, 64, window) == [0, 46]
    assert starts(200, 64, window) == [0, 48, 96, 136]
    assert starts(64, 64, window) == [0]


def test_weights_of_both() -> None:
    ours = weights((8, 9), "gaussian-nnunet", 0.125)
    assert ours[4, 4] == ours.max() == 10 and ours.min() > 0 and ours[4, 3] > ours[4, 2]
    monai = weights((8, 9), "gaussian-monai", 0.125)
    line = np.exp(-0.5 * (np.arange(9) - 4) ** 2 / (9 / 8) ** 2)
    assert np.allclose(monai[3] / monai[3, 4], np.maximum(line * monai[3, 4], 1e-3) / monai[3, 4], atol=1e-6)
    assert monai.min() == pytest.approx(1e-3)


@pytest.mark.parametrize("kind", ["constant", "gaussian-nnunet", "gaussian-monai"])
@pytest.mark.parametrize("shape", [(7, 20, 23), (30, 12, 9), (4, 5, 6), (16, 16, 16)])
@pytest.mark.parametrize("margin", [(), (1, 2, 0)])
def test_stitching_is_the_weighted_mean_of_every_window(kind: str, shape: Any, margin: Any) -> None:
    """Against sums over the whole image at once, with answers that depend on the window."""
    tiling = Tiling(Window((8, 10, 8), 0.5, "nnunet", kind, margin=margin, fill=-1.0), shape)
    image = np.random.default_rng(0).normal(size=(1, *shape)).astype(np.float32)
    inside = tuple(slice(m, n - m) for m, n in zip(tiling.margin, (8, 10, 8)))
    seen = []

    def ask(window: np.ndarray) -> np.ndarray:
        assert window.shape == (1, 1, 8, 10, 8)
        seen.append(window)
        core = window[(slice(None), slice(None), *inside)]
        return np.concatenate([core * 2, core + window.mean(), core**2], axis=1)

    found = stitched(tiling, image, ask, lambda logits: logits[1:2] - logits[2:3])
    sums, total = np.zeros((3, *tiling.padded)), np.zeros(tiling.padded)
    places = itertools.product(*(starts(p, c, tiling.window) for p, c in zip(tiling.padded, tiling.core)))
    for place, window in zip(places, list(seen)):
        box = tuple(slice(k, k + c) for k, c in zip(place, tiling.core))
        sums[(slice(None), *box)] += ask(window)[0] * tiling.weights
        total[box] += tiling.weights
    wanted = tiling.unpad(((sums[1] - sums[2]) / total)[None])
    assert found.shape == (1, *shape) and np.allclose(found, wanted, atol=1e-4)
    tiling.average(sums)
    assert np.allclose(tiling.unpad(sums[1:2] - sums[2:3]), wanted, atol=1e-4)


def test_the_whole_image_at_once() -> None:
    tiling = Tiling(Window(multiple_of=4), (5, 8, 9))
    assert tiling.core == tiling.padded == (8, 8, 12) and len(tiling.boxes()) == 1
