"""A case in a process of its own: a crash, or the system's memory killer, costs that case and no other.

python -c ... unoise_engine.batch.isolate        one Job as a line of JSON on standard input, which stays open:
                                                 when it closes, the caller is gone and the process ends; a line
                                                 more: finished maps are kept and the rest is left out
-> JSON lines on standard output: progress, estimate, then one of outcome, busy, abort, stopped
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from unoise_engine import typed
from unoise_engine.batch.job import Job, Outcome, clean, do_case, not_done
from unoise_engine.batch.records import Record
from unoise_engine.child import environment, python
from unoise_engine.errors import CaseFailed, EngineError, Environment, error_from
from unoise_engine.lock import Busy, held
from unoise_engine.progress import Enough, JsonLines

SILENT_SECONDS = 1800.0  # a process that says nothing for so long hangs; progress comes every second or so
Tell = Callable[[dict[str, Any]], None]


class Stopped(Exception):
    """The run was interrupted while this case was in hand."""


class Children:
    """The processes of one run. Leaving the context ends them."""

    def __init__(self, debug: bool = False) -> None:
        self.debug = debug
        self.stopped = threading.Event()
        self._running: set[subprocess.Popen[str]] = set()
        self._ready: list[subprocess.Popen[str]] = []  # started, and without a job
        self._guard = threading.Lock()

    def __enter__(self) -> Children:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        for child in self._ready:
            _end(child)

    def prepare(self) -> None:
        """Starts one that gets ready while its case is still being looked for."""
        self._ready.append(self._start())

    def do(self, job: Job, tell: Tell) -> Outcome:
        """Runs a job in a new process and waits for its end, from any thread.

        Raises Busy, Stopped, and Environment or Integrity for what concerns every case.
        """
        with self._guard:
            ready = self._ready.pop() if self._ready else None
        child = ready or self._start()
        silence = _Silence(child)
        try:
            last = _converse(child, job, tell, silence)
        finally:
            silence.over.set()
            _end(child)
            with self._guard:
                self._running.discard(child)
        if last.get("event") == "stopped" or (self.stopped.is_set() and last.get("event") != "outcome"):
            raise Stopped
        if last.get("event") == "outcome":
            return Outcome.from_dict(last["outcome"])
        if last.get("event") == "busy":
            raise Busy(job.case)
        if last.get("event") == "abort":
            raise error_from(last)
        return _lost(job, child.returncode, silence.killed)

    def stop(self) -> None:
        """Ends every process, whatever it is doing; `do` raises Stopped. Locks go with their holders."""
        self.stopped.set()
        with self._guard:
            for child in self._running:
                child.kill()

    def enough(self) -> None:
        """Asks every process to keep the maps that are finished and to end."""
        with self._guard:
            for child in self._running:
                with suppress(OSError, ValueError):  # its other end is gone, or closed
                    assert child.stdin is not None  # noqa: S101 - for the type checker
                    child.stdin.write("enough\n")
                    child.stdin.flush()

    def _start(self) -> subprocess.Popen[str]:
        with self._guard:
            if self.stopped.is_set():
                raise Stopped
            child = subprocess.Popen(  # noqa: S603 - our own interpreter and our own code
                python(__name__),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=None if self.debug else subprocess.DEVNULL,  # libraries may print names there
                text=True,
                encoding="utf-8",
                env=environment(),
            )
            self._running.add(child)
        return child


class _Silence(threading.Thread):
    """Kills a process that has not been heard of for SILENT_SECONDS."""

    def __init__(self, child: subprocess.Popen[str]) -> None:
        super().__init__(daemon=True)
        self.child, self.heard, self.killed, self.over = child, time.monotonic(), False, threading.Event()
        self.start()

    def run(self) -> None:
        while not self.over.wait(1.0):
            if time.monotonic() - self.heard > SILENT_SECONDS:
                self.killed = True
                self.child.kill()
                return


def _converse(child: subprocess.Popen[str], job: Job, tell: Tell, silence: _Silence) -> dict[str, Any]:
    """Sends the job, passes progress on, and returns the last message."""
    last: dict[str, Any] = {}
    assert child.stdin is not None and child.stdout is not None  # noqa: S101 - for the type checker
    try:
        child.stdin.write(json.dumps(typed.to_table(job)) + "\n")
        child.stdin.flush()
    except OSError:
        return last  # it died at once
    for line in child.stdout:
        silence.heard = time.monotonic()
        try:
            last = json.loads(line)
        except ValueError:
            continue  # half a line of a process that was killed
        if last.get("event") in ("progress", "estimate"):
            tell(last)
    return last


def _end(child: subprocess.Popen[str]) -> None:
    if child.stdin is not None:
        with suppress(OSError):  # its other end is gone
            child.stdin.close()
    try:
        child.wait(timeout=30)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()
    if child.stdout is not None:
        child.stdout.close()


def _lost(job: Job, returncode: int, silent: bool) -> Outcome:
    """The record of a case whose process ended without a word."""
    if silent:
        code, what = "TIMEOUT", f"gave no sign of life for {SILENT_SECONDS / 60:.0f} minutes and was ended"
    elif returncode == -signal.SIGTERM or returncode == -9:
        code, what = "KILLED", f"its process was ended from outside (signal {-returncode}; often: memory exhausted)"
    else:
        code, what = "CRASHED", f"its process crashed (exit status {returncode})"
    cure = "run it again with --resume, with fewer --jobs if memory is short"
    lost = CaseFailed(code, job.source, what, cure)
    with held(Path(job.out), job.case, wait_s=10):
        clean(Path(job.out), job.folder)
        return not_done(job, Record(job.case, "FAILED", job.model, job.settings), lost)


def main() -> None:
    """The process's own side."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the caller too, who decides
    channel = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # whatever a library prints must not come between our lines
    with suppress(ImportError):  # told when it is needed
        import unoise_engine.models.runtime  # noqa: F401 - takes its time, and the job may come later
    line = sys.stdin.readline()
    if not line:
        return  # there was nothing to do
    job = typed.read(Job, json.loads(line), "job")
    speak = _Speak(channel)
    threading.Thread(target=speak.listen, daemon=True).start()
    try:
        from unoise_engine.models.bundles import load_bundle

        if not Path(job.out).is_dir():
            raise Environment(job.out, "is not there on this machine", "use a folder that every worker sees")
        asked = job.options.model
        bundle = load_bundle(asked.bundle, asked.device, asked.threads, tried=True, label=asked.label)
        outcome = do_case(job, bundle, speak)
        speak.event("outcome", outcome=outcome.to_dict())
    except Busy:
        speak.event("busy")
    except Enough:
        speak.event("stopped")
    except EngineError as error:
        speak.event("abort", **error.facts)


class _Speak(JsonLines):
    """Ends the work when the caller wants no more, and the process when the caller is gone."""

    enough = False

    def listen(self) -> None:
        for _ in sys.stdin:
            self.enough = True
        os._exit(1)

    @contextmanager
    def stage(self, case: str, name: str, total: int) -> Iterator[Callable[..., None]]:
        with super().stage(case, name, total) as advance:

            def heard(amount: float, note: str = "") -> None:
                advance(amount, note)
                if self.enough:
                    raise Enough

            yield heard
