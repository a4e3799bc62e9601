"""From the panel's choices to results in the scene, by way of the engine's process. No window is needed.

run = logic.explain(ct, Choices(methods=("unoise",)))  # by the model that the engine takes by itself
while not run.step():
    time.sleep(0.1)
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from slicer.i18n import tr as _
from slicer.ScriptedLoadableModule import ScriptedLoadableModuleLogic

from UNoiseSlicerLib import axial, exchange, what_if
from UNoiseSlicerLib import scene as scenes
from UNoiseSlicerLib.about import About, Asking
from UNoiseSlicerLib.batch import Batch
from UNoiseSlicerLib.dicom_export import DicomExport
from UNoiseSlicerLib.engine_run import EngineRun, check_room
from UNoiseSlicerLib.exchange import Refused
from UNoiseSlicerLib.fingerprint import difference, fingerprint
from UNoiseSlicerLib.model_import import ModelImport
from UNoiseSlicerLib.parameters import UNoiseSlicerParameterNode
from UNoiseSlicerLib.what_if import Hiding, Session
from UNoiseSlicerLib.workspace import sweep

ROOM = 1.05  # results are not compressed, and a report lies beside them


@dataclass(frozen=True)
class Choices:
    """What to explain and how. Without `model` and `methods` those that the engine takes by itself."""

    model: str = ""
    methods: tuple[str, ...] = ()
    slices: tuple[int, int] | None = None  # axial, from the feet, the end excluded
    device: str = "auto"
    parameters: dict[str, dict[str, Any]] = field(default_factory=dict)  # method -> those that are not the usual ones
    label: str = ""  # of a model that knows several
    focus: bool = False  # one window of a block instead of all
    trust_hu: bool = False  # the person was asked, and vouches for the values


class Doubted(Refused):
    """The engine does not believe that the values are HU; the person at the panel may vouch for them."""


class UNoiseSlicerLogic(ScriptedLoadableModuleLogic):
    """`python` runs the engine: PythonSlicer, unless a test brings its own."""

    def __init__(self, python: str | None = None, environment: dict[str, str] | None = None) -> None:
        ScriptedLoadableModuleLogic.__init__(self)
        self.python = python
        self.environment = environment
        self.run: EngineRun | ModelImport | Hiding | Batch | None = None
        self.session: Session | None = None  # an engine that has a CT open
        self.about: About | None = None
        self._asking: Asking | None = None
        self._asked: tuple[Any, ...] = ()
        sweep()

    def getParameterNode(self) -> UNoiseSlicerParameterNode:
        return UNoiseSlicerParameterNode(super().getParameterNode())

    def explain(self, ct: Any, choices: Choices) -> Run:
        """Checks everything that can be checked here, and starts. Raises Refused; the scene is left as it is."""
        self._only_one()
        exchange.check_input(ct)
        check_slices(ct, choices.slices)
        check_room(room_for(ct, len(choices.methods or exchange.TITLES)))
        self.run = run = Run(self, ct, choices)
        return run

    def export_dicom(self, ct: Any, parent: Path, database: Any) -> DicomExport:
        """Starts writing the results of a CT as DICOM into a new folder below `parent`. Raises Refused."""
        self._only_one()
        self.run = export = DicomExport(self, ct, parent, database)
        return export

    def hide(self, ct: Any, node: Any, choices: Choices, fill: str = "mean") -> Hiding:
        """Asks what the model finds without an ROI or a segment, in whose place `fill` stands. Raises Refused."""
        self._only_one()
        what_if.check(ct.GetScene() if ct is not None else None, ct)
        mask = what_if.mask_of(ct, node)
        if self.session is not None and not self.session.is_about(ct):
            self.session.close()
            self.session = None
        try:
            self.session = self.session or Session(self, ct)
            is_drawn = not node.IsA("vtkMRMLSegmentationNode")
            self.run = hiding = Hiding(self, self.session, mask, node.GetName(), is_drawn, choices, fill)
        except OSError as error:
            raise Refused(
                _("The engine cannot be started ({reason}) - install the extension again.").format(reason=error)
            ) from None
        return hiding

    def explain_folder(self, source: Path, out: Path, choices: Choices) -> Batch:
        """Starts explaining every CT of a folder, or goes on with it; the scene stays as it is. Raises Refused."""
        self._only_one()
        self.run = batch = Batch(self, source, out, choices)
        return batch

    def import_model(self, source: Path, licence: str) -> ModelImport:
        """Starts making a bundle of a model, in the user's own collection. Raises Refused."""
        self._only_one()
        if self.about is None:
            raise Refused(_("The engine has not told yet where models are kept - try again in a moment."))
        self.run = made = ModelImport(self, source, self.about.models_home, licence)
        return made

    def ask(
        self, folders: tuple[str, ...] = (), parameters: dict[str, dict[str, Any]] | None = None, again: bool = False
    ) -> bool:
        """Has the engine tell what it has, unless it was asked that; `hear` takes in the answer. True while it is under
        way. `folders` are models beside the known ones, `parameters` as in Choices."""
        question = (folders, json.dumps(parameters or {}, sort_keys=True))
        if again and self._asking is not None:  # its answer may be of before
            self._asking.close()
            self._asking = None
        if self._asking is None and (again or question != self._asked):
            self._asked = question
            try:
                self._asking = Asking(self.python, self.environment, folders, parameters or {})
            except (Refused, OSError):  # a run will say so
                return False
        return self._asking is not None

    @property
    def asking(self) -> bool:
        return self._asking is not None

    def hear(self) -> bool:
        """True when an answer has just come, or there will be none."""
        if self._asking is None or not self._asking.step():
            return False
        asking, self._asking = self._asking, None
        asking.close()
        if asking.answer is not None:
            self.about = asking.answer
            exchange.learn(self.about.titles)
        return True

    def close(self) -> None:
        """Ends whatever is under way."""
        self.cancel()
        if self.session is not None:
            self.session.close()
            self.session = None
        if self._asking is not None:
            self._asking.close()
            self._asking = None

    def _only_one(self) -> None:
        if self.run is not None:
            raise Refused(_("The engine is at work already - wait for it or cancel it."))

    def cancel(self) -> None:
        """Ends the run and everything it started. The scene is left as it is."""
        if self.run is not None:
            self.run.close()


class Run(EngineRun):
    """One explanation under way."""

    def __init__(self, logic: UNoiseSlicerLogic, ct: Any, choices: Choices):
        self.choices = choices
        self.results: dict[str, Any] = {}
        self._answer: Path | None = None  # the folder of the results, when the engine has named it
        self._warnings: list[str] = []
        self._reading: Iterator[None]  # of that folder
        self._stages = ("segmentation", *(choices.methods or exchange.TITLES))
        super().__init__(logic, ct)

    def _write(self) -> dict[str, Any]:
        self._written = fingerprint(self.ct, trust_clock=False)
        exchange.write_ct(self.ct, self._input)
        c = self.choices
        options = {
            "reading": {"trust_hu": c.trust_hu},
            "model": {"bundle": c.model, "device": c.device, "label": c.label},
            "explanation": {
                "methods": list(c.methods),
                "slices": list(c.slices) if c.slices else None,
                "focus": c.focus,
                "parameters": c.parameters,
            },
            "results": {"format": "nrrd", "picture": False, "compress": False},  # the views show it
        }
        return {"explain": {"inputs": [str(self._input)], "out": str(self._folder / "out"), "options": options}}

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
            self._failed(event)

    def _ended(self, code: int) -> None:
        super()._ended(code)
        if self._answer is None:
            raise self._refusal(code)
        self._reading = exchange.reading(self._answer, self.ct)
        self.state.stage, self.state.share, self.state.seconds_left = _("Loading the results"), 1.0, None

    def _refusal(self, code: int) -> Refused:
        if self._failure.get("code") != "HU_SUSPECT":
            return super()._refusal(code)
        return Doubted(
            _("{name} may be no CT in Hounsfield units ({reason}) - choose the original CT.").format(
                name=self.ct.GetName(), reason=self._failure["what"] or _("see the log"))
        )  # fmt: skip

    def _finish(self) -> bool:
        """One file a call, then everything into the scene at once."""
        if self._scene.GetNodeByID(self.ct.GetID() or "") is not self.ct:
            raise Refused(_("The CT was removed from the scene meanwhile - nothing was added."))
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
