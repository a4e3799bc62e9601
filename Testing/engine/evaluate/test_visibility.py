"""Dice against share visible, compared with a second implementation that shares nothing with the first."""

from typing import Any

import numpy as np
import pytest

from Testing.engine.evaluate.world import Nearness, labelled_slices
from unoise_engine.errors import Usage
from unoise_engine.evaluate.curves import Curves
from unoise_engine.explanation.hiding import Hider
from unoise_engine.explanation.ranking import pooled_thresholds, ranks
from unoise_engine.explanation.visibility import How, evaluate_maps

SHARES = (0.05, 0.1, 0.2, 0.4, 0.7)
HOW = How(shares=SHARES, cuts=SHARES, draws=2, sigma=1.0, seed=3)


@pytest.fixture(scope="module")
def slices() -> Any:
    return labelled_slices()


@pytest.fixture(scope="module")
def maps(slices: Any) -> Any:
    """A good map (the smoothed image), a poor one (noise without ties) and a spiteful one (the good one turned)."""
    random = np.random.default_rng(5)
    good = [Nearness().predict(one.image[None])[0, 0] + random.random(one.organ.shape) * 1e-4 for one in slices]
    return {"good": good, "poor": [random.random(m.shape) for m in good], "spiteful": [-m for m in good]}


@pytest.fixture(scope="module")
def answers(slices: Any, maps: Any) -> Any:
    return evaluate_maps(Nearness(), slices, maps, HOW)


def plain_dice(a: Any, b: Any) -> Any:
    pairs = list(zip(a.ravel().tolist(), b.ravel().tolist()))
    total = sum(x + y for x, y in pairs)
    return 2 * sum(x and y for x, y in pairs) / total if total else 1.0


def keep_best(importance: Any, share: Any, threshold: Any = None) -> Any:
    """By sorting a list of pixels; with a threshold by looking at each of them."""
    flat = importance.ravel().tolist()
    if threshold is not None:
        return np.array([v >= threshold for v in flat]).reshape(importance.shape)
    best = sorted(range(len(flat)), key=lambda i: flat[i], reverse=True)[: round(share * len(flat))]
    mask = np.zeros(len(flat), bool)
    mask[best] = True
    return mask.reshape(importance.shape)


def plain_curve(slices: Any, maps: Any, ranking: Any, fill: Any, order: Any, reference: Any) -> Any:
    rows = []
    pool = sorted((v for m in maps for v in m.ravel().tolist()), reverse=True)
    for one, importance in zip(slices, maps):
        own = Nearness().predict(one.image[None])[0, 0] > 0
        wanted = one.organ if reference == "truth" else own
        row = []
        for share in SHARES:
            threshold = pool[round(share * len(pool)) - 1] if ranking == "pooled" else None
            seen = keep_best(importance, share, threshold)
            seen = seen if order == "keep" else ~seen
            noises = [np.zeros_like(one.organ, float)] if fill == "grey" else Hider(one, 3, 2, 1.0).noise
            scores = []
            for noise in noises:
                image = one.image.copy()
                for y, x in zip(*np.nonzero(~seen)):
                    image[:, y, x] = 0 if fill == "grey" else image[:, y, x] + noise[y, x]
                scores.append(plain_dice(Nearness().predict(image[None])[0, 0] > 0, wanted))
            row.append(sum(scores) / len(scores))
        rows.append(row)
    return np.array(rows)


@pytest.mark.parametrize("fill", ["grey", "noise"])
@pytest.mark.parametrize(("ranking", "order"), [("image", "keep"), ("pooled", "keep"), ("image", "hide")])
@pytest.mark.parametrize("reference", ["truth", "own"])
def test_curves_are_those_of_a_plain_implementation(
    slices: Any, maps: Any, answers: Any, ranking: Any, order: Any, fill: Any, reference: Any
) -> None:
    varied = set()
    for name in maps:
        wanted = plain_curve(slices, maps[name], ranking, fill, order, reference)
        np.testing.assert_allclose(answers.curve(name, ranking, fill, order, reference)[:, 1:-1], wanted, atol=1e-6)
        varied |= set(np.round(wanted, 3).ravel())
    assert len(varied) > 10, "the reference says the same everywhere"
    assert any(0.2 < v < 0.9 for v in varied), "the reference knows only all and nothing"


def test_the_ends_are_all_and_nothing(slices: Any, answers: Any) -> None:
    for name in answers.names:
        curve = answers.curve(name, "image", "grey")
        np.testing.assert_allclose(curve[:, -1], answers.clean)
        assert (curve[:, 0] == 0).all()  # a grey slice shows no organ
        back = answers.curve(name, "image", "grey", "hide")
        np.testing.assert_allclose(back[:, 0], answers.clean)
    assert (answers.clean > 0.5).all() and (answers.clean < 1).any()


def test_the_ends_against_the_own_prediction_and_in_pixels(slices: Any, answers: Any) -> None:
    for order, first in (("keep", 0.0), ("hide", 1.0)):
        curve = answers.curve("good", "image", "grey", order, "own")
        assert (curve[:, 0] == first).all() and (curve[:, -1] == 1 - first).all()
        shown = answers.curve("good", "image", "grey", order, "shown")
        assert (shown[:, 0] == first).all() and (shown[:, -1] == 1 - first).all()
        assert np.allclose(shown[0, 1:-1], SHARES if order == "keep" else 1 - np.array(SHARES), atol=1e-3)
    area = [(Nearness().predict(one.image[None]) > 0).sum() for one in slices]
    found = answers.curve("good", "image", "grey", "keep", "found")
    assert found[:, -1].tolist() == area and (found[:, 0] == 0).all() and (found[:, -2] > 0).any()


def test_progress_and_the_number_of_passes(slices: Any, maps: Any) -> None:
    """As many images go through the model as are announced, a slice is told as one, and none holds more than 16."""
    sizes, told = list[int](), list[float]()

    class Counting(Nearness):
        def predict(self, images: Any) -> Any:
            sizes.append(len(images))
            return super().predict(images)

    evaluate_maps(Counting(), slices[:2], {name: some[:2] for name, some in maps.items()}, HOW, told.append)
    assert sum(sizes) == 2 * HOW.passes(len(maps)) and max(sizes) <= 16
    assert sum(told) == pytest.approx(2) and len(told) == 6


def test_which_slices_the_pooled_threshold_is_taken_over(slices: Any, maps: Any) -> None:
    """Over those that show organ, or those that are named; over all where none does."""
    from dataclasses import replace

    bare = [replace(one, organ=one.organ & False) for one in slices]
    mixed = [*slices[:2], *bare[2:]]
    only = {"good": maps["good"]}

    def answered(some: Any, pool: Any = None) -> Any:
        return evaluate_maps(Nearness(), some, only, HOW, pool=pool).shown

    assert np.array_equal(answered(mixed), answered(bare, np.arange(len(slices)) < 2))
    assert np.array_equal(answered(bare), answered(slices)) and not np.array_equal(answered(mixed), answered(slices))


def test_a_score_of_zero_is_not_found(slices: Any, maps: Any) -> None:
    class Unsure:
        def predict(self, images: Any) -> Any:
            return np.zeros((len(images), 1, *images.shape[2:]), np.float32)

    got = evaluate_maps(Unsure(), slices[:1], {"good": maps["good"][:1]}, HOW)
    assert got.area.tolist() == [0] and (got.found == 0).all()


def test_how_often_must_be_at_least_once() -> None:
    How(draws=1)
    with pytest.raises(Usage, match="--draws 0"):
        How(draws=0)


def test_a_good_map_beats_a_poor_one_beats_a_spiteful_one(answers: Any) -> None:
    curves = Curves(answers, seed=0, resamples=200)
    areas = {m.method: m.estimate.value for m in curves.measures() if (m.name, m.fill, m.ranking) == KEY}
    assert areas["good"] > areas["poor"] + 0.2 > areas["spiteful"] + 0.2
    leads = {m.method: m.lead for m in curves.measures() if (m.name, m.fill, m.ranking) == KEY}
    assert leads["good"] is None
    lead = leads["spiteful"]
    assert lead is not None and lead.value == pytest.approx(areas["good"] - areas["spiteful"])
    assert lead.apart and lead.low > 0


KEY = ("area / full dice", "grey", "image")


def test_area_is_that_of_trapezia(answers: Any) -> None:
    curves = Curves(answers, seed=0, resamples=10)
    straight = np.array([[0.0, 0.05, 0.1, 0.2, 0.4, 0.7, 1.0]])
    assert curves.area(straight)[0] == pytest.approx(0.5)
    step = np.array([[0.0, 0, 0, 0, 0, 1, 1]])
    assert curves.area(step)[0] == pytest.approx(0.3 + 0.15)


def test_dice_is_told_at_each_share_beside_the_full_one(answers: Any) -> None:
    curves = Curves(answers, seed=0, resamples=10)
    mine = [m for m in curves.measures() if m.method == "good" and (m.fill, m.ranking) == KEY[1:]]
    told = {m.name: m.estimate.value for m in mine}
    for percent in ("5 %", "10 %", "20 %", "50 %"):
        assert told[f"dice at {percent} / full dice"] == pytest.approx(told[f"dice at {percent}"] / curves.full.mean())


def test_sufficiency_and_necessity(slices: Any, answers: Any) -> None:
    """With an area that covers what the model needs, the good map suffices, and hiding it takes all."""
    assert answers.at_area("good", "keep", 8.0).mean() > 0.8
    assert answers.at_area("good", "hide", 8.0).mean() == 0
    assert answers.at_area("spiteful", "keep", 1.0).mean() == 0
    assert answers.at_area("spiteful", "hide", 1.0).mean() > 0.9


def test_same_arguments_same_answers_and_no_neighbour_matters(slices: Any, maps: Any, answers: Any) -> None:
    again = evaluate_maps(Nearness(), slices, maps, HOW)
    np.testing.assert_array_equal(again.truth, answers.truth)
    alone = evaluate_maps(Nearness(), slices[:1], {n: m[:1] for n, m in maps.items()}, HOW)
    image = [q.ranking == "image" for q in HOW.questions()]
    np.testing.assert_array_equal(alone.truth[:, image, 0], answers.truth[:, image, 0])


def test_ties_keep_the_share_and_favour_no_corner() -> None:
    random = np.random.default_rng(0)
    flat = np.zeros((30, 30), np.float32)
    kept = ranks(flat, random.random(flat.shape)) < 90
    assert kept.sum() == 90
    assert 15 < kept[:15].sum() < 75 and 15 < kept[:, :15].sum() < 75
    half = [np.where(np.arange(900).reshape(30, 30) < 300, 1.0, 0.0) for _ in range(4)]
    for share, threshold in zip((0.1, 0.6), pooled_thresholds(half, (0.1, 0.6))):
        seen = [threshold.visible(m, random.random(m.shape)) for m in half]
        assert np.mean(seen) == pytest.approx(share, abs=0.03)
    assert seen[0][half[0] > 0].all(), "more important pixels come before equal ones"
    (none,) = pooled_thresholds(half, (0.0001,))
    assert not none.visible(half[0], random.random(flat.shape)).any(), "less than half a pixel is none"


def test_a_slice_without_prediction_has_no_dice_against_it(slices: Any, maps: Any) -> None:
    from dataclasses import replace

    dark = replace(slices[0], image=slices[0].image * 0, case="dark", patient="dark")
    some = evaluate_maps(Nearness(), [dark, slices[1]], {"good": maps["good"][:2]}, HOW)
    assert np.isnan(some.own[0, :, 0]).all() and np.isfinite(some.own[0, :, 1]).all()
    curves = Curves(some, seed=0, resamples=10)
    assert curves.patients_own.names == ("case-0",) and len(curves.patients.names) == 2
    assert all(np.isfinite(m.estimate.value) for m in curves.measures())


@pytest.mark.parametrize("shares", [(0.5, 0.1), (0.0, 0.5), (0.5, 1.0), (0.5, 0.5)])
def test_shares_must_rise_within_the_ends(shares: Any) -> None:
    with pytest.raises(Usage, match="shares"):
        How(shares=shares)


def test_maps_that_do_not_fit_are_refused(slices: Any, maps: Any) -> None:
    with pytest.raises(ValueError, match="do not fit"):
        evaluate_maps(Nearness(), slices, {"good": maps["good"][:-1]}, HOW)


def test_the_ends_against_the_own_prediction_are_measured(slices: Any, maps: Any) -> None:
    """All visible is the prediction itself; with nothing visible the model may still find some, as this one does."""

    class Stubborn(Nearness):
        def predict(self, slices: Any) -> Any:
            logits = super().predict(slices)
            logits[:, :, 8:16, 8:16] = 1  # whatever it sees
            return logits

    answers = evaluate_maps(Stubborn(), slices, maps, HOW)
    curve = answers.curve("good", "image", "grey", against="own")
    assert (curve[:, -1] == 1).all() and (curve[:, 0] > 0.3).all() and (curve[:, 0] < 1).all()
    for one, value in zip(slices, curve[:, 0]):
        own = Stubborn().predict(one.image[None])[0, 0] > 0
        assert value == pytest.approx(plain_dice(Stubborn().predict(0 * one.image[None])[0, 0] > 0, own))


@pytest.mark.parametrize("how", [HOW, How(shares=(0.5,), cuts=(0.5,), draws=3, rankings=("pooled",))])
def test_the_time_told_is_for_the_images_that_are_segmented(slices: Any, maps: Any, how: Any) -> None:
    seen = []

    class Counting(Nearness):
        def predict(self, slices: Any) -> Any:
            seen.append(len(slices))
            return super().predict(slices)

    evaluate_maps(Counting(), slices, maps, how)
    assert sum(seen) == len(slices) * how.passes(len(maps))
