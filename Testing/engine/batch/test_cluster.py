"""A real Dask scheduler and real workers, over TCP on this machine."""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from Testing.engine.batch.conftest import ROOT, leftovers, lines, save, volumes
from unoise_engine import __version__
from unoise_engine.errors import Environment

pytest.importorskip("distributed", reason="the extra 'cluster' is not installed")

QUIET = {"DASK_DISTRIBUTED__DASHBOARD__LINK": "", "DASK_DISTRIBUTED__ADMIN__LOG_LENGTH": "0"}


@pytest.fixture
def cluster(tmp_path: Path) -> Any:
    """Its scheduler's address, and a function that starts a worker and returns its process."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    address = f"tcp://127.0.0.1:{port}"
    environment = {**os.environ, **QUIET, "PYTHONPATH": f"{tmp_path / 'mishaps'}{os.pathsep}{ROOT}"}
    processes = []

    def dask(*arguments: Any, **more: Any) -> Any:
        line = [sys.executable, "-m", "dask", *arguments]
        log = (tmp_path / "dask.log").open("ab")
        process = subprocess.Popen(
            line, env=environment | more, stdout=log, stderr=log, cwd=tmp_path, start_new_session=True
        )
        processes.append(process)
        return process

    dask("scheduler", "--host", "127.0.0.1", "--port", str(port), "--no-dashboard", "--no-show")
    deadline = time.monotonic() + 60
    while socket.socket().connect_ex(("127.0.0.1", port)):
        assert time.monotonic() < deadline, (tmp_path / "dask.log").read_text()
        time.sleep(0.1)

    def worker(**more: Any) -> Any:
        options = ("--no-nanny", "--nthreads", "1", "--no-dashboard", "--local-directory", str(tmp_path))
        return dask("worker", address, *options, **more)

    start: Any = worker
    start.scheduler = processes[0]
    yield address, start
    for process in processes:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)  # each leads a group of its own
        process.wait()


def test_a_lost_worker_loses_nothing_and_doubles_nothing(
    command: Any, cluster: Any, cohort: Any, explain: Any, tmp_path: Path
) -> None:
    address, worker = cluster
    for k in range(3, 7):
        save(cohort / f"ct{k}.nii.gz", k)
    save(cohort / "a-slow.nii.gz", 9)  # the first case, so that it is in hand when its worker dies
    (cohort / "zero.nii.gz").write_bytes(b"")
    first = worker()
    out = tmp_path / "out"
    run = command(cohort, "-o", out, "--cluster", address, "--progress", "json", wait=False)
    deadline = time.monotonic() + 60
    while not (out / ".locks" / "case-0001").exists():
        assert time.monotonic() < deadline and run.poll() is None, run.communicate()
        time.sleep(0.05)
    time.sleep(0.5)
    (tmp_path / "mishaps" / "sitecustomize.py").write_text("")  # nothing is slow from here on
    os.kill(first.pid, signal.SIGKILL)
    worker()
    worker()
    stdout, stderr = run.communicate(timeout=120)
    assert run.returncode == 1 and stdout.count('"status": "OK"') == 8, (stdout, stderr)
    assert sorted(line["case"] for line in lines(out)) == [f"case-{k:04d}" for k in range(1, 10)], "each case once"
    assert [line["code"] for line in lines(out) if line["status"] != "OK"] == ["EMPTY_FILE"]
    assert not leftovers(out)
    again = command(cohort, "-o", out, "--cluster", address, "--resume")
    assert again.returncode == 1 and "(9 done before)" in again.stdout and len(lines(out)) == 9
    explain(cohort, tmp_path / "here")
    assert volumes(out) == volumes(tmp_path / "here"), "a cluster changes nothing"


def test_no_workers_no_scheduler(
    cluster: Any, explain: Any, cohort: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("unoise_engine.batch.cluster.CONNECT_SECONDS", 1)
    with pytest.raises(Environment, match="no workers"):
        explain(cohort, tmp_path / "out", cluster=cluster[0])
    for nowhere in ("tcp://127.0.0.1:1", "nonsense://x", "host", "http://127.0.0.1:80", "tcp://[::1"):
        with pytest.raises(Environment, match=r"no Dask scheduler.*tcp://host:8786"):
            explain(cohort, tmp_path / "out", cluster=nowhere)
    with pytest.raises(Environment, match=r"no Dask scheduler.*certificates"):
        explain(cohort, tmp_path / "out", cluster="tls://127.0.0.1:1")


@pytest.mark.parametrize("address", ["tls://127.0.0.1:1", "tcp://[::1"])
def test_a_wrong_address_is_one_line(command: Any, cohort: Any, tmp_path: Path, address: Any) -> None:
    began = time.monotonic()
    run = command(cohort, "-o", tmp_path / "out", "--cluster", address)
    assert run.returncode == 3 and run.stderr.startswith("error: --cluster") and run.stderr.count("\n") == 1, run
    assert time.monotonic() - began < 40, "it waited for a farewell from nobody"


def test_a_lost_scheduler_is_one_line_and_loses_nothing(
    command: Any, cluster: Any, cohort: Any, tmp_path: Path
) -> None:
    address, worker = cluster
    os.rename(cohort / "ct2.nii.gz", cohort / "slow.nii.gz")
    worker()
    out = tmp_path / "out"
    run = command(cohort, "-o", out, "--cluster", address, wait=False)
    deadline = time.monotonic() + 90
    while not (out / ".locks" / "case-0003").exists():
        assert time.monotonic() < deadline and run.poll() is None, run.communicate()
        time.sleep(0.05)
    os.kill(worker.scheduler.pid, signal.SIGKILL)
    said, err = run.communicate(timeout=60)
    assert run.returncode == 3 and err.count("\n") == 1, err
    assert "the scheduler was lost - " in err and "; 2 of 3 cases are done: go on with --resume" in err
    assert "3 inputs = 2 ok" in said and len(lines(out)) == 2 and (out / "summary.html").exists()
    again = command(cohort, "-o", out, "--resume", SLOW="0")
    assert again.returncode == 0 and "(2 done before)" in again.stdout and not leftovers(out)


def test_a_worker_of_another_version_does_nothing(
    cluster: Any, explain: Any, cohort: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    address, worker = cluster
    shutil.copytree(ROOT / "unoise_engine", tmp_path / "old" / "unoise_engine")
    start = tmp_path / "old" / "unoise_engine" / "__init__.py"
    start.write_text(start.read_text().replace(f'"{__version__}"', '"0.0.9"'))
    worker(PYTHONPATH=str(tmp_path / "old"))
    both = (
        rf"the worker tcp://\S+ - has unoise-engine 0\.0\.9, and this run {re.escape(__version__)} - install the same"
    )
    for asked_first in (True, False):  # and a worker that comes when the others were asked already
        if not asked_first:
            monkeypatch.setattr("unoise_engine.batch.cluster._check_versions", lambda *_: None)
        with pytest.raises(Environment, match=both):
            explain(cohort, tmp_path / "out", cluster=address)
        assert not list((tmp_path / "out").glob("case-*"))


def test_no_worker_is_waited_for_without_end(
    cluster: Any, explain: Any, cohort: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    address, worker = cluster
    monkeypatch.setattr("unoise_engine.batch.cluster.SILENT_SECONDS", 3)
    monkeypatch.setattr("unoise_engine.batch.cluster._check_versions", lambda *_: os.kill(only.pid, signal.SIGKILL))
    only: Any = worker()
    with pytest.raises(Environment, match="has had no workers"):
        explain(cohort, tmp_path / "out", cluster=address)
