"""Every member of Slicer, MRML, VTK, Qt and CTK that the module uses exists, and takes the arguments it is given.

What needs a checkout of Slicer is looked up where SLICER_SOURCE names one, and what needs one of CTK where CTK_SOURCE
does.
"""

from __future__ import annotations

import os
import xml.etree.ElementTree as ET
from collections.abc import Iterable
from pathlib import Path

import pytest

pytest.importorskip("slicer.slicer_core", reason="slicer-core is not installed")
pytest.importorskip("PySide6", reason="PySide6 is not installed")
import symbols
from uses import MODULE, UI, Source, Use, uses_of, why_not

SOURCES = sorted(MODULE.rglob("*.py"))
needs_slicer = pytest.mark.skipif(
    not os.environ.get("SLICER_SOURCE"), reason="SLICER_SOURCE is not set: Slicer's sources are absent"
)


def faults_in(uses: Iterable[Use]) -> tuple[list[str], set[str], int]:
    """Sentences, owners that are unknown here, and how many uses were looked up."""
    faults, unknown, count = [], set(), 0
    for use in uses:
        try:
            reason = why_not(use)
        except symbols.Unknown as error:
            unknown.add(str(error).split(":")[0])
            continue
        count += 1
        faults += [f"line {use.line}: {reason}"] * bool(reason)
    return faults, unknown, count


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.name)
def test_what_a_file_uses_exists(path: Path) -> None:
    assert faults_in(Source(path.read_text(encoding="utf-8")).uses())[0] == []


def test_the_form_names_properties_signals_and_slots_that_exist() -> None:
    faults, _unknown, count = faults_in(uses_of())
    assert faults == [] and count > 50
    text = ET.tostring(UI, encoding="unicode").replace('name="wordWrap"', 'name="wordWraps"')
    assert "QLabel has no wordWraps" in faults_in(uses_of(ET.fromstring(text)))[0][0]


@needs_slicer
def test_nothing_of_slicer_is_left_unchecked() -> None:
    """Only CTK may be: its sources are a repository of their own."""
    _faults, unknown, count = faults_in(use for p in SOURCES for use in Source(p.read_text(encoding="utf-8")).uses())
    assert {name for name in unknown if not name.startswith("ctk")} == set() and count > 1400
    if not os.environ.get("CTK_SOURCE"):
        pytest.skip("CTK_SOURCE is not set: the widgets of CTK are not checked")
    assert unknown == set()
    text = ET.tostring(UI, encoding="unicode").replace("mrmlSceneChanged(", "sceneChanged(")
    assert "qMRMLWidget has no sceneChanged" in faults_in(uses_of(ET.fromstring(text)))[0][0]


WRONG = [
    ("slicer.util.arrayFromVolum(ct)", "slicer.util has no arrayFromVolum"),
    ("slicer.util.arrayFromVolume()", "arrayFromVolume does not take slicer.util.arrayFromVolume()"),
    ("slicer.util.arrayFromVolume(vol=ct)", "does not take"),
    ("from slicer.util import VTKObservation", "slicer.util has no VTKObservation"),
    ("slicer.vtkMRMLScalarVolumeNodes()", "slicer has no vtkMRMLScalarVolumeNodes"),
    ("scene.GetNodesByClass('vtkMRMLRoiNode')", "slicer has no vtkMRMLRoiNode"),
    ("scene.GetNodeById('x')", "vtkMRMLScene has no GetNodeById"),
    ("scene.GetNodeByID()", "does not take"),
    ("if scene.IsImporting: pass", "IsImporting is a method"),
    ("scene.GetFirstNodeByClass('vtkMRMLLayoutNode').SetArrangement(3)", "vtkMRMLLayoutNode has no SetArrangement"),
    ("anything.SetSomethingThatIsNot(3)", "has no SetSomethingThatIsNot"),
    ("slicer.vtkSegmentationConverter.GetBinaryLabelmapName()", "vtkSegmentationConverter has no"),
    ("vtk.vtkCommand.ModifyEvent", "vtkCommand has no ModifyEvent"),
    ("numpy_support.numpy_to_vtk(deep=True)", "does not take"),
    ("qt.QTimers()", "qt has no QTimers"),
    ("timer = qt.QTimer()\ntimer.setIntervals(3)", "QTimer has no setIntervals"),
    ("qt.QFileDialog.getExistingDirectory(1, 2, 3, 4, 5, 6)", "does not take"),
    ("qt.Qt.ToolTipsRole", "Qt has no ToolTipsRole"),
    ("self.ui.noSuchWidget.setText('x')", "the form has no noSuchWidget"),
    ("self.ui.messageLabel.setTexts('x')", "QLabel has no setTexts"),
    ("self.ui.messageLabel.text()", "text is a property"),
    ("box = self.ui.modelBox\nbox.addItem()", "does not take"),
    ("if self.ui.explainButton.click: pass", "click is a method"),
]
WRONG_IN_SLICER = [
    ("slicer.app.layoutManagers()", "qSlicerApplication has no layoutManagers"),
    ("slicer.app.layoutManager().sliceWidgets('Red')", "qSlicerLayoutManager has no sliceWidgets"),
    ("slicer.app.layoutManager(1, 2)", "does not take"),
    ("slicer.app.connect('startup()', print)", "qSlicerApplication has no startup"),
    ("slicer.app.slicerHome()", "slicerHome is a property"),
    ("self.ui.inputSelector.currentNodes()", "qMRMLNodeComboBox has no currentNodes"),
    ("import SampleData\nSampleData.SampleDataLogic.registerCustomSampleDataSource(uri='x')", "does not take"),
    ("import ScreenCapture\nScreenCapture.ScreenCaptureLogic().captureImage(1)", "has no captureImage"),
    ("from slicer.parameterNodeWrapper import withinRange", "has no withinRange"),
]


def _notice(code: str, fault: str) -> None:
    lines = "".join(f"    {line}\n" for line in ["from vtk.util import numpy_support", *code.split("\n")])
    faults, unknown, _count = faults_in(Source(f"def part(self, ct, scene):\n{lines}").uses())
    if not os.environ.get("CTK_SOURCE") and any(name.startswith("ctk") for name in unknown):
        pytest.skip("CTK_SOURCE is not set: the class has more members from CTK")
    assert len(faults) == 1 and fault in faults[0]


@pytest.mark.parametrize(("code", "fault"), WRONG)
def test_a_wrong_use_is_noticed(code: str, fault: str) -> None:
    _notice(code, fault)


@needs_slicer
@pytest.mark.parametrize(("code", "fault"), WRONG_IN_SLICER)
def test_a_wrong_use_of_the_application_is_noticed(code: str, fault: str) -> None:
    _notice(code, fault)
