"""Small cohorts, and runs of the real command in processes of their own."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk

from Testing.engine.conftest import asked, ellipsoid_ct, image_of
from unoise_engine.batch.run import explain_all
from unoise_engine.files import INVENTORY

ROOT = Path(__file__).resolve().parents[3]

# Put in front of the engine in processes under test: what a file's name asks for happens when it is read.
MISHAPS = """
import os, sys, time
if "unoise" in " ".join(sys.orig_argv):
    import unoise_engine.volume.case as finding
    real = finding.find_again
    def find_again(source, *rest):
        if "abort" in source.name: os.abort()
        if "kill" in source.name: os.kill(os.getpid(), 9)
        if "memory" in source.name: raise MemoryError
        if "bug" in source.name: raise ZeroDivisionError(source.name)
        if "slow" in source.name: time.sleep(float(os.environ.get("SLOW", "60")))
        return real(source, *rest)
    finding.find_again = find_again
    if "SILENT" in os.environ:
        import unoise_engine.batch.isolate as isolate
        isolate.SILENT_SECONDS = float(os.environ["SILENT"])
"""


def save(path: Any, number: Any = 0, spacing_mm: Any = (1.5, 2.5, 4.0)) -> Any:
    """The k-th small CT: each number another noise."""
    volume = ellipsoid_ct(spacing_mm=spacing_mm)
    noise = np.random.default_rng(number).integers(-5, 5, volume.voxels.shape, dtype=np.int16)
    path.parent.mkdir(parents=True, exist_ok=True)
    sitk.WriteImage(image_of(volume.with_voxels(volume.voxels + noise)), str(path))
    return path


@pytest.fixture
def cohort(tmp_path: Path) -> Any:
    """Three CTs in a folder."""
    for k in range(3):
        save(tmp_path / "in" / f"ct{k}.nii.gz", k)
    return tmp_path / "in"


@pytest.fixture(autouse=True)
def no_pictures(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fine drawing takes most of a small case's time; it is tested where it matters (mark: pictures)."""
    if "pictures" in request.keywords:
        return
    from unoise_engine.errors import MissingExtra

    def none(*_: Any) -> None:
        raise MissingExtra("matplotlib", "plot")

    monkeypatch.setattr(
        "unoise_engine.results.picture.Overview",
        none,
    )


@pytest.fixture
def explain(tiny_bundle: Any) -> Any:
    """Runs in this process; returns how many cases were refused or failed."""

    def run(source: Any, out: Any, **options: Any) -> Any:
        sources = source if isinstance(source, tuple) else (source,)
        options = {"methods": ("unoise",), "bundle": str(tiny_bundle), "device": "cpu", **options}
        return explain_all(asked(sources, out, **options), "off")

    return run


@pytest.fixture
def command(tiny_bundle: Any, tmp_path: Path) -> Any:
    """The command line of a run in a process of its own, and the environment that makes mishaps happen."""
    (tmp_path / "mishaps").mkdir()
    (tmp_path / "mishaps" / "sitecustomize.py").write_text(MISHAPS)
    (tmp_path / "mishaps" / "matplotlib.py").write_text("raise ImportError")  # no pictures: see above
    environment = {**os.environ, "PYTHONPATH": f"{tmp_path / 'mishaps'}{os.pathsep}{ROOT}"}

    def run(*arguments: Any, wait: Any = True, **more: Any) -> Any:
        line = [sys.executable, "-m", "unoise_engine", "explain", "--progress", "off"]
        line += ["--bundle", str(tiny_bundle), "--methods", "unoise", *map(str, arguments)]
        pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        started = subprocess.Popen(line, env={**environment, **more}, **pipes, start_new_session=True)
        if not wait:
            return started
        out, err = started.communicate(timeout=120)
        return subprocess.CompletedProcess(line, started.returncode, out, err)

    return run


def lines(out: Any) -> Any:
    return [json.loads(line) for line in (out / "results.jsonl").read_text().splitlines()]


def volumes(out: Any) -> Any:
    """Every volume's bytes: what must be the same whenever and however it was made."""
    return {str(p.relative_to(out)): p.read_bytes() for p in sorted(out.rglob("*.nii.gz"))}


def leftovers(out: Any) -> Any:
    """Hidden files: locks, drafts, halves."""
    return [p for p in out.rglob(".*") if p.name != INVENTORY]
