"""The same question put to several programs: first whether they agree, then how long each takes.

Repetitions are interleaved, so that a machine that slows down slows all of them.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

OURS = "unoise_engine"
PAUSE_S = 0.1  # threads of the program before, which spin for a while in case more is to do, go to sleep
Work = Callable[[], object]
Check = Callable[[], tuple[np.ndarray, np.ndarray]]  # this program's answer, and the one it must equal


@dataclass(frozen=True)
class Entry:
    """One program. `parts` are pieces of work, alike or a random sample; the whole takes `count` of their mean.

    `once` is for what takes long: not warmed up, not repeated. `tolerance` is a share of the largest value of the
    answer, or with `absolute` a difference.
    """

    by: str
    parts: Sequence[Work]
    count: float = 1
    check: Check | None = None
    tolerance: float = 1e-4
    absolute: bool = False
    once: bool = False
    note: str = ""


@dataclass(frozen=True)
class Contest:
    """`model` and `what` name it; the first entry is ours."""

    model: str
    what: str
    entries: Sequence[Entry]


@dataclass(frozen=True)
class Row:
    """A line of the table. Seconds of the whole: median, least and largest over `repeats`; `error` is the standard
    error where only a sample ran. `apart` is the distance from the answer it was compared with, None if it was not."""

    model: str
    what: str
    by: str
    seconds: float
    low: float
    high: float
    repeats: int
    error: float | None = None
    sampled: str = ""
    apart: float | None = None
    agrees: bool = True
    note: str = ""
    values: tuple[float, ...] = field(default=(), repr=False)


def distance(got: np.ndarray, wanted: np.ndarray, absolute: bool) -> float:
    """The largest difference, by default as a share of the largest value. Infinite where nothing can be said: other
    shapes, numbers that are not finite, or a reference that is the same everywhere."""
    if got.shape != wanted.shape or not np.isfinite(got).all() or not np.ptp(wanted) > 0:
        return float("inf")
    apart = float(np.abs(got - wanted).max())
    return apart if absolute else apart / float(np.abs(wanted).max())


def hold(contest: Contest, repeats: int, advance: Callable[[float], None]) -> list[Row]:
    """Checks every entry, then times those that agree. `advance` is called once an entry."""
    told: dict[str, float] = {}
    for entry in contest.entries:
        if entry.check is not None:
            told[entry.by] = distance(*entry.check(), entry.absolute)
    good = [e for e in contest.entries if told.get(e.by, 0.0) <= e.tolerance]
    for entry in good:
        if not entry.once and entry.check is None:
            entry.parts[0]()  # the first pass opens files and takes memory
    times: dict[str, list[list[float]]] = {entry.by: [] for entry in good}
    for turn in range(repeats):
        for entry in good:
            if not entry.once or turn == 0:
                time.sleep(PAUSE_S)
                times[entry.by].append([_seconds(part) for part in entry.parts])
    rows = []
    for entry in contest.entries:
        apart = told.get(entry.by)
        rows.append(_row(contest, entry, times[entry.by], apart) if entry in good else _refused(contest, entry, apart))
        advance(1)
    return rows


def _seconds(work: Work) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def _row(contest: Contest, entry: Entry, times: list[list[float]], apart: float | None) -> Row:
    whole = [entry.count * statistics.fmean(turn) for turn in times]
    error, sampled = None, ""
    if len(entry.parts) > 1:
        each = [statistics.median(part) for part in zip(*times)]
        error = entry.count * statistics.stdev(each) / len(each) ** 0.5
    if entry.count != 1:
        sampled = f"{len(entry.parts)} of {entry.count:g}"
    middle, ends = statistics.median(whole), (min(whole), max(whole))
    named = contest.model, contest.what, entry.by
    return Row(*named, middle, *ends, len(whole), error, sampled, apart, True, entry.note, tuple(whole))


def _refused(contest: Contest, entry: Entry, apart: float | None) -> Row:
    nan = float("nan")
    note = f"DISAGREES: {apart:.1e} apart, {entry.tolerance:.0e} allowed; not timed"
    return Row(contest.model, contest.what, entry.by, nan, nan, nan, 0, None, "", apart, False, note)
