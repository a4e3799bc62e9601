"""The record decides what is done: same bytes, model, settings and results, or it is done again."""

import copy
import csv
import json
import os
import random
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from Testing.engine.batch.conftest import leftovers, lines, save, volumes
from unoise_engine.batch.records import Inputs, hash_inputs, read_record, stat_of, write_record
from unoise_engine.errors import Environment, Integrity, Usage
from unoise_engine.results.case_folder import explain_case


def done_again(explain: Any, cohort: Any, out: Any, **options: Any) -> Any:
    """Which cases a resumed run did anew."""
    before = {p.parent.name: p.stat().st_mtime_ns for p in out.glob("*/record.json")}
    explain(cohort, out, resume=True, **options)
    return [p.parent.name for p in sorted(out.glob("*/record.json")) if p.stat().st_mtime_ns != before[p.parent.name]]


@pytest.fixture
def out(explain: Any, cohort: Any, tmp_path: Path) -> Any:
    assert explain(cohort, tmp_path / "out") == 0
    return tmp_path / "out"


def test_done_is_done(explain: Any, cohort: Any, out: Any) -> None:
    first = volumes(out)
    assert len(first) == 6 and len(lines(out)) == 3 and not leftovers(out)
    assert done_again(explain, cohort, out) == []
    assert volumes(out) == first and len(lines(out)) == 3
    with pytest.raises(Environment, match="--resume"):
        explain(cohort, out)
    with pytest.raises(Usage, match="contradict"):
        explain(cohort, out, resume=True, overwrite=True)


def test_run_again_it_is_bit_identical(explain: Any, cohort: Any, out: Any) -> None:
    first = volumes(out)
    assert explain(cohort, out, overwrite=True) == 0
    assert volumes(out) == first and len(lines(out)) == 6


def test_what_counts_as_another_case(explain: Any, cohort: Any, out: Any, tiny_bundle: Any, tmp_path: Path) -> None:
    os.utime(cohort / "ct0.nii.gz")  # touched, but the same bytes
    assert done_again(explain, cohort, out) == []
    os.utime(cohort / "ct0.nii.gz")
    save(cohort / "ct1.nii.gz", 99)
    assert done_again(explain, cohort, out) == ["case-0002"]
    corrected = out / "case-0003" / "segmentation.nii.gz"
    with corrected.open("ab") as f:
        f.write(b"x")
    assert explain(cohort, out, resume=True) == explain(cohort, out, overwrite=True) == 1  # not lost, and said so
    assert corrected.read_bytes().endswith(b"x") and lines(out)[-1]["code"] == "NOT_OURS"
    corrected.unlink()
    assert done_again(explain, cohort, out) == ["case-0003"]
    (out / "case-0001" / "importance-unoise.nii.gz").unlink()
    assert done_again(explain, cohort, out) == ["case-0001"]
    assert done_again(explain, cohort, out, slices=(0, 5)) == ["case-0001", "case-0002", "case-0003"]
    assert done_again(explain, cohort, out, slices=(0, 5), methods=("unoise", "gradcam")) == [
        "case-0001", "case-0002", "case-0003"
    ]  # fmt: skip
    other = shutil.copytree(tiny_bundle, tmp_path / "other")
    body = json.loads((other / "bundle.json").read_text())
    (other / "bundle.json").write_text(json.dumps({**body, "labels": {"bright": 9}}))
    options = {"slices": (0, 5), "methods": ("unoise", "gradcam")}
    assert len(done_again(explain, cohort, out, bundle=str(other), **options)) == 3
    assert done_again(explain, cohort, out, bundle=str(other), **options) == []


@pytest.mark.parametrize("text", ["", "{}", "[1]", "null", '{"record_version": 99}', "\0" * 40])
def test_a_file_is_not_a_record(explain: Any, cohort: Any, out: Any, text: Any) -> None:
    (out / "case-0002" / "record.json").write_text(text)
    assert done_again(explain, cohort, out) == ["case-0002"]


WRONG = [None, True, -1, 1.5, 10**400, "", "x" * 1000, "<b>", [], [[1]], {}, {"a": {"b": 1}}, "\udcff"]


def places(value: Any, way: Any = ()) -> Any:
    """Every place in a tree of JSON."""
    yield way
    for key, inner in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        yield from places(inner, (*way, key))


def changed(body: Any, way: Any, value: Any) -> Any:
    body = copy.deepcopy(body)
    if not way:
        return value
    inner = body
    for key in way[:-1]:
        inner = inner[key]
    inner[way[-1]] = value
    return body


def inputs_of(folder: Path) -> Inputs:
    record = read_record(folder)
    assert record is not None and record.inputs is not None
    return record.inputs


def test_no_value_of_a_record_or_a_line_stops_a_run(explain: Any, cohort: Any, out: Any) -> None:
    """Wherever a wrong value stands, the case is done anew or is done, and the summary has all cases."""
    record, ledger = out / "case-0002" / "record.json", out / "results.jsonl"
    first, good, whole = volumes(out), json.loads(record.read_text()), ledger.read_bytes()
    tried = random.Random(0).sample([(way, wrong) for way in places(good) for wrong in WRONG], 12)
    tried += [(("report", "organ"), 5), (("outputs",), []), (("report", "seconds"), {}), (("case",), "case-0001")]
    for way, wrong in tried:
        record.write_text(json.dumps(changed(good, way, wrong)))
        assert explain(cohort, out, resume=True) == 0, (way, wrong)
        assert volumes(out) == first and inputs_of(out / "case-0002").sha256 == good["inputs"]["sha256"]
    body = json.loads(whole.splitlines()[1])
    lines_tried = [json.dumps(changed(body, way, wrong)) for way in places(body) for wrong in WRONG]
    lines_tried += ["[" * 100_000, '{"case": "../..", "status": "OK"}', "\0\0", '{"case": NaN}', "null", "7"]
    ledger.write_bytes(b"".join(line.encode() + b"\n" for line in lines_tried) + whole)
    assert explain(cohort, out, resume=True) == 0
    with (out / "summary.csv").open(newline="") as f:
        rows = list(csv.DictReader(f))
    assert [row["case"] for row in rows if row["model_sha256"] == body["model_sha256"]] == [
        f"case-{k:04d}" for k in range(1, 4)
    ]


def test_a_record_of_another_case_is_not_believed(explain: Any, tmp_path: Path) -> None:
    """Somebody copied a folder of results, and its CT too: each case has a record of its own nevertheless."""
    cohort, out = tmp_path / "in", tmp_path / "out"
    for k in range(2):
        save(cohort / f"ct{k}.nii.gz")
    explain(cohort, out)
    shutil.copytree(out / "case-0001", out / "case-0002", dirs_exist_ok=True)
    assert explain(cohort, out, resume=True) == 0
    second = read_record(out / "case-0002")
    assert second and second.case == "case-0002" and [line["case"] for line in lines(out)][2:] == ["case-0002"]


def test_a_record_from_the_future_is_no_excuse(explain: Any, cohort: Any, out: Any) -> None:
    """It failed in 2099: that is not since this run began."""
    record = read_record(out / "case-0001")
    assert record is not None
    for when in ("2099-01-01T00:00:00.000000+00:00", "zzz"):
        write_record(replace(record, status="FAILED", finished=when), out / "case-0001")
        assert done_again(explain, cohort, out) == ["case-0001"], when


def test_a_record_of_this_version_is_read_for_ever(tmp_path: Path) -> None:
    """Word for word as it stands in users' folders: else all their cases would be done anew after an upgrade."""
    (tmp_path / "case-0001").mkdir()
    (tmp_path / "case-0001" / "record.json").write_text(
        """{"record_version": 1, "case": "case-0001", "status": "OK", "model": "m", "settings": {"results_version": 1},
        "inputs": {"sha256": "i", "files": 1, "bytes": 2, "stat": "s"}, "code": "", "message": "",
        "outputs": {"report.json": {"sha256": "o", "bytes": 3}}, "report": {"organ": {"name": "pancreas", "found": true,
        "volume_ml": 70.5, "axial_slice_of_largest_area": 4}, "corrections": [], "notes": ["n"], "seconds": {"read": 1},
        "warnings": [], "warning": "w"}, "finished": "2026-01-01T00:00:00.000000+00:00"}"""
    )
    record = read_record(tmp_path / "case-0001")
    assert record is not None and record.inputs is not None
    assert record.status == "OK" and record.outputs["report.json"].bytes == 3 and record.inputs.bytes == 2


def test_another_ct_of_the_same_size_is_another_ct(explain: Any, tmp_path: Path) -> None:
    """--resume must not keep the results of what lay there before."""
    cohort, out = tmp_path / "in", tmp_path / "out"
    for k in range(2):
        save(cohort / f"ct{k}.nii", k)
    explain(cohort, out)
    size = (cohort / "ct1.nii").stat().st_size
    assert save(cohort / "ct1.nii", 7).stat().st_size == size
    assert done_again(explain, cohort, out) == ["case-0002"]


def test_every_file_of_a_case_counts(tmp_path: Path) -> None:
    for name, content in (("a", b"12"), ("b", b"345"), ("c", b"")):
        (tmp_path / name).write_bytes(content)
    files = tuple(sorted(tmp_path.iterdir()))
    before = hash_inputs(files)
    assert stat_of(files)[1] == before.bytes == 5 and before.files == 3
    (tmp_path / "a").write_bytes(b"21")
    assert hash_inputs(files).sha256 != before.sha256


def test_failed_is_not_done(explain: Any, cohort: Any, out: Any) -> None:
    record = read_record(out / "case-0001")
    assert record is not None
    write_record(replace(record, status="FAILED"), out / "case-0001")
    assert done_again(explain, cohort, out) == ["case-0001"]


def test_a_file_that_changes_meanwhile_is_refused(
    explain: Any, cohort: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import unoise_engine.batch.job as job

    def meddle(case: Any, *rest: Any) -> Any:
        if case.source.name == "ct1.nii.gz":
            save(cohort / "ct1.nii.gz", 7)
        return explain_case(case, *rest)

    monkeypatch.setattr(job, "explain_case", meddle)
    assert explain(cohort, tmp_path / "out") == 1
    assert "CASE case-0002: REFUSED CHANGED:" in capsys.readouterr().err
    assert not list((tmp_path / "out" / "case-0002").glob("*.nii.gz"))


def test_refused_once_is_refused_without_reading_again(
    explain: Any, cohort: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (cohort / "ct1.nii.gz").write_bytes(b"")
    out = tmp_path / "out"
    assert explain(cohort, out) == 1
    first = capsys.readouterr()
    said = "CASE case-0002: REFUSED EMPTY_FILE: "
    assert said in first.err and "3 inputs = 2 ok + 0 corrected + 1 refused + 0 failed" in first.out
    monkeypatch.setattr("unoise_engine.batch.job.explain_case", lambda *_: pytest.fail("read again"))
    assert explain(cohort, out, resume=True) == 1
    again = capsys.readouterr().err
    assert said in again and "(found before)" in again and len(lines(out)) == 3
    monkeypatch.undo()
    save(cohort / "ct1.nii.gz", 1)
    assert explain(cohort, out, resume=True, methods=("unoise",)) == 0


def test_an_earlier_result_survives_a_refusal(explain: Any, cohort: Any, out: Any) -> None:
    first = volumes(out)
    (cohort / "ct0.nii.gz").write_bytes(b"")
    assert explain(cohort, out, overwrite=True) == 1
    assert volumes(out) == first and lines(out)[-3]["status"] == "REFUSED"


def test_another_model_than_the_runs_is_named(explain: Any, cohort: Any, tmp_path: Path, tiny_bundle: Any) -> None:
    from unoise_engine.batch.job import Job, do_case
    from unoise_engine.batch.options import Options
    from unoise_engine.models.bundles import load_bundle
    from unoise_engine.progress import Quiet

    bundle, ct = load_bundle(tiny_bundle, "cpu"), str(cohort / "ct0.nii.gz")
    job = Job("case-0001", ct, (ct,), str(tmp_path), "0" * 64, Options())
    with pytest.raises(Integrity, match=rf"{bundle.hash[:16]}.*{'0' * 16}"):
        do_case(job, bundle, Quiet())
