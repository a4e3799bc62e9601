"""A folder of CTs from the panel, by a real engine."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip(
    "slicer.slicer_core", reason="slicer-core cannot be loaded: make test-slicer installs it", exc_type=ImportError
)

import SimpleITK as sitk
import small_world
from test_widget import bundle, panel  # noqa: F401  fixtures


@pytest.fixture
def cohort(tmp_path: Path) -> Path:
    home = tmp_path / "cts"
    home.mkdir()
    for name in ("one", "two"):
        sitk.WriteImage(sitk.GetImageFromArray(small_world.ct()), str(home / f"{name}.nii.gz"))
    (home / "three.nii.gz").write_bytes(b"no image at all")
    return home


def begin(p: Any, source: Path, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    answers = iter((str(source), str(out)))
    monkeypatch.setattr(p.widget, "ask_folder", lambda _title: next(answers))
    p.ui.folderButton.click()


def test_a_folder_is_explained_and_goes_on_where_it_was_stopped(
    panel: Any,  # noqa: F811
    cohort: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    p, out = panel(), tmp_path / "out"
    begin(p, cohort, out, monkeypatch)
    assert p.ui.explainButton.text == "Cancel" and not p.ui.batchButton.enabled
    p.wait()
    assert p.message().startswith("2 explained, 1 refused: ") and p.message().endswith("summary.html"), p.message()
    reports = sorted(out.glob("*/report.json"))
    assert len(reports) == 2 and json.loads(reports[0].read_text())["organ"]["found"]
    assert "three" in p.ui.logText.plainText or "no image" in p.ui.logText.plainText, p.ui.logText.plainText
    assert p.scene.GetNumberOfNodesByClass("vtkMRMLSegmentationNode") == 0, "nothing of it is in the scene"
    before = [path.stat().st_mtime_ns for path in reports]
    begin(p, cohort, out, monkeypatch)
    p.wait()
    assert p.message().startswith("2 explained, 1 refused: ") and [r.stat().st_mtime_ns for r in reports] == before


def test_a_cancelled_batch_leaves_what_is_finished(
    panel: Any,  # noqa: F811
    cohort: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    p, out = panel(), tmp_path / "out"
    begin(p, cohort, out, monkeypatch)
    p.ui.explainButton.click()
    p.wait()
    assert p.widget.logic.run is None and p.ui.explainButton.text == "Explain" and p.ui.batchButton.enabled
    begin(p, cohort, out, monkeypatch)
    p.wait()
    assert p.message().startswith("2 explained, 1 refused: "), p.message()


def test_a_folder_without_cts_or_results_within_the_cts_say_so(
    panel: Any,  # noqa: F811
    cohort: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    p = panel()
    (tmp_path / "empty").mkdir()
    for source, out, words in (
        (tmp_path / "empty", tmp_path / "out", "no "),
        (cohort, cohort / "out", "nothing is written"),
    ):
        begin(p, source, out, monkeypatch)
        p.wait()
        assert words in p.message() and p.widget.logic.run is None, p.message()
