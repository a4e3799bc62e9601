"""From the panel's choices to results in the scene, by way of the engine's process. No window is needed.

run = logic.explain(ct, Choices(model="pancreas-phantom", methods=("unoise",)))
while not run.step():
    time.sleep(0.1)
"""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import slicer
from slicer.i18n import tr as _
from slicer.ScriptedLoadableModule import ScriptedLoadableModuleLogic

from UNoiseSlicerLib import axial, exchange
from UNoiseSlicerLib import scene as scenes
from UNoiseSlicerLib.engine_process import EngineProcess
from UNoiseSlicerLib.exchange import Refused
from UNoiseSlicerLib.install import wheel_message
from UNoiseSlicerLib.models import engine_home, find_model
from UNoiseSlicerLib.parameters import UNoiseSlicerParameterNode

ROOM = 1.5  # results are compressed, but how well is not known before
OUT_OF_MEMORY = (-9, -6, 137, 134, 0xC0000017)  # killed, aborted on bad_alloc, the same by way of a shell, Windows


@dataclass(frozen=True)
class Choices:
    """What to explain and how; fields as in the engine's Request."""

    model: str
    methods: tuple[str, ...]
    slices: tuple[int, int] | None = None  # axial, from the feet, the end excluded
    device: str = "auto"
    patch: int = 15
    stride: int = 12
    trust_hu: bool = False  # the person was asked, and vouches for the values


@dataclass
class State:
    """How far a run has come, for the panel."""

    stage: str = ""
    share: float = 0.0  # of the whole run
    seconds_left: float | None = None  # of this stage
    log: list[str] = field(default_factory=list)


class UNoiseSlicerLogic(ScriptedLoadableModuleLogic):
    """`python` runs the engine: PythonSlicer, unless a test brings its own."""

    def __init__(self, python: str | None = None, environment: dict[str, str] | None = None) -> None:
        ScriptedLoadableModuleLogic.__init__(self)
        self.python = python
        self.environment = environment
        self.run: Run | None = None

    def getParameterNode(self) -> UNoiseSlicerParameterNode:
        return UNoiseSlicerParameterNode(super().getParameterNode())

    def explain(self, ct: Any, choices: Choices) -> Run:
        """Checks everything that can be checked here, and starts. Raises Refused; the scene is left as it is."""
        if self.run is not None:
            raise Refused(_("An explanation is under way - wait for it or cancel it."))
        exchange.check_input(ct)
        if not choices.methods:
            raise Refused(_("No method is chosen - tick U-Noise, Grad-CAM or occlusion."))
        check_slices(ct, choices.slices)
        find_model(choices.model)
        self.run = Run(self, ct, choices)
        return self.run

    def cancel(self) -> None:
        """Ends the engine and everything it started. The scene is left as it is."""
        if self.run is not None:
            self.run.close()


class Run:
    """One explanation under way: a temporary folder and a process. `seconds` holds the parts of its time."""

    def __init__(self, logic: UNoiseSlicerLogic, ct: Any, choices: Choices):
        self._logic, self._ct, self._scene, self._choices = logic, ct, ct.GetScene(), choices
        self.state = State()
        self.seconds: dict[str, float] = {}
        self.results: dict[str, Any] = {}
        self._problem = ""
        self._answer: Path | None = None  # the folder of the results, when the engine has named it
        self._reading: Iterator[None] | None = None
        self._stages = ("segmentation", *choices.methods)
        check_room(ct, len(choices.methods))
        self._clock = time.monotonic()
        self._folder = Path(tempfile.mkdtemp(prefix="unoise-"))
        try:
            exchange.write_ct(ct, self._input)
            self._lap("write")
            python, environment = interpreter(logic.python, logic.environment)
            self._engine = EngineProcess(python, engine_home(), self._request(), environment)
        except OSError as error:
            self.close()
            raise Refused(
                _("The engine cannot be started ({reason}) - install the extension again.").format(reason=error)
            ) from None
        except BaseException:
            self.close()
            raise

    @property
    def pid(self) -> int:
        return self._engine.pid

    def step(self) -> bool:
        """Takes in what the engine said; True once the results are in the scene. Never waits for the engine.

        Raises Refused if the run failed; it is closed then, and `state.log` tells the rest.
        """
        for event in self._engine.poll():
            kind = event["event"]
            if kind == "log":
                self.state.log.append(self._in_own_words(event["text"]))
            elif kind == "progress":
                self._advance(event)
            elif kind == "case" and event.get("folder"):
                self._answer = Path(event["folder"])
            elif kind in ("error", "case"):
                self._problem = str(event.get("message", ""))
            elif kind == "end":
                with self._closing_on_failure():
                    self._ended(event["code"])
                return False
        if self._reading is None:
            return False
        with self._closing_on_failure():
            return self._load_some()

    def close(self) -> None:
        """Ends the engine, if it still runs, and removes the temporary folder."""
        if getattr(self, "_engine", None) is not None:
            self._engine.kill()
        shutil.rmtree(self._folder, ignore_errors=True)
        self._logic.run = None

    @property
    def _input(self) -> Path:
        return self._folder / "ct.nrrd"

    def _request(self) -> dict[str, Any]:
        c = self._choices
        return {
            "inputs": [str(self._input)],
            "out": str(self._folder / "out"),
            "methods": list(c.methods),
            "bundle": str(find_model(c.model)),
            "device": c.device,
            "file_format": "nrrd",
            "slices": list(c.slices) if c.slices else None,
            "patch": c.patch,
            "stride": c.stride,
            "trust_hu": c.trust_hu,
        }

    def _advance(self, event: dict[str, Any]) -> None:
        if "compute" not in self.seconds and "start" not in self.seconds:
            self._lap("start")
        stage, total = event.get("stage", ""), float(event.get("total") or 1)
        done = min(float(event.get("done") or 0) / total, 1.0)
        before = self._stages.index(stage) if stage in self._stages else 0
        self.state.stage = exchange.TITLES.get(stage, _("Segmentation") if stage == "segmentation" else stage)
        self.state.share = (before + done) / len(self._stages)
        self.state.seconds_left = event.get("seconds_left")

    def _ended(self, code: int) -> None:
        if code or self._problem or self._answer is None:
            raise Refused(self._why(code))
        self._lap("compute")
        self.state.stage, self.state.share, self.state.seconds_left = _("Loading the results"), 1.0, None
        self._reading = exchange.reading(self._answer, self._ct)

    def _load_some(self) -> bool:
        """One file a call, then everything into the scene at once."""
        if self._scene.GetNodeByID(self._ct.GetID() or "") is not self._ct:
            raise Refused(_("The CT was removed from the scene meanwhile - nothing was added."))
        try:
            next(self._reading)
            return False
        except StopIteration as end:
            self.results = scenes.place(self._scene, self._ct, end.value)
        self._lap("load")
        parts = ", ".join(f"{name} {value:.1f} s" for name, value in self.seconds.items())
        self.state.log.append(_("Time: {parts}").format(parts=parts))
        self.close()
        return True

    @contextmanager
    def _closing_on_failure(self) -> Iterator[None]:
        try:
            yield
        except BaseException:
            self.close()
            raise

    def _why(self, code: int) -> str:
        """The engine's own sentence if it left one."""
        if "onnxruntime" in self._problem and "No module" in self._problem:
            return wheel_message()
        if self._problem:
            return self._in_own_words(self._problem)
        if code in OUT_OF_MEMORY:
            return _(
                "The engine was ended by the system (code {code}), most likely because memory ran out - close other "
                "programs, or explain fewer slices."
            ).format(code=code)
        last = self.state.log[-1] if self.state.log else _("no message")
        return _("The engine ended with code {code} ({last}) - see the log, and report it.").format(
            code=code, last=last
        )

    def _in_own_words(self, text: str) -> str:
        """The person at the panel knows the CT by its name, not by our temporary file."""
        return text.replace(str(self._input), self._ct.GetName()).replace(str(self._folder), _("temporary folder"))

    def _lap(self, name: str) -> None:
        now = time.monotonic()
        self.seconds[name] = now - self._clock
        self._clock = now


# --- where things are ---


def interpreter(python: str | None, environment: dict[str, str] | None) -> tuple[str, dict[str, str]]:
    """Slicer's own Python with the environment that Slicer was started in."""
    if python is not None:
        return python, dict(os.environ) if environment is None else environment
    found = shutil.which("PythonSlicer") or shutil.which("PythonSlicer", path=f"{slicer.app.slicerHome}/bin")
    if found is None:
        raise Refused(_("PythonSlicer is missing in {folder} - install Slicer again.").format(
            folder=slicer.app.slicerHome))  # fmt: skip
    return found, dict(slicer.util.startupEnvironment())


# --- what can be known before a run ---


def check_slices(ct: Any, slices: tuple[int, int] | None) -> None:
    total = axial.slice_count(ct)
    if slices is not None and not 0 <= slices[0] < slices[1] <= total:
        raise Refused(
            _("Slices {first} to {last} do not lie in the {total} axial slices of {name} - choose slices within 1 to "
              "{total}.").format(first=slices[0] + 1, last=slices[1], total=total, name=ct.GetName())
        )  # fmt: skip


def check_room(ct: Any, methods: int) -> None:
    """Refuses a run whose files would not fit, before the temporary folder is filled."""
    image = ct.GetImageData()
    voxels = image.GetNumberOfPoints()
    wanted = int(voxels * image.GetScalarSize() + ROOM * voxels * (1 + 4 * methods))
    folder = tempfile.gettempdir()
    free = shutil.disk_usage(folder).free
    if free < wanted:
        raise Refused(
            _("The temporary folder {folder} has {free} MB free, {wanted} MB are needed - free some space there, or "
              "choose another temporary folder in Edit / Application Settings / General.")
            .format(folder=folder, free=free >> 20, wanted=(wanted >> 20) + 1)
        )  # fmt: skip
