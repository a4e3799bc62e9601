"""Small CTs and a small bundle for the benchmarks of the batch: what is measured is everything but the model."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import SimpleITK as sitk

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from Testing.engine.conftest import RECIPE, blur_net, ellipsoid_ct, image_of  # noqa: E402
from unoise_engine.files import INVENTORY  # noqa: E402
from unoise_engine.models.manifest import Manifest, write_bundle  # noqa: E402


def make(home: Path, count: int, shape: tuple[int, int, int] = (10, 40, 48)) -> tuple[Path, Path]:
    """A folder of `count` CTs and a bundle."""
    for k in range(count):
        volume = ellipsoid_ct(shape=shape)
        noise = np.random.default_rng(k).integers(-5, 5, shape, dtype=np.int16)
        (home / "in").mkdir(parents=True, exist_ok=True)
        sitk.WriteImage(image_of(volume.with_voxels(volume.voxels + noise)), str(home / "in" / f"ct{k:04d}.nii.gz"))
    for name in ("utility", "unoise"):
        blur_net(home / f"{name}.onnx", name)
    files = {f"{name}.onnx": home / f"{name}.onnx" for name in ("utility", "unoise")}
    manifest = Manifest("tiny", "Test net", True, "tests", "Apache-2.0", "none", RECIPE, {"bright": 3})
    write_bundle(home / "tiny", manifest, files)
    return home / "in", home / "tiny"


def start(cohort: Path, out: Path, bundle: Path, *options: str, **environment: str) -> subprocess.Popen[bytes]:
    """The real command, as the head of a process group of its own."""
    line = [sys.executable, "-m", "unoise_engine", "explain", str(cohort), "-o", str(out), "--bundle", str(bundle)]
    line += ["--methods", "unoise", "--progress", "off", *options]
    around = {**os.environ, "PYTHONPATH": str(ROOT), **environment}
    null = subprocess.DEVNULL
    return subprocess.Popen(line, env=around, start_new_session=True, stdout=null, stderr=null)


def without_pictures(home: Path) -> str:
    """PYTHONPATH that makes matplotlib look absent: drawing takes most of a small case's time."""
    (home / "absent").mkdir(exist_ok=True)
    (home / "absent" / "matplotlib.py").write_text("raise ImportError")
    return f"{home / 'absent'}{os.pathsep}{ROOT}"


def volumes(out: Path) -> dict[str, bytes]:
    return {str(p.relative_to(out)): p.read_bytes() for p in sorted(out.rglob("*.nii.gz"))}


def left_behind(out: Path) -> list[str]:
    """Hidden files that a run should have taken away again; a folder's inventory stays."""
    return [str(p.relative_to(out)) for p in out.rglob(".*") if p.name != INVENTORY]


def lines(out: Path) -> list[dict[str, object]]:
    found = []
    for line in (out / "results.jsonl").read_bytes().splitlines():
        try:
            found.append(json.loads(line))
        except ValueError:  # of a kill in the middle of a write
            continue
    return found
