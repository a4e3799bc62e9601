"""What the engine says it has, and what of that the panel shows."""

from __future__ import annotations

import json
import shutil
import sys
import time
import types
from pathlib import Path
from typing import Any

import pytest
from UNoiseSlicerLib.engine_process import EngineProcess

pytest.importorskip(
    "slicer.slicer_core", reason="slicer-core cannot be loaded: make test-slicer installs it", exc_type=ImportError
)

from UNoiseSlicerLib import about as facts
from UNoiseSlicerLib import exchange, scene_tests

from unoise_engine.batch.about import About, about
from unoise_engine.explanation.occlusion import Occlusion
from unoise_engine.models import bundles
from unoise_engine.models.given import own
from unoise_engine.models.input import Input
from unoise_engine.models.manifest import read_manifest
from unoise_engine.volume.read import read_image

PATIENCE_SECONDS = 60


def choices(**parameters: Any) -> Any:
    """As in logic.Choices, which needs more of Slicer."""
    return types.SimpleNamespace(
        model="", slices=(2, 6), focus=False, parameters={"occlusion": parameters} if parameters else {}
    )


def asked(**question: Any) -> Any:
    """The engine's answer as it comes through a pipe."""
    return facts.About.of(json.loads(json.dumps(about(About(**question)))))


def bundle(folder: Any, **card: Any) -> Any:
    """The model that ships, with another card."""
    shutil.copytree(bundles.shipped_bundles()[bundles.DEFAULT_BUNDLE], folder)
    body = json.loads((folder / "bundle.json").read_text(encoding="utf-8"))
    (folder / "bundle.json").write_text(json.dumps(body | card), encoding="utf-8")
    return folder


def shown(folder: Any) -> Any:
    model = asked(folders=(folder,)).models[str(folder)]
    return facts.title_of(model), facts.shown_of(model), facts.details_of(model)


def test_the_answer_of_a_real_engine_comes_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same question is not asked twice, another one is."""
    monkeypatch.setattr(facts, "_answers", {})
    started = []

    def start(*question: Any) -> EngineProcess:
        started.append(question)
        return EngineProcess(*question)

    monkeypatch.setattr(facts, "Engine", start)
    answers: list[Any] = []
    for parameters in ({}, {}, {"occlusion": {"stride": 2}}):
        asking, end = facts.Asking(sys.executable, None, (), parameters), time.monotonic() + PATIENCE_SECONDS
        while not asking.step():
            assert time.monotonic() < end
            time.sleep(0.02)
        answers.append(asking.answer)
        asking.close()
    assert len(started) == 2 and answers[0] is answers[1]
    assert answers[2].methods["occlusion"]["passes"] > 10 * answers[0].methods["occlusion"]["passes"]
    assert next(iter(answers[0].models)) == bundles.DEFAULT_BUNDLE
    assert answers[0].usual(bundles.DEFAULT_BUNDLE) == ("unoise-near", "gradcam"), "not what is slow"


@pytest.mark.parametrize(
    "code",
    ["import sys; sys.exit(3)", "raise KeyError", "print('all is well')", 'print(\'{"event": "about"}\')',
     'print(\'{"event": "about", "models": [3], "methods": [], "devices": [], "pixels": 1}\')'],
)  # fmt: skip
def test_an_engine_that_tells_nothing_is_not_waited_for(
    code: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "unoise_engine").mkdir()
    (tmp_path / "unoise_engine" / "__init__.py").touch()
    (tmp_path / "unoise_engine" / "worker.py").write_text(code)
    monkeypatch.setattr(facts, "engine_home", lambda: tmp_path)
    asking, end = facts.Asking(sys.executable, {}, (), {}), time.monotonic() + PATIENCE_SECONDS
    while not asking.step():
        assert time.monotonic() < end
        time.sleep(0.02)
    assert asking.failed and asking.answer is None


def test_attribution_and_citation_are_shown_if_there_are_any(tmp_path: Path) -> None:
    plain = bundle(tmp_path / "plain", attribution="", citation="", training_data="Real CTs of\nan archive")
    title, below, details = shown(plain)
    assert title == read_manifest(plain).title and below == read_manifest(plain).warning
    assert "Trained on: Real CTs of an archive\n" in details and "Please cite" not in details
    owed = bundle(tmp_path / "owed", attribution="CTs: An Archive (CC BY 4.0)", citation="Doe 2026")
    assert shown(owed)[1] == f"{below}\nCTs: An Archive (CC BY 4.0)"
    assert shown(owed)[2].endswith("\nPlease cite: Doe 2026")


def test_words_of_a_card_are_fit_to_be_shown(tmp_path: Path) -> None:
    odd = "\x1b[31mred\u202e\nand <b>bold</b>" + "W" * 9000
    title, below, details = shown(bundle(tmp_path / "m", title=odd, attribution=odd, citation=odd))
    assert title.startswith("[31mred and <b>bold</b>WW") and len(title) <= 200
    for text in (below, details):
        assert all(line.isprintable() and len(line) < 4100 for line in text.split("\n"))
    assert "<" not in details, "a tool tip takes it for markup"


@pytest.mark.parametrize("text", ["", "[]", "{", "[" * 100_000, '{"schema_version": 2}', "x" * (2 << 20), '"\xff"'])
def test_a_damaged_model_says_so_in_its_place(text: Any, tmp_path: Path) -> None:
    folder = bundle(tmp_path / "m")
    (folder / "bundle.json").write_bytes(text.encode("latin-1"))
    title, below, details = shown(folder)
    assert "damaged" in title and "bundle.json" in below and "get the bundle again" in below and details == ""
    assert "\n" not in below


@pytest.mark.parametrize("matrix", ["STRAIGHT", "OBLIQUE", "TURNED"])
@pytest.mark.parametrize("parameters", [{}, {"stride": 2}, {"patch": 9, "stride": 4}])
def test_the_estimate_is_about_what_the_engine_does(matrix: Any, parameters: Any, world: Any, tmp_path: Path) -> None:
    """The engine's own count for the slices that it makes of the file that it is sent; it pads them."""
    import numpy as np

    ct = scene_tests.add_volume(world.scene, np.zeros((40, 200, 240), np.int16), getattr(scene_tests, matrix), "CT")
    exchange.write_ct(ct, tmp_path / "ct.nrrd")
    told = asked(parameters={"occlusion": Occlusion(**parameters)})
    recipe = read_manifest(bundles.shipped_bundles()[bundles.DEFAULT_BUNDLE]).recipe
    given = Input.of(read_image(tmp_path / "ct.nrrd"), own(recipe))
    places = Occlusion(**parameters).places(*given.shape[1:])
    ran = {"settings": {"axial_slices": [0, 2]}, "seconds": {"segmentation": 1.0}}
    guess = facts.seconds_of(ct, "occlusion", told, choices(**parameters), ran)
    assert guess == pytest.approx(4 * places / 2, rel=0.35)


def test_the_estimate_is_by_the_last_run_if_that_was_the_same(world: Any) -> None:
    ct, told = scene_tests.add_ct(world.scene), asked()
    usual = {"patch": 15, "stride": 0, "fill": 0.0, "minutes": 0.0, "kind": "quick"}
    ran = {"settings": {"axial_slices": [0, 2], "occlusion": usual},
           "seconds": {"segmentation": 1.0, "occlusion": 5.0}}  # fmt: skip
    same, other = choices(), choices(stride=2)
    assert facts.seconds_of(ct, "occlusion", told, same, ran) == 10
    assert facts.seconds_of(ct, "occlusion", told, other, ran) != 10
    assert facts.seconds_of(ct, "occlusion", told, same, {}) > 0


def test_no_text_of_the_module_names_a_model() -> None:
    """Which models ship is decided elsewhere."""
    names = set(bundles.shipped_bundles())
    for path in (
        *Path(facts.__file__).parent.parent.rglob("*.py"),
        *Path(__file__).parent.rglob("*.py"),
    ):
        assert not [name for name in names if name in path.read_text(encoding="utf-8")], path


def test_no_text_of_the_module_names_a_method() -> None:
    """A new one appears by itself. What scenes of earlier versions hold is named once, and sample data in tests."""
    known = asked().methods
    for path in Path(facts.__file__).parent.glob("*.py"):
        if path.name not in ("parameters.py", "scene_tests.py"):
            words = path.read_text(encoding="utf-8").replace('methods=("unoise",)', "").replace("UNoise", "")
            assert not [name for name in known if f'"{name}"' in words], path
