"""Agreement before seconds, and seconds that can be checked by hand."""

from functools import partial
from typing import Any

import numpy as np
import pytest

from unoise_engine.lab.benchmark import contest
from unoise_engine.lab.benchmark.contest import OURS, Contest, Entry, distance, hold

MAP = np.array([0.0, 1.0, 4.0])


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Time stands still but for what the work says it takes."""

    class Clock:
        now = 0.0

        def perf_counter(self) -> Any:
            return self.now

        def sleep(self, seconds: Any) -> None:
            pass

        def takes(self, *seconds: Any) -> Any:
            left = list(seconds)

            def work() -> None:
                self.now += left.pop(0) if len(left) > 1 else left[0]

            return work

    made = Clock()
    monkeypatch.setattr(contest, "time", made)
    return made


def held(*entries: Any, repeats: Any = 3) -> Any:
    told: list[float] = []
    rows = hold(Contest("net", "what", entries), repeats, told.append)
    assert sum(told) == len(entries)
    return rows


def test_medians_and_spread(clock: Any) -> None:
    (row,) = held(Entry(OURS, [clock.takes(9, 1, 5, 3)]))  # the first is to warm up
    assert (row.seconds, row.low, row.high, row.repeats) == (3, 1, 5, 3)
    assert row.agrees and row.apart is None and row.error is None


def test_a_sample_stands_for_the_whole(clock: Any) -> None:
    first, second = clock.takes(1), clock.takes(3)
    (row,) = held(Entry(OURS, [first, second], count=10))
    assert row.seconds == 20 and row.sampled == "2 of 10"
    assert row.error == pytest.approx(10 * np.std([1, 3], ddof=1) / 2**0.5)


def test_repetitions_are_interleaved() -> None:
    said = []
    held(Entry(OURS, [lambda: said.append("a")]), Entry("long", [lambda: said.append("b")], once=True), repeats=3)
    assert "".join(said) == "a" + "ab" + "a" + "a"  # to warm up, then in turns


def test_all_is_checked_before_anything_is_timed() -> None:
    said = []

    def check(name: str) -> Any:
        said.append(name)
        return MAP, MAP

    entries = [Entry(n, [lambda: said.append("work")], check=partial(check, n)) for n in ("one", "two")]
    held(*entries)
    assert said[:2] == ["one", "two"] and said[2:] == ["work"] * 6


def test_who_disagrees_is_told_and_not_timed() -> None:
    def never() -> None:
        raise AssertionError("timed all the same")

    wrong = MAP + np.array([0, 0, 0.01])
    good, bad = held(
        Entry("good", [lambda: None], check=lambda: (wrong, MAP), tolerance=0.003),
        Entry("bad", [never], check=lambda: (wrong, MAP), tolerance=0.002),
    )
    assert good.agrees and good.apart == pytest.approx(0.01 / 4)
    assert not bad.agrees and np.isnan(bad.seconds) and "DISAGREES" in bad.note


@pytest.mark.parametrize("got", [MAP[:2], MAP * np.nan])
def test_nothing_agrees_with_what_cannot_be_compared(got: Any) -> None:
    assert distance(got, MAP, absolute=False) == float("inf")


def test_a_reference_without_contrast_proves_nothing() -> None:
    assert distance(np.zeros(3), np.zeros(3), absolute=False) == float("inf")


def test_absolute_or_a_share() -> None:
    assert distance(MAP + 0.5, MAP, absolute=True) == 0.5
    assert distance(MAP + 0.5, MAP, absolute=False) == 0.125
