"""Models of several labels that look at blocks: chosen, explained by a real engine process, named in the scene."""

from __future__ import annotations

from pathlib import Path
from typing import Any

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
from UNoiseSlicerLib import scene as scenes
from UNoiseSlicerLib import segmentation


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
        assert p.message() == "", p.message()
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
