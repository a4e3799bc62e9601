"""onnxruntime missing, or installed and not loading: two different sentences, both with what to do."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

WORK = """
from unoise_engine.cli.guard import guarded

def work():
    import unoise_engine.models.runtime

raise SystemExit(guarded(work, json_lines=True, debug=False))
"""


@pytest.mark.parametrize(
    ("module", "what"),
    [
        ("raise ImportError('DLL load failed while importing onnxruntime_pybind11_state')",
         "is installed but does not load (DLL load failed while importing onnxruntime_pybind11_state)"),
        ("raise OSError('libgomp.so.1: cannot open shared object file')",
         "is installed but does not load (libgomp.so.1: cannot open shared object file)"),
        ("import onnxruntime.capi",
         "is installed but does not load (No module named 'onnxruntime.capi'; 'onnxruntime' is not a package)"),
        ("import a_package_that_it_needs",
         "is installed but does not load (No module named 'a_package_that_it_needs')"),
        ("raise ModuleNotFoundError(\"No module named 'onnxruntime'\")", "a package is missing"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_onnxruntime_is_told(module: Any, what: Any, tmp_path: Path) -> None:
    (tmp_path / "onnxruntime.py").write_text(module)
    path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", os.getcwd())])
    done = subprocess.run(
        [sys.executable, "-c", WORK], env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True
    )
    told = json.loads(done.stdout)
    assert done.returncode == 3 and told["what"] == what and told["cure"]
    assert "onnxruntime" in told["source"] and "Traceback" not in done.stderr
