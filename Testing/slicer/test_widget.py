"""The panel: the module's own files and .ui, real MRML, a real engine process. PySide6 stands in for PythonQt, CTK."""

from __future__ import annotations

import json
import os
import shutil
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip(
    "slicer.slicer_core", reason="slicer-core cannot be loaded: make test-slicer installs it", exc_type=ImportError
)
pytest.importorskip(
    "PySide6.QtUiTools", reason="PySide6 cannot be loaded: make test-slicer, libegl1, libgl1", exc_type=ImportError
)
pytest.importorskip("onnx", reason="onnx, which builds the small model, is not installed")

import slicer
import slicer.util
import small_world
import stand_in

ROOT = Path(__file__).resolve().parents[2]
stand_in.install(ROOT / "UNoiseSlicer")

from UNoiseSlicerLib import axial, display, exchange, scene_tests
from UNoiseSlicerLib import logic as logics
from UNoiseSlicerLib import scene as scenes
from UNoiseSlicerLib.parameters import Region
from UNoiseSlicerLib.scale import Scale

import UNoiseSlicer as module
from unoise_engine.cli.question import question_from
from unoise_engine.explanation.occlusion import Occlusion
from unoise_engine.models import bundles
from unoise_engine.models.manifest import read_manifest

PATIENCE_SECONDS = 240


@pytest.fixture(scope="session")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return small_world.write_small_bundle(tmp_path_factory.mktemp("models") / "small")


class Panel:
    """A user at the panel."""

    def __init__(self, world: Any, bundle: Any, environment: Any = None, main_window: Any = True) -> None:
        stand_in.start(world, main_window)
        self.scene = world.scene
        self.window = slicer.qMRMLWidget()
        self.window.setLayout(stand_in.QtWidgets.QVBoxLayout())
        self.widget = module.UNoiseSlicerWidget(self.window)
        self.widget.setup()
        self.widget.logic.python = sys.executable
        self.widget.logic.environment = dict(os.environ) | (environment or {})
        self.ui: Any = self.widget.ui
        self.parameters: Any = self.widget._parameters
        self.choose(bundle)
        self.widths: list[float] = []

    def choose(self, model: Any) -> None:
        """A model, and what the engine tells of it."""
        self.parameters.model = str(model)
        self.widget.initializeParameterNode()
        self.told()

    def told(self) -> None:
        end = time.monotonic() + PATIENCE_SECONDS
        while self.widget.logic.asking:
            assert time.monotonic() < end, "the engine told nothing"
            slicer.app.processEvents()
            time.sleep(0.005)

    def tick(self, *methods: Any) -> None:
        """These methods and no others."""
        for name, box in self.widget._boxes.items():
            box.setChecked(name in methods)
        self.told()

    def field(self, method: Any, name: Any) -> Any:
        return self.widget._fields[method][name].widget

    def wait(self, until: Any = None) -> None:
        """The event loop, as the application would run it; notes how long it was blocked."""
        end, last = time.monotonic() + PATIENCE_SECONDS, time.monotonic()
        while self.widget.logic.run is not None and not (until and until()):
            assert time.monotonic() < end, "the engine did not end"
            slicer.app.processEvents()
            time.sleep(0.005)
            self.widths.append(time.monotonic() - last)
            last = time.monotonic()
        slicer.app.processEvents()

    def message(self) -> Any:
        return self.ui.messageLabel.text

    def grab(self, path: Any, height: Any = 900) -> None:
        self.window.resize(430, height)
        self.window.show()
        slicer.app.processEvents()
        self.window.grab().save(str(path))


@pytest.fixture
def panel(world: Any, bundle: Any) -> Any:
    world.lay_out()
    made = []

    def make(**how: Any) -> Any:
        made.append(Panel(world, bundle, **how))
        return made[-1]

    yield make
    for one in made:
        one.widget.cleanup()


def add_ct(scene: Any, name: Any = "CT", dtype: Any = np.int16) -> Any:
    return scene_tests.add_volume(scene, small_world.ct(dtype=dtype), small_world.MATRIX, name)


def ids(scene: Any) -> Any:
    return {scene.GetNthNode(k).GetID() for k in range(scene.GetNumberOfNodes())}


def gone(pid: Any) -> Any:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return Path(f"/proc/{pid}/stat").read_text().split()[2] == "Z"


def test_explain_from_click_to_maps(panel: Any, world: Any, tmp_path: Path) -> None:
    p = panel()
    assert not p.ui.explainButton.enabled and "Choose a CT" in p.ui.explainButton.toolTip
    ct = add_ct(p.scene)
    p.ui.inputSelector.setCurrentNode(ct)
    assert p.parameters.inputVolume is ct and p.ui.explainButton.enabled
    titles = ["U-Noise (near)", "U-Noise", "Grad-CAM", "Occlusion"]
    assert [box.text for box in p.widget._boxes.values()][:4] == titles
    p.tick("unoise", "gradcam", "occlusion")
    assert "Occlusion takes about" in p.ui.estimateLabel.text and not p.field("occlusion", "patch").isHidden()
    p.ui.explainButton.click()
    assert p.ui.explainButton.text == "Cancel" and not p.ui.inputsButton.enabled
    stages = set()
    p.wait(until=lambda: stages.add(p.ui.stageLabel.text.split(",")[0]))
    assert p.message() == "" and p.ui.explainButton.text == "Explain"
    assert {"Starting the engine", "Occlusion"} <= stages
    maps = scenes.maps_of(p.scene, ct)
    assert list(maps) == ["unoise", "gradcam", "occlusion"]
    organ = small_world.organ()
    for node in maps.values():
        values = slicer.util.arrayFromVolume(node)
        assert values.shape == organ.shape and values[organ].mean() > values[~organ].mean() + 0.1
    assert [p.ui.methodBox.itemText(k) for k in range(4)] == ["U-Noise", "Grad-CAM", "Occlusion",
                                                              "None (segmentation only)"]  # fmt: skip
    assert p.ui.resultsButton.enabled and p.ui.summaryTable.rowCount == 5
    assert p.ui.summaryTable.item(0, 0).text() == "pancreas" and "ml" in p.ui.summaryTable.item(0, 1).text()
    assert "Time: write" in p.ui.logText.plainText
    red = world.views["Red"].composite
    assert red.GetForegroundVolumeID() == maps["unoise"].GetID()
    p.ui.methodBox.setCurrentIndex(1)
    assert red.GetForegroundVolumeID() == maps["gradcam"].GetID()
    p.grab(tmp_path / "panel.png")
    assert max(p.widths) < 3.0, "the window froze"


def test_cancel_in_the_middle_leaves_no_trace(panel: Any) -> None:
    p = panel()
    add_ct(p.scene)
    p.widget.initializeParameterNode()
    p.tick("unoise", "occlusion")
    p.field("occlusion", "patch").value, p.field("occlusion", "stride").value = 3, 1
    before = ids(p.scene)
    p.ui.explainButton.click()
    run = p.widget.logic.run
    p.wait(until=lambda: run.state.stage == "Occlusion")
    assert not gone(run.pid) and run._folder.is_dir()
    p.ui.explainButton.click()
    assert gone(run.pid) and not run._folder.exists()
    assert ids(p.scene) == before
    assert p.ui.explainButton.text == "Explain" and p.ui.explainButton.enabled and "Cancelled" in p.message()


def test_closing_the_scene_cancels(panel: Any) -> None:
    p = panel()
    add_ct(p.scene)
    p.widget.initializeParameterNode()
    p.tick("unoise", "occlusion")
    p.field("occlusion", "stride").value = 1
    p.ui.explainButton.click()
    run = p.widget.logic.run
    p.wait(until=lambda: run.state.stage != "")
    p.scene.Clear(0)
    assert gone(run.pid) and p.widget.logic.run is None and not p.ui.explainButton.enabled


def sabotaged(tmp_path: Path, code: Any) -> Any:
    """A package called onnxruntime, before the real one, that does this when the engine imports it."""
    (tmp_path / "onnxruntime.py").write_text(code)
    return {"PYTHONPATH": str(tmp_path)}


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("raise ModuleNotFoundError(\"No module named 'onnxruntime'\")", ["onnxruntime-*-cp3", "Install from file"]),
        ("raise ImportError('DLL load failed while importing onnxruntime_pybind11_state')",
         ["onnxruntime is installed but does not load (DLL load failed", "onnxruntime-*-cp3", "Install from file"]),
        ("raise OSError('libgomp.so.1: cannot open shared object file')",
         ["does not load (libgomp.so.1: cannot", "Install from file"]),
        ("import onnxruntime.capi", ["does not load (No module named 'onnxruntime.capi'", "Install from file"]),
        ("import sys; print('x' * 5_000_000); print('[' * 100_000); sys.exit(9)", ["code 9", "see the log"]),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", ["memory ran out", "fewer slices"]),
        ("import os; os.abort()", ["code -6"]),
        ("import sys, os; print('{garbage', flush=True); print('what a day', file=sys.stderr); os._exit(7)",
         ["code 7", "see the log"]),
        ("import os; print('all is well', flush=True); os._exit(0)", ["code 0", "all is well", "see the log"]),
        ("raise MemoryError", ["Memory ran out", "fewer slices"]),
        ("from unoise_engine import worker; from unoise_engine.errors import Usage\n"
         "raise Usage('standard input', 'is no request (unexpected picture)', 'send one')", ["of another version"]),
        ("raise KeyError('x')", ["internal error", "see the log"]),
        ("from unoise_engine.errors import Environment\n"
         "raise Environment('--device cuda', 'no GPU here', 'use --device cpu')", ["cuda - no GPU here", "otherwise"]),
    ],
)  # fmt: skip
def test_an_engine_that_fails_gives_one_sentence(panel: Any, tmp_path: Path, code: Any, words: Any) -> None:
    p = panel(environment=sabotaged(tmp_path, code))
    add_ct(p.scene)
    p.widget.initializeParameterNode()
    before = ids(p.scene)
    p.ui.explainButton.click()
    p.wait()
    assert all(word in p.message() for word in words), p.message()
    assert "\n" not in p.message() and "Traceback" not in p.message() and "--" not in p.message()
    assert len(p.message()) < 500 and p.ui.wheelButton.isHidden() == ("Install from file" not in words)
    said = p.ui.logText.plainText
    kept = [word for word in ("{garbage", "what a day", "all is well") if word in code]
    assert all(word in said for word in kept) and ("error:" in said or "Error" not in code)
    assert ids(p.scene) == before and p.ui.explainButton.enabled and p.widget.logic.run is None


def test_the_panel_tells_what_the_model_is(panel: Any, bundle: Any, tmp_path: Path) -> None:
    p = panel()
    p.choose("")
    about = p.widget.logic.about
    default = next(iter(about.models))
    assert default == bundles.DEFAULT_BUNDLE and set(about.models) >= set(bundles.shipped_bundles())
    assert p.parameters.model == default and p.ui.modelBox.currentText == about.models[default]["title"]
    card = read_manifest(bundles.shipped_bundles()[default])
    assert p.ui.modelLabel.text == f"{card.warning}\n{card.attribution}" and p.message() == ""
    owed = shutil.copytree(bundle, tmp_path / "owed")
    card = json.loads((owed / "bundle.json").read_text())
    (owed / "bundle.json").write_text(json.dumps(card | {"attribution": "CTs: An Archive", "citation": "Doe 2026"}))
    p.choose(owed)
    assert p.ui.modelLabel.text == "Research model. Not for clinical use.\nCTs: An Archive"
    assert "Please cite: Doe 2026" in p.ui.modelLabel.toolTip
    p.choose("a-model-of-last-year")
    assert "a-model-of-last-year is not here any more" in p.message() and p.parameters.model == default


def test_a_wheel_can_be_chosen_when_the_package_is_missing(
    panel: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from UNoiseSlicerLib import install

    p = panel()
    add_ct(p.scene)
    p.widget.initializeParameterNode()

    def shown() -> bool:
        return not p.ui.wheelButton.isHidden()

    assert not shown()
    answers, installed = [False, True], list[list[str]]()
    monkeypatch.setattr(install, "missing", lambda _wanted: [] if installed else ["onnxruntime>=1.20"])
    monkeypatch.setattr(slicer.util, "confirmOkCancelDisplay", lambda *_a: answers.pop(0), raising=False)
    monkeypatch.setattr(slicer.util, "pip_install", lambda _a: 1 / 0, raising=False)
    p.ui.explainButton.click()
    assert "not installed" in p.message() and shown() and p.widget.logic.run is None
    p.ui.explainButton.click()
    assert install.wheel_name() in p.message() and shown() and "ZeroDivision" not in p.message()
    p.grab(tmp_path / "offline.png", 1000)
    monkeypatch.setattr(p.widget, "ask_wheel", lambda: str(tmp_path / "numpy-2.0-py3-none-any.whl"))
    p.ui.wheelButton.click()
    assert "it is numpy" in p.message() and shown()
    monkeypatch.setattr(slicer.util, "pip_install", installed.append)
    wheel = tmp_path / "onnxruntime-9.9-py3-none-any.whl"
    monkeypatch.setattr(p.widget, "ask_wheel", lambda: str(wheel))
    p.ui.wheelButton.click()
    assert installed == [["--no-index", "--no-deps", str(wheel)]]
    assert "is installed - click Explain" in p.message() and not shown()
    p.ui.explainButton.click()
    p.wait()
    assert p.message() == ""


def test_a_bundle_that_was_altered_is_refused_by_its_hash(panel: Any, bundle: Any, tmp_path: Path) -> None:
    import shutil

    copy = tmp_path / "altered"
    shutil.copytree(bundle, copy)
    with (copy / "unoise.onnx").open("r+b") as f:
        f.seek(40)
        f.write(b"?")
    p = panel()
    add_ct(p.scene)
    p.choose(copy)
    before = ids(p.scene)
    p.ui.explainButton.click()
    p.wait()
    assert "unoise.onnx" in p.message() and "altered" in p.message() and "get the bundle again" in p.message()
    assert ids(p.scene) == before


def test_bad_input_is_told_in_the_panel(panel: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    p = panel()
    p.ui.inputSelector.setCurrentNode(add_ct(p.scene))
    empty = p.scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "empty")
    p.ui.inputSelector.setCurrentNode(empty)
    p.ui.explainButton.click()
    assert "empty holds no image data" in p.message() and p.widget.logic.run is None
    flat = scene_tests.add_volume(p.scene, small_world.ct() * 0, small_world.MATRIX, "flat")
    p.ui.inputSelector.setCurrentNode(flat)
    p.ui.explainButton.click()
    assert "flat has the value 0 everywhere" in p.message()
    p.ui.inputSelector.setCurrentNode(p.scene.GetFirstNodeByName("CT"))
    p.parameters.region, p.parameters.firstSlice, p.parameters.lastSlice = Region.RANGE, 9, 3
    p.ui.explainButton.click()
    assert "Slices 9 to 3" in p.message()
    p.parameters.region = Region.WHOLE
    p.parameters.model = "/nowhere"
    p.ui.explainButton.click()
    p.told()
    p.wait()
    assert "/nowhere - no such model bundle" in p.message()


def test_an_mr_needs_a_yes(panel: Any, bundle: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    p = panel()
    mr = scene_tests.add_volume(p.scene, small_world.ct() + 1000, small_world.MATRIX, "MR")
    p.ui.inputSelector.setCurrentNode(mr)
    asked = []
    monkeypatch.setattr(slicer.util, "confirmYesNoDisplay", lambda text, *_a, **_k: asked.append(text), raising=False)
    p.ui.explainButton.click()
    assert "MR has values from 0 to" in asked[0] and p.widget.logic.run is None


def test_what_the_engine_doubts_needs_a_yes_too(panel: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Values that look like HU at first sight, but not to the engine, which looks at all of them."""
    hu = small_world.ct().astype(np.float32)
    hu[np.abs(small_world.ct() - small_world.BODY_HU) <= small_world.GRAIN_HU] = 2500
    p = panel()
    ct = scene_tests.add_volume(p.scene, hu, small_world.MATRIX, "wrapped")
    p.ui.inputSelector.setCurrentNode(ct)
    answers, asked = [False, True], []

    def answer(text: str, *_window: Any) -> bool:
        asked.append(text)
        return answers.pop(0)

    monkeypatch.setattr(slicer.util, "confirmYesNoDisplay", answer, raising=False)
    assert exchange.doubt(ct) == ""
    p.ui.explainButton.click()
    p.wait()
    assert "wrapped may be no CT" in asked[0] and "above 2000 HU" in asked[0] and "--trust-hu" not in asked[0]
    assert "choose the original CT" in p.message() and not scenes.maps_of(p.scene, ct)
    p.ui.explainButton.click()
    p.wait()
    assert len(asked) == 2 and scenes.maps_of(p.scene, ct) and "may be no CT" not in p.message()


def test_no_room_in_the_temporary_folder(panel: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    import shutil
    import types

    p = panel()
    p.ui.inputSelector.setCurrentNode(add_ct(p.scene))
    full = types.SimpleNamespace(total=1, used=1, free=4096)
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: full)
    p.ui.explainButton.click()
    assert "0 MB free" in p.message() and "Application Settings" in p.message() and p.widget.logic.run is None


def test_the_disk_fills_up_while_the_engine_writes(panel: Any, tmp_path: Path) -> None:
    """A real limit on the engine's files."""
    pytest.importorskip("resource", reason="no file size limits on this system")
    (tmp_path / "sitecustomize.py").write_text(
        "import resource, signal\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, resource.RLIM_INFINITY))\n"
    )
    p = panel(environment={"PYTHONPATH": str(tmp_path)})
    p.ui.inputSelector.setCurrentNode(add_ct(p.scene))
    before = ids(p.scene)
    p.ui.explainButton.click()
    folder = p.widget.logic.run._folder
    p.wait()
    assert "cannot be written" in p.message() and "free space" in p.message() and "\n" not in p.message()
    assert str(folder) not in p.message() and not folder.exists() and ids(p.scene) == before


def test_the_temporary_folder_cannot_be_used(panel: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    import tempfile

    p = panel()
    p.ui.inputSelector.setCurrentNode(add_ct(p.scene))
    monkeypatch.setattr(tempfile, "mkdtemp", lambda **_how: Path("/nowhere/at/all").mkdir())
    p.ui.explainButton.click()
    assert "temporary folder cannot be used" in p.message() and p.widget.logic.run is None


def test_a_range_and_the_slice_in_view(panel: Any, world: Any) -> None:
    p = panel()
    ct = add_ct(p.scene)
    p.ui.inputSelector.setCurrentNode(ct)
    p.parameters.region, p.parameters.firstSlice, p.parameters.lastSlice = Region.RANGE, 4, 6
    p.ui.explainButton.click()
    p.wait()
    values = slicer.util.arrayFromVolume(scenes.maps_of(p.scene, ct)["unoise"])
    assert values[3:6].any(axis=(1, 2)).all() and not values[:3].any() and not values[6:].any()
    red = world.views["Red"].node
    ras = small_world.MATRIX @ (0, 0, 4, 1)
    red.JumpSliceByOffsetting(*ras[:3])
    p.parameters.region = Region.VIEW
    p.ui.explainButton.click()
    p.wait()
    values = slicer.util.arrayFromVolume(scenes.maps_of(p.scene, ct)["unoise"])
    assert np.flatnonzero(values.any(axis=(1, 2))).tolist() == [4]


def test_warnings_of_the_engine_reach_the_panel(panel: Any, world: Any, bundle: Any, tmp_path: Path) -> None:
    """A CT outside what the model knows."""
    knows = {"slice_mm": (0.3, 4.0), "field_mm": (220.0, 720.0)}
    narrow = small_world.write_small_bundle(tmp_path / "narrow", knows=knows)
    p = panel()
    ct = add_ct(p.scene)
    p.ui.inputSelector.setCurrentNode(ct)
    p.choose(narrow)
    p.ui.explainButton.click()
    p.wait()
    told = p.message().split("\n")
    assert told == scenes.report_of(p.scene, ct)["warnings"] and len(told) == 2
    assert "Slices 5.0 mm apart" in told[0] and "field of view 160 mm" in told[1]
    table = p.ui.summaryTable
    assert table.rowCount == 6 and table.item(4, 0).text() == f"Note: {told[0]}" == table.item(4, 0).toolTip()
    assert table.columnSpan(4, 0) == 3 and table.columnSpan(3, 0) == 1
    short = display.warning_in(world.views["Red"].composite).split("\n")[1]
    assert short == "Slices 5.0 mm apart lie outside 0.3 to 4 mm (and 1 more)"
    p.grab(tmp_path / "warned.png", 1000)
    p.parameters.model = str(bundle)
    p.ui.explainButton.click()
    p.told()  # what this model may be asked
    p.wait()
    assert p.message() == "" and table.rowCount == 4 and table.columnSpan(4, 0) == 1
    assert "\n" not in display.warning_in(world.views["Red"].composite)


def test_a_ct_without_the_organ_says_so(panel: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slicer.util, "confirmYesNoDisplay", lambda *_a, **_k: True)
    p = panel()
    hu = np.where(small_world.organ(), small_world.BODY_HU, small_world.ct())
    hu[hu > 300] = small_world.BODY_HU
    hu[0, 0, 0] = 50
    p.ui.inputSelector.setCurrentNode(scene_tests.add_volume(p.scene, hu - 600, small_world.MATRIX, "thin air"))
    p.ui.explainButton.click()
    p.wait()
    assert "no pancreas" in p.message() or "found no" in p.message()
    assert p.ui.summaryTable.item(0, 1).text() == "not found"


def test_the_sliders_are_live_and_the_views_linked(panel: Any, world: Any) -> None:
    p = panel()
    ct = add_ct(p.scene)
    p.ui.inputSelector.setCurrentNode(ct)
    p.ui.explainButton.click()
    p.wait()
    node, red = scenes.maps_of(p.scene, ct)["unoise"], world.views["Red"].composite
    p.ui.opacitySlider.value = 33
    assert np.isclose(red.GetForegroundOpacity(), 0.33)
    p.ui.thresholdSlider.value = 50
    assert np.isclose(node.GetDisplayNode().GetLowerThreshold(), display.highest(node) / 2)
    p.ui.shareSlider.value = 20
    hidden = p.scene.GetNodeByID(red.GetLabelVolumeID())
    assert abs((slicer.util.arrayFromVolume(hidden) == 0).mean() - 0.2) < 0.1
    p.ui.shareSlider.value = 100
    assert red.GetLabelVolumeID() is None
    p.ui.sideButton.click()
    assert display.is_side_by_side(p.scene)
    ours = display.composites(p.scene, side_by_side=True)
    assert [c.GetForegroundVolumeID() for c in ours] == [
        None,
        *(n.GetID() for n in scenes.maps_of(p.scene, ct).values()),
    ]
    assert all(c.GetLinkedControl() and c.GetHotLinkedControl() for c in ours)
    p.ui.sideButton.click()
    assert not display.is_side_by_side(p.scene)


def test_a_saved_scene_brings_the_panel_back(panel: Any, tmp_path: Path) -> None:
    p = panel()
    ct = add_ct(p.scene)
    p.ui.inputSelector.setCurrentNode(ct)
    p.tick("unoise")
    p.ui.explainButton.click()
    p.wait()
    p.ui.shareSlider.value, p.field("occlusion", "stride").value = 30, 5
    assert p.scene.WriteToMRB(str(tmp_path / "s.mrb"))
    p.scene.Clear(0)
    assert p.widget._parameters.inputVolume is None and not p.ui.resultsButton.enabled
    assert p.scene.ReadFromMRB(str(tmp_path / "s.mrb"))
    slicer.app.processEvents()
    again = p.widget._parameters
    assert again.inputVolume.GetName() == "CT" and again.share == 30 and again.methods == "unoise"
    assert p.field("occlusion", "stride").value == 5 and not p.widget._boxes["gradcam"].checked
    assert p.ui.shareSlider.value == 30 and p.ui.resultsButton.enabled
    assert list(scenes.maps_of(p.scene, again.inputVolume)) == ["unoise"]


def test_export_from_the_panel(panel: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    p = panel()
    p.ui.inputSelector.setCurrentNode(add_ct(p.scene))
    p.ui.explainButton.click()
    p.wait()
    monkeypatch.setattr(p.widget, "ask_folder", lambda _title: str(tmp_path))
    p.ui.exportButton.click()
    assert (tmp_path / "CT U-Noise" / "importance-unoise.nrrd").is_file() and "Exported" in p.message()


def found(p: Any, name: Any = "CT", methods: Any = ("unoise", "gradcam")) -> Any:
    """A CT with results, without a run."""
    ct = scene_tests.add_ct(p.scene, name=name)
    scenes.place(p.scene, ct, scene_tests.results(methods))
    p.ui.inputSelector.setCurrentNode(ct)
    p.widget._arrived(ct)
    return ct


def test_a_ct_that_is_moved_puts_its_maps_away_at_once(
    panel: Any, world: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody touches the panel: it hears of the change, says so, and brings the maps back when it is undone."""
    p = panel()
    ct, red = found(p), world.views["Red"].composite
    assert red.GetForegroundVolumeID() and p.ui.resultsButton.enabled
    origin = ct.GetOrigin()
    ct.SetOrigin(0, 0, 0)
    assert p.message() == "CT was moved since it was explained - explain it again."
    assert not red.GetForegroundVolumeID() and not p.ui.resultsButton.enabled
    p.widget._say("")
    p.widget.enter()
    assert "CT was moved" in p.message(), "who enters the module is told again"
    ct.SetOrigin(origin)
    assert p.message() == "" and red.GetForegroundVolumeID() and p.ui.resultsButton.enabled
    p.ui.sideButton.click()
    slicer.util.arrayFromVolume(ct)[0] += 1
    slicer.util.arrayFromVolumeModified(ct)
    assert "CT was changed" in p.message() and not display.is_side_by_side(p.scene)


def test_a_transform_over_the_ct_takes_the_maps_along_at_once(panel: Any, world: Any) -> None:
    p = panel()
    ct, red = found(p), world.views["Red"].composite
    ct.SetAndObserveTransformNodeID(scene_tests.translation(p.scene, 30).GetID())
    node = scenes.maps_of(p.scene, ct)["unoise"]
    assert node.GetTransformNodeID() == ct.GetTransformNodeID() and red.GetForegroundVolumeID() == node.GetID()
    assert p.message() == ""
    ct.HardenTransform()
    assert "CT was moved" in p.message() and not red.GetForegroundVolumeID()


def test_nothing_is_exported_of_a_ct_that_was_changed_without_a_word(
    panel: Any, from_dicom: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An array edited in place, which VTK does not hear of: the export looks at every voxel."""
    p = panel()
    ct, _series = from_dicom(p.scene)
    p.ui.inputSelector.setCurrentNode(ct)
    p.ui.explainButton.click()
    p.wait()
    monkeypatch.setattr(p.widget, "ask_folder", lambda _title: str(tmp_path / "out"))
    slicer.util.arrayFromVolume(ct)[1, 2, 3] += 1
    assert p.ui.resultsButton.enabled and p.ui.dicomButton.enabled
    p.ui.dicomButton.click()
    assert "Doe was changed since it was explained" in p.message() and p.widget.logic.run is None
    assert not p.ui.resultsButton.enabled and not (tmp_path / "out").exists()


def test_a_ct_that_is_changed_during_the_run_gets_no_results(panel: Any) -> None:
    p = panel()
    ct = add_ct(p.scene)
    p.ui.inputSelector.setCurrentNode(ct)
    p.ui.explainButton.click()
    slicer.util.arrayFromVolume(ct)[0, 0, 0] += 1
    p.wait()
    assert "CT was changed since it was explained" in p.message() and not scenes.maps_of(p.scene, ct)


def test_a_scene_opens_without_maps_in_the_wrong_place_before_the_panel_does(
    panel: Any, world: Any, bundle: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Moved while the module was closed, saved, and opened in a session that has not entered the module."""
    import offscreen

    p = panel()
    ct = found(p)
    p.widget.cleanup()
    ct.SetOrigin(0, 0, 0)
    assert world.views["Red"].composite.GetForegroundVolumeID(), "nobody looked"
    assert p.scene.WriteToMRB(str(tmp_path / "s.mrb"))
    fresh, said = offscreen.World(), []
    monkeypatch.setattr(slicer.util, "showStatusMessage", lambda text, _duration: said.append(text))
    try:
        fresh.lay_out()
        stand_in.start(fresh)
        module.look_after_scenes()
        assert fresh.scene.ReadFromMRB(str(tmp_path / "s.mrb"))
        assert not fresh.views["Red"].composite.GetForegroundVolumeID()
        assert said == ["CT was moved since it was explained - explain it again."]
        again = Panel(fresh, bundle)
        assert "CT was moved" in again.message() and not again.ui.resultsButton.enabled
        again.widget.cleanup()
    finally:
        fresh.close()


def test_what_a_run_puts_aside_is_told(panel: Any) -> None:
    p = panel()
    ct = add_ct(p.scene)
    p.ui.inputSelector.setCurrentNode(ct)
    p.ui.explainButton.click()
    p.wait()
    assert p.message() == ""
    whole = scenes.maps_of(p.scene, ct)["unoise"]
    p.parameters.region, p.parameters.firstSlice, p.parameters.lastSlice = Region.RANGE, 4, 6
    p.ui.explainButton.click()
    p.wait()
    assert p.message().startswith("Kept in the Data module: ") and whole.GetName() in p.message()
    assert scenes.maps_of(p.scene, ct)["unoise"].GetName() == "CT U-Noise importance, slices 4 to 6"
    assert slicer.util.arrayFromVolume(whole)[7].any(), "as it was"
    scene_tests.paint(scenes.results_of(p.scene, ct)["segmentation"], ct)
    p.ui.explainButton.click()
    p.wait()
    assert p.message() == "Kept in the Data module: CT pancreas by the model, slices 4 to 6 edited."


def test_the_results_are_renamed_as_soon_as_the_ct_is(panel: Any) -> None:
    """Also those of a CT that is not the chosen one."""
    p = panel()
    one, two = found(p, "Doe^Jane"), found(p, "two")
    one.SetName("case 7")
    assert next(iter(scenes.maps_of(p.scene, one).values())).GetName() == "case 7 U-Noise importance"
    names = [p.scene.GetNthNode(k).GetName() or "" for k in range(p.scene.GetNumberOfNodes())]
    assert not any("Doe" in name for name in names) and p.parameters.inputVolume is two


def test_the_users_fusion_returns_when_another_ct_is_chosen(panel: Any, world: Any) -> None:
    p = panel()
    pet, red = scene_tests.add_ct(p.scene, name="PET"), world.views["Red"].composite
    red.SetForegroundVolumeID(pet.GetID())
    red.SetForegroundOpacity(0.35)
    ct = found(p)
    assert red.GetForegroundVolumeID() == scenes.maps_of(p.scene, ct)["unoise"].GetID()
    p.ui.methodBox.setCurrentIndex(p.ui.methodBox.count - 1)
    assert (red.GetForegroundVolumeID(), red.GetForegroundOpacity()) == (pet.GetID(), 0.35)
    p.ui.methodBox.setCurrentIndex(0)
    p.ui.inputSelector.setCurrentNode(pet)
    assert (red.GetForegroundVolumeID(), red.GetForegroundOpacity()) == (pet.GetID(), 0.35)


def shown_beside(p: Any) -> Any:
    """Names of the maps in the side-by-side views, without the view of the CT."""
    beside = display.composites(p.scene, side_by_side=True)[1:]
    nodes = [p.scene.GetNodeByID(c.GetForegroundVolumeID() or "") for c in beside]
    return [node.GetName() if node else None for node in nodes]


def test_no_curtain_outlives_its_map_or_its_ct(panel: Any, world: Any) -> None:
    """Deleted by hand while a share was hidden: a CT behind black that nothing lifts."""
    p = panel()
    red = world.views["Red"].composite

    def curtains() -> int:
        return int(p.scene.GetNumberOfNodesByClass("vtkMRMLLabelMapVolumeNode"))

    ct = found(p)
    p.ui.shareSlider.value = 20
    assert curtains() == 1 and red.GetLabelVolumeID()
    for node in scenes.maps_of(p.scene, ct).values():
        p.scene.RemoveNode(node)
    assert curtains() == 0 and not red.GetLabelVolumeID()
    assert scenes.results_of(p.scene, ct)["segmentation"].GetDisplayNode().GetVisibility2DFill()
    ct = found(p)
    assert curtains() == 1 and red.GetLabelVolumeID()
    p.scene.RemoveNode(ct)
    assert curtains() == 0 and not red.GetLabelVolumeID()


def test_side_by_side_follows_the_ct_and_its_maps(panel: Any) -> None:
    p = panel()
    layout = p.scene.GetFirstNodeByClass("vtkMRMLLayoutNode")
    before = layout.GetViewArrangement()
    one, two = found(p, "one"), found(p, "two")
    plain = scene_tests.add_ct(p.scene, name="plain")
    p.ui.sideButton.click()
    assert shown_beside(p) == ["two U-Noise importance", "two Grad-CAM importance"]
    p.ui.inputSelector.setCurrentNode(one)
    assert shown_beside(p) == ["one U-Noise importance", "one Grad-CAM importance"]
    p.ui.inputSelector.setCurrentNode(plain)
    assert layout.GetViewArrangement() == before and p.parameters.sideBySide
    p.ui.inputSelector.setCurrentNode(two)
    p.scene.RemoveNode(scenes.maps_of(p.scene, two)["unoise"])
    assert shown_beside(p)[:1] == ["two Grad-CAM importance"]
    assert layout.GetLayoutDescription(display.LAYOUT_ID).count("<view ") == 2
    p.scene.Clear(0)
    assert layout.GetViewArrangement() == before, "the views of the next scene are the usual ones"


def test_another_layout_of_slicers_menu_is_left_in_peace(panel: Any) -> None:
    p = panel()
    layout = p.scene.GetFirstNodeByClass("vtkMRMLLayoutNode")
    found(p)
    p.ui.sideButton.click()
    layout.SetViewArrangement(layout.SlicerLayoutFourUpView)
    assert not p.parameters.sideBySide and not p.ui.sideButton.checked
    p.ui.opacitySlider.value = 20
    assert layout.GetViewArrangement() == layout.SlicerLayoutFourUpView


@pytest.mark.parametrize("opened", ["panel", "no panel"])
def test_a_scene_saved_side_by_side_opens_so(panel: Any, bundle: Any, tmp_path: Path, opened: Any) -> None:
    """In another session, where nobody has seen the layout yet: scenes keep its number, not its description."""
    import offscreen

    p = panel()
    found(p)
    p.ui.sideButton.click()
    assert p.scene.WriteToMRB(str(tmp_path / "s.mrb"))
    fresh = offscreen.World()
    try:
        layout = fresh.lay_out()
        stand_in.start(fresh)
        if opened == "panel":
            again = Panel(fresh, bundle)
        else:
            module.register_layout()
        assert fresh.scene.ReadFromMRB(str(tmp_path / "s.mrb"))
        slicer.app.processEvents()
        ours = display.composites(fresh.scene, side_by_side=True)
        maps = scenes.maps_of(fresh.scene, fresh.scene.GetFirstNodeByName("CT"))
        assert layout.GetViewArrangement() == display.LAYOUT_ID and layout.GetCurrentLayoutDescription()
        assert [c.GetForegroundVolumeID() for c in ours[:3]] == [None, *(n.GetID() for n in maps.values())]
        if opened == "panel":
            again.ui.sideButton.click()
            assert layout.GetViewArrangement() != display.LAYOUT_ID
            again.widget.cleanup()
    finally:
        fresh.close()


def test_the_most_important_slice_is_found_by_the_button(panel: Any, world: Any) -> None:
    p = panel()
    ct = found(p)
    place = axial.most_important_point(scenes.maps_of(p.scene, ct)["unoise"], scenes.organ_slices(p.scene, ct))
    assert place is not None
    red = world.views["Red"].node
    red.JumpSliceByOffsetting(0, 0, -300)
    assert abs(red.GetSliceOffset() - place[2]) > 5
    p.ui.jumpButton.click()
    assert abs(red.GetSliceOffset() - place[2]) < 1.3
    for node in scenes.maps_of(p.scene, ct).values():
        slicer.util.arrayFromVolume(node)[:] = 0
    p.ui.jumpButton.click()
    assert "Nothing is important in CT U-Noise importance" in p.message()


def test_the_picture_of_the_views_is_saved(panel: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Slicer's own Screen Capture is a stand-in: what it is asked, and what becomes of its refusal."""
    import types

    asked = []

    def capture_view(view: Any, path: str) -> None:
        Path(path).touch()
        asked.append(view)

    capture = types.SimpleNamespace(captureImageFromView=capture_view)
    fake = types.SimpleNamespace(ScreenCaptureLogic=lambda: capture)
    monkeypatch.setitem(sys.modules, "ScreenCapture", fake)
    p = panel()
    found(p)
    monkeypatch.setattr(p.widget, "ask_picture", lambda: "")
    p.ui.pictureButton.click()
    assert asked == [] and p.message() == ""
    monkeypatch.setattr(p.widget, "ask_picture", lambda: str(tmp_path / "seen.png"))
    p.ui.pictureButton.click()
    assert asked == [None] and f"Saved {tmp_path / 'seen.png'}" in p.message()
    monkeypatch.setattr(p.widget, "ask_picture", lambda: str(tmp_path / "scan 1.5 mm"))
    p.ui.pictureButton.click()
    assert (tmp_path / "scan 1.5 mm.png").is_file(), "it writes no other kinds"
    capture.captureImageFromView = lambda *_a: None  # a folder that cannot be written: it says nothing
    monkeypatch.setattr(p.widget, "ask_picture", lambda: str(tmp_path / "nothing.png"))
    p.ui.pictureButton.click()
    assert "nothing.png was not saved" in p.message() and "choose a folder" in p.message()


def test_a_model_of_ones_own_is_chosen_by_its_folder(
    panel: Any, bundle: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    p = panel()
    p.choose("")
    box, shipped = p.ui.modelBox, next(iter(p.widget.logic.about.models))
    assert box.itemText(box.count - 2) == "Other folder..."
    monkeypatch.setattr(p.widget, "ask_folder", lambda _title: "")
    box.setCurrentIndex(box.findText("Other folder..."))
    assert p.parameters.model == shipped == box.itemData(box.currentIndex), "no folder: as before"
    monkeypatch.setattr(p.widget, "ask_folder", lambda _title: str(bundle))
    box.setCurrentIndex(box.findText("Other folder..."))
    p.told()
    assert p.parameters.model == str(bundle) and box.currentText == "Small test model"
    monkeypatch.setattr(p.widget, "ask_folder", lambda _title: str(tmp_path))
    box.setCurrentIndex(box.findText("Other folder..."))
    p.told()
    assert "is not a model bundle" in p.ui.modelLabel.text and "damaged" in box.currentText
    box.setCurrentIndex(0)
    assert p.parameters.model == shipped and p.ui.modelLabel.text.startswith("Research model")


ANOTHER = """
import sys
if "unoise_engine.worker" in sys.orig_argv:
    from dataclasses import dataclass
    from typing import ClassVar
    import numpy as np
    from unoise_engine.explanation import methods
    from unoise_engine.typed import bounded
    @dataclass(frozen=True)
    class Rings:
        name: ClassVar[str] = "rings"
        title: ClassVar[str] = "Rings"
        about: ClassVar[str] = "how far from the middle"
        unit: ClassVar[str] = "rings"
        needs: ClassVar[str] = ""
        chosen: ClassVar[bool] = False
        radius: int = bounded(3, least=1, most=9, about="of the smallest")
        share: float = 0.5
        soft: bool = False
        def __call__(self, model, x, target, advance):
            advance(len(x))
            return np.full((len(x), *x.shape[2:]), self.radius + self.share + self.soft, np.float32)
    methods.METHODS["rings"] = Rings()
    methods.TITLES["rings"] = "Rings"
"""


def test_a_new_method_appears_by_itself(panel: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that only the engine knows: its box, its parameters, its map and its name."""
    from UNoiseSlicerLib import about

    monkeypatch.setattr(about, "_answers", {})
    (tmp_path / "sitecustomize.py").write_text(ANOTHER)
    p = panel(environment={"PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"})
    ct = add_ct(p.scene)
    p.ui.inputSelector.setCurrentNode(ct)
    assert p.widget._boxes["rings"].text == "Rings" and "how far" in p.widget._boxes["rings"].toolTip
    assert not p.widget._boxes["rings"].checked and p.field("rings", "radius").isHidden()
    p.tick("rings")
    radius, soft = p.field("rings", "radius"), p.field("rings", "soft")
    assert (radius.minimum, radius.maximum, radius.value, radius.toolTip) == (1, 9, 3, "of the smallest")
    radius.value = 5
    soft.setChecked(True)
    p.told()
    p.ui.explainButton.click()
    p.wait()
    (node,) = scenes.maps_of(p.scene, ct).values()
    values = slicer.util.arrayFromVolume(node)
    assert p.message().count("Rings") == p.message().count("same number everywhere") and values.max() == 6.5
    assert node.GetName() == "CT Rings importance" and p.ui.methodBox.itemText(0) == "Rings"


def test_explain_before_the_engine_has_told_goes_on_when_it_has(panel: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from UNoiseSlicerLib import about

    monkeypatch.setattr(about, "_answers", {})
    p = panel()
    p.widget.logic.about = None
    ct = add_ct(p.scene)
    p.ui.inputSelector.setCurrentNode(ct)
    monkeypatch.setattr(about, "_answers", {})
    p.widget._ask(again=True)
    assert p.ui.explainButton.enabled, "nobody has to wait"
    p.ui.explainButton.click()
    assert p.widget.logic.run is None and not p.ui.explainButton.enabled
    p.told()
    assert p.widget.logic.run is not None and not p.widget._waiting
    p.wait()
    assert list(scenes.maps_of(p.scene, ct)) == ["unoise", "gradcam"], "what is slow was not ticked"


def test_an_engine_that_tells_nothing_is_tried_all_the_same(panel: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its own sentence says what is wrong, or there are results: by the methods that it takes by itself."""
    from UNoiseSlicerLib import about

    def fail(self: Any, *_question: Any) -> None:
        self.answer, self.failed, self.step, self.close = None, True, lambda: True, lambda: None

    monkeypatch.setattr(about.Asking, "__init__", fail)
    p = panel()
    ct = add_ct(p.scene)
    p.ui.inputSelector.setCurrentNode(ct)
    assert p.widget._boxes == {} and p.ui.explainButton.enabled
    p.parameters.region, p.parameters.firstSlice, p.parameters.lastSlice = Region.RANGE, 4, 4
    p.ui.explainButton.click()
    p.wait()
    assert p.message() == "" and set(scenes.maps_of(p.scene, ct)) >= {"unoise", "gradcam"}


def test_a_scene_of_an_earlier_version_keeps_its_choices(panel: Any, tmp_path: Path) -> None:
    p = panel()
    node = p.parameters.parameterNode
    node.UnsetParameter("methods")
    old = {"unoise": "True", "gradcam": "False", "occlusion": "True", "patch": "9", "stride": "4", "share": "30.0"}
    for name, value in old.items():
        node.SetParameter(name, value)
    assert p.scene.WriteToMRB(str(tmp_path / "s.mrb"))
    p.scene.Clear(0)
    assert p.scene.ReadFromMRB(str(tmp_path / "s.mrb"))
    slicer.app.processEvents()
    p.told()
    assert [name for name, box in p.widget._boxes.items() if box.checked] == ["unoise", "occlusion"]
    assert (p.field("occlusion", "patch").value, p.field("occlusion", "stride").value) == (9, 4)
    assert p.widget._parameters.share == 30
    p.tick("gradcam")
    p.widget.initializeParameterNode()
    assert [name for name, box in p.widget._boxes.items() if box.checked] == ["gradcam"], "once"


@pytest.mark.parametrize("nonsense", ["", "[]", "{", '{"occlusion": 3}', '{"lime": {"x": 1}, "occlusion": {"x": 1}}'])
def test_parameters_by_anybody_do_no_harm(panel: Any, nonsense: Any) -> None:
    p = panel()
    p.ui.inputSelector.setCurrentNode(add_ct(p.scene))
    p.parameters.methods, p.parameters.methodParameters = "unoise,lime", nonsense
    p.told()
    choices = p.widget._choices(p.parameters)
    assert choices.methods == ("unoise",) and choices.parameters == {}
    assert p.ui.explainButton.enabled


def test_a_device_that_the_engine_lacks_is_not_offered(panel: Any) -> None:
    from UNoiseSlicerLib.parameters import Device

    p = panel()
    box = p.ui.deviceBox.model()
    offered = {device.value for row, device in enumerate(Device) if box.item(row).isEnabled()}
    assert offered == set(p.widget.logic.about.devices) >= {"auto", "cpu"}


def test_the_choices_reach_the_engine(panel: Any, bundle: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from UNoiseSlicerLib import engine_run
    from UNoiseSlicerLib.parameters import Device

    p, asked = panel(), []
    p.ui.inputSelector.setCurrentNode(add_ct(p.scene))

    def refuse(_python: Any, _home: Any, request: dict[str, Any], _environment: Any) -> None:
        asked.append(request)
        raise FileNotFoundError("no such file")

    monkeypatch.setattr(engine_run, "Engine", refuse)
    p.tick("gradcam", "occlusion")
    p.field("occlusion", "patch").value, p.field("occlusion", "stride").value = 9, 4
    p.told()
    p.ui.deviceBox.setCurrentIndex(list(Device).index(Device.CUDA))
    p.ui.regionBox.setCurrentIndex(list(Region).index(Region.RANGE))
    p.ui.firstBox.value, p.ui.lastBox.value = 3, 7
    p.ui.explainButton.click()
    options = asked[0]["explain"]["options"]
    parameters = {"occlusion": {"patch": 9, "stride": 4}}
    assert options["explanation"] == {"methods": ["gradcam", "occlusion"], "slices": [2, 7],
                                      "focus": False, "parameters": parameters}  # fmt: skip
    assert options["model"] == {"bundle": str(bundle), "device": "cuda", "label": ""} and options["reading"] == {
        "trust_hu": False
    }
    explain = question_from(json.dumps(asked[0]).encode()).explain
    assert explain is not None and explain.options.explanation.chosen["occlusion"] == Occlusion(patch=9, stride=4)
    assert "The engine cannot be started (no such file) - install" in p.message() and p.widget.logic.run is None
    assert not Path(asked[0]["explain"]["inputs"][0]).parent.exists() and p.ui.explainButton.text == "Explain"


def test_slicers_own_python_is_looked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from UNoiseSlicerLib.engine_run import interpreter

    home = tmp_path / "Slicer"
    slicer.app.slicerHome = str(home)
    monkeypatch.setenv("PATH", str(tmp_path))
    with scene_tests.refused("PythonSlicer is missing", str(home)):
        interpreter(None, None)
    (home / "bin").mkdir(parents=True)
    (home / "bin" / "PythonSlicer").touch(0o755)
    monkeypatch.setattr(slicer.util, "startupEnvironment", lambda: {"A": "1"})
    assert interpreter(None, None) == (str(home / "bin" / "PythonSlicer"), {"A": "1"})


class Scripted:
    """An engine that says these lines, one a step."""

    pid, ended = 0, False

    def __init__(self, *lines: Any) -> None:
        self.lines = list(lines)

    def poll(self) -> Any:
        return [self.lines.pop(0)] if self.lines else []

    def kill(self) -> None:
        pass


def test_the_bar_shows_stage_and_time_left(panel: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Over the whole run, each stage alike, never backwards; the lines are those that the engine prints."""
    from UNoiseSlicerLib import engine_run

    def line(stage: str, done: int, left: float) -> dict[str, Any]:
        what = {"event": "progress", "case": "ct", "stage": stage, "done": done, "total": 4}
        return {**what, "seconds_left": left}

    lines = [line("segmentation", 2, 3.2), line("unoise", 1, 75), line("unoise", 4, 0), line("gradcam", 2, 240)]
    p = panel()
    p.ui.inputSelector.setCurrentNode(add_ct(p.scene))
    monkeypatch.setattr(engine_run, "Engine", lambda *_a: Scripted(*lines))
    p.ui.explainButton.click()
    p.widget._timer.stop()
    assert p.ui.stageLabel.text == "Starting the engine" and p.ui.progressBar.value == 0
    said = []
    for _line in lines:
        p.widget._on_tick()
        said.append((p.ui.stageLabel.text, p.ui.progressBar.value))
    assert said == [("Segmentation, 3 s left", 167), ("U-Noise, 75 s left", 417), ("U-Noise, 1 s left", 667),
                    ("Grad-CAM, 4 min left", 833)]  # fmt: skip
    assert not p.ui.progressBar.isHidden() and p.ui.progressBar.maximum == 1000
    p.ui.explainButton.click()
    assert p.ui.progressBar.isHidden() and p.ui.stageLabel.isHidden()


class Database:
    """Slicer's DICOM database, as far as the panel asks it: which file holds an instance?"""

    def __init__(self, files: Any) -> None:
        self.files = files

    def fileForInstance(self, uid: Any) -> Any:
        return str(self.files.get(uid, ""))


@pytest.fixture
def from_dicom(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Adds a CT to a scene as Slicer's DICOM reader does; returns the node and the folder of its series."""
    pydicom = pytest.importorskip("pydicom")
    pytest.importorskip("highdicom", reason="the extra 'dicom' is not installed")
    from Testing.engine.dicom.series import write_series

    def add(scene: Any, **series: Any) -> Any:
        folder = write_series(tmp_path / "series", bright=small_world.ORGAN_HU, **series)
        headers = {path: pydicom.dcmread(path) for path in folder.iterdir()}
        files = sorted(headers, key=lambda path: float(headers[path].ImagePositionPatient[2]))
        first, last = headers[files[0]], headers[files[-1]]
        step = np.subtract(last.ImagePositionPatient, first.ImagePositionPatient) / (len(files) - 1)
        lps = np.eye(4)
        cosines = np.reshape([float(v) for v in first.ImageOrientationPatient], (2, 3))
        lps[:3, :3] = np.column_stack([*(cosines * float(first.PixelSpacing[0])), step])
        lps[:3, 3] = [float(v) for v in first.ImagePositionPatient]
        hu = np.stack([headers[path].pixel_array for path in files])
        ct = scene_tests.add_volume(scene, hu, np.diag([-1, -1, 1, 1]) @ lps, "Doe")
        ct.SetAttribute("DICOM.instanceUIDs", " ".join(str(headers[path].SOPInstanceUID) for path in files))
        database = Database({str(headers[path].SOPInstanceUID): path for path in files})
        monkeypatch.setattr(slicer, "dicomDatabase", database, raising=False)
        return ct, folder

    return add


def test_dicom_export_gives_the_objects_of_the_engine(
    panel: Any, from_dicom: Any, bundle: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Byte for byte what `unoise_engine explain SERIES --format dicom` writes, though nothing is computed again."""
    import subprocess

    p = panel()
    ct, series = from_dicom(p.scene)
    p.ui.inputSelector.setCurrentNode(ct)
    p.ui.explainButton.click()
    p.wait()
    assert p.ui.dicomButton.enabled and "DICOM objects" in p.ui.dicomButton.toolTip
    before = ids(p.scene)
    monkeypatch.setattr(p.widget, "ask_folder", lambda _title: str(tmp_path / "out"))
    p.ui.dicomButton.click()
    assert p.ui.explainButton.text == "Cancel" and not p.ui.resultsButton.enabled
    stages = set()
    p.wait(until=lambda: stages.add(p.ui.stageLabel.text.split(",")[0]))
    assert "Writing DICOM" in stages and max(p.widths) < 3.0, "the window froze"
    assert "DICOM objects to" in p.message() and ids(p.scene) == before
    found = {path.name: path.read_bytes() for path in (tmp_path / "out" / "Doe U-Noise DICOM").glob("*.dcm")}
    command = [sys.executable, "-m", "unoise_engine", "explain", str(series), "-o", str(tmp_path / "engine")]
    options = ["--format", "dicom", "--methods", "unoise,gradcam", "--bundle", str(bundle)]
    subprocess.run([*command, *options], cwd=ROOT, check=True, capture_output=True)
    wanted = {path.name: path.read_bytes() for path in (tmp_path / "engine" / "case-0001").glob("*.dcm")}
    assert len(found) > 3 and found == wanted


def test_dicom_export_of_a_tilted_gantry_and_its_cancel(
    panel: Any, from_dicom: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Slicer keeps such slices as taken, on sheared axes; so do the objects."""
    pydicom = pytest.importorskip("pydicom")

    def tilt(ds: Any) -> None:
        x, y, z = ds.ImagePositionPatient
        ds.ImagePositionPatient = [x, y + 0.2 * (z - 10), z]

    p = panel()
    ct, _series = from_dicom(p.scene, edit=tilt)
    p.ui.inputSelector.setCurrentNode(ct)
    p.ui.explainButton.click()
    p.wait()
    monkeypatch.setattr(p.widget, "ask_folder", lambda _title: str(tmp_path / "out"))
    p.ui.dicomButton.click()
    run = p.widget.logic.run
    p.ui.explainButton.click()
    assert gone(run.pid) and not run._folder.exists() and not (tmp_path / "out" / "Doe U-Noise DICOM").exists()
    p.ui.dicomButton.click()
    p.wait()
    found = pydicom.dcmread(tmp_path / "out" / "Doe U-Noise DICOM" / "importance-unoise.dcm")
    shape = slicer.util.arrayFromVolume(ct).shape
    stored = np.frombuffer(found.FloatPixelData, np.float32).reshape(shape)
    node = scenes.maps_of(p.scene, ct)["unoise"]
    shown, scale = slicer.util.arrayFromVolume(node), Scale.of_node(node)
    assert scale.most is not None and scale.unit == "HU"
    assert np.allclose(shown, scale.most / (1 + np.exp(-stored.astype(float)))) and np.ptp(stored) > 0.5
    assert np.array_equal(stored, scale.written(shown)), "to the last bit"


def test_dicom_export_of_a_multi_frame_ct(
    panel: Any, from_dicom: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Enhanced CT: one file, whose frames lie in no order; each frame of the result names the one it lies on."""
    pydicom = pytest.importorskip("pydicom")
    from Testing.engine.dicom.series import write_enhanced

    p = panel()
    ct, series = from_dicom(p.scene)
    places = write_enhanced(tmp_path / "enhanced", series)
    uid = str(pydicom.dcmread(places[0][0], stop_before_pixels=True).SOPInstanceUID)
    ct.SetAttribute("DICOM.instanceUIDs", uid)
    monkeypatch.setattr(slicer, "dicomDatabase", Database({uid: places[0][0]}), raising=False)
    p.ui.inputSelector.setCurrentNode(ct)
    p.ui.explainButton.click()
    p.wait()
    monkeypatch.setattr(p.widget, "ask_folder", lambda _title: str(tmp_path / "out"))
    p.ui.dicomButton.click()
    p.wait()
    assert "DICOM objects to" in p.message()
    found = pydicom.dcmread(tmp_path / "out" / "Doe U-Noise DICOM" / "importance-unoise.dcm")
    sources = [f.DerivationImageSequence[0].SourceImageSequence[0] for f in found.PerFrameFunctionalGroupsSequence]
    assert [int(s.ReferencedFrameNumber) for s in sources] == [frame for _file, frame in places]


def test_why_there_is_no_dicom_export(
    panel: Any, from_dicom: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    p = panel()
    plain = add_ct(p.scene)
    ct, series = from_dicom(p.scene)
    monkeypatch.setattr(p.widget, "ask_folder", lambda _title: str(tmp_path / "out"))
    for node in (plain, ct):
        p.ui.inputSelector.setCurrentNode(node)
        p.ui.explainButton.click()
        p.wait()
    p.ui.inputSelector.setCurrentNode(plain)
    assert not p.ui.dicomButton.enabled and "CT was not loaded from DICOM" in p.ui.dicomButton.toolTip
    p.ui.inputSelector.setCurrentNode(ct)
    assert p.ui.dicomButton.enabled
    with monkeypatch.context() as without:
        without.setattr("importlib.util.find_spec", lambda _name: None)
        p.widget._update_buttons()
        assert not p.ui.dicomButton.enabled and "pip_install" in p.ui.dicomButton.toolTip
    p.widget._update_buttons()
    from_dicom(slicer.vtkMRMLScene(), slices=6, ImagePositionPatient=[0, 0, 0])  # the files change their place
    p.ui.dicomButton.click()
    p.wait()
    assert "does not lie on the slices of its DICOM files" in p.message() and "--format" not in p.message()
    uids = ct.GetAttribute("DICOM.instanceUIDs")
    ct.SetAttribute("DICOM.instanceUIDs", uids.split()[0])
    p.ui.dicomButton.click()
    p.wait()
    assert "does not lie on the slices of its DICOM files" in p.message()
    ct.SetAttribute("DICOM.instanceUIDs", uids)
    (series / "001.dcm").unlink()
    p.ui.dicomButton.click()
    assert "1 of the 6 DICOM files of Doe" in p.message() and p.widget.logic.run is None
    assert not any((tmp_path / "out").rglob("*"))


def test_without_a_main_window(panel: Any) -> None:
    p = panel(main_window=False)
    ct = add_ct(p.scene)
    p.ui.inputSelector.setCurrentNode(ct)
    p.ui.explainButton.click()
    p.wait()
    assert p.message() == "" and scenes.maps_of(p.scene, ct)
    p.ui.pictureButton.click()
    assert "main window" in p.message()


def test_results_that_are_deleted_by_hand_leave_the_panel(panel: Any) -> None:
    p = panel()
    ct = add_ct(p.scene)
    p.ui.inputSelector.setCurrentNode(ct)
    p.ui.explainButton.click()
    p.wait()
    for node in list(scenes.results_of(p.scene, ct).values()):
        p.scene.RemoveNode(node)
    assert not p.ui.resultsButton.enabled and p.ui.methodBox.count == 0


def test_each_ct_keeps_its_own_results(panel: Any, world: Any) -> None:
    p = panel()
    one, two = add_ct(p.scene, "one"), add_ct(p.scene, "two")
    p.ui.inputSelector.setCurrentNode(two)
    p.ui.explainButton.click()
    p.wait()
    assert scenes.maps_of(p.scene, two) and not scenes.maps_of(p.scene, one)
    p.ui.inputSelector.setCurrentNode(one)
    assert not p.ui.resultsButton.enabled and p.ui.summaryTable.rowCount == 0
    p.ui.inputSelector.setCurrentNode(two)
    assert p.ui.resultsButton.enabled and p.ui.summaryTable.rowCount == 4
    shown = world.views["Red"].composite
    assert shown.GetForegroundVolumeID() == scenes.maps_of(p.scene, two)["unoise"].GetID()


GEOMETRIES = {
    "oblique": scene_tests.OBLIQUE @ np.diag([2.5, 2.9, 2, 1]),
    "sheared": np.array([[-2, 0.3, 0.2, 100], [0.2, -2, 0.4, 120], [0, 0, 5, -300], [0, 0, 0, 1.0]]),
    "turned": np.array([[0, 0, 2.0, 1], [2.2, 0, 0, 2], [0, -2.1, 0, 3], [0, 0, 0, 1.0]]),
    "rounded": np.array([[-2, 0.0002, 0, 100], [0, -2, 0.0004, 120], [0, 0, 5, -300], [0, 0, 0, 1.0]]),
    "anisotropic": np.diag([-1.2, -2.4, 4.0, 1.0]),
}


@pytest.mark.parametrize("name", GEOMETRIES)
def test_every_geometry_comes_back_in_place(world: Any, bundle: Any, name: Any) -> None:
    """Through the real engine, under a transform, in float: the segmentation lies on the organ, the map over it."""
    stand_in.start(world, main_window=False)
    logic = logics.UNoiseSlicerLogic(sys.executable)
    ct = scene_tests.add_volume(world.scene, small_world.ct(dtype=np.float32), GEOMETRIES[name], name)
    ct.SetAndObserveTransformNodeID(scene_tests.translation(world.scene, 50).GetID())
    run = logic.explain(ct, logics.Choices(str(bundle), ("unoise",)))
    while not run.step():
        time.sleep(0.02)
    organ = small_world.organ()
    found = scene_tests.segment_on(ct, run.results["segmentation"]) > 0
    assert 2 * (found & organ).sum() / (found.sum() + organ.sum()) > 0.7
    values = slicer.util.arrayFromVolume(run.results["importance-unoise"])
    assert values[organ].mean() > values[~organ].mean() + 0.3


def test_the_ct_is_removed_during_the_run(panel: Any) -> None:
    p = panel()
    ct = add_ct(p.scene)
    p.ui.inputSelector.setCurrentNode(ct)
    p.ui.explainButton.click()
    p.scene.RemoveNode(ct)
    p.wait()
    assert "removed from the scene" in p.message() and not p.ui.resultsButton.enabled


def test_the_logic_works_without_a_panel(world: Any, bundle: Any) -> None:
    stand_in.start(world, main_window=False)
    logic = logics.UNoiseSlicerLogic(sys.executable)
    ct = add_ct(world.scene, dtype=np.float32)
    run = logic.explain(ct, logics.Choices(str(bundle), ("gradcam",)))
    with pytest.raises(exchange.Refused, match="at work already"):
        logic.explain(ct, logics.Choices(str(bundle), ("gradcam",)))
    while not run.step():
        time.sleep(0.02)
    assert set(run.seconds) == {"write", "start", "compute", "load"} and set(run.results) >= {"importance-gradcam"}
    assert logic.run is None and not run._folder.exists()


@pytest.mark.skipif(not stand_in.SLICER_SOURCE, reason="SLICER_SOURCE is not set: the wrapper here is a stand-in")
def test_the_wrapper_is_slicers_own() -> None:
    import slicer.parameterNodeWrapper

    assert stand_in.SLICER_SOURCE in slicer.parameterNodeWrapper.__file__


def test_the_module_describes_itself_and_brings_its_sample(world: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    import types

    stand_in.start(world)
    parent = types.SimpleNamespace(path=module.__file__)
    module.UNoiseSlicer(parent)
    assert parent.title == "U-Noise" and parent.categories == ["Segmentation"]
    assert "not for clinical use" in parent.helpText and module.DOCUMENTATION in parent.helpText
    assert (ROOT / module.DOCUMENTATION.split("/main/", 1)[1]).is_file()
    registered: dict[str, Any] = {}
    logic = types.SimpleNamespace(registerCustomSampleDataSource=lambda **facts: registered.update(facts))
    monkeypatch.setitem(sys.modules, "SampleData", types.SimpleNamespace(SampleDataLogic=logic))
    module.register_sample_data()  # by a Slicer that knows no categories of others
    logic.registerCustomSampleDataCategory = lambda name, title: registered.update(titled=(name, title))
    module.register_sample_data()
    assert registered["titled"] == (registered["category"], "U-Noise")
    assert Path(registered["thumbnailFileName"]).is_file() and Path(module.SAMPLE).stat().st_size < 2_000_000
    node = slicer.vtkMRMLScalarVolumeNode()
    storage = slicer.vtkMRMLNRRDStorageNode()
    storage.SetFileName(module.SAMPLE)
    assert storage.ReadData(node)
    exchange.check_input(world.scene.AddNode(node))
    assert exchange.doubt(node) == ""


def test_the_tests_inside_slicer_are_these(world: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """UNoiseSlicerTest runs every scene test on slicer.mrmlScene."""
    stand_in.start(world)
    ran: list[Any] = []
    monkeypatch.setattr(scene_tests, "ALL", {"one": ran.append, "two": ran.append})
    module.UNoiseSlicerTest().runTest()
    assert ran == [world.scene, world.scene]


SESSION = """
import sys, time
sys.path[:0] = {paths!r}
import conftest, offscreen, small_world, stand_in
from pathlib import Path
stand_in.install(Path({root!r}) / "UNoiseSlicer")
from UNoiseSlicerLib import logic as logics, scene_tests
world = offscreen.World()
stand_in.start(world, main_window=False)
ct = scene_tests.add_volume(world.scene, small_world.ct(), small_world.MATRIX, "Doe")
run = logics.UNoiseSlicerLogic(sys.executable).explain(
    ct, logics.Choices({bundle!r}, ("occlusion",), parameters={{"occlusion": {{"patch": 3, "stride": 1}}}})
)
while run.state.stage != "occlusion":  # nobody has asked the engine for its title
    run.step()
    time.sleep(0.02)
print(run.pid, run._folder, flush=True)
time.sleep(100)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="not tried on Windows")
def test_the_ct_of_a_slicer_that_was_killed_is_removed_at_the_next_start(
    world: Any, bundle: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A real session, killed in the middle of a real run: the engine ends by itself, the next logic removes the CT."""
    import signal
    import subprocess
    import tempfile

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    code = SESSION.format(paths=[str(Path(__file__).parent), str(ROOT)], root=str(ROOT), bundle=str(bundle))
    session = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True,
                               env=os.environ | {"TMPDIR": str(tmp_path)})  # fmt: skip
    assert session.stdout is not None
    pid, folder = next(line for line in session.stdout if str(tmp_path) in line).split()
    session.send_signal(signal.SIGKILL)
    session.wait()
    session.stdout.close()
    assert (Path(folder) / "ct.nrrd").is_file()
    stand_in.start(world, main_window=False)
    logics.UNoiseSlicerLogic(sys.executable)
    assert not Path(folder).exists()
    end = time.monotonic() + 20
    while not gone(int(pid)) and time.monotonic() < end:
        time.sleep(0.1)
    assert gone(int(pid)), "the engine runs on"


def test_values_under_the_mouse_are_told(panel: Any, world: Any) -> None:
    """As Slicer's Data Probe does: the crosshair node says where the mouse is."""
    crosshair = slicer.vtkMRMLCrosshairNode()
    crosshair.SetSingletonTag("default")
    crosshair = world.scene.AddNode(crosshair)
    p = panel()
    ct = add_ct(p.scene)
    p.ui.inputSelector.setCurrentNode(ct)
    p.ui.explainButton.click()
    p.wait()
    crosshair.SetCursorPositionRAS(tuple((small_world.MATRIX @ (50, 26, 4, 1))[:3]))
    lines = p.ui.cursorLabel.text.split("\n")
    hu = slicer.util.arrayFromVolume(ct)[4, 26, 50]
    assert lines[0].endswith(f": {hu} HU") and [line.split(":")[0] for line in lines[1:]] == ["U-Noise", "Grad-CAM"]
    assert " HU of noise, above " in lines[1] and " a.u., above " in lines[2] and lines[1].endswith("% of the voxels")
    crosshair.SetCursorPositionRAS((900.0, 0.0, 0.0))
    assert p.ui.cursorLabel.text == ""
    p.widget.exit()
    assert world.views["Red"].composite.GetForegroundVolumeID(), "where nothing was, the map stays"


def test_the_report_is_saved_with_one_click(panel: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    p = panel()
    p.ui.inputSelector.setCurrentNode(add_ct(p.scene))
    p.ui.explainButton.click()
    p.wait()
    monkeypatch.setattr(p.widget, "ask_report", lambda: "")
    p.ui.reportButton.click()
    assert p.message() == "" and not list(tmp_path.iterdir())
    monkeypatch.setattr(p.widget, "ask_report", lambda: str(tmp_path / "page"))
    p.ui.reportButton.click()
    text = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert p.message() == f"Saved {tmp_path / 'page.html'}" and text.count("data:image/png;base64") == 4
    assert "Small test model" in text and "U-Noise, axial slice" in text and "Not for clinical use" in text
