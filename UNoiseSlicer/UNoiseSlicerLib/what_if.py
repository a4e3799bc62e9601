"""What the model finds when something is hidden: question after question to one engine, which keeps the CT open."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import slicer.util
import vtk
from slicer.i18n import tr as _

from UNoiseSlicerLib import compare, exchange, segmentation, volumes
from UNoiseSlicerLib import scene as scenes
from UNoiseSlicerLib.engine_process import LONGEST_TEXT, MODULE
from UNoiseSlicerLib.engine_run import Engine, State, engine_home, interpreter
from UNoiseSlicerLib.exchange import Refused
from UNoiseSlicerLib.fingerprint import fingerprint
from UNoiseSlicerLib.install import PACKAGE, PackageMissing, broken_message
from UNoiseSlicerLib.ours import is_copy, mark
from UNoiseSlicerLib.workspace import Workspace

if TYPE_CHECKING:
    from UNoiseSlicerLib.logic import Choices, UNoiseSlicerLogic

SESSION = (MODULE, "--session")
GHOST = "UNoise.Ghost"  # node attribute: what is found with something hidden
GHOST_COLOUR = (1.0, 1.0, 1.0)  # of its outline


@dataclass(frozen=True)
class Effect:
    """With something hidden: dice with what is found with nothing hidden, ml found before, and of them lost."""

    hidden: str
    dice: float
    before_ml: float
    lost_ml: float
    hidden_ml: float
    fill: str

    @property
    def line(self) -> str:
        return _("{hidden} ({size} ml, by {fill}) hidden: dice {dice}, {lost} of {before} ml lost").format(
            hidden=self.hidden, fill=self.fill, size=f"{self.hidden_ml:.1f}", dice=f"{self.dice:.2f}",
            lost=f"{self.lost_ml:.1f}", before=f"{self.before_ml:.1f}")  # fmt: skip


class Session:
    """An engine that waits for the next question about a CT. Its folder holds the CT, and goes with it."""

    def __init__(self, logic: UNoiseSlicerLogic, ct: Any):
        self.ct, self.written = ct, fingerprint(ct, trust_clock=False)
        self._workspace = Workspace()
        self.folder, self.asked = self._workspace.folder, 0
        try:
            exchange.write_ct(ct, self.folder / "ct.nrrd")
            python, environment = interpreter(logic.python, logic.environment)
            self.engine = Engine(python, engine_home(), None, environment, SESSION)
        except BaseException:
            self._workspace.remove()
            raise

    def is_about(self, ct: Any) -> bool:
        return self.ct is ct and self.engine.runs and fingerprint(ct, trust_clock=False) == self.written

    def close(self) -> None:
        self.engine.kill()
        self._workspace.remove()


class Hiding:
    """One question under way; `effect` is the answer, `notes` what the engine says to it. With the answer comes what
    the model finds then, as a segmentation of its own over the one before."""

    def __init__(self, logic: UNoiseSlicerLogic, session: Session, mask: np.ndarray, name: str, drawn: bool,
                 choices: Choices, fill: str):  # fmt: skip
        self._logic, self._session, self.name, self._fill = logic, session, name, fill
        self.ct, self.state = session.ct, State(stage=_("Hiding {name}").format(name=name))
        self.effect: Effect | None = None
        self.notes: list[str] = []
        self._failure: dict[str, str] = {}
        session.asked += 1
        region = session.folder / f"hidden-{session.asked}.nrrd"
        self._after = session.folder / f"after-{session.asked}.nrrd"
        exchange.write_mask(session.ct, region, mask)
        model = {"bundle": choices.model, "device": choices.device, "label": choices.label}
        question = {
            "inputs": [str(session.folder / "ct.nrrd")],
            "regions": [str(region)],
            "model": model,
            "reading": {"trust_hu": choices.trust_hu},
            "after": str(self._after),
            "hide": {"fill": fill, "organ": "hide" if drawn else "keep"},  # what is drawn over the organ is meant
        }
        session.engine.ask({"whatif": question})

    @property
    def pid(self) -> int:
        return self._session.engine.pid

    def step(self) -> bool:
        """True once the answer is there. Raises Refused; the engine that was lost is started again by the next one."""
        for event in self._session.engine.poll():
            kind = event["event"]
            if kind == "log":
                self.state.say(str(event["text"]))
            elif kind == "progress":
                self.state.share = min(float(event.get("done") or 0) / float(event.get("total") or 1), 1.0)
            elif kind == "whatif":
                self._take(event)
            elif kind in ("error", "case"):
                self._failure = {part: str(event.get(part, ""))[:LONGEST_TEXT] for part in ("source", "what", "cure")}
            elif kind == "end":
                self.close()
                raise self._refusal(_("The engine ended (code {code}) - click Hide again: it is started anew.").format(
                    code=event["code"]))  # fmt: skip
            elif kind == "answered":
                self._logic.run = None
                if self.effect is None:
                    raise self._refusal(_("The engine gave no answer - see the log, and report it."))
                return True
        return False

    def close(self) -> None:
        """Ends the engine with it: what it is at cannot be called back."""
        self._session.close()
        self._logic.run = self._logic.session = None

    def _take(self, event: dict[str, Any]) -> None:
        self.notes = [str(note) for note in event.get("notes", [])]
        for row in event.get("effects", [])[:1]:
            dice, before, lost, hidden = (float(row[key]) for key in ("dice", "ml_before", "ml_lost", "hidden_ml"))
            self.effect = Effect(self.name, dice, before, lost, hidden, self._fill)
            if self._after.is_file():
                ghost(self.ct, self.name, exchange.read_on_grid(self._after, self.ct))

    def _refusal(self, otherwise: str) -> Refused:
        if not self._failure:
            return Refused(otherwise)
        if self._failure["source"] == PACKAGE:
            return PackageMissing(broken_message(self._failure["what"]))
        sentence = " - ".join(part for part in self._failure.values() if part)
        return Refused(sentence.replace(str(self._session.folder / "ct.nrrd"), self.ct.GetName()).replace("--", ""))


def ghost(ct: Any, hidden: str, mask: np.ndarray) -> Any:
    """Draws what is found without something, (k, j, i), beside what is found with it; the last answer alone."""
    scene = ct.GetScene()
    drop_ghost(scene)
    node = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", _("{ct} without {hidden}").format(
        ct=ct.GetName(), hidden=hidden))  # fmt: skip
    node.SetAttribute(GHOST, "1")
    mark(node)
    segmentation.fill(node, ct, hidden, mask)
    node.GetSegmentation().GetNthSegment(0).SetColor(*GHOST_COLOUR)
    node.GetDisplayNode().SetVisibility2DFill(False)
    node.GetDisplayNode().SetVisibility3D(False)
    scenes.follow(ct, [node])
    return node


def drop_ghost(scene: Any) -> None:
    for node in volumes.nodes_of(scene, "vtkMRMLSegmentationNode"):
        if node.GetAttribute(GHOST) and not is_copy(node):
            scene.RemoveNode(node)


def mask_of(ct: Any, node: Any) -> np.ndarray:
    """(k, j, i) bool: the CT's voxels whose centres lie in an ROI, or in the one segment of a segmentation. Raises
    Refused."""
    if node is None:
        raise Refused(_("Nothing to hide is chosen - draw an ROI by the Markups module, or choose a segmentation."))
    mask = compare.mask_of(ct, node, "") > 0 if node.IsA("vtkMRMLSegmentationNode") else _within(ct, node)
    if not mask.any():
        text = _("{node} holds no voxel of {ct} - move it into the CT.")
        raise Refused(text.format(node=node.GetName(), ct=ct.GetName()))
    if mask.all():
        text = _("{node} holds all of {ct}, so nothing would be left to see - make it smaller.")
        raise Refused(text.format(node=node.GetName(), ct=ct.GetName()))
    return mask


def _within(ct: Any, roi: Any) -> np.ndarray:
    to_world = vtk.vtkMatrix4x4()
    if ct.GetParentTransformNode() is not None:
        ct.GetParentTransformNode().GetMatrixTransformToWorld(to_world)
    to_roi = np.linalg.inv(slicer.util.arrayFromVTKMatrix(roi.GetObjectToWorldMatrix()))
    to_roi = to_roi @ slicer.util.arrayFromVTKMatrix(to_world) @ slicer.util.arrayFromVTKMatrix(volumes.matrix_of(ct))
    i, j, k = ct.GetImageData().GetDimensions()
    k, j, i = np.ogrid[:k, :j, :i]
    inside = np.ones(np.broadcast_shapes(k.shape, j.shape, i.shape), bool)
    for row, side in zip(to_roi, roi.GetSize()):
        inside &= np.abs(row[0] * i + row[1] * j + row[2] * k + row[3]) <= side / 2
    return inside


def check(scene: Any, ct: Any) -> None:
    """Raises Refused for a CT whose results are of another state of it."""
    exchange.check_input(ct)
    scenes.check_fresh(scene, ct)
