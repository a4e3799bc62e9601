"""How a batch says what is left, and what `--log` keeps."""

import logging
import re
from pathlib import Path

import pytest

from unoise_engine.cli.log import keep_log
from unoise_engine.errors import Environment
from unoise_engine.progress import Pace, said_time


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_time_left_runs_down_and_does_not_jump() -> None:
    """200 cases of 10 s each: within a second right whenever it is asked for, once one is done."""
    clock = Clock()
    pace = Pace(200, clock)
    assert pace.left() is None
    for case in range(200):
        for second in range(10):
            clock.now = case * 10 + second
            if case:
                left = pace.left()
                assert left is not None and abs(left - (2000 - clock.now)) < 1
        clock.now = (case + 1) * 10
        pace.advance(True)
    assert pace.left() == 0


def test_what_was_found_done_says_nothing_of_the_rest() -> None:
    clock = Clock()
    pace = Pace(1001, clock)
    for _ in range(999):
        pace.advance(False)
    assert pace.left() is None
    clock.now = 30
    pace.advance(True)
    assert pace.left() == pytest.approx(30)


def test_a_time_as_people_write_it() -> None:
    assert [said_time(s) for s in (0, 59.6, 75, 3675)] == ["0:00", "1:00", "1:15", "1:01:15"]


def test_a_log_grows_with_times_and_without_what_was_not_said(tmp_path: Path) -> None:
    log = logging.getLogger("unoise_engine")
    before = [*log.handlers]
    try:
        for word in ("first", "second"):
            keep_log(tmp_path / "run.log")
            log.info(word)
            for handler in log.handlers[len(before) :]:
                log.removeHandler(handler)
                handler.close()
        lines = (tmp_path / "run.log").read_text().splitlines()
        assert [line.split(" ", 2)[2].split(" ")[0] for line in lines] == [
            "unoise_engine",
            "first",
            "unoise_engine",
            "second",
        ]
        assert all(re.match(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", line) for line in lines)
        with pytest.raises(Environment, match="cannot be written"):
            keep_log(tmp_path)
    finally:
        log.handlers[:] = before
        log.setLevel(logging.NOTSET)
