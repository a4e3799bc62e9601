"""What if this were hidden? A real engine that stays open, asked from the panel."""

from __future__ import annotations

import os
import signal
import time
from typing import Any

import numpy as np
import pytest

pytest.importorskip(
    "slicer.slicer_core", reason="slicer-core cannot be loaded: make test-slicer installs it", exc_type=ImportError
)

import slicer
import small_world
from test_widget import add_ct, bundle, gone, panel  # noqa: F401  fixtures
from UNoiseSlicerLib import compare, engine_process, segmentation, what_if

from unoise_engine.evaluate.whatif.fills import FILLS


def roi(scene: Any, first: tuple[int, int, int], last: tuple[int, int, int], name: str = "R") -> Any:
    """Over these voxels (i, j, k), both included."""
    node = scene.AddNewNodeByClass("vtkMRMLMarkupsROINode", name)
    ends = [(small_world.MATRIX @ (*ijk, 1))[:3] for ijk in (first, last)]
    node.SetCenter(*np.mean(ends, axis=0))
    node.SetSize(*(np.abs(ends[1] - ends[0]) + 0.5))
    return node


def ended(pid: int) -> None:
    end = time.monotonic() + 30
    while not gone(pid):
        assert time.monotonic() < end
        time.sleep(0.05)


def asked(p: Any, node: Any) -> str:
    p.ui.hiddenSelector.setCurrentNode(node)
    p.ui.hideButton.click()
    p.wait()
    return p.ui.hiddenText.plainText.split("\n")[-1]


def test_what_is_hidden_is_told_in_dice_and_ml(panel: Any) -> None:  # noqa: F811
    p = panel()
    ct = add_ct(p.scene)
    p.ui.inputSelector.setCurrentNode(ct)
    half, away = roi(p.scene, (50, 0, 0), (79, 63, 11), "half"), roi(p.scene, (10, 20, 2), (20, 30, 6), "away")
    line = asked(p, half)
    assert line.startswith("half (") and " hidden: dice 0." in line and p.message() == "", (line, p.message())
    engine = p.widget.logic.session.engine.pid
    dice = float(line.split("dice ")[1].split(",")[0])
    lost, before = (float(n) for n in line.split(", ")[2].removesuffix(" ml lost").split(" of "))
    assert 0.5 < dice < 0.8 and 0.35 < lost / before < 0.65, line
    started = time.monotonic()
    assert asked(p, away).endswith("dice 1.00, 0.0 of " + f"{before:.1f} ml lost")
    assert p.widget.logic.session.engine.pid == engine and time.monotonic() - started < 10
    assert p.ui.hiddenText.plainText.count("\n") == 1, "a history"
    os.kill(engine, signal.SIGKILL)
    while p.widget.logic.session.engine.runs:  # its threads end one by one
        time.sleep(0.01)
    assert asked(p, half) == line and p.message() == "" and p.widget.logic.session.engine.pid != engine
    folder = p.widget.logic.session.folder
    p.widget.cleanup()
    assert not folder.exists() and p.widget.logic.session is None


def test_an_engine_that_hangs_is_started_anew(panel: Any, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    """Stopped by a signal, so that it gives no sign of life any more; or killed while it works."""
    monkeypatch.setattr(engine_process, "SILENT_SECONDS", 30.0)  # signs of life come every 15
    p = panel()
    ct = add_ct(p.scene)
    p.ui.inputSelector.setCurrentNode(ct)
    half = roi(p.scene, (50, 0, 0), (79, 63, 11), "half")
    line = asked(p, half)
    engine = p.widget.logic.session.engine
    end = time.monotonic() + 60
    while not engine._beats and time.monotonic() < end:
        time.sleep(0.1)
    monkeypatch.setattr(engine_process, "SILENT_SECONDS", 1.0)
    os.kill(engine.pid, signal.SIGSTOP)
    asked(p, half)
    assert p.message() == "The engine did not answer any more and was ended - try again: it is started anew"
    ended(engine.pid)
    monkeypatch.setattr(engine_process, "SILENT_SECONDS", 30.0)
    assert asked(p, half) == line and p.message() == ""
    p.ui.hideButton.click()
    os.kill(p.widget.logic.session.engine.pid, signal.SIGKILL)
    p.wait()
    assert "The engine ended (code -9) - click Hide again: it is started anew." in p.message()
    assert asked(p, half) == line and p.message() == ""


def test_what_is_found_then_lies_over_what_was_found(panel: Any) -> None:  # noqa: F811
    """The last answer's outline, in a colour of its own; by another fill another line."""
    p = panel()
    ct = add_ct(p.scene)
    p.ui.inputSelector.setCurrentNode(ct)
    half = roi(p.scene, (50, 0, 0), (79, 63, 11), "half")
    first = asked(p, half)
    (node,) = [n for n in slicer.util.getNodesByClass("vtkMRMLSegmentationNode") if n.GetAttribute(what_if.GHOST)]
    mask = compare.mask_of(ct, node, "") > 0
    left, before = (float(first.split(", ")[2].split(" ")[k]) for k in (0, 2))
    found_ml = mask.sum() * abs(np.linalg.det(small_world.MATRIX[:3, :3])) / 1000
    assert mask.any() and not mask[..., 52:].any() and found_ml == pytest.approx(before - left, abs=1)
    colour = node.GetSegmentation().GetNthSegment(0).GetColor()
    assert colour == what_if.GHOST_COLOUR and not node.GetDisplayNode().GetVisibility2DFill()
    assert [p.ui.fillBox.itemData(k) for k in range(p.ui.fillBox.count)] == [*FILLS]
    p.ui.fillBox.setCurrentIndex([*FILLS].index("noise"))
    again = asked(p, half)
    assert ", by noise)" in again and again != first.replace("by mean", "by noise")
    assert sum(bool(n.GetAttribute(what_if.GHOST)) for n in slicer.util.getNodesByClass("vtkMRMLSegmentationNode")) == 1


def test_a_ct_that_was_changed_is_sent_again(panel: Any) -> None:  # noqa: F811
    p = panel()
    ct = add_ct(p.scene)
    p.ui.inputSelector.setCurrentNode(ct)
    node = roi(p.scene, (50, 0, 0), (79, 63, 11))
    first = asked(p, node)
    engine = p.widget.logic.session.engine.pid
    slicer.util.arrayFromVolume(ct)[:5] = -1000
    slicer.util.arrayFromVolumeModified(ct)
    assert asked(p, node) != first and gone(engine)


@pytest.mark.parametrize(
    ("first", "last", "words"),
    [((200, 0, 0), (220, 10, 5), ["R holds no voxel of CT", "move it"]),
     ((-9, -9, -9), (99, 99, 99), ["R holds all of CT", "smaller"])],
)  # fmt: skip
def test_an_roi_that_cannot_be_hidden_says_so(panel: Any, first: Any, last: Any, words: Any) -> None:  # noqa: F811
    p = panel()
    p.ui.inputSelector.setCurrentNode(add_ct(p.scene))
    p.ui.hideButton.click()
    assert "Nothing to hide is chosen - draw an ROI" in p.message()
    assert asked(p, roi(p.scene, first, last)) == "" and all(word in p.message() for word in words)
    assert p.widget.logic.run is None and p.ui.explainButton.enabled


def test_a_turned_roi_under_a_moved_ct(world: Any) -> None:
    """Voxels by their centres, whatever lies between the CT and the world."""
    ct = add_ct(world.scene)
    transform = world.scene.AddNewNodeByClass("vtkMRMLLinearTransformNode", "move")
    turn = np.eye(4)
    turn[:3, :3] = [[0, -1, 0], [1, 0, 0], [0, 0, 1]]
    turn[:3, 3] = (7, -11, 30)
    transform.SetMatrixTransformToParent(slicer.util.vtkMatrixFromArray(turn))
    node = roi(world.scene, (30, 20, 3), (40, 25, 6))
    expected = np.zeros(small_world.SHAPE, bool)
    expected[3:7, 20:26, 30:41] = True
    assert (what_if.mask_of(ct, node) == expected).all()
    ct.SetAndObserveTransformNodeID(transform.GetID())
    assert (what_if.mask_of(ct, node) != expected).any()
    node.SetAndObserveTransformNodeID(transform.GetID())
    assert (what_if.mask_of(ct, node) == expected).all()


def test_a_segment_is_hidden_without_the_organ(panel: Any) -> None:  # noqa: F811
    """What a label map has of the organ's edge is not hidden with it."""
    p = panel()
    ct = add_ct(p.scene)
    p.ui.inputSelector.setCurrentNode(ct)
    around = np.zeros(small_world.SHAPE, np.uint8)
    around[2:7, 10:45, 30:70] = 1
    node = p.scene.AddNewNodeByClass("vtkMRMLSegmentationNode", "around")
    segmentation.fill(node, ct, "around", around)
    kept = asked(p, node)
    hidden = asked(p, roi(p.scene, (30, 10, 2), (69, 44, 6)))
    lost = [float(line.split(", ")[2].split(" of ")[0]) for line in (kept, hidden)]
    assert lost[0] < 1 < 20 < lost[1], (kept, hidden)
    node.GetSegmentation().AddEmptySegment("b", "b")
    assert asked(p, node) == hidden and "around has 2 segments - choose" in p.message()
