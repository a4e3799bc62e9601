"""What the engine's processes ask of the system: no network, and no file anywhere but where they were told to write.

Every run starts with an empty home and an environment of its own, without the variables by which libraries know
continuous integration and keep quiet.
"""

from pathlib import Path
from typing import Any

import pytest
import SimpleITK as sitk

from Testing.engine.conftest import ellipsoid_ct, image_of, question
from Testing.engine.watched import Watched, needs_strace


@pytest.fixture
def watched(tmp_path: Path) -> Any:
    needs_strace()
    return Watched(tmp_path / "watched")


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Two CTs in a folder."""
    folder = tmp_path_factory.mktemp("cohort")
    for k in range(2):
        sitk.WriteImage(image_of(ellipsoid_ct(shape=(6, 40, 48 + k))), str(folder / f"ct{k}.nii.gz"))
    return folder


def test_the_watch_sees(watched: Any) -> None:
    """A look-up, a listener, and files in the home, the working and the temporary folder, by several ways."""
    run = watched.run(
        "-c",
        "import os, pathlib, socket, subprocess, sys, tempfile\n"
        "home = pathlib.Path.home()\n"
        "(home / '.cache').mkdir()\n"
        "os.chdir(home)\n"
        "os.close(os.open('deviceid', os.O_CREAT | os.O_WRONLY))\n"
        "os.rename('deviceid', 'id')\n"
        "tempfile.mkstemp()\n"
        "socket.create_server(('127.0.0.1', 0)).close()\n"
        "code = 'import socket; socket.socket(socket.AF_INET, socket.SOCK_DGRAM).connect((\"127.0.0.1\", 53))'\n"
        "subprocess.run([sys.executable, '-c', code], check=True)\n",
    )
    assert run.returncode == 0, run.stderr
    assert {Path(p).name for p in watched.outside()} == {".cache", "deviceid", "id"}
    assert {Path(p).name for p in watched.left()} > {".cache", "id"} and len(watched.left()) == 3
    said = "\n".join(watched.network)
    assert "listen(" in said and "SOCK_DGRAM" in said and "htons(53)" in said


def test_the_command(watched: Any, cohort: Any, tiny_bundle: Any) -> None:
    """One case, in the process itself."""
    out = watched.folder / "out"
    run = watched.run("-m", "unoise_engine", "explain", cohort / "ct0.nii.gz", "-o", out, "--bundle", tiny_bundle)
    watched.assert_quiet(run, out)
    assert list(out.rglob("overview.png"))


def test_a_batch(watched: Any, cohort: Any, tiny_bundle: Any) -> None:
    """Every case in a process of its own."""
    out, options = watched.folder / "out", ("--methods", "unoise", "--jobs", "2", "--format", "nrrd")
    run = watched.run("-m", "unoise_engine", "explain", cohort, "-o", out, "--bundle", tiny_bundle, *options)
    watched.assert_quiet(run, out)
    assert "2 ok" in run.stdout


def test_dicom(watched: Any, tiny_bundle: Any, tmp_path: Path) -> None:
    pytest.importorskip("highdicom", reason="the extra 'dicom' is not installed")
    from Testing.engine.dicom.series import write_series

    series, out = write_series(tmp_path / "ct"), watched.folder / "out"
    options = ("--methods", "unoise", "--format", "dicom")
    run = watched.run("-m", "unoise_engine", "explain", series, "-o", out, "--bundle", tiny_bundle, *options)
    watched.assert_quiet(run, out)


def test_the_worker(watched: Any, cohort: Any, tiny_bundle: Any) -> None:
    """As 3D Slicer starts it."""
    out = watched.folder / "out"
    request = question((cohort / "ct0.nii.gz",), out, bundle=str(tiny_bundle), methods=("unoise",))
    watched.assert_quiet(watched.run("-m", "unoise_engine.worker", text=request), out)


def test_the_library(watched: Any, cohort: Any, tiny_bundle: Any) -> None:
    """In a program that goes on: onnxruntime's telemetry began to look up names ten seconds after its start."""
    run = watched.run(
        "-c",
        "import sys, time, numpy, unoise_engine\n"
        "maps = unoise_engine.explain(sys.argv[1], methods=['unoise'], bundle=sys.argv[2])\n"
        "numpy.save(sys.argv[3], maps['unoise'])\n"
        "time.sleep(13)\n",
        cohort / "ct0.nii.gz",
        tiny_bundle,
        watched.folder / "map.npy",
    )
    watched.assert_quiet(run, watched.folder / "map.npy")
