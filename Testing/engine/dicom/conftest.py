"""Results of one run in both formats, the tools that judge them, and who is missing."""

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

pytest.importorskip("highdicom", reason="the extra 'dicom' is not installed")

from Testing.engine.conftest import asked
from Testing.engine.dicom.series import write_series
from unoise_engine.batch.run import explain_all
from unoise_engine.errors import MissingExtra
from unoise_engine.models.manifest import read_manifest, write_bundle

needs_dciodvfy = pytest.mark.skipif(shutil.which("dciodvfy") is None, reason="dciodvfy: apt-get install dicom3tools")


def tool(name: Any) -> Any:
    """A program that came with a Python package, beside this interpreter or on the path."""
    beside = Path(sys.executable).with_name(name)
    return str(beside) if beside.is_file() else shutil.which(name)


needs_dcmqi = pytest.mark.skipif(tool("segimage2itkimage") is None, reason="dcmqi: pip install dcmqi")


def verify(path: Any) -> Any:
    """dciodvfy's complaints that are errors."""
    said = subprocess.run(["dciodvfy", str(path)], capture_output=True, text=True, errors="replace")
    assert "Segmentation" in said.stderr or "Image" in said.stderr or "ParametricMap" in said.stderr, said.stderr
    return [line for line in said.stderr.splitlines() if line.startswith("Error")]


def explained(source: Any, out: Any, bundle: Any, file_format: Any = "dicom", **options: Any) -> Any:
    """The folder of the one case that `source` is."""
    options = {"methods": ("unoise", "gradcam"), **options}
    request = asked((source,), out, bundle=str(bundle), format=file_format, threads=1, **options)
    with mock.patch(
        "unoise_engine.results.picture.Overview",
        side_effect=MissingExtra("matplotlib", "plot"),
    ):  # slow
        assert explain_all(request, "off") == 0
    return next(p for p in out.iterdir() if p.is_dir())


def mended(folder: Any) -> Any:
    """What the report says was mended in the CT's headers."""
    corrections = json.loads((folder / "report.json").read_text())["corrections"]
    return [note for note in corrections if "the source" in note]


@pytest.fixture(scope="session")
def pancreas_bundle(tiny_bundle: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The small test nets, claiming to find the pancreas."""
    folder = tmp_path_factory.mktemp("pancreas") / "tiny"
    manifest = read_manifest(tiny_bundle)
    write_bundle(folder, replace(manifest, labels={"pancreas": 1}), {n: tiny_bundle / n for n in manifest.files})
    return folder


@pytest.fixture(scope="session")
def series(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return write_series(tmp_path_factory.mktemp("series") / "ct")


@pytest.fixture(scope="session")
def result(series: Any, pancreas_bundle: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    return explained(series, tmp_path_factory.mktemp("dicom"), pancreas_bundle)


@pytest.fixture
def out(result: Any, tmp_path: Path) -> Any:
    """A few of a run's objects, in a folder of their own, and one of an unfinished run."""
    names = ("segmentation.dcm", "importance-unoise.dcm", "overlay-unoise-003.dcm")
    for name in names:
        (tmp_path / "out" / "ct" / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(result / name, tmp_path / "out" / "ct" / name)
    (tmp_path / "out" / ".ct-1-partial").mkdir()
    shutil.copy(result / names[0], tmp_path / "out" / ".ct-1-partial" / "segmentation.dcm")
    return tmp_path / "out"
