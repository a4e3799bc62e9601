"""Each case in a process of its own: whatever happens to one, the others are done."""

import json
import os
import time
from pathlib import Path
from typing import Any

import pytest

from Testing.engine.batch.conftest import leftovers, lines, save
from unoise_engine.errors import Environment


def test_mishaps_cost_one_case_each(command: Any, tmp_path: Path) -> None:
    for k, name in enumerate(["abort", "bug", "good", "kill", "memory", "well"]):
        save(tmp_path / "in" / f"{name}.nii.gz", k)
    out = tmp_path / "out"
    run = command(tmp_path / "in", "-o", out, "--jobs", 2)
    assert run.returncode == 1 and "Traceback" not in run.stderr
    status = {line["case"]: (line["status"], line["code"]) for line in lines(out)}
    assert [status[f"case-{k:04d}"] for k in range(1, 7)] == [
        ("FAILED", "CRASHED"), ("FAILED", "INTERNAL"), ("OK", ""), ("FAILED", "KILLED"), ("FAILED", "OUT_OF_MEMORY"),
        ("OK", ""),
    ]  # fmt: skip
    assert "6 inputs = 2 ok + 0 corrected + 0 refused + 4 failed" in run.stdout
    assert run.stderr.count("CASE ") == run.stderr.count("\n") == 4
    assert not leftovers(out)
    os.rename(tmp_path / "in" / "kill.nii.gz", tmp_path / "in" / "k.nii.gz")
    again = command(tmp_path / "in", "-o", out, "--resume", "--jobs", 2)
    assert again.returncode == 1 and "6 inputs = 3 ok + 0 corrected + 0 refused + 3 failed" in again.stdout
    assert "(2 done before)" in again.stdout


@pytest.mark.parametrize("others", [0, 1])
def test_a_case_without_end_is_ended(command: Any, tmp_path: Path, others: Any) -> None:
    """A file system that hangs, a graph that loops: nobody waits for ever, for a single case neither."""
    save(tmp_path / "in" / "slow.nii.gz")
    for k in range(others):
        save(tmp_path / "in" / f"a{k}.nii.gz", k)
    began = time.monotonic()
    run = command(tmp_path / "in", "-o", tmp_path / "out", SILENT="6", SLOW="600")
    assert run.returncode == 1 and time.monotonic() - began < 100
    (line,) = run.stderr.splitlines()
    assert "FAILED TIMEOUT: gave no sign of life for" in line and line.endswith("if memory is short")
    assert [one["code"] for one in lines(tmp_path / "out")] == [""] * others + ["TIMEOUT"]
    assert not leftovers(tmp_path / "out")
    again = command(tmp_path / "in", "-o", tmp_path / "out", "--resume", SLOW="0")
    assert again.returncode == 0 and again.stdout.count(": OK") == 1
    assert ("(1 done before)" in again.stdout) == bool(others)


def test_a_single_case_is_told_as_it_comes(command: Any, cohort: Any, tmp_path: Path) -> None:
    """It runs in a process of its own, and programs and people see its stages as if it did not."""
    run = command(cohort / "ct0.nii.gz", "-o", tmp_path / "out", "--progress", "json")
    events = [json.loads(line) for line in run.stdout.splitlines()]
    stages: dict[str, list[Any]] = {}
    for event in events[:-1]:
        assert event["event"] == "progress" and event["case"] == "case-0001"
        stages.setdefault(event["stage"], []).append(event["done"] / event["total"])
    assert list(stages) == ["segmentation", "unoise"] and events[-1]["status"] == "OK"
    assert all(done[0] == 0 and done[-1] == 1 and done == sorted(done) for done in stages.values())
    refused = command(cohort / "ct0.nii.gz", "-o", tmp_path / "o", "--slices", "5:50", "--progress", "json")
    assert refused.returncode == 2 and json.loads(refused.stdout)["code"] == "Usage"


def test_programs_get_json_lines(command: Any, tmp_path: Path, cohort: Any) -> None:
    (cohort / "zero.nii.gz").write_bytes(b"")
    run = command(cohort, "-o", tmp_path / "out", "--progress", "json", "--jobs", 2)
    events = [json.loads(line) for line in run.stdout.splitlines()]
    ends = [event for event in events if event["event"] == "case"]
    assert sorted(event["status"] for event in ends) == ["OK", "OK", "OK", "REFUSED"]
    cases = [event for event in events if event.get("stage") == "cases"]
    assert cases[-1]["done"] == cases[-1]["total"] == 4
    assert {event["stage"] for event in events if event["event"] == "progress"} >= {"segmentation", "unoise"}


def test_what_concerns_every_case_stops_the_run(command: Any, cohort: Any, tmp_path: Path, tiny_bundle: Any) -> None:
    run = command(cohort, "-o", tmp_path / "out", "--device", "cuda")
    assert run.returncode == 3 and run.stderr.startswith("error: --device cuda")
    (tmp_path / "file").write_text("")
    assert command(cohort, "-o", tmp_path / "file").returncode == 3
    assert command(cohort, "-o", tmp_path / "out", "--jobs", "-1").returncode == 2


def test_slices_beyond_one_ct_refuse_that_one(
    explain: Any, cohort: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from unoise_engine.errors import Usage

    with pytest.raises(Usage):
        explain(cohort / "ct0.nii.gz", tmp_path / "one", slices=(0, 11))
    assert explain(cohort, tmp_path / "out", slices=(0, 11)) == 3
    assert capsys.readouterr().err.count("REFUSED SETTINGS") == 3


def test_an_own_folder_named_like_a_library_is_not_run(
    command: Any, cohort: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Processes for cases must not import from the working directory."""
    (tmp_path / "cwd" / "numpy").mkdir(parents=True)
    (tmp_path / "cwd" / "numpy" / "__init__.py").write_text("open('PWNED', 'w')")
    monkeypatch.chdir(tmp_path / "cwd")
    from unoise_engine.batch.isolate import Children
    from unoise_engine.batch.job import Job
    from unoise_engine.batch.options import Options

    ct = str(cohort / "ct0.nii.gz")
    job = Job("case-0001", ct, (ct,), str(tmp_path / "no"), "a model's hash", Options())
    with pytest.raises(Environment, match="not there on this machine"):
        Children().do(job, lambda message: None)
    assert not (tmp_path / "cwd" / "PWNED").exists()
