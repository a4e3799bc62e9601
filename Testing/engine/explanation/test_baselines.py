"""Rankings that know little of the model, by hand."""

import numpy as np
import pytest

from unoise_engine.explanation.baselines import edges, ruler
from unoise_engine.explanation.slices import LabelledItem

Y, X = np.mgrid[:6, :8]
ORGAN = (Y == 2) & (X == 3)


def item(*channels: np.ndarray) -> LabelledItem:
    return LabelledItem("case", "patient", 0, np.stack(channels).astype(np.float32), ORGAN, (2.0, 3.0))


def test_edges_are_the_slope_of_the_channels_mean() -> None:
    assert edges(item(8 * X, 6 * Y), ORGAN, 0) == pytest.approx(5)


def test_distance_is_in_mm_and_says_nothing_where_there_is_no_edge() -> None:
    one = item(X)
    found = ruler(one, X < 4, 0)
    assert found[0, 7] - found[0, 5] == pytest.approx(-6) and found[0, 1] > found[0, 2] > 0 > found[0, 5]
    for without_edge in (np.zeros_like(ORGAN), np.ones_like(ORGAN)):
        assert (ruler(one, without_edge, 0) == 0).all()
