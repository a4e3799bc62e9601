"""A real Dask scheduler and real workers, over TCP on this machine."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from Testing.engine.batch.conftest import ROOT, leftovers, lines, save, volumes
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

    def dask(*arguments: Any) -> Any:
        line = [sys.executable, "-m", "dask", *arguments]
        log = (tmp_path / "dask.log").open("ab")
        process = subprocess.Popen(line, env=environment, stdout=log, stderr=log, cwd=tmp_path, start_new_session=True)
        processes.append(process)
        return process

    dask("scheduler", "--host", "127.0.0.1", "--port", str(port), "--no-dashboard", "--no-show")
    deadline = time.monotonic() + 60
    while socket.socket().connect_ex(("127.0.0.1", port)):
        assert time.monotonic() < deadline, (tmp_path / "dask.log").read_text()
        time.sleep(0.1)

    def worker() -> Any:
        options = ("--no-nanny", "--nthreads", "1", "--no-dashboard", "--local-directory", str(tmp_path))
        return dask("worker", address, *options)

    yield address, worker
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
    assert again.returncode == 1 and again.stdout.count("done before") == 8 and len(lines(out)) == 9
    explain(cohort, tmp_path / "here")
    assert volumes(out) == volumes(tmp_path / "here"), "a cluster changes nothing"


def test_no_workers_no_scheduler(
    cluster: Any, explain: Any, cohort: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("unoise_engine.batch.cluster.CONNECT_SECONDS", 1)
    with pytest.raises(Environment, match="no workers"):
        explain(cohort, tmp_path / "out", cluster=cluster[0])
    for nowhere in ("tcp://127.0.0.1:1", "nonsense://x"):
        with pytest.raises(Environment, match="no Dask scheduler"):
            explain(cohort, tmp_path / "out", cluster=nowhere)
