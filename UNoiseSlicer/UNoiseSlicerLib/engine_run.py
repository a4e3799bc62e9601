"""One call of the engine under way: a temporary folder, a process, and what both say, in sentences for the panel."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import slicer
from slicer.i18n import tr as _

from UNoiseSlicerLib.engine_process import HANGS, LONGEST_TEXT, EngineProcess
from UNoiseSlicerLib.exchange import Refused
from UNoiseSlicerLib.install import PACKAGE, PackageMissing, broken_message, wheel_message
from UNoiseSlicerLib.workspace import Workspace

if TYPE_CHECKING:
    from UNoiseSlicerLib.logic import UNoiseSlicerLogic

OUT_OF_MEMORY = (-9, -6, 137, 134, 0xC0000017)  # killed, aborted on bad_alloc, the same by way of a shell, Windows
LONGEST_LOG = 10_000  # lines
LONGEST_QUOTE = 200  # letters of the engine's that fit into a sentence
STANDARD_INPUT = "standard input"  # what the engine calls our request
OPTION = "--"  # how an option of its command line begins
MEMORY_CODES = ("OUT_OF_MEMORY", "NO_MEMORY", "MemoryError")  # the engine's own


@dataclass
class State:
    """How far a run has come, for the panel."""

    stage: str = ""
    share: float = 0.0  # of the whole run
    seconds_left: float | None = None  # of this stage
    log: list[str] = field(default_factory=list)

    def say(self, line: str) -> None:
        """Into the log, which has an end."""
        if len(self.log) < LONGEST_LOG:
            self.log.append(line)
        elif len(self.log) == LONGEST_LOG:
            self.log.append(_("... (the rest is left out)"))


class Engine(EngineProcess):
    """An engine whose end by us is told in words."""

    def poll(self) -> list[dict[str, Any]]:
        return [_worded(event) if event.get("code") == HANGS else event for event in super().poll()]


def _worded(event: dict[str, Any]) -> dict[str, Any]:
    what, cure = _("The engine did not answer any more and was ended"), _("try again: it is started anew")
    return {**event, "source": "", "what": what, "cure": cure, "message": f"{what} - {cure}"}


class EngineRun:
    """`seconds` holds the parts of its time. What is asked and what becomes of the answer is for the kinds of run."""

    def __init__(self, logic: UNoiseSlicerLogic, ct: Any):
        self._logic, self.ct, self._scene = logic, ct, ct.GetScene()
        self.state = State()
        self.seconds: dict[str, float] = {}
        self._failure: dict[str, str] = {}  # the engine's: code, source, what, cure
        self._answered = False
        self._clock = time.monotonic()
        try:
            self._workspace = Workspace()
            self._folder = self._workspace.folder
        except OSError as error:
            raise Refused(
                _("The temporary folder cannot be used ({reason}) - choose another in Edit / Application Settings / "
                  "General.").format(reason=error)
            ) from None  # fmt: skip
        try:
            request = self._write()
            self._lap("write")
            python, environment = interpreter(logic.python, logic.environment)
            self._engine = Engine(python, engine_home(), request, environment)
        except OSError as error:
            self.close()
            raise Refused(
                _("The engine cannot be started ({reason}) - install the extension again.").format(reason=error)
            ) from None
        except BaseException:
            self.close()
            raise

    # What a kind of run has of its own.

    def _write(self) -> dict[str, Any]:
        """Puts into the folder what the engine needs, and returns the request. Raises Refused."""
        raise NotImplementedError

    def _advance(self, event: dict[str, Any]) -> None:
        """A line of progress: fills `state`."""
        raise NotImplementedError

    def _heard(self, event: dict[str, Any]) -> None:
        """Any other line of the engine."""
        raise NotImplementedError

    def _finish(self) -> bool:
        """Called over and over once the engine has ended well; True when nothing is left to do. Raises Refused."""
        raise NotImplementedError

    # What all have in common.

    @property
    def pid(self) -> int:
        return self._engine.pid

    def step(self) -> bool:
        """Takes in what the engine said; True once all is done. Never waits for the engine.

        Raises Refused if the run failed; it is closed then, and `state.log` tells the rest.
        """
        for event in self._engine.poll():
            kind = event["event"]
            if kind == "log":
                self.state.say(self._in_own_words(event["text"]))
            elif kind == "progress":
                if "start" not in self.seconds:
                    self._lap("start")
                self._advance(event)
            elif kind == "error":
                self._failed(event)
            elif kind == "end":
                with self._closing_on_failure():
                    self._ended(event["code"])
                return False
            else:
                self._heard(event)
        if not self._answered:
            return False
        with self._closing_on_failure():
            if not self._finish():
                return False
        self._lap("load")
        parts = ", ".join(f"{name} {value:.1f} s" for name, value in self.seconds.items())
        self.state.log.append(_("Time: {parts}").format(parts=parts))
        self.close()
        return True

    def close(self) -> None:
        """Ends the engine, if it still runs, and removes the temporary folder."""
        if getattr(self, "_engine", None) is not None:
            self._engine.kill()
        self._workspace.remove()
        self._logic.run = None

    def _ended(self, code: int) -> None:
        if code or self._failure:
            raise self._refusal(code)
        self._lap("compute")
        self._answered = True

    @contextmanager
    def _closing_on_failure(self) -> Iterator[None]:
        try:
            yield
        except BaseException:
            self.close()
            raise

    def _failed(self, event: dict[str, Any]) -> None:
        """The engine tells a failure as data: the sentence is ours."""
        self._failure = {part: str(event.get(part, ""))[:LONGEST_TEXT] for part in ("code", "source", "what", "cure")}

    def _refusal(self, code: int) -> Refused:
        source, kind = self._failure.get("source", ""), self._failure.get("code", "")
        if source == PACKAGE:
            return PackageMissing(broken_message(self._in_own_words(self._failure["what"])))
        if kind == "ModuleNotFoundError" and any(name in source for name in ("'onnxruntime", "'google")):
            return PackageMissing(wheel_message())
        if source.startswith(STANDARD_INPUT):  # it knows other questions than ours
            return Refused(_("The engine is of another version - install the extension again, and see the log."))
        if kind in MEMORY_CODES:
            return Refused(_("Memory ran out - close other programs, or explain fewer slices."))
        if self._failure:
            return Refused(self._sentence())
        if code in OUT_OF_MEMORY:
            text = _(
                "The engine was ended by the system (code {code}), most likely because memory ran out - close other "
                "programs, or explain fewer slices."
            )
            return Refused(text.format(code=code))
        last = self.state.log[-1] if self.state.log else _("no message")
        text = _("The engine ended with code {code} ({last}) - see the log, and report it.")
        return Refused(text.format(code=code, last=last[:LONGEST_QUOTE]))

    @property
    def _input(self) -> Path:
        return self._folder / "ct.nrrd"

    def _sentence(self) -> str:
        """What the engine says is wrong. The person at the panel has no options of a command: a cure by one is not
        theirs, and --device cuda is what they chose as a device."""
        source, what, cure = (self._failure[part] for part in ("source", "what", "cure"))
        if OPTION in cure:
            cure = _("choose otherwise, or see the log and report it")
        source = source.removeprefix(OPTION)
        return self._in_own_words(" - ".join(" ".join(part.split()) for part in (source, what, cure) if part))

    def _in_own_words(self, text: str) -> str:
        """The person at the panel knows the CT by its name, not by our temporary file."""
        text = text[:LONGEST_TEXT].replace(str(self._input), self.ct.GetName())
        return text.replace(str(self._folder), _("temporary folder"))

    def _lap(self, name: str) -> None:
        now = time.monotonic()
        self.seconds[name] = now - self._clock
        self._clock = now


def check_room(wanted: int) -> None:
    """Refuses a run whose files (bytes) would not fit, before the temporary folder is filled."""
    folder = tempfile.gettempdir()
    free = shutil.disk_usage(folder).free
    if free < wanted:
        raise Refused(
            _("The temporary folder {folder} has {free} MB free, {wanted} MB are needed - free some space there, or "
              "choose another temporary folder in Edit / Application Settings / General.")
            .format(folder=folder, free=free >> 20, wanted=(wanted >> 20) + 1)
        )  # fmt: skip


def engine_home() -> Path:
    """The folder that holds unoise_engine: beside the module when installed, two levels up in a source tree."""
    here = Path(__file__).resolve().parent
    for home in (here.parent, here.parent.parent):
        if (home / "unoise_engine" / "worker.py").is_file():
            return home
    raise Refused(_("The engine is missing beside the module in {folder} - install the extension again.").format(
        folder=here.parent))  # fmt: skip


def interpreter(python: str | None, environment: dict[str, str] | None) -> tuple[str, dict[str, str]]:
    """Slicer's own Python with the environment that Slicer was started in."""
    if python is not None:
        return python, dict(os.environ) if environment is None else environment
    found = shutil.which("PythonSlicer") or shutil.which("PythonSlicer", path=f"{slicer.app.slicerHome}/bin")
    if found is None:
        raise Refused(_("PythonSlicer is missing in {folder} - install Slicer again.").format(
            folder=slicer.app.slicerHome))  # fmt: skip
    return found, dict(slicer.util.startupEnvironment())
