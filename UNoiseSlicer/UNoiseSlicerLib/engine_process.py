"""The engine as a program of its own: one JSON request goes in, JSON lines come back, and nothing ever waits for it.

Threads read the pipes into a queue; `poll` empties the queue and returns at once, so a timer may call it from the
window's own thread. Whatever an engine gone mad says, little of it is held. No Slicer and no Qt here.
"""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

KILL_PATIENCE_SECONDS = 5.0
LINES_A_POLL = 1000  # so that the window is not held
LINES_AHEAD = 10_000  # read but not polled; the engine waits then
SILENT_SECONDS = 120.0  # without a sign of life, which comes every 15 seconds, until the engine is taken to hang
PAUSE_SECONDS = 5.0  # between two polls: the computer slept, or the window was held, and silence is no sign
LONGEST_LINE = 1 << 20  # bytes; the engine's own lines have some hundreds
LONGEST_TEXT = 2000  # characters of a line that goes into the log
MODULE = "unoise_engine.worker"
HANGS = "Hangs"  # code of the error; whoever shows it words it


class EngineProcess:
    """One run. An engine that gave signs of life and gives none any more is ended; an "error" without words says so.

    Events are the engine's own (see unoise_engine/progress.py), and two of ours:

    {"event": "log", "text": "..."}        a line on standard error, or one on standard output that is no JSON object
    {"event": "end", "code": 0}            once, after everything else; negative codes are signals
    """

    def __init__(
        self,
        python: str,
        engine_home: Path,
        request: dict[str, Any] | None,
        environment: Mapping[str, str],
        command: Sequence[str] = (MODULE,),
    ):
        """Starts `python -m unoise_engine.worker`, or another `command` of the engine's, with the package found in
        `engine_home`. Without a `request` it waits for those that `ask` hands in. Raises OSError."""
        path = os.pathsep.join(p for p in (str(engine_home), environment.get("PYTHONPATH", "")) if p)
        self._process = subprocess.Popen(  # noqa: S603  our own interpreter and our own module
            [python, "-m", *command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=engine_home,  # where -m looks first
            env={**environment, "PYTHONPATH": path, "PYTHONUTF8": "1", "PYTHONUNBUFFERED": "1"},
            **_own_group(),
        )
        self._lines: queue.Queue[dict[str, Any]] = queue.Queue(LINES_AHEAD)
        self._killed = self._ended = self._beats = False
        self._heard = self._polled = time.monotonic()
        self._readers = [threading.Thread(target=self._read, args=(n,), daemon=True) for n in ("stdout", "stderr")]
        for reader in self._readers:
            reader.start()
        self._questions: queue.Queue[bytes | None] = queue.Queue()
        threading.Thread(target=self._ask, daemon=True).start()
        if request is not None:
            self.ask(request)
            self._questions.put(None)

    def ask(self, request: dict[str, Any]) -> None:
        """One more question, a line. Never waits."""
        self._questions.put(json.dumps(request).encode() + b"\n")

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def ended(self) -> bool:
        """Whether "end" was handed out."""
        return self._ended

    @property
    def runs(self) -> bool:
        """Whether it can be asked; a process that was killed meanwhile cannot."""
        return not self._ended and not self._killed and self._process.poll() is None

    def poll(self) -> list[dict[str, Any]]:
        """What arrived since the last call, a limited number of lines at a time. Never waits."""
        all_read = not any(reader.is_alive() for reader in self._readers)  # asked first: what they read last counts
        events: list[dict[str, Any]] = []
        while len(events) < LINES_A_POLL and not self._lines.empty():
            events.append(self._lines.get())
        if self._hangs():
            self.kill()
            events.append({"event": "error", "code": HANGS})
        if all_read and self._lines.empty() and not self._ended and (code := self._process.poll()) is not None:
            self._ended = True
            self._questions.put(None)
            events.append({"event": "end", "code": code})
        return events

    def kill(self) -> None:
        """Ends the engine and whatever it started, at once. Does nothing once "end" was handed out: the number may
        be another program's by then."""
        if self._ended:
            return
        self._killed = True
        self._questions.put(None)
        _kill_group(self._process)
        with suppress(subprocess.TimeoutExpired):  # stuck in the kernel: the system ends it when it can
            self._process.wait(KILL_PATIENCE_SECONDS)

    def _hangs(self) -> bool:
        now = time.monotonic()
        if now - self._polled > PAUSE_SECONDS:
            self._heard = now
        self._polled = now
        return self._beats and self.runs and now - self._heard > SILENT_SECONDS

    def _ask(self) -> None:
        with suppress(OSError), self._process.stdin as pipe:  # type: ignore[union-attr]
            while (request := self._questions.get()) is not None:
                pipe.write(request)  # if it dies before reading, its exit code says why
                pipe.flush()

    def _read(self, name: str) -> None:
        with getattr(self._process, name) as pipe:
            for line in iter(lambda: pipe.readline(LONGEST_LINE), b""):
                whole = line.endswith(b"\n") or len(line) < LONGEST_LINE
                while not whole and (rest := pipe.readline(LONGEST_LINE)):  # the rest of it is read and forgotten
                    whole = rest.endswith(b"\n")
                self._heard = time.monotonic()
                event = _event(line) if name == "stdout" and len(line) < LONGEST_LINE else _log(line)
                if event["event"] == "alive":
                    self._beats = True
                    continue
                while True:
                    try:
                        self._lines.put(event, timeout=0.2)
                        break
                    except queue.Full:
                        if self._killed:  # nobody may poll any more
                            return


def _event(line: bytes) -> dict[str, Any]:
    try:
        event = json.loads(line.decode("utf-8", errors="replace"))
    except (ValueError, RecursionError):  # no JSON, or nested without end
        return _log(line)
    return event if isinstance(event, dict) and isinstance(event.get("event"), str) else _log(line)


def _log(line: bytes) -> dict[str, Any]:
    text = line.decode("utf-8", errors="replace").rstrip()
    return {"event": "log", "text": text if len(text) <= LONGEST_TEXT else text[:LONGEST_TEXT] + " ..."}


# The only lines that differ between systems. Tried on Linux; the branch for Windows has not run yet.


def _own_group() -> dict[str, Any]:
    """So that the whole tree can be ended together, and Windows opens no console."""
    if sys.platform == "win32":
        return {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP | subprocess.CREATE_NO_WINDOW}
    return {"start_new_session": True}


def _kill_group(process: subprocess.Popen[bytes]) -> None:
    if sys.platform == "win32":
        tree = ["taskkill", "/T", "/F", "/PID", str(process.pid)]
        subprocess.run(  # noqa: S603
            tree, capture_output=True, creationflags=subprocess.CREATE_NO_WINDOW, check=False
        )
        return
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)  # the group outlives its leader: children of a dead engine go too
