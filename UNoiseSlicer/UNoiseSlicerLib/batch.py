"""A folder of CTs explained one after the other by the engine's own command; what is done already is kept."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from slicer.i18n import tr as _

from UNoiseSlicerLib.engine_process import LONGEST_TEXT
from UNoiseSlicerLib.engine_run import Engine, State, engine_home, interpreter
from UNoiseSlicerLib.exchange import Refused

if TYPE_CHECKING:
    from UNoiseSlicerLib.logic import Choices, UNoiseSlicerLogic

EXPLAINED = ("OK", "CORRECTED")
SUMMARY = "summary.html"
SOME_FAILED = 1  # the engine's exit code where every case has an answer, and some were refused


class Batch:
    """`said` is the last word once it is over: how many were explained, and where the summary is."""

    def __init__(self, logic: UNoiseSlicerLogic, source: Path, out: Path, choices: Choices):
        """Raises Refused."""
        self._logic, self.source, self.out = logic, source, out
        self.state, self.said = State(stage=_("Looking for CTs in {folder}").format(folder=source.name)), ""
        self._count = Counter[str]()
        self._failure = ""
        words = ["explain", str(source), "-o", str(out), "--resume", "--progress", "json"]
        told = {"--methods": ",".join(choices.methods), "--bundle": choices.model, "--label": choices.label,
                "--device": choices.device}  # fmt: skip
        words += [word for option, value in told.items() if value for word in (option, value)]
        for method, table in choices.parameters.items():
            words += [word for name, value in table.items() for word in ("--set", f"{method}.{name}={value}")]
        try:
            python, environment = interpreter(logic.python, logic.environment)
            self._engine = Engine(python, engine_home(), {}, environment, ("unoise_engine", *words))
        except OSError as error:
            raise Refused(
                _("The engine cannot be started ({reason}) - install the extension again.").format(reason=error)
            ) from None

    @property
    def pid(self) -> int:
        return self._engine.pid

    def step(self) -> bool:
        """Takes in what the engine said; True once all cases have an answer. Raises Refused, and is closed then."""
        for event in self._engine.poll():
            kind = event["event"]
            if kind == "log":
                self.state.say(str(event["text"]))
            elif kind == "progress" and event.get("stage") == "cases":
                self._show(event)
            elif kind == "searching":
                self.state.stage = _("Looking for CTs in {folder}: {files} files so far").format(
                    folder=self.source.name, files=int(event.get("files") or 0))  # fmt: skip
            elif kind == "case":
                self._count["explained" if event.get("status") in EXPLAINED else "refused"] += 1
                if event.get("status") not in EXPLAINED:
                    self.state.say(str(event.get("message", ""))[:LONGEST_TEXT])
            elif kind == "error":
                self._failure = str(event.get("message", ""))[:LONGEST_TEXT]
            elif kind == "end":
                self.close()
                return self._ended(event["code"])
        return False

    def close(self) -> None:
        """Ends it. Cases that are finished stay; the same folders go on from there."""
        self._engine.kill()
        self._logic.run = None

    def _show(self, event: dict[str, Any]) -> None:
        done, total = int(event.get("done") or 0), int(event.get("total") or 1)
        self.state.stage = _("{done} of {total} CTs").format(done=done, total=total)
        self.state.share = done / max(total, 1)
        left = event.get("seconds_left")
        self.state.seconds_left = float(left) if left is not None else None

    def _ended(self, code: int) -> bool:
        if code not in (0, SOME_FAILED) or not self._count:
            raise Refused(self._failure or _("The engine ended with code {code} - see the log.").format(code=code))
        summary = self.out / SUMMARY
        self.said = _("{explained} explained, {refused} refused: {where}").format(
            explained=self._count["explained"], refused=self._count["refused"],
            where=summary if summary.is_file() else self.out)  # fmt: skip
        return True
