"""How far a run has come: a bar for people, JSON lines for programs, or nothing.

One JSON object a line on standard output (`--progress json`); Slicer reads these:

    {"event": "progress", "case": "ct", "stage": "unoise", "done": 3.0, "total": 20, "seconds_left": 1.4}
    (and "note", where there is something to say of the step itself)
    {"event": "estimate", "case": "ct", "stage": "occlusion", "title": "Occlusion", "slices": 12, "seconds": 300.0}
    {"event": "searching", "files": 120000, "waits": 0.1}
    {"event": "case", "case": "ct", "status": "OK", "folder": "out/ct"}
    {"event": "converted", "folder": "out/dicom", "files": 7, "corrections": []}
    {"event": "error", "code": "NOT_3D", "source": "ct.png", "what": "...", "cure": "...", "message": "..."}
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Any, Protocol, TextIO

EVERY_SECONDS = 0.2  # a reader needs no more lines than that


class Enough(BaseException):
    """Whoever hears the progress wants no more: what is finished is to be kept. Raised out of `advance`."""


class Progress(Protocol):
    @contextmanager
    def stage(self, case: str, name: str, total: int) -> Iterator[Callable[..., None]]:
        """Yields `advance(amount, note="")`, amounts summing to `total`."""
        ...

    def cases(self, total: int) -> AbstractContextManager[Callable[[bool], None]]:
        """For a batch: yields `advance(worked)`, called for each case; not `worked`: it was found done."""
        ...

    def event(self, kind: str, **facts: Any) -> None:
        """Something that is worth a line to a program."""
        ...


class Quiet:
    """Tells nobody."""

    @contextmanager
    def stage(self, case: str, name: str, total: int) -> Iterator[Callable[..., None]]:
        yield lambda amount, note="": None

    @contextmanager
    def cases(self, total: int) -> Iterator[Callable[[bool], None]]:
        with self.stage("", "cases", total) as advance:
            yield lambda worked: advance(1)

    def event(self, kind: str, **facts: Any) -> None:
        pass


class JsonLines(Quiet):
    """On standard output, or on the stream given."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self.stream = stream

    @contextmanager
    def stage(self, case: str, name: str, total: int) -> Iterator[Callable[..., None]]:
        started = last = time.monotonic()
        done = 0.0

        def tell(now: float, note: str = "") -> None:
            left = (now - started) / done * (total - done) if done else None
            self.event(
                "progress",
                case=case,
                stage=name,
                done=round(done, 3),
                total=total,
                seconds_left=None if left is None else round(max(left, 0), 1),
                **({"note": note} if note else {}),
            )

        def advance(amount: float, note: str = "") -> None:
            nonlocal done, last
            done = min(done + amount, total)
            if (now := time.monotonic()) - last >= EVERY_SECONDS:
                last = now
                tell(now, note)

        tell(started)
        yield advance
        done = total
        tell(time.monotonic())

    def event(self, kind: str, **facts: Any) -> None:
        stream = self.stream or sys.stdout
        stream.write(json.dumps({"event": kind, **facts}) + "\n")  # in one piece: several threads may speak
        stream.flush()


class Bar(Quiet):
    """A bar a stage on standard error, with the time left."""

    def __init__(self) -> None:
        from rich.console import Console

        self.console = Console(stderr=True)

    @contextmanager
    def stage(self, case: str, name: str, total: int) -> Iterator[Callable[..., None]]:
        from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

        columns = (
            TextColumn(f"{case[:24]}  {{task.description:<12}}"),
            BarColumn(),
            TextColumn("{task.percentage:>3.0f} %"),
            TextColumn("left"),
            TimeRemainingColumn(compact=True),
            TextColumn("took"),
            TimeElapsedColumn(),
        )
        with Progress(*columns, console=self.console, transient=True) as bar:
            task = bar.add_task(name, total=max(total, 1))

            def advance(amount: float, note: str = "") -> None:
                bar.update(task, advance=amount, description=f"{name} {note}".rstrip())

            yield advance

    @contextmanager
    def cases(self, total: int) -> Iterator[Callable[[bool], None]]:
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, TextColumn, TimeElapsedColumn
        from rich.text import Text

        pace = Pace(total)

        class Left(ProgressColumn):
            def render(self, task: object) -> Text:
                left = pace.left()
                return Text("--:--" if left is None else said_time(left))

        columns = (
            TextColumn("cases"), BarColumn(), MofNCompleteColumn(separator=" of "), TextColumn("left"), Left(),
            TextColumn("took"), TimeElapsedColumn(),
        )  # fmt: skip
        with Progress(*columns, console=self.console, transient=True) as bar:
            task = bar.add_task("cases", total=total)

            def advance(worked: bool) -> None:
                pace.advance(worked)
                bar.advance(task)

            yield advance


class Call(Quiet):
    """Calls a function of the user's with the stage and how much of it is done, 0 to 1."""

    def __init__(self, tell: Callable[[str, float], object]) -> None:
        self.tell = tell

    @contextmanager
    def stage(self, case: str, name: str, total: int) -> Iterator[Callable[..., None]]:
        done = 0.0

        def advance(amount: float, note: str = "") -> None:
            nonlocal done
            done = min(done + amount, total)
            self.tell(name, done / max(total, 1))

        self.tell(name, 0.0)
        yield advance
        if done < total:
            self.tell(name, 1.0)


class Lines(Quiet):
    """A line a stage on standard error, for logs and notebooks."""

    @contextmanager
    def stage(self, case: str, name: str, total: int) -> Iterator[Callable[..., None]]:
        started = time.monotonic()
        print(f"{name} ...", end=" ", file=sys.stderr, flush=True)
        try:
            yield lambda amount, note="": None
        except BaseException:
            print(file=sys.stderr, flush=True)  # what is said of it has a line of its own
            raise
        print(f"{time.monotonic() - started:.1f} s", file=sys.stderr, flush=True)

    def event(self, kind: str, **facts: Any) -> None:
        if kind == "estimate":
            each = f"{facts['slices']} slices, about {said_time(facts['seconds'])} at most"
            print(f"{facts['title']}: {each}", file=sys.stderr, flush=True)


class Pace:
    """How long a batch still takes, by the cases that are done. Between two of them the time runs down."""

    def __init__(self, total: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.left_over, self.clock = total, clock
        self.started = self.last = clock()
        self.done = 0

    def advance(self, worked: bool) -> None:
        """What was found done took no time, and says nothing of the others."""
        self.left_over -= 1
        if worked:
            self.done += 1
            self.last = self.clock()

    def left(self) -> float | None:
        """Seconds; None while nothing is done."""
        if not self.done:
            return None
        each = (self.last - self.started) / self.done
        return max(each * self.left_over - (self.clock() - self.last), 0.0)


def said_time(seconds: float) -> str:
    """75 -> 1:15, 3675 -> 1:01:15."""
    hours, rest = divmod(round(seconds), 3600)
    return f"{hours}:{rest // 60:02d}:{rest % 60:02d}" if hours else f"{rest // 60}:{rest % 60:02d}"


class Relay:
    """Progress that comes as events from another process, shown as if it were our own: one case at a time."""

    def __init__(self, show: Progress) -> None:
        self.show, self.stages = show, ExitStack()
        self.stage: tuple[Any, ...] = ()
        self.done = 0.0
        self.advance: Callable[..., None] = lambda amount, note="": None

    def __call__(self, event: dict[str, Any]) -> None:
        stage = event["case"], event["stage"], event["total"]
        if stage != self.stage:
            self.close()
            self.stage, self.done = stage, 0.0
            self.advance = self.stages.enter_context(self.show.stage(*stage))
        self.advance(event["done"] - self.done, note=event.get("note", ""))
        self.done = event["done"]

    def close(self) -> None:
        self.stages.close()
        self.stage = ()


def progress(mode: str) -> Progress:
    """auto: a bar if a person watches; json; off."""
    if mode == "json":
        return JsonLines()
    if mode == "auto" and sys.stderr.isatty():
        return Bar()
    return Quiet()


def progress_of(wanted: bool | Callable[[str, float], object] | None) -> Progress:
    """For a call from Python: True shows a bar to a terminal and lines elsewhere; a function is called (`Call`)."""
    if callable(wanted):
        return Call(wanted)
    if not wanted:
        return Quiet()
    return Bar() if sys.stderr.isatty() else Lines()


@contextmanager
def clock(seconds: dict[str, float], name: str) -> Iterator[None]:
    """Adds the seconds spent inside to `seconds[name]`."""
    started = time.perf_counter()
    try:
        yield
    finally:
        seconds[name] = seconds.get(name, 0.0) + time.perf_counter() - started
