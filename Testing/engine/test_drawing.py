"""How matplotlib is imported; that it leaves nothing behind is looked at in test_no_network.py."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from Testing.engine.batch.conftest import ROOT

pytest.importorskip("matplotlib")


def loaded(*before: Any, then: Any, **variables: Any) -> Any:
    """Runs a Python of its own, since a process imports matplotlib once."""
    code = "\n".join(["import os, tempfile", "from unoise_engine.drawing import load_matplotlib", *before, then])
    kept = {name: value for name, value in os.environ.items() if name != "MPLCONFIGDIR"}
    variables = {name: str(value) for name, value in variables.items()}
    run = subprocess.run(
        [sys.executable, "-c", code],
        env={**kept, "PYTHONPATH": str(ROOT), **variables},
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stderr
    return run.stdout.strip()


def test_the_environment_is_afterwards_as_before() -> None:
    assert loaded("before = dict(os.environ)", "load_matplotlib()", then="print(before == dict(os.environ))") == "True"


@pytest.mark.skipif(sys.platform == "win32", reason="no such program is asked on Windows")
def test_no_program_that_lists_fonts_is_run(tmp_path: Path) -> None:
    """Each fills a cache of its own, and takes seconds on some systems."""
    for name in ("fc-list", "system_profiler"):
        (tmp_path / name).write_text(f"#!/bin/sh\necho > {tmp_path}/was-run\n")
        (tmp_path / name).chmod(0o755)
    home = {name: tmp_path for name in ("HOME", "XDG_CACHE_HOME", "XDG_CONFIG_HOME")}  # without a list made before
    loaded(then="load_matplotlib()", PATH=f"{tmp_path}{os.pathsep}{os.environ['PATH']}", **home)
    assert not (tmp_path / "was-run").exists()


def test_a_folder_that_the_user_names_is_used(tmp_path: Path) -> None:
    loaded(then="load_matplotlib()", MPLCONFIGDIR=tmp_path)
    assert list(tmp_path.glob("fontlist-*.json"))


def test_without_a_temporary_folder_one_sentence_says_so() -> None:
    tried = "try: load_matplotlib()\nexcept Exception as error: print(type(error).__name__, error)"
    said = loaded("tempfile.tempdir = '/nowhere/at/all'", then=tried)
    assert said.startswith("Environment the temporary folder - cannot be used (No such file") and "TMPDIR" in said


@pytest.mark.pictures
def test_long_sentences_stay_within_the_picture(tmp_path: Path) -> None:
    """Black at both edges, below the CT as above it: no letter is cut off."""
    pytest.importorskip("matplotlib")
    from PIL import Image

    from unoise_engine.results.overview import Overview

    hu = np.full((60, 50), -1000, np.float32)
    Overview(hu, hu > 0, (1.0, 1.0)).draw(tmp_path / "a.png", "case " * 60, "slice 1", "A sentence of a model. " * 40)
    pixels = np.asarray(Image.open(tmp_path / "a.png").convert("L"))
    assert pixels[:, :4].max() == pixels[:, -4:].max() == 0 and (pixels > 100).any()
