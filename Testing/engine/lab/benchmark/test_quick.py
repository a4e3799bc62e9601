"""The quick run from start to end, with the model that ships."""

import csv
import json
import re
from pathlib import Path
from typing import Any

import pytest

from Testing.engine.evaluate.test_imported import RECIPES, write_world
from Testing.engine.models.foreign_net import write_caused
from unoise_engine.errors import MissingExtra, Usage
from unoise_engine.lab.benchmark.command import Request, run
from unoise_engine.lab.benchmark.contest import OURS
from unoise_engine.lab.benchmark.occluding import DEFAULT, EXACT, FULL, LOOP
from unoise_engine.lab.benchmark.passes import AUTOGRAD, EAGER, GRADCAM, SEGMENTATION, UNOISE
from unoise_engine.lab.benchmark.rivals import PLAIN


def rows_of(out: Any) -> Any:
    with (out / "benchmark.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.mark.slow
def test_from_start_to_end(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    assert run(Request(tmp_path, quick=True, paper=True, repeats=1, threads=1, command="the command"))
    rows = rows_of(tmp_path)
    told = {(row["what"], row["by"]): row for row in rows if row["model"] == "pancreas-ct"}
    assert set(told) >= {
        *((what, by) for what in (SEGMENTATION, UNOISE) for by in (OURS, EAGER, PLAIN)),
        (GRADCAM, OURS), (GRADCAM, AUTOGRAD), (EXACT, OURS), (EXACT, FULL), (EXACT, LOOP), (DEFAULT, OURS),
    }  # fmt: skip
    assert {row["model"] for row in rows} == {"pancreas-ct", "paper, but small"}
    assert all(row["agrees"] == "True" and float(row["seconds"]) > 0 for row in rows)
    assert float(told[EXACT, OURS]["standard_error"]) > 0
    checked = [row for row in rows if row["apart"]]
    assert len(checked) > 10 and max(float(row["apart"]) for row in checked) < 1e-3
    page = (tmp_path / "benchmark.md").read_text("utf-8")
    for part in ("the command", "Floors", "Growth", "A whole CT", "Where the time goes", "256 x 256 x 20"):
        assert part in page
    machine = json.loads((tmp_path / "machine.json").read_text("utf-8"))
    assert machine["onnxruntime"] and "GiB" in machine["memory"]
    assert not re.search(r"/home|/root|/tmp|\\\\", page + json.dumps(machine))
    assert [p.name for p in tmp_path.glob(".*")] == [".unoise.sha256"]


def test_without_torch_it_says_what_is_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """And whoever answers otherwise is named, and the command fails."""
    from unoise_engine.lab.benchmark import command, growth, occluding

    monkeypatch.setattr("unoise_engine.lab.benchmark.rivals.find_spec", lambda name: None)
    with pytest.raises(MissingExtra, match="torch"):
        run(Request(tmp_path, quick=True, paper=True))
    monkeypatch.setattr(command, "growth", lambda *a: [growth.Point("size", 1, 8, 1, 0.1, 0.1)])
    monkeypatch.setattr(command, "_whole", lambda *a: None)
    monkeypatch.setattr(occluding, "occluded_items", lambda image, places, *_: image[None].repeat(len(places), 0))
    assert not run(Request(tmp_path, quick=True, peers=True, repeats=1, threads=1))
    rows = {(row["what"], row["by"]): row for row in rows_of(tmp_path)}
    assert rows[EXACT, OURS]["agrees"] == "False" and not rows[EXACT, OURS]["seconds"]
    assert rows[SEGMENTATION, OURS]["agrees"] == "True"
    page = (tmp_path / "benchmark.md").read_text("utf-8")
    assert "**DISAGREEMENT**: pancreas-ct, occlusion 15/2" in page
    absent = ("torch eager", *(f"{name} (extra bench)" for name in ("captum", "monai", "openvino")), "torchvision")
    assert all(name in page for name in absent)


@pytest.mark.parametrize("rank", [2, 3])
def test_an_imported_model(rank: int, tmp_path: Path) -> None:
    """One window on what it finds in the CT, by what it can answer; what needs nets that are ours is named."""
    bundle = write_caused(tmp_path / "model", RECIPES[rank])
    ct = write_world(tmp_path / "world", 1) / "set" / "case-0-ct.nii.gz"
    asked = Request(tmp_path / "out", str(bundle), peers=True, quick=True, repeats=1, ct=ct, threads=1, label="target")
    assert run(asked)
    rows = {(row["what"], row["by"]): row for row in rows_of(asked.out)}
    others = ("Input gradient", "Occlusion by structure")
    assert {what for what, _ in rows} == {
        SEGMENTATION, GRADCAM, EXACT, DEFAULT, *(f"{name}, its forward pass included" for name in others),
    }  # fmt: skip
    assert {by for _, by in rows} == {OURS, FULL} and all(float(row["seconds"]) > 0 for row in rows.values())
    assert 0 < float(rows[EXACT, OURS]["apart"]) < 1e-4, "against full passes"
    page = (asked.out / "benchmark.md").read_text("utf-8")
    for part in ({2: "One slice of 20 x 20", 3: "One block of 12 x 24 x 24"}[rank], "28 x 28 x 12", "captum and MONAI"):
        assert part in page
    assert "Floors" not in page and "Growth" not in page


@pytest.mark.parametrize("wrong", [{"repeats": 0}, {"threads": -1}])
def test_wrong_settings(wrong: Any, tmp_path: Path) -> None:
    with pytest.raises(Usage, match=f"--{next(iter(wrong))}"):
        Request(tmp_path, **wrong)
