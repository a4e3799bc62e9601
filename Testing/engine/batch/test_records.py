"""The record decides what is done: same bytes, model, settings and results, or it is done again."""

import json
import os
import shutil
from dataclasses import replace

import pytest

from Testing.engine.batch.conftest import leftovers, lines, save, volumes
from unoise_engine.batch.records import read_record, write_record
from unoise_engine.errors import Environment, Usage


def done_again(explain, cohort, out, **options):
    """Which cases a resumed run did anew."""
    before = {p.parent.name: p.stat().st_mtime_ns for p in out.glob("*/record.json")}
    explain(cohort, out, resume=True, **options)
    return [p.parent.name for p in sorted(out.glob("*/record.json")) if p.stat().st_mtime_ns != before[p.parent.name]]


@pytest.fixture
def out(explain, cohort, tmp_path):
    assert explain(cohort, tmp_path / "out") == 0
    return tmp_path / "out"


def test_done_is_done(explain, cohort, out):
    first = volumes(out)
    assert len(first) == 6 and len(lines(out)) == 3 and not leftovers(out)
    assert done_again(explain, cohort, out) == []
    assert volumes(out) == first and len(lines(out)) == 3
    with pytest.raises(Environment, match="--resume"):
        explain(cohort, out)
    with pytest.raises(Usage, match="contradict"):
        explain(cohort, out, resume=True, overwrite=True)


def test_run_again_it_is_bit_identical(explain, cohort, out):
    first = volumes(out)
    assert explain(cohort, out, overwrite=True) == 0
    assert volumes(out) == first and len(lines(out)) == 6


def test_what_counts_as_another_case(explain, cohort, out, tiny_bundle, tmp_path):
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
def test_a_file_is_not_a_record(explain, cohort, out, text):
    (out / "case-0002" / "record.json").write_text(text)
    assert done_again(explain, cohort, out) == ["case-0002"]


def test_failed_is_not_done(explain, cohort, out):
    record = read_record(out / "case-0001")
    write_record(replace(record, status="FAILED"), out / "case-0001")
    assert done_again(explain, cohort, out) == ["case-0001"]


def test_a_file_that_changes_meanwhile_is_refused(explain, cohort, tmp_path, monkeypatch, capsys):
    import unoise_engine.batch.job as job

    real = job.explain_case

    def meddle(case, *rest):
        if case.source.name == "ct1.nii.gz":
            save(cohort / "ct1.nii.gz", 7)
        return real(case, *rest)

    monkeypatch.setattr(job, "explain_case", meddle)
    assert explain(cohort, tmp_path / "out") == 1
    assert "CASE case-0002: REFUSED CHANGED:" in capsys.readouterr().err
    assert not list((tmp_path / "out" / "case-0002").glob("*.nii.gz"))


def test_refused_once_is_refused_without_reading_again(explain, cohort, tmp_path, monkeypatch, capsys):
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


def test_an_earlier_result_survives_a_refusal(explain, cohort, out):
    first = volumes(out)
    (cohort / "ct0.nii.gz").write_bytes(b"")
    assert explain(cohort, out, overwrite=True) == 1
    assert volumes(out) == first and lines(out)[-3]["status"] == "REFUSED"
