"""Occlusion of many items in a given time: what is looked at first, what is kept, and what is said of the rest."""

from typing import Any

import numpy as np
import pytest

from unoise_engine.explanation.items import Batch
from unoise_engine.explanation.lattice import Lattice, Refinement
from unoise_engine.explanation.method import silent
from unoise_engine.explanation.occlusion import Occlusion
from unoise_engine.explanation.search import Search, Sketch, evenly_spread
from unoise_engine.progress import Enough

SIDE = 128
ORGAN = slice(54, 74), slice(54, 74)
NEAR_MARK = slice(58, 70), slice(34, 46)
FAR_MARK = slice(60, 72), slice(4, 16)


class Fading:
    """Finds a square, whose rows fade one by one with the share of the marks that is hidden. Marks are what is 1."""

    def __init__(self) -> None:
        self.asked: list[tuple[int, np.ndarray]] = []

    def occluded(self, image: Any, places: Any, patch: Any, fill: Any, region: Any = None) -> Any:
        scores = np.full((len(places), 1, SIDE, SIDE), -1.0)
        marks = image[0] == 1
        for score, (y, x) in zip(scores[:, 0], places):
            self.asked.append((int(image[0, 0, 0]), np.array([y, x])))
            hidden = marks[y : y + patch, x : x + patch].sum() / max(marks.sum(), 1)
            rows = round(20 * (1 - hidden))
            score[ORGAN[0].start : ORGAN[0].start + rows, ORGAN[1]] = 1
        return scores


def items(n: int, marks: Any = (NEAR_MARK,), without: Any = ()) -> Batch:
    """Items of 2 (the first pixel is 10 + their number), with marks of 1; those named have no organ."""
    x = np.full((n, 1, SIDE, SIDE), 2.0, np.float32)
    organs = np.zeros((n, SIDE, SIDE), bool)
    for k in range(n):
        x[k, 0, 0, 0] = 10 + k
        for mark in marks:
            x[(k, 0, *mark)] = 1
        if k not in without:
            organs[(k, *ORGAN)] = True
    return Batch(x, organs)


def searched(some: Batch, places: float, monkeypatch: Any, advance: Any = silent) -> tuple[Search, Fading]:
    """With a clock that ticks with each place."""
    model = Fading()
    monkeypatch.setattr("time.monotonic", lambda: float(len(model.asked)))
    return Occlusion().searched(model, some, places, advance), model  # type: ignore[arg-type]


@pytest.mark.parametrize("n", [1, 2, 3, 7, 40])
def test_the_first_few_lie_all_over(n: Any) -> None:
    order = evenly_spread(n)
    assert sorted(order) == list(range(n)) and order[0] == n // 2
    if n == 40:
        assert np.diff(sorted(order[:4])).max() <= 21 and np.diff(sorted(order[:9])).max() <= 9


def test_every_item_is_looked_at_before_any_is_looked_at_closely(monkeypatch: Any) -> None:
    monkeypatch.setattr("unoise_engine.explanation.search.FAR", 8)
    some = items(6, without=(2,))
    search, model = searched(some, 700.0, monkeypatch)
    assert search.stopped == "out of time" and 700 <= search.places <= 708
    seen = [k - 10 for k, _ in model.asked]
    assert 2 not in seen and not search.map(2).any()
    all_begun = max(seen.index(k) for k in (0, 1, 3, 4, 5))
    turns = 1 + np.count_nonzero(np.diff(seen[: all_begun + 1]))
    assert turns == 5 and all_begun < 500, "one turn each before any has its second"
    places = np.array([place for k, place in model.asked[:all_begun]])
    assert np.abs(places + 7 - 64).max() <= 10 + 16 + 8 + 8, "what lies far from the organ comes later"


def test_the_error_is_about_what_is_said(monkeypatch: Any) -> None:
    some = items(5)
    finished, _ = searched(some, np.inf, monkeypatch)
    truth = np.stack([finished.map(k) for k in range(5)])
    assert finished.stopped == "" and finished.error < 0.02 and truth.max() > 0.4
    errors = []
    for places in (450.0, 800.0, 1500.0):
        search, _ = searched(some, places, monkeypatch)
        assert len(search.sketches) == 5
        maps = np.stack([search.map(k) for k in range(5)])
        error = np.sqrt(((maps - truth) ** 2).mean()) / np.ptp(truth)
        assert error / 2 < search.error < 3 * error + 0.01
        errors.append(error)
    assert errors[0] > errors[1] > errors[2] and errors[1] < 0.05


def test_a_cause_far_from_the_organ_is_found_in_time(monkeypatch: Any) -> None:
    some = items(3, marks=(FAR_MARK,))
    search, _ = searched(some, 1200.0, monkeypatch)
    for k in range(3):
        found = search.map(k)
        assert found[FAR_MARK].mean() > 0.5 * found.max() > 0.1
        assert found[:, 80:].max() < 0.1 * found.max()


def test_an_item_that_was_not_looked_at_lies_between_its_neighbours(monkeypatch: Any) -> None:
    some = items(8)
    some.x[:2] = 2.0  # the marks begin
    search, _ = searched(some, 200.0, monkeypatch)
    looked_at = sorted(search.sketches)
    assert 1 < len(looked_at) < 8
    missing = next(k for k in range(looked_at[0], 8) if k not in looked_at and k < looked_at[-1])
    lower, upper = max(j for j in looked_at if j < missing), min(j for j in looked_at if j > missing)
    share = (missing - lower) / (upper - lower)
    wanted = (1 - share) * search.map(lower) + share * search.map(upper)
    np.testing.assert_allclose(search.map(missing), wanted, atol=1e-6)
    assert share != 0.5 and not np.allclose(search.map(lower), search.map(upper))
    outside = [k for k in range(8) if k < looked_at[0] or k > looked_at[-1]]
    assert all(np.array_equal(search.map(k), search.map(looked_at[0 if k < looked_at[0] else -1])) for k in outside)


def test_who_has_enough_keeps_what_there_is(monkeypatch: Any) -> None:
    some, told, notes = items(4, without=(0,)), [0.0], []

    def until_half(amount: float, note: str = "") -> None:
        told[0] += amount
        notes.append(note)
        if told[0] > 2:
            raise Enough

    search, model = searched(some, 2000.0, monkeypatch, until_half)
    assert search.stopped == "asked to stop" and 0 < len(model.asked) < 2000
    assert notes[-1].startswith("error about ") and search.map(2).max() > 0.3


@pytest.mark.parametrize("places", [300.0, np.inf])
def test_progress_sums_to_the_items(places: Any, monkeypatch: Any) -> None:
    told: list[float] = []
    searched(items(4, without=(1,)), places, monkeypatch, lambda amount, note="": told.append(amount))
    assert sum(told) == pytest.approx(4) and min(told) >= 0 and len(told) > 10


def test_without_a_limit_the_clock_changes_nothing(monkeypatch: Any) -> None:
    some, model = items(2, marks=(NEAR_MARK, FAR_MARK)), Fading()
    by_itself = np.stack([Occlusion().one_item(model, some.x[k], some.organs[k], silent) for k in range(2)])  # type: ignore[arg-type]
    search, _ = searched(some, np.inf, monkeypatch)
    assert np.array_equal(by_itself, [search.map(k) for k in range(2)])


def test_of_items_by_themselves_blocks_alone_have_a_limit() -> None:
    slices, blocks = (Batch(np.zeros((1, 2, *size)), np.ones((1, *size), bool)) for size in ((4, 4), (4, 4, 4)))
    assert Occlusion().limit(slices.rank) == np.inf and Occlusion().limit(blocks.rank) == 5 * 60


def test_each_first_place_that_was_not_looked_at_adds_to_the_doubt() -> None:
    """It stands for 8 x 8 places, and each of them may lose 2 % of a range of 3."""
    organ, measured = np.ones((32, 32), bool), np.zeros((16, 16))
    measured[:, 15] = measured[4, 4] = np.nan  # of the first places three, and one of the others
    sketch = Sketch(organ, Lattice.every(2, organ.shape, 2), Refinement(measured, 8, 0.05), 0.0, None)
    assert sketch.doubt(1, 3.0) == pytest.approx(3 * 64 * 0.06**2)


def test_where_most_is_left_to_correct_comes_first(monkeypatch: Any) -> None:
    """One item loses all with its mark, the others half of it with each of two."""
    some = items(4, marks=(NEAR_MARK, FAR_MARK))
    some.x[(3, 0, *FAR_MARK)] = 2
    _, model = searched(some, 420.0, monkeypatch)
    asked = [k - 10 for k, _ in model.asked]
    later = asked[max(asked.index(k) for k in range(4)) + asked.count(asked[0]) :]
    assert later and set(later[:16]) == {3}


@pytest.mark.parametrize("how", [Occlusion(), Occlusion(stride=16)], ids=["at once", "exact"])
def test_half_of_a_map_is_not_kept(how: Any) -> None:
    """Where items were not looked at yet, or the map was to be exact."""
    some, told = items(4), [0.0]

    def enough(amount: float, note: str = "") -> None:
        told[0] += amount
        if told[0] > (3 if how.stride else 0.1):
            raise Enough

    with pytest.raises(Enough):
        how.searched(Fading(), some, np.inf, enough)
