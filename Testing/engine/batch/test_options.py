"""One tree of options: checked when it is made, the same after a journey as JSON, and understood in old records."""

import json
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

from Testing.engine.batch.conftest import save
from Testing.engine.conftest import asked, question
from unoise_engine.batch.job import Job
from unoise_engine.batch.options import Options
from unoise_engine.cli.question import question_from
from unoise_engine.errors import Usage
from unoise_engine.explanation import methods, settings
from unoise_engine.explanation.occlusion import Occlusion
from unoise_engine.typed import read, to_table

CHANGED = {
    "fill_gaps": True,
    "bundle": "mine",
    "device": "cpu",
    "threads": 3,
    "methods": ("occlusion", "unoise"),
    "slices": (2, 7),
    "parameters": {"occlusion": Occlusion(9, 4)},
    "format": "nrrd",
    "picture": False,
    "compress": False,
    "resume": True,
    "jobs": 2,
    "cluster": "tcp://here:1",
    "keep_names": True,
}


def job(**chosen: Any) -> Any:
    return Job(
        "case-0001", "a.nii.gz", ("a.nii.gz",), "out", "hash", asked((Path("a"),), Path("out"), **chosen).options
    )


def test_a_job_is_the_same_after_its_journey() -> None:
    one = replace(job(**CHANGED), refusal={"code": "NOT_3D", "what": "flat"}, notes=("a gap",), part=2)
    assert read(Job, json.loads(json.dumps(to_table(one))), "job") == one
    assert one.options != Options() and one.options.explanation.chosen["occlusion"].patch == 9


def test_a_request_is_what_the_program_meant() -> None:
    assert question_from(question((Path("a"),), Path("out"), **CHANGED).encode()).explain == asked(
        (Path("a"),), Path("out"), **CHANGED
    )
    short = question_from(b'{"explain": {"inputs": ["a"], "out": "out"}}')
    assert short.explain == asked((Path("a"),), Path("out"))


@pytest.mark.parametrize(
    ("chosen", "settings"),
    [
        (
            {"methods": ("unoise", "gradcam")},
            {"methods": ["unoise", "gradcam"], "slices": None, "format": "nifti"},
        ),
        (
            {"slices": (2, 7), "trust_hu": True, "methods": ("unoise", "gradcam", "occlusion")},
            {"methods": ["unoise", "gradcam", "occlusion"], "slices": [2, 7], "format": "nifti", "trust_hu": True,
             "patch": 15, "stride": 0},
        ),
        (
            {"methods": ("occlusion",), "parameters": {"occlusion": Occlusion(9, 2)}, "format": "nrrd",
             "picture": False, "compress": False, "fill_gaps": True},
            {"methods": ["occlusion"], "slices": None, "format": "nrrd", "picture": False, "compress": False,
             "fill_gaps": True, "patch": 9, "stride": 2},
        ),
    ],
)  # fmt: skip
def test_records_of_earlier_versions_still_count(chosen: Any, settings: Any) -> None:
    """Word for word what stood in a record.json before there was a tree."""
    before = {"results_version": 1, "fill_gaps": False, "trust_hu": False}
    assert job(**chosen).settings == before | settings


def test_what_does_not_change_a_result_is_in_no_record() -> None:
    usual = job().settings
    for name in ("bundle", "device", "threads", "resume", "jobs", "cluster", "keep_names"):
        assert job(**{name: CHANGED[name]}).settings == usual, name


@dataclass(frozen=True)
class Rings:
    """A method that nobody has heard of."""

    name: ClassVar[str] = "rings"
    title: ClassVar[str] = "Rings"
    about: ClassVar[str] = "how far from the middle"
    unit: ClassVar[str] = "rings"
    needs: ClassVar[str] = ""
    chosen: ClassVar[bool] = False

    radius: int = 3
    soft: bool = False

    def __post_init__(self) -> None:
        if self.radius < 1:
            raise ValueError(f"radius must be at least 1: {self.radius}")

    def __call__(self, model: Any, x: Any, target: Any, advance: Any) -> Any:
        advance(len(x))
        return np.full((len(x), *x.shape[2:]), self.radius, np.float32)


@pytest.fixture
def rings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(methods.METHODS, "rings", Rings())
    monkeypatch.setitem(methods.TITLES, "rings", "Rings")
    monkeypatch.setitem(settings.KINDS, "rings", Rings)


def test_a_new_method_and_its_parameters_go_all_the_way(
    rings: Any, explain: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """From the command line to map, report, record and list, without a word about it anywhere."""
    from unoise_engine.batch.about import methods as known
    from unoise_engine.cli.explain import _settings

    chosen = _settings("rings", "", ["rings.radius=5"])
    assert chosen.chosen == {"rings": Rings(5)}
    ct, out = save(tmp_path / "in" / "ct.nii.gz"), tmp_path / "out"
    options = {"methods": chosen.methods, "parameters": chosen.parameters}
    assert explain(ct, out, **options) == 0
    report = json.loads((out / "case-0001" / "report.json").read_text())
    assert report["settings"]["rings"] == {"radius": 5, "soft": False} and report["titles"] == {"rings": "Rings"}
    record = json.loads((out / "case-0001" / "record.json").read_text())
    assert record["settings"]["parameters"] == {"rings": {"radius": 5, "soft": False}}
    capsys.readouterr()
    assert explain(ct, out, resume=True, **options) == 0 and "done before" in capsys.readouterr().out
    assert explain(ct, out, resume=True, methods=("rings",)) == 0 and "done before" not in capsys.readouterr().out
    told = next(one for one in known() if one["name"] == "rings")
    assert [(one["name"], one["default"]) for one in told["parameters"]] == [("radius", 3), ("soft", False)]
    with pytest.raises(Usage, match=r"\[rings\] - radius must be at least 1: 0"):
        _settings("rings", "", ["rings.radius=0"])


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        (["occlusion.patch"], "cannot be read"),
        (["occlusion.patch=9", "occlusion.patch=7"], "cannot be read"),
        (["occlusion.patch=wide"], "cannot be read"),
        (["occlusion.patch='9'"], "whole number"),
        (["occlusion.width=9"], "unknown key 'width' - use patch, stride"),
        (["unoise.patch=9"], "unknown key 'patch'"),
        (["patch=9"], "unknown key 'patch'"),
        (["occlusion=9"], "must be a table"),
        (["occlusion.stride=-1"], "is no step"),
    ],
)
def test_a_parameter_that_does_not_fit(lines: Any, words: Any) -> None:
    from unoise_engine.cli.explain import _settings

    with pytest.raises(Usage, match=words) as refusal:
        _settings(None, "", lines)
    assert "\n" not in str(refusal.value)


GOOD = {"inputs": ["/"], "out": "o"}


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({}, "is no request"),
        ([], "must be a table"),
        ({"explain": GOOD, "about": {}}, "is no request"),
        ({"inputs": ["/"], "out": "o"}, "unknown key 'inputs'"),
        ({"explain": "all"}, "must be a table"),
        ({"explain": GOOD | {"inputs": "/"}}, "[inputs] - must be a list"),
        ({"explain": GOOD | {"inputs": {"/": "/"}}}, "[inputs] - must be a list"),
        ({"explain": GOOD | {"inputs": [7]}}, "[inputs] - must be a path"),
        ({"explain": GOOD | {"inputs": [""]}}, "[inputs] - must be a path"),
        ({"explain": GOOD | {"inputs": []}}, "inputs must name"),
        ({"explain": {"inputs": ["/"]}}, "[out] is missing"),
        ({"explain": GOOD | {"out": ["o"]}}, "[out] - must be a path"),
        ({"explain": GOOD | {"out": "a\0b"}}, "[out] - must be a path"),
        ({"explain": GOOD | {"methods": ["unoise"]}}, "unknown key 'methods'"),
        ({"explain": GOOD | {"options": {"explanation": {"methods": "unoise"}}}}, "[methods] - must be a list"),
        ({"explain": GOOD | {"options": {"explanation": {"methods": ["lime"]}}}}, "unknown method"),
        ({"explain": GOOD | {"options": {"explanation": {"slices": [1]}}}}, "list of 2"),
        ({"explain": GOOD | {"options": {"explanation": {"slices": [5, 3]}}}}, "is no range"),
        ({"explain": GOOD | {"options": {"reading": {"trust_hu": "no"}}}}, "true or false"),
        ({"explain": GOOD | {"options": {"model": {"threads": True}}}}, "a whole number"),
        ({"explain": GOOD | {"options": {"model": {"threads": -1}}}}, "is no number of threads"),
        ({"explain": GOOD | {"options": {"model": {"device": "tpu"}}}}, "choose auto, cpu or cuda"),
        ({"explain": GOOD | {"options": {"results": {"format": "png"}}}}, "choose from"),
        ({"explain": GOOD | {"options": {"batch": {"jobs": 1.5}}}}, "a whole number"),
        ({"convert": {"ct": "c", "results": "r", "dicom": [], "report": {}, "out": "o"}}, "must be a table"),
        ({"about": {"folders": "/"}}, "[folders] - must be a list"),
        ({"about": None, "explain": None}, "is no request"),
    ],
)
def test_a_wrong_request_is_refused_before_anything_is_read(
    asked: Any, words: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("find_cases", "load_bundle", "prepare_output"):
        monkeypatch.setattr(f"unoise_engine.batch.run.{name}", lambda *_: pytest.fail("read"))
    with pytest.raises(Usage) as refusal:
        question_from(json.dumps(asked).encode())
    assert words in str(refusal.value) and "\n" not in str(refusal.value)


@pytest.mark.parametrize("text", [b"", b"{", b"\xff", b"[" * 5000, b'{"about": {}, "about": {}}', b'{"about": NaN}'])
def test_what_is_no_json_is_no_request(text: Any) -> None:
    with pytest.raises(Usage, match="is no request"):
        question_from(text)


def test_the_worker_says_so_in_one_line() -> None:
    worker = [sys.executable, "-m", "unoise_engine.worker"]
    asked = json.dumps({"explain": GOOD | {"inputs": "/"}})
    done = subprocess.run(worker, input=asked, capture_output=True, text=True, timeout=60)
    (event,) = map(json.loads, done.stdout.splitlines())
    assert done.returncode == 2 and event["event"] == "error" and event["code"] == "Usage"
    assert event["source"] == "standard input [explain] [inputs]" and done.stderr.count("\n") == 1
