"""From the panel's choices to results in the scene, by way of the engine's process. No window is needed.

run = logic.explain(ct, Choices(model="", methods=("unoise",)))  # the model that the engine takes by itself
while not run.step():
    time.sleep(0.1)
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from slicer.i18n import tr as _
from slicer.ScriptedLoadableModule import ScriptedLoadableModuleLogic

from UNoiseSlicerLib import axial, exchange
from UNoiseSlicerLib import scene as scenes
from UNoiseSlicerLib.dicom_export import DicomExport
from UNoiseSlicerLib.engine_run import EngineRun, check_room
from UNoiseSlicerLib.exchange import Refused
from UNoiseSlicerLib.fingerprint import difference, fingerprint
from UNoiseSlicerLib.models import find_model
from UNoiseSlicerLib.parameters import UNoiseSlicerParameterNode
from UNoiseSlicerLib.workspace import sweep

ROOM = 1.05  # results are not compressed, and a report lies beside them


@dataclass(frozen=True)
class Choices:
    """What to explain and how; fields as in the engine's Request. `model` as in the parameters."""

    model: str
    methods: tuple[str, ...]
    slices: tuple[int, int] | None = None  # axial, from the feet, the end excluded
    device: str = "auto"
    patch: int = 15
    stride: int = 0  # adaptive
    trust_hu: bool = False  # the person was asked, and vouches for the values


class Doubted(Refused):
    """The engine does not believe that the values are HU; the person at the panel may vouch for them."""


class UNoiseSlicerLogic(ScriptedLoadableModuleLogic):
    """`python` runs the engine: PythonSlicer, unless a test brings its own."""

    def __init__(self, python: str | None = None, environment: dict[str, str] | None = None) -> None:
        ScriptedLoadableModuleLogic.__init__(self)
        self.python = python
        self.environment = environment
        self.run: EngineRun | None = None
        sweep()

    def getParameterNode(self) -> UNoiseSlicerParameterNode:
        return UNoiseSlicerParameterNode(super().getParameterNode())

    def explain(self, ct: Any, choices: Choices) -> Run:
        """Checks everything that can be checked here, and starts. Raises Refused; the scene is left as it is."""
        self._only_one()
        exchange.check_input(ct)
        if not choices.methods:
            raise Refused(_("No method is chosen - tick U-Noise, Grad-CAM or occlusion."))
        check_slices(ct, choices.slices)
        find_model(choices.model)
        check_room(room_for(ct, len(choices.methods)))
        self.run = run = Run(self, ct, choices)
        return run

    def export_dicom(self, ct: Any, parent: Path, database: Any) -> DicomExport:
        """Starts writing the results of a CT as DICOM into a new folder below `parent`. Raises Refused."""
        self._only_one()
        self.run = export = DicomExport(self, ct, parent, database)
        return export

    def _only_one(self) -> None:
        if self.run is not None:
            raise Refused(_("The engine is at work already - wait for it or cancel it."))

    def cancel(self) -> None:
        """Ends the engine and everything it started. The scene is left as it is."""
        if self.run is not None:
            self.run.close()


class Run(EngineRun):
    """One explanation under way."""

    def __init__(self, logic: UNoiseSlicerLogic, ct: Any, choices: Choices):
        self.choices = choices
        self.results: dict[str, Any] = {}
        self._answer: Path | None = None  # the folder of the results, when the engine has named it
        self._warnings: list[str] = []
        self._reading: Iterator[None] | None = None
        self._stages = ("segmentation", *choices.methods)
        super().__init__(logic, ct)

    def _write(self) -> dict[str, Any]:
        self._written = fingerprint(self.ct, trust_clock=False)
        exchange.write_ct(self.ct, self._input)
        c = self.choices
        return {
            "inputs": [str(self._input)],
            "out": str(self._folder / "out"),
            "methods": list(c.methods),
            "bundle": str(find_model(c.model)),
            "device": c.device,
            "file_format": "nrrd",
            "picture": False,  # the views show it
            "compress": False,
            "slices": list(c.slices) if c.slices else None,
            "patch": c.patch,
            "stride": c.stride,
            "trust_hu": c.trust_hu,
        }

    def _advance(self, event: dict[str, Any]) -> None:
        stage, total = event.get("stage", ""), float(event.get("total") or 1)
        done = min(float(event.get("done") or 0) / total, 1.0)
        before = self._stages.index(stage) if stage in self._stages else 0
        self.state.stage = exchange.TITLES.get(stage, _("Segmentation") if stage == "segmentation" else stage)
        self.state.share = (before + done) / len(self._stages)
        self.state.seconds_left = event.get("seconds_left")

    def _heard(self, event: dict[str, Any]) -> None:
        if event["event"] == "case" and event.get("folder"):
            self._answer = Path(event["folder"])
            self._warnings = exchange.warnings_of(event)
        elif event["event"] == "case":
            self._problem, self._code = str(event.get("message", "")), str(event.get("code", ""))

    def _ended(self, code: int) -> None:
        super()._ended(code)
        if self._answer is None:
            raise self._refusal(code)
        self.state.stage, self.state.share, self.state.seconds_left = _("Loading the results"), 1.0, None

    def _refusal(self, code: int) -> Refused:
        if self._code != "HU_SUSPECT":
            return super()._refusal(code)
        what = self._problem.split(" - ")[-2:-1]
        return Doubted(
            _("{name} may be no CT in Hounsfield units ({reason}) - choose the original CT.").format(
                name=self.ct.GetName(), reason="".join(what) or _("see the log"))
        )  # fmt: skip

    def _finish(self) -> bool:
        """One file a call, then everything into the scene at once."""
        if self._scene.GetNodeByID(self.ct.GetID() or "") is not self.ct:
            raise Refused(_("The CT was removed from the scene meanwhile - nothing was added."))
        if self._reading is None:
            self._reading = exchange.reading(self._answer, self.ct)
        try:
            next(self._reading)
            return False
        except StopIteration as end:
            changed = difference(self.ct.GetName(), self._written, fingerprint(self.ct, trust_clock=False))
            if changed:  # meanwhile
                raise Refused(changed) from None
            report = end.value.report
            sentences = dict.fromkeys([*exchange.warnings_of(report), *self._warnings])
            report["warnings"] = [self._in_own_words(sentence) for sentence in sentences]
            self.results = scenes.place(self._scene, self.ct, end.value)
        return True


# --- what can be known before a run ---


def check_slices(ct: Any, slices: tuple[int, int] | None) -> None:
    total = axial.slice_count(ct)
    if slices is not None and not 0 <= slices[0] < slices[1] <= total:
        raise Refused(
            _("Slices {first} to {last} do not lie in the {total} axial slices of {name} - choose slices within 1 to "
              "{total}.").format(first=slices[0] + 1, last=slices[1], total=total, name=ct.GetName())
        )  # fmt: skip


def room_for(ct: Any, methods: int) -> int:
    """Bytes that a run's files may take."""
    image = ct.GetImageData()
    voxels = image.GetNumberOfPoints()
    return int(voxels * image.GetScalarSize() + ROOM * voxels * (1 + 4 * methods))
