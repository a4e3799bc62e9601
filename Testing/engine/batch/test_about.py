"""What the engine has to offer: one answer for the command line and for the panel."""

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from unoise_engine.batch.about import About, _block, about, models
from unoise_engine.errors import Usage
from unoise_engine.explanation.methods import METHODS
from unoise_engine.models.bundles import DEFAULT_BUNDLE
from unoise_engine.models.preparation import Preparation, Step, Window
from unoise_engine.models.recipe import Recipe
from unoise_engine.results.account import REPORT_VERSION


@pytest.fixture
def home(tmp_path: Path, tiny_bundle: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The user's own collection: a bundle named before the default, and a damaged one before that."""
    monkeypatch.setenv("UNOISE_MODELS", str(tmp_path / "models"))
    shutil.copytree(tiny_bundle, tmp_path / "models" / "another")
    (tmp_path / "models" / "a-damaged-one").mkdir()
    (tmp_path / "models" / "a-damaged-one" / "bundle.json").write_text("{")
    return tmp_path / "models"


def test_every_model_is_told_the_default_first_and_damage_hides_none(home: Any) -> None:
    found = [*models()]
    assert found[0]["name"] == DEFAULT_BUNDLE and found[0]["default"] and not any(one["default"] for one in found[1:])
    by_name = {one["name"]: one for one in found}
    tiny = by_name["another"]
    assert tiny["usual"] == ["unoise", "gradcam"] and found[0]["usual"] == ["unoise-near", "gradcam"]
    assert tiny["title"] == "Test net" and tiny["labels"] == ["bright"] and tiny["folder"] == str(home / "another")
    assert tiny["warning"].startswith("Demonstration") and tiny["licence"] == "Apache-2.0" and "error" not in tiny
    error = by_name["a-damaged-one"]["error"]
    assert error["code"] == "Integrity" and error["source"].endswith("bundle.json") and error["cure"]


def test_a_folder_elsewhere_is_told_when_asked_for(tiny_bundle: Any, tmp_path: Path) -> None:
    *_, good, bad = models((tiny_bundle, tmp_path))
    assert good["name"] == good["folder"] == str(tiny_bundle) and good["title"] == "Test net"
    assert bad["folder"] == str(tmp_path) and "is not a model bundle" in bad["error"]["what"]


def test_a_model_that_cannot_be_read_is_told_with_its_error(home: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(folder: Path) -> Any:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("unoise_engine.batch.about.read_manifest", refused)
    found = {one["name"]: one for one in models()}
    assert {"another", "a-damaged-one"} < {*found} and found["another"]["title"] == "another"
    assert all("cannot be read (Permission denied)" in one["error"]["what"] for one in found.values())


def test_blocks_alone_have_a_window_and_its_spacing() -> None:
    steps = (Step("resample"),)
    blocks = Preparation("SPL", 3, (3.0, 1.5, 1.5), steps, window=Window((8, 16, 16), 0.5))
    assert _block(blocks) == {"spacing_mm": [3.0, 1.5, 1.5], "window": [8, 16, 16], "step": 0.5}
    assert _block(Preparation("SPL", 2)) == _block(Recipe()) == {}


def test_methods_say_what_they_are_and_cost() -> None:
    told = {one["name"]: one for one in about(About())["methods"]}
    assert list(told) == list(METHODS) and all(one["title"] and one["description"] for one in told.values())
    assert told["unoise"]["passes"] == 1 and told["occlusion"]["passes"] == (256 // 8) ** 2
    parameters = {one["name"]: one for one in told["occlusion"]["parameters"]}
    assert parameters["patch"]["default"] == 15 and "grey square" in parameters["patch"]["about"]
    assert (parameters["stride"]["default"], told["unoise"]["parameters"]) == (0, [])


def test_the_bounds_that_are_told_are_those_that_hold() -> None:
    """A panel may offer all of a range, and nothing beyond it is worth offering."""
    seen = 0
    for one in about(About())["methods"]:
        for parameter in one["parameters"]:
            method: Any = METHODS[one["name"]]
            step = 1 if isinstance(parameter["default"], int) else 0.01
            for end, beyond in ((parameter["least"], -step), (parameter["most"], step)):
                if end is not None:
                    seen += 1
                    replace(method, **{parameter["name"]: end})
                    with pytest.raises(Usage):
                        replace(method, **{parameter["name"]: end + beyond})
    assert seen >= 7


def test_the_worker_answers_where_nothing_is_installed_yet(home: Any) -> None:
    """As in a fresh Slicer: neither onnxruntime nor protobuf."""
    absent = ("onnxruntime", "google", "typer", "rich", "matplotlib", "highdicom")
    code = f"import sys; sys.modules.update(dict.fromkeys({absent})); from unoise_engine.worker import main; main()"
    done = subprocess.run([sys.executable, "-c", code], input='{"about": {}}', capture_output=True, text=True)
    (event,) = map(json.loads, done.stdout.splitlines())
    assert event["event"] == "about" and event["report_version"] == REPORT_VERSION and done.stderr == ""
    assert event["devices"] == ["auto", "cpu"] and "dicom" in event["formats"]
    assert [one["name"] for one in event["models"] if "error" in one] == ["a-damaged-one"]


def test_the_command_line_lists_the_same(home: Any) -> None:
    engine = [sys.executable, "-m", "unoise_engine"]
    done = subprocess.run([*engine, "bundle", "list"], capture_output=True, text=True)
    assert [line.split()[0] for line in done.stdout.splitlines()] == [DEFAULT_BUNDLE, "another"]
    assert done.returncode == 4 and "a-damaged-one" in done.stderr
    done = subprocess.run([*engine, "methods"], capture_output=True, text=True)
    assert "Grad-CAM" in done.stdout and "--set occlusion.patch=15" in done.stdout
