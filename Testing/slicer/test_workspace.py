"""The temporary folder with a patient's CT: gone with the run, or at the next start if Slicer was killed. No Slicer."""

from __future__ import annotations

import importlib.util
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest

SOURCE = Path(__file__).resolve().parents[2] / "UNoiseSlicer" / "UNoiseSlicerLib" / "workspace.py"
spec = importlib.util.spec_from_file_location("workspace", SOURCE)
assert spec is not None and spec.loader is not None
workspace = importlib.util.module_from_spec(spec)
spec.loader.exec_module(workspace)

SLICER = f"""
import importlib.util, sys, time
spec = importlib.util.spec_from_file_location("workspace", {str(SOURCE)!r})
workspace = importlib.util.module_from_spec(spec)
spec.loader.exec_module(workspace)
one = workspace.Workspace()
(one.folder / "ct.nrrd").write_bytes(b"a patient")
print(one.folder, flush=True)
time.sleep(60)
"""


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    return tmp_path


def other_slicer() -> tuple[subprocess.Popen[str], Path]:
    process = subprocess.Popen([sys.executable, "-c", SLICER], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    return process, Path(process.stdout.readline().strip())


def end(process: subprocess.Popen[str]) -> None:
    process.send_signal(signal.SIGTERM if sys.platform == "win32" else signal.SIGKILL)
    process.communicate()


def test_what_a_killed_slicer_left_is_removed_and_nothing_before(place: Any) -> None:
    process, folder = other_slicer()
    try:
        assert folder.parent == place and (folder / "ct.nrrd").is_file()
        assert workspace.sweep() == [] and (folder / "ct.nrrd").is_file(), "the other Slicer still works with it"
    finally:
        end(process)
    assert workspace.sweep() == [folder] and not folder.exists()


def test_a_run_of_this_slicer_is_left_alone_and_removes_itself(place: Any) -> None:
    one = workspace.Workspace()
    assert workspace.sweep() == [] and one.folder.is_dir()
    if sys.platform != "win32":
        assert one.folder.stat().st_mode & 0o777 == 0o700
    one.remove()
    one.remove()
    assert not one.folder.exists()


def test_what_others_have_there_stays(place: Any) -> None:
    """By name, by content, by link: only a folder that the module made is removed."""
    name = workspace.PREFIX + "abcd1234"
    foreign = {
        "another name": "unoise-abcd1234",
        "a name that goes on": name + "-my-notes",
        "no lock": workspace.PREFIX + "nolock00",
        "another lock": workspace.PREFIX + "foreign0",
        "half made": workspace.PREFIX + "halfmade",
    }
    for folder in foreign.values():
        (place / folder).mkdir()
        (place / folder / "mine.txt").write_text("mine")
    for which in ("another name", "a name that goes on"):
        (place / foreign[which] / workspace.LOCK).write_bytes(workspace.MARK)
    (place / foreign["another lock"] / workspace.LOCK).write_bytes(b"something else")
    (place / foreign["half made"] / workspace.LOCK).touch()
    (place / (workspace.PREFIX + "notafold")).write_text("a file")
    precious = place / "precious"
    precious.mkdir()
    (precious / workspace.LOCK).write_bytes(workspace.MARK)
    before = {path for path in place.rglob("*")}
    if sys.platform != "win32":
        (place / (workspace.PREFIX + "linked00")).symlink_to(precious)
        linked = place / (workspace.PREFIX + "linkedin")
        linked.mkdir()
        (linked / workspace.LOCK).symlink_to(precious / workspace.LOCK)
    assert workspace.sweep() == []
    assert before <= set(place.rglob("*"))
