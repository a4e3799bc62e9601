"""Standard output and error that are read no further, full or closed: never the fault of the results' disk."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import SimpleITK as sitk

from Testing.engine.conftest import ellipsoid_ct, image_of

FULL = Path("/dev/full")
ENGINE = [sys.executable, "-m", "unoise_engine"]
pytestmark = pytest.mark.skipif(os.name == "nt", reason="the shell's redirections are POSIX ones")


@pytest.fixture
def explain(tmp_path: Path, tiny_bundle: Any) -> Any:
    """The words of a run on two small CTs, and its output folder."""
    for k in range(2):
        (tmp_path / "in").mkdir(exist_ok=True)
        sitk.WriteImage(image_of(ellipsoid_ct()), str(tmp_path / "in" / f"ct{k}.nii.gz"))
    out = tmp_path / "out"
    words = [*ENGINE, "explain", tmp_path / "in", "-o", out, "--bundle", tiny_bundle, "--methods", "unoise"]
    return [str(word) for word in words], out


def shell(line: Any, *words: Any) -> Any:
    return subprocess.run(["bash", "-c", line, "bash", *words], capture_output=True, text=True, timeout=120)


def halves(out: Any) -> Any:
    return [p.name for p in out.iterdir() if "partial" in p.name]


@pytest.mark.parametrize("progress", ["off", "json"])
@pytest.mark.parametrize("line", ['"$@" | head -n 1', '"$@" 2>&1 | head -n 1'])
def test_a_reader_that_has_enough_ends_the_run_quietly(explain: Any, progress: Any, line: Any) -> None:
    words, out = explain
    done = shell(f"{line}; exit ${{PIPESTATUS[0]}}", *words, "--progress", progress)
    assert done.returncode == 141 and done.stderr == "" and len(done.stdout.splitlines()) == 1, done
    assert not halves(out)
    assert shell('"$@"', *words, "--resume").returncode == 0


@pytest.mark.skipif(not FULL.exists(), reason="there is no device that is always full")
@pytest.mark.parametrize(
    ("line", "name"),
    [('"$@" >/dev/full', "standard output"), ('"$@" --progress json >/dev/full', "standard output"),
     ('"$@" "$5/none" 2>/dev/full', "")],
)  # fmt: skip
def test_a_full_device_is_called_by_its_name(explain: Any, line: Any, name: Any) -> None:
    words, out = explain
    done = shell(line, *words)
    assert done.returncode == 3 and str(out) not in done.stderr and "internal" not in done.stderr, done
    assert done.stderr.count("\n") == bool(name) and name in done.stderr
    assert not halves(out)
    assert shell('"$@"', *words, "--resume").returncode == 0


@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&-", ">&- 2>&- <&-"])
def test_what_the_caller_closed_is_not_missed(explain: Any, closed: Any) -> None:
    words, out = explain
    done = shell(f'"$@" {closed}', *words, "--progress", "json")
    assert done.returncode == 0 and done.stderr == "", done
    assert len([*out.glob("case-*/segmentation.nii.gz")]) == 2


@pytest.mark.parametrize("words", [["--help"], ["--version"], ["bundle", "list"], ["explain", "none", "-o", "out"]])
@pytest.mark.parametrize("line", ['"$@" | true', '"$@" >&-', '"$@" 2>&-', '"$@" 2>&1 | true'])
def test_other_commands_too(tmp_path: Path, words: Any, line: Any) -> None:
    done = shell(f'cd "$0"; {line}; exit ${{PIPESTATUS[0]}}'.replace("$0", str(tmp_path)), *ENGINE, *words)
    assert done.returncode in (0, 2, 141) and "Traceback" not in done.stderr and "Exception" not in done.stderr, done


def test_lines_come_when_they_are_said(explain: Any) -> None:
    """Not all at the end, though standard output is a pipe."""
    words, _ = explain
    run = subprocess.Popen([*words, "--progress", "off"], stdout=subprocess.PIPE, text=True)
    assert run.stdout and run.stdout.readline().startswith("CASE ")
    assert run.poll() is None, "the first case was told when all were done"
    run.communicate(timeout=60)


def test_the_worker_too(tmp_path: Path, tiny_bundle: Any, ct_file: Any) -> None:
    request = {"explain": {"inputs": [str(ct_file)], "out": str(tmp_path / "out")}}
    worker = [sys.executable, "-m", "unoise_engine.worker"]
    (tmp_path / "request").write_text(json.dumps(request))
    for line, code in (('"$@" <"$0" | true', 141), ('"$@" <&-', 2)):
        line = line.replace("$0", str(tmp_path / "request"))
        done = shell(f"{line}; exit ${{PIPESTATUS[0]}}", *worker)
        assert done.returncode == code and "Traceback" not in done.stderr, done


def test_a_signal_that_the_caller_ignores_stays_ignored(explain: Any, tmp_path: Path) -> None:
    """As `nohup` and a shell's `&` have it: neither Ctrl-C nor a closed terminal ends such a run."""
    words, out = explain
    line = 'trap "" INT HUP; "$@" & echo $!; wait $!'
    run = subprocess.Popen(
        ["bash", "-c", line, "bash", *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert run.stdout
    number = int(run.stdout.readline())
    while not (out / ".locks").exists():
        time.sleep(0.02)
    os.kill(number, 2)
    os.kill(number, 1)
    _, said = run.communicate(timeout=120)
    assert run.returncode == 0 and said == "" and len([*out.glob("case-*/segmentation.nii.gz")]) == 2
