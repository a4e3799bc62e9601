"""Models of several labels that look at blocks: chosen, explained by a real engine process, named in the scene."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip(
    "slicer.slicer_core", reason="slicer-core cannot be loaded: make test-slicer installs it", exc_type=ImportError
)

import slicer
import slicer.util
import small_world
import vtk
from test_widget import add_ct, bundle, panel  # noqa: F401  fixtures
from UNoiseSlicerLib import about as facts
from UNoiseSlicerLib import compare, display, segmentation
from UNoiseSlicerLib import scene as scenes

ROOT = Path(__file__).resolve().parents[2]
IMPORTING = ROOT / ".venv" / "bin" / "python"
PHANTOM = ROOT.parent / "shared" / "data" / "models" / "nnunet-phantom"


@pytest.fixture(scope="session")
def blocks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_world.write_blocks_bundle(tmp_path_factory.mktemp("foreign") / "blocks")


def entry(node: Any) -> str:
    text = vtk.reference("")
    node.GetSegmentation().GetNthSegment(0).GetTag(slicer.vtkSegment.GetTerminologyEntryTagName(), text)
    return text.get()


def test_what_to_ask_is_offered_where_there_is_a_choice(panel: Any, bundle: Any, blocks: Path) -> None:  # noqa: F811
    p = panel()
    assert p.ui.labelBox.isHidden() and p.ui.labelBoxLabel.isHidden() and p.ui.focusBox.isHidden()
    assert p.widget._boxes["unoise"].enabled and p.parameters.label == ""
    p.choose(blocks)
    assert [p.ui.labelBox.itemText(k) for k in range(p.ui.labelBox.count)] == ["kidney_left", "bone"]
    assert not p.ui.labelBox.isHidden() and not p.ui.focusBox.isHidden() and p.parameters.label == "kidney_left"
    assert not p.widget._boxes["unoise"].enabled and not p.widget._boxes["unoise"].checked
    assert p.widget._boxes["structures"].enabled and p.widget._boxes["gradcam"].checked
    p.ui.labelBox.setCurrentIndex(1)
    p.choose(bundle)
    assert p.ui.labelBox.isHidden() and p.widget._boxes["unoise"].checked, "what was usual is usual again"
    p.choose(blocks)
    assert p.parameters.label == "bone" and p.ui.labelBox.currentText == "bone"


def test_the_label_is_what_the_engine_explains_and_what_results_are_called(
    panel: Any, blocks: Path  # noqa: F811
) -> None:  # fmt: skip
    p = panel()
    ct = add_ct(p.scene)
    p.ui.inputSelector.setCurrentNode(ct)
    p.choose(blocks)
    p.tick("gradcam", "occlusion")
    hu = slicer.util.arrayFromVolume(ct)
    expected = {"kidney_left": (small_world.organ(), "64033007"), "bone": (hu > 600, "272673000")}
    for label, (where, code) in expected.items():
        p.ui.labelBox.setCurrentIndex(list(expected).index(label))
        p.ui.explainButton.click()
        p.wait()
        assert p.message().startswith("Kept in" if label == "bone" else "") and "\n" not in p.message(), p.message()
        node = scenes.results_of(p.scene, ct)["segmentation"]
        segment = node.GetSegmentation().GetNthSegment(0)
        assert node.GetName() == f"CT {label} by the model" and segment.GetName() == label, p.message()
        assert segment.GetColor() == pytest.approx(segmentation.colour_of(label))
        mask = scenes.organ_mask(p.scene, ct) > 0
        dice = 2 * (mask & where).sum() / (mask.sum() + where.sum())
        assert dice > 0.8, f"{label}: {dice}"
        assert f"SCT^{code}^" in entry(node)
        assert scenes.report_of(p.scene, ct)["settings"]["label"] == label
        maps = scenes.maps_of(p.scene, ct)
        assert maps["gradcam"].GetName() == f"CT Grad-CAM importance for {label}"
        assert slicer.util.arrayFromVolume(maps["gradcam"]).max() > 0
        assert p.ui.summaryTable.item(0, 0).text() == label
    assert segmentation.colour_of("kidney_left") != segmentation.colour_of("bone")


def test_one_window_is_enough(panel: Any, blocks: Path) -> None:  # noqa: F811
    p = panel()
    ct = add_ct(p.scene)
    p.ui.inputSelector.setCurrentNode(ct)
    p.choose(blocks)
    p.tick("gradcam")
    p.ui.focusBox.setChecked(True)
    p.ui.explainButton.click()
    p.wait()
    assert scenes.report_of(p.scene, ct)["settings"]["focus"]["window"], p.message()
    (node,) = scenes.maps_of(p.scene, ct).values()
    inside = slicer.util.arrayFromVolume(node) > 0
    columns = inside.any(axis=(0, 1)).nonzero()[0]
    assert 0 < len(columns) <= 16


def test_two_models_are_compared(panel: Any, world: Any, bundle: Any, blocks: Path, tmp_path: Path) -> None:  # noqa: F811
    """The result of the first stays, shows beside the second's, and goes when its model runs again."""
    p = panel()
    ct = add_ct(p.scene)
    p.ui.inputSelector.setCurrentNode(ct)
    p.tick("gradcam")
    p.ui.explainButton.click()
    p.wait()
    first = scenes.results_of(p.scene, ct)["segmentation"]
    mask = scenes.organ_mask(p.scene, ct) > 0
    p.choose(blocks)
    p.ui.explainButton.click()
    p.wait()
    assert first.GetName() == "CT pancreas by the model, Small test model" and first.GetName() in p.message()
    assert not first.GetDisplayNode().GetVisibility() and p.ui.summaryTable.rowCount == 3
    p.ui.comparedSelector.setCurrentNode(first)
    other = scenes.organ_mask(p.scene, ct) > 0
    dice = 2 * (mask & other).sum() / (mask.sum() + other.sum())
    row = [p.ui.summaryTable.item(1, c).text() for c in range(3)]
    assert 0.5 < dice < 1 and row == [first.GetName(), f"{mask.sum() * 0.02:.1f} ml, dice {dice:.3f}", ""]
    assert first.GetDisplayNode().GetVisibility() and not first.GetDisplayNode().GetVisibility2DFill()
    assert first.GetSegmentation().GetNthSegment(0).GetColor() == pytest.approx(compare.COLOUR)
    red = world.views["Red"].composite
    p.ui.differenceBox.setChecked(True)
    node = p.scene.GetNodeByID(red.GetForegroundVolumeID())
    assert node.GetName() == "CT Grad-CAM difference" and node.GetAttribute(scenes.WARNING)
    values = slicer.util.arrayFromVolume(node)
    assert -1 <= values.min() < -0.1 and 0.1 < values.max() <= 1
    now, then = (scenes.maps_of(p.scene, ct)["gradcam"], compare.other_map(p.scene, ct, first, "gradcam"))
    shares = [np.clip(slicer.util.arrayFromVolume(n) / display.highest(n), 0, 1) for n in (now, then)]
    assert np.allclose(values, shares[0] - shares[1], atol=1e-6)
    p.grab(tmp_path / "compared.png", 1100)
    p.ui.differenceBox.setChecked(False)
    assert p.scene.GetNodeByID(red.GetForegroundVolumeID()) is now and not p.scene.GetFirstNodeByName(node.GetName())
    p.ui.comparedSelector.setCurrentNode(None)
    assert not first.GetDisplayNode().GetVisibility() and p.ui.summaryTable.rowCount == 3
    assert first.GetSegmentation().GetNthSegment(0).GetColor() == pytest.approx(segmentation.colour_of("pancreas"))
    p.choose(bundle)
    p.ui.explainButton.click()
    p.wait()
    found = [n for n in scenes.every_result(p.scene, ct) if n.IsA("vtkMRMLSegmentationNode")]
    assert len(found) == 2, "one of each model"


def test_somebodys_own_segmentation_is_compared_by_its_name(panel: Any) -> None:  # noqa: F811
    p = panel()
    ct = add_ct(p.scene)
    p.ui.inputSelector.setCurrentNode(ct)
    p.tick("gradcam")
    p.ui.explainButton.click()
    p.wait()
    own = p.scene.AddNewNodeByClass("vtkMRMLSegmentationNode", "by hand")
    segmentation.fill(own, ct, "Liver", np.zeros(small_world.SHAPE, np.uint8) + 1)
    other = p.scene.AddNewNodeByClass("vtkMRMLSegmentationNode", "more")
    segmentation.fill(other, ct, "Pancreas", small_world.organ())
    p.ui.comparedSelector.setCurrentNode(other)
    assert float(p.ui.summaryTable.item(1, 1).text().split()[-1]) > 0.8
    assert other.GetSegmentation().GetNthSegment(0).GetColor() == pytest.approx(segmentation.OUTLINE), "as it was"
    for name in ("Liver", "Spleen"):
        other.GetSegmentation().AddEmptySegment(name, name)
    other.GetSegmentation().RemoveSegment("Pancreas")
    p.widget._on_parameters()
    assert "more has 2 segments and not one named pancreas - name" in p.message()
    assert p.ui.summaryTable.rowCount == 3, "the rest of the table is there"
    p.ui.comparedSelector.setCurrentNode(own)
    transform = p.scene.AddNewNodeByClass("vtkMRMLLinearTransformNode", "moved")
    own.SetAndObserveTransformNodeID(transform.GetID())
    p.widget._on_parameters()
    assert "under different transforms" in p.message()


@pytest.mark.parametrize(
    ("label", "meaning", "side"),
    [("pancreas", "Pancreas", ""), ("kidney_left", "Kidney", "Left"), ("Right Kidney", "Kidney", "Right"),
     ("adrenal-gland-left", "Adrenal gland", "Left"), ("small_bowel", "", ""), ("vertebrae_L1", "", ""),
     ("left right", "", ""), ("__class__", "", ""), ("kidney+liver", "", "")],
)  # fmt: skip
def test_terminology_of_labels(label: str, meaning: str, side: str) -> None:
    entry = segmentation.terminology(label)
    assert (f"^{meaning}~" in entry and entry.split("~")[3].endswith(f"^{side}")) if meaning else not entry
    assert not entry or entry.count("~") == 6


def test_the_estimate_knows_blocks(panel: Any, blocks: Path) -> None:  # noqa: F811
    """Each patch runs the windows that it touches; a focus has one; an adaptive map has its limit."""
    p = panel()
    p.ui.inputSelector.setCurrentNode(add_ct(p.scene))
    p.choose(blocks)
    p.tick("occlusion")
    p.field("occlusion", "stride").value = 1
    p.told()

    def seconds() -> float:
        about, choices = p.widget.logic.about, p.widget._choices(p.parameters)
        return facts.seconds_of(p.parameters.inputVolume, "occlusion", about, choices, {})

    whole = seconds()
    p.ui.focusBox.setChecked(True)
    assert seconds() < whole / 8
    p.ui.focusBox.setChecked(False)
    p.parameters.inputVolume.SetSpacing(4.0, 4.0, 5.0)
    assert seconds() == pytest.approx(4 * whole, rel=0.05), "four times as many places"
    p.parameters.inputVolume.SetSpacing(90.0, 90.0, 90.0)
    assert "Occlusion takes about" in p.ui.estimateLabel.text and seconds() > 600
    p.field("occlusion", "stride").value = 0
    p.told()
    assert seconds() == 300, "an adaptive map of a block has its limit"


def importing(p: Any, monkeypatch: pytest.MonkeyPatch, source: Path) -> None:
    monkeypatch.setattr(p.widget, "ask_folder", lambda _title: str(source))
    monkeypatch.setattr(p.widget, "ask_text", lambda _title: "mine")
    p.ui.modelBox.setCurrentIndex(p.ui.modelBox.findText("Import model..."))
    assert p.widget.logic.run is not None and p.ui.explainButton.text == "Cancel", p.message()
    p.wait()
    p.told()


def test_a_model_is_imported_and_chosen(
    panel: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch  # noqa: F811
) -> None:  # fmt: skip
    """By the engine's own command, in the Python that has what it needs."""
    asked = "import torch, onnx, onnxscript, dynamic_network_architectures, typer"
    if not PHANTOM.is_dir() or not IMPORTING.is_file() or subprocess.run([IMPORTING, "-c", asked]).returncode:
        pytest.skip(f"{IMPORTING} with the extra import, or {PHANTOM} are not there")
    p = panel(environment={"UNOISE_MODELS": str(tmp_path / "models")})
    p.widget.logic.python = str(IMPORTING)
    importing(p, monkeypatch, PHANTOM)
    assert p.message() == f"{PHANTOM.name} is imported - choose what to explain.", p.ui.logText.plainText
    assert p.parameters.model == PHANTOM.name and p.ui.labelBox.count > 1 and not p.ui.focusBox.isHidden()
    importing(p, monkeypatch, PHANTOM)
    assert p.parameters.model == f"{PHANTOM.name}-2", "nothing is overwritten"


def test_what_cannot_be_imported_says_why(panel: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    p = panel(environment={"UNOISE_MODELS": str(tmp_path / "models")})
    before = p.parameters.model, p.ui.modelBox.currentIndex
    (tmp_path / "nothing").mkdir()
    importing(p, monkeypatch, tmp_path / "nothing")
    assert "nothing" in p.message() and " - " in p.message() and "\n" not in p.message()
    assert (p.parameters.model, p.ui.modelBox.currentIndex) == before
    assert not [*(tmp_path / "models").glob("*")]


def test_a_slicer_without_the_packages_is_told_where_to_import(
    panel: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch  # noqa: F811
) -> None:  # fmt: skip
    (tmp_path / "typer.py").write_text("raise ModuleNotFoundError(\"No module named 'typer'\", name='typer')")
    p = panel(environment={"UNOISE_MODELS": str(tmp_path / "models"), "PYTHONPATH": str(tmp_path)})
    importing(p, monkeypatch, PHANTOM)
    assert "package typer, which Slicer lacks" in p.message() and "unoise-engine[import]" in p.message()
    assert "\n" not in p.message() and "Traceback" not in p.message()
