"""How much of a map falls on the cause: by hand, and on a planted CT with maps that know the answer or half of it."""

from typing import Any

import numpy as np
import pytest

from unoise_engine.evaluate.cause import (
    APART,
    AREA,
    LANDMARK_AREA,
    LANDMARK_POINTING,
    POINTING,
    TAKEN,
    Cause,
    above,
    average_precision,
    cause_measures,
    judge_cause,
    share_name,
)
from unoise_engine.explanation.slices import LabelledItem
from unoise_engine.lab.phantom.planted import LABELS, plant


def test_average_precision_by_hand() -> None:
    """Wanted pixels at places 1, 3 and 6: (1/1 + 2/3 + 3/6) / 3."""
    placed = np.arange(8)
    wanted = np.isin(placed, (0, 2, 5))
    assert average_precision(placed, wanted) == pytest.approx((1 + 2 / 3 + 3 / 6) / 3)
    assert average_precision(placed, placed < 4) == 1
    assert np.isnan(average_precision(placed, placed > 100))


def test_above_by_hand() -> None:
    assert above(np.array([0, 4]), np.array([1, 2, 5])) == pytest.approx((3 + 1) / 6)
    assert np.isnan(above(np.array([1]), np.array([])))


@pytest.fixture(scope="module")
def slices() -> Any:
    """Slices of planted CTs that show everything: organ, landmark, decoys."""
    made, causes = [], []
    for seed in range(3):
        phantom = plant(seed, size=96, slices=10)
        for k, labels in enumerate(phantom.labels.voxels):
            mask = {name: labels == number for name, number in LABELS.items()}
            if all(m.any() for m in mask.values()):
                image = phantom.ct.voxels[k][None].astype(np.float32)
                made.append(LabelledItem(f"case-{seed}", f"case-{seed}", k, image, mask["target"]))
                causes.append(Cause(mask["landmark"], mask["decoy"] | mask["decoy_landmark"]))
    assert len(made) > 5 and len({one.case for one in made}) > 1
    return made, causes


def test_maps_that_know_the_cause_and_maps_that_fall_for_decoys(slices: Any) -> None:
    made, causes = slices
    random = np.random.default_rng(0)
    maps = {
        "oracle": [1.0 * (s.organ | c.landmark) for s, c in zip(made, causes)],
        "organ only": [1.0 * s.organ for s in made],
        "looks": [1.0 * (s.organ | c.landmark | c.decoys) for s, c in zip(made, causes)],
        "random": [random.random(s.organ.shape) for s in made],
    }
    found = [one.organ for one in made]
    got = {(m.method, m.name): m for m in cause_measures(made, causes, found, maps, seed=0, resamples=50)}
    value = {key: m.estimate.value for key, m in got.items()}
    assert value["oracle", AREA] == 1 and value["oracle", LANDMARK_AREA] == 1 and value["oracle", POINTING] == 1
    assert value["oracle", LANDMARK_POINTING] == 1 and value["oracle", APART] == 1
    assert value["organ only", AREA] < 0.9 and value["organ only", LANDMARK_AREA] < 0.2
    assert value["organ only", POINTING] == 1 > value["organ only", LANDMARK_POINTING]
    assert 0.3 < value["looks", APART] < 0.7, "who goes by looks cannot tell landmark from decoy"
    assert value["looks", share_name("decoys")] > 0.2 and value["oracle", share_name("decoys")] == 0
    assert value["random", AREA] < 0.1 and value["random", share_name("elsewhere")] > 0.8
    for name in maps:
        parts = [value[name, share_name(part)] for part in ("organ", "landmark", "decoys", "elsewhere")]
        assert sum(parts) == pytest.approx(1)
    assert value["segmentation", TAKEN] == 0
    assert got["oracle", AREA].lead is None  # nobody leads himself
    lead = got["random", AREA].lead
    assert lead is not None and lead.value == pytest.approx(1 - value["random", AREA])


def test_slices_that_the_model_does_not_solve_are_left_out(slices: Any) -> None:
    made, causes = slices
    nothing = [np.zeros_like(one.organ) for one in made]
    everything = [np.ones_like(one.organ) for one in made]
    maps = {"any": [one.organ * 1.0 for one in made]}
    assert [m.name for m in cause_measures(made, causes, nothing, maps, 0, 10)] == [TAKEN]
    (only,) = cause_measures(made, causes, everything, maps, 0, 10)
    assert only.estimate.value == 1


def test_ties_are_no_advantage() -> None:
    organ = np.zeros((20, 20), bool)
    organ[:3, :3] = True
    landmark = np.zeros_like(organ)
    landmark[0, 10] = True
    flat = judge_cause(
        np.zeros(organ.shape), organ, Cause(landmark, ~organ), np.random.default_rng(0).random(organ.shape)
    )
    assert flat[AREA] < 0.1


def test_shares_of_the_most_important_pixels_by_hand() -> None:
    """As many as the cause has, four: one on each kind of place, in this order."""
    organ, landmark, decoys = (np.zeros((4, 4), bool) for _ in range(3))
    organ[0, :2], landmark[1, :2], decoys[2, :2] = True, True, True
    importance = np.zeros((4, 4))
    importance[0, 0], importance[3, 3], importance[1, 0], importance[2, 0] = 9, 8, 7, 6
    found = judge_cause(importance, organ, Cause(landmark, decoys), np.random.default_rng(0).random((4, 4)))
    assert [found[share_name(part)] for part in ("organ", "landmark", "decoys", "elsewhere")] == [0.25] * 4


@pytest.mark.parametrize(("pixels", "counts"), [(8, True), (6, True), (5, False)])
def test_a_task_half_solved_is_solved(pixels: Any, counts: Any) -> None:
    """A dice of one half: 6 of 18 pixels found, 2 * 6 / (18 + 6)."""
    organ, found, landmark = (np.zeros((10, 10), bool) for _ in range(3))
    organ.ravel()[:18], found.ravel()[:pixels], landmark[9, :2] = True, True, True
    one = LabelledItem("a", "a", 0, np.zeros((1, 10, 10), np.float32), organ)
    got = cause_measures([one], [Cause(landmark, ~organ & ~landmark)], [found], {"any": [organ * 1.0]}, 0, 10)
    assert (AREA in {m.name for m in got}) == counts


def test_all_measures_by_hand() -> None:
    """Nine pixels in the order of their importance: organ o, landmark l, decoy d, and the rest."""
    places = np.array(list("ol.do.dl."))
    organ, landmark, decoys = ((places == one).reshape(3, 3) for one in "old")
    importance = np.arange(9, 0, -1.0).reshape(3, 3)
    got = judge_cause(importance, organ, Cause(landmark, decoys | organ), importance * 0)
    assert got[AREA] == pytest.approx((1 + 1 + 3 / 5 + 4 / 8) / 4)
    assert got[LANDMARK_AREA] == pytest.approx((1 / 1 + 2 / 6) / 2)  # organ left out: l . d . d l .
    assert got[POINTING] == 1 and got[LANDMARK_POINTING] == 1
    assert got[APART] == 2 / 4  # each landmark pixel against each decoy
    shares = [got[share_name(part)] for part in ("organ", "landmark", "decoys", "elsewhere")]
    assert shares == pytest.approx([1 / 4, 1 / 4, 1 / 4, 1 / 4])  # of the first four: o l . d
    turned = judge_cause(-importance, organ, Cause(landmark, decoys), importance * 0)
    assert turned[POINTING] == 0 and turned[LANDMARK_POINTING] == 0


def slice_of(letters: Any, patient: Any = "a") -> Any:
    places = np.array([list(letters)])
    return LabelledItem(patient, patient, 0, np.zeros((1, 1, len(letters)), np.float32), places == "o"), Cause(
        places == "l", places == "d"
    )


def test_who_is_judged_and_against_whom() -> None:
    """Half found is solved, less is not; the first map has no lead; decoys taken are counted on every slice."""
    made = [slice_of("oooldd..", "a"), slice_of("oo.lddd.", "b"), slice_of("oo..d...", "c")]
    slices, causes = zip(*made)
    found = [np.zeros((1, 8), bool) for _ in made]
    found[0][0, [0, 4, 5]] = True  # dice 2 / 6
    found[1][0, [0, 7]] = True  # dice 1 / 2
    found[2][0, :2] = True  # all of it, but there is no landmark
    maps = {"first": [np.arange(8.0)[None]] * 3, "second": [-np.arange(8.0)[None]] * 3}
    got = {(m.method, m.name): m for m in cause_measures(slices, causes, found, maps, 0, 20)}
    assert got["segmentation", TAKEN].estimate.value == pytest.approx((1 + 0 + 0) / 3)
    first, second = got["first", AREA], got["second", AREA]
    assert first.lead is None and np.isnan(first.estimate.low), "one patient alone"
    assert first.estimate.value == pytest.approx((1 / 5 + 2 / 7 + 3 / 8) / 3)
    assert second.estimate.value == pytest.approx((1 + 1 + 3 / 4) / 3)
    assert second.lead is not None and second.lead.value == pytest.approx(first.estimate.value - second.estimate.value)
