"""Explaining needs no network: a run with none at all."""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from Testing.engine.batch.conftest import ROOT, lines

CUT = ["unshare", "-n"]
LOOK = "import socket; socket.create_connection(('192.0.2.1', 9), 2)"


def cut_off() -> Any:
    if not shutil.which("unshare") or not hasattr(os, "geteuid") or os.geteuid() != 0:
        return False
    return subprocess.run([*CUT, "true"], check=False, capture_output=True).returncode == 0


@pytest.mark.skipif(not cut_off(), reason="cutting the network off needs root and unshare")
def test_an_explanation_without_network(cohort: Any, tiny_bundle: Any, tmp_path: Path) -> None:
    looked = subprocess.run([*CUT, sys.executable, "-c", LOOK], check=False, capture_output=True, text=True)
    assert "unreachable" in looked.stderr, "the network is not cut off"
    line = [*CUT, sys.executable, "-m", "unoise_engine", "explain", str(cohort), "-o", str(tmp_path / "out")]
    run = subprocess.run(
        [*line, "--bundle", str(tiny_bundle), "--jobs", "2", "--progress", "off"],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        check=False,
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stderr
    assert [line["status"] for line in lines(tmp_path / "out")] == ["OK"] * 3
    assert (tmp_path / "out" / "case-0001" / "overview.png").exists()
