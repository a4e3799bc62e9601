"""The page's lines for clusters, as they stand there; Slurm's own commands are stand-ins that start processes."""

import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from Testing.engine.batch.conftest import ROOT, leftovers, lines, volumes

pytest.importorskip("distributed", reason="the extra 'cluster' is not installed")
DASK = Path(sys.executable).with_name("dask")
pytestmark = [
    pytest.mark.skipif(os.name == "nt", reason="the lines are for bash"),
    pytest.mark.skipif(not DASK.exists(), reason="the command dask is not beside this Python"),
]
PATIENCE_S = 600
STAND_INS = {
    "unoise_engine": 'exec python -m unoise_engine "$@" --bundle "$BUNDLE" --methods unoise --progress off',
    "srun": 'for k in 1 2; do "$@" & done; wait',  # a process a task
    "sbatch": 'last="${@: -1}"; for k in 1 2 3; do bash -c "$last" & all="$all $!"; done; '
    'for one in $all; do wait "$one" || exit 1; done',
}


def blocks() -> Any:
    """The code blocks of the page, and what it has in backticks across lines."""
    section = (ROOT / "docs/how-to/cluster.md").read_text(encoding="utf-8")
    inline = [
        " ".join(text.split())
        for text in re.findall(r"(?<!`)`([^`]+)`(?!`)", re.sub(r"```.*?```", "", section, flags=re.S))
    ]
    return re.findall(r"```\w*\n(.*?)```", section, re.S), inline


@pytest.fixture
def shell(tmp_path: Path, tiny_bundle: Any) -> Any:
    """Runs a script of the page in a session of its own, with our folders put in, and ends what it left running."""
    started = []
    (tmp_path / "bin").mkdir()
    for name, text in STAND_INS.items():
        (tmp_path / "bin" / name).write_text(f"#!/bin/bash\n{text}\n")
        (tmp_path / "bin" / name).chmod(0o755)
    (tmp_path / "absent").mkdir()
    (tmp_path / "absent" / "matplotlib.py").write_text("raise ImportError")
    environment = {
        **os.environ, "PATH": f"{tmp_path / 'bin'}:{DASK.parent}:{os.environ['PATH']}", "SLURM_JOB_ID": "4711",
        "PYTHONPATH": f"{tmp_path / 'absent'}:{ROOT}", "BUNDLE": str(tiny_bundle),
    }  # fmt: skip

    def run(script: Any, out: Any) -> None:
        script = script.replace("COHORT", str(tmp_path / "in")).replace("OUT", str(out))
        with (tmp_path / "log").open("w+b") as log:
            process = subprocess.Popen(
                ["bash", "-c", script], cwd=tmp_path, env=environment, stdout=log, stderr=log, start_new_session=True
            )
            started.append(process)
            try:
                code = process.wait(PATIENCE_S)
            except subprocess.TimeoutExpired:
                code = -1
        assert code == 0, (tmp_path / "log").read_text()

    yield run
    for process in started:
        for sent in (signal.SIGTERM, signal.SIGKILL):
            try:
                os.killpg(process.pid, sent)
            except ProcessLookupError:
                break
            time.sleep(1)


def check(out: Any, explain: Any, cohort: Any, tmp_path: Path) -> None:
    assert [line["status"] for line in lines(out)] == ["OK"] * 3 and not leftovers(out)
    assert sorted(line["case"] for line in lines(out)) == ["case-0001", "case-0002", "case-0003"]
    explain(cohort, tmp_path / "here")
    assert volumes(out) == volumes(tmp_path / "here")


def test_a_scheduler_and_workers_by_hand(shell: Any, explain: Any, cohort: Any, tmp_path: Path) -> None:
    script = blocks()[0][0]
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    assert script.count("8786") == 3 and script.count("HOST") == 3
    script = script.replace("8786", port).replace("HOST", "127.0.0.1")
    scheduler, worker, run = (line.partition("#")[0].strip() for line in script.strip().splitlines())
    shell(f"{scheduler}\n{worker} --no-dashboard &\n{run}", tmp_path / "out")
    check(tmp_path / "out", explain, cohort, tmp_path)


def test_one_job_of_slurm(shell: Any, explain: Any, cohort: Any, tmp_path: Path) -> None:
    script = blocks()[0][1]
    assert script.startswith("#!/bin/bash\n#SBATCH ") and "srun dask worker" in script
    shell(script, tmp_path / "out")
    check(tmp_path / "out", explain, cohort, tmp_path)


def test_an_array_of_slurm(shell: Any, explain: Any, cohort: Any, tmp_path: Path) -> None:
    (line,) = (text for text in blocks()[1] if text.startswith("sbatch --array"))
    shell(line, tmp_path / "out")
    check(tmp_path / "out", explain, cohort, tmp_path)
