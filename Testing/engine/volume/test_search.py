"""Looking through folders ends: round a loop, in a folder without end, on a slow disk, and when it is told to."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from Testing.engine.volume.planted import planes, write
from unoise_engine.errors import Usage
from unoise_engine.volume import find, search
from unoise_engine.volume.find import find_cases


@pytest.mark.skipif(os.name == "nt", reason="links need rights there")
def test_links_in_a_circle_are_not_followed(tmp_path: Path, read: Any) -> None:
    write(tmp_path / "a" / "ct", planes())
    (tmp_path / "a" / "loop").symlink_to(tmp_path, target_is_directory=True)
    (tmp_path / "a" / "itself").symlink_to("itself")
    (tmp_path / "a" / "other.dcm").symlink_to(tmp_path / "a" / "ct" / "slice000.dcm")
    (case,) = read.cases(tmp_path)
    assert case.files == 20
    assert read.skipped == ["SKIPPED 3 x a link, which is not followed (a/loop, a/itself, a/other.dcm)"]


@pytest.mark.skipif(sys.platform != "linux" or os.geteuid() != 0, reason="mounting needs Linux and its administrator")
def test_a_mount_within_itself_is_looked_through_once(tmp_path: Path, read: Any) -> None:
    write(tmp_path / "data" / "ct", planes())
    inner = tmp_path / "data" / "again"
    inner.mkdir()
    if subprocess.run(["mount", "--bind", tmp_path / "data", inner], capture_output=True, check=False).returncode:
        pytest.skip("mounting is not allowed here")
    try:
        (case,) = read.cases(tmp_path / "data")
        assert case.files == 20 and case.read().notes == (), "no slice twice"
    finally:
        subprocess.run(["umount", inner], check=True)
    assert "SKIPPED 1 x a folder that was looked through already, under another name (again)" in read.skipped


@pytest.mark.parametrize("flat", [True, False])
def test_a_folder_without_end_is_given_up(
    tmp_path: Path, read: Any, monkeypatch: pytest.MonkeyPatch, flat: Any
) -> None:
    """Before its names fill the memory; another input goes on."""
    good = write(tmp_path / "good", planes())
    for k in range(60):
        folder = tmp_path / "full" / ("" if flat else f"part{k}")
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"file{k}").touch()
    monkeypatch.setattr(search, "MOST_FILES", 50)
    with pytest.raises(Usage, match=r"full - holds more than 50 files and folders - give the folders .* one by one"):
        read.one(tmp_path / "full")
    refused, whole = read.cases(tmp_path / "full", good)
    assert whole.files == 20 and refused.files == 0


def test_whoever_waits_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    """Also that a disk does not answer, for which there is no slow disk here: looking at one file is held up."""
    write(tmp_path, planes())
    heard: list[tuple[int, float]] = []
    look = find._look_at

    def held_up(path: Path, *others: Any) -> None:
        if path.name == "slice003.dcm":
            time.sleep(1)
        look(path, *others)

    monkeypatch.setattr(find, "_look_at", held_up)
    monkeypatch.setattr(search, "FIRST_SECONDS", 0.2)
    monkeypatch.setattr(search, "EVERY_SECONDS", 0.2)
    find_cases([tmp_path], watch=lambda files, waits: heard.append((files, waits)))
    assert len([files for files, _ in heard if files == 3]) >= 2 and max(waits for _, waits in heard) > 0.3
    count = len(heard)
    time.sleep(0.5)
    assert len(heard) == count, "over"
    search.say(120000, 0.1)
    search.say(120001, 42.0)
    said = capsys.readouterr().err.splitlines()
    assert said[0] == "looking for images: 120000 files so far"
    assert said[1] == "looking for images: 120001 files so far; the disk has not answered for 42 s"


ENGINE = """
import sys
from unoise_engine.volume import search
search.FIRST_SECONDS = 0.2
from unoise_engine.cli import main
sys.exit(main())
"""


@pytest.mark.skipif(os.name == "nt", reason="signals")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_search_ends_at_once_when_told_to(tmp_path: Path, number: Any) -> None:
    """One slice under thirty thousand names."""
    slice_file = write(tmp_path / "one", planes()[:1]) / "slice000.dcm"
    (tmp_path / "many").mkdir()
    for k in range(30_000):
        os.link(slice_file, tmp_path / "many" / f"{k}.dcm")
    words = ["explain", str(tmp_path / "many"), "-o", str(tmp_path / "out")]
    with subprocess.Popen([sys.executable, "-c", ENGINE, *words], stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        assert process.stderr.readline().startswith("looking for images: ")
        process.send_signal(number)
        (line,) = (line for line in process.stderr if not line.startswith("looking"))
        process.wait()
    assert process.returncode == 128 + number and not (tmp_path / "out").exists()
    assert int(line.split("while images were looked for (")[1].split(" files so far")[0]) < 30_000
