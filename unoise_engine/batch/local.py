"""Jobs on this machine, several at a time, as outcomes in the order they end."""

from __future__ import annotations

import queue
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Sequence
from pathlib import Path

from unoise_engine.batch.isolate import Children, Tell
from unoise_engine.batch.job import Job, Outcome, find_done
from unoise_engine.errors import Signalled
from unoise_engine.lock import Busy, is_held

WAIT_SECONDS = 0.1


def one_after_the_other(jobs: Sequence[Job], do: Callable[[Job], Outcome]) -> Generator[Outcome, None, None]:
    """In this process. Cases that another run has in hand are left for the end."""
    waiting = _Waiting(jobs)
    while (job := waiting.take()) is not None:
        try:
            outcome = find_done(job)[0] or do(job)
        except Busy:
            waiting.later(job)
        else:
            waiting.done()
            yield outcome


def side_by_side(jobs: Sequence[Job], workers: int, tell: Tell, children: Children) -> Generator[Outcome, None, None]:
    """Each in a process of its own, `workers` at a time. Closing the iterator ends them all.

    Ctrl-C on a single job leaves it the time to keep the maps that are finished; a second one does not.
    """
    waiting = _Waiting(jobs)
    results: queue.Queue[Outcome | BaseException] = queue.Queue()

    def work() -> None:
        try:
            while not children.stopped.is_set() and (job := waiting.take()) is not None:
                try:
                    outcome = find_done(job)[0] or _do_if_free(job, children, tell)
                except Busy:
                    waiting.later(job)
                else:
                    waiting.done()
                    results.put(outcome)
        except BaseException as error:
            results.put(error)

    threads = [threading.Thread(target=work, daemon=True) for _ in range(min(workers, len(jobs)))]
    try:
        for thread in threads:
            thread.start()
        for _ in range(len(jobs)):
            try:
                result = _get(results)
            except Signalled as signalled:
                if len(jobs) > 1 or signalled.source != "interrupted":
                    raise
                children.enough()
                print("keeping the maps that are finished; Ctrl-C again ends at once", file=sys.stderr)
                result = _get(results)
                if isinstance(result, Outcome):
                    yield result
                raise signalled from None
            if isinstance(result, BaseException):
                raise result
            yield result
    finally:
        waiting.close()
        children.stop()
        for thread in threads:
            thread.join(timeout=60)


def _do_if_free(job: Job, children: Children, tell: Tell) -> Outcome:
    if is_held(Path(job.out), job.case):  # cheaper than a process that finds the same
        raise Busy(job.case)
    return children.do(job, tell)


def _get(results: queue.Queue[Outcome | BaseException]) -> Outcome | BaseException:
    while True:
        try:
            return results.get(timeout=0.5)  # waking up now and then lets Ctrl-C through on every system
        except queue.Empty:
            continue


class _Waiting:
    """Jobs that nobody has yet. `take` gives one, or None once all are done or the run is stopped."""

    def __init__(self, jobs: Sequence[Job]) -> None:
        self._jobs = deque(jobs)
        self._left = len(jobs)
        self._guard = threading.Lock()

    def take(self) -> Job | None:
        while True:
            with self._guard:
                if not self._left:
                    return None
                if self._jobs:
                    return self._jobs.popleft()
            time.sleep(WAIT_SECONDS)

    def later(self, job: Job) -> None:
        """Another run has it: look again after the others."""
        time.sleep(WAIT_SECONDS)
        with self._guard:
            self._jobs.append(job)

    def done(self) -> None:
        with self._guard:
            self._left -= 1

    def close(self) -> None:
        with self._guard:
            self._left = 0
