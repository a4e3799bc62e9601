"""A model from elsewhere made into a bundle by the engine's own command, in a process of its own."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from slicer.i18n import tr as _

from UNoiseSlicerLib.engine_process import LONGEST_TEXT
from UNoiseSlicerLib.engine_run import Engine, State, engine_home, interpreter
from UNoiseSlicerLib.exchange import Refused

if TYPE_CHECKING:
    from UNoiseSlicerLib.logic import UNoiseSlicerLogic

COMMAND = ("unoise_engine", "import")
EXTRA = "unoise-engine[import]"  # the packages that it needs, of which Slicer has few
FAILED = "error: "
NOT_THERE = "not installed"  # in the engine's sentence about a package that it lacks
NO_MODULE = re.compile(r"No module named '([\w.]+)'")


class ModelImport:
    """`name` is what the model will be called in the user's collection: after its folder, and not like another one."""

    def __init__(self, logic: UNoiseSlicerLogic, source: Path, home: Path, licence: str):
        self._logic, self.source = logic, source
        self.state = State(stage=_("Importing {name}").format(name=source.name))
        stem = re.sub(r"[^A-Za-z0-9._-]+", "-", source.name).strip("-.")[:60] or "model"
        self.name, k = stem, 2
        while (home / self.name).exists():
            self.name, k = f"{stem}-{k}", k + 1
        self.said = ""
        self._error = self._missing = ""
        try:
            home.mkdir(parents=True, exist_ok=True)
            python, environment = interpreter(logic.python, logic.environment)
            command = (*COMMAND, str(source), "-o", str(home / self.name), *(("--licence", licence) if licence else ()))
            self._engine = Engine(python, engine_home(), {}, environment, command)
        except OSError as error:
            raise Refused(
                _("{folder} cannot be used for models ({reason}) - see to it that it can be written.").format(
                    folder=home, reason=error.strerror)
            ) from None  # fmt: skip

    @property
    def pid(self) -> int:
        return self._engine.pid

    def step(self) -> bool:
        """Takes in what the engine said; True once the bundle is there. Raises Refused, and is closed then."""
        for event in self._engine.poll():
            if event["event"] == "end":
                self.close()
                if event["code"]:
                    raise self._refusal(event["code"])
                self.said = _("{source} is imported - choose what to explain.").format(source=self.source.name)
                return True
            text = str(event.get("text", ""))
            self.state.say(text)
            if text.startswith(FAILED):
                self._error = text.removeprefix(FAILED)[:LONGEST_TEXT]
            if found := NO_MODULE.search(text):
                self._missing = found[1]
        return False

    def close(self) -> None:
        """Ends it. What was begun does not stay: a bundle gets its name when it is whole."""
        self._engine.kill()
        self._logic.run = None

    def _refusal(self, code: int) -> Refused:
        if self._missing or NOT_THERE in self._error:
            package = self._missing or self._error.split(" - ")[0]
            return Refused(
                _("Importing needs the Python package {package}, which Slicer lacks - where {extra} is installed, run "
                  "unoise_engine import {source} -o BUNDLE, and choose that folder here.").format(
                      package=package, extra=EXTRA, source=self.source)
            )  # fmt: skip
        if self._error:
            return Refused(self._error)
        text = _("{source} was not imported (code {code}) - see the log, and report it.")
        return Refused(text.format(source=self.source.name, code=code))
