"""What a killed run leaves, and what the next one makes of it."""

import csv
import errno
import gc
import json
import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from Testing.engine.batch.conftest import leftovers, lines, save, volumes
from unoise_engine.batch.ledger import latest
from unoise_engine.errors import Environment
from unoise_engine.files import INVENTORY


def test_halves_are_cleaned_and_an_earlier_result_comes_back(explain: Any, cohort: Any, tmp_path: Path) -> None:
    out = tmp_path / "out"
    explain(cohort, out)
    first = volumes(out)
    (out / ".case-0001-999999-partial").mkdir()
    (out / ".case-0001-999999-partial" / INVENTORY).touch()
    (out / ".case-0001-999999-partial" / "segmentation.nii.gz").write_bytes(b"half")
    os.replace(out / "case-0002", out / ".case-0002-999999-partial-old")  # killed between two renames
    (out / ".somebody-elses").mkdir()
    (out / ".case-0003-1-partial").mkdir()  # it holds no inventory, so nobody knows whose it is
    (out / ".case-0003-1-partial" / "thesis.txt").touch()
    explain(cohort, out, resume=True)
    assert volumes(out) == first and len(lines(out)) == 3
    assert sorted(leftovers(out)) == [out / ".case-0003-1-partial", out / ".somebody-elses"]


def test_a_lost_or_broken_line_is_written_again(explain: Any, cohort: Any, tmp_path: Path) -> None:
    out = tmp_path / "out"
    explain(cohort, out)
    whole = (out / "results.jsonl").read_bytes()
    (out / "results.jsonl").write_bytes(whole[:-100])  # the power went in the middle of the last line
    explain(cohort, out, resume=True)
    assert [line["case"] for line in latest(out)] == ["case-0001", "case-0002", "case-0003"]
    text = (out / "results.jsonl").read_bytes()
    assert text.startswith(whole[:-100] + b"\n") and text.endswith(whole.splitlines()[-1] + b"\n")
    explain(cohort, out, resume=True)
    assert (out / "results.jsonl").read_bytes() == text


def test_every_input_is_counted_and_listed(
    explain: Any, cohort: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (cohort / "cut.nii.gz").write_bytes((cohort / "ct0.nii.gz").read_bytes()[:3000])
    save(tmp_path / "more" / "dark.nrrd", 4, spacing_mm=(9.0, 9.0, 9.0))
    out = tmp_path / "out"
    assert explain((cohort, tmp_path / "more"), out) == 1
    assert "5 inputs = 4 ok + 0 corrected + 1 refused + 0 failed" in capsys.readouterr().out
    assert [line["status"] for line in lines(out)] == ["OK", "OK", "OK", "REFUSED", "OK"]
    with (out / "summary.csv").open(newline="") as f:
        rows = list(csv.DictReader(f))
    assert [row["case"] for row in rows] == [f"case-{k:04d}" for k in range(1, 6)]
    assert {row["status"] for row in rows} == {"OK", "REFUSED"} and rows[3]["code"] == "TRUNCATED"
    listed = json.loads((out / "case-0002" / "report.json").read_text())
    assert float(rows[1]["volume_ml"]) == listed["organ"]["volume_ml"] > 0


def test_one_case_needs_no_summary(explain: Any, cohort: Any, tmp_path: Path) -> None:
    explain(cohort / "ct0.nii.gz", tmp_path / "out")
    names = sorted(p.name for p in (tmp_path / "out").iterdir())
    assert names == [INVENTORY, "case-0001", "private", "results.jsonl"]


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_interrupted_is_resumable(command: Any, cohort: Any, tmp_path: Path, number: Any, code: Any) -> None:
    out = tmp_path / "out"
    os.rename(cohort / "ct2.nii.gz", cohort / "slow.nii.gz")
    run = command(cohort, "-o", out, "--jobs", 2, wait=False)
    deadline = time.monotonic() + 60
    while not (out / "case-0001" / "record.json").exists() or not (out / "case-0002" / "record.json").exists():
        assert time.monotonic() < deadline and run.poll() is None
        time.sleep(0.05)
    time.sleep(0.3)
    os.kill(run.pid, number)
    said, err = run.communicate(timeout=30)
    assert run.returncode == code and err.count("\n") == 1
    assert err.endswith("ed - 2 of 3 cases are done - go on with --resume\n") and "3 inputs = 2 ok" in said
    assert " + 0 failed + 1 not done\n" in said and (out / "summary.csv").read_text().count("\n") == 3
    assert processes_of_group(run.pid) == []
    assert not [p for p in leftovers(out) if "partial" in p.name]
    again = command(cohort, "-o", out, "--resume", "--jobs", 2, SLOW="0")
    assert again.returncode == 0 and "(2 done before)" in again.stdout and len(lines(out)) == 3


def test_what_stops_every_case_says_what_is_done(
    explain: Any, cohort: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Not an interruption, but the disk full, or gone, after the first case."""
    from unoise_engine.batch import run
    from unoise_engine.batch.job import do_case as real

    def full(job: Any, *rest: Any) -> Any:
        if job.case == "case-0002":
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(job, *rest)

    monkeypatch.setattr(run, "do_case", full)
    with pytest.raises(Environment) as caught:
        explain(cohort, tmp_path / "out")
    assert caught.value.cure.endswith("; 1 of 3 cases are done: go on with --resume")
    assert "3 inputs = 1 ok + 0 corrected + 0 refused + 0 failed + 2 not done" in capsys.readouterr().out
    monkeypatch.undo()
    assert explain(cohort, tmp_path / "out", resume=True) == 0


def test_kill_9_of_the_run_ends_its_children(command: Any, cohort: Any, tmp_path: Path) -> None:
    out = tmp_path / "out"
    os.rename(cohort / "ct0.nii.gz", cohort / "a-slow.nii.gz")
    run = command(cohort, "-o", out, wait=False)
    deadline = time.monotonic() + 60
    while not (out / ".locks" / "case-0001").exists():
        assert time.monotonic() < deadline and run.poll() is None
        time.sleep(0.05)
    os.kill(run.pid, signal.SIGKILL)  # the run alone; its child must notice by itself
    run.communicate()
    deadline = time.monotonic() + 20
    while processes_of_group(run.pid):
        assert time.monotonic() < deadline, "an orphan lives on"
        time.sleep(0.05)
    assert command(cohort, "-o", out, "--resume", "--jobs", 2, SLOW="0").returncode == 0
    assert len(lines(out)) == 3 and not leftovers(out)


def processes_of_group(group: Any) -> Any:
    found = []
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{name}/stat") as f:
                state, _, pgrp = f.read().rpartition(")")[2].split()[:3]
        except OSError:
            continue
        if int(pgrp) == group and state != "Z":
            found.append(int(name))
    return found


def test_two_runs_on_one_folder_share_the_cases(command: Any, cohort: Any, tmp_path: Path) -> None:
    for k in range(3, 6):
        save(cohort / f"ct{k}.nii.gz", k)
    out = tmp_path / "out"
    runs = [command(cohort, "-o", out, wait=False) for _ in range(3)]
    ends = [(run.communicate(timeout=120), run.returncode) for run in runs]
    assert [code for _, code in ends] == [0, 0, 0], ends
    assert sorted(line["case"] for line in lines(out)) == [f"case-{k:04d}" for k in range(1, 7)], "each case once"
    assert all("6 inputs = 6 ok" in stdout for (stdout, _), _ in ends)
    assert not leftovers(out)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="mounting needs root")
@pytest.mark.parametrize("file_format", ["nifti", "nrrd", "nrrd, maps in files"])
def test_a_full_disk_stops_the_run_and_names_the_bytes(
    explain: Any, cohort: Any, tmp_path: Path, file_format: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    import subprocess

    file_format, _, in_files = file_format.partition(", ")
    if in_files:
        monkeypatch.setattr("unoise_engine.volume.scratch.IN_MEMORY_BYTES", 0)
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=130k", "tmpfs", str(disk)], check=False).returncode:
        pytest.skip("this machine does not let us mount a small disk")
    try:
        with pytest.raises(Environment, match=r"disk full: up to \d+ bytes needed, \d+ bytes free") as caught:
            explain(cohort, disk / "out", format=file_format)
        assert caught.value.exit_code == 3 and "partial" not in str(caught.value)
        del caught  # and with it the frames that hold the nameless file
        gc.collect()
        assert not list((disk / "out").glob(".case*")), "half a result stayed"
        kept = volumes(disk / "out")
    finally:
        subprocess.run(["umount", str(disk)], check=True)
    assert all(content for content in kept.values())


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="mounting needs root")
def test_earlier_results_survive_a_full_and_a_read_only_disk(explain: Any, cohort: Any, tmp_path: Path) -> None:
    import subprocess

    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(disk)], check=False).returncode:
        pytest.skip("this machine does not let us mount a small disk")
    try:
        assert explain(cohort, disk / "out") == 0
        first = volumes(disk / "out")
        with (disk / "filler").open("wb", buffering=0) as f, pytest.raises(OSError, match="No space"):
            while True:
                f.write(bytes(4096))
        with pytest.raises(Environment, match="disk full") as caught:
            explain(cohort, disk / "out", overwrite=True)
        assert caught.value.exit_code == 3 and volumes(disk / "out") == first
        (disk / "filler").unlink()
        subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
        with pytest.raises(Environment, match="Read-only") as caught:
            explain(cohort, disk / "out", overwrite=True)
        assert caught.value.exit_code == 3 and volumes(disk / "out") == first and len(first) == 6
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_results_of_a_version_without_inventories_go_on(
    explain: Any, cohort: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Their records say what was written: what is done stays done, what was corrected by hand is kept."""
    out = tmp_path / "out"
    explain(cohort, out)
    for inventory in (out / INVENTORY, *out.glob(f"*/{INVENTORY}")):
        inventory.unlink()
    first = volumes(out)
    assert explain(cohort, out, resume=True) == 0
    assert "(3 done before)" in capsys.readouterr().out and volumes(out) == first
    for inventory in (out / INVENTORY, *out.glob(f"*/{INVENTORY}")):
        inventory.unlink()
    corrected = out / "case-0002" / "segmentation.nii.gz"
    corrected.write_bytes(corrected.read_bytes() + b"by hand")
    explain(cohort, out, overwrite=True)
    assert "NOT_OURS" in capsys.readouterr().err and corrected.read_bytes().endswith(b"by hand")
    assert [line["status"] for line in lines(out)].count("OK") >= 2
