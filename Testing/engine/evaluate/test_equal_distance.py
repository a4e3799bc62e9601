"""The equal-distance test on maps whose answer is known: a ruler gives 0, the cause more, its inverse less."""

from typing import Any

import numpy as np
import pytest

from unoise_engine.evaluate.equal_distance import (
    RINGS_MM,
    Cells,
    equal_distance_measures,
    lost_at_equal_distance,
    measure_name,
    unexplained,
)
from unoise_engine.explanation.baselines import chaos, ruler
from unoise_engine.explanation.hiding import FILLS
from unoise_engine.explanation.slices import LabelledItem
from unoise_engine.explanation.visibility import How
from unoise_engine.volume.distance import signed_distance

SIDE, MM = 80, 2.0
CAUSE = (slice(40, 44), slice(52, 56))  # one cell, 15 to 23 mm from the organ
HOW = How(draws=4, seed=3)


class NeedsItsCause:
    """Finds the whole organ where the cause reads about 1, and its upper half elsewhere."""

    def predict(self, x: Any) -> Any:
        y, _ = np.mgrid[:SIDE, :SIDE]
        seen = np.abs(x[:, 0][:, *CAUSE].mean(axis=(1, 2)) - 1) < 0.5
        found = disc()[None] & (seen[:, None, None] | (y < 40))
        return np.where(found, 1.0, -1.0)[:, None].astype(np.float32)


def disc(radius: float = 5.0) -> Any:
    y, x = np.mgrid[:SIDE, :SIDE]
    return (y - 40) ** 2 + (x - 40) ** 2 <= radius**2


@pytest.fixture(scope="module")
def slices() -> Any:
    """A body of 1 in air of -2; three patients, the second with two slices."""
    image = np.where(disc(38), 1.0, -2.0).astype(np.float32)[None]
    return [
        LabelledItem(f"case-{p}", f"case-{p}", k, image, disc(), (MM, MM)) for p, k in ((0, 0), (1, 0), (1, 1), (2, 0))
    ]


def lost(slices: Any, maps: Any, how: How = HOW) -> Any:
    return lost_at_equal_distance(NeedsItsCause(), slices, [disc()] * len(slices), maps, how)


def test_a_ruler_gets_nothing_and_the_cause_is_found_in_its_ring(slices: Any) -> None:
    oracle = np.zeros((SIDE, SIDE), np.float32)
    oracle[CAUSE] = 1
    near = ruler(slices[0], disc(), 0)
    maps = {"ruler": near, "straight": 3 * near - 7, "even": 0 * near, "oracle": oracle, "inverted": -oracle,
            "both": near + oracle}  # fmt: skip
    found = lost(slices, {name: [one] * len(slices) for name, one in maps.items()})
    for fill in FILLS:
        for name in ("ruler", "straight", "even"):
            assert (found[name, fill] == 0).all(), name
        least = 0.25 if fill == "grey" else 0.1  # noise lets the cause read 1 by chance now and then
        assert (found["oracle", fill][:, 1] > least).all() and (found["both", fill][:, 1] > least).all()
        np.testing.assert_allclose(found["inverted", fill][:, 1], -found["oracle", fill][:, 1])
        assert (found["oracle", fill][:, [0, 2]] == 0).all(), "the cause lies in the middle ring alone"


def test_what_depends_on_distance_alone_stays_near_nothing(slices: Any) -> None:
    """Curved ones are not explained by the fit to the last bit; the little that is left must not rank as knowledge."""
    far = -signed_distance(disc())
    for one in (np.exp(-far / 8), np.sqrt(np.maximum(far, 0)), 1 / (1 + np.maximum(far, 0))):
        ring = Cells(slices[0], disc()).ring(RINGS_MM[1])
        left = Cells(slices[0], disc()).unexplained(one.astype(np.float32), ring)
        assert left.std() < 0.1 * Cells(slices[0], disc()).means(one)[ring].std()


def test_halves_are_equal_lie_in_the_ring_and_spare_organ_and_air(slices: Any) -> None:
    cells, random = Cells(slices[0], disc()), np.random.default_rng(0)
    far = -signed_distance(disc()) * MM
    for low, high in RINGS_MM:
        ring = cells.ring((low, high))
        upper, lower = cells.halves(random.random((SIDE, SIDE)), ring, random.random(ring.size)) or (None, None)
        assert upper.sum() == lower.sum() == ring.sum() // 2 * 16  # type: ignore[union-attr]
        both = upper | lower  # type: ignore[operator]
        assert not (upper & lower).any() and not (both & disc()).any()  # type: ignore[operator]
        assert far[both].min() > low - 6 and far[both].max() < high + 6, "a cell's middle lies within"
        assert disc(41)[both].all()


def test_no_cell_is_of_two_rings(slices: Any) -> None:
    cells = Cells(slices[0], disc())
    cells.distance[:] = 16.0  # on the border
    near, far, _ = (cells.ring(ring) for ring in RINGS_MM)
    assert not near.any() and np.array_equal(far, cells.free) and far.any()


def test_the_same_is_hidden_whichever_maps_stand_beside_and_seeds_count(slices: Any) -> None:
    chaotic = [chaos(one, disc(), 0) for one in slices]
    alone = lost(slices, {"random": chaotic})
    beside = lost(slices, {"ruler": [ruler(one, disc(), 0) for one in slices], "random": chaotic})
    for fill in FILLS:
        np.testing.assert_array_equal(alone["random", fill], beside["random", fill])
    other = lost(slices, {"random": chaotic}, How(draws=4, seed=4))
    assert (other["random", "noise"] != alone["random", "noise"]).any()


def test_slices_without_organ_and_small_rings_are_left_out(slices: Any) -> None:
    maps = {"even": [np.zeros((SIDE, SIDE))] * 2}
    none = lost_at_equal_distance(NeedsItsCause(), slices[:2], [0 * disc(), disc()], maps, HOW)
    assert np.isnan(none["even", "grey"][0]).all() and (none["even", "grey"][1] == 0).all()
    thin = [LabelledItem("c", "c", 0, np.where(disc(12), 1, -2).astype(np.float32)[None], disc(), (MM, MM))]
    assert np.isnan(lost(thin, {"even": maps["even"][:1]})["even", "grey"][0, 1:]).all(), "the body ends before"


def test_means_are_over_patients(slices: Any) -> None:
    values = np.array([[0.1, np.nan, 0], [0.2, 0.5, 0], [0.4, 0.5, 0], [0.9, 0.1, 0]])
    measures = equal_distance_measures({("m", "grey"): values}, slices, seed=0, resamples=50)
    told = {m.name: m.estimate.value for m in measures}
    assert told[measure_name(RINGS_MM[0])] == pytest.approx((0.1 + 0.3 + 0.9) / 3)
    assert told[measure_name(RINGS_MM[1])] == pytest.approx((0.5 + 0.1) / 2)


def test_what_distance_does_not_explain_is_the_rest(slices: Any) -> None:
    spots = np.random.default_rng(1).random((SIDE, SIDE))
    a, b = (unexplained(slices[0], disc(), spots + k * ruler(slices[0], disc(), 0)) for k in (0, 5))
    np.testing.assert_allclose(a, b, atol=1e-5)
    assert a.std() > 0.01 and not unexplained(slices[0], disc(), ruler(slices[0], disc(), 0)).any()
    assert not unexplained(slices[0], np.ones((SIDE, SIDE), bool), spots).size
